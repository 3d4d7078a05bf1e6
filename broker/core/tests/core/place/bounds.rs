//! How much a request may become: places, copies, outcomes.

use weir_core::place::{
    Batch, Decisions, Letter, PLACED_BYTES_MAX, PlaceError, Placed, Routing, Sources, Target, place,
};
use weir_wire::batch::{BatchBuilder, Compression, NewRecord, verify};
use weir_wire::id::{BindingId, Offset, PartitionId, Timestamp};
use weir_wire::limits::{
    BATCH_RECORDS_MAX, OUTCOME_PLACES_MAX, RECORDS_HEADER_MAX, REPEATED_MAX, SET_PLACES_MAX,
};
use weir_wire::message::Message;
use weir_wire::placement::OrderingKey;
use weir_wire::produce::{Outcome, RecordOutcome};

use super::{decisions, placed, target};
use crate::support::topic;

#[test]
fn what_becomes_of_records_is_bounded() {
    let addressed = target(1, 1, None);
    let of_one = vec![0; SET_PLACES_MAX + 1];
    let keys = "- ".repeat(SET_PLACES_MAX + 1);
    let of = |of, count| Decisions {
        sources: Some(Sources { of, count }),
        ..decisions(&addressed)
    };
    let too_many = placed(&keys, &of(&of_one, 1));
    assert!(matches!(
        too_many,
        Err(PlaceError::TooManyPlaces { index: 0 })
    ));
    let of_two: Vec<u32> = [vec![0; SET_PLACES_MAX], vec![1]].concat();
    assert_eq!(placed(&keys, &of(&of_two, 2)).unwrap().refused(), 0);
    // A batch that nobody could be sent is not stored either.
    let count = BATCH_RECORDS_MAX + 1;
    let of_each: Vec<u32> = (0..count).collect();
    let too_large = place_smallest(count, &of(&of_each, count));
    assert!(
        matches!(too_large, Err(PlaceError::PartTooLarge)),
        "{too_large:?}"
    );
}

#[test]
fn copies_in_many_places_are_bounded() {
    let value = vec![b'x'; 1 << 20];
    let mut builder = BatchBuilder::default();
    for _ in 0..4 {
        let record = NewRecord {
            value: Some(&value),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(0), &record);
    }
    let batch = builder.finish(Compression::Zstd).unwrap();
    let verified = verify(&batch).unwrap();
    let addressed = target(1, 1, None);
    let targets: Vec<Target> = (2..66).map(|id| target(id, 1, None)).collect();
    let copies = |count: u32| {
        let set = [u64::MAX >> (64 - count); 4];
        let routing = Routing {
            binding: BindingId::new(1),
            targets: &targets,
            sets: &set,
        };
        let decisions = Decisions {
            routes: &[routing],
            ..decisions(&addressed)
        };
        let batch = Batch::of(&verified.header, &verified.records);
        place(&batch, &decisions)
    };
    let fits = (PLACED_BYTES_MAX / (4 << 20)) as u32 - 1;
    assert_eq!(copies(fits).unwrap().parts.len(), fits as usize);
    assert!(matches!(copies(fits + 1), Err(PlaceError::TooLarge)));
    assert!(matches!(copies(64), Err(PlaceError::TooLarge)));
}

/// The shortest record there is: no key, no value, no headers.
const SMALLEST: &[u8] = b"\x0c\x00\x00\x00\x01\x01\x00";

/// Places so many of the shortest records.
fn place_smallest(count: u32, decisions: &Decisions<'_>) -> Result<Placed, PlaceError> {
    let batch = Batch {
        compression: Compression::Zstd,
        base_timestamp: Timestamp::new(0),
        count,
        records: &SMALLEST.repeat(count as usize),
    };
    place(&batch, decisions)
}

/// Places so many of the shortest records where their sets say.
fn route_smallest(
    sets: &[u64],
    targets: &[Target],
    keys: Option<&[OrderingKey]>,
) -> Result<Placed, PlaceError> {
    let addressed = target(1, 1, None);
    let routing = Routing {
        binding: BindingId::new(1),
        targets,
        sets,
    };
    let decisions = Decisions {
        routes: &[routing],
        keys,
        ..decisions(&addressed)
    };
    place_smallest(sets.len() as u32, &decisions)
}

/// A client can read the outcome, and it fits the reply.
fn check_readable(placed: &Placed, count: u32) -> Outcome {
    let last = Offset::new(u64::MAX >> 1);
    let encoded = placed.outcome(&vec![last; placed.parts.len()]).to_vec();
    assert!(encoded.len() < RECORDS_HEADER_MAX, "{}", encoded.len());
    let outcome = Outcome::decode(&encoded).unwrap();
    assert_eq!(outcome.records(count).unwrap().len(), count as usize);
    outcome
}

