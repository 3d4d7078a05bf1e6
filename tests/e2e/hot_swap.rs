//! A topic's transform is replaced again and again while a producer sends as fast as it can: every
//! record is processed by exactly one version, and in each partition the version changes exactly
//! at the offsets that the history names.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::watch;
use weir_harness::client::connect;
use weir_harness::plugins::{another_version, prebuilt, push_as};
use weir_harness::process::Process;
use weir_harness::reading::to_the_end;
use weir_harness::report::{deep, say};
use weir_sdk::wire::id::{BindingId, Offset, PartitionId};
use weir_sdk::wire::plugin::{BindingAction, Hook};
use weir_sdk::wire::request::{Bind, BindingEvent, Setting};
use weir_sdk::{Client, Record, RecordOutcome, Ticket};

use crate::setup;

const TOPIC: &str = "orders";
const PLUGIN: &str = "json-transform";
const PARTITIONS: u32 = 4;
const RECORDS: usize = 100_000;
const SWAPS: usize = 100;
/// What each version masks; the field tells by which version a record was processed.
const FIELDS: [&str; 2] = ["first", "second"];
/// Records whose outcome is awaited.
const WAITING_MAX: usize = 2_000;
/// Swaps that may be due while the producer goes on: it is never stopped for a swap, but neither
/// may all of them come when it is done.
const BEHIND_MAX: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_swaps_under_load() {
    let records = deep(RECORDS);
    let process = Process::start(setup());
    let client = connect(&process).await;
    let binds = prepare(&client).await;
    let first = client.admin().bind(&binds[0]).await;
    let first = first.expect("a sample plugin can be bound").0.id;
    let (done, progress) = watch::channel(0);
    let (made, swapped) = watch::channel(0);
    let swapping = swap(client.clone(), binds, first, (progress, made), records);
    let swapping = tokio::spawn(swapping);
    send(&client, records, &done, swapped).await;
    let made = swapping.await.expect("the bindings change to the end");
    let history = client.admin().history(TOPIC).await;
    let history = history.expect("a topic has a history");
    let ids: Vec<BindingId> = history.iter().map(|event| event.binding).collect();
    assert_eq!(ids, made, "every bind is in the history, in order");
    let changes = check(&client, &history, records).await;
    assert!(changes >= SWAPS, "the swaps came among the records");
    say(&format!(
        "hot swap: {records} records, {SWAPS} swaps, the version changed {changes} times within \
         partitions, all where the history says"
    ));
    client.close().await;
}

/// Makes the topic and pushes two versions; answers how they are bound.
async fn prepare(client: &Client) -> [Bind; 2] {
    let admin = client.admin();
    admin
        .create_topic(TOPIC, PARTITIONS)
        .await
        .expect("a topic can be made");
    let component = prebuilt(PLUGIN);
    let mut versions = Vec::new();
    for number in 0..FIELDS.len() {
        let version = another_version(&component, number as u8);
        versions.push(push_as(&admin, PLUGIN, version).await);
    }
    let mut versions = versions.into_iter();
    FIELDS.map(|field| {
        let plugin = PLUGIN.parse().expect("a plugin's name");
        let topic = TOPIC.parse().expect("a topic's name");
        Bind {
            version: versions.next(),
            config: vec![Setting {
                name: "mask".to_owned(),
                value: field.to_owned(),
            }],
            ..Bind::new(plugin, topic, Hook::Transform)
        }
    })
}

/// Binds one version in the place of the other, spread over the whole of the sending.
async fn swap(
    client: Client,
    binds: [Bind; 2],
    first: BindingId,
    (mut progress, swapped): (watch::Receiver<usize>, watch::Sender<usize>),
    records: usize,
) -> Vec<BindingId> {
    let admin = client.admin();
    let mut made = vec![first];
    for number in 1..=SWAPS {
        let due = due(records, number);
        progress
            .wait_for(|done| *done >= due)
            .await
            .expect("the producer tells how far it is");
        let (binding, replaced) = admin
            .bind(&binds[number % binds.len()])
            .await
            .expect("another version can be bound");
        assert_eq!(replaced, made.last().copied(), "it takes the other's place");
        made.push(binding.id);
        swapped.send_replace(number);
    }
    made
}

