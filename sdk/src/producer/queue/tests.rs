//! The queue's decisions, with the time as an argument.

use std::time::Duration;

use tokio::time::Instant;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::{Assembler, Frame};
use weir_wire::id::{Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId};
use weir_wire::produce::{
    Ack, Destination, Outcome, Produce, Produced, ProducerOpened, ProducerSession,
};

use super::{Options, Payload, Queue, Reply, Resolved, Step};
use crate::producer::error::PublishError;
use crate::record::Record;

const LINGER: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_secs(60);

fn queue() -> (Queue, Instant) {
    let mut queue = Queue::new(Options {
        batch_bytes: 1000,
        byte_budget: 10_000,
        linger: LINGER,
        compression: weir_wire::batch::Compression::None,
        ack: Ack::Durable,
        partition: None,
        all_or_nothing: false,
        retry_timeout: RETRY,
    });
    let now = Instant::now();
    queue.opened(opened(0), now).unwrap();
    (queue, now)
}

fn opened(next: u64) -> ProducerOpened {
    ProducerOpened {
        session: ProducerSession {
            id: ProducerId::new(1),
            epoch: ProducerEpoch::new(0),
        },
        next_sequence: Sequence::new(next),
        topic: TopicId::new(7),
        partitions: 1,
        placement_by_plugin: false,
        request_bytes_max: 0,
    }
}

fn push(queue: &mut Queue, bytes: usize, now: Instant) {
    let record = Record::new(vec![1; bytes]);
    let pushed = queue.push(&record, Timestamp::new(0), now).unwrap();
    if let Some(sealed) = pushed.sealed {
        encode(queue, sealed);
    }
}

fn encode(queue: &mut Queue, sealed: super::Sealed) {
    let batch = sealed
        .builder
        .finish(weir_wire::batch::Compression::None)
        .unwrap();
    queue.fill(sealed.ordinal, Payload::Ready(batch.into()));
}

/// The next step that is not encoding, in short, and what was settled on the way.
fn step(queue: &mut Queue, now: Instant) -> String {
    let mut resolved = Vec::new();
    loop {
        match queue.next_step(now, &mut resolved) {
            Step::Encode(sealed) => encode(queue, sealed),
            Step::Write { head, .. } => {
                let mut whole = head.to_vec();
                let payload = u32::from_be_bytes(whole[..4].try_into().unwrap()) as usize + 4;
                whole.resize(payload, 0);
                let frame: Frame<Vec<u8>> = Assembler::default()
                    .feed(&mut whole.into())
                    .unwrap()
                    .unwrap();
                return format!("write {}", frame.message::<Produce>().unwrap().sequence);
            }
            Step::WaitUntil(at) => return format!("wait {} ms", (at - now).as_millis()),
            Step::Wait => return "wait".to_owned(),
            Step::GiveUp => return "give up".to_owned(),
            Step::Finish => return "finish".to_owned(),
        }
    }
}

fn stored(sequence: u64, count: u32) -> Produced {
    let destination = Destination {
        topic: TopicId::new(7),
        name: "orders".parse().unwrap(),
        partition: PartitionId::new(0),
        base_offset: Offset::ZERO,
    };
    Produced {
        sequence: Sequence::new(sequence),
        outcome: Some(Outcome::stored(destination, count)),
        error: None,
        throttle_ms: 0,
    }
}

fn refused(sequence: u64, code: ErrorCode, retry_after: Option<Duration>) -> Produced {
    let mut fault = Fault::new(code, "no");
    fault.retry_after = retry_after;
    Produced {
        sequence: Sequence::new(sequence),
        outcome: None,
        error: Some((&fault).into()),
        throttle_ms: 0,
    }
}

fn reply(queue: &mut Queue, produced: Produced, now: Instant) -> Vec<Resolved> {
    let mut resolved = Vec::new();
    assert_eq!(queue.on_reply(produced, now, &mut resolved), Reply::Taken);
    resolved
}

