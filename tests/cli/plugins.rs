//! Plugins and bindings: chains, their history, going back.

use serde_json::Value;

use crate::home::{Home, sources};

fn push(home: &Home, component: &str, name: &str) -> String {
    let file = sources().join(format!("plugins/prebuilt/{component}.wasm"));
    let file = file.to_str().unwrap();
    push_file(home, file, name)
}

fn push_file(home: &Home, file: &str, name: &str) -> String {
    let pushed = home.json(&["plugin", "push", file, "--name", name]);
    pushed[0]["version"].as_str().unwrap().to_owned()
}

/// The same plugin as another version: an empty section at its end gives it another hash.
fn push_again(home: &Home, component: &str, name: &str) -> String {
    let file = sources().join(format!("plugins/prebuilt/{component}.wasm"));
    let mut bytes = std::fs::read(file).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    push_file(home, &home.file(&format!("{name}-2.wasm"), bytes), name)
}

fn bindings(home: &Home, topic: &str) -> Vec<(u64, u64, String)> {
    let described = &home.json(&["topic", "describe", topic])[0]["bindings"];
    let bindings = described.as_array().unwrap().iter();
    let number = |binding: &Value, field: &str| binding[field].as_u64().unwrap();
    bindings
        .map(|binding| {
            let field = binding["config"]["field"].as_str().unwrap_or_default();
            (
                number(binding, "binding"),
                number(binding, "position"),
                field.to_owned(),
            )
        })
        .collect()
}

const LIMITS_CHANGED: &str = "limits: the broker's own → cpu-time=50ms log-rate=3";

#[test]
fn a_version_is_switched_to_and_back() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders", "--partitions", "2"]);
    let first = push(&home, "json-key", "by-field");
    let bind = |more: &[&str]| {
        let bind = [
            "plugin", "bind", "by-field", "--topic", "orders", "--hook", "key",
        ];
        home.json(&[&bind[..], more].concat())[0].clone()
    };
    let bound = bind(&["--config", "field=a"]);
    assert_eq!(
        (&bound["binding"], &bound["replaced"]),
        (&1.into(), &Value::Null)
    );
    home.ok(&[
        "produce",
        "orders",
        &home.file("one", "{\"a\":1,\"b\":2}\n"),
        "--format",
        "ndjson",
    ]);
    let second = push_again(&home, "json-key", "by-field");
    assert_ne!(first, second);
    let bound = bind(&[
        "--config",
        "field=b",
        "--cpu-time",
        "50ms",
        "--log-rate",
        "3",
    ]);
    assert_eq!(
        (&bound["binding"], &bound["replaced"]),
        (&2.into(), &1.into())
    );
    assert_eq!(bound["version"], second.as_str());
    assert_eq!(bound["limits"]["cpu_ms"], 50);
    assert_eq!(bound["limits"]["log_lines_per_second"], 3);
    let changes = bound["changes"].as_array().unwrap();
    assert_eq!(
        changes[1..],
        ["settings: field=a → field=b", LIMITS_CHANGED]
    );
    let table = home.ok(&["topic", "describe", "orders"]);
    assert!(table.contains("cpu-time=50ms log-rate=3"), "{table}");
    let back = &home.json(&["plugin", "rollback", "by-field", "--topic", "orders"])[0];
    assert_eq!(
        (&back["binding"], &back["replaced"]),
        (&3.into(), &2.into())
    );
    assert_eq!(
        (&back["version"], &back["config"]["field"]),
        (&first.as_str().into(), &"a".into())
    );
    assert_eq!(back["limits"], Value::Null);
    let again = &home.json(&["plugin", "rollback", "by-field", "--topic", "orders"])[0];
    assert_eq!(
        (&again["version"], &again["limits"]["cpu_ms"]),
        (&second.as_str().into(), &50.into())
    );
    home.ok(&["plugin", "unbind", "4", "--yes"]);

    check_history(&home);
}

