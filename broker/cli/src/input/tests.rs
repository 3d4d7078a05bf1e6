//! Compressions, lines and the fields picked out of them.

use std::io::Write;

use bytes::Bytes;

use super::*;

fn rules(format: Format) -> LineRules {
    LineRules {
        format,
        key_field: None,
        tag_field: None,
        key_separator: None,
    }
}

fn read_all(bytes: &[u8], rules: &LineRules, skip: u64) -> Vec<Line> {
    let source = Source::from_bytes(bytes.to_vec().leak()).unwrap();
    let mut chunks = read_in_background(source, rules.clone(), LineNumber::new(skip));
    let mut lines = Vec::new();
    while let Some(chunk) = chunks.blocking_recv() {
        lines.extend(chunk.unwrap());
    }
    lines
}

fn record(key: Option<&str>, tag: Option<&str>, value: &str) -> Item {
    Item::Record(InputRecord {
        key: key.map(|key| Bytes::from(key.to_owned())),
        tag: tag.map(|tag| Bytes::from(tag.to_owned())),
        value: Some(Bytes::from(value.to_owned())),
        ..InputRecord::default()
    })
}

#[test]
fn compressions_are_recognised() {
    let text = b"one\ntwo\n".repeat(1000);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::stream::encode_all(&*text, 1).unwrap();
    let plain = read_all(&text, &rules(Format::Lines), 0);
    assert_eq!(plain.len(), 2000);
    assert_eq!(read_all(&gzip, &rules(Format::Lines), 0), plain);
    assert_eq!(read_all(&zstd, &rules(Format::Lines), 0), plain);
    // Two gzip members in one file, as `cat a.gz b.gz` makes them.
    let twice = read_all(&[&*gzip, &*gzip].concat(), &rules(Format::Lines), 0);
    assert_eq!(twice.len(), 4000);
}

#[test]
fn damaged_gzip_names_the_last_line() {
    let text: Vec<u8> = (0..100_000)
        .flat_map(|n| format!("{n}\n").into_bytes())
        .collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&text).unwrap();
    let mut gzip = gzip.finish().unwrap();
    gzip.truncate(gzip.len() / 2);
    let source = Source::from_bytes(gzip.leak()).unwrap();
    let mut chunks = read_in_background(source, rules(Format::Lines), LineNumber::default());
    let mut last = Ok(Vec::new());
    while let Some(chunk) = chunks.blocking_recv() {
        last = chunk;
    }
    let message = last.unwrap_err().to_string();
    assert!(
        message.starts_with("cannot read the input after line "),
        "{message}"
    );
}

#[test]
fn lines_keep_every_byte() {
    let lines = read_all(b"a\r\n\n  b", &rules(Format::Lines), 0);
    let items: Vec<_> = lines.into_iter().map(|line| line.item).collect();
    assert_eq!(
        items,
        ["a\r", "", "  b"].map(|value| record(None, None, value))
    );
}

#[test]
fn skipped_lines_are_counted() {
    let lines = read_all(b"a\nb\nc\n", &rules(Format::Lines), 2);
    assert_eq!(
        lines,
        [Line {
            number: LineNumber::new(3),
            item: record(None, None, "c"),
        }]
    );
}

#[test]
fn raw_is_one_record() {
    let lines = read_all(b"a\nb\n", &rules(Format::Raw), 0);
    assert_eq!(lines[0].item, record(None, None, "a\nb\n"));
    assert_eq!(lines.len(), 1);
}

#[test]
fn a_line_that_no_batch_holds_is_bad_and_the_next_one_is_not() {
    let mut text = vec![b'x'; reader::RECORD_BYTES_MAX + 10];
    text.extend_from_slice(b"\nshort\n");
    let lines = read_all(&text, &rules(Format::Lines), 0);
    assert!(matches!(&lines[0].item, Item::Bad { reason, .. } if reason.starts_with("longer")));
    assert_eq!(lines[1].item, record(None, None, "short"));
}

#[test]
fn keys_before_a_separator() {
    let rules = LineRules {
        key_separator: Some("::".to_owned()),
        ..rules(Format::Lines)
    };
    for (line, key, value) in [
        ("k::v::w", Some("k"), "v::w"),
        ("::v", Some(""), "v"),
        ("no key", None, "no key"),
        ("k::", Some("k"), ""),
        (":", None, ":"),
    ] {
        let item = rules.apply(Bytes::from_static(line.as_bytes()));
        assert_eq!(item, record(key, None, value), "{line}");
    }
}

