//! What topics keep: by age and by bytes, while groups have not read it, and after truncations.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use futures_util::StreamExt;
use weir_broker::testing::{TestBroker, soon};
use weir_broker::{Broker, StartOptions, config::Config};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::{Offset, PartitionId, Timestamp};
use weir_sdk::wire::request::{
    PartitionInfo, TopicDescription, TopicSettings, TruncateTopic, UpdateTopic,
};
use weir_sdk::wire::topic::WhenUnread;
use weir_sdk::{Client, Record, Start, SubscribeError, Subscriber};

const HOUR_MS: i64 = 3_600_000;

async fn connect(address: String, ca: std::path::PathBuf, token: &str) -> Client {
    let client = Client::builder(address).ca_file(ca).token(token);
    client.connect().await.unwrap()
}

async fn client(broker: &TestBroker) -> Client {
    connect(broker.address(), broker.ca_file(), broker.token()).await
}

/// Stores records one by one, each a batch of its own, in partition 0.
async fn store(client: &Client, count: usize) {
    let producer = client.producer("orders").partition(PartitionId::new(0));
    let producer = producer.open().await.unwrap();
    for _ in 0..count {
        producer
            .publish(Record::new(vec![b'x'; 1000]))
            .await
            .unwrap();
    }
    producer.close().await.unwrap();
}

async fn describe(client: &Client) -> TopicDescription {
    client.admin().describe_topic("orders").await.unwrap()
}

async fn first(client: &Client) -> PartitionInfo {
    describe(client).await.partitions.remove(0)
}

fn update() -> UpdateTopic {
    UpdateTopic {
        name: "orders".parse().unwrap(),
        retention_ms: None,
        retention_bytes: None,
        when_unread: None,
        compact: None,
        partitions: None,
    }
}

fn truncate() -> TruncateTopic {
    TruncateTopic {
        name: "orders".parse().unwrap(),
        before_offset: None,
        before_time: None,
        partition: None,
    }
}

async fn create(client: &Client, settings: TopicSettings) {
    let admin = client.admin();
    admin
        .create_topic_with("orders", 1, settings)
        .await
        .unwrap();
}

/// Five records, then more until one has a later time; answers the time of the newest before it,
/// and its offset.
async fn two_ages(client: &Client) -> (Timestamp, Offset) {
    store(client, 5).await;
    let later = async {
        loop {
            let before = first(client).await;
            store(client, 1).await;
            let after = first(client).await;
            if after.newest > before.newest {
                return (before.newest.unwrap(), before.end);
            }
        }
    };
    soon("a record of a later time", later).await
}

async fn subscribe(client: &Client, start: Start) -> Result<Subscriber, SubscribeError> {
    client.subscribe(["orders"]).from(start).open().await
}

#[tokio::test]
async fn what_is_too_old_goes_and_nothing_else() {
    let broker = TestBroker::start().await.unwrap();
    let client = client(&broker).await;
    let settings = TopicSettings {
        retention_ms: Some(HOUR_MS as u64),
        ..TopicSettings::default()
    };
    create(&client, settings).await;
    let (old, young) = two_ages(&client).await;
    let end = first(&client).await.end;
    broker.retain(old).await;
    assert_eq!(
        first(&client).await.start,
        Offset::ZERO,
        "nothing is old yet"
    );
    broker
        .retain(Timestamp::new(old.value() + HOUR_MS + 1))
        .await;
    let left = first(&client).await;
    assert_eq!((left.start, left.end), (young, end));
    assert_eq!(left.records, end.since(young));
    assert!(left.oldest.unwrap() > old);

    let gone = subscribe(&client, Start::Offset(Offset::ZERO)).await;
    let SubscribeError::Refused(fault) = gone.unwrap_err() else {
        panic!("an offset that is gone is refused");
    };
    assert_eq!(fault.code, ErrorCode::OffsetOutOfRange);
    let mut earliest = subscribe(&client, Start::Earliest).await.unwrap();
    let first = soon("the first record left", earliest.next()).await;
    assert_eq!(first.unwrap().unwrap().offset, young);
    broker.shutdown().await;
}

