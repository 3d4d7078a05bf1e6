//! Transforms, projections and retry policies through the host, and those that break the rules.

use crate::support::{bind, block, hostile, input, poisoned, sample, values};
use std::time::Duration;
use weir_host::{Attempt, CallError, Decision, Input, Transformed};
use weir_wire::batch::{NewRecord, Records};
use weir_wire::plugin::Hook;

/// The values of the outputs, which all have one.
fn texts(made: &Transformed) -> Vec<String> {
    let mut records = Records::new(&made.records, made.count);
    let texts = records
        .by_ref()
        .map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap())
        .collect();
    assert!(records.rest().is_empty());
    texts
}

fn attempts(numbers: impl IntoIterator<Item = u32>) -> Vec<Attempt> {
    let attempt = |number| Attempt {
        number,
        message: format!("failed for the {number}th time"),
    };
    numbers.into_iter().map(attempt).collect()
}

#[test]
fn a_transform_changes_every_record_of_many_chunks() {
    let bound = bind(&sample("upper-case"), Hook::Transform, &[], &[]);
    let lower: Vec<String> = (0..20_000).map(|n| format!("{n}: some text")).collect();
    let batch = values(&lower);
    for made in [
        block(bound.transform(batch.clone())).unwrap(),
        bound.transform_now(&batch).unwrap(),
    ] {
        let upper: Vec<String> = lower.iter().map(|text| text.to_uppercase()).collect();
        assert_eq!(texts(&made), upper);
        assert_eq!(made.sources, (0..20_000).collect::<Vec<_>>());
        assert!(made.rejected.is_empty() && made.failures.is_empty() && !made.unchanged);
        let native = weir_host::upper_values(&batch).unwrap();
        assert_eq!(made.records, native);
    }
    let stats = bound.stats();
    assert_eq!((stats.records_in, stats.records_out), (40_000, 40_000));
    assert!(bound.is_pure());
}

#[test]
fn a_transform_rejects_with_a_reason_and_names_records_that_fail() {
    let settings = [
        ("key_from", "tail"),
        ("mask", "name"),
        ("reject_if_null", "delay"),
    ];
    let bound = bind(&sample("json-transform"), Hook::Transform, &settings, &[]);
    let bodies = [
        r#"{"tail":"N1","name":"Ann","delay":1}"#,
        r#"{"tail":"N2","name":"Bob","delay":null}"#,
        "no JSON",
        r#"{"tail":"N3","name":null,"delay":3}"#,
    ];
    let made = block(bound.transform(values(&bodies))).unwrap();
    let masked = [
        r#"{"tail":"N1","name":"***","delay":1}"#,
        r#"{"tail":"N3","name":null,"delay":3}"#,
    ];
    assert_eq!(texts(&made), masked);
    assert_eq!(made.sources, [0, 3]);
    assert_eq!((made.rejected.len(), made.rejected[0].index), (1, 1));
    assert!(
        made.rejected[0].reason.contains("delay"),
        "{:?}",
        made.rejected
    );
    assert_eq!((made.failures.len(), made.failures[0].index), (1, 2));
    assert!(
        made.failures[0].message.contains("JSON"),
        "{:?}",
        made.failures
    );
    let keys: Vec<_> = Records::new(&made.records, made.count)
        .map(|record| record.unwrap().key.unwrap().to_vec())
        .collect();
    assert_eq!(keys, [b"N1", b"N3"]);
}

