//! Subscriptions whose plugins make much of little: the memory that they take stays within bounds.

use std::time::Duration;

use weir_broker::config::ByteSize;
use weir_sdk::{Event, FilterSpec, Subscriber};
use weir_wire::batch::Compression;
use weir_wire::plugin::ErrorPolicy;
use weir_wire::request::Setting;

use crate::batches::batch_of;
use crate::plugins::{prebuilt, push};
use crate::stage::{Stage, resident, soon};

/// More memory than that is not what a bound of some tens of mebibytes costs.
const SLACK_MIB: u64 = 384;

/// A broker that caches little, and lets one subscription unfold 16 MiB.
async fn stage() -> Stage {
    Stage::alone_with(|config| {
        config.log.cache_bytes = ByteSize::mib(8);
        config.limits.connection_buffer_bytes = ByteSize::mib(16);
        config.limits.broker_buffer_bytes = ByteSize::mib(64);
    })
    .await
}

fn plugin(name: &str, on_error: Option<ErrorPolicy>) -> FilterSpec {
    FilterSpec {
        plugin: name.parse().unwrap(),
        version: None,
        config: Vec::new(),
        on_error,
        limits: None,
    }
}

/// Stores a batch so many times.
async fn fill(stage: &Stage, topic: &str, batch: &[u8], times: u64) {
    let producer = stage.client.producer(topic).open().await.unwrap();
    for _ in 0..times {
        let ticket = producer.send_batch(batch.to_vec()).await.unwrap();
        assert_eq!(soon("an outcome", ticket).await.unwrap().count(), 1);
    }
}

/// Reads to the end; how much memory came to it meanwhile, in mebibytes, and how many records came.
async fn read(mut subscriber: Subscriber) -> (u64, u64) {
    let before = resident();
    let mut peak = before;
    let caught_up = async {
        let mut records = 0;
        while !subscriber.is_caught_up() {
            let event = soon("an event", subscriber.next_event()).await;
            if let Event::Records(batch) = event.unwrap().unwrap() {
                records += u64::from(batch.count());
            }
        }
        records
    };
    let mut caught_up = std::pin::pin!(caught_up);
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    let records = loop {
        tokio::select! {
            records = &mut caught_up => break records,
            _ = looks.tick() => peak = peak.max(resident()),
        }
    };
    (peak.saturating_sub(before) >> 20, records)
}

#[tokio::test]
async fn dead_letters_of_balloons_wait_within_bounds() {
    const RECORDS: u64 = 160;
    let mut stage = stage().await;
    stage.topic("balloons", 1).await;
    push(&stage, "traps").await.unwrap();
    // All of them in some kilobytes: sent through the filter together, they would be a gibibyte.
    let balloon = batch_of(&[&vec![b'a'; 8 << 20]], Compression::Zstd);
    fill(&stage, "balloons", &balloon, RECORDS).await;
    let builder = stage.client.subscribe(["balloons"]);
    let builder = builder.filter(plugin("traps", Some(ErrorPolicy::DeadLetter)));
    let subscriber = soon("a subscription", builder.open()).await.unwrap();
    let (grown, _) = read(subscriber).await;
    println!("{grown} MiB more memory while {RECORDS} dead letters are stored");
    assert!(grown < SLACK_MIB, "{grown} MiB more than before");
    assert_eq!(stage.records("balloons.dlq").await, RECORDS);
    stage.is_unharmed().await;
    stage.end().await;
}

/// What the puppet answers as a projection of one record: a value of a megabyte without a key.
fn swelling() -> Vec<u8> {
    // It puts the record's value there, and has zeros behind it.
    const PLACE: u32 = 1 << 20;
    const NONE: u32 = u32::MAX;
    let (sources, spans) = (PLACE + 44, PLACE + 48);
    let answer = [0, sources, 1, PLACE, 1_000_000, spans, 4, 0, 0, 0, 0];
    let all = answer.into_iter().chain([0, 0, NONE, 0, 1_000_000]);
    all.flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn what_projections_make_of_little_stays_within_bounds() {
    const PARTITIONS: u32 = 8;
    const EACH: u64 = 96;
    let mut stage = stage().await;
    stage.topic("swelling", PARTITIONS).await;
    push(&stage, "puppet").await.unwrap();
    let batch = batch_of(&[&swelling()], Compression::None);
    // A lane of each partition, and all of them at once.
    fill(&stage, "swelling", &batch, EACH * u64::from(PARTITIONS)).await;
    let builder = stage.client.subscribe(["swelling"]);
    let builder = builder.project(plugin("puppet", None));
    let subscriber = soon("a subscription", builder.open()).await.unwrap();
    let (grown, records) = read(subscriber).await;
    println!("{grown} MiB more memory while {records} records of a megabyte each are shown");
    assert_eq!(records, EACH * u64::from(PARTITIONS));
    assert!(grown < SLACK_MIB, "{grown} MiB more than before");
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn what_is_as_large_as_a_batch_may_be_is_shown_too() {
    const RECORDS: u64 = 3;
    let mut stage = stage().await;
    stage.topic("largest", 1).await;
    let admin = stage.client.admin();
    soon(
        "an upload",
        admin.push_plugin("mask-view", prebuilt("mask-view")),
    )
    .await
    .unwrap();
    // With lengths and deltas it unfolds to all that a batch may have, but for some bytes.
    let largest = batch_of(&[&vec![0; (32 << 20) - 20]], Compression::Zstd);
    fill(&stage, "largest", &largest, RECORDS).await;
    let setting = Setting {
        name: "remove_header".to_owned(),
        value: "none".to_owned(),
    };
    let unchanged = FilterSpec {
        config: vec![setting],
        ..plugin("mask-view", None)
    };
    let builder = stage.client.subscribe(["largest"]).project(unchanged);
    let subscriber = soon("a subscription", builder.open()).await.unwrap();
    assert_eq!(read(subscriber).await.1, RECORDS);
    stage.is_unharmed().await;
    stage.end().await;
}
