//! Each sample component through the host.

use crate::support::{
    bind, block, input, limits, prebuilt_folder, sample, tagged, try_bind, values,
};
use weir_host::{BindError, CallError, Limits, RouteSet};
use weir_wire::batch::NewRecord;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

#[test]
fn tag_filter_keeps_its_tags() {
    let bound = bind(
        &sample("tag-filter"),
        Hook::Filter,
        &[("tags", "UA || DL")],
        &[],
    );
    let input = tagged(&[Some("UA"), Some("AA"), None, Some("DL"), Some("")]);
    let verdicts = block(bound.filter(input)).unwrap();
    assert_eq!(verdicts.values, [true, false, false, true, false]);
    assert!(verdicts.failures.is_empty());
    let stats = bound.stats();
    assert_eq!(
        (stats.calls, stats.records_in, stats.records_out),
        (1, 5, 2)
    );
    // The first call is run a second time, to see whether the plugin is pure.
    assert_eq!(
        (stats.plugin_calls, stats.impure, stats.instances),
        (2, false, 1)
    );
}

#[test]
fn tag_filter_over_many_chunks_agrees_with_native_code() {
    let bound = bind(
        &sample("tag-filter"),
        Hook::Filter,
        &[("tags", "T3 || T7")],
        &[],
    );
    let tags: Vec<String> = (0..50_000).map(|n| format!("T{}", n % 11)).collect();
    let input = tagged(
        &tags
            .iter()
            .map(|tag| Some(tag.as_str()))
            .collect::<Vec<_>>(),
    );
    let native = weir_host::tag_matches(&input, &["T3", "T7"]).unwrap();
    let verdicts = block(bound.filter(input.clone())).unwrap();
    assert_eq!(verdicts.values, native);
    assert_eq!(bound.filter_now(&input).unwrap().values, native);
}

#[test]
fn json_filter_compares_and_names_records_that_are_not_json() {
    let bound = bind(
        &sample("json-filter"),
        Hook::Filter,
        &[("where", "dep_delay > 15")],
        &[],
    );
    let bodies: Vec<String> = (0..1_000)
        .map(|n| match n {
            333 => "not json".to_owned(),
            777 => "{\"dep_delay\":".to_owned(),
            _ if n % 10 == 0 => "{\"dep_delay\":null}".to_owned(),
            _ => format!("{{\"dep_delay\":{}}}", n % 32),
        })
        .collect();
    let verdicts = block(bound.filter(values(&bodies))).unwrap();
    for (n, kept) in verdicts.values.iter().enumerate() {
        let expected = n != 333 && n != 777 && n % 10 != 0 && n % 32 > 15;
        assert_eq!(*kept, expected, "{n}");
    }
    let failed: Vec<u32> = verdicts
        .failures
        .iter()
        .map(|failure| failure.index)
        .collect();
    assert_eq!(failed, [333, 777]);
    assert!(
        verdicts.failures[0]
            .message
            .starts_with("the body is not a JSON object")
    );
    let stats = bound.stats();
    assert_eq!((stats.records_failed, stats.traps), (2, 0));
    // At most 2·log2(1000)+1 calls for each of the two.
    assert!(stats.plugin_calls <= 2 * 21, "{}", stats.plugin_calls);
}

#[test]
fn json_key_hashes_the_field() {
    let bound = bind(&sample("json-key"), Hook::Key, &[("field", "k")], &[]);
    let bodies = [
        r#"{"k":"N14228"}"#,
        r#"{"k":"\u004e14228"}"#,
        r#"{"k":7}"#,
        r#"{"k":null}"#,
        "{}",
    ];
    let verdicts = block(bound.keys(values(&bodies))).unwrap();
    let tail = OrderingKey::hash(b"N14228");
    let seven = OrderingKey::hash(b"7");
    assert_eq!(
        verdicts.values,
        [tail, tail, seven, OrderingKey::NONE, OrderingKey::NONE]
    );
    // Without an escape nothing is copied: the spans point into the batch.
    let verdicts = block(bound.keys(values(&bodies[2..]))).unwrap();
    assert_eq!(
        verdicts.values,
        [seven, OrderingKey::NONE, OrderingKey::NONE]
    );
}

