//! Components that break the rules, uploaded and bound as any other: what they do to their own
//! topic is said plainly, what they do to others is nothing.

use std::path::PathBuf;

use bytes::Bytes;
use futures_util::StreamExt;
use weir_sdk::{AdminError, FilterSpec, PublishError, RecordOutcome, SubscribeError, Subscriber};
use weir_wire::batch::Compression;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::produce::{Produce, Produced};
use weir_wire::request::{Bind, BindingInfo, BindingLimits, Route, Setting};

use crate::batches::{self, batch_of, open};
use crate::raw::{Raw, with_payload};
use crate::stage::{Stage, soon};

#[path = "../../broker/host/tests/host/bomb.rs"]
mod bomb;

/// The committed components, or those that WEIR_PREBUILT names.
pub fn prebuilt(name: &str) -> Bytes {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/prebuilt");
    let folder = std::env::var("WEIR_PREBUILT").unwrap_or_else(|_| committed.to_owned());
    let file = PathBuf::from(folder).join(format!("{name}.wasm"));
    Bytes::from(std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display())))
}

/// Uploads a hostile component under its own name.
pub async fn push(stage: &Stage, name: &str) -> Result<(), AdminError> {
    let component = prebuilt(&format!("hostile/{name}"));
    let admin = stage.client.admin();
    soon("an upload", admin.push_plugin(name, component))
        .await
        .map(drop)
}

/// Those that take memory until they are stopped have time for it on a slow machine, too.
fn patience(plugin: &str) -> Option<BindingLimits> {
    plugin.contains("memory").then(|| BindingLimits {
        cpu_ms: Some(4_000),
        ..BindingLimits::default()
    })
}

/// Binds it to a topic, with as many routes back to that topic as `routes` says.
pub async fn bind(
    stage: &Stage,
    topic: &str,
    (hook, plugin): (Hook, &str),
    on_error: ErrorPolicy,
    routes: usize,
) -> BindingInfo {
    push(stage, plugin).await.unwrap();
    let route = |n: usize| Route {
        value: format!("route-{n}"),
        topic: topic.parse().unwrap(),
        partition: None,
    };
    let bind = Bind {
        routes: (0..routes).map(route).collect(),
        on_error: Some(on_error),
        limits: patience(plugin),
        ..Bind::new(plugin.parse().unwrap(), topic.parse().unwrap(), hook)
    };
    let admin = stage.client.admin();
    soon("a bind", admin.bind(&bind)).await.unwrap().0
}

/// Sends these values as one request.
pub async fn produce(
    stage: &Stage,
    topic: &str,
    values: &[Vec<u8>],
) -> Result<Vec<RecordOutcome>, PublishError> {
    let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
    let producer = stage.client.producer(topic).open().await.unwrap();
    let ticket = producer
        .send_batch(batch_of(&values, Compression::None))
        .await
        .unwrap();
    let outcomes = soon("an outcome", ticket).await;
    producer.close().await.unwrap();
    outcomes.map(|outcomes| outcomes.records().collect())
}

/// A thousand values, those at `guilty` recognised by the hostile components.
fn thousand(guilty: &[usize]) -> Vec<Vec<u8>> {
    let value = |n| match guilty.contains(&n) {
        true => b"evil".to_vec(),
        false => format!("good {n}").into_bytes(),
    };
    (0..1000).map(value).collect()
}

pub fn refused(outcomes: Result<Vec<RecordOutcome>, PublishError>) -> Fault {
    match outcomes.unwrap_err() {
        PublishError::Refused(fault) => fault,
        other => panic!("{other:?}"),
    }
}

fn filter(plugin: &str, on_error: ErrorPolicy) -> FilterSpec {
    FilterSpec {
        plugin: plugin.parse().unwrap(),
        version: None,
        config: Vec::new(),
        on_error: Some(on_error),
        limits: patience(plugin),
    }
}

pub async fn subscribe(
    stage: &Stage,
    topic: &str,
    plugin: &str,
    on_error: ErrorPolicy,
) -> Result<Subscriber, SubscribeError> {
    let builder = stage
        .client
        .subscribe([topic])
        .filter(filter(plugin, on_error));
    soon("a subscription", builder.open()).await
}

