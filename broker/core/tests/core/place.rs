//! Placing records: single cases that read as data. The rules in general are in `place_model`.

use std::fmt::Write;

use expect_test::{Expect, expect};
use weir_core::place::{
    Decisions, PLACED_BYTES_MAX, PlaceError, Placed, Refused, Routing, Target, place,
};
use weir_wire::batch::{BatchBuilder, Compression, NewRecord, verify};
use weir_wire::id::{BindingId, Offset, PartitionId, Timestamp, TopicId};
use weir_wire::placement::OrderingKey;
use weir_wire::produce::RecordOutcome;

use crate::support::topic;

pub(crate) fn target(id: u64, partitions: u32, partition: Option<u32>) -> Target {
    Target {
        topic: TopicId::new(id),
        name: topic(&format!("t{id}")),
        partitions,
        partition: partition.map(PartitionId::new),
    }
}

/// A batch of records with these keys; `-` is no key. Each value is the record's index.
fn batch(keys: &str, compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for (index, key) in keys.split_whitespace().enumerate() {
        let value = index.to_string();
        let record = NewRecord {
            key: (key != "-").then_some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        builder.push(Timestamp::new(1000 + index as i64), &record);
    }
    builder.finish(compression).unwrap()
}

fn placed(keys: &str, decisions: &Decisions<'_>) -> Result<Placed, PlaceError> {
    let batch = batch(keys, Compression::None);
    let verified = verify(&batch).unwrap();
    place(&verified.header, &verified.records, decisions)
}

/// Tells the parts and the outcome, as if part n began at offset 100 n.
fn check(keys: &str, decisions: &Decisions<'_>, expected: &Expect) {
    let placed = placed(keys, decisions).unwrap();
    let mut told = String::new();
    for part in &placed.parts {
        let (at, count) = (part.partition, part.count);
        let what = if part.batch.is_some() {
            "split"
        } else {
            "whole"
        };
        writeln!(told, "{}/{}: {count} {what}", at.topic, at.partition).unwrap();
    }
    let base: Vec<Offset> = (0..placed.parts.len() as u64)
        .map(|n| Offset::new(n * 100))
        .collect();
    let outcome = placed.outcome(&base);
    let records = outcome
        .records(keys.split_whitespace().count() as u32)
        .unwrap();
    for (index, record) in records.iter().enumerate() {
        let text = match record {
            RecordOutcome::Stored(places) => places
                .iter()
                .map(|(to, offset)| format!(" {}/{}@{offset}", to.topic, to.partition))
                .collect(),
            RecordOutcome::Refused(refusal) => {
                format!(
                    " kind {} by {}: {}",
                    refusal.kind, refusal.binding, refusal.reason
                )
            }
        };
        writeln!(told, "{index}{text}").unwrap();
    }
    expected.assert_eq(&told);
}

const fn decisions(addressed: &Target) -> Decisions<'_> {
    Decisions {
        addressed,
        routing: None,
        keys: None,
        refused: &[],
        sticky: 0,
    }
}