#[test]
fn a_batch_goes_at_once_when_nothing_is_on_its_way_and_lingers_otherwise() {
    let (mut queue, now) = queue();
    assert_eq!(step(&mut queue, now), "wait");
    push(&mut queue, 10, now);
    assert_eq!(step(&mut queue, now), "write 0");
    push(&mut queue, 10, now);
    assert_eq!(step(&mut queue, now), "wait 5 ms");
    assert_eq!(step(&mut queue, now + LINGER), "write 1");
    push(&mut queue, 10, now);
    // Together exactly as much as a batch may have: see `encoded_len_max`.
    push(&mut queue, 918, now);
    assert_eq!(step(&mut queue, now), "write 2", "it is full");
    push(&mut queue, 10, now);
    for sequence in 0..2 {
        assert_eq!(reply(&mut queue, stored(sequence, 1), now).len(), 1);
    }
    assert!(step(&mut queue, now).starts_with("wait"));
    reply(&mut queue, stored(2, 2), now);
    assert_eq!(step(&mut queue, now), "write 3", "everything is answered");
}

#[test]
fn a_flush_sends_what_is_there_and_no_more() {
    let (mut queue, now) = queue();
    push(&mut queue, 10, now);
    assert_eq!(step(&mut queue, now), "write 0");
    push(&mut queue, 10, now);
    let target = queue.flush();
    assert_eq!((target, queue.done_to()), (2, 0));
    assert_eq!(step(&mut queue, now), "write 1");
    push(&mut queue, 10, now);
    assert_eq!(
        step(&mut queue, now),
        "wait 5 ms",
        "this one was not flushed"
    );
    reply(&mut queue, stored(0, 1), now);
    reply(&mut queue, stored(1, 1), now);
    assert_eq!(queue.done_to(), target);
}

#[test]
fn a_refusal_for_now_pauses_and_repeats_everything_in_order() {
    let (mut queue, now) = queue();
    for _ in 0..3 {
        push(&mut queue, 990, now);
    }
    for sequence in 0..3 {
        assert_eq!(step(&mut queue, now), format!("write {sequence}"));
    }
    let wait = Some(Duration::from_millis(300));
    let resolved = reply(&mut queue, refused(0, ErrorCode::Overloaded, wait), now);
    assert!(resolved.is_empty());
    assert_eq!(step(&mut queue, now), "wait 300 ms");
    for sequence in 1..3 {
        reply(
            &mut queue,
            refused(sequence, ErrorCode::OutOfSequence, None),
            now,
        );
    }
    let later = now + Duration::from_millis(300);
    for sequence in 0..3 {
        assert_eq!(step(&mut queue, later), format!("write {sequence}"));
    }
    assert_eq!(queue.stats().resent, 3);
    let stall = queue.stall(later).unwrap();
    assert_eq!((stall.away, stall.reason.as_str()), (false, "no"));
    assert_eq!(reply(&mut queue, stored(0, 1), later).len(), 1);
    assert_eq!(queue.stall(later), None);
}

#[test]
fn the_oldest_request_is_given_up_when_nothing_moves() {
    let (mut queue, now) = queue();
    for _ in 0..3 {
        push(&mut queue, 990, now);
    }
    assert_eq!(step(&mut queue, now), "write 0");
    let almost = now + RETRY - Duration::from_secs(1);
    for sequence in 1..3 {
        assert_eq!(step(&mut queue, almost), format!("write {sequence}"));
    }
    assert_eq!(step(&mut queue, almost), "wait 1000 ms");
    reply(&mut queue, stored(0, 1), almost);
    assert_eq!(step(&mut queue, now + RETRY), "wait 59000 ms", "it moves");
    assert_eq!(step(&mut queue, almost + RETRY), "give up");
    let mut resolved = Vec::new();
    queue.give_up(&mut resolved);
    assert_eq!(resolved.len(), 2);
    assert_eq!(queue.stats().outcomes.unknown, 2);
    assert_eq!(queue.stats().bytes_in_flight, 0);
    assert!(
        queue.session().is_none(),
        "what follows has a session of its own"
    );
}

