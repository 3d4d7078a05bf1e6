//! Outcomes: what the runs say of each record, and runs that contradict themselves.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{prop_assert, prop_assert_eq, proptest};
use weir_wire::id::{BindingId, Offset, PartitionId, TopicId};
use weir_wire::limits::SET_PLACES_MAX;
use weir_wire::produce::{
    Destination, Fate, InvalidOutcome, Outcome, REFUSAL_DROPPED, RecordOutcome, Refusal,
    encode_runs,
};

fn destination(partition: u32, base_offset: u64) -> Destination {
    Destination {
        topic: TopicId::new(1),
        name: "flights".parse().unwrap(),
        partition: PartitionId::new(partition),
        base_offset: Offset::new(base_offset),
    }
}

fn refusal() -> Refusal {
    Refusal {
        kind: REFUSAL_DROPPED,
        binding: BindingId::new(4),
        reason: "no origin".to_owned(),
    }
}

fn outcome(sets: &[&[u8]], runs: Bytes) -> Outcome {
    Outcome {
        destinations: vec![destination(0, 100), destination(1, 500)],
        sets: sets.iter().map(|set| Bytes::copy_from_slice(set)).collect(),
        refusals: vec![refusal()],
        runs,
    }
}

/// `partition@offset` of each place, `-` for a refused record.
fn show(outcome: &Outcome, count: u32) -> Result<String, InvalidOutcome> {
    let shown = outcome
        .records(count)?
        .into_iter()
        .map(|record| match record {
            RecordOutcome::Refused(_) => "-".to_owned(),
            RecordOutcome::Stored(places) => places
                .iter()
                .map(|(place, offset)| format!("{}@{offset}", place.partition))
                .collect::<Vec<_>>()
                .join("+"),
        });
    Ok(shown.collect::<Vec<_>>().join(" "))
}

#[test]
fn runs_unfold_to_records() {
    let runs = [
        (2, Fate::Set(0)),
        (1, Fate::Refusal(0)),
        (1, Fate::Set(2)),
        (1, Fate::Set(1)),
    ];
    let outcome = outcome(&[&[0], &[1], &[0, 1]], encode_runs(runs));
    assert_eq!(
        show(&outcome, 5).unwrap(),
        "0@100 0@101 - 0@102+1@500 1@501"
    );
    let one = Outcome::stored(destination(3, 7), 3);
    assert_eq!(show(&one, 3).unwrap(), "3@7 3@8 3@9");
}

#[test]
fn neighbours_of_one_fate_are_one_run() {
    let runs = [(1, Fate::Set(0)), (0, Fate::Refusal(0)), (4, Fate::Set(0))];
    assert_eq!(&encode_runs(runs)[..], &[5, 0]);
}

/// What is wrong, the sets, the runs, the records of the request.
type Case = (&'static str, &'static [&'static [u8]], &'static [u8], u32);

#[test]
fn contradictions_are_refused() {
    let cases: [Case; 9] = [
        ("too few records", &[&[0]], &[1, 0], 2),
        ("too many records", &[&[0]], &[3, 0], 2),
        ("an empty run", &[&[0]], &[0, 0, 2, 0], 2),
        ("half a run", &[&[0]], &[2], 2),
        ("no such set", &[&[0]], &[2, 2], 2),
        ("no such refusal", &[&[0]], &[2, 3], 2),
        ("no such destination", &[&[2]], &[2, 0], 2),
        ("a set of too many", &[&[0; SET_PLACES_MAX + 1]], &[2, 0], 2),
        (
            "more records than a batch may hold",
            &[&[0]],
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 0],
            u32::MAX,
        ),
    ];
    for (what, sets, runs, count) in cases {
        let outcome = outcome(sets, Bytes::copy_from_slice(runs));
        assert_eq!(show(&outcome, count), Err(InvalidOutcome), "{what}");
    }
}

#[test]
fn offsets_at_the_end_of_their_range_do_not_overflow() {
    let outcome = Outcome::stored(destination(0, u64::MAX), 2);
    assert_eq!(outcome.records(2).unwrap().len(), 2);
}

proptest! {
    #[test]
    fn encoded_runs_say_the_same(fates in vec((1..5_u32, any::<bool>()), 0..60)) {
        let fates: Vec<(u32, Fate)> = fates
            .into_iter()
            .map(|(count, stored)| (count, if stored { Fate::Set(0) } else { Fate::Refusal(0) }))
            .collect();
        let outcome = outcome(&[&[1]], encode_runs(fates.iter().copied()));
        let count: u32 = fates.iter().map(|(count, _)| count).sum();
        let records = outcome.records(count).unwrap();
        let unfolded = fates.iter().flat_map(|(count, fate)| (0..*count).map(move |_| *fate));
        for (record, fate) in records.iter().zip(unfolded) {
            prop_assert!(matches!(
                (record, fate),
                (RecordOutcome::Stored(_), Fate::Set(_))
                    | (RecordOutcome::Refused(_), Fate::Refusal(_))
            ));
        }
        prop_assert_eq!(records.len(), count as usize);
    }
}
