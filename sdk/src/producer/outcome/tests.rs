//! Outcomes, looked up as the wire crate unfolds them.

use bytes::Bytes;
use weir_wire::id::{BindingId, Offset, PartitionId, TopicId};
use weir_wire::produce::{
    Destination, Fate, Outcome, RecordOutcome as WireOutcome, Refusal, encode_runs,
};

use super::{Outcomes, RecordOutcome};

fn outcome(runs: &[(u32, Fate)]) -> Outcome {
    let destination = |partition, base| Destination {
        topic: TopicId::new(1),
        name: "orders".parse().unwrap(),
        partition: PartitionId::new(partition),
        base_offset: Offset::new(base),
    };
    let refusal = |kind| Refusal {
        kind,
        binding: BindingId::new(2),
        reason: format!("kind {kind}"),
    };
    Outcome {
        destinations: vec![destination(0, 10), destination(1, 500)],
        sets: vec![
            Bytes::from_static(&[0]),
            Bytes::from_static(&[1]),
            Bytes::from_static(&[1, 0]),
            Bytes::new(),
            Bytes::from_static(&[0, 1, 0, 0]),
        ],
        refusals: vec![refusal(1), refusal(2), refusal(3)],
        runs: encode_runs(runs.iter().copied()),
    }
}

/// Partition and offset of each place of a record; none for a refused one.
type Places = Vec<(u32, u64)>;

/// The records of the outcome, as [`Outcomes`] looks them up and as the wire crate unfolds them.
fn both(outcome: &Outcome, count: u32) -> (Vec<Places>, Vec<Places>) {
    let place = |partition: PartitionId, offset: Offset| (partition.value(), offset.value());
    let ours = Outcomes::new(outcome.clone(), count).unwrap();
    let ours = ours.records().map(|record| match record {
        RecordOutcome::Stored(stored) => stored
            .places()
            .map(|at| place(at.partition, at.offset))
            .collect(),
        _ => Vec::new(),
    });
    let theirs = outcome.records(count).unwrap();
    let theirs = theirs.into_iter().map(|record| match record {
        WireOutcome::Stored(places) => places
            .into_iter()
            .map(|(at, offset)| place(at.partition, offset))
            .collect(),
        WireOutcome::Refused(_) => Vec::new(),
    });
    (ours.collect(), theirs.collect())
}

#[test]
fn a_record_that_became_several_has_a_place_for_each() {
    let runs = [
        (1, Fate::Set(0)),
        (2, Fate::Set(4)),
        (2, Fate::Set(0)),
        (1, Fate::Set(4)),
    ];
    let (ours, theirs) = both(&outcome(&runs), 6);
    assert_eq!(ours, theirs);
    assert_eq!(ours[2], [(0, 14), (1, 501), (0, 15), (0, 16)]);
    assert_eq!(ours[3], [(0, 17)]);
}

#[test]
fn lookups_agree_with_the_unfolded_outcome() {
    let runs = [
        (3, Fate::Set(0)),
        (1, Fate::Refusal(0)),
        (2, Fate::Set(2)),
        (4, Fate::Set(1)),
        (1, Fate::Refusal(2)),
        (2, Fate::Set(0)),
    ];
    let outcome = outcome(&runs);
    let (ours, theirs) = both(&outcome, 13);
    assert_eq!(ours, theirs);
    assert_eq!(ours[4], [(1, 500), (0, 13)]);
    assert_eq!(ours[12], [(0, 16)]);
    let outcomes = Outcomes::new(outcome, 13).unwrap();
    assert_eq!(outcomes.record(13), None);
    let tally = outcomes.tally();
    assert_eq!((tally.stored, tally.dropped, tally.rejected), (11, 1, 0));
    assert_eq!(tally.dead_lettered, 1);
}

#[test]
fn each_refusal_keeps_its_kind() {
    let runs = [
        (1, Fate::Refusal(0)),
        (1, Fate::Refusal(1)),
        (1, Fate::Refusal(2)),
    ];
    let outcomes = Outcomes::new(outcome(&runs), 3).unwrap();
    assert!(matches!(
        outcomes.record(0),
        Some(RecordOutcome::Dropped(_))
    ));
    assert!(matches!(
        outcomes.record(2),
        Some(RecordOutcome::DeadLettered(_))
    ));
    match outcomes.record(1) {
        Some(RecordOutcome::Rejected(why)) => assert_eq!(&*why.reason, "kind 2"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_record_routed_nowhere_is_dropped() {
    let outcomes = Outcomes::new(outcome(&[(2, Fate::Set(3))]), 2).unwrap();
    assert!(matches!(
        outcomes.record(1),
        Some(RecordOutcome::Dropped(_))
    ));
    assert_eq!(outcomes.tally().dropped, 2);
}

#[test]
fn counts_and_offsets_that_cannot_be_are_refused() {
    let set = |count| outcome(&[(count, Fate::Set(0))]);
    assert!(Outcomes::new(set(2), 3).is_err(), "too few");
    assert!(Outcomes::new(set(4), 3).is_err(), "too many");
    let mut beyond = set(3);
    beyond.destinations[0].base_offset = Offset::new(u64::MAX - 1);
    assert!(
        Outcomes::new(beyond, 3).is_err(),
        "an offset beyond all numbers"
    );
    let mut strange = set(3);
    strange.sets[0] = Bytes::from_static(&[9]);
    assert!(Outcomes::new(strange, 3).is_err(), "no such destination");
    let mut huge = outcome(&[(u32::MAX, Fate::Set(0)), (u32::MAX, Fate::Set(1))]);
    huge.sets[1] = Bytes::from_static(&[1]);
    assert!(Outcomes::new(huge, 3).is_err(), "counts that overflow");
}
