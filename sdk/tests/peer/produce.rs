//! Producing, as it goes on a good day: batches, tickets, budget, one way.

use std::time::Duration;

use bytes::Bytes;
use quinn::Connection;
use weir_sdk::wire::batch::{BatchBuilder, NewRecord, Records, verify};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::{BindingId, PartitionId, Sequence, Timestamp};
use weir_sdk::wire::produce::{Fate, OpenProducer, Outcome, Refusal, encode_runs};
use weir_sdk::{
    Ack, Client, Compression, OpenProducerError, Producer, ProducerBuilder, Record, RecordOutcome,
    SendError,
};

use crate::peer::{Peer, Stream, TOPIC, accept, destination, open_producer, opened, soon, values};

pub async fn connected(peer: &Peer) -> (Client, Connection) {
    let (client, connection) = tokio::join!(peer.client().connect(), peer.welcome());
    (client.unwrap(), connection)
}

/// A producer, and the broker's end of its stream.
pub async fn producing(
    peer: &Peer,
    options: impl FnOnce(ProducerBuilder) -> ProducerBuilder,
) -> (Client, Connection, Producer, Stream) {
    let (client, connection) = connected(peer).await;
    let open = options(client.producer(TOPIC)).open();
    let (producer, stream) = tokio::join!(open, open_producer(&connection, 1));
    (client, connection, producer.unwrap(), stream)
}

#[tokio::test]
async fn a_record_arrives_as_it_was_built() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, |p| p).await;
    let record = Record::new("value")
        .key("key")
        .header("a", "1")
        .tag("UA")
        .timestamp(Timestamp::new(1234));
    let broker = async {
        let (produce, batch) = stream.produce().await;
        assert_eq!((produce.sequence, produce.ack), (Sequence::new(0), 0));
        assert_eq!((produce.partition, produce.all_or_nothing), (None, false));
        let batch = verify(&batch).unwrap();
        assert_eq!(batch.header.base_timestamp, Timestamp::new(1234));
        let record = Records::new(&batch.records, 1).next().unwrap().unwrap();
        assert_eq!(record.key, Some(&b"key"[..]));
        assert_eq!(record.value, Some(&b"value"[..]));
        assert_eq!(record.header("a"), Some(&b"1"[..]));
        assert_eq!(record.header("tag"), Some(&b"UA"[..]));
        stream.stored(produce.sequence, 99, 1).await;
        stream
    };
    let (outcome, mut stream) = tokio::join!(producer.publish(record), broker);
    let outcome = outcome.unwrap();
    let place = outcome.stored().unwrap().place();
    assert_eq!(place.offset.value(), 99);
    assert_eq!(place.topic.to_string(), TOPIC);
    let summary = producer.close().await.unwrap();
    assert_eq!(summary.stored, 1);
    assert!(
        stream.frame().await.is_none(),
        "a closed producer finishes its stream"
    );
    let ended = producer.send(Record::new("late")).await.unwrap_err();
    assert!(matches!(ended, SendError::Ended(_)), "{ended:?}");
}

#[tokio::test]
async fn records_gather_in_batches_and_keep_their_order() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) =
        producing(&peer, |p| p.batch_bytes(1000)).await;
    let send = async {
        let mut tickets = Vec::new();
        for n in 0..500 {
            tickets.push(
                producer
                    .send(Record::new(format!("value {n}")))
                    .await
                    .unwrap(),
            );
        }
        soon("all outcomes", producer.flush()).await;
        let mut offsets = Vec::new();
        for ticket in tickets {
            let now = ticket
                .outcome()
                .expect("a flush waits for outcomes")
                .unwrap();
            let outcome = soon("an outcome", ticket).await.unwrap();
            assert_eq!(now, outcome);
            offsets.push(outcome.stored().unwrap().offset().value());
        }
        offsets
    };
    let broker = async {
        let (mut seen, mut requests) = (Vec::new(), 0);
        while seen.len() < 500 {
            let (produce, batch) = stream.produce().await;
            assert_eq!(produce.sequence.value(), requests);
            assert!(batch.len() <= 1100, "{} bytes", batch.len());
            let records = values(&batch);
            stream
                .stored(produce.sequence, seen.len() as u64, records.len() as u32)
                .await;
            seen.extend(records);
            requests += 1;
        }
        (seen, requests)
    };
    let (offsets, (seen, requests)) = tokio::join!(send, broker);
    assert_eq!(offsets, (0..500).collect::<Vec<_>>());
    assert_eq!(
        seen,
        (0..500).map(|n| format!("value {n}")).collect::<Vec<_>>()
    );
    assert!(requests < 100, "{requests} requests for 500 records");
    assert_eq!(producer.stats().requests, requests);
    assert_eq!(producer.stats().bytes_in_flight, 0);
}

