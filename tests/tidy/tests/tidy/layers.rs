//! Who may depend on whom (normal dependencies; what tests use is free), and what the layers
//! without I/O must not name.

use serde_json::Value;
use weir_tidy::{expect_none, tracked};

use crate::metadata::{metadata, packages, text};

/// The crates of the workspace that each of them may depend on: `wire ← {core, log, host, sdk} ←
/// broker ← cli`, where the broker does not know the client.
const LAYERS: [(&str, &[&str]); 7] = [
    ("weir-wire", &[]),
    ("weir-core", &["weir-wire"]),
    ("weir-log", &["weir-wire"]),
    ("weir-host", &["weir-wire"]),
    ("weir-sdk", &["weir-wire"]),
    (
        "weir-broker",
        &["weir-wire", "weir-core", "weir-log", "weir-host"],
    ),
    (
        "weir",
        &[
            "weir-wire",
            "weir-log",
            "weir-host",
            "weir-sdk",
            "weir-broker",
            // What a plugin does natively, beside which it is measured.
            "weir-plugin",
        ],
    ),
];

/// What only these may depend on.
const RESERVED: [(&str, &[&str]); 3] = [
    ("wasmtime", &["weir-host"]),
    ("quinn", &["weir-sdk", "weir-broker"]),
    ("quinn-proto", &["weir-sdk", "weir-broker"]),
];

/// What does no I/O depends on nothing that does.
const WITHOUT_IO: [&str; 2] = ["weir-wire", "weir-core"];
const DOES_IO: [&str; 8] = [
    "tokio",
    "tokio-util",
    "rustix",
    "socket2",
    "tempfile",
    "axum",
    "tracing",
    "rustls",
];

/// What their sources must not name either: files, network, threads, tasks, the clock.
const NAMES_OF_IO: [&str; 9] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "Instant::now",
    "SystemTime",
    "async fn",
    ".await",
];

/// Packages of the workspace with the names of their normal dependencies.
fn normal_dependencies() -> Vec<(String, Vec<String>)> {
    let metadata = metadata(&["--no-deps"]);
    let is_normal = |dependency: &&Value| dependency["kind"].is_null();
    packages(&metadata)
        .iter()
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap();
            let names = dependencies
                .iter()
                .filter(is_normal)
                .map(|d| text(d, "name").to_owned());
            (text(package, "name").to_owned(), names.collect())
        })
        .collect()
}

fn is_free(package: &str) -> bool {
    // The crates under `tests/`, and the examples.
    ["weir-examples", "weir-harness", "weir-sim", "weir-tidy"].contains(&package)
}

#[test]
fn dependencies_point_one_way() {
    let mut findings = Vec::new();
    for (package, dependencies) in normal_dependencies() {
        if is_free(&package) {
            continue;
        }
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == package) else {
            findings.push(format!("{package} has no place in the layers"));
            continue;
        };
        let ours = dependencies.iter().filter(|name| name.starts_with("weir"));
        for dependency in ours.filter(|name| !allowed.contains(&name.as_str())) {
            findings.push(format!("{package} must not depend on {dependency}"));
        }
        for (reserved, users) in RESERVED {
            if dependencies.iter().any(|name| name == reserved)
                && !users.contains(&package.as_str())
            {
                findings.push(format!("{package} must not depend on {reserved}"));
            }
        }
    }
    expect_none("dependencies point one way", &findings);
}

#[test]
fn every_layer_is_there() {
    let present: Vec<String> = normal_dependencies()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    for (layer, _) in LAYERS {
        assert!(
            present.iter().any(|name| name == layer),
            "no package {layer}"
        );
    }
}

#[test]
fn the_vocabulary_and_the_core_do_no_io() {
    let mut findings = Vec::new();
    for (package, dependencies) in normal_dependencies() {
        if WITHOUT_IO.contains(&package.as_str()) {
            let found = dependencies
                .iter()
                .filter(|name| DOES_IO.contains(&name.as_str()));
            findings.extend(found.map(|name| format!("{package} must not depend on {name}")));
        }
    }
    for source in tracked(".rs") {
        let inside = ["sdk/wire/src/", "broker/core/src/"];
        if source.is_test() || !inside.iter().any(|folder| source.path.starts_with(folder)) {
            continue;
        }
        for name in NAMES_OF_IO
            .iter()
            .filter(|name| source.text.contains(*name))
        {
            findings.push(format!("{} names {name}", source.path));
        }
    }
    expect_none(
        "wire and core do no I/O, spawn nothing and read no clock",
        &findings,
    );
}

#[test]
fn the_log_never_decodes_a_record() {
    let mut findings = Vec::new();
    for source in tracked(".rs") {
        if source.path.starts_with("broker/log/src/")
            && !source.is_test()
            && ["RecordView", "Records::new", ".inflate("]
                .iter()
                .any(|name| source.text.contains(name))
        {
            findings.push(source.path);
        }
    }
    expect_none("the log knows records as opaque batches", &findings);
}