/// After how many records a swap is due.
const fn due(records: usize, swap: usize) -> usize {
    records * swap / (SWAPS + 1)
}

/// Sends every record once, and hears of each that it is stored.
async fn send(
    client: &Client,
    records: usize,
    done: &watch::Sender<usize>,
    mut swapped: watch::Receiver<usize>,
) {
    let producer = client.producer(TOPIC).open().await;
    let producer = producer.expect("a producer opens");
    let mut waiting: VecDeque<Ticket> = VecDeque::new();
    let mut settled = 0;
    for number in 0..records {
        let value = format!("{{\"id\":{number},\"first\":\"a\",\"second\":\"b\"}}");
        let record = Record::new(value).key(format!("k{}", number % 1000));
        let ticket = producer.send(record).await;
        waiting.push_back(ticket.expect("a producer takes records"));
        if waiting.len() == WAITING_MAX {
            settled += settle(&mut waiting).await;
            done.send_replace(settled);
            swapped
                .wait_for(|swaps| settled < due(records, (swaps + BEHIND_MAX).min(SWAPS + 1)))
                .await
                .expect("the bindings change to the end");
        }
    }
    producer.flush().await;
    while !waiting.is_empty() {
        settled += settle(&mut waiting).await;
        done.send_replace(settled);
    }
    producer.close().await.expect("a producer ends in order");
}

/// Waits for some of the records that were sent first; answers how many.
async fn settle(waiting: &mut VecDeque<Ticket>) -> usize {
    let some = waiting.len().min(200);
    for ticket in waiting.drain(..some) {
        let outcome = ticket.await.expect("every record has an outcome");
        assert!(matches!(outcome, RecordOutcome::Stored(_)), "{outcome:?}");
    }
    some
}

/// Reads everything; answers how often the version changed from one record to the next.
async fn check(client: &Client, history: &[BindingEvent], records: usize) -> usize {
    let switches = switches(history);
    let mut came = vec![false; records];
    let mut last: BTreeMap<PartitionId, usize> = BTreeMap::new();
    let mut changes = 0;
    let read = to_the_end(client, &[TOPIC], None, |record| {
        let value = record.value.as_deref().expect("every record has a value");
        let value: serde_json::Value = serde_json::from_slice(value).expect("it stays JSON");
        let masked: Vec<usize> = (0..FIELDS.len())
            .filter(|field| value[FIELDS[*field]] == "***")
            .collect();
        let [version] = masked[..] else {
            panic!("exactly one version processes a record, not {masked:?}: {value}");
        };
        let switches = &switches[&record.partition];
        let behind = switches.partition_point(|(from, _)| *from <= record.offset);
        let (_, expected) = switches[behind - 1];
        assert_eq!(
            version, expected,
            "partition {} offset {}",
            record.partition, record.offset
        );
        let id = value["id"].as_u64().expect("every record has its number");
        let first = !std::mem::replace(&mut came[id as usize], true);
        assert!(first, "record {id} is stored twice");
        changes += usize::from(last.insert(record.partition, version) == Some(1 - version));
    });
    read.await.expect("everything can be read");
    let lost = came.iter().filter(|came| !**came).count();
    assert_eq!(lost, 0, "records that got lost");
    changes
}

/// For each partition from which offset on which version processed its records.
fn switches(history: &[BindingEvent]) -> BTreeMap<PartitionId, Vec<(Offset, usize)>> {
    let mut switches: BTreeMap<PartitionId, Vec<(Offset, usize)>> = BTreeMap::new();
    for event in history {
        assert_ne!(event.action, BindingAction::Unbound);
        let field = event.config[0].value.as_str();
        let version = FIELDS.iter().position(|known| *known == field);
        let version = version.expect("this test bound it");
        let [topic] = &event.ends[..] else {
            panic!("records go to one topic only: {event:?}");
        };
        for (partition, end) in (0..).zip(&topic.ends) {
            let partition = switches.entry(PartitionId::new(partition)).or_default();
            assert!(partition.last().is_none_or(|(from, _)| from <= end));
            partition.push((*end, version));
        }
    }
    switches
}
