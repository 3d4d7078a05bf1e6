//! `weir plugin logs`: what plugins write, once and as it comes.

use std::io::{BufRead, BufReader};

use serde_json::Value;

use crate::broker::interrupt;
use crate::home::{Home, sources};

#[test]
fn lines_are_shown_and_followed() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    // It logs when it is configured, and when a record makes it panic.
    let plugin = sources().join("plugins/golden/contract-1.0.0.wasm");
    let push = [
        "plugin",
        "push",
        plugin.to_str().unwrap(),
        "--name",
        "golden",
    ];
    home.ok(&push);
    let nothing = home.weir(&["plugin", "logs", "golden"]).expect(0);
    assert_eq!(nothing.stdout, "", "it is not bound");
    assert!(
        nothing
            .stderr
            .contains("lines go with their binding or subscription"),
        "{nothing:?}"
    );
    let nothing = home.weir(&["plugin", "history", "--topic", "orders"]);
    let nothing = nothing.expect(0);
    assert!(nothing.stderr.contains("was ever bound"), "{nothing:?}");
    let bind = [
        "plugin", "bind", "golden", "--topic", "orders", "--hook", "key",
    ];
    let binding = home.json(&bind)[0]["binding"].clone();

    let lines = home.json(&["plugin", "logs", "golden"]);
    assert_eq!(lines[0]["message"], "configured with the header tag");
    assert_eq!(lines[0]["level"], "info");
    assert_eq!(lines[0]["binding"], binding);
    let text = home.ok(&["plugin", "logs", "golden"]);
    let expected = format!("binding {binding} (key of orders)  info   configured");
    assert!(text.starts_with(&expected), "{text}");

    let follow = ["plugin", "logs", "golden", "--follow", "--output", "json"];
    let mut child = home.command(&follow).spawn().unwrap();
    let mut followed = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next =
        || -> Value { serde_json::from_str(&followed.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["message"], "configured with the header tag");
    let produce = ["produce", "orders", "--tag", "panic"];
    home.weir_with_input(&produce, b"one\n").expect(1);
    let panicked = loop {
        let line = next();
        if line["level"] == "error" {
            break line;
        }
    };
    let message = panicked["message"].as_str().unwrap();
    assert!(
        message.contains("the record asked for a panic"),
        "{message}"
    );
    // The binding that takes its place is followed, and what it said itself is still there.
    let again = home.json(&bind)[0]["binding"].clone();
    assert_ne!(again, binding);
    let line = next();
    assert_eq!(
        (&line["binding"], &line["message"]),
        (&again, &"configured with the header tag".into())
    );
    let lines = home.json(&["plugin", "logs", "golden"]);
    let of = |binding: &Value| {
        lines
            .iter()
            .filter(|line| line["binding"] == *binding)
            .count()
    };
    assert!(of(&binding) >= 2 && of(&again) == 1, "{lines:?}");
    interrupt(child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    what_subscriptions_do_is_shown(&home);
    for verb in ["logs", "show"] {
        home.weir(&["plugin", verb, "golden1"])
            .fails(1, "did you mean \"golden\"?");
    }
    home.weir(&["plugin", "logs", "nobody"]).fails(1, "nobody");
}

/// A consumer whose filter is the plugin, beside its binding.
fn what_subscriptions_do_is_shown(home: &Home) {
    home.ok(&["topic", "create", "plain"]);
    let produce = ["produce", "plain", "--tag", "keep"];
    home.weir_with_input(&produce, b"one\ntwo\n").expect(0);
    let consume = [
        "consume",
        "plain",
        "--filter",
        "golden",
        "--config",
        "header=tag",
    ];
    let mut consumer = home.command(&consume).spawn().unwrap();
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");

    let show = ["plugin", "show", "golden"];
    let shown = home.json(&show)[0].clone();
    assert_eq!(shown["subscriptions_unlisted"], 0);
    let [one] = shown["subscriptions"].as_array().unwrap().as_slice() else {
        panic!("one consumer has it: {shown}");
    };
    let number = one["subscription"].as_u64().unwrap();
    for (name, value) in [
        ("position", Value::from(0)),
        ("topic", "plain".into()),
        ("topics", 1.into()),
        ("hook", "filter".into()),
        ("records", 2.into()),
        ("records_out", 2.into()),
        ("failed", 0.into()),
        ("quarantine", Value::Null),
    ] {
        assert_eq!(one[name], value, "{name}: {one}");
    }
    assert_eq!(one["config"]["header"], "tag");
    let table = home.ok(&show);
    let row = table.lines().find(|line| line.contains("header=tag"));
    let cells: Vec<_> = row.unwrap().split_whitespace().collect();
    let expected = [&number.to_string(), "0", "plain", "filter"];
    assert_eq!(cells[..4], expected, "{table}");
    assert_eq!((cells[8], cells[9], cells[12]), ("2", "2", "ok"), "{table}");

    let logs = ["plugin", "logs", "golden"];
    let line = format!(
        "subscription {number} at place 0 (filter of plain)  info   configured with the header tag"
    );
    let is_told = |text: &str| text.lines().any(|told| told == line);
    let text = home.ok(&logs);
    assert!(is_told(&text), "{text}");
    interrupt(consumer.id());
    consumer.wait().unwrap();
    // Once it is gone, what it said is still there.
    let is_gone = || {
        let shown = home.json(&show);
        shown[0]["subscriptions"].as_array().unwrap().is_empty()
    };
    assert!(
        (0..1000).any(|_| is_gone()),
        "its subscription ends with it"
    );
    let text = home.ok(&logs);
    assert!(is_told(&text), "{text}");
    let object = home.json(&logs);
    let object = object.iter().find(|line| line["subscription"] == number);
    assert_eq!(object.unwrap()["binding"], Value::Null);
}
