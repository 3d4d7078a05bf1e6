//! Producers that count wrong, repeat themselves, never listen, or leave in the middle.

use quinn::{TransportConfig, VarInt};
use weir_wire::batch::Compression;
use weir_wire::frame::FrameMessage;
use weir_wire::id::{ProducerEpoch, ProducerId, Sequence};
use weir_wire::limits::PRODUCER_IN_FLIGHT_MAX;
use weir_wire::produce::{OpenProducer, Produced, ProducerSession};

use crate::batches::{batch, batch_of, became, open, produce};
use crate::raw::{Raw, Talk, with_payload, word};
use crate::stage::Stage;

async fn send(talk: &mut Talk, sequence: u64, batch: &[u8]) -> Produced {
    talk.say(&with_payload(&produce(sequence), batch)).await;
    talk.reply().await
}

#[tokio::test]
async fn gaps_repetitions_and_requests_long_past() {
    let mut stage = Stage::start().await;
    stage.topic("counted", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, opened) = open(&raw, "counted", None).await;
    for early in [1, 2, 1000, u64::MAX] {
        let produced = send(&mut talk, early, &batch()).await;
        assert_eq!(became(&produced), "out-of-sequence", "{early} before 0");
        assert_eq!(produced.sequence, Sequence::new(early));
    }
    let first = send(&mut talk, 0, &batch()).await;
    assert_eq!(became(&first), "stored");
    // Again, with other bytes, even with none: what was is what counts.
    for again in [
        batch(),
        batch_of(&[b"another"], Compression::None),
        Vec::new(),
    ] {
        assert_eq!(send(&mut talk, 0, &again).await.outcome, first.outcome);
    }
    // And on another stream of the session, and another connection.
    let other = Raw::client(&stage.broker).await;
    let (mut second, again) = open(&other, "counted", Some(opened.session.clone())).await;
    assert_eq!(again.next_sequence, Sequence::new(1));
    assert_eq!(send(&mut second, 0, &batch()).await.outcome, first.outcome);
    // Both streams send the same requests at once: each is stored once.
    let last = PRODUCER_IN_FLIGHT_MAX as u64 + 12;
    for sequence in 1..=last {
        let request = with_payload(&produce(sequence), &batch());
        tokio::join!(talk.say(&request), second.say(&request));
        let (one, two): (Produced, Produced) = tokio::join!(talk.reply(), second.reply());
        let fates = [became(&one), became(&two)];
        assert!(fates.contains(&"stored"), "{sequence}: {fates:?}");
        assert!(
            fates
                .iter()
                .all(|fate| ["stored", "out-of-sequence"].contains(fate)),
            "{sequence}: {fates:?}"
        );
    }
    for forgotten in [0, 1, last - PRODUCER_IN_FLIGHT_MAX as u64] {
        let produced = send(&mut talk, forgotten, &batch()).await;
        assert_eq!(became(&produced), "outcome-forgotten", "{forgotten}");
    }
    let remembered = last - PRODUCER_IN_FLIGHT_MAX as u64 + 1;
    assert_eq!(
        became(&send(&mut talk, remembered, &batch()).await),
        "stored"
    );
    assert_eq!(stage.records("counted").await, 3 * (last + 1));
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn sessions_that_are_not_ones_own() {
    let stage = Stage::start().await;
    stage.topic("mine", 1).await;
    stage.topic("other", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let (_talk, opened) = open(&raw, "mine", None).await;
    let session = |id: u64, epoch: u32| ProducerSession {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(epoch),
    };
    let (id, epoch) = (opened.session.id.value(), opened.session.epoch.value());
    for (what, topic, session) in [
        ("no such session", "mine", session(id + 1_000_000, epoch)),
        (
            "the largest there could be",
            "mine",
            session(u64::MAX, u32::MAX),
        ),
        ("a newer epoch", "mine", session(id, epoch + 1)),
        ("another topic's", "other", session(id, epoch)),
    ] {
        let topic = topic.parse().unwrap();
        let session = Some(session);
        let error = raw
            .refusal(&OpenProducer { topic, session }.to_frame(0))
            .await;
        assert_eq!(word(&error), "unknown-producer", "{what}");
    }
    stage.end().await;
}

#[tokio::test]
async fn a_producer_that_never_listens_is_cut_off_and_loses_nothing() {
    const REQUESTS: u64 = 2000;
    let mut stage = Stage::start().await;
    stage.topic("deaf", 1).await;
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1500));
    let raw = Raw::client_with(&stage.broker, transport).await;
    let (mut talk, opened) = open(&raw, "deaf", None).await;
    for sequence in 0..REQUESTS {
        talk.say(&with_payload(&produce(sequence), &batch())).await;
    }
    stage.is_unharmed().await;
    // It listens at last: answers in order, fewer than it has questions.
    let mut answered = 0;
    while let Some(frame) = talk.hear().await {
        let Ok(produced) = frame.message::<Produced>() else {
            break;
        };
        if became(&produced) != "stored" {
            break;
        }
        assert_eq!(produced.sequence, Sequence::new(answered));
        answered += 1;
    }
    println!("{answered} of {REQUESTS} were answered");
    assert!(answered > 0 && answered < REQUESTS, "{answered}");
    // It goes on where the answers end, this time with its ears open.
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, again) = open(&raw, "deaf", Some(opened.session)).await;
    assert!(again.next_sequence.value() >= answered);
    let rest: Vec<u64> = (answered..REQUESTS).collect();
    for requests in rest.chunks(PRODUCER_IN_FLIGHT_MAX) {
        for sequence in requests {
            talk.say(&with_payload(&produce(*sequence), &batch())).await;
        }
        for _ in requests {
            assert_eq!(became(&talk.reply().await), "stored");
        }
    }
    assert_eq!(stage.records("deaf").await, 3 * REQUESTS);
    stage.end().await;
}

#[tokio::test]
async fn producers_that_leave_midway_leave_whole_requests_only() {
    let mut stage = Stage::start().await;
    stage.topic("quitters", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, opened) = open(&raw, "quitters", None).await;
    let session = opened.session;
    assert_eq!(became(&send(&mut talk, 0, &batch()).await), "stored");
    let request = with_payload(&produce(1), &batch());
    // Reset in the prefix, in the header, in the batch; the answers are refused, too.
    for end in [5, 13, 40, request.len() - 1] {
        talk.say(&request[..end]).await;
        talk.send.reset(VarInt::from_u32(1)).unwrap();
        talk.stop().await;
        let (next, again) = open(&raw, "quitters", Some(session.clone())).await;
        assert_eq!(
            again.next_sequence,
            Sequence::new(1),
            "cut off after {end} bytes"
        );
        talk = next;
    }
    // Whole, but nobody waits for the answer: stored, and known when it is sent again.
    talk.say(&request).await;
    talk.stop().await;
    talk.finish();
    raw.connection.close(VarInt::from_u32(9), b"gone");
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "quitters", Some(session)).await;
    assert_eq!(became(&send(&mut talk, 1, &batch()).await), "stored");
    assert_eq!(stage.records("quitters").await, 6);
    stage.is_unharmed().await;
    stage.end().await;
}
