//! `weir plugin test`: a plugin tried on records, with and without a broker.

use serde_json::Value;

use crate::home::{Home, sources};

const LATE: [&str; 4] = ["--hook", "filter", "--config", "where=dep_delay > 15"];

fn flights() -> String {
    let path = sources().join("examples/data/flights-sample.ndjson.gz");
    path.to_str().unwrap().to_owned()
}

fn prebuilt(name: &str) -> String {
    let path = sources().join(format!("plugins/prebuilt/{name}.wasm"));
    path.to_str().unwrap().to_owned()
}

fn on_flights(home: &Home, plugin: &str, more: &[&str]) -> Value {
    let flights = flights();
    let arguments = ["plugin", "test", plugin, "--input", &flights];
    let mut objects = home.json(&[&arguments, more].concat());
    assert_eq!(objects.len(), 1);
    objects.remove(0)
}

/// The core module inside a component: what the compiler gave before it became one.
fn core_module(component: &[u8]) -> Vec<u8> {
    let mut rest = &component[8..];
    loop {
        let id = rest[0];
        let (mut length, mut at) = (0, 1);
        loop {
            length |= usize::from(rest[at] & 0x7f) << (7 * (at - 1));
            at += 1;
            if rest[at - 1] < 0x80 {
                break;
            }
        }
        if id == 1 {
            return rest[at..at + length].to_vec();
        }
        rest = &rest[at + length..];
    }
}

