//! A whole data directory as an earlier version left it, kept in `tests/golden`: every later broker
//! serves all that is in it, answers a request of a producer session from then as it was answered,
//! and runs the plugin that is bound.
//!
//! With `WEIR_GOLDEN=NAME` in its environment, [`a_directory_made_now_is_served`] writes the
//! directory of that name, if there is none. What no version writes any more has no code here that
//! makes it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use futures_util::StreamExt;
use weir_broker::StartOptions;
use weir_broker::config::{ByteSize, Config};
use weir_broker::testing::TestBroker;
use weir_sdk::{Client, Record, Start};
use weir_wire::batch::Compression;
use weir_wire::id::{Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp};
use weir_wire::plugin::Hook;
use weir_wire::produce::{Produced, ProducerSession};
use weir_wire::request::{Bind, Fence, Setting, TopicSettings, TruncateTopic, UpdateTopic};
use weir_wire::topic::WhenUnread;

use crate::batches::{batch_of, open, produce};
use crate::raw::{Raw, with_payload};
use crate::stage::{beside_others, connect, soon};

const NAME: &str = "v1-broker";
/// Settings of a topic that no test outlives.
const CENTURY_MS: u64 = 100 * 365 * 24 * 3_600_000;
/// Requests of the session that is gone on with.
const REQUESTS: u64 = 4;
/// Not part of a golden directory: secrets, and what is made anew.
const LEFT_OUT: [&str; 4] = ["tls", "token", "reset.key", "lock"];
const LENGTHS: &str = "lengths.txt";
const EXPECTED: &str = "expected.txt";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/golden")
        .join(name)
}

async fn start(data: &Path) -> TestBroker {
    let small = |config: &mut Config| {
        config.data_dir = data.to_owned();
        config.log.wal_file_bytes = ByteSize::mib(1);
        config.log.segment_own_bytes = ByteSize::bytes(4 << 10);
        config.plugins.compiler = Some(PathBuf::from(env!("CARGO_BIN_EXE_weir")));
    };
    TestBroker::start_with(small, StartOptions::default())
        .await
        .unwrap()
}

async fn create(client: &Client, topic: &str, partitions: u32, settings: TopicSettings) {
    let admin = client.admin();
    let created = admin.create_topic_with(topic, partitions, settings);
    created.await.unwrap();
}

fn update(topic: &str) -> UpdateTopic {
    UpdateTopic {
        name: topic.parse().unwrap(),
        retention_ms: None,
        retention_bytes: None,
        when_unread: None,
        compact: None,
        partitions: None,
    }
}

/// Records one by one, each a batch of its own, with a few keys.
async fn store(client: &Client, topic: &str, numbers: std::ops::Range<u32>) {
    let producer = client.producer(topic).open().await.unwrap();
    for number in numbers {
        let record = Record::new(format!("{topic} {number}, {}", "x".repeat(100)));
        let record = record.key(format!("key {}", number % 5));
        producer.publish(record).await.unwrap();
    }
    producer.close().await.unwrap();
}

/// What became of request `sequence` of the session, in words.
async fn ask(raw: &Raw, session: &ProducerSession, sequence: u64) -> String {
    let (mut talk, _) = open(raw, "plain", Some(session.clone())).await;
    let value = format!("plain {sequence}");
    let batch = batch_of(&[value.as_bytes(), b"and another"], Compression::None);
    talk.say(&with_payload(&produce(sequence), &batch)).await;
    let Produced { outcome, error, .. } = talk.reply().await;
    assert_eq!(error, None, "{sequence}");
    let outcome = outcome.unwrap();
    let places: Vec<String> = outcome
        .destinations
        .iter()
        .map(|it| format!("{} {} {}", it.topic, it.partition, it.base_offset))
        .collect();
    format!("{}: {:?}", places.join(", "), outcome.runs.to_vec())
}