#[test]
fn json_route_chooses_by_name() {
    let plugin = sample("json-route");
    let bodies = [
        r#"{"o":"JFK"}"#,
        r#"{"o":"EWR"}"#,
        r#"{"o":"LGA"}"#,
        r#"{"o":null}"#,
    ];
    let bound = bind(
        &plugin,
        Hook::Route,
        &[("field", "o")],
        &["JFK", "EWR", "*"],
    );
    let verdicts = block(bound.route(values(&bodies))).unwrap();
    assert_eq!(verdicts.values, [1, 2, 4, 4].map(RouteSet::new));

    let bound = bind(&plugin, Hook::Route, &[("field", "o")], &["JFK", "EWR"]);
    let verdicts = block(bound.route(values(&bodies))).unwrap();
    assert_eq!(verdicts.values[..2], [1, 2].map(RouteSet::new));
    let failures: Vec<_> = verdicts
        .failures
        .iter()
        .map(|f| (f.index, f.message.as_str()))
        .collect();
    assert_eq!(
        failures,
        [
            (2, "no route is declared for o = \"LGA\", nor `*`"),
            (3, "the record has no o, and no route `*` is declared"),
        ]
    );
}

#[test]
fn fan_out_route_adds_routes_by_conditions() {
    let config = [
        ("field", "o"),
        ("also", "late:d > 15"),
        ("also", "far:m >= 1000"),
    ];
    let routes = ["JFK", "late", "far", "*"];
    let bound = bind(&sample("fan-out-route"), Hook::Route, &config, &routes);
    let bodies = [
        r#"{"o":"JFK","d":16,"m":1000}"#,
        r#"{"o":"JFK","d":null,"m":999}"#,
        r#"{"o":"EWR","d":99}"#,
        "no object",
    ];
    let verdicts = block(bound.route(values(&bodies))).unwrap();
    assert_eq!(
        verdicts.values[..3],
        [0b111, 0b1, 0b1010].map(RouteSet::new)
    );
    let failed: Vec<u32> = verdicts.failures.iter().map(|f| f.index).collect();
    assert_eq!(failed, [3]);
}

#[test]
fn record_key_is_the_key() {
    let bound = bind(&sample("record-key"), Hook::Key, &[], &[]);
    let keys = [Some(&b"N14228"[..]), None, Some(b"")];
    let records = input(keys.iter().map(|key| NewRecord {
        key: *key,
        ..NewRecord::default()
    }));
    let verdicts = block(bound.keys(records)).unwrap();
    let expected = [
        OrderingKey::hash(b"N14228"),
        OrderingKey::NONE,
        OrderingKey::hash(b""),
    ];
    assert_eq!(verdicts.values, expected);
}

#[test]
fn hash_route_spreads_by_key_value_or_field() {
    let routes = ["0", "1", "2", "3"];
    let plugin = sample("hash-route");
    let by_key = bind(&plugin, Hook::Route, &[("by", "key")], &routes);
    let by_value = bind(&plugin, Hook::Route, &[("by", "value")], &routes);
    let keys: Vec<String> = (0..1_000).map(|n| format!("N{n}")).collect();
    let keyed = input(keys.iter().map(|key| NewRecord {
        key: Some(key.as_bytes()),
        ..NewRecord::default()
    }));
    let chosen = block(by_key.route(keyed)).unwrap().values;
    assert_eq!(chosen, block(by_value.route(values(&keys))).unwrap().values);
    for route in 0..4 {
        let count = chosen.iter().filter(|set| set.bits() == 1 << route).count();
        assert!((200..300).contains(&count), "{route}: {count}");
    }
}

