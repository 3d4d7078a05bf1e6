//! Subscribing: lanes, credit, cursors, and brokers that lie.

use std::collections::HashMap;

use bytes::Bytes;
use futures_util::StreamExt;
use quinn::{Connection, SendStream};
use weir_sdk::wire::batch::{BatchBuilder, NewRecord, stamp};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::frame::FrameMessage;
use weir_sdk::wire::id::{LeaderEpoch, Offset, PartitionId, SubscriptionId, Timestamp, TopicId};
use weir_sdk::wire::placement::OrderingKey;
use weir_sdk::wire::subscribe::{
    Credit, Progress, Records, START_OFFSET, Subscribe, Subscribed, SubscribedPartition,
};
use weir_sdk::{Client, Compression, Event, Received, Start, SubscribeError, Subscriber};

use crate::peer::{Peer, Stream, TOPIC, accept, open_lane, soon};
use crate::produce::connected;

fn partition(next: u64, end: u64) -> SubscribedPartition {
    SubscribedPartition {
        topic: TopicId::new(7),
        name: TOPIC.parse().unwrap(),
        partition: PartitionId::new(0),
        next: Offset::new(next),
        end: Offset::new(end),
    }
}

/// A batch at `base` with one record per value.
fn batch(base: u64, values: &[&str], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for value in values {
        let headers: &[(&str, &[u8])] = &[("tag", b"UA")];
        let record = NewRecord {
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers,
        };
        builder.push(Timestamp::new(1000), &record);
    }
    let mut batch = builder.finish(compression).unwrap();
    let _ = stamp(&mut batch, Offset::new(base), LeaderEpoch::new(1));
    batch
}

fn records(next: u64, count: u32) -> Records {
    Records {
        topic: TopicId::new(7),
        partition: PartitionId::new(0),
        next: Offset::new(next),
        append_time: Timestamp::new(2000),
        ordering_keys: Bytes::new(),
        filtered_out: 0,
        end: Offset::new(100),
        count,
    }
}

async fn push(lane: &mut SendStream, message: &Records, batch: &[u8]) {
    lane.write_all(&message.to_frame(batch.len()))
        .await
        .unwrap();
    lane.write_all(batch).await.unwrap();
}

async fn push_values(lane: &mut SendStream, base: u64, values: &[&str]) {
    let message = records(base + values.len() as u64, values.len() as u32);
    push(lane, &message, &batch(base, values, Compression::None)).await;
}

/// Answers a subscription; its stream and what it asked for.
async fn answer(
    connection: &Connection,
    id: u64,
    partitions: Vec<SubscribedPartition>,
) -> (Stream, Subscribe) {
    let mut stream = accept(connection).await;
    let subscribe = stream.take().await;
    let id = SubscriptionId::new(id);
    stream.reply(&Subscribed { id, partitions }).await;
    (stream, subscribe)
}

/// A subscriber of one partition, from its beginning.
async fn subscribed(peer: &Peer, end: u64) -> (Client, Connection, Subscriber, Stream, Subscribe) {
    let (client, connection) = connected(peer).await;
    let open = client.subscribe([TOPIC]).open();
    let (subscriber, (stream, subscribe)) =
        tokio::join!(open, answer(&connection, 3, vec![partition(0, end)]));
    (client, connection, subscriber.unwrap(), stream, subscribe)
}

/// The next record, or what the subscriber says instead.
async fn next(subscriber: &mut Subscriber) -> Result<Received, SubscribeError> {
    let next = soon("a record or an error", subscriber.next()).await;
    next.expect("more was to come")
}

async fn take(subscriber: &mut Subscriber, count: usize) -> Vec<(u64, String)> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let record = next(subscriber).await.unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        taken.push((record.offset.value(), value));
    }
    taken
}

fn pairs(from: u64, values: &[&str]) -> Vec<(u64, String)> {
    (from..)
        .zip(values.iter().map(|v| (*v).to_owned()))
        .collect()
}

#[tokio::test]
async fn records_come_with_everything_that_belongs_to_them() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let open = client
        .subscribe([TOPIC])
        .from(Start::Offset(Offset::new(5)))
        .partition(PartitionId::new(0))
        .ordering_keys(true)
        .open();
    let (subscriber, (_stream, subscribe)) =
        tokio::join!(open, answer(&connection, 3, vec![partition(5, 9)]));
    let mut subscriber = subscriber.unwrap();
    assert_eq!(
        (subscribe.start, subscribe.start_offset),
        (START_OFFSET, Offset::new(5))
    );
    assert_eq!(
        (subscribe.partition, subscribe.ordering_keys),
        (Some(PartitionId::new(0)), true)
    );
    assert_eq!(subscriber.partitions()[0].end, Offset::new(9));
    let mut lane = open_lane(&connection, 3).await;
    for (base, compression) in [(5, Compression::Lz4), (7, Compression::Zstd)] {
        let batch = batch(base, &["a", "b"], compression);
        let mut message = records(base + 2, 2);
        let keys = [7_u64, 0].map(u64::to_le_bytes).concat();
        message.ordering_keys = keys.into();
        push(&mut lane, &message, &batch).await;
    }
    let record = next(&mut subscriber).await.unwrap();
    assert_eq!(record.topic.to_string(), TOPIC);
    assert_eq!(record.offset, Offset::new(5));
    assert_eq!(record.key.as_deref(), Some(&b"k"[..]));
    assert_eq!(record.value.as_deref(), Some(&b"a"[..]));
    assert_eq!(record.tag().map(|tag| &tag[..]), Some(&b"UA"[..]));
    assert_eq!(record.ordering_key, Some(OrderingKey::from_stored(7)));
    assert_eq!(record.timestamp, Timestamp::new(1000));
    assert_eq!(record.append_time, Timestamp::new(2000));
    let record = next(&mut subscriber).await.unwrap();
    assert_eq!(record.ordering_key, None);
    assert!(!subscriber.is_caught_up());
    assert_eq!(take(&mut subscriber, 2).await, pairs(7, &["a", "b"]));
    assert!(subscriber.is_caught_up());
}