/// Makes a directory with everything that one can hold; answers what is in it.
async fn make(data: &Path) -> String {
    let broker = start(data).await;
    let client = connect(&broker).await;
    make_topics(&client).await;
    let (group, topic) = ("slow".parse().unwrap(), "events".parse().unwrap());
    let (first, unread) = (PartitionId::new(0), Offset::ZERO);
    let placed = broker.set_cursor(group, topic, first, unread);
    placed.await.unwrap();
    store_and_bind(&client).await;
    let events = client.admin().describe_topic("events").await.unwrap();
    let now = events.partitions[0].newest.unwrap();
    take_away(&broker, &client, now).await;

    let raw = Raw::client(&broker).await;
    let (_, opened) = open(&raw, "plain", None).await;
    let session = opened.session;
    let (id, epoch) = (session.id, session.epoch);
    let mut lines = format!("session {id} {epoch}\n");
    for sequence in 0..REQUESTS {
        // The first ones are in a checkpoint, the others in the WAL alone.
        if sequence == REQUESTS / 2 {
            broker.flush().await.unwrap();
        }
        let outcome = ask(&raw, &session, sequence).await;
        writeln!(lines, "outcome {sequence} {outcome}").unwrap();
    }
    lines += &told(&client).await;
    client.close().await;
    soon("the broker's end", broker.shutdown()).await;
    lines
}

async fn make_topics(client: &Client) {
    let kept = TopicSettings {
        retention_ms: Some(CENTURY_MS),
        retention_bytes: Some(1 << 40),
        when_unread: WhenUnread::Delete,
        ..TopicSettings::default()
    };
    create(client, "orders", 2, kept.clone()).await;
    let compacted = TopicSettings {
        compact: true,
        ..TopicSettings::default()
    };
    create(client, "prices", 1, compacted).await;
    let short = TopicSettings {
        retention_bytes: Some(600),
        ..kept
    };
    create(client, "events", 1, short).await;
    for topic in ["clicks", "plain"] {
        create(client, topic, 1, TopicSettings::default()).await;
    }
}

/// Records through a plugin, before partitions are added and afterwards; others without.
async fn store_and_bind(client: &Client) {
    let admin = client.admin();
    let component = fs::read(sources().join("plugins/prebuilt/record-key.wasm"));
    let component = component.unwrap();
    admin.push_plugin("by-key", component).await.unwrap();
    let (plugin, topic) = ("by-key".parse().unwrap(), "orders".parse().unwrap());
    admin
        .bind(&Bind::new(plugin, topic, Hook::Key))
        .await
        .unwrap();
    store(client, "orders", 0..12).await;
    let more = UpdateTopic {
        partitions: Some(3),
        ..update("orders")
    };
    admin.update_topic(&more).await.unwrap();
    store(client, "orders", 12..24).await;
    for (topic, count) in [("prices", 20), ("clicks", 10), ("events", 10)] {
        store(client, topic, 0..count).await;
    }
}

