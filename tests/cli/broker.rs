//! Verbs against a running broker: what they print, and where.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;

use crate::home::{Done, Home, sources};

#[test]
fn records_go_in_and_come_out() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    let arguments = [
        "produce",
        "orders",
        "--key-separator",
        ":",
        "--output",
        "json",
    ];
    let done = home
        .weir_with_input(&arguments, b"k1:one\nno key\nk2:t:wo\n")
        .expect(0);
    let counts: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(counts["stored"], 3);
    assert_eq!(counts["destinations"][0]["records"], 3);

    let consume = |more: &[&str]| home.ok(&[&["consume", "orders", "--until-end"], more].concat());
    assert_eq!(consume(&[]), "one\nno key\nt:wo\n");
    assert_eq!(consume(&["--limit", "1"]), "one\n");
    assert_eq!(consume(&["--from", "offset:2"]), "t:wo\n");
    assert_eq!(consume(&["--from", "latest"]), "");
    for from in ["time:-1h", "-1h"] {
        assert_eq!(consume(&["--from", from, "--limit", "2"]), "one\nno key\n");
    }
    assert_eq!(
        consume(&["--output", r"%t/%p@%o %k=%v\n"]),
        "orders/0@0 k1=one\norders/0@1 =no key\norders/0@2 k2=t:wo\n"
    );
    let records = home.json(&["consume", "orders", "--until-end"]);
    assert_eq!(records[0]["key"], "k1");
    assert_eq!(records[1]["key"], serde_json::Value::Null);
    assert_eq!(records[2]["value"], "t:wo");
    assert_eq!(records[2]["offset"], 2);
}

#[test]
fn an_unknown_topic_names_the_one_that_was_meant() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    let expected = "topic \"ordres\" does not exist; did you mean \"orders\"? \
                    (create it: weir topic create ordres)";
    let file = home.file("input", "x\n");
    for arguments in [
        &["consume", "ordres"][..],
        &["produce", "ordres", &file],
        &["topic", "describe", "ordres"],
    ] {
        home.weir(arguments).fails(1, expected);
    }
    // What is not there need not be made to be deleted.
    for (arguments, expected) in [
        (
            ["topic", "delete", "ordres", "--yes"],
            "\"ordres\" does not exist; did you mean \"orders\"?\n",
        ),
        (
            ["plugin", "remove", "nope", "--yes"],
            "plugin \"nope\" does not exist\n",
        ),
    ] {
        home.weir(&arguments).fails(1, expected);
    }
}

#[test]
fn what_is_no_plugin_is_refused_with_its_fault() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    for (component, fault) in [
        ("no-hook", "error: not a plugin: it exports no hook"),
        (
            "foreign-import",
            "error: not a plugin: it imports `test:hostile/secrets`",
        ),
    ] {
        let file = sources().join(format!("plugins/prebuilt/hostile/{component}.wasm"));
        let push = ["plugin", "push", file.to_str().unwrap(), "--name", "x"];
        home.weir(&push).fails(1, fault);
    }
}

#[test]
fn topics_are_deleted_on_purpose_only() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders", "--partitions", "3"]);
    home.weir(&["topic", "create", "orders"]).fails(1, "orders");
    home.weir(&["topic", "delete", "orders"]).fails(2, "--yes");
    let described = &home.json(&["topic", "describe", "orders"])[0];
    assert_eq!(described["partitions"].as_array().unwrap().len(), 3);
    home.ok(&["topic", "delete", "orders", "--yes"]);
    assert_eq!(home.json(&["topic", "list"]).len(), 0);
}

#[test]
fn bad_lines_fail_are_skipped_or_kept() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let file = home.file("input.ndjson", "{\"k\":1}\n\nnot json\n{\"k\":2}\n");
    let done = home.weir(&["produce", "t", &file]).expect(1);
    assert!(done.stderr.contains("line 3: not JSON"), "{done:?}");
    assert!(done.stderr.contains("--skip 2"), "{done:?}");
    let skip = ["produce", "t", &file, "--skip", "2", "--on-bad-line"];
    home.ok(&[&skip[..], &["skip"]].concat());
    let bad = home.path("bad");
    home.ok(&[&skip[..], &[bad.to_str().unwrap()]].concat());
    assert_eq!(std::fs::read_to_string(&bad).unwrap(), "not json\n");
    let values = home.ok(&["consume", "t", "--until-end"]);
    assert_eq!(values, "{\"k\":1}\n{\"k\":2}\n{\"k\":2}\n");
}

#[test]
fn the_way_through_head_is_quiet() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let lines: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    home.ok(&["produce", "t", &home.file("input", lines)]);
    let mut child = home.command(&["consume", "t"]).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "0\n");
    drop(stdout);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(
        (child.wait().unwrap().code(), stderr.as_str()),
        (Some(0), "")
    );
}

#[test]
fn ctrl_c_says_how_to_go_on() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let lines: String = (0..1000).map(|n| format!("{n}\n")).collect();
    let file = home.file("input", lines);
    let mut child = home
        .command(&["produce", "t", &file, "--rate", "100/s"])
        .spawn()
        .unwrap();
    // Records are visible: it is in the midst of sending.
    home.ok(&["consume", "t", "--limit", "20"]);
    interrupt(child.id());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{stderr}");
    let (_, skip) = stderr.rsplit_once("--skip ").unwrap();
    let done: usize = skip.trim().parse().unwrap();
    let stored = home.ok(&["consume", "t", "--until-end"]).lines().count();
    assert_eq!(
        stored, done,
        "every line before it is stored, none behind it"
    );
    home.ok(&["produce", "t", &file, "--skip", skip.trim()]);
    let values = home.ok(&["consume", "t", "--until-end"]);
    let expected: String = (0..1000).map(|n| format!("{n}\n")).collect();
    assert!(
        values == expected,
        "the second run goes on where the first one stopped"
    );
}