/// What the binds, rollbacks and the unbind left behind, and what there is to go back to.
fn check_history(home: &Home) {
    let events = home.json(&["plugin", "history", "--topic", "orders"]);
    let told = events.iter().map(|event| {
        let sum: u64 = event["from"][0]["offsets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|offset| offset.as_u64().unwrap())
            .sum();
        let action = event["action"].as_str().unwrap();
        (
            action,
            event["binding"].as_u64().unwrap(),
            event["replaced"].as_u64(),
            sum,
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            ("bound", 1, None, 0),
            ("replaced", 2, Some(1), 1),
            ("rolled-back", 3, Some(2), 1),
            ("rolled-back", 4, Some(3), 1),
            ("unbound", 4, None, 1),
        ]
    );
    let table = home.ok(&["plugin", "history", "--topic", "orders"]);
    assert!(table.contains("rolled-back"), "{table}");
    assert!(table.contains("cpu-time=50ms log-rate=3"), "{table}");
    assert!(table.contains("ON ERROR"), "{table}");
    let nothing = ["plugin", "rollback", "by-field", "--topic", "orders"];
    home.weir(&nothing)
        .fails(1, "is not bound to topic \"orders\"");
    home.weir(&["plugin", "history", "--topic", "ordres"])
        .fails(1, "did you mean \"orders\"?");
}

/// One component at two hooks of a topic: each is a binding with a past of its own.
#[test]
fn hooks_go_back_one_by_one() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    let golden = sources().join("plugins/golden/contract-1.0.0.wasm");
    let first = push_file(&home, golden.to_str().unwrap(), "golden");
    let bind = |hook: &str| {
        let bind = [
            "plugin", "bind", "golden", "--topic", "orders", "--hook", hook,
        ];
        home.json(&bind)[0].clone()
    };
    bind("key");
    bind("transform");
    let mut bytes = std::fs::read(&golden).unwrap();
    bytes.extend([0, 2, 1, b'x']);
    let second = push_file(&home, &home.file("golden-2.wasm", bytes), "golden");
    assert_eq!(bind("key")["replaced"], 1);
    assert_eq!(bind("transform")["replaced"], 2);
    let rollback = ["plugin", "rollback", "golden", "--topic", "orders"];
    home.weir(&rollback).fails(1, "--hook");
    let back = &home.json(&[&rollback[..], &["--hook", "key"]].concat())[0];
    assert_eq!(
        (&back["hook"], &back["replaced"]),
        (&"key".into(), &3.into())
    );
    let described = &home.json(&["topic", "describe", "orders"])[0]["bindings"];
    let mut now: Vec<_> = described
        .as_array()
        .unwrap()
        .iter()
        .map(|binding| (binding["hook"].as_str(), binding["version"].as_str()))
        .collect();
    now.sort_unstable();
    assert_eq!(
        now,
        [
            (Some("key"), Some(&first[..])),
            (Some("transform"), Some(&second[..])),
        ]
    );
}

#[test]
fn a_chain_has_an_order() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    push(&home, "json-key", "one");
    push(&home, "json-key", "two");
    let bind = |name: &str, field: &str, more: &[&str]| {
        let field = format!("field={field}");
        let bind = ["plugin", "bind", name, "--topic", "orders", "--hook", "key"];
        home.weir(&[&bind[..], &["--config", &field], more].concat())
    };
    bind("one", "a", &[]).expect(0);
    bind("two", "b", &[]).expect(0);
    bind("two", "c", &["--position", "0"]).expect(0);
    let chain = |expected: &[(u64, &str)]| {
        let expected = (0..)
            .zip(expected)
            .map(|(at, (id, field))| (*id, at, (*field).to_owned()));
        assert_eq!(bindings(&home, "orders"), expected.collect::<Vec<_>>());
    };
    chain(&[(3, "c"), (1, "a"), (2, "b")]);
    bind("two", "d", &[]).fails(1, "as bindings 3, 2; say which it replaces (--replace 3)");
    bind("two", "d", &["--replace", "1"]).expect(0);
    chain(&[(3, "c"), (4, "d"), (2, "b")]);
    bind("one", "e", &["--position", "7"]).fails(1, "is 0 to 3, not 7");
    bind("one", "e", &["--replace", "1"]).fails(1, "binding 1 is none of topic \"orders\"");
    bind("one", "e", &["--replace", "2", "--position", "0"]).fails(2, "cannot be used with");
    bind("one", "e", &["--memory", "1KiB"]).fails(2, "memory (bytes) of a binding is limited");
    bind("one", "e", &["--cpu-time", "10us"]).fails(2, "whole milliseconds");
    bind("one", "e", &["--on-error", "skip"]).fails(2, "use fail, drop, dead-letter");
    home.weir(&["plugin", "rollback", "two", "--topic", "orders"])
        .fails(1, "several times, as bindings 3, 4, 2");
    home.ok(&["plugin", "unbind", "4", "--yes"]);
    chain(&[(3, "c"), (2, "b")]);
    home.weir(&["plugin", "unquarantine", "4"])
        .fails(1, "binding 4 does not exist");
    let told = &home.json(&["plugin", "unquarantine", "3"])[0];
    assert_eq!(told["unquarantined"], true);
    let done = home.weir(&["plugin", "unquarantine", "3"]).expect(0);
    assert!(done.stderr.contains("binding 3 is tried again"), "{done:?}");
    let status = &home.json(&["status"])[0]["bindings"][0];
    assert_eq!(
        (&status["quarantine"], &status["impure"]),
        (&Value::Null, &false.into())
    );
}

