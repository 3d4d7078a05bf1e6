//! The shard: turns, offsets, and every reason not to sequence a request.

use std::fmt::Write;

use expect_test::expect;
use weir_core::place::Part;
use weir_core::shard::{Limits, Plan, ProduceRequest, SequenceError, Session, Shard, Turn};
use weir_wire::id::{
    BindingEpoch, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId,
    TopicPartition,
};
use weir_wire::limits::PRODUCERS_MAX;

use crate::support::{change, request};

fn shard(script: &[&str]) -> Shard {
    let mut shard = Shard::default();
    for line in script {
        change(&mut shard, Timestamp::new(0), &request(line)).unwrap();
    }
    shard
}

fn part(topic: u64, partition: u32, count: u32) -> Part {
    Part {
        partition: TopicPartition {
            topic: TopicId::new(topic),
            partition: PartitionId::new(partition),
        },
        count,
        batch: None,
        ordering_keys: None,
    }
}

fn turn(producer: u64, sequence: u64) -> Option<Turn> {
    Some(Turn {
        session: session(producer),
        sequence: Sequence::new(sequence),
    })
}

const fn session(producer: u64) -> Session {
    Session {
        producer: ProducerId::new(producer),
        epoch: ProducerEpoch::new(0),
    }
}

/// A request to topic 1 whose hooks ran under that binding epoch.
const fn produce(epoch: u64, turn: Option<Turn>, parts: &[Part]) -> ProduceRequest<'_> {
    ProduceRequest {
        hooks_of: Some((TopicId::new(1), BindingEpoch::new(epoch))),
        turn,
        parts,
    }
}

fn take(shard: &mut Shard, now: i64, request: &ProduceRequest<'_>) -> Result<Plan, SequenceError> {
    let plan = shard.plan(Timestamp::new(now), request)?;
    shard.commit(request, &plan, 0);
    Ok(plan)
}

fn next(shard: &Shard, producer: u64) -> u64 {
    shard.session(session(producer)).unwrap().1.value()
}