/// Compacts, truncates, and lets records go that a group has not read.
async fn take_away(broker: &TestBroker, client: &Client, now: Timestamp) {
    let admin = client.admin();
    broker.compact(now).await.unwrap();
    store(client, "prices", 20..21).await;
    let truncate = TruncateTopic {
        name: "clicks".parse().unwrap(),
        before_offset: Some(Offset::new(4)),
        before_time: None,
        partition: None,
    };
    admin.truncate_topic(&truncate).await.unwrap();
    broker.retain(now).await;
    let unlimited = UpdateTopic {
        retention_bytes: Some(0),
        ..update("events")
    };
    admin.update_topic(&unlimited).await.unwrap();
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// All that the broker has to say of what is stored, a line for each thing.
async fn told(client: &Client) -> String {
    let admin = client.admin();
    let mut lines = String::new();
    let mut topics = admin.list_topics().await.unwrap();
    topics.sort_by_key(|topic| topic.id.value());
    for topic in topics {
        let name = &topic.name.to_string();
        let described = admin.describe_topic(name).await.unwrap();
        let settings = described.settings;
        writeln!(
            lines,
            "topic {} {name} of {}: {} partitions, retention {:?} {:?} {}, compact {}",
            topic.id,
            topic.created,
            topic.partitions,
            settings.retention_ms,
            settings.retention_bytes,
            settings.when_unread,
            settings.compact
        )
        .unwrap();
        for fence in described.fences {
            let ends: Vec<u64> = fence.ends.iter().map(|end| end.value()).collect();
            let Fence {
                partitions, time, ..
            } = fence;
            writeln!(lines, "  fence behind {partitions} at {time}: {ends:?}").unwrap();
        }
        for it in described.groups {
            let (lag, expired) = (it.lag, it.expired_unread);
            writeln!(
                lines,
                "  group {}: {lag} unread, {expired} expired",
                it.group
            )
            .unwrap();
        }
        for it in described.bindings {
            let config: Vec<&Setting> = it.config.iter().collect();
            writeln!(
                lines,
                "  binding {} at {} {} of {}: {} {}, {config:?}, {}",
                it.id, it.hook, it.position, it.time, it.plugin, it.version, it.on_error
            )
            .unwrap();
        }
        for it in &described.partitions {
            writeln!(
                lines,
                "  partition {}: {} to {}, {} records, {:?} to {:?}",
                it.partition,
                it.start,
                it.end,
                it.records,
                it.oldest.map(|time| time.value()),
                it.newest.map(|time| time.value())
            )
            .unwrap();
        }
        let records = described.partitions.iter().map(|it| it.records).sum();
        lines += &read(client, name, records).await;
    }
    lines
}

/// The records of a topic, in the order of partitions and offsets.
async fn read(client: &Client, topic: &str, records: u64) -> String {
    let subscriber = client.subscribe([topic]).from(Start::Earliest);
    let mut subscriber = subscriber.open().await.unwrap();
    let mut found = BTreeMap::new();
    for _ in 0..records {
        let record = soon("a stored record", subscriber.next()).await;
        let record = record.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let line = format!(
            "    {} {} of {} at {}: {:?} {:?}\n",
            record.partition,
            record.offset,
            record.timestamp,
            record.append_time,
            record.key.as_deref().map(text),
            record.value.as_deref().map(text)
        );
        found.insert((record.partition, record.offset), line);
    }
    found.into_values().collect()
}

/// What is told again is what was told, and everything goes on.
async fn check(data: &Path, expected: &str) {
    let broker = start(data).await;
    let client = connect(&broker).await;
    let (requests, rest): (Vec<&str>, Vec<&str>) = expected
        .lines()
        .partition(|line| line.starts_with("session ") || line.starts_with("outcome "));
    let found = told(&client).await;
    for (found, expected) in found.lines().zip(&rest) {
        assert_eq!(found, *expected);
    }
    assert_eq!(found.lines().count(), rest.len());

    // A producer from then sends its last requests again, and goes on.
    let numbers: Vec<u64> = requests[0]
        .split(' ')
        .filter_map(|word| word.parse().ok())
        .collect();
    let session = ProducerSession {
        id: ProducerId::new(numbers[0]),
        epoch: ProducerEpoch::new(u32::try_from(numbers[1]).unwrap()),
    };
    let raw = Raw::client(&broker).await;
    let (_, opened) = open(&raw, "plain", Some(session.clone())).await;
    assert_eq!(opened.next_sequence, Sequence::new(REQUESTS));
    for (sequence, expected) in (0..REQUESTS).zip(&requests[1..]) {
        let outcome = ask(&raw, &session, sequence).await;
        assert_eq!(format!("outcome {sequence} {outcome}"), *expected);
    }
    let end = async |topic: &str| {
        let described = client.admin().describe_topic(topic).await.unwrap();
        described
            .partitions
            .iter()
            .map(|it| it.end.value())
            .sum::<u64>()
    };
    let before = end("plain").await;
    assert_eq!(before, 2 * REQUESTS, "what was sent again is stored once");
    ask(&raw, &session, REQUESTS).await;
    let after = end("plain").await;
    assert_eq!(after, before + 2);

    // The plugin is compiled for this engine, and runs.
    store(&client, "orders", 24..30).await;
    let described = client.admin().describe_topic("orders").await.unwrap();
    let counters = &described.bindings[0].counters;
    assert_eq!((counters.records, &counters.last_error), (6, &None));

    // All that was there is there again after one more start.
    client.close().await;
    soon("the broker's end", broker.shutdown()).await;
    let broker = start(data).await;
    let client = connect(&broker).await;
    let found = told(&client).await;
    let records = rest.iter().filter(|line| line.starts_with("    "));
    for line in records {
        assert!(found.contains(line), "{line} is gone");
    }
    client.close().await;
    soon("the broker's end", broker.shutdown()).await;
}

/// The files below a directory, without those that are left out.
fn files(data: &Path, at: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for item in fs::read_dir(data.join(at)).unwrap() {
        let item = item.unwrap();
        let path = at.join(item.file_name());
        let is_left_out = LEFT_OUT.iter().any(|name| path == Path::new(name));
        if is_left_out || path.extension().is_some_and(|kind| kind == "cwasm") {
            continue;
        }
        if item.file_type().unwrap().is_dir() {
            files(data, &path, found);
        } else {
            found.insert(path.clone(), fs::read(data.join(path)).unwrap());
        }
    }
}

/// Writes a golden directory: files without the zeros at their ends, and how long they are.
fn keep(data: &Path, lines: &str, to: &Path) {
    assert!(!to.exists(), "{} stays as it is", to.display());
    let mut found = BTreeMap::new();
    files(data, Path::new(""), &mut found);
    let mut lengths = String::new();
    for (path, bytes) in found {
        writeln!(lengths, "{} {}", bytes.len(), path.display()).unwrap();
        let used = bytes.iter().rposition(|byte| *byte != 0);
        let to = to.join("data").join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, &bytes[..used.map_or(0, |last| last + 1)]).unwrap();
    }
    fs::write(to.join(LENGTHS), lengths).unwrap();
    fs::write(to.join(EXPECTED), lines).unwrap();
}