#[tokio::test]
async fn uploads_that_are_no_plugins() {
    let mut stage = Stage::start().await;
    let admin = stage.client.admin();
    let sound = prebuilt("tag-filter");
    let hostile = |name: &str| prebuilt(&format!("hostile/{name}"));
    let uploads: Vec<(&str, Bytes, &str)> = vec![
        ("empty", Bytes::new(), "empty"),
        (
            "text",
            Bytes::from_static(b"#!/bin/sh\nrm -rf /\n"),
            "not WebAssembly",
        ),
        (
            "a core module",
            Bytes::from_static(b"\0asm\x01\0\0\0"),
            "core WebAssembly module",
        ),
        ("a header alone", sound.slice(..8), ""),
        ("half", sound.slice(..sound.len() / 2), ""),
        ("all but a byte", sound.slice(..sound.len() - 1), ""),
        (
            "no lifecycle",
            hostile("no-lifecycle"),
            "does not export `weir:plugin/lifecycle",
        ),
        ("no hook", hostile("no-hook"), "it exports no hook"),
        (
            "a wrong name",
            hostile("wrong-name"),
            "has no function `filter`",
        ),
        ("a wrong type", hostile("wrong-type"), "has the wrong type"),
        (
            "a wrong record",
            hostile("wrong-batch"),
            "has the wrong type",
        ),
        (
            "a foreign import",
            hostile("foreign-import"),
            "it imports `test:hostile/secrets`",
        ),
        (
            "another version",
            hostile("other-version"),
            "version 1 of weir:plugin",
        ),
    ];
    for (what, component, message) in uploads {
        let error = soon("an upload", admin.push_plugin("bad", component))
            .await
            .unwrap_err();
        let fault = error.fault().unwrap_or_else(|| panic!("{what}: {error:?}"));
        assert_eq!(fault.code, ErrorCode::InvalidPlugin, "{what}: {fault}");
        assert!(fault.message.contains(message), "{what}: {fault}");
    }
    assert!(admin.list_plugins().await.unwrap().is_empty());
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn an_upload_that_takes_long_to_compile_holds_nobody_up() {
    let second = std::time::Duration::from_secs(1);
    let mut stage = Stage::start_with(|config| config.plugins.compile_time = second).await;
    let client = stage.client.clone();
    let admin = client.admin();
    let mut upload = tokio::spawn(async move { admin.push_plugin("slow", bomb::bomb()).await });
    // Others go on while it compiles, not only afterwards.
    let mut rounds = 0;
    let error = loop {
        tokio::select! {
            biased;
            uploaded = &mut upload => break uploaded.unwrap().unwrap_err(),
            () = stage.is_unharmed() => rounds += 1,
        }
    };
    println!("{rounds} rounds while it compiled");
    assert!(rounds > 0);
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::InvalidPlugin, "{fault}");
    assert!(
        fault.message.contains("more than 1s of processor time"),
        "{fault}"
    );
    stage.end().await;
}

#[tokio::test]
async fn one_guilty_record_in_a_thousand_is_dropped_or_refuses_its_request() {
    let mut stage = Stage::start().await;
    let hooks = [
        ("keyed", (Hook::Key, "keys-trap-on-poison"), 0),
        ("routed", (Hook::Route, "routes-trap-on-poison"), 1),
    ];
    for (topic, hook, routes) in hooks {
        stage.topic(topic, 3).await;
        let bound = bind(&stage, topic, hook, ErrorPolicy::Drop, routes).await;
        let outcomes = produce(&stage, topic, &thousand(&[617])).await.unwrap();
        for (n, outcome) in outcomes.iter().enumerate() {
            match outcome {
                RecordOutcome::Stored(_) => assert_ne!(n, 617),
                RecordOutcome::Dropped(refused) => {
                    assert_eq!((n, refused.binding), (617, bound.id));
                    assert!(refused.reason.contains("the plugin trapped"), "{refused:?}");
                }
                other => panic!("{n}: {other:?}"),
            }
        }
        assert_eq!(outcomes.len(), 1000);
        let mut stored = stage.values(topic).await;
        stored.sort();
        let mut expected = thousand(&[617]);
        expected.remove(617);
        expected.sort();
        assert_eq!(stored, expected);
        let described = stage.client.admin().describe_topic(topic).await.unwrap();
        let counters = &described.bindings[0].counters;
        assert_eq!((counters.records, counters.failed), (1000, 1));
        assert!(
            counters.last_error.as_ref().unwrap().contains("trapped"),
            "{counters:?}"
        );

        // The policy `fail`: nothing of the request is stored, and the record is named.
        bind(&stage, topic, hook, ErrorPolicy::Fail, routes).await;
        let fault = refused(produce(&stage, topic, &thousand(&[617])).await);
        assert_eq!(fault.code, ErrorCode::PluginFailed);
        assert!(fault.message.contains("record 617 of the batch"), "{fault}");
        assert!(fault.message.contains(hook.1), "{fault}");
        assert_eq!(stage.records(topic).await, 999);
        // Innocent requests pass.
        assert_eq!(
            produce(&stage, topic, &thousand(&[])).await.unwrap().len(),
            1000
        );
        assert_eq!(stage.records(topic).await, 1999);
        stage.is_unharmed().await;
    }
    stage.end().await;
}

