//! The same filter in several languages: whatever it was written in, it must say what the one in
//! Rust says, about records and about settings.

use crate::support::{bind, block, limits, plugin, sample, tagged, try_bind};
use bytes::Bytes;
use std::path::PathBuf;
use weir_host::{BindError, Plugin};
use weir_wire::plugin::Hook;

/// Tags that something could go wrong with: like another one, longer, not ASCII, empty, none.
const TAGS: [Option<&str>; 12] = [
    Some("UA"),
    Some("ua"),
    Some("U"),
    Some("UAL"),
    Some("UB"),
    Some(" UA"),
    Some("DL"),
    Some(""),
    None,
    Some("Zürich"),
    Some("Zurich"),
    Some("日本🛫"),
];

/// Settings that are understood.
const EXPRESSIONS: [&str; 9] = [
    "UA",
    "UA || DL",
    "UA||DL||UA",
    "\t UA\u{2003}||\u{a0}DL\u{85}\n",
    "*",
    "UA || *",
    "Zürich || 日本🛫",
    "u|a || U",
    "UA |||| DL",
];

#[test]
fn in_javascript() {
    says_what_rust_says(&sample("tag-filter-js"), "tag-filter-js");
}

#[test]
fn in_c() {
    says_what_rust_says(&sample("tag-filter-c"), "tag-filter-c");
}

/// The component has 18 MB, so it is not committed: `cargo xtask plugins` builds it where Python
/// is, and this runs if somebody has done so.
#[test]
fn in_python() {
    let built = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/target");
    let file = PathBuf::from(built).join("tag-filter-py.wasm");
    let Ok(component) = std::fs::read(&file) else {
        eprintln!(
            "not run: there is no plugins/target/tag-filter-py.wasm; `cargo xtask plugins` builds \
             it where python3 with venv and pip is installed"
        );
        return;
    };
    let plugin = plugin("tag-filter-py", || Bytes::from(component));
    says_what_rust_says(&plugin, "tag-filter-py");
}

fn says_what_rust_says(other: &Plugin, name: &str) {
    let rust = sample("tag-filter");
    assert_eq!(other.hooks(), rust.hooks(), "{name}");
    for expression in EXPRESSIONS {
        same_verdicts(&rust, other, name, expression);
    }
    let refused: [&[(&str, &str)]; 9] = [
        &[],
        &[("tags", "")],
        &[("tags", "UA ||")],
        &[("tags", "|| UA")],
        &[("tags", "UA || \u{3000} || DL")],
        &[("tags", "Zürich ||")],
        &[("tag", "UA")],
        &[("tags", "UA"), ("mode", "x")],
        &[("tags", "UA"), ("tags", "DL")],
    ];
    for config in refused {
        let expected = refusal(&rust, config);
        assert_eq!(refusal(other, config), expected, "{name}: {config:?}");
    }
}

fn same_verdicts(rust: &Plugin, other: &Plugin, name: &str, expression: &str) {
    let config = [("tags", expression)];
    let limits = limits();
    let (Ok(rust), Ok(other)) = (
        try_bind(rust, Hook::Filter, &config, &[], limits),
        try_bind(other, Hook::Filter, &config, &[], limits),
    ) else {
        assert_eq!(refusal(other, &config), refusal(rust, &config), "{name}");
        return;
    };
    // Batches of one, a few, and more than fit into one call.
    for count in [1, 12, 40_000] {
        let tags: Vec<_> = (0..count).map(|n| TAGS[n * 7 % TAGS.len()]).collect();
        let input = tagged(&tags);
        let expected = block(rust.filter(input.clone())).unwrap();
        let verdicts = block(other.filter(input)).unwrap();
        assert_eq!(verdicts.values, expected.values, "{name}: {expression:?}");
        assert!(verdicts.failures.is_empty(), "{name}: {expression:?}");
    }
    let stats = other.stats();
    assert_eq!((stats.traps, stats.impure), (0, false), "{name}");
}

/// The plugin's own sentence.
fn refusal(plugin: &Plugin, config: &[(&str, &str)]) -> String {
    match try_bind(plugin, Hook::Filter, config, &[], limits()) {
        Err(BindError::Refused { message }) => message,
        Err(other) => panic!("{config:?}: {other}"),
        Ok(_) => panic!("{config:?} was taken"),
    }
}

#[test]
fn a_slow_language_stays_within_the_limits_of_a_binding() {
    let bound = bind(
        &sample("tag-filter-js"),
        Hook::Filter,
        &[("tags", "UA")],
        &[],
    );
    let tags = vec![Some("UA"); 16_384];
    let verdicts = block(bound.filter(tagged(&tags))).unwrap();
    assert!(verdicts.values.iter().all(|kept| *kept));
}
