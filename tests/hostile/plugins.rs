//! Components that break the rules, uploaded and bound as any other: what they do to their own
//! topic is said plainly, what they do to others is nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_broker::config::ByteSize;
use weir_sdk::Subscriber;
use weir_sdk::{AdminError, FilterSpec, PublishError, Record, RecordOutcome, SubscribeError};
use weir_wire::batch::Compression;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::produce::{Produce, Produced};
use weir_wire::request::{Bind, BindingInfo, BindingLimits, Route, Setting};

use crate::batches::{self, batch_of, open};
use crate::raw::{Raw, with_payload};
use crate::stage::{Stage, soon};

#[path = "plugins/filters.rs"]
mod filters;
#[path = "plugins/uploads.rs"]
mod uploads;
#[path = "plugins/watched.rs"]
mod watched;

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
        cpu_ms: Some(10_000),
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
    let nine = thousand(&nine);
    let nine: Vec<&[u8]> = nine.iter().map(Vec::as_slice).collect();
    let nine = batch_of(&nine, Compression::None);
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "resting", None).await;
    // It rests for a second, and twice as long each time that it fails again: whoever comes
    // meanwhile hears when to come back.
    let (mut failures, mut rest_ms) = (0, 500);
    let resting = loop {
        let request = Produce {
            partition: None,
            ..batches::produce(failures)
        };
        talk.say(&with_payload(&request, &nine)).await;
        let produced: Produced = talk.reply().await;
        let error = produced.error.unwrap();
        if error.code == ErrorCode::Overloaded && failures > 0 {
            break error;
        }
        assert_eq!(error.code, ErrorCode::PluginFailed, "{error:?}");
        let message = "more than 8 records of one batch failed";
        assert!(error.message.contains(message), "{error:?}");
        (failures, rest_ms) = (failures + 1, 2 * rest_ms);
    };
    let wait = resting.retry_after_ms.unwrap();
    assert!((1..=rest_ms).contains(&wait), "{wait} ms");
    // The client waits it out by itself.
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

/// What the broker's HTTP endpoint says.
async fn fetch(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_binding_that_rests_is_seen_everywhere_until_it_is_told_to_go_on() {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let stage = Stage::start_with(|config| config.metrics = Some(any)).await;
    let metrics = stage.broker.broker().metrics_address().unwrap();
    let admin = stage.client.admin();
    stage.topic("resting", 1).await;
    let plugin = "keys-trap-on-poison";
    let id = bind(&stage, "resting", (Hook::Key, plugin), ErrorPolicy::Drop, 0)
        .await
        .id;
    let nine: Vec<usize> = (0..9).map(|n| n * 100).collect();
    // Each time it rests for longer, in the end for 8 s: that is time enough to look.
    for _ in 0..4 {
        refused(produce(&stage, "resting", &thousand(&nine)).await);
    }
    let sentence = format!(
        "binding {id} (plugin \"{plugin}\" on topic \"resting\") is quarantined: more than 8 \
         records of one batch failed"
    );
    let status = soon("the status", admin.status()).await.unwrap();
    let warned = status.warnings.iter();
    assert_eq!(warned.filter(|text| text.contains(&sentence)).count(), 1);
    let described = admin.describe_plugin(plugin).await.unwrap();
    for binding in [&status.bindings[0], &described.bindings[0]] {
        let counters = &binding.counters;
        let quarantine = counters.quarantine.as_ref().unwrap();
        assert_eq!(quarantine.times, 4);
        assert!(quarantine.until > quarantine.since, "{quarantine:?}");
        // Batches without an answer count, too.
        assert_eq!((counters.records, counters.failed), (4000, 4000));
    }
    for path in ["/readyz", "/healthz"] {
        let text = soon(path, fetch(metrics, path)).await;
        assert!(text.starts_with("HTTP/1.1 200"), "{text}");
        assert!(text.contains(&sentence), "{text}");
    }
    let numbers = soon("the metrics", fetch(metrics, "/metrics")).await;
    let series = format!("{{binding=\"{id}\",topic=\"resting\",hook=\"key\",plugin=\"{plugin}\"");
    let is = |name: &str, value: &str| {
        let mut lines = numbers.lines();
        let line = lines.find(|line| line.starts_with(&format!("weir_binding_{name}{series}")));
        assert!(line.unwrap().ends_with(&format!("}} {value}")), "{line:?}");
    };
    is("quarantined", "1");
    is("failed_total", "4000.0");
    is("impure", "0");

    soon("the end of it", admin.unquarantine(id)).await.unwrap();
    // At once: who only waited would be told to come again.
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "resting", None).await;
    let request = Produce {
        partition: None,
        ..batches::produce(0)
    };
    talk.say(&with_payload(&request, &batches::batch())).await;
    let produced: Produced = talk.reply().await;
    assert_eq!(produced.error, None);
    let status = soon("the status", admin.status()).await.unwrap();
    let counters = &status.bindings[0].counters;
    assert_eq!((&counters.quarantine, &counters.last_error), (&None, &None));
    let text = soon("/readyz", fetch(metrics, "/readyz")).await;
    assert!(text.ends_with("\r\n\r\nready\n"), "{text}");
    stage.end().await;
}

