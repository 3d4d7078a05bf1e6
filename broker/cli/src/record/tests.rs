//! Records as each output shows them.

use expect_test::{Expect, expect};

use super::*;

fn print(format: &str, row: &Row<'_>) -> String {
    let mut out = Vec::new();
    let format: RecordFormat = format.parse().unwrap();
    format.write_head(&mut out).unwrap();
    format.write(row, Some(100), &mut out).unwrap();
    String::from_utf8_lossy(&out).into_owned()
}

#[track_caller]
fn check(format: &str, expected: &Expect) {
    let topic: TopicName = "flights".parse().unwrap();
    let row = Row {
        topic: &topic,
        partition: PartitionId::new(2),
        offset: Offset::new(41),
        append_time: Timestamp::new(1_767_323_045_678),
        timestamp: Timestamp::new(1_767_323_045_000),
        key: Some(b"N14228"),
        ordering_key: OrderingKey::from_stored(0xff),
        headers: vec![
            (b"tag", Some(b"UA")),
            (b"trace", Some(b"a")),
            (b"trace", None),
            (b"raw", Some(&[0xff])),
        ],
        value: Some(b"{\"origin\":\"EWR\"}"),
    };
    expected.assert_eq(&print(format, &row));
}

#[test]
fn the_value_and_a_newline() {
    check(
        "value",
        &expect![[r#"
        {"origin":"EWR"}
    "#]],
    );
}

#[test]
fn json_has_the_fields_of_the_contract() {
    check(
        "json",
        &expect![[r#"
        {"topic":"flights","partition":2,"offset":41,"time":"2026-01-02T03:04:05.678Z","timestamp":"2026-01-02T03:04:05.000Z","key":"N14228","ordering_key":"00000000000000ff","tag":"UA","headers":{"tag":"UA","trace":["a",null],"raw":{"base64":"/w=="}},"value":"{\"origin\":\"EWR\"}","attempt":1}
    "#]],
    );
}

#[test]
fn a_template() {
    check(
        r"%t/%p@%o %k %v\n",
        &expect![[r#"
            flights/2@41 N14228 {"origin":"EWR"}
        "#]],
    );
    check(
        r"100%% %g\t%T %K\\",
        &expect!["100% UA\t2026-01-02T03:04:05.678Z 00000000000000ff\\"],
    );
}

#[test]
fn a_table() {
    check(
        "table",
        &expect![[r#"
        TOPIC/PARTITION@OFFSET       TIME                     KEY          TAG      VALUE
        flights/2@41                 2026-01-02T03:04:05.678Z N14228       UA       {"origin":"EWR"}
    "#]],
    );
}

#[test]
fn bytes_that_are_no_text() {
    let topic: TopicName = "t".parse().unwrap();
    let row = Row {
        topic: &topic,
        partition: PartitionId::new(0),
        offset: Offset::new(0),
        append_time: Timestamp::new(0),
        timestamp: Timestamp::new(0),
        key: Some(&[0xfe]),
        ordering_key: OrderingKey::NONE,
        headers: Vec::new(),
        value: Some(&[0xff, 0x00]),
    };
    expect![[r#"
        {"topic":"t","partition":0,"offset":0,"time":"1970-01-01T00:00:00.000Z","timestamp":"1970-01-01T00:00:00.000Z","key_base64":"/g==","ordering_key":null,"tag":null,"headers":{},"value_base64":"/wA=","attempt":1}
    "#]]
    .assert_eq(&print("json", &row));
    let row = Row {
        key: None,
        value: None,
        ..row
    };
    assert!(print("json", &row).contains(r#""key":null"#));
    assert!(print("json", &row).contains(r#""value":null"#));
    let row = Row {
        value: Some(b"\x1b[2Jgone"),
        ..row
    };
    assert!(!print("table", &row).contains('\x1b'));
}

#[test]
fn wrong_templates_say_what_there_is() {
    for (text, expected) in [
        ("jsn", FormatError::Word("jsn".to_owned())),
        ("%z", FormatError::Letter('z')),
        ("%v%", FormatError::Cut('%')),
        (r"%v\", FormatError::Cut('\\')),
        (r"%v\q", FormatError::Escape('q')),
    ] {
        assert_eq!(text.parse::<RecordFormat>(), Err(expected), "{text}");
    }
}

#[test]
fn what_would_act_on_a_terminal_is_spelled_out() {
    let shown = |text: &str| Shown(text.as_bytes()).to_string();
    assert_eq!(shown("héllo\u{1b}[2J"), "héllo\\u{1b}[2J");
    assert_eq!(
        shown("a\u{202e}b\u{2066}c\u{200f}"),
        "a\\u{202e}b\\u{2066}c\\u{200f}"
    );
}
