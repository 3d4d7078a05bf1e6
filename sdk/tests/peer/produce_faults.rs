//! Producing on a bad day: lost replies, refusals, forgotten sessions, brokers that lie.

use std::time::Duration;

use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::Sequence;
use weir_sdk::wire::produce::{OpenProducer, Outcome, Produced};
use weir_sdk::{Ack, EndReason, PublishError, Record};

use crate::peer::{
    Peer, Stream, accept, destination, open_producer, opened, reopen_producer, soon, values,
};
use crate::produce::producing;

/// Sends one record per request: each is full as soon as it is begun.
fn alone(builder: weir_sdk::ProducerBuilder) -> weir_sdk::ProducerBuilder {
    builder.batch_bytes(1)
}

async fn expect(stream: &mut Stream, sequence: u64, value: &str) {
    let (produce, batch) = stream.produce().await;
    assert_eq!(
        (produce.sequence.value(), values(&batch)),
        (sequence, vec![value.to_owned()])
    );
}

#[tokio::test]
async fn what_is_unanswered_is_sent_again_under_its_sequence() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let mut tickets = Vec::new();
    for value in ["a", "b", "c"] {
        tickets.push(producer.send(Record::new(value)).await.unwrap());
    }
    let broker = async {
        for (sequence, value) in ["a", "b", "c"].iter().enumerate() {
            expect(&mut stream, sequence as u64, value).await;
        }
        stream.stored(Sequence::new(0), 0, 1).await;
        // The reply to the second is lost with the connection: it was stored all the same.
        let first = async {
            while producer.stats().outcomes.stored == 0 {
                tokio::task::yield_now().await;
            }
        };
        soon("the first outcome", first).await;
        peer.restart();
        let connection = peer.welcome().await;
        let mut stream = reopen_producer(&connection, 1, 2).await;
        expect(&mut stream, 1, "b").await;
        expect(&mut stream, 2, "c").await;
        stream.stored(Sequence::new(1), 1, 1).await;
        stream.stored(Sequence::new(2), 2, 1).await;
        let close = stream.frame().await;
        assert!(close.is_none());
        connection
    };
    let outcomes = async {
        let mut offsets = Vec::new();
        for ticket in tickets {
            let outcome = soon("an outcome", ticket).await.unwrap();
            offsets.push(outcome.stored().unwrap().offset().value());
        }
        let summary = producer.close().await.unwrap();
        (offsets, summary.stored)
    };
    let (outcomes, _connection) = tokio::join!(outcomes, broker);
    assert_eq!(outcomes, (vec![0, 1, 2], 3));
    let stats = producer.stats();
    assert_eq!((stats.resent, stats.reconnects), (2, 1));
}

#[tokio::test]
async fn a_refusal_for_now_holds_back_what_follows() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let mut tickets = Vec::new();
    for value in ["a", "b", "c"] {
        tickets.push(producer.send(Record::new(value)).await.unwrap());
    }
    let broker = async {
        for (sequence, value) in ["a", "b", "c"].iter().enumerate() {
            expect(&mut stream, sequence as u64, value).await;
        }
        stream
            .refused(Sequence::new(0), ErrorCode::Overloaded)
            .await;
        stream
            .refused(Sequence::new(1), ErrorCode::OutOfSequence)
            .await;
        stream
            .refused(Sequence::new(2), ErrorCode::OutOfSequence)
            .await;
        for (sequence, value) in ["a", "b", "c"].iter().enumerate() {
            expect(&mut stream, sequence as u64, value).await;
            stream
                .stored(Sequence::new(sequence as u64), sequence as u64, 1)
                .await;
        }
    };
    let outcomes = async {
        for (offset, ticket) in tickets.into_iter().enumerate() {
            let outcome = soon("an outcome", ticket).await.unwrap();
            assert_eq!(outcome.stored().unwrap().offset().value(), offset as u64);
        }
    };
    tokio::join!(outcomes, broker);
}