#[tokio::test]
async fn a_lost_connection_neither_skips_nor_repeats() {
    let peer = Peer::start();
    let (_client, connection, mut subscriber, _stream, first) = subscribed(&peer, 100).await;
    assert!(first.cursors.is_empty());
    let mut lane = open_lane(&connection, 3).await;
    push_values(&mut lane, 0, &["a", "b"]).await;
    let broker = async {
        peer.restart();
        let connection = peer.welcome().await;
        let (stream, again) = answer(&connection, 1, vec![partition(2, 100)]).await;
        // The batch goes out as it is stored; what was received of it is passed over.
        let mut lane = open_lane(&connection, 1).await;
        push_values(&mut lane, 0, &["a", "b", "c"]).await;
        (connection, stream, lane, again)
    };
    // Taken before the connection is lost.
    assert_eq!(take(&mut subscriber, 1).await, pairs(0, &["a"]));
    let rest = async {
        let mut rest = take(&mut subscriber, 1).await;
        rest.extend(take(&mut subscriber, 1).await);
        rest
    };
    let (rest, (_connection, _stream, _lane, again)) = tokio::join!(rest, broker);
    assert_eq!(rest, pairs(1, &["b", "c"]));
    assert_eq!(again.cursors.len(), 1);
    assert_eq!(
        again.cursors[0].offset,
        Offset::new(2),
        "both records are on this side"
    );
}

#[tokio::test]
async fn lanes_find_their_subscription() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let early = async {
        // This lane is there before the reply that tells whose it is.
        let mut stream = accept(&connection).await;
        let _: Subscribe = stream.take().await;
        let mut lane = open_lane(&connection, 11).await;
        push_values(&mut lane, 0, &["early"]).await;
        let id = SubscriptionId::new(11);
        let partitions = vec![partition(0, 9)];
        stream.reply(&Subscribed { id, partitions }).await;
        (stream, lane)
    };
    let (first, _early) = tokio::join!(client.subscribe([TOPIC]).open(), early);
    let (second, _stream) = tokio::join!(
        client.subscribe([TOPIC]).open(),
        answer(&connection, 12, vec![partition(0, 9)])
    );
    let (mut first, mut second) = (first.unwrap(), second.unwrap());
    // Nobody's lane is turned away and harms nobody.
    let mut nobodys = open_lane(&connection, 99).await;
    let mut lane = open_lane(&connection, 12).await;
    push_values(&mut lane, 0, &["second"]).await;
    assert_eq!(take(&mut first, 1).await, pairs(0, &["early"]));
    assert_eq!(take(&mut second, 1).await, pairs(0, &["second"]));
    let turned_away = soon("the end of nobody's lane", nobodys.stopped()).await;
    assert!(turned_away.unwrap().is_some());
    let _ = nobodys.finish();
}

#[tokio::test]
async fn credit_comes_back_as_batches_are_taken() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let open = client
        .subscribe([TOPIC])
        .credit_bytes(4000)
        .credit_records(20)
        .open();
    let (subscriber, (mut stream, subscribe)) =
        tokio::join!(open, answer(&connection, 3, vec![partition(0, 100)]));
    let mut subscriber = subscriber.unwrap();
    assert_eq!(
        (subscribe.credit_bytes, subscribe.credit_records),
        (4000, 20)
    );
    let mut lane = open_lane(&connection, 3).await;
    let (mut granted, mut sent) = (0, 0);
    for base in 0..10 {
        let bytes = batch(base, &["a"], Compression::None);
        sent += bytes.len() as u64;
        push(&mut lane, &records(base + 1, 1), &bytes).await;
    }
    for _ in 0..10 {
        let batch = soon("a batch", subscriber.next_batch()).await;
        batch.unwrap().unwrap();
    }
    // What is less than an eighth of the budget may still be on this side.
    while granted + 500 < sent {
        let credit: Credit = stream.take().await;
        granted += credit.bytes;
    }
    assert!(granted <= sent, "{granted} granted of {sent}");
    drop(subscriber);
    assert!(
        stream.frame().await.is_none(),
        "a dropped subscriber ends its stream"
    );
}