#[test]
fn a_projection_keeps_offsets_and_leaves_out_what_fails() {
    let plugin = sample("mask-view");
    assert_eq!(plugin.hooks(), [Hook::Transform, Hook::Project]);
    let headers: [(&str, &[u8]); 3] = [("trace", b"1"), ("tag", b"UA"), ("trace", b"2")];
    let record = |value: &'static [u8]| NewRecord {
        value: Some(value),
        headers: &headers,
        ..NewRecord::default()
    };
    let batch = input([record(b"{\"a\":1}"), record(b"no JSON"), record(b"{}")].into_iter());
    let settings = [("mask", "a"), ("remove_header", "trace")];
    let bound = bind(&plugin, Hook::Project, &settings, &[]);
    let made = block(bound.project(batch.clone())).unwrap();
    assert_eq!(texts(&made), [r#"{"a":"***"}"#, "{}"]);
    assert_eq!((&made.sources[..], made.failures.len()), (&[0, 2][..], 1));
    for (record, offset) in Records::new(&made.records, made.count).zip([0, 2]) {
        let record = record.unwrap();
        let tag = (&b"tag"[..], Some(&b"UA"[..]));
        assert_eq!(record.headers().collect::<Vec<_>>(), [tag]);
        assert_eq!(record.offset_delta, offset);
    }
    // As a transform it counts what it stores.
    let bound = bind(&plugin, Hook::Transform, &settings, &[]);
    let made = bound.transform_now(&batch).unwrap();
    let offsets =
        Records::new(&made.records, made.count).map(|record| record.unwrap().offset_delta);
    assert_eq!(offsets.collect::<Vec<_>>(), [0, 1]);
    let other = CallError::OtherHook {
        bound: Hook::Transform,
        called: Hook::Project,
    };
    assert_eq!(block(bound.project(batch)), Err(other));
}

#[test]
fn a_retry_policy_decides_by_attempt_and_record() {
    let settings = [("give_up_after", "3"), ("park_header", "ordered")];
    let bound = bind(&sample("backoff"), Hook::RetryPolicy, &settings, &[]);
    let ordered: [(&str, &[u8]); 1] = [("ordered", b"")];
    let plain = NewRecord::default();
    let keyed = NewRecord {
        headers: &ordered,
        ..plain
    };
    let batch = input([plain, plain, keyed, plain].into_iter());
    let decided = block(bound.decide(batch.clone(), attempts([1, 2, 3, 3]))).unwrap();
    let delay = |millis| Decision::Delay(Duration::from_millis(millis));
    assert_eq!(
        decided.values,
        [
            delay(100),
            delay(200),
            Decision::ParkKey,
            Decision::DeadLetter
        ]
    );
    assert_eq!(
        bound
            .decide_now(&batch, &attempts([1, 1, 1, 1]))
            .unwrap()
            .values,
        [delay(100); 4]
    );
    let error = block(bound.decide(batch, attempts([1]))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 records failed, but 1 failures were given"
    );

    let bound = bind(&hostile("decides-too-few"), Hook::RetryPolicy, &[], &[]);
    let decided = block(bound.decide(values(&["x"]), attempts([1]))).unwrap();
    assert_eq!(
        decided.failures[0].message,
        "the plugin answered 0 verdicts for 1 records"
    );
}

#[test]
fn what_a_transform_leaves_alone_is_the_batch_itself_and_guilty_records_are_found() {
    let bound = bind(&hostile("maps-trap-on-poison"), Hook::Transform, &[], &[]);
    let innocent = poisoned(1_000, &[]);
    let made = block(bound.transform(innocent.clone())).unwrap();
    assert!(made.unchanged && made.records.as_ptr() == innocent.records.as_ptr());

    let guilty = [0, 499, 500, 999];
    let made = block(bound.transform(poisoned(1_000, &guilty))).unwrap();
    let found: Vec<usize> = made.failures.iter().map(|f| f.index as usize).collect();
    assert_eq!(found, guilty);
    assert_eq!(made.count, 996);
    let expected: Vec<String> = (0..1_000)
        .filter(|n| !guilty.contains(n))
        .map(|n| format!("good {n}"))
        .collect();
    assert_eq!(texts(&made), expected);
    let wanted: Vec<u32> = (0..1_000)
        .filter(|n| !guilty.contains(&(*n as usize)))
        .collect();
    assert_eq!(made.sources, wanted);
    let backtrace = made.failures[0].backtrace.as_deref().unwrap();
    assert!(backtrace.starts_with("0: "), "{backtrace}");

    // A projection of the same component fails on the same records.
    let bound = bind(&hostile("maps-trap-on-poison"), Hook::Project, &[], &[]);
    let made = block(bound.project(poisoned(1_000, &guilty))).unwrap();
    assert_eq!((made.count, made.failures.len()), (996, 4));
}

#[test]
fn fan_out_that_is_too_much_is_the_records_fault() {
    let bound = bind(&hostile("maps-fan-out"), Hook::Transform, &[], &[]);
    let made = block(bound.transform(values(&["small", "dropped"]))).unwrap();
    assert_eq!((made.count, &made.sources[..]), (4096, &[0; 4096][..]));
    assert_eq!(texts(&made)[4095], "small");
    let large: Input = values(&["x".repeat(1000)]);
    let made = block(bound.transform(large)).unwrap();
    assert_eq!(
        made.failures[0].message,
        "the plugin was stopped: its outputs have more bytes than they may"
    );
    let error = bind(&hostile("maps-fan-out"), Hook::Project, &[], &[])
        .project_now(&values(&["small"]))
        .unwrap();
    assert!(
        error.failures[0]
            .message
            .starts_with("a projection has exactly one output for each"),
        "{:?}",
        error.failures
    );
}

#[test]
fn a_transform_that_remembers_is_impure_for_all_its_bindings() {
    let plugin = hostile("maps-counts-calls");
    let first = bind(&plugin, Hook::Transform, &[], &[]);
    let second = bind(&plugin, Hook::Transform, &[], &[]);
    assert!(first.is_pure() && second.is_pure());
    // Of so many records the second chunk is judged by an instance that has judged before.
    let many = vec!["x".repeat(100); 4_000];
    block(first.transform(values(&many))).unwrap();
    assert!(!first.is_pure() && !second.is_pure());
    assert!(first.stats().impure && !second.stats().impure);
    assert_eq!(first.identity(), second.identity());
}
