//! A whole broker on a simulated disk: who makes small requests durable, and what happens when a
//! sync fails, the disk is full, or it loses a bit of what is at rest.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_broker::StartOptions;
use weir_broker::config::{ByteSize, Config};
use weir_broker::testing::{TestBroker, soon};
use weir_log::{CrashPolicy, SimVfs, Vfs};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::Offset;
use weir_sdk::{Client, Producer, PublishError, Record, Start, Subscriber};

/// How long clients try again that are to hear of a failure.
const SOON: Duration = Duration::from_secs(2);
/// Nothing takes that long unless something hangs.
const STEP_MAX: Duration = Duration::from_secs(60);

fn small(config: &mut Config) {
    config.data_dir = PathBuf::from("/data");
    config.metrics = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    config.log.wal_file_bytes = ByteSize::mib(1);
    config.log.wal_bytes = ByteSize::mib(4);
    config.log.segment_own_bytes = ByteSize::bytes(64 << 10);
}

async fn start(disk: &SimVfs, change: impl FnOnce(&mut Config)) -> TestBroker {
    let options = StartOptions {
        vfs: Arc::new(disk.clone()),
        ..StartOptions::default()
    };
    TestBroker::start_with(change, options).await.unwrap()
}

async fn connect(broker: &TestBroker, retry: Duration) -> Client {
    let client = Client::builder(broker.address())
        .ca_pem(broker.broker().ca_pem())
        .token(broker.token())
        .retry_timeout(retry);
    client.connect().await.unwrap()
}

/// A counter, as a scrape shows it.
async fn counter(broker: &TestBroker, name: &str) -> u64 {
    let address = broker.broker().metrics_address().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    let answered = stream.read_to_string(&mut answer);
    soon("the metrics", answered).await.unwrap();
    let mut lines = answer.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap().parse().unwrap()
}

async fn inline(broker: &TestBroker) -> u64 {
    counter(broker, "weir_blocks_inline_total").await
}

/// Sends records one by one, each waiting for the one before.
async fn publish(producer: &Producer, count: usize) {
    for _ in 0..count {
        producer.publish(Record::new("value")).await.unwrap();
    }
}