#[test]
fn fields_as_key_and_tag() {
    let rules = LineRules {
        key_field: Some("k".to_owned()),
        tag_field: Some("t".to_owned()),
        ..rules(Format::Ndjson)
    };
    for (line, key, tag) in [
        (r#"{"k":"a\u00e9\"","t":"x"}"#, Some("a\u{e9}\""), Some("x")),
        (r#"{"k":1.50,"t":true}"#, Some("1.50"), Some("true")),
        (r#"{"k":null,"other":{"k":"no"}}"#, None, None),
        (r#"{"\u006b":"escaped name"}"#, Some("escaped name"), None),
        (r#"{"k":1,"k":2}"#, Some("2"), None),
        ("  {}", None, None),
    ] {
        let item = rules.apply(Bytes::from_static(line.as_bytes()));
        assert_eq!(item, record(key, tag, line), "{line}");
    }
}

#[test]
fn one_field_can_be_both() {
    let rules = LineRules {
        key_field: Some("k".to_owned()),
        tag_field: Some("k".to_owned()),
        ..rules(Format::Ndjson)
    };
    let line = r#"{"k":"a"}"#;
    let item = rules.apply(Bytes::from_static(line.as_bytes()));
    assert_eq!(item, record(Some("a"), Some("a"), line));
}

#[test]
fn bad_json_is_refused_with_its_reason() {
    let with_key = LineRules {
        key_field: Some("k".to_owned()),
        ..rules(Format::Ndjson)
    };
    for (rules, line, expected) in [
        (
            &rules(Format::Ndjson),
            "{\"a\":}",
            "not JSON: a value is expected (text stands in quotes) at column 6",
        ),
        (
            &rules(Format::Ndjson),
            "{} {}",
            "not JSON: something stands behind the document at column 4",
        ),
        (&with_key, "{} {}", "something stands behind the document"),
        (&with_key, "{\"k\":", "not JSON: it ends too early"),
        (&with_key, "[1]", "an object with fields is expected"),
        (&with_key, r#"{"k":{}}"#, "field \"k\" is an object"),
        (&with_key, r#"{"k":[1]}"#, "field \"k\" is a list"),
    ] {
        match rules.apply(Bytes::from_static(line.as_bytes())) {
            Item::Bad { reason, .. } => assert!(reason.contains(expected), "{line}: {reason}"),
            other => panic!("{line}: {other:?}"),
        }
    }
}

#[test]
fn blank_lines_are_no_json_and_no_error() {
    for line in ["", "  ", "\r"] {
        let item = rules(Format::Ndjson).apply(Bytes::from_static(line.as_bytes()));
        assert_eq!(item, Item::Blank);
    }
}

#[test]
fn printed_records_are_read_back() {
    use weir_wire::id::{Offset, PartitionId, Timestamp};
    use weir_wire::placement::OrderingKey;

    use crate::record::Row;

    let topic = "orders".parse().unwrap();
    let binary: &[u8] = &[0, 0xff, b'\n'];
    let headers: Vec<(&[u8], Option<&[u8]>)> = vec![
        (b"tag", Some(b"blue")),
        (b"trace", Some(binary)),
        (b"trace", Some(b"two\nlines")),
    ];
    for (key, value) in [
        (Some(&b"k"[..]), Some(&b"two\nlines"[..])),
        (Some(binary), Some(binary)),
        (None, Some(b"".as_slice())),
        (Some(b"gone".as_slice()), None),
    ] {
        let row = Row {
            topic: &topic,
            partition: PartitionId::new(1),
            offset: Offset::new(7),
            append_time: Timestamp::new(5_000),
            timestamp: Timestamp::new(1_234),
            key,
            ordering_key: OrderingKey::NONE,
            headers: headers.clone(),
            value,
        };
        let line = Bytes::from(row.json().to_string());
        let read = rules(Format::Record).apply(line);
        let kept = headers.iter().map(|(name, value)| {
            let name = String::from_utf8(name.to_vec()).unwrap();
            (name, Bytes::copy_from_slice(value.unwrap()))
        });
        let expected = InputRecord {
            key: key.map(Bytes::copy_from_slice),
            tag: None,
            headers: kept.collect(),
            timestamp: Some(Timestamp::new(1_234)),
            value: value.map(Bytes::copy_from_slice),
        };
        assert_eq!(read, Item::Record(expected));
    }
}

#[test]
fn what_is_no_printed_record_is_refused_with_its_reason() {
    for (line, expected) in [
        ("[]", "no record as weir prints it"),
        (r#"[null,"k",null,null,null,{},"v",null]"#, "no JSON object"),
        (r#"{"origin":"EWR"}"#, "it has no field value"),
        (r#"{"key":null,"value":null}"#, "without key and value"),
        (r#"{"value":5}"#, "expected a string"),
        (
            r#"{"value":"a","value_base64":"YQ=="}"#,
            "both value and value_base64",
        ),
        (r#"{"value_base64":"?"}"#, "value_base64 is no base64"),
        (
            r#"{"value":"a","timestamp":"soon"}"#,
            "timestamp \"soon\" is no time",
        ),
        (
            r#"{"value":"a","headers":{"h":null}}"#,
            "header \"h\" has no value",
        ),
        (
            r#"{"value":"a","headers":{"h":[1]}}"#,
            "neither text nor base64",
        ),
    ] {
        match rules(Format::Record).apply(Bytes::from_static(line.as_bytes())) {
            Item::Bad { reason, .. } => assert!(reason.contains(expected), "{line}: {reason}"),
            other => panic!("{line}: {other:?}"),
        }
    }
    let item = rules(Format::Record).apply(Bytes::from_static(b" "));
    assert_eq!(item, Item::Blank);
}
