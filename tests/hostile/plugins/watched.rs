//! Filters and projections of subscriptions are no bindings, but how they do and what they log is
//! seen where that of bindings is seen.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt;
use weir_sdk::{FilterSpec, Record, Start, Subscriber};
use weir_wire::batch::Compression;
use weir_wire::error::ErrorCode;
use weir_wire::id::{BindingId, Offset, SubscriptionId};
use weir_wire::limits::LOG_CURSORS_MAX;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{
    BindingLimits, LogCursor, LogLine, PluginDescription, SubscriptionPlugin,
};

use super::{fetch, push};
use crate::batches::batch_of;
use crate::stage::{PATIENCE, Stage, soon};

const LOOPS: &str = "loops-on-poison";

/// A filter or projection that drops what it fails on.
fn dropping(plugin: &str) -> FilterSpec {
    FilterSpec {
        plugin: plugin.parse().unwrap(),
        version: None,
        config: Vec::new(),
        on_error: Some(ErrorPolicy::Drop),
        limits: None,
    }
}

async fn send(stage: &Stage, topic: &str, values: &[&str]) {
    let producer = stage.client.producer(topic).open().await.unwrap();
    for value in values {
        let record = Record::new((*value).to_owned());
        producer.publish(record).await.unwrap();
    }
    producer.close().await.unwrap();
}

/// Asks what the broker says of a plugin until it fits.
async fn described(
    stage: &Stage,
    plugin: &str,
    fits: impl Fn(&PluginDescription) -> bool,
) -> PluginDescription {
    let admin = stage.client.admin();
    let look = async {
        loop {
            let described = admin.describe_plugin(plugin).await.unwrap();
            if fits(&described) {
                return described;
            }
            tokio::task::yield_now().await;
        }
    };
    soon("a description that fits", look).await
}