fn assert_outcome_too_large(placed: &Result<Placed, PlaceError>) {
    let told = placed.as_ref().map(Placed::bytes);
    assert!(matches!(told, Err(PlaceError::OutcomeTooLarge)), "{told:?}");
}

#[test]
fn an_outcome_has_no_more_sets_than_a_client_reads() {
    let targets: Vec<Target> = (2..21).map(|id| target(id, 1, None)).collect();
    // Each record has a set of its own.
    let spread = |count: u32| {
        let sets: Vec<u64> = (1..=u64::from(count)).collect();
        route_smallest(&sets, &targets, None)
    };
    let most = REPEATED_MAX as u32;
    let outcome = check_readable(&spread(most).unwrap(), most);
    assert_eq!(outcome.sets.len(), REPEATED_MAX);
    assert_outcome_too_large(&spread(most + 1));
}

#[test]
fn an_outcome_lists_no_more_places_than_a_client_keeps() {
    const EACH: usize = 40;
    let targets: Vec<Target> = (2..=EACH as u64 + 2)
        .map(|id| target(id, 1, None))
        .collect();
    // Neighbours never share their fate.
    let spread = |count: u32| {
        let sets: Vec<u64> = (0..count)
            .map(|index| ((1 << EACH) - 1) << (index % 2))
            .collect();
        route_smallest(&sets, &targets, None)
    };
    let most = (OUTCOME_PLACES_MAX / EACH) as u32;
    assert_eq!(check_readable(&spread(most).unwrap(), most).sets.len(), 2);
    assert_outcome_too_large(&spread(most + 1));
}

#[test]
fn an_outcome_names_no_more_places_than_a_reply_holds() {
    let mut addressed = target(1, 100_000, None);
    addressed.name = topic(&format!("{}/{}", "n".repeat(249), "t".repeat(249)));
    // Each record has a partition of its own.
    let spread = |count: u32| {
        let keys = (1..=u64::from(count)).map(OrderingKey::from_stored);
        let keys: Vec<OrderingKey> = keys.collect();
        let decisions = Decisions {
            keys: Some(&keys),
            ..decisions(&addressed)
        };
        place_smallest(count, &decisions)
    };
    let many = 30_000;
    let outcome = check_readable(&spread(many).unwrap(), many);
    assert_eq!(outcome.destinations.len(), many as usize);
    // Their names alone are more than a reply may hold.
    assert_outcome_too_large(&spread(35_000));
}

#[test]
fn copies_of_the_smallest_records_are_bounded_too() {
    let targets: Vec<Target> = (2..66).map(|id| target(id, 1, None)).collect();
    let copies = |topics: u32, keys: bool| {
        let count = BATCH_RECORDS_MAX as usize;
        let sets = vec![u64::MAX >> (64 - topics); count];
        let named = vec![OrderingKey::hash(b"k"); count];
        route_smallest(&sets, &targets, keys.then_some(&named)).map(|placed| {
            let refused = placed.refused();
            (placed.parts.len(), refused)
        })
    };
    assert_eq!(copies(5, true).unwrap(), (5, 0));
    assert!(matches!(copies(6, true), Err(PlaceError::TooLarge)));
    assert!(matches!(copies(40, true), Err(PlaceError::TooLarge)));
    assert_eq!(copies(8, false).unwrap(), (8, 0));
    assert!(matches!(copies(10, false), Err(PlaceError::TooLarge)));
}

#[test]
fn dead_letters_count_too() {
    let addressed = target(1, 1, None);
    let letters_to = target(7, 1, None);
    let body = vec![b'x'; PLACED_BYTES_MAX / 4];
    let letter = Letter {
        target: &letters_to,
        timestamp: Timestamp::new(0),
        body,
    };
    let letters = vec![letter; 4];
    let decisions = Decisions {
        letters: &letters,
        ..decisions(&addressed)
    };
    let placed = placed("a", &decisions);
    assert!(matches!(placed, Err(PlaceError::TooLarge)), "{placed:?}");
}

#[test]
fn a_whole_request_needs_no_look_at_its_records() {
    let placed = Placed::whole(&target(1, 4, None), PartitionId::new(3), 7);
    assert_eq!((placed.parts.len(), placed.refused()), (1, 0));
    let outcome = placed.outcome(&[Offset::new(50)]);
    let records = outcome.records(7).unwrap();
    let RecordOutcome::Stored(places) = &records[6] else {
        panic!("it is stored");
    };
    assert_eq!(
        (places[0].0.partition.value(), places[0].1),
        (3, Offset::new(56))
    );
}