#[test]
fn a_consumer_ends_with_130_at_ctrl_c() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    home.weir_with_input(&["produce", "t"], b"first\n")
        .expect(0);
    let mut child = home
        .command(&["consume", "t"])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "first\n");
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn lines_are_sent_as_they_are_typed() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let mut child = home
        .command(&["produce", "t"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"a\nnot finished").unwrap();
    assert_eq!(home.ok(&["consume", "t", "--limit", "1"]), "a\n");
    drop(stdin);
    Done::from(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(
        home.ok(&["consume", "t", "--until-end"]),
        "a\nnot finished\n"
    );
}

#[test]
fn a_plugins_life() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "in"]);
    home.ok(&["topic", "create", "jfk"]);
    home.ok(&["topic", "create", "rest", "--partitions", "2"]);
    let prebuilt = |name: &str| {
        let path = sources()
            .join("plugins/prebuilt")
            .join(format!("{name}.wasm"));
        path.to_str().unwrap().to_owned()
    };
    for name in ["json-key", "json-route", "tag-filter"] {
        home.ok(&["plugin", "push", &prebuilt(name), "--name", name]);
    }
    assert_eq!(
        home.json(&[
            "plugin",
            "push",
            &prebuilt("json-key"),
            "--name",
            "json-key"
        ])[0]["known"],
        true
    );
    home.weir(&["plugin", "push", &home.file("x.wasm", "x"), "--name", "x"])
        .fails(1, "not WebAssembly");

    let bind = [
        "plugin",
        "bind",
        "json-route",
        "--topic",
        "in",
        "--hook",
        "route",
    ];
    let more = ["--config", "field=origin", "--to", "JFK=jfk", "--to"];
    home.weir(&[&bind[..], &more, &["*=rst"]].concat())
        .fails(1, "did you mean \"rest\"");
    let bound = home.json(&[&bind[..], &more, &["*=rest:1"]].concat());
    assert_eq!(bound[0]["routes"][1]["partition"], 1);
    let id = bound[0]["binding"].to_string();

    let input = b"{\"origin\":\"JFK\",\"n\":1}\n{\"origin\":\"LGA\",\"n\":2}\n";
    let arguments = ["produce", "in", "--format", "ndjson", "--tag", "UA"];
    home.weir_with_input(&arguments, input).expect(0);
    home.weir_with_input(&[&arguments[..], &["--partition", "0"]].concat(), input)
        .fails(1, "leave the partition out");
    assert_eq!(
        home.ok(&["consume", "jfk", "--until-end"]),
        "{\"origin\":\"JFK\",\"n\":1}\n"
    );
    let place = ["consume", "rest", "--until-end", "--output", r"%p %g\n"];
    assert_eq!(home.ok(&place), "1 UA\n");
    let filter = [
        "consume",
        "jfk",
        "--until-end",
        "--filter",
        "tag-filter",
        "--config",
    ];
    assert_eq!(home.ok(&[&filter[..], &["tags=DL"]].concat()), "");
    assert_eq!(
        home.ok(&[&filter[..], &["tags=UA || DL"]].concat())
            .lines()
            .count(),
        1
    );

    let done = home
        .weir(&["plugin", "remove", "json-route", "--yes"])
        .expect(1);
    assert!(done.stderr.contains("in"), "{done:?}");
    home.ok(&["plugin", "unbind", &id]);
    home.ok(&["plugin", "remove", "json-route", "--yes"]);
    let names: Vec<_> = home
        .json(&["plugin", "list"])
        .iter()
        .map(|p| p["plugin"].to_string())
        .collect();
    assert_eq!(names, ["\"json-key\"", "\"tag-filter\""]);
    let status = &home.json(&["status"])[0];
    assert_eq!(status["topics"], 3);
}

/// The contract does not say which of the two hooks of a mapper a component has: it says so itself,
/// before anything is bound.
#[test]
fn a_transform_is_not_taken_for_a_projection() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    let file = sources().join("plugins/prebuilt/json-transform.wasm");
    let push = ["plugin", "push", file.to_str().unwrap(), "--name", "mask"];
    let pushed = home.ok(&push);
    assert!(pushed.contains("hooks: transform/project)"), "{pushed}");
    for command in [&["plugin", "list"][..], &["plugin", "show", "mask"]] {
        let shown = home.ok(command);
        assert!(shown.contains("transform/project"), "{shown}");
    }
    let consume = ["consume", "t", "--until-end", "--project", "mask"];
    home.weir(&[&consume[..], &["--config", "mask=tailnum"]].concat())
        .fails(1, "no hook project; bind it as what it has: transform");
    home.weir(&["plugin", "bind", "mask", "--topic", "t", "--hook", "key"])
        .fails(
            1,
            "plugin \"mask\" has no hook key; it exports transform/project",
        );
}

#[test]
fn the_demo_checks_itself() {
    let home = Home::new();
    let done = home.weir(&["demo", "--output", "json"]).expect(0);
    let report: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(report["flights"], 5000);
    assert_eq!(report["problems"], 0, "{report}");
    assert!(
        !home.path("config/weir/contexts.toml").exists(),
        "an embedded broker writes none"
    );
}

pub fn interrupt(process: u32) {
    let process = process.to_string();
    let status = std::process::Command::new("kill")
        .args(["-INT", &process])
        .status();
    assert!(status.unwrap().success());
}