#[tokio::test]
async fn a_refusal_for_good_concerns_its_request_alone() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let bad = producer.send(Record::new("bad")).await.unwrap();
    let good = producer.send(Record::new("good")).await.unwrap();
    let broker = async {
        expect(&mut stream, 0, "bad").await;
        expect(&mut stream, 1, "good").await;
        stream
            .refused(Sequence::new(0), ErrorCode::PluginFailed)
            .await;
        stream.stored(Sequence::new(1), 0, 1).await;
    };
    let ((bad, good), ()) = tokio::join!(async { (bad.await, good.await) }, broker);
    let bad = bad.unwrap_err();
    assert_eq!(bad.fault().unwrap().code, ErrorCode::PluginFailed);
    assert!(good.unwrap().stored().is_some());
    let counts = producer.close().await.unwrap();
    assert_eq!((counts.stored, counts.failed), (1, 1));
}

#[tokio::test]
async fn a_forgotten_session_leaves_the_outcome_unknown() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let ticket = producer.send(Record::new("a")).await.unwrap();
    let broker = async {
        expect(&mut stream, 0, "a").await;
        peer.restart();
        let connection = peer.welcome().await;
        let mut stream = accept(&connection).await;
        let open: OpenProducer = stream.take().await;
        assert!(open.session.is_some());
        stream
            .fail(ErrorCode::UnknownProducer, "no such producer")
            .await;
        // What was never sent may go out in another session, and only that.
        let mut stream = open_producer(&connection, 2).await;
        expect(&mut stream, 0, "b").await;
        stream.stored(Sequence::new(0), 5, 1).await;
        (connection, stream)
    };
    let records = async {
        let first = soon("an outcome", ticket).await;
        let second = producer.publish(Record::new("b")).await;
        (first, second)
    };
    let ((first, second), _open) = tokio::join!(records, broker);
    let first = first.unwrap_err();
    assert!(
        matches!(first, PublishError::OutcomeUnknown { .. }),
        "{first:?}"
    );
    assert!(!first.is_retryable());
    assert_eq!(second.unwrap().stored().unwrap().offset().value(), 5);
    assert_eq!(producer.stats().outcomes.unknown, 1);
}

/// The broker refuses the oldest request only, and awaits it for ever: with the session all that
/// was sent in it is over, and none of it goes out again.
#[tokio::test]
async fn a_session_forgotten_under_way_is_left_for_a_new_one() {
    let peer = Peer::start();
    let (_client, connection, producer, mut stream) = producing(&peer, alone).await;
    let tickets = [
        producer.send(Record::new("a")).await.unwrap(),
        producer.send(Record::new("b")).await.unwrap(),
    ];
    let broker = async {
        expect(&mut stream, 0, "a").await;
        expect(&mut stream, 1, "b").await;
        stream
            .refused(Sequence::new(0), ErrorCode::UnknownProducer)
            .await;
        let mut stream = open_producer(&connection, 2).await;
        expect(&mut stream, 0, "c").await;
        stream.stored(Sequence::new(0), 5, 1).await;
        stream
    };
    let records = async {
        for ticket in tickets {
            let error = soon("an outcome", ticket).await.unwrap_err();
            assert!(
                matches!(error, PublishError::OutcomeUnknown { .. }),
                "{error:?}"
            );
        }
        producer.publish(Record::new("c")).await
    };
    let (third, _stream) = tokio::join!(records, broker);
    assert_eq!(third.unwrap().stored().unwrap().offset().value(), 5);
    assert_eq!(producer.stats().outcomes.unknown, 2);
    assert_eq!(producer.stats().resent, 0);
}

#[tokio::test]
async fn a_fenced_producer_is_over() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let tickets = [
        producer.send(Record::new("a")).await.unwrap(),
        producer.send(Record::new("b")).await.unwrap(),
    ];
    expect(&mut stream, 0, "a").await;
    expect(&mut stream, 1, "b").await;
    stream
        .refused(Sequence::new(0), ErrorCode::ProducerFenced)
        .await;
    for ticket in tickets {
        let error = soon("an outcome", ticket).await.unwrap_err();
        assert!(
            matches!(error, PublishError::OutcomeUnknown { .. }),
            "{error:?}"
        );
    }
    let reason = producer.close().await.unwrap_err();
    assert_eq!(reason.fault().unwrap().code, ErrorCode::ProducerFenced);
    assert_eq!(producer.stall(), None, "the broker is there");
}