#[tokio::test]
async fn a_binding_has_a_log_rate_of_its_own() {
    let mut stage = Stage::start().await;
    let admin = stage.client.admin();
    stage.topic("own", 1).await;
    let golden = include_bytes!("../../plugins/golden/contract-1.0.0.wasm");
    admin.push_plugin("golden", &golden[..]).await.unwrap();
    let limits = BindingLimits {
        log_lines_per_second: Some(3),
        ..BindingLimits::default()
    };
    let bind = Bind {
        on_error: Some(ErrorPolicy::Drop),
        limits: Some(limits),
        ..Bind::new("golden".parse().unwrap(), "own".parse().unwrap(), Hook::Key)
    };
    soon("a bind", admin.bind(&bind)).await.unwrap();
    let producer = stage.client.producer("own").open().await.unwrap();
    let send = async |tag: &str| {
        let record = Record::new("value").header("tag", tag.to_owned());
        soon("an outcome", producer.publish(record)).await.unwrap()
    };
    assert!(send("sound").await.stored().is_some());
    // It logs why it panics, as long as it may.
    let suppressed = async {
        loop {
            send("panic").await;
            let described = admin.describe_plugin("golden").await.unwrap();
            let suppressed = described.bindings[0].counters.log_lines_suppressed;
            if suppressed > 0 {
                break;
            }
        }
    };
    soon("a line too many", suppressed).await;
    producer.close().await.unwrap();
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_binding_has_a_bound_on_its_output_of_its_own() {
    let mut stage = Stage::start().await;
    let admin = stage.client.admin();
    let component = prebuilt("upper-case");
    admin.push_plugin("upper-case", component).await.unwrap();
    for (topic, output_bytes) in [("bound", Some(1000)), ("free", None)] {
        stage.topic(topic, 1).await;
        let limits = BindingLimits {
            output_bytes,
            ..BindingLimits::default()
        };
        let plugin = "upper-case".parse().unwrap();
        let bind = Bind {
            on_error: Some(ErrorPolicy::Drop),
            limits: Some(limits),
            ..Bind::new(plugin, topic.parse().unwrap(), Hook::Transform)
        };
        soon("a bind", admin.bind(&bind)).await.unwrap();
        let producer = stage.client.producer(topic).open().await.unwrap();
        for (size, is_stored) in [(100, true), (3000, output_bytes.is_none()), (100, true)] {
            let outcome = producer.publish(Record::new(vec![b'a'; size]));
            let outcome = soon("an outcome", outcome).await.unwrap();
            assert_eq!(
                outcome.stored().is_some(),
                is_stored,
                "{topic}: {size} bytes"
            );
        }
        producer.close().await.unwrap();
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_component_is_as_large_as_the_operator_lets_it_be() {
    let stage = Stage::start_with(|config| {
        config.plugins.component_bytes = ByteSize::bytes(1024);
    })
    .await;
    let component = prebuilt("tag-filter");
    let expected = format!(
        "the component has {} bytes, more than 1024; strip it, or build it smaller",
        component.len()
    );
    let pushed = stage.client.admin().push_plugin("large", component).await;
    let error = pushed.map(drop).unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::InvalidPlugin, "{fault}");
    assert_eq!(fault.message, expected);
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
        rounds >= 3,
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
