//! `weir topic`: what a topic keeps, changed while it is used, and what goes.

use serde_json::{Value, json};

use crate::home::Home;

fn describe(home: &Home, topic: &str) -> Value {
    home.json(&["topic", "describe", topic]).remove(0)
}

#[test]
fn a_topic_keeps_what_it_is_told_to() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    let create = [
        "topic",
        "create",
        "orders",
        "--partitions",
        "2",
        "--retention",
        "7d",
    ];
    let more = [
        "--retention-bytes",
        "10GiB",
        "--when-unread",
        "delete",
        "--compact",
    ];
    home.ok(&[&create[..], &more].concat());
    home.ok(&["topic", "create", "plain"]);
    let settings = |topic: &str| {
        let topic = describe(&home, topic);
        let names = ["retention_ms", "retention_bytes", "when_unread", "compact"];
        json!(names.map(|name| topic[name].clone()))
    };
    assert_eq!(settings("plain"), json!([null, null, "keep", false]));
    assert_eq!(
        settings("orders"),
        json!([7 * 86_400_000_u64, 10_u64 << 30, "delete", true])
    );
    let text = home.ok(&["topic", "describe", "orders"]);
    for expected in [
        "at most 7d old, at most 10.0 GiB per partition",
        "unread     delete",
    ] {
        assert!(text.contains(expected), "{text}");
    }

    home.ok(&[
        "topic",
        "update",
        "orders",
        "--retention",
        "12h",
        "--no-compact",
    ]);
    assert_eq!(
        settings("orders"),
        json!([12 * 3_600_000, 10_u64 << 30, "delete", false])
    );
    let lifted = [
        "--retention",
        "none",
        "--retention-bytes",
        "none",
        "--when-unread",
        "keep",
    ];
    let updated = home.json(&[&["topic", "update", "orders"][..], &lifted].concat());
    assert_eq!(updated[0]["retention_ms"], Value::Null);
    assert_eq!(settings("orders"), json!([null, null, "keep", false]));

    home.weir(&["topic", "update", "orders"])
        .fails(2, "nothing to change");
    home.weir(&["topic", "update", "ordres", "--compact"])
        .fails(1, "did you mean \"orders\"");
}

#[test]
fn partitions_are_added_behind_a_fence() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t", "--partitions", "2"]);
    let produce = ["produce", "t", "--partition", "1"];
    home.weir_with_input(&produce, b"a\nb\n").expect(0);
    let updated = home.json(&["topic", "update", "t", "--partitions", "4"]);
    assert_eq!(updated[0]["partitions"], 4);
    let topic = describe(&home, "t");
    assert_eq!(topic["partitions"].as_array().unwrap().len(), 4);
    assert_eq!(topic["fences"][0]["partitions"], 2);
    assert_eq!(topic["fences"][0]["ends"], json!([0, 2]));
    assert!(
        home.ok(&["topic", "describe", "t"])
            .contains("PARTITIONS BEFORE")
    );
    home.weir(&["topic", "update", "t", "--partitions", "3"])
        .fails(1, "4");
    home.weir_with_input(&["produce", "t", "--partition", "3"], b"c\n")
        .expect(0);
    assert_eq!(
        home.ok(&["consume", "t", "--partition", "3", "--until-end"]),
        "c\n"
    );
}

#[test]
fn partitions_tell_what_they_hold() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t", "--partitions", "2"]);
    assert_eq!(describe(&home, "t")["oldest"], Value::Null);
    let produce = ["produce", "t", "--partition", "1"];
    home.weir_with_input(&produce, b"a\nb\nc\n").expect(0);
    let topic = describe(&home, "t");
    assert_eq!(topic["partitions"][0]["records"], 0);
    let partition = &topic["partitions"][1];
    let bounds = (
        &partition["start"],
        &partition["end"],
        &partition["records"],
    );
    assert_eq!(bounds, (&0.into(), &3.into(), &3.into()));
    assert!(partition["bytes"].as_u64().unwrap() > 0, "{topic}");
    assert!(partition["oldest"].is_string(), "{topic}");
    assert_eq!(topic["oldest"], partition["oldest"]);
}

#[test]
fn the_oldest_records_go_on_purpose_only() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "t"]);
    for value in ["a\nb\n", "c\n"] {
        home.weir_with_input(&["produce", "t"], value.as_bytes())
            .expect(0);
    }
    let before = describe(&home, "t");
    assert_eq!(before["partitions"][0]["records"], 3);
    assert!(
        before["partitions"][0]["bytes"].as_u64().unwrap() > 0,
        "{before}"
    );
    assert_eq!(before["oldest"], before["partitions"][0]["oldest"]);
    assert!(before["oldest"].is_string(), "{before}");

    home.weir(&["topic", "truncate", "t", "--before", "2"])
        .fails(2, "--yes");
    home.weir(&["topic", "truncate", "t", "--before", "soon"])
        .fails(2, "-1h");
    assert_eq!(home.ok(&["consume", "t", "--until-end"]), "a\nb\nc\n");
    let gone = home.json(&["topic", "truncate", "t", "--before", "2", "--yes"]);
    assert_eq!(
        gone[0],
        json!({ "topic": "t", "partitions": [{ "partition": 0, "before": 0, "start": 2 }] })
    );
    assert_eq!(home.ok(&["consume", "t", "--until-end"]), "c\n");
    let after = &describe(&home, "t")["partitions"][0];
    assert_eq!((&after["start"], &after["end"]), (&2.into(), &3.into()));

    home.ok(&["topic", "truncate", "t", "--before", "-1h", "--yes"]);
    assert_eq!(home.ok(&["consume", "t", "--until-end"]), "c\n");
    home.ok(&["topic", "truncate", "t", "--before", "2100-01-01", "--yes"]);
    assert_eq!(home.ok(&["consume", "t", "--until-end"]), "");
    home.weir(&["topic", "truncate", "t", "--before", "99", "--yes"])
        .fails(1, "99");
}
