//! Topics that keep the latest record of each key.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use futures_util::StreamExt;
use weir_broker::StartOptions;
use weir_broker::config::{ByteSize, Config};
use weir_broker::testing::{TestBroker, soon};
use weir_sdk::wire::id::{Offset, PartitionId, Timestamp};
use weir_sdk::wire::request::{PartitionInfo, TopicSettings};
use weir_sdk::{Client, Event, Record, Start};

const DAY_MS: i64 = 24 * 3_600_000;
const KEYS: u64 = 5;
const UPDATES: u64 = 40;

async fn started() -> (TestBroker, Client) {
    let small = |config: &mut Config| {
        config.log.wal_file_bytes = ByteSize::mib(1);
    };
    let broker = TestBroker::start_with(small, StartOptions::default());
    let broker = broker.await.unwrap();
    let client = Client::builder(broker.address())
        .ca_file(broker.ca_file())
        .token(broker.token());
    let client = client.connect().await.unwrap();
    let settings = TopicSettings {
        compact: true,
        ..TopicSettings::default()
    };
    let admin = client.admin();
    admin
        .create_topic_with("prices", 1, settings)
        .await
        .unwrap();
    (broker, client)
}

async fn store(client: &Client, records: impl IntoIterator<Item = Record>) {
    let producer = client.producer("prices").partition(PartitionId::new(0));
    let producer = producer.open().await.unwrap();
    for record in records {
        producer.publish(record).await.unwrap();
    }
    producer.close().await.unwrap();
}

fn updates() -> impl Iterator<Item = Record> {
    (0..UPDATES).map(|n| Record::new(format!("value {n}")).key(format!("key {}", n % KEYS)))
}

async fn info(client: &Client) -> PartitionInfo {
    let topic = client.admin().describe_topic("prices").await.unwrap();
    topic.partitions.into_iter().next().unwrap()
}

/// Offsets, keys and values of so many records from the start.
async fn consume(client: &Client, count: usize) -> Vec<(u64, String, Option<String>)> {
    let subscriber = client.subscribe(["prices"]).from(Start::Earliest);
    let mut subscriber = subscriber.open().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let mut found = Vec::new();
    while found.len() < count {
        let message = soon("a record", subscriber.next()).await.unwrap().unwrap();
        let key = text(message.key.as_ref().unwrap());
        let value = message.value.as_ref().map(|value| text(value));
        found.push((message.offset.value(), key, value));
    }
    found
}

fn latest(n: u64) -> (u64, String, Option<String>) {
    let (key, value) = (format!("key {}", n % KEYS), format!("value {n}"));
    (n, key, Some(value))
}