#[test]
fn what_a_plugin_fails_on_is_a_dead_letter() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    push(&home, "json-key", "by-field");
    let bind = [
        "plugin", "bind", "by-field", "--topic", "orders", "--hook", "key",
    ];
    let how = ["--config", "field=a", "--on-error", "dead-letter"];
    let bound = &home.json(&[&bind[..], &how].concat())[0];
    assert_eq!(bound["dead_letters"], "orders.dlq");
    home.weir(&["topic", "delete", "orders.dlq", "--yes"])
        .fails(1, "is where binding 1 of topic \"orders\" leads");
    let input = home.file("input", "{\"a\":1}\nno JSON\n{\"a\":2}\n");
    let counts = home.weir(&[
        "produce", "orders", &input, "--header", "x=y", "--output", "json",
    ]);
    let counts: Value = serde_json::from_str(&counts.stdout).unwrap();
    assert_eq!(
        (&counts["stored"], &counts["dead_lettered"]),
        (&2.into(), &1.into())
    );
    let letter = &home.json(&["consume", "orders.dlq", "--until-end"])[0];
    assert_eq!(letter["value"], "no JSON");
    let headers = &letter["headers"];
    let header = |name: &str| headers[name].as_str().unwrap_or_default().to_owned();
    assert_eq!(header("x"), "y");
    assert_eq!(header("weir-dlq-topic"), "orders");
    assert_eq!(header("weir-dlq-plugin"), "by-field");
    assert_eq!(header("weir-dlq-hook"), "key");
    assert_eq!(header("weir-dlq-binding"), "1");
    assert_eq!(header("weir-dlq-version").len(), 64);
    assert!(!header("weir-dlq-message").is_empty(), "{letter}");
    let ended = home.json(&["plugin", "unbind", "1", "--yes"]);
    assert_eq!(ended[0]["unbound"], true);
    let removed = home.json(&["plugin", "remove", "by-field", "--yes"]);
    assert_eq!(removed[0]["removed"], true);
    let deleted = home.json(&["topic", "delete", "orders.dlq", "--yes"]);
    assert_eq!(deleted[0]["records"], 1);
}

/// What does not exist is told as such, whatever it was to be used for.
#[test]
fn the_plugin_that_was_meant_is_named() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    push(&home, "json-key", "json-key");
    let lines = home.file("lines", "x\n");
    for arguments in [
        &["plugin", "show", "jsonkey"][..],
        &["plugin", "logs", "jsonkey"],
        &["plugin", "remove", "jsonkey@abc"],
        &[
            "plugin", "bind", "jsonkey", "--topic", "orders", "--hook", "key",
        ],
        &[
            "plugin", "test", "jsonkey", "--hook", "key", "--input", &lines,
        ],
        &["consume", "orders", "--filter", "jsonkey"],
        &["consume", "orders", "--project", "jsonkey"],
    ] {
        home.weir(arguments).fails(
            1,
            "plugin \"jsonkey\" does not exist; did you mean \"json-key\"?",
        );
    }
    let remove = ["plugin", "remove"];
    home.weir(&[&remove[..], &["json-key@zz"]].concat())
        .fails(2, "is no version");
    home.weir(&[&remove[..], &["json-key@0123456789abcdef"]].concat())
        .fails(1, "no version of plugin \"json-key\" begins with");
    home.weir(&[&remove[..], &["json-key"]].concat())
        .fails(2, "--yes");
    // A plugin that says no says of itself what it is.
    home.weir(&[
        "plugin", "bind", "json-key", "--topic", "orders", "--hook", "key",
    ])
    .fails(
        1,
        "plugin \"json-key\" for the hook key of topic \"orders\": ",
    );
}

/// Whoever binds may write anything into a setting.
#[test]
fn settings_do_not_move_the_cursor() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "orders"]);
    push(&home, "json-key", "by-field");
    let bind = |field: &str| {
        let field = format!("field={field}");
        let bind = [
            "plugin", "bind", "by-field", "--topic", "orders", "--hook", "key",
        ];
        home.ok(&[&bind[..], &["--config", &field]].concat())
    };
    bind("a\x1b[2Jb");
    let shown = [
        bind("c"),
        home.ok(&["plugin", "history", "--topic", "orders"]),
        home.ok(&["plugin", "rollback", "by-field", "--topic", "orders"]),
        home.ok(&["plugin", "show", "by-field"]),
        home.ok(&["topic", "describe", "orders"]),
    ];
    for text in shown {
        assert!(!text.contains('\x1b'), "{text:?}");
        assert!(text.contains("a\\u{1b}[2Jb"), "{text:?}");
    }
}