#[test]
fn offsets_leave_no_gap_and_times_do_not_go_back() {
    let mut shard = shard(&["create a 2", "create b 1"]);
    let mut told = String::new();
    for (now, parts) in [
        (10, vec![part(1, 0, 3)]),
        (12, vec![part(1, 0, 1), part(2, 0, 5), part(1, 1, 2)]),
        // The clock was set back.
        (4, vec![part(1, 0, 1), part(2, 0, 1)]),
        (11, vec![part(1, 1, 1)]),
        (13, vec![part(1, 0, 1)]),
    ] {
        let plan = take(&mut shard, now, &produce(0, None, &parts)).unwrap();
        let places = plan.base_offsets.iter().zip(&plan.append_times);
        let lines = parts.iter().zip(places).map(|(part, (offset, time))| {
            let TopicPartition { topic, partition } = part.partition;
            let count = part.count;
            format!("{topic}/{partition} +{count} at {offset}, time {time}")
        });
        writeln!(told, "{}", lines.collect::<Vec<_>>().join("; ")).unwrap();
    }
    expect![[r#"
        1/0 +3 at 0, time 10
        1/0 +1 at 3, time 12; 2/0 +5 at 0, time 12; 1/1 +2 at 0, time 12
        1/0 +1 at 4, time 12; 2/0 +1 at 5, time 12
        1/1 +1 at 2, time 12
        1/0 +1 at 5, time 13
    "#]]
    .assert_eq(&told);
}

#[test]
fn each_reason_not_to_sequence() {
    let mut shard = shard(&[
        "create a 2",
        "create b 1",
        "push tools aa key",
        "open a",
        "bind a key tools aa fail",
    ]);
    let here = [part(1, 0, 1)];
    take(&mut shard, 1, &produce(1, turn(1, 0), &here)).unwrap();
    let fenced = Some(Turn {
        session: Session {
            epoch: ProducerEpoch::new(1),
            ..session(1)
        },
        sequence: Sequence::new(1),
    });
    let before = format!("{shard:?}");
    let mut told = String::new();
    for (what, request) in [
        ("repeated", produce(1, turn(1, 0), &here)),
        ("too early", produce(1, turn(1, 2), &here)),
        ("another epoch", produce(1, fenced, &here)),
        ("nobody", produce(1, turn(9, 0), &here)),
        ("before the bind", produce(0, turn(1, 1), &here)),
        ("one-way, before the bind", produce(0, None, &here)),
        (
            "no such partition",
            produce(1, turn(1, 1), &[part(1, 0, 1), part(1, 2, 1)]),
        ),
        (
            "routed to a topic that is gone",
            produce(1, turn(1, 1), &[part(7, 0, 1)]),
        ),
        // An old binding says where to; so it is no proof that the topic is gone for good.
        (
            "both stale and gone",
            produce(0, turn(1, 1), &[part(7, 0, 1)]),
        ),
        // Whose turn it is comes first: the one before it may still run its hooks again.
        ("both stale and too early", produce(0, turn(1, 2), &here)),
    ] {
        let error = shard.plan(Timestamp::new(2), &request).unwrap_err();
        writeln!(told, "{what}: {error}").unwrap();
    }
    expect![[r#"
        repeated: request 1 of this producer is awaited first
        too early: request 1 of this producer is awaited first
        another epoch: a newer session of this producer took over
        nobody: the broker does not know this producer any more; open it again
        before the bind: the topic's bindings changed while the request was under way
        one-way, before the bind: the topic's bindings changed while the request was under way
        no such partition: topic id 1 has no partition 2; it has 2
        routed to a topic that is gone: a topic that the records go to was deleted meanwhile (id 7)
        both stale and gone: the topic's bindings changed while the request was under way
        both stale and too early: request 1 of this producer is awaited first
    "#]]
    .assert_eq(&told);
    assert_eq!(
        format!("{shard:?}"),
        before,
        "what is refused leaves no trace"
    );
    assert_eq!(next(&shard, 1), 1);
}

#[test]
fn a_refused_request_takes_its_turn_and_no_offset() {
    let mut shard = shard(&["create a 1", "open a"]);
    let refused = ProduceRequest {
        hooks_of: None,
        ..produce(0, turn(1, 0), &[])
    };
    take(&mut shard, 1, &refused).unwrap();
    assert_eq!(next(&shard, 1), 1);
    let plan = take(&mut shard, 1, &produce(0, turn(1, 1), &[part(1, 0, 4)])).unwrap();
    assert_eq!(plan.base_offsets[0].value(), 0);
    let one_way = take(&mut shard, 1, &produce(0, None, &[part(1, 0, 1)])).unwrap();
    assert_eq!(one_way.base_offsets[0].value(), 4);
    assert_eq!(next(&shard, 1), 2, "one-way requests have no turn");
}

#[test]
fn a_deleted_topic_takes_its_partitions_and_producers_along() {
    let mut shard = shard(&["create a 1", "create b 1", "open a", "open b", "open a"]);
    take(&mut shard, 1, &produce(0, turn(1, 0), &[part(1, 0, 4)])).unwrap();
    let (_, mut forgotten) = change(&mut shard, Timestamp::new(2), &request("delete a")).unwrap();
    forgotten.sort_by_key(|producer| producer.value());
    assert_eq!(forgotten, [ProducerId::new(1), ProducerId::new(3)]);
    assert_eq!(shard.producer_count(), 1);
    let state = format!("{shard:?}");
    assert!(
        !state.contains("TopicId(1)"),
        "nothing of it is kept: {state}"
    );
    let gone = [part(1, 0, 1)];
    let error = take(&mut shard, 3, &produce(0, turn(1, 1), &gone)).unwrap_err();
    assert_eq!(error, SequenceError::UnknownProducer);
    let error = take(&mut shard, 3, &produce(0, None, &gone)).unwrap_err();
    assert_eq!(error, SequenceError::UnknownTopic(TopicId::new(1)));
    // Under the same name begins another topic, from offset 0.
    change(&mut shard, Timestamp::new(3), &request("create a 1")).unwrap();
    change(&mut shard, Timestamp::new(3), &request("open a")).unwrap();
    assert_eq!(shard.session(session(4)).unwrap().0, TopicId::new(3));
    let begins = [part(3, 0, 1)];
    let again = ProduceRequest {
        hooks_of: Some((TopicId::new(3), BindingEpoch::new(0))),
        ..produce(0, turn(4, 0), &begins)
    };
    let plan = take(&mut shard, 3, &again).unwrap();
    assert_eq!(plan.base_offsets[0].value(), 0);
    assert_eq!(plan.append_times[0], Timestamp::new(3));
}

#[test]
fn the_producer_idle_longest_is_forgotten_first() {
    let mut shard = shard(&["create a 1"]);
    let open = request("open a");
    for _ in 0..PRODUCERS_MAX {
        let (_, forgotten) = change(&mut shard, Timestamp::new(0), &open).unwrap();
        assert!(forgotten.is_empty());
    }
    // Producers 1 and 3 are at work, 2 and 4 are not.
    for producer in [1, 3] {
        take(
            &mut shard,
            1,
            &produce(0, turn(producer, 0), &[part(1, 0, 1)]),
        )
        .unwrap();
    }
    let mut forgotten = Vec::new();
    for _ in 0..3 {
        forgotten.extend(change(&mut shard, Timestamp::new(2), &open).unwrap().1);
    }
    assert_eq!(forgotten, [2, 4, 5].map(ProducerId::new));
    assert_eq!(shard.producer_count(), PRODUCERS_MAX);
    assert_eq!((next(&shard, 1), next(&shard, 3)), (1, 1));
    assert!(shard.session(session(2)).is_none());
    let late = [part(1, 0, 1)];
    let error = take(&mut shard, 3, &produce(0, turn(2, 0), &late)).unwrap_err();
    assert_eq!(error, SequenceError::UnknownProducer);
}

#[test]
fn outcomes_are_remembered_within_their_bytes() {
    const LIMIT: u64 = 64 << 10;
    let mut shard = Shard::with_limits(Limits { dedup_bytes: LIMIT });
    change(&mut shard, Timestamp::new(0), &request("create a 1")).unwrap();
    for _ in 0..4 {
        change(&mut shard, Timestamp::new(0), &request("open a")).unwrap();
    }
    let mut forgotten = Vec::new();
    for number in 0..40 {
        let parts = [part(1, 0, 1)];
        let request = produce(0, turn(4, number), &parts);
        let plan = shard.plan(Timestamp::new(1), &request).unwrap();
        forgotten.extend(shard.commit(&request, &plan, 4 << 10));
        // A session in use is never forgotten, however large its own outcomes are.
        assert_eq!(next(&shard, 4), number + 1);
    }
    assert_eq!(forgotten, [1, 2, 3].map(ProducerId::new));
    assert!(
        shard.dedup_bytes() > LIMIT,
        "one session may take more than all should"
    );
    // What is too old to be asked for again takes nothing.
    for number in 40..400 {
        let parts = [part(1, 0, 1)];
        let request = produce(0, turn(4, number), &parts);
        let plan = shard.plan(Timestamp::new(1), &request).unwrap();
        shard.commit(&request, &plan, 10);
    }
    assert!(shard.dedup_bytes() < LIMIT);
}
