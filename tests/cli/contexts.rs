//! Contexts in a home of their own.

use crate::home::Home;

#[test]
fn a_context_from_beginning_to_end() {
    let home = Home::new();
    home.weir(&["context", "show"])
        .fails(1, "no context is current");
    assert_eq!(home.json(&["context", "list"]).len(), 0);

    home.file("ca.pem", "x");
    home.ok(&["context", "add", "one", "Broker.Example", "--ca", "ca.pem"]);
    home.ok(&["context", "add", "two", "127.0.0.1:9"]);
    let all = home.json(&["context", "list"]);
    let names: Vec<_> = all.iter().map(|context| &context["name"]).collect();
    assert_eq!(names, ["one", "two"]);
    assert_eq!(all[0]["current"], true, "the first one becomes current");
    assert_eq!(all[0]["address"], "weir://broker.example:7650");
    let ca = home.path("ca.pem").canonicalize().unwrap();
    assert_eq!(
        all[0]["ca"],
        ca.to_str().unwrap(),
        "files are found from everywhere"
    );

    let used = home.json(&["context", "use", "two"]);
    assert_eq!(used[0]["address"], "weir://127.0.0.1:9");
    assert_eq!(home.json(&["context", "show"])[0]["name"], "two");
    home.weir(&["context", "use", "three"])
        .fails(1, "there are: one, two");
    let removed = home.weir(&["context", "remove", "two", "--yes"]).expect(0);
    assert!(
        removed.stderr.contains("it was the current one"),
        "{removed:?}"
    );
    home.weir(&["context", "show"])
        .fails(1, "weir context use NAME");
}

#[test]
fn wrong_contexts_are_refused() {
    let home = Home::new();
    home.weir(&["context", "add", "a/b", "host"])
        .fails(2, "no name for a context");
    home.weir(&["context", "add", "a", "http://host"])
        .fails(2, "weir://host:port");
    home.weir(&["context", "add", "a", "host", "--ca", "nowhere.pem"])
        .fails(1, "nowhere.pem");
    std::fs::create_dir_all(home.path("config/weir")).unwrap();
    home.file("config/weir/contexts.toml", "current = [");
    home.weir(&["context", "list"])
        .fails(1, "contexts.toml cannot be understood");
}

#[test]
fn serve_writes_the_context_and_commands_need_no_flags() {
    let home = Home::new();
    let broker = home.serve("data", &[]);
    let address = broker.address();
    let context = &home.json(&["context", "show"])[0];
    assert_eq!(context["name"], "local");
    assert_eq!(context["address"], address);
    home.ok(&["topic", "create", "orders"]);
    assert_eq!(home.json(&["topic", "list"])[0]["topic"], "orders");
}

#[test]
fn a_second_broker_leaves_the_first_ones_context_alone() {
    let home = Home::new();
    let first = home.serve("one", &[]);
    let _second = home.serve("two", &[]);
    let contexts = home.json(&["context", "list"]);
    assert_eq!(contexts[0]["address"], first.address());
    assert_eq!(contexts[1]["name"], "local-2");
    assert_eq!(contexts[1]["current"], false);
}

#[test]
fn a_token_stays_with_its_address() {
    let home = Home::new();
    let _first = home.serve("one", &[]);
    let second = home.serve("two", &["--no-context"]);
    let address = second.address();
    let status = |more: &[&str]| home.weir(&[&["status", "--broker", address], more].concat());
    status(&[]).fails(1, "no CA is known");
    let ca = home.path("two/tls/ca.pem");
    let ca = ca.to_str().unwrap();
    // The first broker's token would be the current context's: it is not sent.
    status(&["--ca", ca]).fails(4, "token");
    let other_ca = home.path("one/tls/ca.pem");
    status(&["--ca", other_ca.to_str().unwrap()]).fails(1, "not signed by the CA");
    let token = home.file("wrong", "not the token");
    status(&["--ca", ca, "--token-file", &token]).fails(4, "not authorised");
}

#[test]
fn the_environment_counts_between_flags_and_contexts() {
    let home = Home::new();
    let first = home.serve("one", &[]);
    let second = home.serve("two", &["--no-context"]);
    let token = std::fs::read_to_string(home.path("two/token")).unwrap();
    let run = |more: &[&str]| {
        let mut command = home.command(&[&["status", "--output", "json"], more].concat());
        command.env("WEIR_BROKER", second.address());
        command.env("WEIR_CA", home.path("two/tls/ca.pem"));
        command.env("WEIR_TOKEN", token.trim());
        let done: crate::home::Done = command.output().unwrap().into();
        done
    };
    let status = run(&[]).expect(0).stdout;
    assert!(status.contains("/two"), "{status}");
    // A flag counts more than the environment; the environment's CA is the other broker's.
    run(&["--broker", first.address()]).fails(1, "not signed by the CA");
}
