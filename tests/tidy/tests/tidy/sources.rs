//! How source files look: their opening, their length, what must not stand in them.

use weir_tidy::{Source, expect_none, tracked};

const WIDTH_MAX: usize = 100;
const LENGTH_AT_90_MAX: usize = 400;
const LENGTH_TO_EXPLAIN: usize = 600;
const LENGTH_MAX: usize = 1000;
/// Files above 600 lines, each with its reason.
const LONG: [(&str, &str); 0] = [];

/// Files with wider lines, each with its reason.
const WIDE: [(&str, &str); 2] = [
    (
        "broker/cli/src/verb/bench/report.rs",
        "the lines of JSON that its test expects",
    ),
    (
        "plugins/kit/src/export.rs",
        "a path inside a macro, which rustfmt leaves as it is",
    ),
];

/// The crates whose bytes reach the disk through the `Vfs` seam only, and the files that may name
/// the file system themselves, each with its reason.
const THROUGH_VFS: [&str; 4] = [
    "broker/src/",
    "broker/core/src/",
    "broker/log/src/",
    "broker/host/src/",
];
const NAMES_FILES: [(&str, &str); 1] = [("broker/log/src/vfs/real.rs", "it is the seam")];

/// What must not stand in any source file, and why.
const FORBIDDEN: [(&str, &str); 9] = [
    (
        "#[allow(",
        "`#[expect(lint, reason = …)]` goes away with its cause",
    ),
    (
        "#![allow(",
        "`#![expect(lint, reason = …)]` goes away with its cause",
    ),
    ("unbounded_channel(", "every channel has a bound"),
    ("unbounded(", "every channel has a bound"),
    ("todo!(", "what is committed works"),
    ("unimplemented!(", "what is committed works"),
    ("dbg!(", "it belongs to a moment"),
    ("#[ignore", "a test that does not run shows nothing"),
    ("FIXME", "mend it, or say in the issue that it is open"),
];

fn sources() -> Vec<Source> {
    tracked(".rs")
}

fn findings(broken: impl Fn(&Source) -> Vec<String>) -> Vec<String> {
    let found = sources()
        .into_iter()
        .map(|source| (broken(&source), source));
    found
        .flat_map(|(what, source)| {
            what.into_iter()
                .map(move |what| format!("{}: {what}", source.path))
        })
        .collect()
}

/// Line number and line of each line that holds `needle` outside of comments.
fn lines_with<'a>(source: &'a Source, needle: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    (1..)
        .zip(source.text.lines())
        .filter(move |(_, line)| !line.trim_start().starts_with("//") && line.contains(needle))
}

#[test]
fn every_file_says_what_it_is() {
    let broken = |source: &Source| {
        let opens = source.text.starts_with("//! ");
        if opens {
            Vec::new()
        } else {
            vec!["does not open with //!".to_owned()]
        }
    };
    expect_none("a file opens with `//!`", &findings(broken));
}

#[test]
fn files_are_one_idea_long() {
    let mut lengths: Vec<(usize, String)> = sources()
        .into_iter()
        .filter(|source| !source.is_test())
        .map(|source| (source.text.lines().count(), source.path))
        .collect();
    lengths.sort();
    let at_90 = lengths[lengths.len() * 9 / 10].0;
    let (longest, path) = lengths.last().unwrap();
    println!(
        "{} files, 90th percentile {at_90} lines, longest {longest} ({path})",
        lengths.len()
    );
    let explained = |path: &str| LONG.iter().any(|(long, _)| *long == path);
    let too_long: Vec<String> = lengths
        .iter()
        .filter(|(length, path)| {
            *length > LENGTH_MAX || (*length > LENGTH_TO_EXPLAIN && !explained(path))
        })
        .map(|(length, path)| format!("{path}: {length} lines"))
        .collect();
    expect_none("above 600 lines say why, above 1000 split", &too_long);
    assert!(
        at_90 <= LENGTH_AT_90_MAX,
        "the 90th percentile is {at_90} lines"
    );
}

#[test]
fn modules_have_a_name_of_their_own() {
    let broken = |source: &Source| {
        let anonymous = source.path.ends_with("/mod.rs");
        if anonymous {
            vec!["is a mod.rs".to_owned()]
        } else {
            Vec::new()
        }
    };
    expect_none("`foo.rs` and `foo/`, never `mod.rs`", &findings(broken));
}

#[test]
fn nothing_forbidden_is_left() {
    let broken = |source: &Source| {
        let each = FORBIDDEN.iter().flat_map(|(needle, why)| {
            lines_with(source, needle).map(move |(line, _)| format!("{line}: {needle}: {why}"))
        });
        each.collect()
    };
    expect_none("some things are never committed", &findings(broken));
}

/// Lines of expected output are data, so tests are left to rustfmt.
#[test]
fn lines_are_100_columns_wide() {
    let broken = |source: &Source| {
        if source.is_test() || WIDE.iter().any(|(path, _)| *path == source.path) {
            return Vec::new();
        }
        (1..)
            .zip(source.text.lines())
            .filter(|(_, line)| line.chars().count() > WIDTH_MAX)
            .map(|(number, line)| format!("{number}: {} columns", line.chars().count()))
            .collect()
    };
    expect_none("lines have at most 100 columns", &findings(broken));
}

/// `std::fs` by its path, `tokio::fs`, or `fs` out of a group of `std`.
fn names_files(line: &str) -> bool {
    let grouped = line
        .trim_start()
        .strip_prefix("use std::{")
        .is_some_and(|group| group.split([',', '{', '}']).any(|name| name.trim() == "fs"));
    grouped || line.contains("std::fs") || line.contains("tokio::fs")
}

#[test]
fn the_broker_reaches_files_through_the_seam() {
    let broken = |source: &Source| {
        let inside = THROUGH_VFS
            .iter()
            .any(|folder| source.path.starts_with(folder));
        let excused = NAMES_FILES.iter().any(|(path, _)| *path == source.path);
        if !inside || excused || source.is_test() {
            return Vec::new();
        }
        // What stands behind `#[cfg(test)]` at the end of a file is a test.
        let code = source
            .text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        (1..)
            .zip(code.lines())
            .filter(|(_, line)| !line.trim_start().starts_with("//") && names_files(line))
            .map(|(number, line)| format!("{number}: {}", line.trim()))
            .collect()
    };
    expect_none("bytes reach the disk through `Vfs`", &findings(broken));
}

#[test]
fn tests_wait_for_events() {
    let broken = |source: &Source| {
        if !source.is_test() {
            return Vec::new();
        }
        lines_with(source, "sleep(")
            .map(|(line, _)| format!("{line}: sleeps"))
            .collect()
    };
    expect_none(
        "a test synchronises on an event, it does not sleep",
        &findings(broken),
    );
}

#[test]
fn no_path_of_a_machine_is_left() {
    let mut found = Vec::new();
    for source in tracked("") {
        for (number, line) in (1..).zip(source.text.lines()) {
            if ["/work/", "/root/", "/home/"]
                .iter()
                .any(|path| line.contains(path))
            {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    expect_none(
        "paths of the machine it was written on mean nothing elsewhere",
        &found,
    );
}

#[test]
fn every_exception_is_still_needed() {
    let paths: Vec<String> = sources().into_iter().map(|source| source.path).collect();
    for (path, reason) in LONG.iter().chain(&WIDE).chain(&NAMES_FILES) {
        assert!(
            paths.iter().any(|known| known == path),
            "no file {path} ({reason})"
        );
    }
}
