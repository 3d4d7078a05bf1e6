//! Fences, cursors and trims: what the shard says of them.

use std::fmt::Write;

use expect_test::{Expect, expect};
use weir_core::place::Part;
use weir_core::shard::{ChangeError, ProduceRequest, SequenceError, Shard, Trim};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::TOPIC_GROUPS_MAX;

use crate::support::{change, request};

const FLIGHTS: TopicId = TopicId::new(1);

const fn at(partition: u32) -> TopicPartition {
    TopicPartition {
        topic: FLIGHTS,
        partition: PartitionId::new(partition),
    }
}

fn apply(shard: &mut Shard, line: &str) {
    change(shard, Timestamp::new(7), &request(line)).unwrap();
}

/// Appends so many records.
fn append(shard: &mut Shard, partition: u32, count: u32) -> Result<(), SequenceError> {
    let topic = shard.catalog().topic(FLIGHTS).unwrap();
    let parts = [Part {
        partition: at(partition),
        count,
        batch: None,
        ordering_keys: None,
    }];
    let request = ProduceRequest {
        hooks_of: Some((FLIGHTS, topic.binding_epoch)),
        turn: None,
        parts: &parts,
    };
    let plan = shard.plan(Timestamp::new(8), &request)?;
    shard.commit(&request, &plan, 0);
    Ok(())
}

/// A topic with ten records in each of two partitions.
fn filled() -> Shard {
    let mut shard = Shard::default();
    apply(&mut shard, "create flights 2");
    append(&mut shard, 0, 10).unwrap();
    append(&mut shard, 1, 10).unwrap();
    shard
}

/// Who stands where after trims, given as partition, first offset held, new first offset.
fn check_trims(shard: &mut Shard, trims: &[(u32, u64, u64)], expected: &Expect) {
    let mut told = String::new();
    for (partition, held, start) in trims.iter().copied() {
        let trim = Trim {
            partition: at(partition),
            held: Offset::new(held),
            start: Offset::new(start),
        };
        write!(told, "{partition} from {held} to {start}: ").unwrap();
        match shard.plan_trim(Timestamp::new(9), trim) {
            Ok(None) => writeln!(told, "nobody loses").unwrap(),
            Ok(Some(change)) => {
                for lost in &change.expired.as_ref().unwrap().groups {
                    write!(told, "{} loses {} ", lost.group, lost.unread).unwrap();
                }
                told.push('\n');
                shard.commit_change(&change);
            }
            Err(error) => writeln!(told, "{error}").unwrap(),
        }
    }
    for (name, group) in shard.cursors().groups(FLIGHTS) {
        let offsets: Vec<u64> = group
            .offsets
            .values()
            .map(|offset| offset.value())
            .collect();
        writeln!(told, "{name} at {offsets:?}, lost {}", group.expired_unread).unwrap();
    }
    expected.assert_eq(&told);
}

#[test]
fn a_fence_says_where_the_old_partitions_ended() {
    let mut shard = filled();
    append(&mut shard, 1, 5).unwrap();
    assert!(matches!(
        append(&mut shard, 2, 1),
        Err(SequenceError::UnknownPartition { partitions: 2, .. })
    ));
    apply(&mut shard, "update flights partitions=4");
    append(&mut shard, 3, 1).unwrap();
    append(&mut shard, 0, 1).unwrap();
    apply(&mut shard, "update flights partitions=5");
    let topic = shard.catalog().topic(FLIGHTS).unwrap();
    let fences = topic.fences.iter().map(|fence| {
        let ends: Vec<u64> = fence.ends.iter().map(|end| end.value()).collect();
        (fence.partitions, ends)
    });
    let fences: Vec<_> = fences.collect();
    assert_eq!(topic.partitions, 5);
    assert_eq!(fences, [(2, vec![10, 15]), (4, vec![11, 15, 0, 1])]);
}