/// Puts a golden directory where it may be written.
fn restore(from: &Path, data: &Path) {
    for line in fs::read_to_string(from.join(LENGTHS)).unwrap().lines() {
        let (length, path) = line.split_once(' ').unwrap();
        let to = data.join(path);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from.join("data").join(path), &to).unwrap();
        let file = fs::File::options().write(true).open(to).unwrap();
        file.set_len(length.parse().unwrap()).unwrap();
    }
}

#[tokio::test]
async fn a_directory_made_now_is_served() {
    let _turn = beside_others().await;
    let directory = tempfile::tempdir().unwrap();
    let made = directory.path().join("made");
    let lines = make(&made).await;
    for part in [
        "fence behind 2",
        "group slow: ",
        "binding 1 at key",
        "compact true",
    ] {
        assert!(lines.contains(part), "{part}: {lines}");
    }
    assert!(!lines.contains(" 0 expired"), "{lines}");
    let kept = directory.path().join("kept");
    keep(&made, &lines, &kept);
    if let Ok(name) = std::env::var("WEIR_GOLDEN") {
        assert_eq!(name, NAME, "what this version makes");
        return keep(&made, &lines, &golden(&name));
    }
    let data = directory.path().join("data");
    restore(&kept, &data);
    check(&data, &lines).await;
}

#[tokio::test]
async fn a_directory_of_the_first_format_is_served() {
    let _turn = beside_others().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    restore(&golden(NAME), &data);
    let expected = fs::read_to_string(golden(NAME).join(EXPECTED)).unwrap();
    check(&data, &expected).await;
}