#[tokio::test]
async fn progress_counts_where_filters_leave_nothing() {
    let peer = Peer::start();
    let (_client, connection, mut subscriber, _stream, _) = subscribed(&peer, 50).await;
    let mut lane = open_lane(&connection, 3).await;
    let progress = Progress {
        topic: TopicId::new(7),
        partition: PartitionId::new(0),
        next: Offset::new(50),
        end: Offset::new(60),
        filtered_out: 50,
    };
    lane.write_all(&progress.to_frame(0)).await.unwrap();
    let event = soon("an event", subscriber.next_event()).await;
    match event.unwrap().unwrap() {
        Event::Progress(progress) => assert_eq!(progress.filtered_out, 50),
        event => panic!("{event:?} is no progress"),
    }
    assert!(subscriber.is_caught_up());
    let topic = TOPIC.parse().unwrap();
    let position = subscriber.position(&topic, PartitionId::new(0));
    assert_eq!(position, Some(Offset::new(50)));
    let key = (TopicId::new(7), PartitionId::new(0));
    assert!(!subscriber.is_caught_up_to(&HashMap::from([(key, Offset::new(60))])));
}

#[tokio::test]
async fn an_error_of_the_broker_ends_a_subscription_once() {
    let peer = Peer::start();
    let (_client, _connection, mut subscriber, mut stream, _) = subscribed(&peer, 50).await;
    stream
        .fail(ErrorCode::PluginFailed, "the filter traps")
        .await;
    let error = next(&mut subscriber).await.unwrap_err();
    assert_eq!(error.fault().unwrap().code, ErrorCode::PluginFailed);
    assert!(soon("its end", subscriber.next()).await.is_none());
}

#[tokio::test]
async fn a_topic_created_anew_is_not_read_on() {
    let peer = Peer::start();
    let (_client, _connection, mut subscriber, _stream, _) = subscribed(&peer, 50).await;
    let broker = async {
        peer.restart();
        let connection = peer.welcome().await;
        let mut other = partition(0, 0);
        other.topic = TopicId::new(8);
        answer(&connection, 1, vec![other]).await
    };
    let (end, _) = tokio::join!(next(&mut subscriber), broker);
    let error = end.unwrap_err();
    assert!(
        matches!(error, SubscribeError::TopicRecreated { .. }),
        "{error:?}"
    );
}

/// What a subscriber says to one frame of records.
async fn lie(message: Records, batch: Vec<u8>) -> SubscribeError {
    let peer = Peer::start();
    let (_client, connection, mut subscriber, _stream, _) = subscribed(&peer, 50).await;
    let mut lane = open_lane(&connection, 3).await;
    push(&mut lane, &message, &batch).await;
    loop {
        match next(&mut subscriber).await {
            Ok(record) => assert!(record.offset < Offset::new(2), "{record:?}"),
            Err(error) => return error,
        }
    }
}

#[tokio::test]
async fn a_broker_that_lies_is_not_believed() {
    let sound = || batch(0, &["a", "b"], Compression::None);
    let mut flipped = sound();
    *flipped.last_mut().unwrap() ^= 1;
    let mut cut = sound();
    cut.pop();
    for (what, message, batch) in [
        ("a wrong CRC", records(2, 2), flipped),
        ("a cut batch", records(2, 2), cut),
        ("a wrong count", records(2, 3), sound()),
        ("a batch beyond its end", records(1, 2), sound()),
        ("no batch", records(2, 2), Vec::new()),
    ] {
        let error = lie(message, batch).await;
        assert!(
            matches!(error, SubscribeError::Corrupt { .. }),
            "{what}: {error:?}"
        );
    }
    let mut elsewhere = records(2, 2);
    elsewhere.partition = PartitionId::new(9);
    let error = lie(elsewhere, sound()).await;
    assert!(
        matches!(error, SubscribeError::Protocol { .. }),
        "{error:?}"
    );
    let error = lie(records(0, 2), sound()).await;
    assert!(
        matches!(error, SubscribeError::Protocol { .. }),
        "it came again: {error:?}"
    );
}

#[tokio::test]
async fn a_subscription_needs_names_and_credit() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let none: [&str; 0] = [];
    let error = client.subscribe(none).open().await.unwrap_err();
    assert!(matches!(error, SubscribeError::Option { .. }), "{error:?}");
    let error = client.subscribe(["a b"]).open().await.unwrap_err();
    assert!(matches!(error, SubscribeError::Name(_)), "{error:?}");
    let error = client
        .subscribe([TOPIC])
        .credit_records(0)
        .open()
        .await
        .unwrap_err();
    assert!(matches!(error, SubscribeError::Option { .. }), "{error:?}");
    let broker = async {
        let mut stream = accept(&connection).await;
        let _: Subscribe = stream.take().await;
        stream
            .fail(ErrorCode::UnknownTopic, "no topic orders")
            .await;
    };
    let (error, ()) = tokio::join!(client.subscribe([TOPIC]).open(), broker);
    assert_eq!(
        error.unwrap_err().fault().unwrap().code,
        ErrorCode::UnknownTopic
    );
}