#[tokio::test]
async fn a_broker_that_refuses_to_the_end_is_not_away() {
    let peer = Peer::start();
    let short = |p| alone(p).retry_timeout(Duration::from_millis(200));
    let (_client, _connection, producer, mut stream) = producing(&peer, short).await;
    let refuses = async {
        loop {
            expect(&mut stream, 0, "a").await;
            stream.refused(Sequence::new(0), ErrorCode::DiskFull).await;
        }
    };
    let outcome = tokio::select! {
        biased;
        outcome = producer.publish(Record::new("a")) => outcome,
        () = refuses => unreachable!("it refuses for ever"),
    };
    outcome.unwrap_err();
    assert_eq!(producer.stall(), None);
}

#[tokio::test]
async fn a_topic_created_anew_ends_the_producer() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let ticket = producer.send(Record::new("a")).await.unwrap();
    let broker = async {
        expect(&mut stream, 0, "a").await;
        peer.restart();
        let connection = peer.welcome().await;
        let mut stream = accept(&connection).await;
        let _: OpenProducer = stream.take().await;
        let mut other = opened(1, 0);
        other.topic = weir_sdk::wire::id::TopicId::new(8);
        stream.reply(&other).await;
        connection
    };
    let (outcome, _connection) = tokio::join!(ticket, broker);
    assert!(
        matches!(outcome, Err(PublishError::OutcomeUnknown { .. })),
        "{outcome:?}"
    );
    assert_eq!(
        producer.close().await.unwrap_err(),
        EndReason::TopicRecreated
    );
}

#[tokio::test]
async fn a_broker_that_stays_away_is_given_up_in_time() {
    let peer = Peer::start();
    let short = |p: weir_sdk::ProducerBuilder| {
        alone(p)
            .byte_budget(40)
            .retry_timeout(Duration::from_secs(1))
    };
    let (_client, connection, producer, mut stream) = producing(&peer, short).await;
    let first = producer.send(Record::new("a")).await.unwrap();
    expect(&mut stream, 0, "a").await;
    connection.close(0_u32.into(), b"for good");
    let first = first.await.unwrap_err();
    assert!(
        matches!(first, PublishError::OutcomeUnknown { .. }),
        "{first:?}"
    );
    // It goes on trying; what was not sent is known not to be stored.
    let second = producer.publish(Record::new("b")).await.unwrap_err();
    assert!(matches!(second, PublishError::NotSent { .. }), "{second:?}");
    assert!(second.is_retryable());
    let counts = producer.close().await.unwrap();
    assert_eq!((counts.unknown, counts.failed), (1, 1));
}

#[tokio::test]
async fn a_silent_broker_is_given_up_and_tried_anew() {
    let peer = Peer::start();
    let short = |p| alone(p).retry_timeout(Duration::from_secs(1));
    let (_client, connection, producer, mut stream) = producing(&peer, short).await;
    let silent = async {
        expect(&mut stream, 0, "a").await;
        // A session of its own, since the old one has a gap now.
        let mut stream = open_producer(&connection, 2).await;
        expect(&mut stream, 0, "b").await;
        stream.stored(Sequence::new(0), 9, 1).await;
        stream
    };
    let records = async {
        let first = producer.publish(Record::new("a")).await;
        (first, producer.publish(Record::new("b")).await)
    };
    let ((first, second), _stream) = tokio::join!(records, silent);
    assert!(
        matches!(first, Err(PublishError::OutcomeUnknown { .. })),
        "{first:?}"
    );
    assert_eq!(second.unwrap().stored().unwrap().offset().value(), 9);
}

#[tokio::test]
async fn a_dropped_producer_tells_its_tickets() {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let ticket = producer.send(Record::new("a")).await.unwrap();
    expect(&mut stream, 0, "a").await;
    drop(producer);
    let error = soon("an outcome", ticket).await.unwrap_err();
    assert!(
        error.to_string().contains("the producer was dropped"),
        "{error}"
    );
}

