//! Where dependencies come from and what they may be used under, by the lists in `deny.toml`.
//!
//! `cargo deny` reads the same file and knows advisories besides; this test needs no network and
//! nothing installed, so it always runs.

use std::process::Command;

use serde_json::Value;
use weir_tidy::{expect_none, top};

use crate::metadata::{metadata, packages, text};

fn deny(section: &str, list: &str) -> Vec<String> {
    let file = std::fs::read_to_string(top().join("deny.toml")).unwrap();
    let file: toml::Table = file.parse().unwrap();
    let items = file[section][list].as_array().unwrap().clone();
    items
        .into_iter()
        .map(|item| match item {
            toml::Value::String(word) => word,
            toml::Value::Table(table) => table["name"].as_str().unwrap().to_owned(),
            other => panic!("{other} in [{section}] {list}"),
        })
        .collect()
}

/// The packages that this machine builds: those of other platforms are not downloaded.
fn third_party() -> Vec<Value> {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap();
    let metadata = metadata(&["--filter-platform", host]);
    let outside = packages(&metadata)
        .iter()
        .filter(|package| !package["source"].is_null());
    outside.cloned().collect()
}

fn show(package: &Value) -> String {
    format!("{} {}", text(package, "name"), text(package, "version"))
}

/// Whether an SPDX expression can be met with licences out of `allowed`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words: Vec<&str> = spaced.split_whitespace().rev().collect();
    either(&mut words, allowed) == Some(true) && words.is_empty()
}

/// `None` where the expression is malformed.
fn either(words: &mut Vec<&str>, allowed: &[String]) -> Option<bool> {
    let mut met = both(words, allowed)?;
    while words.last() == Some(&"OR") {
        words.pop();
        met |= both(words, allowed)?;
    }
    Some(met)
}

fn both(words: &mut Vec<&str>, allowed: &[String]) -> Option<bool> {
    let mut met = one(words, allowed)?;
    while words.last() == Some(&"AND") {
        words.pop();
        met &= one(words, allowed)?;
    }
    Some(met)
}

fn one(words: &mut Vec<&str>, allowed: &[String]) -> Option<bool> {
    let mut name = words.pop()?.to_owned();
    if name == "(" {
        let met = either(words, allowed)?;
        return (words.pop()? == ")").then_some(met);
    }
    if words.last() == Some(&"WITH") {
        words.pop();
        name = format!("{name} WITH {}", words.pop()?);
    }
    Some(allowed.contains(&name))
}

#[test]
fn expressions_are_read() {
    let allowed: Vec<String> = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "ISC"]
        .map(str::to_owned)
        .to_vec();
    for met in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
        "MIT AND ISC",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for unmet in [
        "",
        "GPL-3.0",
        "GPL-3.0 AND MIT",
        "(MIT",
        "MIT OR",
        "MIT ISC",
        "MIT AND (GPL-3.0 OR LGPL-3.0)",
        "Apache-2.0 WITH other",
    ] {
        assert!(!is_met(unmet, &allowed), "{unmet}");
    }
}

#[test]
fn licences_are_on_the_list() {
    let allowed = deny("licenses", "allow");
    let findings: Vec<String> = third_party()
        .iter()
        .filter(|package| !is_met(text(package, "license"), &allowed))
        .map(|package| format!("{}: {:?}", show(package), text(package, "license")))
        .collect();
    expect_none(
        "dependencies are under licences that deny.toml lists",
        &findings,
    );
}

#[test]
fn dependencies_come_from_the_registry() {
    let registries = deny("sources", "allow-registry");
    let findings: Vec<String> = third_party()
        .iter()
        .filter(|package| {
            let source = text(package, "source");
            !registries
                .iter()
                .any(|known| source == format!("registry+{known}"))
        })
        .map(|package| format!("{}: {}", show(package), text(package, "source")))
        .collect();
    expect_none("dependencies come from crates.io", &findings);
}

#[test]
fn banned_crates_stay_out() {
    let banned = deny("bans", "deny");
    let findings: Vec<String> = third_party()
        .iter()
        .filter(|package| banned.iter().any(|name| name == text(package, "name")))
        .map(show)
        .collect();
    expect_none("crates that deny.toml bans stay out", &findings);
}