#[tokio::test]
async fn the_first_binding_that_takes_a_record_out_says_what_becomes_of_it() {
    let mut stage = Stage::start().await;
    stage.topic("twice", 1).await;
    let route = (Hook::Route, "routes-trap-on-poison");
    let key = (Hook::Key, "keys-trap-on-poison");
    let routed = bind(&stage, "twice", route, ErrorPolicy::Drop, 1).await;
    bind(&stage, "twice", key, ErrorPolicy::DeadLetter, 0).await;
    // Both fail on the one record, and the route comes first.
    let outcomes = produce(&stage, "twice", &thousand(&[617])).await.unwrap();
    match &outcomes[617] {
        RecordOutcome::Dropped(refused) => assert_eq!(refused.binding, routed.id),
        other => panic!("{other:?}"),
    }
    let stored = outcomes.iter().filter(|outcome| outcome.stored().is_some());
    assert_eq!(stored.count(), 999);
    assert_eq!(stage.records("twice").await, 999);
    assert_eq!(stage.records("twice.dlq").await, 0, "it was not kept twice");
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn too_many_guilty_records_put_the_binding_to_rest_for_a_while() {
    let mut stage = Stage::start().await;
    stage.topic("resting", 1).await;
    let hook = (Hook::Key, "keys-trap-on-poison");
    bind(&stage, "resting", hook, ErrorPolicy::Drop, 0).await;
    let nine: Vec<usize> = (0..9).map(|n| n * 100).collect();
    let fault = refused(produce(&stage, "resting", &thousand(&nine)).await);
    assert_eq!(fault.code, ErrorCode::PluginFailed);
    assert!(
        fault
            .message
            .contains("more than 8 records of one batch failed"),
        "{fault}"
    );
    // Whoever comes meanwhile hears when to come back, and the client waits it out by itself.
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "resting", None).await;
    let request = Produce {
        partition: None,
        ..batches::produce(0)
    };
    talk.say(&with_payload(&request, &batches::batch())).await;
    let produced: Produced = talk.reply().await;
    let error = produced.error.unwrap();
    assert_eq!(error.code, ErrorCode::Overloaded, "{error:?}");
    let wait = error.retry_after_ms.unwrap();
    assert!((1..=1000).contains(&wait), "{wait} ms");
    assert_eq!(
        produce(&stage, "resting", &thousand(&[]))
            .await
            .unwrap()
            .len(),
        1000
    );
    assert_eq!(stage.records("resting").await, 1000);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn hooks_on_produce_that_loop_eat_or_lie() {
    let mut stage = Stage::start().await;
    let stopped = "the plugin was stopped: ";
    let attacks = [
        (
            Hook::Key,
            "keys-loop",
            0,
            format!("{stopped}it used more than its 100ms of processor"),
        ),
        (
            Hook::Key,
            "keys-eat-memory",
            0,
            format!("{stopped}it needs more than its 67108864"),
        ),
        (
            Hook::Key,
            "keys-too-few",
            0,
            "answered 0 verdicts for 1 records".to_owned(),
        ),
        (
            Hook::Key,
            "keys-too-many",
            0,
            "answered 2 verdicts for 1 records".to_owned(),
        ),
        (
            Hook::Key,
            "keys-odd",
            0,
            "answered 2 verdicts for 1 records".to_owned(),
        ),
        (
            Hook::Key,
            "keys-outside",
            0,
            "answered a key outside its bytes for record 0".to_owned(),
        ),
        (
            Hook::Route,
            "routes-undeclared",
            2,
            "answered route 2 for record 0, but 2".to_owned(),
        ),
    ];
    for (hook, plugin, routes, message) in attacks {
        let topic = format!("on.{plugin}");
        stage.topic(&topic, 2).await;
        let one = [b"x".to_vec()];
        let bound = bind(&stage, &topic, (hook, plugin), ErrorPolicy::Drop, routes).await;
        match &produce(&stage, &topic, &one).await.unwrap()[..] {
            [RecordOutcome::Dropped(refused)] => {
                assert_eq!(refused.binding, bound.id);
                assert!(refused.reason.contains(&message), "{plugin}: {refused:?}");
            }
            other => panic!("{plugin}: {other:?}"),
        }
        bind(&stage, &topic, (hook, plugin), ErrorPolicy::Fail, routes).await;
        let fault = refused(produce(&stage, &topic, &one).await);
        assert_eq!(fault.code, ErrorCode::PluginFailed, "{plugin}");
        assert!(fault.message.contains(&message), "{plugin}: {fault}");
        assert!(
            fault.message.contains("record 0 of the batch"),
            "{plugin}: {fault}"
        );
        assert_eq!(stage.records(&topic).await, 0, "{plugin}");
        stage.is_unharmed().await;
    }
    // A topic is itself again as soon as the binding is gone.
    let admin = stage.client.admin();
    let described = admin.describe_topic("on.keys-loop").await.unwrap();
    admin.unbind(described.bindings[0].id).await.unwrap();
    let outcomes = produce(&stage, "on.keys-loop", &thousand(&[3]))
        .await
        .unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.stored().is_some()));
    stage.end().await;
}