#[test]
fn keys_go_where_kafka_puts_them() {
    check(
        "a b c a -",
        &decisions(&target(1, 4, None)),
        &expect![[r#"
            1/0: 4 split
            1/2: 1 split
            0 1/0@0
            1 1/0@1
            2 1/2@100
            3 1/0@2
            4 1/0@3
        "#]],
    );
}

#[test]
fn a_batch_for_one_partition_stays_whole() {
    check(
        "a a a",
        &decisions(&target(1, 4, None)),
        &expect![[r#"
        1/0: 3 whole
        0 1/0@0
        1 1/0@1
        2 1/0@2
    "#]],
    );
    check(
        "a b -",
        &decisions(&target(1, 4, Some(2))),
        &expect![[r#"
            1/2: 3 whole
            0 1/2@0
            1 1/2@1
            2 1/2@2
        "#]],
    );
    check(
        "a b -",
        &decisions(&target(1, 1, None)),
        &expect![[r#"
        1/0: 3 whole
        0 1/0@0
        1 1/0@1
        2 1/0@2
    "#]],
    );
}

#[test]
fn keyless_records_of_a_batch_stick_together() {
    for sticky in [0, 5, u32::MAX] {
        let addressed = target(1, 4, None);
        let decisions = Decisions {
            sticky,
            ..decisions(&addressed)
        };
        let placed = placed("- - -", &decisions).unwrap();
        assert_eq!(placed.parts.len(), 1);
        assert_eq!(placed.parts[0].partition.partition.value(), sticky % 4);
    }
}

#[test]
fn ordering_keys_take_the_place_of_keys() {
    let keys = [b"x", b"y", b"x", b"z"].map(|key| OrderingKey::hash(key));
    let addressed = target(1, 4, None);
    let decisions = Decisions {
        keys: Some(&keys),
        ..decisions(&addressed)
    };
    check(
        "a a b -",
        &decisions,
        &expect![[r#"
        1/1: 3 split
        1/0: 1 split
        0 1/1@0
        1 1/1@1
        2 1/1@2
        3 1/0@100
    "#]],
    );
    // Without an ordering key, the record's own key decides nothing.
    let none = [OrderingKey::NONE; 2];
    let decisions = Decisions {
        keys: Some(&none),
        sticky: 3,
        ..decisions
    };
    check(
        "a b",
        &decisions,
        &expect![[r#"
        1/3: 2 whole
        0 1/3@0
        1 1/3@1
    "#]],
    );
}

#[test]
fn routes_fan_out_and_records_without_one_are_dropped() {
    let addressed = target(1, 4, None);
    let targets = [
        target(2, 2, Some(1)),
        target(3, 1, None),
        target(2, 2, Some(1)),
    ];
    let routing = |sets| Routing {
        binding: BindingId::new(9),
        targets: &targets,
        sets,
    };
    let with = |sets| Decisions {
        routing: Some(routing(sets)),
        ..decisions(&addressed)
    };
    check(
        "a b c d",
        &with(&[0b001, 0b011, 0b000, 0b010]),
        &expect![[r#"
            2/1: 2 split
            3/0: 2 split
            0 2/1@0
            1 2/1@1 3/0@100
            2 kind 1 by 9: no route
            3 3/0@101
        "#]],
    );
    // Two routes to one place store one copy; everything in one place stays whole.
    check(
        "a b",
        &with(&[0b101, 0b100]),
        &expect![[r#"
        2/1: 2 whole
        0 2/1@0
        1 2/1@1
    "#]],
    );
    check(
        "a b",
        &with(&[0, 0]),
        &expect![[r#"
        0 kind 1 by 9: no route
        1 kind 1 by 9: no route
    "#]],
    );
}

#[test]
fn refused_records_are_named_and_left_out() {
    let addressed = target(1, 1, None);
    let refused = |index, reason: &str| Refused {
        index,
        binding: BindingId::new(3),
        reason: reason.to_owned(),
    };
    let refused = [
        refused(1, "trapped"),
        refused(2, "trapped"),
        refused(4, "too slow"),
    ];
    let decisions = Decisions {
        refused: &refused,
        ..decisions(&addressed)
    };
    check(
        "a b c d e",
        &decisions,
        &expect![[r#"
        1/0: 2 split
        0 1/0@0
        1 kind 1 by 3: trapped
        2 kind 1 by 3: trapped
        3 1/0@1
        4 kind 1 by 3: too slow
    "#]],
    );
    let placed = placed("a b c d e", &decisions).unwrap();
    assert_eq!((placed.refused(), placed.refusals().len()), (3, 2));
}

#[test]
fn hooks_answer_for_every_record() {
    let addressed = target(1, 4, None);
    let keys = [OrderingKey::NONE; 3];
    let answers = |result: Result<Placed, PlaceError>| match result {
        Err(PlaceError::Answers { answers, records }) => (answers, records),
        other => panic!("{other:?}"),
    };
    let with_keys = Decisions {
        keys: Some(&keys),
        ..decisions(&addressed)
    };
    assert_eq!(answers(placed("a b", &with_keys)), (3, 2));
    let targets = [target(2, 1, None)];
    let with_routes = Decisions {
        routing: Some(Routing {
            binding: BindingId::new(1),
            targets: &targets,
            sets: &[1],
        }),
        ..decisions(&addressed)
    };
    assert_eq!(answers(placed("a b", &with_routes)), (1, 2));
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
        let decisions = Decisions {
            routing: Some(Routing {
                binding: BindingId::new(1),
                targets: &targets,
                sets: &set,
            }),
            ..decisions(&addressed)
        };
        place(&verified.header, &verified.records, &decisions)
    };
    let fits = (PLACED_BYTES_MAX / (4 << 20)) as u32 - 1;
    assert_eq!(copies(fits).unwrap().parts.len(), fits as usize);
    assert!(matches!(copies(fits + 1), Err(PlaceError::TooLarge)));
    assert!(matches!(copies(64), Err(PlaceError::TooLarge)));
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