#[tokio::test]
async fn requests_flow_without_waiting_for_replies() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, |p| p).await;
    let batch = prepared(&["a", "b"]);
    let send = async {
        let mut tickets = Vec::new();
        for _ in 0..200 {
            tickets.push(producer.send_batch(batch.clone()).await.unwrap());
        }
        let mut counts = 0;
        for ticket in tickets {
            counts += soon("an outcome", ticket).await.unwrap().count();
        }
        counts
    };
    let broker = async {
        // As many as may be unanswered come without a reply, and not one more.
        for sequence in 0..128 {
            assert_eq!(stream.produce().await.0.sequence.value(), sequence);
        }
        let more = tokio::time::timeout(Duration::from_millis(50), stream.frame()).await;
        assert!(more.is_err(), "129 requests are unanswered");
        for sequence in 0..128 {
            stream
                .stored(Sequence::new(sequence), sequence * 2, 2)
                .await;
        }
        for sequence in 128..200 {
            assert_eq!(stream.produce().await.0.sequence.value(), sequence);
            stream
                .stored(Sequence::new(sequence), sequence * 2, 2)
                .await;
        }
    };
    let (records, ()) = tokio::join!(send, broker);
    assert_eq!(records, 400);
}

fn prepared(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::default();
    for value in values {
        let record = NewRecord {
            value: Some(value.as_bytes()),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(1), &record);
    }
    builder.finish(Compression::None).unwrap().into()
}

#[tokio::test]
async fn what_is_no_batch_is_not_sent() {
    let peer = Peer::start();
    let (_client, _connection, producer, _stream) = producing(&peer, |p| p).await;
    let error = producer.send_batch("no batch").await.unwrap_err();
    assert!(matches!(error, SendError::InvalidBatch { .. }), "{error:?}");
    let mut cut = prepared(&["a"]).to_vec();
    cut.pop();
    let error = producer.send_batch(cut).await.unwrap_err();
    assert!(matches!(error, SendError::InvalidBatch { .. }), "{error:?}");
    let error = producer
        .send(Record::new(vec![0; 9 << 20]))
        .await
        .unwrap_err();
    assert!(matches!(error, SendError::TooLarge { .. }), "{error:?}");
    assert_eq!(producer.stats().records, 0);
}

#[tokio::test]
async fn the_byte_budget_holds_senders_back() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) =
        producing(&peer, |p| p.byte_budget(3000)).await;
    let record = || Record::new(vec![7; 1000]);
    let tickets = [producer.try_send(&record()), producer.try_send(&record())];
    let full = producer.try_send(&record()).unwrap_err();
    assert!(matches!(full, SendError::Full { .. }), "{full:?}");
    assert!(full.is_retryable());
    let broker = async {
        let (mut offset, mut sequence) = (0, 0);
        while offset < 3 {
            let (produce, batch) = stream.produce().await;
            let count = values(&batch).len() as u32;
            assert_eq!(produce.sequence.value(), sequence);
            stream.stored(produce.sequence, offset, count).await;
            offset += u64::from(count);
            sequence += 1;
        }
    };
    let send = async { producer.send(record()).await.unwrap().await.unwrap() };
    let (third, ()) = tokio::join!(send, broker);
    assert_eq!(third.stored().unwrap().offset().value(), 2);
    for (offset, ticket) in tickets.into_iter().enumerate() {
        let outcome = ticket.unwrap().await.unwrap();
        assert_eq!(outcome.stored().unwrap().offset().value(), offset as u64);
    }
}