#[tokio::test]
async fn filters_that_fail_on_a_record_follow_their_policy() {
    let mut stage = Stage::start().await;
    stage.topic("filtered", 1).await;
    push(&stage, "traps-on-poison").await.unwrap();
    let values = thousand(&[617]);
    produce(&stage, "filtered", &values).await.unwrap();
    for (on_error, expected) in [
        (ErrorPolicy::Skip, values.clone()),
        (ErrorPolicy::Drop, [&values[..617], &values[618..]].concat()),
    ] {
        let mut subscriber = subscribe(&stage, "filtered", "traps-on-poison", on_error)
            .await
            .unwrap();
        let mut got = Vec::new();
        while got.len() < expected.len() {
            let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
            got.push(record.value.unwrap().to_vec());
        }
        assert_eq!(got, expected, "{on_error}");
    }
    let mut subscriber = subscribe(&stage, "filtered", "traps-on-poison", ErrorPolicy::Fail)
        .await
        .unwrap();
    let error = soon("the end", subscriber.next())
        .await
        .unwrap()
        .unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::PluginFailed);
    assert!(fault.message.contains("record at offset 617"), "{fault}");
    assert!(fault.message.contains("traps-on-poison"), "{fault}");
    assert!(subscriber.next().await.is_none());
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_filter_that_has_to_rest_goes_on_afterwards() {
    const BATCHES: usize = 9;
    let mut stage = Stage::start().await;
    stage.topic("rested", 1).await;
    push(&stage, "loops-on-poison").await.unwrap();
    // After eight calls in a row in which a record was stopped at a limit, a plugin rests.
    for n in 0..BATCHES {
        let values = [format!("good {n}").into_bytes(), b"evil".to_vec()];
        produce(&stage, "rested", &values).await.unwrap();
    }
    produce(&stage, "rested", &[b"the last".to_vec()])
        .await
        .unwrap();
    let spec = FilterSpec {
        limits: Some(BindingLimits {
            cpu_ms: Some(20),
            ..BindingLimits::default()
        }),
        ..filter("loops-on-poison", ErrorPolicy::Drop)
    };
    let builder = stage.client.subscribe(["rested"]).filter(spec);
    let mut subscriber = soon("a subscription", builder.open()).await.unwrap();
    let mut expected: Vec<String> = (0..BATCHES).map(|n| format!("good {n}")).collect();
    expected.push("the last".to_owned());
    for expected in expected {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap(), expected);
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn many_guilty_records_in_a_batch_stop_nobody_whose_policy_provides_for_them() {
    let mut stage = Stage::start().await;
    stage.topic("guilty", 1).await;
    push(&stage, "traps-on-poison").await.unwrap();
    let guilty: Vec<usize> = (0..30).map(|n| n * 33).collect();
    let values = thousand(&guilty);
    for _ in 0..3 {
        produce(&stage, "guilty", &values).await.unwrap();
    }
    let innocent = values.iter().filter(|value| *value != b"evil");
    let innocent: Vec<Vec<u8>> = innocent.cloned().collect();
    let three = |values: &[Vec<u8>]| [values, values, values].concat();
    let dropping = filter("traps-on-poison", ErrorPolicy::Drop);
    let skipping = filter("traps-on-poison", ErrorPolicy::Skip);
    let letters = filter("traps-on-poison", ErrorPolicy::DeadLetter);
    let topic = || stage.client.subscribe(["guilty"]);
    for (builder, expected) in [
        (topic().filter(skipping), three(&values)),
        (topic().filter(dropping), three(&innocent)),
        (topic().filter(letters), three(&innocent)),
    ] {
        let mut subscriber = soon("a subscription", builder.open()).await.unwrap();
        for expected in expected {
            let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
            assert_eq!(record.value.unwrap(), expected);
        }
    }
    assert_eq!(stage.records("guilty.dlq").await, 90);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn large_records_become_dead_letters_too() {
    const BYTES: usize = 20 << 20;
    let mut stage = Stage::start().await;
    stage.topic("large", 1).await;
    push(&stage, "traps").await.unwrap();
    let producer = stage.client.producer("large").open().await.unwrap();
    let batch = batch_of(&[&vec![0; BYTES]], Compression::Zstd);
    let ticket = producer.send_batch(batch).await.unwrap();
    assert_eq!(soon("an outcome", ticket).await.unwrap().count(), 1);
    let mut subscriber = subscribe(&stage, "large", "traps", ErrorPolicy::DeadLetter)
        .await
        .unwrap();
    while !subscriber.is_caught_up() {
        soon("progress", subscriber.next_event())
            .await
            .unwrap()
            .unwrap();
    }
    let letters = stage.values("large.dlq").await;
    assert_eq!(letters.iter().map(Vec::len).collect::<Vec<_>>(), [BYTES]);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn filters_that_loop_eat_or_lie() {
    let mut stage = Stage::start().await;
    stage.topic("watched", 1).await;
    produce(&stage, "watched", &[b"x".to_vec()]).await.unwrap();
    for (plugin, message) in [
        ("loops", "it used more than its 100ms of processor time"),
        (
            "eats-memory",
            "it needs more than its 67108864 bytes of memory",
        ),
        ("too-few", "answered 0 verdicts for 1 records"),
        ("too-many", "answered 2 verdicts for 1 records"),
        ("out-of-range", "answered 7 for record 0"),
        ("huge-answer", "returned or logged more bytes than it may"),
        ("wild-pointer", "the plugin trapped"),
        ("traps", "unreachable"),
    ] {
        push(&stage, plugin).await.unwrap();
        let mut failing = subscribe(&stage, "watched", plugin, ErrorPolicy::Fail)
            .await
            .unwrap();
        let error = soon("the end", failing.next()).await.unwrap().unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.code, ErrorCode::PluginFailed, "{plugin}");
        assert!(fault.message.contains(message), "{plugin}: {fault}");
        let mut skipping = subscribe(&stage, "watched", plugin, ErrorPolicy::Skip)
            .await
            .unwrap();
        let record = soon("the record", skipping.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap(), "x", "{plugin}");
        let mut dropping = subscribe(&stage, "watched", plugin, ErrorPolicy::Drop)
            .await
            .unwrap();
        match soon("progress", dropping.next_event())
            .await
            .unwrap()
            .unwrap()
        {
            weir_sdk::Event::Progress(progress) => assert_eq!(progress.filtered_out, 1, "{plugin}"),
            other => panic!("{plugin}: {other:?}"),
        }
        stage.is_unharmed().await;
    }
    stage.end().await;
}

#[tokio::test]
async fn filters_that_do_not_even_start() {
    let mut stage = Stage::start().await;
    stage.topic("unstarted", 1).await;
    for (plugin, message) in [
        (
            "configure-loops",
            "it used more than its 100ms of processor time",
        ),
        (
            "starts-looping",
            "it used more than its 100ms of processor time",
        ),
        ("configure-traps", "unreachable"),
        ("configure-refuses", "no configuration pleases me"),
        ("wasi-import", ""),
    ] {
        push(&stage, plugin).await.unwrap();
        let subscribed = subscribe(&stage, "unstarted", plugin, ErrorPolicy::Skip).await;
        let error = subscribed.map(drop).unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.code, ErrorCode::InvalidArgument, "{plugin}: {fault}");
        assert!(fault.message.contains(message), "{plugin}: {fault}");
        assert!(fault.message.contains(plugin), "{plugin}: {fault}");
        stage.is_unharmed().await;
    }
    stage.end().await;
}

#[tokio::test]
async fn a_slow_plugin_slows_its_own_topic_only() {
    const REQUESTS: usize = 400;
    let mut stage = Stage::start().await;
    stage.topic("slow", 1).await;
    bind(
        &stage,
        "slow",
        (Hook::Key, "keys-slow"),
        ErrorPolicy::Fail,
        0,
    )
    .await;
    let producer = stage.client.producer("slow").open().await.unwrap();
    let one = batch_of(&[b"x"], Compression::None);
    let mut tickets = Vec::new();
    for _ in 0..REQUESTS {
        tickets.push(producer.send_batch(one.clone()).await.unwrap());
    }
    let flushed = producer.clone();
    let mut flush = tokio::spawn(async move { flushed.flush().await });
    let mut rounds = 0;
    loop {
        tokio::select! {
            biased;
            _ = &mut flush => break,
            () = stage.is_unharmed() => rounds += 1,
        }
    }
    println!("{rounds} rounds of the bystander beside {REQUESTS} slow requests");
    assert!(
        rounds >= 20,
        "{rounds} rounds in the time of {REQUESTS} slow requests"
    );
    for ticket in tickets {
        assert_eq!(ticket.await.unwrap().count(), 1);
    }
    producer.close().await.unwrap();
    let described = stage.client.admin().describe_topic("slow").await.unwrap();
    let counters = &described.bindings[0].counters;
    let per_call = counters.cpu_ns / counters.calls;
    println!("{} ms of processor time per call", per_call / 1_000_000);
    assert!(per_call > 3_000_000, "hardly slow: {per_call} ns");
    stage.end().await;
}

/// Settings may be large and bindings many: whoever asks about them gets an answer.
#[tokio::test(flavor = "multi_thread")]
async fn bindings_with_the_largest_settings_can_be_looked_at() {
    const TOPICS: usize = 5;
    const BINDINGS: usize = 16;
    let mut stage = Stage::start().await;
    push(&stage, "keys-trap-on-poison").await.unwrap();
    let admin = stage.client.admin();
    for topic in 0..TOPICS {
        let topic = format!("topic-{topic}");
        stage.topic(&topic, 1).await;
        for position in 0..BINDINGS {
            let large = Setting {
                name: "large".to_owned(),
                value: "x".repeat((64 << 10) - 5),
            };
            let bind = Bind {
                config: vec![large],
                position: Some(u32::try_from(position).unwrap()),
                ..Bind::new(
                    "keys-trap-on-poison".parse().unwrap(),
                    topic.parse().unwrap(),
                    Hook::Key,
                )
            };
            soon("a bind", admin.bind(&bind)).await.unwrap();
        }
    }
    let status = soon("the status", admin.status()).await.unwrap();
    assert_eq!(status.bindings.len(), TOPICS * BINDINGS);
    assert!(
        status
            .bindings
            .iter()
            .all(|binding| binding.config.is_empty())
    );
    let described = admin.describe_plugin("keys-trap-on-poison");
    let described = soon("the plugin", described).await.unwrap();
    assert_eq!(described.bindings.len(), TOPICS * BINDINGS);
    stage.is_unharmed().await;
    stage.end().await;
}

/// A version that is removed while it is pushed again is there afterwards or it is not: what is
/// listed can be fetched.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_and_removed_at_once_is_whole_or_gone() {
    let stage = Stage::start().await;
    let name = "keys-trap-on-poison";
    for _ in 0..10 {
        push(&stage, name).await.unwrap();
        let admin = stage.client.admin();
        let (pushed, removed) = tokio::join!(push(&stage, name), admin.remove_plugin(name, None));
        pushed.unwrap();
        removed.unwrap();
        if admin.list_plugins().await.unwrap().is_empty() {
            continue;
        }
        let (_, component) = admin.fetch_plugin(name, None).await.unwrap();
        assert_eq!(component, prebuilt(&format!("hostile/{name}")));
    }
    stage.end().await;
}