/// The value of a series of the plugin.
async fn series(metrics: SocketAddr, name: &str) -> String {
    let text = soon("the metrics", fetch(metrics, "/metrics")).await;
    let labels = format!("{{topic=\"watched\",hook=\"filter\",plugin=\"{LOOPS}\",version=");
    let start = format!("weir_subscription_plugin_{name}{labels}");
    let mut lines = text.lines().filter(|line| line.starts_with(&start));
    let line = lines.next().unwrap();
    assert_eq!(
        lines.next(),
        None,
        "subscriptions have no series of their own"
    );
    line.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_filter_that_rests_for_a_subscription_is_seen_everywhere_until_that_ends() {
    let stage = Stage::start_with(|config| {
        config.metrics = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        // It rests for longer each time, and the subscription waits.
        config.limits.request_deadline = Duration::from_secs(600);
    })
    .await;
    let metrics = stage.broker.broker().metrics_address().unwrap();
    stage.topic("watched", 1).await;
    push(&stage, LOOPS).await.unwrap();
    // A batch each: in eight calls in a row a record is stopped at a limit, and again after each
    // rest.
    let mut values = ["evil"; 14].to_vec();
    values.extend(["good"; 3]);
    send(&stage, "watched", &values).await;
    let limited = FilterSpec {
        limits: Some(BindingLimits {
            cpu_ms: Some(5),
            ..BindingLimits::default()
        }),
        ..dropping(LOOPS)
    };
    let begin = async |from: u64, filter: &FilterSpec| -> Subscriber {
        let builder = stage.client.subscribe(["watched"]).filter(filter.clone());
        let builder = builder.from(Start::Offset(Offset::new(from)));
        soon("a subscription", builder.open()).await.unwrap()
    };
    let mut sound = begin(14, &dropping(LOOPS)).await;
    for _ in 0..3 {
        soon("a record", sound.next()).await.unwrap().unwrap();
    }
    let poisoned = begin(0, &limited).await;
    // From the fourth time on it rests for 8 s and more: that is time enough to look.
    let seen = described(&stage, LOOPS, |described| {
        let first = described.subscriptions[0].counters.quarantine.as_ref();
        first.is_some_and(|quarantine| quarantine.times >= 4)
    })
    .await;
    assert_eq!((seen.bindings.len(), seen.subscriptions_unlisted), (0, 0));
    let [resting, other] = seen.subscriptions.as_slice() else {
        panic!("two subscriptions have it: {seen:?}");
    };
    let quarantine = resting.counters.quarantine.as_ref().unwrap();
    assert!(
        quarantine
            .reason
            .contains("a record was stopped at a limit"),
        "{quarantine:?}"
    );
    assert!(quarantine.until > quarantine.since, "{quarantine:?}");
    assert_eq!(resting.limits, limited.limits);
    assert_eq!(
        (resting.on_error, resting.hook),
        (ErrorPolicy::Drop, Hook::Filter)
    );
    assert_eq!(
        (resting.topic.to_string(), resting.topics),
        ("watched".to_owned(), 1)
    );
    let counted = &resting.counters;
    assert!(counted.failed >= 8 && counted.limits >= 8 && counted.records_out == 0);
    assert!(counted.last_error.is_some() && counted.calls >= 8 && counted.cpu_ns > 0);
    let sound_counters = (&other.counters.quarantine, &other.counters.last_error);
    assert_eq!(sound_counters, (&None, &None));
    assert_eq!((other.counters.records_out, other.counters.failed), (3, 0));
    assert_ne!(resting.subscription, other.subscription);

    let sentence = format!(
        "the filter \"{LOOPS}\" on topic \"watched\" of a subscription is quarantined: in "
    );
    let status = soon("the status", stage.client.admin().status())
        .await
        .unwrap();
    let told: Vec<_> = status
        .warnings
        .iter()
        .filter(|text| text.contains(LOOPS))
        .collect();
    assert!(
        told.len() == 1 && told[0].starts_with(&sentence),
        "{told:?}"
    );
    assert!(
        told[0].ends_with(&format!(" (weir plugin show {LOOPS})")),
        "{told:?}"
    );
    for path in ["/readyz", "/healthz"] {
        let text = soon(path, fetch(metrics, path)).await;
        assert!(
            text.starts_with("HTTP/1.1 200") && text.contains(&sentence),
            "{text}"
        );
    }
    assert_eq!(series(metrics, "quarantined").await, "1");
    assert_eq!(series(metrics, "at_work").await, "2");
    assert_eq!(series(metrics, "records_out_total").await, "3.0");
    let failed: f64 = series(metrics, "failed_total").await.parse().unwrap();
    assert!(failed >= 8.0, "{failed}");

    // What it did stays counted; nothing else is left of it.
    drop(poisoned);
    let left = described(&stage, LOOPS, |seen| seen.subscriptions.len() == 1).await;
    assert_eq!(left.subscriptions[0].subscription, other.subscription);
    let still: f64 = series(metrics, "failed_total").await.parse().unwrap();
    assert!(still >= failed, "{still} of {failed}");
    assert_eq!(series(metrics, "quarantined").await, "0");
    assert_eq!(series(metrics, "at_work").await, "1");
    let text = soon("/readyz", fetch(metrics, "/readyz")).await;
    assert!(text.ends_with("\r\n\r\nready\n"), "{text}");
    drop(sound);
    described(&stage, LOOPS, |seen| seen.subscriptions.is_empty()).await;
    assert_eq!(series(metrics, "at_work").await, "0");
    assert_eq!(series(metrics, "records_out_total").await, "3.0");
    stage.end().await;
}

#[tokio::test]
async fn a_filter_that_gives_two_answers_is_warned_of_once_for_all_subscriptions() {
    let stage = Stage::start().await;
    for topic in ["first", "second"] {
        stage.topic(topic, 1).await;
    }
    push(&stage, "counts-calls").await.unwrap();
    // A batch of several calls, and the second of them answers as no fresh instance does.
    let values = vec![&b"any"[..]; 20_000];
    let producer = stage.client.producer("first").open().await.unwrap();
    let batch = batch_of(&values, Compression::None);
    producer.send_batch(batch).await.unwrap().await.unwrap();
    producer.close().await.unwrap();
    let begin = || {
        let builder = stage.client.subscribe(["first", "second"]);
        builder.filter(dropping("counts-calls")).open()
    };
    let (one, other) = (begin().await.unwrap(), begin().await.unwrap());
    let impure = described(&stage, "counts-calls", |seen| {
        let impure = |it: &SubscriptionPlugin| it.counters.impure;
        seen.subscriptions.len() == 2 && seen.subscriptions.iter().all(impure)
    });
    assert_eq!(impure.await.subscriptions[0].topics, 2);
    let status = soon("the status", stage.client.admin().status())
        .await
        .unwrap();
    let warnings: Vec<_> = status.warnings.iter().map(String::as_str).collect();
    let expected = "the filter \"counts-calls\" on topics first and 1 more of 2 subscriptions gave \
                    two answers to one question, so what it says is not remembered (weir plugin \
                    show counts-calls)";
    let told = warnings.iter().filter(|text| text.contains("counts-calls"));
    assert_eq!(told.collect::<Vec<_>>(), [&expected]);
    drop((one, other));
    stage.end().await;
}

/// Which one logged a line, but for its subscription.
fn place(line: &LogLine) -> (u32, Hook, &str) {
    (line.position, line.hook, line.message.as_str())
}

#[tokio::test]
async fn what_they_log_is_told_by_subscription_and_place_also_when_they_have_ended() {
    let stage = Stage::start().await;
    let admin = stage.client.admin();
    stage.topic("logged", 1).await;
    let golden = include_bytes!("../../../plugins/golden/contract-1.0.0.wasm");
    admin.push_plugin("golden", &golden[..]).await.unwrap();
    let begin = || {
        let builder = stage.client.subscribe(["logged"]);
        builder
            .filter(dropping("golden"))
            .project(dropping("golden"))
            .open()
    };
    // Who waits hears of a subscription that comes.
    let waiting = admin.plugin_logs("golden", &[], PATIENCE);
    let (lines, subscriber) = tokio::join!(waiting, begin());
    let (lines, subscriber) = (lines.unwrap(), subscriber.unwrap());
    let said = "configured with the header tag";
    let told = lines.iter().map(place);
    assert_eq!(
        told.collect::<Vec<_>>(),
        [(0, Hook::Filter, said), (1, Hook::Project, said)]
    );
    let subscription = lines[0].subscription.unwrap();
    for line in &lines {
        let who = (line.binding, line.subscription, line.topic.to_string());
        assert_eq!(
            who,
            (BindingId::new(0), Some(subscription), "logged".to_owned())
        );
        assert_eq!((line.number, line.level), (1, 1));
    }
    let cursors: Vec<_> = lines.iter().map(cursor).collect();
    let after = async |cursors: &[LogCursor]| {
        let lines = admin.plugin_logs("golden", cursors, Duration::ZERO);
        lines.await.unwrap()
    };
    assert_eq!(after(&cursors).await, []);
    // So many may be known, and no more.
    let countless = cursors.iter().cycle().take(LOG_CURSORS_MAX + 1);
    let countless: Vec<_> = countless.cloned().collect();
    assert_eq!(after(&countless[1..]).await, []);
    let refused = admin.plugin_logs("golden", &countless, Duration::ZERO);
    let refused = refused.await.unwrap_err();
    let fault = refused.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::InvalidArgument, "{fault}");
    assert!(fault.message.contains("\"golden\""), "{fault}");

    // A line of one of its records, and one of another subscription.
    let producer = stage.client.producer("logged").open().await.unwrap();
    let record = Record::new("value").header("tag", "panic");
    let waiting = admin.plugin_logs("golden", &cursors, PATIENCE);
    let (more, sent) = tokio::join!(waiting, producer.publish(record));
    sent.unwrap();
    let more = more.unwrap();
    assert!(
        more[0].message.contains("the record asked for a panic"),
        "{more:?}"
    );
    assert!(!more[0].message.contains(char::is_control), "{more:?}");
    assert_eq!(
        (more[0].subscription, more[0].position),
        (Some(subscription), 0)
    );
    let other = begin().await.unwrap();
    let all = after(&[]).await;
    let subscriptions: BTreeSet<SubscriptionId> =
        all.iter().filter_map(|line| line.subscription).collect();
    assert_eq!(subscriptions.len(), 2);

    drop((subscriber, other));
    described(&stage, "golden", |seen| seen.subscriptions.is_empty()).await;
    let kept = after(&[]).await;
    assert!(kept.len() >= all.len(), "{kept:?}");
    let of_first = kept
        .iter()
        .filter(|line| line.subscription == Some(subscription));
    let panicked = of_first.filter(|line| line.level == 3);
    assert!(panicked.count() > 0, "{kept:?}");
    producer.close().await.unwrap();
    stage.end().await;
}

fn cursor(line: &LogLine) -> LogCursor {
    LogCursor {
        binding: line.binding,
        number: line.number,
        subscription: line.subscription,
        position: line.position,
    }
}