#[tokio::test]
async fn a_producer_that_is_alone_and_waits_is_served_without_another_thread() {
    let disk = SimVfs::new(1);
    let broker = start(&disk, small).await;
    let client = connect(&broker, STEP_MAX).await;
    client.admin().create_topic("orders", 1).await.unwrap();
    let producer = client.producer("orders").open().await.unwrap();
    let mut sent = 0;
    while inline(&broker).await < 100 {
        assert!(sent < 50_000, "requests are left to the log's thread");
        publish(&producer, 100).await;
        sent += 100;
    }

    // Another one beside it: neither waits for the disk on the thread that serves both.
    let other = client.dedicated();
    let second = other.producer("orders").open().await.unwrap();
    publish(&second, 1).await;
    let before = inline(&broker).await;
    for _ in 0..200 {
        publish(&producer, 1).await;
        publish(&second, 1).await;
        sent += 2;
    }
    assert_eq!(inline(&broker).await, before, "with two connections");
    assert_eq!(counter(&broker, "weir_records_in_total").await, sent + 1);
    for client in [client, other] {
        client.close().await;
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn many_requests_in_flight_are_left_to_the_logs_thread() {
    let disk = SimVfs::new(1);
    let broker = start(&disk, small).await;
    let client = connect(&broker, STEP_MAX).await;
    client.admin().create_topic("orders", 1).await.unwrap();
    // A batch for each record, and as many on their way as may be.
    let builder = client.producer("orders").batch_bytes(1);
    let producer = builder.open().await.unwrap();
    const RECORDS: u64 = 5_000;
    let mut tickets = Vec::new();
    for _ in 0..RECORDS {
        tickets.push(producer.send(Record::new("value")).await.unwrap());
    }
    for ticket in tickets {
        soon("an outcome", ticket).await.unwrap();
    }
    let inline = inline(&broker).await;
    assert!(inline < RECORDS / 10, "{inline} of {RECORDS}");
    client.close().await;
    broker.shutdown().await;
}

#[tokio::test]
async fn a_sync_that_fails_is_no_ack_and_the_end_of_the_broker() {
    let disk = SimVfs::new(1);
    let broker = start(&disk, small).await;
    let client = connect(&broker, SOON).await;
    client.admin().create_topic("orders", 1).await.unwrap();
    let producer = client.producer("orders").open().await.unwrap();
    let mut acknowledged = 0;
    while inline(&broker).await == 0 {
        assert!(
            acknowledged < 50_000,
            "requests are left to the log's thread"
        );
        publish(&producer, 10).await;
        acknowledged += 10;
    }
    disk.fail_sync(1);
    let error = producer.publish(Record::new("lost")).await.unwrap_err();
    assert!(
        matches!(error, PublishError::OutcomeUnknown { .. }),
        "{error}"
    );
    let fatal = soon("the end of the broker", broker.broker().fatal()).await;
    let fatal = fatal.to_string();
    assert!(fatal.contains("sync failed, as the test asked"), "{fatal}");
    client.close().await;
    broker.shutdown().await;

    let left = disk.snapshot().crash(CrashPolicy::DropUnsynced, 1);
    let broker = start(&left, small).await;
    let client = connect(&broker, STEP_MAX).await;
    let described = client.admin().describe_topic("orders").await.unwrap();
    assert_eq!(described.topic.records, acknowledged);
    client.close().await;
    broker.shutdown().await;
}

/// Sends large records until the broker says that its disk is full; answers how many it took.
async fn fill(client: &Client, topic: &str) -> u64 {
    let producer = client.producer(topic).open().await.unwrap();
    for taken in 0..1_000 {
        match producer.publish(Record::new(vec![b'x'; 32 << 10])).await {
            Ok(_) => {}
            Err(PublishError::Refused(fault)) => {
                assert_eq!(fault.code, ErrorCode::DiskFull, "{fault}");
                return taken;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never gets full");
}

/// Reads that many records from the first that is held.
async fn read(client: &Client, topic: &str, records: u64) {
    let subscriber = client.subscribe([topic]).open().await.unwrap();
    let held = usize::try_from(records).unwrap();
    let found = subscriber.take(held).map(Result::unwrap).count();
    assert_eq!(soon("all that was stored", found).await, held);
}

/// Sends a record until there is room for it.
async fn takes_records(client: &Client, topic: &str) {
    let producer = client.producer(topic).retry_timeout(STEP_MAX);
    let producer = producer.open().await.unwrap();
    publish(&producer, 1).await;
    producer.close().await.unwrap();
}

#[tokio::test]
async fn topics_are_deleted_where_there_is_room_for_nothing_else() {
    let disk = SimVfs::new(1);
    let reserving = |config: &mut Config| {
        small(config);
        config.log.reserve_bytes = ByteSize::mib(2);
        config.log.reserve_percent = 50;
    };
    disk.set_capacity(Some(16 << 20));
    let broker = start(&disk, reserving).await;
    let client = connect(&broker, SOON).await;
    let admin = client.admin();
    admin.create_topic("large", 1).await.unwrap();
    admin.create_topic("small", 1).await.unwrap();
    takes_records(&client, "small").await;
    let large = fill(&client, "large").await;
    assert!(large > 0);
    // Somebody else takes the rest, to the last byte.
    disk.set_capacity(Some(disk.used()));
    read(&client, "large", large).await;
    read(&client, "small", 1).await;
    admin.delete_topic("large").await.unwrap();
    takes_records(&client, "small").await;
    read(&client, "small", 2).await;
    client.close().await;
    broker.shutdown().await;

    disk.set_capacity(None);
    let left = disk.snapshot().crash(CrashPolicy::DropUnsynced, 1);
    let broker = start(&left, reserving).await;
    let client = connect(&broker, STEP_MAX).await;
    read(&client, "small", 2).await;
    assert!(client.admin().describe_topic("large").await.is_err());
    client.close().await;
    broker.shutdown().await;
}

async fn warnings(client: &Client) -> Vec<String> {
    let status = client.admin().status().await.unwrap();
    let damaged = |warning: &String| warning.starts_with("damaged data");
    status.warnings.into_iter().filter(damaged).collect()
}

/// The 20th of 40 records is damaged, and never served; what is around it is.
async fn reads_around(client: &Client) {
    let next = async |subscriber: &mut Subscriber| {
        let next = soon("a record or the damage", subscriber.next()).await;
        next.expect("a subscription ends with an error")
    };
    let mut subscriber = client.subscribe(["orders"]).open().await.unwrap();
    let error = loop {
        match next(&mut subscriber).await {
            Ok(record) => assert!(record.offset < Offset::new(19)),
            Err(error) => break error.to_string(),
        }
    };
    assert!(error.contains("damaged at byte"), "{error}");
    let behind = client.subscribe(["orders"]);
    let behind = behind.from(Start::Offset(Offset::new(20))).open();
    let mut subscriber = behind.await.unwrap();
    for number in 20..40 {
        let record = next(&mut subscriber).await.unwrap();
        assert_eq!(record.value.unwrap(), vec![number; 10_000]);
    }
}

#[tokio::test]
async fn a_bit_that_flips_in_a_cold_segment_is_found_named_and_not_served() {
    let disk = SimVfs::new(1);
    let cold = |config: &mut Config| {
        small(config);
        config.log.cache_bytes = ByteSize::bytes(0);
    };
    let broker = start(&disk, cold).await;
    let client = connect(&broker, SOON).await;
    client.admin().create_topic("orders", 1).await.unwrap();
    let producer = client.producer("orders").open().await.unwrap();
    for number in 0..40_u8 {
        let value = vec![number; 10_000];
        producer.publish(Record::new(value)).await.unwrap();
    }
    broker.flush().await.unwrap();
    broker.scrub().await;
    assert_eq!(warnings(&client).await, [] as [&str; 0]);
    let read = counter(&broker, "weir_scrub_bytes_total").await;
    assert!(read > 400_000, "{read} bytes");
    assert_eq!(counter(&broker, "weir_scrub_rounds_total").await, 1);

    let segments = PathBuf::from("/data/log/segments");
    let names = disk.list(&segments).unwrap();
    let [name] = &names[..] else {
        panic!("{names:?}");
    };
    // Within the 20th record's value.
    let mut at = 0;
    disk.damage(&segments.join(name), |bytes| {
        let found = bytes.windows(1_000).position(|it| it == [19; 1_000]);
        at = found.unwrap() + 500;
        bytes[at] ^= 16;
    })
    .unwrap();
    broker.scrub().await;
    let told = warnings(&client).await;
    let [warning] = &told[..] else {
        panic!("{told:?}");
    };
    let file = segments.join(name).display().to_string();
    assert!(warning.contains(&file), "{warning}");
    assert!(
        warning.contains("(topic \"orders\" partition 0)"),
        "{warning}"
    );
    assert!(warning.ends_with("rescue what can be read"), "{warning}");
    assert_eq!(counter(&broker, "weir_damaged_places").await, 1);

    reads_around(&client).await;
    client.admin().delete_topic("orders").await.unwrap();
    broker.scrub().await;
    assert_eq!(warnings(&client).await, [] as [&str; 0]);
    assert_eq!(counter(&broker, "weir_damaged_places").await, 0);
    client.close().await;
    broker.shutdown().await;
}
