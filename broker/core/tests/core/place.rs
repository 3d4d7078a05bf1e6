//! Placing records: single cases that read as data. The rules in general are in `place_model`.

use std::fmt::Write;

use expect_test::{Expect, expect};
use weir_core::place::{
    Batch, Decisions, Letter, PlaceError, Placed, Refused, Routing, Sources, Target, place,
};
use weir_wire::batch::{BatchBuilder, Compression, NewRecord, Records, verify};
use weir_wire::id::{BindingId, Offset, PartitionId, Timestamp, TopicId};
use weir_wire::placement::OrderingKey;
use weir_wire::produce::{REFUSAL_DEAD_LETTERED, REFUSAL_DROPPED, REFUSAL_REJECTED, RecordOutcome};

use crate::support::topic;

mod bounds;

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
    let batch = Batch::of(&verified.header, &verified.records);
    place(&batch, decisions)
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
    let sent = keys.split_whitespace().count() as u32;
    let sent = decisions.sources.map_or(sent, |sources| sources.count);
    let records = outcome.records(sent).unwrap();
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
    Decisions::by_key(addressed, 0)
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
    let first = [routing(&[0b001, 0b011, 0b000, 0b010])];
    let one_place = [routing(&[0b101, 0b100])];
    let nowhere = [routing(&[0, 0])];
    let with = |routes| Decisions {
        routes,
        ..decisions(&addressed)
    };
    check(
        "a b c d",
        &with(&first),
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
        &with(&one_place),
        &expect![[r#"
        2/1: 2 whole
        0 2/1@0
        1 2/1@1
    "#]],
    );
    check(
        "a b",
        &with(&nowhere),
        &expect![[r#"
        0 kind 1 by 9: no route
        1 kind 1 by 9: no route
    "#]],
    );
}

#[test]
fn several_route_bindings_send_a_record_wherever_one_of_them_does() {
    let addressed = target(1, 4, None);
    let (by_origin, late) = (
        [target(2, 1, None), target(3, 1, None)],
        [target(4, 1, None)],
    );
    let routing = |id, targets, sets| Routing {
        binding: BindingId::new(id),
        targets,
        sets,
    };
    let routes = [
        routing(8, &by_origin[..], &[1, 2, 1, 0][..]),
        routing(9, &late[..], &[0, 1, 1, 0][..]),
        routing(10, &by_origin[..], &[1, 0, 2, 0][..]),
    ];
    check(
        "a b c d",
        &Decisions {
            routes: &routes,
            ..decisions(&addressed)
        },
        &expect![[r#"
            2/0: 2 split
            3/0: 2 split
            4/0: 2 split
            0 2/0@0
            1 3/0@100 4/0@200
            2 2/0@1 4/0@201 3/0@101
            3 kind 1 by 8: no route
        "#]],
    );
}

/// What a transform made of four records: two of the first, none of the second, one of the third
/// and three of the last.
const MADE_OF: [u32; 6] = [0, 0, 2, 3, 3, 3];

fn said(source: u32, kind: u32, reason: &'static str) -> Refused {
    Refused {
        source,
        kind,
        binding: BindingId::new(3),
        reason: reason.into(),
    }
}

#[test]
fn the_outcome_is_about_the_records_that_were_sent() {
    let addressed = target(1, 1, None);
    let sources = Sources {
        of: &MADE_OF,
        count: 4,
    };
    let rejected = [said(1, REFUSAL_REJECTED, "no origin")];
    let decisions = Decisions {
        sources: Some(sources),
        refused: &rejected,
        ..decisions(&addressed)
    };
    check(
        "a b c d e f",
        &decisions,
        &expect![[r#"
        1/0: 6 split
        0 1/0@0 1/0@1
        1 kind 2 by 3: no origin
        2 1/0@2
        3 1/0@3 1/0@4 1/0@5
    "#]],
    );
    // Parts go by their own keys, and count where they are.
    let addressed = target(1, 4, None);
    let decisions = Decisions {
        addressed: &addressed,
        ..decisions
    };
    check(
        "a b c d b a",
        &decisions,
        &expect![[r#"
        1/0: 4 split
        1/2: 1 split
        1/1: 1 split
        0 1/0@0 1/0@1
        1 kind 2 by 3: no origin
        2 1/2@100
        3 1/1@200 1/0@2 1/0@3
    "#]],
    );
    let lost = Decisions {
        refused: &[],
        ..decisions
    };
    let lost = placed("a b c d e f", &lost);
    assert!(
        matches!(lost, Err(PlaceError::Lost { index: 1 })),
        "{lost:?}"
    );
}

#[test]
fn a_part_that_is_refused_does_not_hide_the_others() {
    let addressed = target(1, 1, None);
    let refused = [
        said(0, REFUSAL_DROPPED, "failed"),
        said(1, REFUSAL_DROPPED, "dropped by plugin"),
        said(1, REFUSAL_REJECTED, "no origin"),
        said(2, REFUSAL_DEAD_LETTERED, "trapped"),
        said(2, REFUSAL_DROPPED, "failed"),
        said(3, REFUSAL_REJECTED, "too long"),
    ];
    let decisions = Decisions {
        sources: Some(Sources {
            of: &MADE_OF,
            count: 4,
        }),
        refused: &refused,
        left_out: &[1, 2, 4],
        ..decisions(&addressed)
    };
    check(
        "a b c d e f",
        &decisions,
        &expect![[r#"
        1/0: 3 split
        0 1/0@0
        1 kind 2 by 3: no origin
        2 kind 3 by 3: trapped
        3 1/0@1 1/0@2
    "#]],
    );
    let placed = placed("a b c d e f", &decisions).unwrap();
    let told: Vec<_> = placed
        .refusals()
        .iter()
        .map(|r| (r.kind, &*r.reason))
        .collect();
    // Also what was rejected of the last record, although two parts of it are stored.
    let expected = [(2, "no origin"), (3, "trapped"), (2, "too long")];
    assert_eq!((placed.refused(), told), (2, expected.to_vec()));
}

/// The one record of a batch with that key, as a dead letter.
fn letter<'a>(target: &'a Target, key: &str) -> Letter<'a> {
    let batch = batch(key, Compression::None);
    let verified = verify(&batch).unwrap();
    let record = Records::new(&verified.records, 1).next().unwrap().unwrap();
    Letter {
        target,
        timestamp: Timestamp::new(5),
        body: record.body_with_headers(&[("weir-dlq-message", b"trapped")]),
    }
}

#[test]
fn dead_letters_go_into_the_same_request() {
    let (addressed, letters_to) = (target(1, 1, None), target(7, 2, None));
    let letters = [
        letter(&letters_to, "b"),
        letter(&letters_to, "b"),
        letter(&letters_to, "x"),
    ];
    let refused = [1, 2, 3].map(|source| said(source, REFUSAL_DEAD_LETTERED, "trapped"));
    let keys = [OrderingKey::NONE; 4];
    let decisions = Decisions {
        refused: &refused,
        left_out: &[1, 2, 3],
        letters: &letters,
        keys: Some(&keys),
        ..decisions(&addressed)
    };
    check(
        "a b b x",
        &decisions,
        &expect![[r#"
        1/0: 1 split
        7/0: 3 split
        0 1/0@0
        1 kind 3 by 3: trapped
        2 kind 3 by 3: trapped
        3 kind 3 by 3: trapped
    "#]],
    );
    // A route that leads there too shares the batch, and its offsets are not disturbed.
    let both = [letter(&addressed, "b"), letter(&addressed, "b")];
    let shared = Decisions {
        refused: &refused[..2],
        left_out: &[1, 2],
        letters: &both,
        ..decisions
    };
    check(
        "a b b x",
        &shared,
        &expect![[r#"
        1/0: 4 split
        0 1/0@0
        1 kind 3 by 3: trapped
        2 kind 3 by 3: trapped
        3 1/0@1
    "#]],
    );
    let placed = placed("a b b x", &shared).unwrap();
    let [part] = &placed.parts[..] else {
        panic!("one partition, one part");
    };
    let verified = verify(part.batch.as_deref().unwrap()).unwrap();
    let values = Records::new(&verified.records, part.count).map(|record| {
        let record = record.unwrap();
        let said = record.header("weir-dlq-message").map(<[u8]>::to_vec);
        (record.value.unwrap().to_vec(), said)
    });
    let trapped = || Some(b"trapped".to_vec());
    let expected = [(0, None), (3, None), (0, trapped()), (0, trapped())];
    let expected = expected.map(|(value, said)| (value.to_string().into_bytes(), said));
    assert_eq!(values.collect::<Vec<_>>(), expected);
    let keys = part.ordering_keys.as_ref();
    assert_eq!(keys.map(|keys| keys.len()), Some(4 * 8), "a key for each");
}

#[test]
fn reasons_are_told_up_to_a_bound() {
    let addressed = target(1, 1, None);
    let keys = "a ".repeat(1000);
    let refused: Vec<Refused> = (0..1000)
        .map(|source| Refused {
            reason: format!("{source}{}", "x".repeat(1000)).into(),
            ..said(source, REFUSAL_REJECTED, "")
        })
        .collect();
    let left_out: Vec<u32> = (0..1000).collect();
    let decisions = Decisions {
        refused: &refused,
        left_out: &left_out,
        ..decisions(&addressed)
    };
    let placed = placed(&keys, &decisions).unwrap();
    assert_eq!((placed.refused(), placed.refusals().len()), (1000, 257));
    assert!(
        placed
            .refusals()
            .iter()
            .all(|refusal| refusal.reason.len() <= 256)
    );
}

#[test]
fn refused_records_are_named_and_left_out() {
    let addressed = target(1, 1, None);
    let refused = |source, reason: &'static str| Refused {
        source,
        kind: REFUSAL_DROPPED,
        binding: BindingId::new(3),
        reason: reason.into(),
    };
    let refused = [
        refused(1, "trapped"),
        refused(2, "trapped"),
        refused(4, "too slow"),
    ];
    let decisions = Decisions {
        refused: &refused,
        left_out: &[1, 2, 4],
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
    let routing = Routing {
        binding: BindingId::new(1),
        targets: &targets,
        sets: &[1],
    };
    let with_routes = Decisions {
        routes: &[routing],
        ..decisions(&addressed)
    };
    assert_eq!(answers(placed("a b", &with_routes)), (1, 2));
    let with_sources = Decisions {
        sources: Some(Sources {
            of: &[0, 0, 0],
            count: 1,
        }),
        ..decisions(&addressed)
    };
    assert_eq!(answers(placed("a b", &with_sources)), (3, 2));
}