#[test]
fn configure_is_heard() {
    let refused = |name: &str, hook, config: &[(&str, &str)]| {
        try_bind(&sample(name), hook, config, &[], limits())
            .map(drop)
            .unwrap_err()
    };
    assert_eq!(
        refused("tag-filter", Hook::Filter, &[("tag", "UA")]).to_string(),
        "the plugin refused its configuration: setting `tags` is missing: bind with --config tags=…"
    );
    assert_eq!(
        refused("tag-filter", Hook::Filter, &[("tags", "UA"), ("x", "1")]).to_string(),
        "the plugin refused its configuration: setting `x` is not known; this plugin's settings: \
         tags"
    );
    let error = refused("json-filter", Hook::Filter, &[("where", "dep_delay >")]);
    assert!(
        error
            .to_string()
            .contains("nothing to compare `dep_delay` with"),
        "{error}"
    );
    assert_eq!(
        refused("tag-filter", Hook::Key, &[]),
        BindError::NoSuchHook {
            hook: Hook::Key,
            exported: vec![Hook::Filter]
        }
    );
    let routes = ["x"; 65];
    let error = try_bind(&sample("json-route"), Hook::Route, &[], &routes, limits());
    let error = error.map(drop).unwrap_err();
    assert_eq!(
        error,
        BindError::TooMuch {
            what: "routes",
            max: 64,
            found: 65
        }
    );
}

/// A sample, the hook that it is bound to, and its settings.
type Bindable = (&'static str, Hook, &'static [(&'static str, &'static str)]);

/// What an instance of each sample in Rust is made with: its stack, its data, and its settings.
#[test]
fn samples_in_rust_are_small() {
    let configured: [Bindable; 11] = [
        ("backoff", Hook::RetryPolicy, &[]),
        ("fan-out-route", Hook::Route, &[("field", "o")]),
        ("hash-route", Hook::Route, &[("by", "key")]),
        ("json-filter", Hook::Filter, &[("where", "d > 15")]),
        ("json-key", Hook::Key, &[("field", "k")]),
        ("json-route", Hook::Route, &[("field", "o")]),
        ("json-transform", Hook::Transform, &[("mask", "k")]),
        ("mask-view", Hook::Project, &[("mask", "k")]),
        ("record-key", Hook::Key, &[]),
        ("tag-filter", Hook::Filter, &[("tags", "UA")]),
        ("upper-case", Hook::Transform, &[]),
    ];
    let small = Limits {
        memory: 384 << 10,
        ..limits()
    };
    for (name, hook, config) in configured {
        let routes: &[&str] = if hook == Hook::Route { &["*"] } else { &[] };
        let bound = try_bind(&sample(name), hook, config, routes, small);
        bound
            .map(drop)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let known = |name: &str| configured.iter().any(|(known, ..)| *known == name);
    for file in prebuilt_folder().read_dir().unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        if let Some(name) = file.strip_suffix(".wasm") {
            let other = ["tag-filter-c", "tag-filter-js"].contains(&name);
            assert!(known(name) || other, "{name} is not among those above");
        }
    }
}

#[test]
fn a_binding_serves_only_its_hook_and_only_sound_batches() {
    let bound = bind(&sample("tag-filter"), Hook::Filter, &[("tags", "UA")], &[]);
    let good = tagged(&[Some("UA")]);
    assert_eq!(
        block(bound.keys(good.clone())),
        Err(CallError::OtherHook {
            bound: Hook::Filter,
            called: Hook::Key
        })
    );
    let mut lying = good.clone();
    lying.count = u32::MAX;
    assert_eq!(
        block(bound.filter(lying)),
        Err(CallError::Malformed { index: 1 })
    );
    assert_eq!(block(bound.filter(good)).unwrap().values, [true]);
    let empty = block(bound.filter(tagged(&[]))).unwrap();
    assert!(empty.values.is_empty());
}
