//! What is said of bindings: limits within their ranges, and the headers of dead letters.

use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord, Records, verify};
use weir_wire::dead_letter::DeadLetter;
use weir_wire::id::{BindingId, Offset, PartitionId, PluginVersion, Timestamp};
use weir_wire::limits::{BINDING_MEMORY_MAX, BINDING_MEMORY_MIN};
use weir_wire::name::TopicName;
use weir_wire::plugin::Hook;
use weir_wire::request::BindingLimits;

#[test]
fn limits_have_ranges() {
    let none = BindingLimits::default();
    let memory = |bytes| BindingLimits {
        memory_bytes: Some(bytes),
        ..none.clone()
    };
    let cpu = |ms| BindingLimits {
        cpu_ms: Some(ms),
        ..none.clone()
    };
    let fine = [
        none.clone(),
        memory(BINDING_MEMORY_MIN),
        memory(BINDING_MEMORY_MAX),
        cpu(1),
        cpu(10_000),
    ];
    assert!(fine.iter().all(|limits| limits.check().is_ok()));
    for (limits, said) in [
        (
            cpu(0),
            "CPU time (ms) of a binding is limited to 1 to 10000, not 0",
        ),
        (
            cpu(10_001),
            "CPU time (ms) of a binding is limited to 1 to 10000, not 10001",
        ),
        (
            memory(BINDING_MEMORY_MIN - 1),
            "memory (bytes) of a binding is limited to 65536 to 268435456, not 65535",
        ),
    ] {
        assert_eq!(limits.check().unwrap_err().to_string(), said);
    }
}

#[test]
fn a_dead_letter_is_the_record_with_headers_behind_its_own() {
    let topic: TopicName = "air/flights".parse().unwrap();
    let plugin = "json-key".parse().unwrap();
    let why = DeadLetter {
        topic: &topic,
        plugin: &plugin,
        version: PluginVersion::new([0xab; 32]),
        hook: Hook::Key,
        binding: Some(BindingId::new(7)),
        message: "no field",
        backtrace: None,
        read_from: None,
    };
    let delivered = DeadLetter {
        binding: None,
        backtrace: Some("key\nmain"),
        read_from: Some((PartitionId::new(3), Offset::new(9))),
        ..why
    };
    let version = "ab".repeat(32);
    let mut expected = vec![
        ("tag", "UA"),
        ("weir-dlq-topic", "air/flights"),
        ("weir-dlq-plugin", "json-key"),
        ("weir-dlq-version", &version),
        ("weir-dlq-hook", "key"),
        ("weir-dlq-binding", "7"),
        ("weir-dlq-message", "no field"),
    ];
    check(&why, &expected);
    expected.retain(|(name, _)| *name != "weir-dlq-binding");
    expected.extend([
        ("weir-dlq-backtrace", "key\nmain"),
        ("weir-dlq-partition", "3"),
        ("weir-dlq-offset", "9"),
    ]);
    check(&delivered, &expected);
}

fn check(why: &DeadLetter<'_>, expected: &[(&str, &str)]) {
    for (key, value) in [(None, Some(&b"body"[..])), (Some(&b"k"[..]), None)] {
        let mut builder = BatchBuilder::default();
        let headers = [("tag", &b"UA"[..])];
        builder.push(
            Timestamp::new(5),
            &NewRecord {
                key,
                value,
                headers: &headers,
            },
        );
        let batch = builder.finish(Compression::None).unwrap();
        let record = Records::new(&batch[HEADER_LEN..], 1).next().unwrap();
        let mut letters = BatchBuilder::default();
        letters.push_body(Timestamp::new(5), &why.body(&record.unwrap()));
        let letters = letters.finish(Compression::None).unwrap();
        let verified = verify(&letters).unwrap();
        let letter = Records::new(&verified.records, 1).next().unwrap().unwrap();
        assert_eq!((letter.key, letter.value), (key, value));
        let headers = letter.headers().map(|(name, value)| {
            let text = |bytes| std::str::from_utf8(bytes).unwrap();
            (text(name), text(value.unwrap()))
        });
        assert_eq!(headers.collect::<Vec<_>>(), expected);
    }
}