#[test]
fn what_was_refused_to_the_end_fails_with_the_reason() {
    let (mut queue, now) = queue();
    for _ in 0..2 {
        push(&mut queue, 990, now);
    }
    assert_eq!(step(&mut queue, now), "write 0");
    assert_eq!(step(&mut queue, now), "write 1");
    reply(&mut queue, refused(0, ErrorCode::DiskFull, None), now);
    let mut resolved = Vec::new();
    queue.give_up(&mut resolved);
    assert_eq!(resolved.len(), 2);
    for (_, result) in resolved {
        let Err(PublishError::Refused(fault)) = result else {
            panic!("{result:?}");
        };
        assert_eq!(fault.code, ErrorCode::DiskFull);
    }
    assert_eq!(queue.stats().outcomes.unknown, 0);

    // Written again, it may be stored for all that is known.
    let (mut queue, now) = self::queue();
    push(&mut queue, 990, now);
    assert_eq!(step(&mut queue, now), "write 0");
    reply(&mut queue, refused(0, ErrorCode::DiskFull, None), now);
    assert_eq!(step(&mut queue, now + RETRY / 2), "write 0");
    queue.give_up(&mut Vec::new());
    assert_eq!(queue.stats().outcomes.unknown, 1);

    // What the broker itself did not know stays unknown, whatever it says later.
    let (mut queue, now) = self::queue();
    push(&mut queue, 990, now);
    assert_eq!(step(&mut queue, now), "write 0");
    reply(&mut queue, refused(0, ErrorCode::OutcomeUnknown, None), now);
    assert_eq!(step(&mut queue, now + RETRY / 4), "write 0");
    let later = now + RETRY / 4;
    reply(&mut queue, refused(0, ErrorCode::DiskFull, None), later);
    queue.give_up(&mut Vec::new());
    assert_eq!(queue.stats().outcomes.unknown, 1);
}

#[test]
fn a_lost_connection_repeats_what_was_sent_and_then_the_rest() {
    let (mut queue, now) = queue();
    for _ in 0..3 {
        push(&mut queue, 990, now);
    }
    assert_eq!(step(&mut queue, now), "write 0");
    assert_eq!(step(&mut queue, now), "write 1");
    queue.disconnected(Some("the cable was pulled".to_owned()));
    let stall = queue.stall(now).unwrap();
    assert_eq!((stall.away, stall.left), (true, Some(RETRY)));
    assert_eq!(stall.reason, "the cable was pulled");
    queue.opened(opened(1), now).unwrap();
    assert_eq!(queue.stall(now), None);
    for sequence in 0..3 {
        assert_eq!(step(&mut queue, now), format!("write {sequence}"));
    }
    assert_eq!(queue.stats().resent, 2);
}

#[test]
fn batches_are_no_larger_than_the_log_takes() {
    let (mut queue, now) = queue();
    queue
        .opened(
            ProducerOpened {
                request_bytes_max: 800,
                ..opened(0)
            },
            now,
        )
        .unwrap();
    push(&mut queue, 300, now);
    push(&mut queue, 300, now);
    assert_eq!(queue.stats().requests, 1, "the second does not fit");
    push(&mut queue, 900, now);
    assert_eq!(queue.stats().requests, 2, "one that is larger goes alone");
}

#[test]
fn a_broker_with_more_than_was_sent_is_not_believed() {
    let (mut queue, now) = queue();
    push(&mut queue, 990, now);
    assert_eq!(step(&mut queue, now), "write 0");
    assert!(queue.opened(opened(2), now).is_err());
    assert!(
        queue.opened(opened(1), now).is_ok(),
        "its reply may be lost"
    );
}

#[test]
fn closing_ends_when_all_is_answered() {
    let (mut queue, now) = queue();
    push(&mut queue, 10, now);
    queue.close();
    let late = queue.push(&Record::new("late"), Timestamp::new(0), now);
    assert!(late.is_err());
    assert_eq!(step(&mut queue, now), "write 0");
    assert_eq!(step(&mut queue, now), "wait 60000 ms");
    reply(&mut queue, stored(0, 1), now);
    assert_eq!(step(&mut queue, now), "finish");
    assert!(queue.is_finished());
}

#[test]
fn a_batch_that_cannot_be_encoded_leaves_no_gap() {
    let (mut queue, now) = queue();
    let record = Record::new(vec![1; 990]);
    let sealed = queue
        .push(&record, Timestamp::new(0), now)
        .unwrap()
        .sealed
        .unwrap();
    queue.fill(sealed.ordinal, Payload::Failed("no".to_owned()));
    push(&mut queue, 990, now);
    let mut resolved = Vec::new();
    let step = queue.next_step(now, &mut resolved);
    assert!(matches!(step, Step::Write { .. }), "{step:?}");
    assert_eq!(resolved.len(), 1);
    assert_eq!(queue.next_sequence, Sequence::new(1));
}