#[test]
fn a_filter_is_tried_without_a_broker() {
    let home = Home::new();
    let report = on_flights(&home, &prebuilt("json-filter"), &LATE);
    assert_eq!(report["records"], 5000);
    assert_eq!(report["kept"], 947);
    assert_eq!(report["verdicts"]["dropped"], 5000 - 947);
    assert_eq!(report["failed"], 0);
    assert_eq!(report["impure"], false);
    let number = |name: &str| report[name].as_f64().unwrap();
    // No filter of JSON bodies takes less than that, and this one never more.
    assert!(
        (5.0..1e6).contains(&number("ns_per_record_p50")),
        "{report}"
    );
    assert!(number("ns_per_record_p99") >= number("ns_per_record_p50"));
    assert!(number("memory_bytes") >= 65_536.0, "{report}");
    for sort in ["kept", "dropped"] {
        let examples = report["examples"][sort].as_array().unwrap();
        assert_eq!(examples.len(), 3, "{report}");
        for example in examples {
            let flight: Value = serde_json::from_str(example["value"].as_str().unwrap()).unwrap();
            let is_late = flight["dep_delay"]
                .as_f64()
                .is_some_and(|delay| delay > 15.0);
            assert_eq!(is_late, sort == "kept", "{example}");
        }
    }

    let flights = flights();
    let plugin = prebuilt("json-filter");
    let arguments = ["plugin", "test", &plugin, "--input", &flights];
    let text = home.ok(&[&arguments[..], &LATE].concat());
    for expected in [
        "947",
        "18.94 %",
        "kept, for example:",
        "time per record",
        "memory",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let limited = on_flights(&home, &plugin, &[&LATE[..], &["--limit", "10"]].concat());
    assert_eq!(limited["records"], 10);
}

#[test]
fn every_hook_has_figures_of_its_own() {
    let home = Home::new();
    let key = ["--hook", "key", "--config", "field=tailnum"];
    let report = on_flights(&home, &prebuilt("json-key"), &key);
    let of_sort = |sort: &str| report["verdicts"][sort].as_u64().unwrap();
    assert_eq!(of_sort("with_a_key") + of_sort("without_a_key"), 5000);
    assert_eq!(report["kept"], 5000);
    assert!(report["keys_distinct"].as_u64().unwrap() > 100, "{report}");

    let route = ["--hook", "route", "--config", "field=origin"];
    let declared = ["--route", "JFK", "--to", "*=elsewhere"];
    let route = [&route[..], &declared].concat();
    let report = on_flights(&home, &prebuilt("json-route"), &route);
    assert_eq!(report["routes"]["JFK"], 1791);
    assert_eq!(report["routes"]["*"], 3209);
    let routed = report["examples"]["routed"].as_array().unwrap();
    assert!(routed.iter().all(|one| one["note"].is_string()), "{report}");

    let report = on_flights(&home, &prebuilt("upper-case"), &["--hook", "transform"]);
    assert_eq!(report["verdicts"]["changed"], 5000);
    assert_eq!(report["outputs"], 5000);
    let example = &report["examples"]["changed"][0];
    let upper = example["value"].as_str().unwrap().to_ascii_uppercase();
    assert!(upper.starts_with(example["note"].as_str().unwrap().trim_end_matches('…')));

    let project = ["--hook", "project", "--config", "mask=tailnum"];
    let report = on_flights(&home, &prebuilt("mask-view"), &project);
    let of_sort = |sort: &str| report["verdicts"][sort].as_u64().unwrap();
    assert_eq!(of_sort("changed") + of_sort("unchanged"), 5000);
    let note = report["examples"]["changed"][0]["note"].as_str().unwrap();
    assert!(note.contains("***"), "{note}");

    let retry = ["--hook", "retry-policy", "--attempt", "3"];
    let report = on_flights(&home, &prebuilt("backoff"), &retry);
    assert_eq!(report["verdicts"]["delayed"], 5000);
    assert_eq!(
        (&report["delay_ms_min"], &report["delay_ms_max"]),
        (&400.into(), &400.into())
    );
}

#[test]
fn lines_get_keys_headers_and_tags_as_produce_gives_them() {
    let home = Home::new();
    let plugin = prebuilt("tag-filter");
    let tags = ["--hook", "filter", "--config", "tags=UA || DL"];
    let by_field = [&tags[..], &["--tag-field", "carrier"]].concat();
    assert_eq!(on_flights(&home, &plugin, &by_field)["kept"], 1597);
    assert_eq!(on_flights(&home, &plugin, &tags)["kept"], 0);
    let all = [&tags[..], &["--tag", "UA"]].concat();
    assert_eq!(on_flights(&home, &plugin, &all)["kept"], 5000);

    let arguments = [
        "plugin", "test", &plugin, "--input", "-", "--output", "json",
    ];
    let lines = home.weir_with_input(&[&arguments[..], &tags].concat(), b"one\ntwo\n");
    let report: Value = serde_json::from_str(&lines.expect(0).stdout).unwrap();
    assert_eq!(report["records"], 2);
    assert_eq!(report["examples"]["dropped"][1]["line"], 2);
}

#[test]
fn failures_are_results() {
    let home = Home::new();
    // Two of three flights have no route.
    let route = [
        "--hook",
        "route",
        "--config",
        "field=origin",
        "--route",
        "JFK",
    ];
    let limited = [&route[..], &["--limit", "200"]].concat();
    let report = on_flights(&home, &prebuilt("json-route"), &limited);
    let failed = report["failed"].as_u64().unwrap();
    assert!(failed > 50, "{report}");
    assert_eq!(failed + report["kept"].as_u64().unwrap(), 200);
    assert_eq!(report["not_judged"], 0);
    let failures = report["failures"].as_array().unwrap();
    assert_eq!(failures.len(), 8);
    for failure in failures {
        let message = failure["note"].as_str().unwrap();
        assert!(
            message.contains("no route is declared for origin"),
            "{failure}"
        );
        assert!(
            !failure["value"].as_str().unwrap().contains("JFK"),
            "{failure}"
        );
    }
    let flights = flights();
    let plugin = prebuilt("json-route");
    let arguments = ["plugin", "test", &plugin, "--input", &flights];
    let text = home.ok(&[&arguments[..], &limited].concat());
    assert!(text.contains("failures:"), "{text}");
    assert!(text.contains("no route is declared"), "{text}");
}

#[test]
fn what_cannot_run_at_all_fails() {
    let home = Home::new();
    let flights = flights();
    let filter = prebuilt("json-filter");
    let test = |plugin: &str, more: &[&str]| {
        let arguments = ["plugin", "test", plugin, "--input", &flights];
        home.weir(&[&arguments, more].concat())
    };
    test(&filter, &["--hook", "filter", "--config", "wher=a > 1"]).fails(1, "configuration");
    test(&filter, &["--hook", "key"]).fails(1, "does not export the hook key");
    test("nowhere.wasm", &LATE).fails(1, "cannot read nowhere.wasm");
    let text = home.file("text.wasm", "no component");
    test(&text, &LATE).fails(1, "not WebAssembly");
    let module = home.file("plain.wasm", b"\0asm\x01\0\0\0");
    test(&module, &LATE).fails(1, "weir plugin new");
    let broken = home.file("broken.ndjson", "{\"dep_delay\":1}\nno json\n");
    home.weir(&[&["plugin", "test", &filter, "--input", &broken], &LATE[..]].concat())
        .fails(1, "line 2: not JSON");
    home.weir(&[&["plugin", "test", &filter], &LATE[..]].concat())
        .fails(2, "--input");
}

#[test]
fn a_closed_output_is_a_quiet_end_and_hides_no_failure() {
    let home = Home::new();
    let flights = flights();
    let filter = prebuilt("json-filter");
    let test = [
        &["plugin", "test", &filter, "--input", &flights][..],
        &LATE[..],
    ]
    .concat();
    for more in [&[][..], &["--output", "json"]] {
        let done = home.weir_unread(&[&test[..], more].concat()).expect(0);
        assert_eq!(done.stderr, "");
    }
    // The report is made, but one of the two had no answer.
    let loops = prebuilt("hostile/loops");
    home.weir_unread(&[&test[..], &["--against", &loops]].concat())
        .fails(1, "it had no answer to any record");
}

#[test]
fn two_versions_are_compared() {
    let home = Home::new();
    let routes = [
        "--hook",
        "route",
        "--config",
        "field=origin",
        "--route",
        "JFK",
    ];
    let against = |old: &str| {
        let old = prebuilt(old);
        let more = ["--route", "*", "--against", &old];
        on_flights(
            &home,
            &prebuilt("json-route"),
            &[&routes[..], &more].concat(),
        )
    };
    let same = against("fan-out-route");
    assert_eq!(same["against"]["differing"], 0);
    assert_eq!(same["against"]["kept"], 5000);
    assert!(same["against"]["ns_per_record_p50"].as_f64().unwrap() > 0.0);
    let other = against("hash-route");
    let differing = other["against"]["differing"].as_u64().unwrap();
    assert!((1..5000).contains(&differing), "{other}");
    let differences = other["against"]["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 5);
    for difference in differences {
        assert!(
            difference["note"].as_str().unwrap().contains("it was"),
            "{difference}"
        );
    }
}

#[test]
fn a_core_module_becomes_a_component_and_answers_the_same() {
    let home = Home::new();
    let route = [
        "--hook",
        "route",
        "--config",
        "field=origin",
        "--route",
        "JFK",
        "--route",
        "*",
    ];
    for (name, hook) in [
        ("json-filter", &LATE[..]),
        ("json-key", &["--hook", "key", "--config", "field=tailnum"]),
        ("json-route", &route),
        ("upper-case", &["--hook", "transform"]),
        (
            "mask-view",
            &["--hook", "project", "--config", "mask=tailnum"],
        ),
        ("backoff", &["--hook", "retry-policy"]),
        // All hooks in one component.
        (
            "../golden/contract-1.0.0",
            &["--hook", "filter", "--tag", "keep"],
        ),
    ] {
        let component = prebuilt(name);
        let module = core_module(&std::fs::read(&component).unwrap());
        let file = name.replace(['.', '/'], "_");
        let module = home.file(&format!("{file}-core.wasm"), module);
        let against = [hook, &["--against", &component]].concat();
        let report = on_flights(&home, &module, &against);
        assert_eq!(report["records"], 5000, "{name}");
        assert_eq!(report["failed"], 0, "{name}");
        assert_eq!(report["against"]["differing"], 0, "{name}: {report}");
        assert_ne!(report["version"], report["against"]["version"], "{name}");
    }
    let _broker = home.serve("data", &[]);
    let module = home.path("json-filter-core.wasm");
    let push = ["plugin", "push", module.to_str().unwrap(), "--name", "late"];
    let pushed = home.weir(&push).expect(0);
    assert!(pushed.stderr.contains("is a core module"), "{pushed:?}");
    assert!(pushed.stdout.contains("hooks: filter"), "{pushed:?}");
}

#[test]
fn a_range_of_a_topic_is_tried_and_nothing_happens_to_it() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    home.ok(&["topic", "create", "flights", "--partitions", "3"]);
    home.ok(&["produce", "flights", &flights(), "--key-field", "tailnum"]);
    let plugin = prebuilt("json-filter");
    let test = |more: &[&str]| {
        let arguments = ["plugin", "test", &plugin, "--topic", "flights"];
        home.json(&[&arguments, &LATE[..], more].concat()).remove(0)
    };
    let all = test(&[]);
    assert_eq!((&all["records"], &all["kept"]), (&5000.into(), &947.into()));
    assert!(all["examples"]["kept"][0]["offset"].is_u64(), "{all}");
    assert_eq!(test(&["--from", "latest"])["records"], 0);
    assert_eq!(test(&["--to", "time:-1h"])["records"], 0);
    assert_eq!(test(&["--from", "time:-1h"])["records"], 5000);
    assert_eq!(test(&["--to", "offset:100"])["records"], 300);
    let part = [
        "--partition",
        "1",
        "--from",
        "offset:10",
        "--to",
        "offset:35",
    ];
    let part = test(&part);
    assert_eq!(part["records"], 25);
    for sort in ["kept", "dropped"] {
        for example in part["examples"][sort].as_array().into_iter().flatten() {
            assert_eq!(example["partition"], 1);
            assert!(
                (10..35).contains(&example["offset"].as_u64().unwrap()),
                "{example}"
            );
        }
    }
    let plugins = home.json(&["plugin", "list"]);
    assert_eq!(plugins.len(), 0, "nothing was pushed");
    home.weir(&["plugin", "test", &plugin, "--topic", "flihgts"])
        .fails(2, "--hook");
    home.weir(
        &[
            &["plugin", "test", &plugin, "--topic", "flihgts"],
            &LATE[..],
        ]
        .concat(),
    )
    .fails(1, "did you mean \"flights\"");
}

#[test]
fn versions_that_were_pushed_are_fetched() {
    let home = Home::new();
    let _broker = home.serve("data", &[]);
    let plugin = prebuilt("json-filter");
    home.ok(&["plugin", "push", &plugin, "--name", "late"]);
    let fetched = on_flights(
        &home,
        "late",
        &[&LATE[..], &["--against", &plugin]].concat(),
    );
    assert_eq!(fetched["kept"], 947);
    assert_eq!(fetched["version"], fetched["against"]["version"]);
    assert_eq!(fetched["against"]["differing"], 0);
    let version = fetched["version"].as_str().unwrap();
    let named = format!("late@{}", &version[..8]);
    assert_eq!(on_flights(&home, &named, &LATE)["plugin"], named);
    let flights = flights();
    let test = |plugin: &str| {
        let arguments = ["plugin", "test", plugin, "--input", &flights];
        home.weir(&[&arguments, &LATE[..]].concat())
    };
    test("early").fails(1, "early");
    test("late@00").fails(1, "late");
}
