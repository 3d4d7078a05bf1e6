//! The component that was built against contract 1.0.0 on its first day. It is never built again,
//! so this is what says that old components still load and still get the same answers.

use crate::support::{bind, block, input, plugin};
use bytes::Bytes;
use std::time::Duration;
use weir_host::{Attempt, Decision, Input, Plugin, RouteSet, Transformed};
use weir_wire::batch::{NewRecord, RecordView, Records};
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

fn golden() -> Plugin {
    let file = "../../../../plugins/golden/contract-1.0.0.wasm";
    plugin(file, || {
        Bytes::from_static(include_bytes!(
            "../../../../plugins/golden/contract-1.0.0.wasm"
        ))
    })
}

/// Records with the key "k" and the value "v", and that header `tag`.
fn tagged(tags: &[&str]) -> Input {
    let headers: Vec<_> = tags.iter().map(|tag| [("tag", tag.as_bytes())]).collect();
    input(headers.iter().map(|headers| NewRecord {
        key: Some(b"k"),
        value: Some(b"v"),
        headers,
    }))
}

#[test]
fn it_is_the_very_one() {
    assert_eq!(
        golden().version().to_string(),
        "46c159a1f3dbf486588a41b34622e4a20e7a06022634d71668779ebbfdae6d1b"
    );
}

#[test]
fn it_has_every_hook() {
    assert_eq!(golden().hooks(), Hook::ALL);
}

#[test]
fn verdicts_are_what_they_were() {
    let bound = bind(&golden(), Hook::Filter, &[], &[]);
    let verdicts = block(bound.filter(tagged(&["keep", "x", "error", "panic"]))).unwrap();
    assert_eq!(verdicts.values[..2], [true, false]);
    let messages: Vec<&str> = verdicts.failures.iter().map(|f| &*f.message).collect();
    assert_eq!(messages[0], "the record asked for an error");
    assert!(
        messages[1].contains("the record asked for a panic"),
        "{messages:?}"
    );
    // The place of the panic comes along, and how it came there, as its author wrote it.
    assert!(messages[1].contains("golden/src/lib.rs:"), "{messages:?}");
    let backtrace = verdicts.failures[1].backtrace.as_deref().unwrap();
    assert!(backtrace.starts_with("0: "), "{backtrace}");
    for mangled in ["_ZN", "_R", "panicking", "rust_begin_unwind"] {
        assert!(!backtrace.contains(mangled), "{mangled}: {backtrace}");
    }
    println!("{backtrace}");
    let first = bound.log_lines().remove(0);
    assert_eq!(first.message, "configured with the header tag");

    let bound = bind(&golden(), Hook::Key, &[("header", "none")], &[]);
    let keys = block(bound.keys(tagged(&["a"]))).unwrap();
    assert_eq!(keys.values, [OrderingKey::hash(b"k")]);
    let bound = bind(&golden(), Hook::Key, &[], &[]);
    let keys = block(bound.keys(tagged(&["a"]))).unwrap();
    assert_eq!(keys.values, [OrderingKey::hash(b"a")]);

    let bound = bind(&golden(), Hook::Route, &[], &["a", "b"]);
    let sets = block(bound.route(tagged(&["b", "none"]))).unwrap();
    assert_eq!(sets.values, [0b10, 0].map(RouteSet::new));
    let bound = bind(&golden(), Hook::Route, &[("header", "none")], &["a", "b"]);
    let sets = block(bound.route(tagged(&["b"]))).unwrap();
    assert_eq!(sets.values, [0b11].map(RouteSet::new));
}

/// Key, value and headers of the outputs.
fn outputs(made: &Transformed) -> Vec<String> {
    let text = |bytes: Option<&[u8]>| match bytes {
        Some(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        None => "-".to_owned(),
    };
    let line = |record: RecordView<'_>| {
        let headers = record
            .headers()
            .map(|(name, value)| format!(" {}={}", text(Some(name)), text(value)))
            .collect::<String>();
        format!("{} {}{headers}", text(record.key), text(record.value))
    };
    Records::new(&made.records, made.count)
        .map(|record| line(record.unwrap()))
        .collect()
}

#[test]
fn changed_records_are_what_they_were() {
    let bound = bind(&golden(), Hook::Transform, &[], &[]);
    let tags = ["x", "twice", "drop", "reject", "error"];
    let made = block(bound.transform(tagged(&tags))).unwrap();
    let expected = ["k 0", "k v tag=twice", "copy v tag=twice copy=1"];
    assert_eq!(outputs(&made), expected);
    assert_eq!(made.sources, [0, 1, 1]);
    let rejected = made.rejected.iter().map(|r| (r.index, &*r.reason));
    assert_eq!(
        rejected.collect::<Vec<_>>(),
        [(3, "the record asked for it")]
    );
    assert_eq!((made.failures.len(), made.failures[0].index), (1, 4));

    let bound = bind(&golden(), Hook::Project, &[], &[]);
    let made = block(bound.project(tagged(&["x"]))).unwrap();
    assert_eq!(outputs(&made), ["k ***"]);
    let keyless = NewRecord {
        value: Some(b"v"),
        ..NewRecord::default()
    };
    let made = block(bound.project(input([keyless].into_iter()))).unwrap();
    assert_eq!(outputs(&made), ["- -"]);
}

#[test]
fn decisions_are_what_they_were() {
    let bound = bind(&golden(), Hook::RetryPolicy, &[], &[]);
    let failures = [1, 3, 4, 1].map(|number| Attempt {
        number,
        message: "no answer".to_owned(),
    });
    let batch = tagged(&["x", "x", "x", "park"]);
    let decided = block(bound.decide(batch, failures.to_vec())).unwrap();
    let expected = [
        Decision::Delay(Duration::from_millis(100)),
        Decision::Delay(Duration::from_millis(300)),
        Decision::DeadLetter,
        Decision::ParkKey,
    ];
    assert_eq!(decided.values, expected);
}
