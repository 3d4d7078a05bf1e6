//! What subscribers see of records: shown through projections, and without those on which a plugin
//! failed, which are in the dead-letter topic.

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::time::timeout;
use weir_broker::config::ByteSize;
use weir_harness::plugins::{filter, push};
use weir_sdk::wire::batch::{BatchBuilder, Compression, NewRecord};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::{Offset, Timestamp};
use weir_sdk::wire::plugin::ErrorPolicy;
use weir_sdk::wire::request::BindingLimits;
use weir_sdk::{Client, FilterSpec, Received, Start, SubscribeError, SubscriberBuilder};

use crate::filters::{SILENCE_MAX, Scene, TOPIC};

const LETTERS: &str = "filtered.dlq";

fn record_body(n: u64) -> String {
    match n {
        // No JSON object: nothing can be masked in it.
        7 => "evil".to_owned(),
        n => format!("{{\"n\":{n},\"name\":\"Ann\",\"secret\":true}}"),
    }
}

/// Thirty records in two batches, of which the eighth is no JSON.
fn batches(compression: Compression) -> Vec<Bytes> {
    let batch = |from: u64| {
        let mut builder = BatchBuilder::default();
        for n in from..from + 15 {
            let (key, value) = (format!("key {}", n % 3), record_body(n));
            let record = NewRecord {
                key: Some(key.as_bytes()),
                value: Some(value.as_bytes()),
                headers: &[
                    ("tag", if n % 2 == 0 { b"even" } else { b"odd" }),
                    ("trace", b"1"),
                ],
            };
            builder.push(Timestamp::new(1_700_000_000_000 + n as i64), &record);
        }
        Bytes::from(builder.finish(compression).unwrap())
    };
    vec![batch(0), batch(15)]
}

fn masking(on_error: ErrorPolicy) -> FilterSpec {
    FilterSpec {
        on_error: Some(on_error),
        ..filter("mask-view", ("mask", "name"))
    }
}

async fn scene(compression: Compression) -> Scene {
    let scene = Scene::start(ByteSize::mib(64)).await;
    push(&scene.client.admin(), "mask-view").await;
    scene.send(batches(compression)).await;
    scene
}

/// Everything up to the end that the topic had when the subscription began.
async fn read(builder: SubscriberBuilder) -> Result<Vec<Received>, SubscribeError> {
    let mut subscriber = builder.open().await?;
    let mut records = Vec::new();
    while !subscriber.is_caught_up() {
        let event = timeout(SILENCE_MAX, subscriber.next_event()).await;
        match event.expect("it hears of the end").unwrap()? {
            weir_sdk::Event::Records(batch) => {
                for record in batch {
                    records.push(record?);
                }
            }
            _ => continue,
        }
    }
    Ok(records)
}

fn offsets(records: &[Received]) -> Vec<u64> {
    records.iter().map(|record| record.offset.value()).collect()
}

