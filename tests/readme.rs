//! The README is true: its snippets are the files of `examples/`, its tour runs against the real
//! binary and prints the numbers that it says, its programs do their job.

#![expect(
    clippy::unwrap_used,
    reason = "in a test that is how to fail, helpers included"
)]

#[path = "readme/broker.rs"]
mod broker;
#[expect(dead_code, reason = "its `main` connects to the address of the README")]
#[path = "../examples/consume.rs"]
mod consume;
#[expect(dead_code, reason = "its `main` connects to the address of the README")]
#[path = "../examples/produce.rs"]
mod produce;

use std::fs;
use std::path::{Path, PathBuf};

use broker::TourBroker;
use weir_sdk::Client;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()
}

fn read(path: &str) -> String {
    let path = top().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A block of code of the README, with the file that it says to be from.
struct Snippet {
    from: Option<String>,
    language: String,
    code: String,
}

fn snippets() -> Vec<Snippet> {
    let readme = read("README.md");
    let mut lines = readme.lines();
    let (mut found, mut before) = (Vec::new(), "");
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let from = before
                .strip_prefix("<!-- from ")
                .and_then(|rest| rest.strip_suffix(" -->"));
            found.push(Snippet {
                from: from.map(str::to_owned),
                language: language.to_owned(),
                code: code.join("\n"),
            });
        }
        before = line;
    }
    found
}

#[test]
fn snippets_are_parts_of_the_examples() {
    let mut checked = 0;
    for Snippet {
        from,
        language,
        code,
    } in snippets()
    {
        let Some(from) = from else {
            assert_ne!(
                language, "rust",
                "this names no file that it is from:\n{code}"
            );
            continue;
        };
        assert!(
            read(&from).contains(&code),
            "{from} does not hold this any more:\n{code}"
        );
        checked += 1;
    }
    assert!(
        checked >= 8,
        "only {checked} snippets name the file that they are from"
    );
}

#[test]
fn the_readme_shows_the_whole_tour() {
    let shown: Vec<Snippet> = snippets()
        .into_iter()
        .filter(|snippet| snippet.from.as_deref() == Some("examples/tour.sh"))
        .collect();
    for line in tour_lines() {
        let is_shown = shown
            .iter()
            .any(|snippet| snippet.code.lines().any(|shown| shown == line));
        assert!(is_shown, "the README leaves out: {line}");
    }
}

/// What the tour does, without its head and its comments.
fn tour_lines() -> Vec<String> {
    let tour = read("examples/tour.sh");
    let (_, body) = tour.split_once("set -euo pipefail\n").unwrap();
    let is_code = |line: &&str| !line.is_empty() && !line.starts_with('#');
    body.lines().filter(is_code).map(str::to_owned).collect()
}

/// The same as whole commands, each with the number that it is to print, if it names one.
fn tour_commands() -> Vec<(String, Option<u64>)> {
    let joined = tour_lines().join("\n").replace("\\\n", "");
    let command = |line: &str| match line.rsplit_once(" # ") {
        Some((command, number)) => (command.trim().to_owned(), Some(number.parse().unwrap())),
        None => (line.to_owned(), None),
    };
    joined.lines().map(command).collect()
}

#[test]
fn the_tour_works() {
    let broker = TourBroker::start(&top());
    let mut numbers = 0;
    for (command, number) in tour_commands() {
        let printed = broker.run(&command);
        if let Some(number) = number {
            assert_eq!(printed.trim().parse(), Ok(number), "{command}");
            numbers += 1;
        }
        if command.contains("%k says %v") {
            assert_eq!(
                printed, "ada says hello\nbob says good morning\n",
                "{command}"
            );
        }
    }
    assert_eq!(numbers, 5, "the tour checks as many numbers as it did");
}

#[test]
fn the_programs_work() {
    let broker = TourBroker::start(&top());
    broker.run("weir topic create orders --partitions 3");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = Client::builder(broker.address())
            .ca_file(broker.folder().join("weir-data/tls/ca.pem"))
            .token_file(broker.folder().join("weir-data/token"))
            .connect()
            .await
            .unwrap();
        produce::produce(&client).await.unwrap();
        let mut last = [None; 7];
        let mut seen = 0;
        consume::consume(&client, |order| {
            let value = String::from_utf8(order.value.as_deref().unwrap().to_vec()).unwrap();
            let number: usize = value.strip_prefix("order ").unwrap().parse().unwrap();
            let before = last[number % 7].replace(number);
            assert!(
                before < Some(number),
                "a customer's order {number} came after {before:?}"
            );
            seen += 1;
            seen < 1000
        })
        .await
        .unwrap();
        assert_eq!(seen, 1000);
        client.close().await;
    });
}