#[tokio::test]
async fn bytes_are_limited_and_the_limit_changes_while_it_runs() {
    let broker = TestBroker::start().await.unwrap();
    let client = client(&broker).await;
    create(&client, TopicSettings::default()).await;
    store(&client, 20).await;
    let whole = first(&client).await;
    let batch = whole.bytes / 20;
    let now = whole.newest.unwrap();
    broker.retain(now).await;
    assert_eq!(first(&client).await, whole, "without a limit all stays");
    for keep in [10, 3] {
        let smaller = UpdateTopic {
            retention_bytes: Some(batch * keep + 10),
            ..update()
        };
        let (_, settings) = client.admin().update_topic(&smaller).await.unwrap();
        assert_eq!(settings.retention_bytes, smaller.retention_bytes);
        broker.retain(now).await;
        let left = first(&client).await;
        assert_eq!((left.records, left.bytes), (keep, batch * keep));
        assert_eq!(left.start, Offset::new(20 - keep));
    }
    let none = UpdateTopic {
        retention_bytes: Some(0),
        ..update()
    };
    let (_, settings) = client.admin().update_topic(&none).await.unwrap();
    assert_eq!(settings.retention_bytes, None);
    store(&client, 5).await;
    broker.retain(now).await;
    assert_eq!(first(&client).await.records, 8);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_group_that_has_not_read_holds_records_back_or_loses_them() {
    let broker = TestBroker::start().await.unwrap();
    let client = client(&broker).await;
    let settings = TopicSettings {
        retention_ms: Some(HOUR_MS as u64),
        ..TopicSettings::default()
    };
    create(&client, settings).await;
    store(&client, 10).await;
    for (group, offset) in [("slow", 3), ("quick", 9)] {
        let (topic, offset) = ("orders".parse().unwrap(), Offset::new(offset));
        let (group, partition) = (group.parse().unwrap(), PartitionId::new(0));
        let set = broker.set_cursor(group, topic, partition, offset).await;
        set.unwrap();
    }
    let newest = first(&client).await.newest.unwrap();
    let later = Timestamp::new(newest.value() + HOUR_MS + 1);
    let warnings = async || client.admin().status().await.unwrap().warnings.join("\n");
    broker.retain(later).await;
    assert_eq!(first(&client).await.start, Offset::new(3));
    let held = warnings().await;
    assert!(
        held.contains("keeps 7 records beyond its retention"),
        "{held}"
    );
    assert!(held.contains("group \"slow\""), "{held}");

    let delete = UpdateTopic {
        when_unread: Some(WhenUnread::Delete),
        ..update()
    };
    client.admin().update_topic(&delete).await.unwrap();
    broker.retain(later).await;
    let described = describe(&client).await;
    assert_eq!(described.partitions[0].start, Offset::new(10));
    let groups = described.groups.iter();
    let groups: Vec<_> = groups
        .map(|group| (group.group.as_str(), group.lag, group.expired_unread))
        .collect();
    assert_eq!(groups, [("quick", 0, 1), ("slow", 0, 7)]);
    assert!(!warnings().await.contains("beyond its retention"));
    broker.retain(later).await;
    assert_eq!(
        describe(&client).await.groups,
        described.groups,
        "counted once"
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn a_topic_is_truncated_by_offset_and_by_time() {
    let broker = TestBroker::start().await.unwrap();
    let client = client(&broker).await;
    create(&client, TopicSettings::default()).await;
    let (old, young) = two_ages(&client).await;
    let admin = client.admin();
    let by_offset = TruncateTopic {
        before_offset: Some(Offset::new(2)),
        ..truncate()
    };
    let cut = admin.truncate_topic(&by_offset).await.unwrap();
    assert_eq!(
        (cut[0].before, cut[0].start),
        (Offset::ZERO, Offset::new(2))
    );
    let again = admin.truncate_topic(&by_offset).await.unwrap();
    assert_eq!(
        (again[0].before, again[0].start),
        (Offset::new(2), Offset::new(2))
    );
    let by_time = TruncateTopic {
        before_time: Some(Timestamp::new(old.value() + 1)),
        ..truncate()
    };
    let cut = admin.truncate_topic(&by_time).await.unwrap();
    assert_eq!(cut[0].start, young);
    assert_eq!(first(&client).await.start, young);

    let end = first(&client).await.end;
    let code = async |truncate: TruncateTopic| {
        let error = admin.truncate_topic(&truncate).await.unwrap_err();
        error.fault().unwrap().code
    };
    let beyond = TruncateTopic {
        before_offset: Some(end.next()),
        ..truncate()
    };
    assert_eq!(code(beyond).await, ErrorCode::OffsetOutOfRange);
    assert_eq!(code(truncate()).await, ErrorCode::InvalidArgument);
    let nowhere = TruncateTopic {
        partition: Some(PartitionId::new(1)),
        ..by_offset
    };
    assert_eq!(code(nowhere).await, ErrorCode::UnknownPartition);
    let all = TruncateTopic {
        before_offset: Some(end),
        ..truncate()
    };
    admin.truncate_topic(&all).await.unwrap();
    let empty = first(&client).await;
    assert_eq!((empty.start, empty.end, empty.records), (end, end, 0));
    store(&client, 1).await;
    assert_eq!(first(&client).await.end, end.next(), "offsets go on");
    broker.shutdown().await;
}

#[tokio::test]
async fn truncations_cursors_and_fences_outlive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let config = Config {
        data_dir: directory.path().join("data"),
        listen: ([127, 0, 0, 1], 0).into(),
        ..Config::default()
    };
    let start = async || {
        let broker = Broker::start(config.clone(), StartOptions::default()).await;
        let broker = broker.unwrap();
        let address = format!("weir://{}", broker.address());
        let ca = broker.ca_file().to_owned();
        let client = connect(address, ca, broker.token().unwrap()).await;
        (broker, client)
    };
    let (broker, client) = start().await;
    let settings = TopicSettings {
        retention_bytes: Some(1 << 30),
        when_unread: WhenUnread::Delete,
        ..TopicSettings::default()
    };
    create(&client, settings.clone()).await;
    store(&client, 10).await;
    let more = UpdateTopic {
        partitions: Some(3),
        ..update()
    };
    client.admin().update_topic(&more).await.unwrap();
    let cut = TruncateTopic {
        before_offset: Some(Offset::new(4)),
        partition: Some(PartitionId::new(0)),
        ..truncate()
    };
    client.admin().truncate_topic(&cut).await.unwrap();
    let before = describe(&client).await;
    broker.shutdown().await;
    let (broker, client) = start().await;
    let after = describe(&client).await;
    assert_eq!(after, before);
    assert_eq!((after.settings, after.fences.len()), (settings, 1));
    assert_eq!(after.partitions[0].start, Offset::new(4));
    broker.shutdown().await;
}

#[tokio::test]
async fn a_subscriber_follows_a_topic_to_its_new_partitions() {
    let broker = TestBroker::start().await.unwrap();
    let client = client(&broker).await;
    create(&client, TopicSettings::default()).await;
    store(&client, 3).await;
    let mut latest = subscribe(&client, Start::Latest).await.unwrap();
    let mut named = client.subscribe(["orders"]).partition(PartitionId::new(0));
    named = named.from(Start::Latest);
    let mut named = named.open().await.unwrap();
    let more = UpdateTopic {
        partitions: Some(4),
        ..update()
    };
    let (topic, _) = client.admin().update_topic(&more).await.unwrap();
    assert_eq!(topic.partitions, 4);
    let mut expected = Vec::new();
    for partition in [3, 1, 0, 2].map(PartitionId::new) {
        let producer = client.producer("orders").partition(partition);
        let producer = producer.open().await.unwrap();
        producer.publish(Record::new("new")).await.unwrap();
        producer.close().await.unwrap();
        let offset = if partition.value() == 0 { 3 } else { 0 };
        expected.push((partition, Offset::new(offset)));
    }
    expected.sort_unstable();
    let mut seen = Vec::new();
    while seen.len() < expected.len() {
        let record = soon("a record of each partition", latest.next()).await;
        let record = record.unwrap().unwrap();
        seen.push((record.partition, record.offset));
    }
    seen.sort_unstable();
    assert_eq!(seen, expected, "nothing is missed, nothing comes twice");
    let record = soon("the record of the partition that was named", named.next()).await;
    let record = record.unwrap().unwrap();
    assert_eq!(record.partition, PartitionId::new(0));
    broker.shutdown().await;
}
