//! What `--to` means.

use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: TestArgs,
}

fn read(words: &str) -> Result<To, Failure> {
    let words = ["test", "p.wasm"].into_iter().chain(words.split(' '));
    let line = Line::try_parse_from(words).map_err(|error| Failure::usage(error.to_string()))?;
    to(&line.args)
}

fn expected(routes: &[&str], end: Option<End>) -> To {
    let routes = routes.iter().map(|&route| route.to_owned()).collect();
    To { routes, end }
}

#[test]
fn routes_are_declared_in_three_ways() {
    for words in [
        "--hook route --route JFK --route * --input f",
        "--hook route --to JFK=jfk --to *=rest:1 --input f",
        "--hook route --to JFK --to * --input f",
        "--hook route --route JFK --to *=rest --topic t",
    ] {
        assert_eq!(
            read(words).unwrap(),
            expected(&["JFK", "*"], None),
            "{words}"
        );
    }
    // A value may hold a = itself; what is behind the last one is the topic.
    let read = read("--hook route --to a=b=t --input f").unwrap();
    assert_eq!(read, expected(&["a=b"], None));
}

#[test]
fn a_range_of_a_topic_ends() {
    let offset = Some(End::Offset(Offset::new(7)));
    let read_end = |words: &str| read(words).unwrap();
    let filter = "--hook filter --topic t --to offset:7";
    assert_eq!(read_end(filter), expected(&[], offset));
    let route = "--hook route --route * --topic t --to offset:7";
    assert_eq!(read_end(route), expected(&["*"], offset));
    let time = read_end("--hook filter --topic t --to time:2026-01-02T03:04:05Z").end;
    let at = weir_wire::id::Timestamp::new(1_767_323_045_000);
    assert_eq!(time, Some(End::Time(at)));
}

#[test]
fn what_does_not_go_together_is_refused() {
    for (words, reason) in [
        ("--hook route --input f", "--route VALUE"),
        ("--hook filter --route a --input f", "hook route"),
        ("--hook filter --to offset:7 --input f", "--limit"),
        ("--hook filter --to soon --topic t", "offset:N or time:T"),
        (
            "--hook filter --to offset:1 --to offset:2 --topic t",
            "one end",
        ),
        ("--hook filter --topic t --format lines", "--input"),
        ("--hook filter", "--input"),
        ("--hook filter --input f --topic t", "cannot be used with"),
        ("--hook filter --input f --partition 1", "--topic"),
        ("--hook filters --input f", "not one of"),
        ("--hook filter --input f --attempt 2", "retry-policy"),
        ("--hook key --input f --failure no", "retry-policy"),
    ] {
        let error = read(words).unwrap_err();
        assert!(error.to_string().contains(reason), "{words}: {error}");
    }
}