fn value(record: &Received) -> &str {
    std::str::from_utf8(record.value.as_ref().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_shown_at_their_places() {
    for compression in [Compression::None, Compression::Lz4] {
        let scene = scene(compression).await;
        let subscribe = || scene.client.subscribe([TOPIC]).ordering_keys(true);
        let stored = read(subscribe()).await.unwrap();
        let odd = filter("tag-filter", ("tags", "odd"));
        let headless = filter("mask-view", ("remove_header", "trace"));
        for round in 0..2 {
            let builder = subscribe()
                .filter(odd.clone())
                .project(masking(ErrorPolicy::Skip))
                .project(headless.clone());
            let shown = read(builder).await.unwrap();
            let odds: Vec<u64> = (0..30).filter(|n| n % 2 == 1).collect();
            assert_eq!(offsets(&shown), odds, "round {round}");
            for record in &shown {
                let n = record.offset.value();
                let before = &stored[n as usize];
                let expected = record_body(n).replace("Ann", "***");
                assert_eq!(value(record), expected);
                assert_eq!(record.header("trace"), None);
                assert_eq!(record.tag().unwrap(), "odd");
                let place = |record: &Received| {
                    let times = (record.timestamp, record.append_time);
                    (times, record.key.clone(), record.ordering_key)
                };
                assert_eq!(place(record), place(before));
            }
        }
        // From the middle of a batch.
        let from = Start::Offset(Offset::new(20));
        let builder = subscribe().from(from).project(masking(ErrorPolicy::Fail));
        let shown = read(builder).await.unwrap();
        assert_eq!(offsets(&shown), (20..30).collect::<Vec<u64>>());
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_projection_that_fails_on_a_record_follows_its_policy() {
    let scene = scene(Compression::None).await;
    let project = |on_error| {
        let builder = scene.client.subscribe([TOPIC]);
        read(builder.project(masking(on_error)))
    };
    let error = project(ErrorPolicy::Fail).await.unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::PluginFailed);
    let expected = "projection \"mask-view\": record at offset 7:";
    assert!(fault.message.contains(expected), "{fault}");
    let skipped = project(ErrorPolicy::Skip).await.unwrap();
    assert_eq!(skipped.len(), 30);
    assert_eq!(value(&skipped[7]), "evil");
    assert_eq!(value(&skipped[8]), record_body(8).replace("Ann", "***"));
    let dropped = project(ErrorPolicy::Drop).await.unwrap();
    let expected: Vec<u64> = (0..30).filter(|n| *n != 7).collect();
    assert_eq!(offsets(&dropped), expected);
    scene.end().await;
}

/// What is said of a dead letter, in the order of its headers.
fn said(letter: &Received) -> Vec<(String, String)> {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let headers = letter.headers.iter().map(|header| {
        let value = header.value.as_ref().map(text).unwrap_or_default();
        (header.name().to_owned(), value)
    });
    headers.collect()
}

async fn letters(client: &Client) -> Vec<Received> {
    read(client.subscribe([LETTERS])).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_failed_on_is_kept_as_it_was_before_anything_behind_it_is_sent() {
    let scene = scene(Compression::Lz4).await;
    scene.push_hostile("traps-on-poison").await;
    let admin = scene.client.admin();
    let strict = FilterSpec {
        on_error: Some(ErrorPolicy::DeadLetter),
        ..filter("traps-on-poison", ("any", "thing"))
    };
    let stored = read(scene.client.subscribe([TOPIC])).await.unwrap();
    assert!(admin.describe_topic(LETTERS).await.is_err());
    let mut subscriber = scene
        .client
        .subscribe([TOPIC])
        .filter(strict.clone())
        .open()
        .await
        .unwrap();
    // The topic is there as soon as the subscription is.
    let described = admin.describe_topic(LETTERS).await.unwrap();
    assert_eq!(described.topic.partitions, 1);
    let first = subscriber.next().await.unwrap().unwrap();
    assert_eq!(first.offset.value(), 0);
    // It lies in the batch whose first record came just now.
    let found = letters(&scene.client).await;
    assert_eq!(found.len(), 1);
    let (letter, guilty) = (&found[0], &stored[7]);
    let body = |record: &Received| (record.key.clone(), record.value.clone(), record.timestamp);
    assert_eq!(body(letter), body(guilty));
    let headers = said(letter);
    assert_eq!(headers[..2], said(guilty));
    let names: Vec<&str> = headers[2..].iter().map(|(name, _)| name.as_str()).collect();
    let header = |name: &str| {
        let found = headers.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    assert_eq!(header("weir-dlq-topic"), TOPIC);
    assert_eq!(header("weir-dlq-plugin"), "traps-on-poison");
    assert_eq!(header("weir-dlq-version").len(), 64);
    assert_eq!(header("weir-dlq-hook"), "filter");
    assert_eq!(header("weir-dlq-partition"), "0");
    assert_eq!(header("weir-dlq-offset"), "7");
    assert!(header("weir-dlq-message").contains("trap"), "{headers:?}");
    let backtrace = header("weir-dlq-backtrace");
    assert!(backtrace.starts_with("0: "), "{backtrace}");
    assert!(backtrace.contains(" (at 0x"), "{backtrace}");
    assert!(!names.contains(&"weir-dlq-binding"), "{names:?}");
    drop(subscriber);

    // Another subscription meets it again; a projection keeps it as it is stored, too.
    let builder = scene.client.subscribe([TOPIC]);
    let headless = filter("mask-view", ("remove_header", "trace"));
    let shown = builder
        .project(headless)
        .project(masking(ErrorPolicy::DeadLetter));
    let shown = read(shown).await.unwrap();
    assert_eq!(shown.len(), 29);
    assert!(shown.iter().all(|record| record.header("trace").is_none()));
    let found = letters(&scene.client).await;
    assert_eq!(found.len(), 2);
    assert_eq!(said(&found[1])[..2], said(guilty));
    assert_eq!(body(&found[1]), body(guilty));
    assert_eq!(found[1].header("weir-dlq-hook").unwrap(), "project");
    assert_eq!(scene.metric("weir_dead_letters_total").await, 2);

    // Without the topic there is nowhere to keep it, and nothing behind it is sent.
    let mut subscriber = scene
        .client
        .subscribe([TOPIC])
        .filter(strict)
        .from(Start::Latest)
        .open()
        .await
        .unwrap();
    admin.delete_topic(LETTERS).await.unwrap();
    scene.send(batches(Compression::None)).await;
    let error = subscriber.next().await.unwrap().unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::UnknownTopic);
    assert!(fault.message.contains(LETTERS), "{fault}");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_a_projection_or_its_limits_is_refused() {
    let scene = scene(Compression::None).await;
    let project = async |spec: FilterSpec| {
        let opened = scene.client.subscribe([TOPIC]).project(spec).open().await;
        let error = opened.map(drop).unwrap_err();
        let fault = error.fault().unwrap().clone();
        assert_eq!(fault.code, ErrorCode::InvalidArgument, "{fault}");
        fault.message
    };
    let message = project(filter("tag-filter", ("tags", "odd"))).await;
    assert!(message.contains("projection \"tag-filter\""), "{message}");
    let message = project(filter("mask-view", ("mosk", "name"))).await;
    assert!(message.contains("projection \"mask-view\""), "{message}");
    let limits = BindingLimits {
        memory_bytes: Some(1 << 40),
        ..BindingLimits::default()
    };
    let limited = FilterSpec {
        limits: Some(limits),
        ..masking(ErrorPolicy::Fail)
    };
    let message = project(limited).await;
    assert!(message.contains("memory"), "{message}");
    // A limit that is kept to: nobody starts in 64 KiB.
    let limits = BindingLimits {
        memory_bytes: Some(64 << 10),
        ..BindingLimits::default()
    };
    let tight = FilterSpec {
        limits: Some(limits),
        ..masking(ErrorPolicy::Fail)
    };
    project(tight).await;
    scene.end().await;
}
