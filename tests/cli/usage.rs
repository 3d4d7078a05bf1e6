//! Help, wrong usage, and errors that need no broker.

use crate::home::Home;

/// Every verb that a person may type.
const VERBS: [&[&str]; 43] = [
    &["serve"],
    &["demo"],
    &["topic", "create"],
    &["topic", "list"],
    &["topic", "describe"],
    &["topic", "update"],
    &["topic", "truncate"],
    &["topic", "delete"],
    &["produce"],
    &["consume"],
    &["plugin", "push"],
    &["plugin", "list"],
    &["plugin", "show"],
    &["plugin", "bind"],
    &["plugin", "unbind"],
    &["plugin", "remove"],
    &["plugin", "history"],
    &["plugin", "rollback"],
    &["plugin", "unquarantine"],
    &["plugin", "logs"],
    &["plugin", "test"],
    &["plugin", "new"],
    &["log", "inspect"],
    &["log", "verify"],
    &["log", "rescue"],
    &["log"],
    &["bench", "produce"],
    &["bench", "consume"],
    &["bench", "latency"],
    &["bench", "partitions"],
    &["bench", "plugin"],
    &["bench", "isolation"],
    &["bench", "all"],
    &["context", "list"],
    &["context", "use"],
    &["context", "show"],
    &["context", "add"],
    &["context", "remove"],
    &["status"],
    &["completions"],
    &["topic"],
    &["plugin"],
    &["context"],
];

#[test]
fn every_verb_explains_itself_with_two_examples() {
    let home = Home::new();
    for verb in VERBS {
        let help = home.ok(&[verb, &["--help"]].concat());
        assert!(help.contains("Usage: weir"), "{verb:?}: {help}");
        // A verb that only has verbs below it leaves the examples to them.
        let group = help.contains("Commands:");
        let (_, examples) = help.rsplit_once("Examples:").unwrap_or_default();
        let examples = examples.matches("weir ").count();
        assert!(group || examples >= 2, "{verb:?} has {examples} examples");
    }
}

#[test]
fn later_verbs_do_not_exist_yet() {
    let home = Home::new();
    for verb in ["group", "transaction", "trace"] {
        home.weir(&[verb, "list"])
            .fails(2, "unrecognized subcommand");
    }
}

#[test]
fn the_compiler_is_hidden() {
    let home = Home::new();
    assert!(!home.ok(&["--help"]).contains("compile"));
    let done = home.weir_with_input(&["compile-component"], b"no component");
    // Its own codes, not those of the contract: the broker tells by them what was wrong.
    assert_eq!(done.code, Some(4), "{done:?}");
    assert_eq!(done.stderr, "no job on stdin\n");
}

#[test]
fn wrong_usage_ends_with_2() {
    let home = Home::new();
    let file = home.file("input", "x\n");
    for (arguments, expected) in [
        (&["topic", "create"][..], "required"),
        (&["topic", "create", "a b"], "letters, digits"),
        (&["topic", "create", "a", "--partitions", "0"], "0"),
        (&["topic", "delete"], "required"),
        (
            &[
                "produce",
                "t",
                &file,
                "--key-field",
                "k",
                "--format",
                "lines",
            ],
            "--format ndjson",
        ),
        (
            &["produce", "t", &file, "--tag", "a", "--tag-field", "b"],
            "cannot be used with",
        ),
        (&["produce", "t", &file, "--rate", "fast"], "5000/s"),
        (
            &["produce", "t", &file, "--compression", "rar"],
            "not one of",
        ),
        (
            &["produce", "t", &file, "--header", "novalue"],
            "NAME=VALUE",
        ),
        (&["consume"], "required"),
        (&["consume", "t", "--from", "yesterday"], "earliest, latest"),
        (&["consume", "t", "--output", "xml"], "value, json, table"),
        (&["consume", "t", "--output", "%z"], "stands for nothing"),
        (&["consume", "t", "--config", "a=b"], "--filter"),
        (
            &["consume", "t", "--config", "a=b", "--filter", "f"],
            "needs a --filter or --project before it",
        ),
        (&["consume", "t", "--memory", "8MiB"], "--filter NAME"),
        (&["consume", "t", "--from", "-1"], "-1h"),
        (&["consume", "t", "--limit", "x"], "a whole number, from 0"),
        (&["serve", "--listen", "127.0.0.1:79510"], "127.0.0.1:7650"),
        (&["topic", "create", "t", "--retention", "0s"], "write none"),
        (&["status", "--connect-timeout", "foo"], "500ms, 3s"),
        (&["plugin", "test", "p.wasm", "--hook", "key"], "--topic"),
        (
            &["plugin", "bind", "p", "--topic", "t", "--hook", "filter"],
            "weir consume",
        ),
        (
            &["plugin", "bind", "p", "--topic", "t", "--hook", "route"],
            "--to VALUE=TOPIC",
        ),
        (
            &[
                "plugin",
                "bind",
                "p",
                "--topic",
                "t",
                "--hook",
                "key",
                "--position",
                "x",
            ],
            "a whole number, from 0",
        ),
        (&["plugin", "unbind", "x"], "number"),
        (&["status", "--broker", "http://x"], "weir://host:port"),
        (
            &["bench", "produce", "--size", "100000", "--batch", "1000"],
            "smaller --batch",
        ),
    ] {
        home.weir(arguments).fails(2, expected);
    }
}

/// Also where a verb reads its arguments itself.
#[test]
fn wrong_usage_shows_the_usage_of_the_verb() {
    let home = Home::new();
    let done = home.weir(&["consume", "t", "--config", "a=b"]).expect(2);
    assert!(done.stderr.contains("Usage: weir consume"), "{done:?}");
}

/// What goes to a file has no colours.
#[test]
fn log_lines_have_no_escape_codes() {
    let home = Home::new();
    let file = home.file("input", "x\n");
    let broker = [
        "--broker",
        "127.0.0.1:1",
        "--connect-timeout",
        "100ms",
        "-v",
    ];
    let done = home.weir(&[&["produce", "t", &file][..], &broker].concat());
    let done = done.expect(3);
    assert!(done.stderr.contains("DEBUG"), "{done:?}");
    assert!(!done.stderr.contains('\x1b'), "{done:?}");
}

#[test]
fn a_broker_that_is_not_there_ends_with_3() {
    let home = Home::new();
    // A port that was free a moment ago, and that nobody listens on.
    let port = std::net::UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let address = format!("127.0.0.1:{port}");
    let expected = format!("no broker answers at {address} (is it running? weir serve)");
    let flags = ["--broker", &address, "--connect-timeout", "300ms"];
    for verb in [
        &["topic", "list"][..],
        &["status"],
        &["consume", "t"],
        &["produce", "t"],
    ] {
        home.weir(&[verb, &flags].concat()).fails(3, &expected);
    }
}

#[test]
fn missing_files_are_named() {
    let home = Home::new();
    home.weir(&["produce", "t", "nowhere.ndjson"])
        .fails(1, "nowhere.ndjson");
    home.weir(&["plugin", "push", "nowhere.wasm", "--name", "p"])
        .fails(1, "nowhere.wasm");
    home.weir(&["demo", "--input", "nowhere"])
        .fails(1, "nowhere");
}

#[test]
fn completions_know_the_verbs() {
    let home = Home::new();
    for shell in ["bash", "fish", "zsh"] {
        let script = home.ok(&["completions", shell]);
        assert!(script.contains("consume"), "{shell}");
    }
    home.weir(&["completions", "tcsh"]).fails(2, "tcsh");
}