/// A broker that answers the first request with `reply` ends the producer.
async fn lie(reply: impl FnOnce(Sequence) -> Produced) -> EndReason {
    let peer = Peer::start();
    let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
    let broker = async {
        let (produce, _) = stream.produce().await;
        stream.reply(&reply(produce.sequence)).await;
    };
    let (outcome, ()) = tokio::join!(producer.publish(Record::new("a")), broker);
    assert!(
        matches!(outcome, Err(PublishError::OutcomeUnknown { .. })),
        "{outcome:?}"
    );
    producer.close().await.unwrap_err()
}

#[tokio::test]
async fn a_broker_that_lies_is_not_believed() {
    let produced = |sequence, outcome| Produced {
        sequence,
        outcome,
        error: None,
        throttle_ms: 0,
    };
    let stored = |count| Some(Outcome::stored(destination(0), count));
    let far = u64::MAX - 1;
    let reasons = [
        lie(|sequence| produced(sequence, stored(2))).await,
        lie(|sequence| produced(sequence, stored(0))).await,
        lie(|sequence| produced(sequence, None)).await,
        lie(|sequence| produced(sequence.next(), stored(1))).await,
        lie(|sequence| produced(sequence, Some(Outcome::stored(destination(far), 3)))).await,
    ];
    for reason in reasons {
        assert!(matches!(reason, EndReason::Protocol { .. }), "{reason:?}");
    }
}

#[tokio::test]
async fn replies_to_nothing_and_strange_frames_end_the_producer() {
    for strange in [true, false] {
        let peer = Peer::start();
        let (_client, _connection, producer, mut stream) = producing(&peer, alone).await;
        if strange {
            stream.reply(&opened(1, 0)).await;
        } else {
            stream.stored(Sequence::new(0), 0, 1).await;
        }
        assert!(stream.frame().await.is_none(), "the client leaves");
        let error = producer.publish(Record::new("a")).await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        let reason = producer.close().await.unwrap_err();
        assert!(matches!(reason, EndReason::Protocol { .. }), "{reason:?}");
    }
}

#[tokio::test]
async fn records_acknowledged_from_memory_and_lost_leave_no_gap() {
    let peer = Peer::start();
    let memory = |p| alone(p).ack(Ack::Memory);
    let (_client, _connection, producer, mut stream) = producing(&peer, memory).await;
    let broker = async {
        for sequence in 0..3 {
            expect(&mut stream, sequence, "x").await;
            stream.stored(Sequence::new(sequence), sequence, 1).await;
        }
        expect(&mut stream, 3, "x").await;
        peer.restart();
        let connection = peer.welcome().await;
        // It remembers the first alone.
        let mut stream = reopen_producer(&connection, 1, 1).await;
        expect(&mut stream, 1, "x").await;
        stream.stored(Sequence::new(1), 1, 1).await;
        (connection, stream)
    };
    let records = async {
        for _ in 0..4 {
            producer.publish(Record::new("x")).await.unwrap();
        }
    };
    let ((), _open) = tokio::join!(records, broker);
    assert_eq!(producer.stats().outcomes.stored, 4);
}

#[tokio::test]
async fn one_way_records_lost_with_a_connection_are_counted() {
    let peer = Peer::start();
    let one_way = |p| alone(p).ack(Ack::None);
    let (_client, _connection, producer, mut stream) = producing(&peer, one_way).await;
    for _ in 0..4 {
        producer.send_one_way(Record::new("x")).await.unwrap();
    }
    soon("all outcomes", producer.flush()).await;
    for sequence in 0..4 {
        expect(&mut stream, sequence, "x").await;
    }
    peer.restart();
    let connection = peer.welcome().await;
    let mut stream = reopen_producer(&connection, 1, 3).await;
    producer.send_one_way(Record::new("y")).await.unwrap();
    expect(&mut stream, 3, "y").await;
    let (summary, end) = tokio::join!(producer.close(), stream.frame());
    assert!(end.is_none());
    assert_eq!(summary.unwrap().maybe_lost, 1);
}