#[tokio::test]
async fn each_record_has_its_own_outcome() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, |p| p).await;
    let refusal = |kind, reason: &str| Refusal {
        kind,
        binding: BindingId::new(5),
        reason: reason.to_owned(),
    };
    let broker = async {
        let (produce, batch) = stream.produce().await;
        assert_eq!(values(&batch).len(), 5);
        let runs = [
            (1, Fate::Set(0)),
            (1, Fate::Refusal(0)),
            (2, Fate::Set(1)),
            (1, Fate::Refusal(1)),
        ];
        let mut other = destination(100);
        other.partition = PartitionId::new(1);
        let outcome = Outcome {
            destinations: vec![destination(10), other],
            sets: vec![Bytes::from_static(&[0]), Bytes::from_static(&[0, 1])],
            refusals: vec![refusal(2, "not today"), refusal(1, "dull")],
            runs: encode_runs(runs),
        };
        stream.outcome(produce.sequence, outcome).await;
    };
    let ticket = producer
        .send_batch(prepared(&["a", "b", "c", "d", "e"]))
        .await
        .unwrap();
    let (outcomes, ()) = tokio::join!(ticket, broker);
    let told: Vec<String> = outcomes
        .unwrap()
        .records()
        .map(|outcome| match outcome {
            RecordOutcome::Stored(stored) => stored
                .places()
                .map(|place| format!("{}:{} ", place.partition, place.offset))
                .collect(),
            RecordOutcome::Rejected(why) => format!("rejected by {}: {}", why.binding, why.reason),
            RecordOutcome::Dropped(why) => format!("dropped by {}: {}", why.binding, why.reason),
            other => format!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "0:10 ",
            "rejected by 5: not today",
            "0:11 1:100 ",
            "0:12 1:101 ",
            "dropped by 5: dull"
        ]
    );
    let counts = producer.close().await.unwrap();
    assert_eq!((counts.stored, counts.rejected, counts.dropped), (3, 1, 1));
}

#[tokio::test]
async fn batches_travel_compressed_to_a_named_partition() {
    let peer = Peer::start();
    let options = |p: ProducerBuilder| {
        p.compression(Compression::Zstd)
            .partition(PartitionId::new(0))
            .ack(Ack::Memory)
            .all_or_nothing(true)
    };
    let (_client, _connection, producer, mut stream) = producing(&peer, options).await;
    let broker = async {
        let (produce, batch) = stream.produce().await;
        assert_eq!(produce.partition, Some(PartitionId::new(0)));
        assert_eq!((produce.ack, produce.all_or_nothing), (1, true));
        assert!(batch.len() < 500, "{} bytes", batch.len());
        assert_eq!(values(&batch), ["x".repeat(5000)]);
        stream.stored(produce.sequence, 0, 1).await;
    };
    let (outcome, ()) = tokio::join!(producer.publish(Record::new("x".repeat(5000))), broker);
    assert!(outcome.unwrap().stored().is_some());
}

#[tokio::test]
async fn one_way_records_need_no_reply() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, |p| p.ack(Ack::None)).await;
    let error = producer.send(Record::new("a")).await.unwrap_err();
    assert_eq!(error, SendError::OneWay);
    for n in 0..10 {
        producer
            .send_one_way(Record::new(format!("{n}")))
            .await
            .unwrap();
    }
    let broker = async {
        let mut seen = Vec::new();
        while let Some(frame) = stream.frame().await {
            seen.extend(values(&frame.payload));
        }
        seen
    };
    let (summary, seen) = tokio::join!(producer.close(), broker);
    assert_eq!(seen, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(summary.unwrap().one_way, 10);
}

#[tokio::test]
async fn a_producer_that_cannot_be_opened_says_why() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let error = client.producer("no such name!").open().await.unwrap_err();
    assert!(matches!(error, OpenProducerError::Name(_)), "{error:?}");
    let error = client
        .producer(TOPIC)
        .batch_bytes(0)
        .open()
        .await
        .unwrap_err();
    assert!(
        matches!(error, OpenProducerError::Option { .. }),
        "{error:?}"
    );
    let broker = async |reply: Option<weir_sdk::wire::produce::ProducerOpened>| {
        let mut stream = accept(&connection).await;
        let _: OpenProducer = stream.take().await;
        match reply {
            None => {
                stream
                    .fail(ErrorCode::UnknownTopic, "no topic orders")
                    .await
            }
            Some(opened) => stream.reply(&opened).await,
        }
        let _ = stream.send.finish();
    };
    let (error, ()) = tokio::join!(client.producer(TOPIC).open(), broker(None));
    let error = error.unwrap_err();
    assert_eq!(error.fault().unwrap().code, ErrorCode::UnknownTopic);
    let partition = PartitionId::new(1);
    let open = client.producer(TOPIC).partition(partition).open();
    let (error, ()) = tokio::join!(open, broker(Some(opened(1, 0))));
    let error = error.unwrap_err();
    assert!(
        matches!(error, OpenProducerError::UnknownPartition { .. }),
        "{error:?}"
    );
    let mut by_plugin = opened(1, 0);
    by_plugin.placement_by_plugin = true;
    let open = client.producer(TOPIC).partition(partition).open();
    let (error, ()) = tokio::join!(open, broker(Some(by_plugin)));
    let error = error.unwrap_err();
    assert!(
        matches!(error, OpenProducerError::PlacementByPlugin { .. }),
        "{error:?}"
    );
}
