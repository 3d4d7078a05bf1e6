//! Requests that are refused for good take their turn: what comes behind them goes on.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use futures_util::StreamExt;
use weir_broker::StartOptions;
use weir_broker::config::ByteSize;
use weir_broker::testing::{TestBroker, soon};
use weir_sdk::wire::batch::{BatchBuilder, NewRecord};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::Timestamp;
use weir_sdk::wire::limits::BATCH_BYTES_MAX;
use weir_sdk::{Client, Compression, PublishError, Record, RecordOutcome};

async fn client(broker: &TestBroker) -> Client {
    Client::builder(broker.address())
        .ca_file(broker.ca_file())
        .token(broker.token())
        .connect()
        .await
        .unwrap()
}

/// A batch of one record that has nearly as many bytes as a batch may have.
fn largest_batch() -> Vec<u8> {
    let value = vec![b'x'; BATCH_BYTES_MAX - 100];
    let mut builder = BatchBuilder::default();
    let record = NewRecord {
        value: Some(&value),
        ..NewRecord::default()
    };
    builder.push(Timestamp::new(0), &record);
    builder.finish(Compression::None).unwrap()
}

/// An entry must fit half a file, so with the smallest files the largest batch does not.
#[tokio::test]
async fn a_request_too_large_for_the_log_does_not_block_its_producer() {
    let small_files = |config: &mut weir_broker::config::Config| {
        config.log.wal_file_bytes = ByteSize::mib(16);
    };
    let broker = TestBroker::start_with(small_files, StartOptions::default())
        .await
        .unwrap();
    let client = client(&broker).await;
    client.admin().create_topic("orders", 1).await.unwrap();
    let producer = client.producer("orders").open().await.unwrap();
    producer.publish(Record::new("before")).await.unwrap();
    // All of them are under way at once: only the large ones are refused.
    let large = producer.send_batch(largest_batch()).await.unwrap();
    let behind = producer.send(Record::new("behind")).await.unwrap();
    soon("all outcomes", producer.flush()).await;
    let error = soon("the refusal", large).await.unwrap_err();
    let PublishError::Refused(fault) = &error else {
        panic!("{error}");
    };
    assert_eq!(fault.code, ErrorCode::BatchTooLarge, "{fault}");
    let RecordOutcome::Stored(_) = soon("the outcome behind it", behind).await.unwrap() else {
        panic!("it is stored");
    };
    producer.publish(Record::new("after")).await.unwrap();
    let mut subscriber = client.subscribe(["orders"]).open().await.unwrap();
    for expected in ["before", "behind", "after"] {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap(), expected.as_bytes());
    }
    client.close().await;
    broker.shutdown().await;
}