#[test]
fn a_request_placed_before_the_fence_is_placed_again() {
    let mut shard = filled();
    let before = shard.catalog().topic(FLIGHTS).unwrap().binding_epoch;
    apply(&mut shard, "update flights partitions=3");
    let stale = ProduceRequest {
        hooks_of: Some((FLIGHTS, before)),
        turn: None,
        parts: &[],
    };
    assert_eq!(
        shard.plan(Timestamp::new(8), &stale),
        Err(SequenceError::Stale)
    );
}

#[test]
fn fences_are_bounded() {
    let mut shard = Shard::default();
    apply(&mut shard, "create flights 99997");
    apply(&mut shard, "update flights partitions=99998");
    apply(&mut shard, "update flights partitions=99999");
    let more = request("update flights partitions=100000");
    let error = change(&mut shard, Timestamp::new(7), &more).unwrap_err();
    assert!(matches!(error, ChangeError::Limit(_)), "{error}");
}

#[test]
fn what_goes_unread_is_counted_once_for_each_group_that_had_not_read_it() {
    let mut shard = filled();
    for line in [
        "cursor slow flights 0 2",
        "cursor quick flights 0 9",
        "cursor other flights 1 0",
    ] {
        apply(&mut shard, line);
    }
    let lowest = shard.cursors().lowest(at(0)).unwrap();
    assert_eq!((lowest.0.as_str(), lowest.1), ("slow", Offset::new(2)));
    let trims = [
        (0, 0, 2),
        (0, 2, 6),
        (0, 6, 6),
        (0, 6, 10),
        (0, 10, 11),
        (2, 0, 0),
    ];
    check_trims(
        &mut shard,
        &trims,
        &expect![[r#"
            0 from 0 to 2: nobody loses
            0 from 2 to 6: slow loses 4 
            0 from 6 to 6: nobody loses
            0 from 6 to 10: quick loses 1 slow loses 4 
            0 from 10 to 11: offset 11 of topic "flights" partition 0 does not exist yet; it ends at 10: name an offset up to there
            2 from 0 to 0: topic "flights" has no partition 2; it has 2, numbered from 0
            other at [0], lost 0
            quick at [10], lost 1
            slow at [10], lost 8
        "#]],
    );
}

#[test]
fn a_group_that_stands_below_what_is_held_has_lost_that_already() {
    let mut shard = filled();
    apply(&mut shard, "cursor late flights 0 0");
    check_trims(
        &mut shard,
        &[(0, 5, 7)],
        &expect![[r#"
            0 from 5 to 7: late loses 2 
            late at [7], lost 2
        "#]],
    );
}

#[test]
fn cursors_stand_in_what_exists_and_follow_the_topic() {
    let mut shard = filled();
    for wrong in [
        "cursor g flights 2 0",
        "cursor g flights 0 11",
        "cursor g nowhere 0 0",
    ] {
        let refused = change(&mut shard, Timestamp::new(7), &request(wrong));
        assert!(refused.is_err(), "{wrong}");
    }
    apply(&mut shard, "cursor g flights 0 10");
    apply(&mut shard, "update flights partitions=3");
    let (_, group) = shard.cursors().groups(FLIGHTS).next().unwrap();
    let new = group.offsets.get(&PartitionId::new(2));
    assert_eq!(
        new,
        Some(&Offset::ZERO),
        "nothing of a new partition was read"
    );
    apply(&mut shard, "delete flights");
    assert_eq!(shard.cursors().groups(FLIGHTS).count(), 0);
}

#[test]
fn a_topic_has_only_so_many_groups() {
    let mut shard = filled();
    for number in 0..TOPIC_GROUPS_MAX {
        apply(&mut shard, &format!("cursor g{number} flights 0 0"));
    }
    apply(&mut shard, "cursor g7 flights 1 3");
    let more = request("cursor more flights 0 0");
    let error = change(&mut shard, Timestamp::new(7), &more).unwrap_err();
    assert!(matches!(error, ChangeError::Limit(_)), "{error}");
}