#[tokio::test]
async fn the_latest_of_each_key_stays_at_its_offset_and_tombstones_go_later() {
    let (broker, client) = started().await;
    store(&client, updates()).await;
    let now = info(&client).await.newest.unwrap();
    broker.compact(now).await.unwrap();
    let left: Vec<_> = (UPDATES - KEYS..UPDATES).map(latest).collect();
    assert_eq!(consume(&client, left.len()).await, left);
    let after = info(&client).await;
    assert_eq!(after.end, Offset::new(UPDATES));

    // Its key is gone at once, the tombstone itself only after a day. More than half must be new.
    let mut more: Vec<Record> = updates().collect();
    more.push(Record::tombstone("key 0"));
    more.push(Record::new("the end").key("last"));
    store(&client, more).await;
    let now = info(&client).await.newest.unwrap();
    broker.compact(now).await.unwrap();
    let stone = (2 * UPDATES, "key 0".to_owned(), None);
    let end = (
        2 * UPDATES + 1,
        "last".to_owned(),
        Some("the end".to_owned()),
    );
    let of = |n: u64| {
        let (_, key, value) = latest(n);
        (n + UPDATES, key, value)
    };
    let mut left: Vec<_> = (UPDATES - KEYS + 1..UPDATES).map(of).collect();
    left.extend([stone, end.clone()]);
    assert_eq!(consume(&client, left.len()).await, left);

    let others = (0..UPDATES).zip(updates()).filter(|(n, _)| n % KEYS != 0);
    store(&client, others.map(|(_, record)| record)).await;
    let later = Timestamp::new(now.value() + 2 * DAY_MS);
    broker.compact(later).await.unwrap();
    // Of five keys four were stored again, so the last four records are of one key each.
    let first = 2 * UPDATES + 2 + (UPDATES - UPDATES / KEYS) - (KEYS - 1);
    let mut left = vec![end];
    left.extend((0..KEYS - 1).map(|n| {
        let (_, key, value) = latest(UPDATES - KEYS + 1 + n);
        (first + n, key, value)
    }));
    assert_eq!(consume(&client, left.len()).await, left);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_subscriber_gets_to_the_end_where_nothing_is_left() {
    let (broker, client) = started().await;
    // All there is at the end is that keys are gone, and after a day not even that.
    let gone = (0..KEYS).map(|n| Record::tombstone(format!("key {n}")));
    let kept = Record::new("kept").key("another");
    store(&client, std::iter::once(kept).chain(updates()).chain(gone)).await;
    let end = Offset::new(1 + UPDATES + KEYS);
    let open = async || {
        let subscriber = client.subscribe(["prices"]).from(Start::Earliest);
        subscriber.open().await.unwrap()
    };
    let now = info(&client).await.newest.unwrap();
    broker
        .compact(Timestamp::new(now.value() + 2 * DAY_MS))
        .await
        .unwrap();
    let mut subscriber = open().await;
    assert_eq!(subscriber.partitions()[0].end, end);
    let mut found = 0;
    while !subscriber.is_caught_up() {
        match soon("an event", subscriber.next_event())
            .await
            .unwrap()
            .unwrap()
        {
            Event::Records(batch) => found += batch.count(),
            Event::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let topic = "prices".parse().unwrap();
    let position = subscriber.position(&topic, PartitionId::new(0));
    assert_eq!((found, position), (1, Some(end)));
    // And goes on there.
    store(&client, [Record::new("more").key("another")]).await;
    let more = soon("a record", subscriber.next()).await.unwrap().unwrap();
    assert_eq!(more.offset, end);
    broker.shutdown().await;
}

#[tokio::test]
async fn what_a_group_has_not_read_stays() {
    let (broker, client) = started().await;
    store(&client, updates()).await;
    let (group, topic) = ("slow".parse().unwrap(), "prices".parse().unwrap());
    let read = Offset::new(UPDATES / 2);
    broker
        .set_cursor(group, topic, PartitionId::new(0), read)
        .await
        .unwrap();
    let now = info(&client).await.newest.unwrap();
    broker.compact(now).await.unwrap();
    let half = UPDATES / 2;
    let left: Vec<_> = (half - KEYS..UPDATES).map(latest).collect();
    assert_eq!(consume(&client, left.len()).await, left);

    // Once it has read on, what it held back is due, although one run of a segment holds both.
    let (group, topic) = ("slow".parse().unwrap(), "prices".parse().unwrap());
    broker
        .set_cursor(group, topic, PartitionId::new(0), Offset::new(UPDATES))
        .await
        .unwrap();
    broker.compact(now).await.unwrap();
    let left: Vec<_> = (UPDATES - KEYS..UPDATES).map(latest).collect();
    assert_eq!(consume(&client, left.len()).await, left);
    broker.shutdown().await;
}

#[tokio::test]
async fn what_is_not_to_be_compacted_yet_makes_nothing_due() {
    let (broker, client) = started().await;
    store(&client, updates()).await;
    let now = info(&client).await.newest.unwrap();
    broker.compact(now).await.unwrap();
    let before: Vec<_> = (UPDATES - KEYS..UPDATES).map(latest).collect();
    assert_eq!(consume(&client, before.len()).await, before);

    // Of much that is new, a group has read a little.
    store(&client, updates().chain(updates())).await;
    let end = 3 * UPDATES;
    for (read, is_due) in [(UPDATES + 2, false), (end, true)] {
        let (group, topic) = ("slow".parse().unwrap(), "prices".parse().unwrap());
        let read = Offset::new(read);
        broker
            .set_cursor(group, topic, PartitionId::new(0), read)
            .await
            .unwrap();
        broker.compact(now).await.unwrap();
        let first = consume(&client, 1).await[0].0;
        let expected = if is_due { end } else { UPDATES } - KEYS;
        assert_eq!(first, expected, "read up to {read}");
    }
    broker.shutdown().await;
}
