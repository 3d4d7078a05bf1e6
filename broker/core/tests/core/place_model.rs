//! Placing records, against a model that looks at one record at a time: every record is stored
//! once in each of its places, in order, under the offset that the outcome says.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::sample::select;
use proptest::{bool, collection, option, prop_oneof};
use weir_core::place::{
    Batch, Decisions, Letter, Placed, Refused, Routing, Sources, Target, place,
};
use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord, Records, verify};
use weir_wire::id::{BindingId, Offset, PartitionId, Timestamp, TopicPartition};
use weir_wire::placement::{OrderingKey, partition_of_key};
use weir_wire::produce::{REFUSAL_DEAD_LETTERED, REFUSAL_DROPPED, REFUSAL_REJECTED, RecordOutcome};

use crate::place::target;

const ROUTE: u64 = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: i64,
}

/// Why something is refused: kind, binding, reason.
type Why = (u32, u64, &'static str);

/// A record to be placed, and what is decided about it.
#[derive(Clone, Debug)]
struct Made {
    record: Record,
    /// What each route binding says.
    sets: [u64; 2],
    ordering_key: OrderingKey,
    left_out: Option<Why>,
    /// Whether it goes to the dead-letter topic when it is left out.
    dead: bool,
}

/// What the transforms made of a record that was sent.
#[derive(Clone, Debug)]
struct Sent {
    made: Vec<Made>,
    refused: Option<Why>,
}

#[derive(Clone, Debug)]
struct Case {
    sent: Vec<Sent>,
    /// Whether a transform ran; without one, each record is its own.
    transformed: bool,
    compression: Compression,
    addressed: Target,
    /// The routes of each route binding.
    targets: Vec<Vec<Target>>,
    dead_letters: Target,
    with_keys: bool,
    sticky: u32,
}

fn why() -> impl Strategy<Value = Why> {
    let kinds = vec![REFUSAL_DROPPED, REFUSAL_REJECTED, REFUSAL_DEAD_LETTERED];
    (
        select(kinds),
        1_u64..3,
        select(vec!["trapped", "too slow", "no origin"]),
    )
}

fn made() -> impl Strategy<Value = Made> {
    let bytes = || option::of(collection::vec(any::<u8>(), 0..4));
    let ordering_key = prop_oneof![
        Just(OrderingKey::NONE),
        (0_u8..5).prop_map(|key| OrderingKey::hash(&[key])),
        any::<u64>().prop_map(OrderingKey::from_stored),
    ];
    // Mostly few bits, and sometimes none.
    let set = || (any::<u64>(), 0_u32..64).prop_map(|(bits, few)| bits >> few);
    let record = (bytes(), bytes(), -50_i64..50);
    let record = record.prop_map(|(key, value, time)| Record { key, value, time });
    (
        record,
        [set(), set()],
        ordering_key,
        option::weighted(0.1, why()),
        bool::ANY,
    )
        .prop_map(|(record, sets, ordering_key, left_out, dead)| Made {
            record,
            sets,
            ordering_key,
            left_out,
            dead,
        })
}

fn sent() -> impl Strategy<Value = Sent> {
    let made = prop_oneof![
        4 => collection::vec(made(), 1),
        1 => collection::vec(made(), 0..5),
    ];
    (made, option::weighted(0.1, why())).prop_map(|(made, refused)| {
        let vanished = made
            .is_empty()
            .then_some((REFUSAL_DROPPED, 1, "dropped by plugin"));
        let refused = refused.or(vanished);
        Sent { made, refused }
    })
}

fn some_target() -> impl Strategy<Value = Target> {
    (1_u64..4, option::of(0_u32..4)).prop_map(|(id, fixed)| {
        let partitions = id as u32 + 1;
        target(id, partitions, fixed.map(|fixed| fixed % partitions))
    })
}

fn case() -> impl Strategy<Value = Case> {
    let compressions = vec![
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    (
        (collection::vec(sent(), 1..40), bool::ANY),
        select(compressions),
        (some_target(), some_target()),
        collection::vec(collection::vec(some_target(), 1..6), 0..=2),
        bool::ANY,
        any::<u32>(),
    )
        .prop_map(
            |((mut sent, transformed), compression, topics, targets, with_keys, sticky)| {
                if !transformed {
                    sent.retain(|sent| !sent.made.is_empty());
                    for sent in &mut sent {
                        sent.made.truncate(1);
                        sent.refused = None;
                    }
                }
                let (addressed, dead_letters) = topics;
                Case {
                    sent,
                    transformed,
                    compression,
                    addressed,
                    targets,
                    dead_letters,
                    with_keys,
                    sticky,
                }
            },
        )
}

impl Case {
    fn made(&self) -> impl Iterator<Item = (u32, &Made)> {
        let sent = (0_u32..).zip(&self.sent);
        sent.flat_map(|(source, sent)| sent.made.iter().map(move |made| (source, made)))
    }

    fn batch(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for (_, made) in self.made() {
            let new = NewRecord {
                key: made.record.key.as_deref(),
                value: made.record.value.as_deref(),
                headers: &[("h", b"v")],
            };
            builder.push(Timestamp::new(made.record.time), &new);
        }
        builder.finish(self.compression).unwrap()
    }

    fn refused(&self) -> Vec<Refused> {
        let mut refused = Vec::new();
        for (source, sent) in (0..).zip(&self.sent) {
            let of_parts = sent.made.iter().filter_map(|made| made.left_out);
            for (kind, binding, reason) in sent.refused.into_iter().chain(of_parts) {
                refused.push(Refused {
                    source,
                    kind,
                    binding: BindingId::new(binding),
                    reason: reason.into(),
                });
            }
        }
        refused
    }

    fn place(&self, batch: &[u8]) -> Placed {
        let records = self
            .compression
            .inflate(&batch[HEADER_LEN..], 1 << 20)
            .unwrap();
        let count = self.made().count() as u32;
        let keys: Vec<_> = self.made().map(|(_, made)| made.ordering_key).collect();
        let sets = [0, 1].map(|at| {
            let sets = self.made().map(|(_, made)| made.sets[at]);
            sets.collect::<Vec<_>>()
        });
        let routes: Vec<Routing<'_>> = self
            .targets
            .iter()
            .zip(&sets)
            .zip(ROUTE..)
            .map(|((targets, sets), id)| Routing {
                binding: BindingId::new(id),
                targets,
                sets,
            })
            .collect();
        let of: Vec<u32> = self.made().map(|(source, _)| source).collect();
        let numbered = (0..).zip(self.made());
        let left_out = numbered.filter(|(_, (_, made))| made.left_out.is_some());
        let left_out: Vec<u32> = left_out.map(|(index, _)| index).collect();
        let views: Vec<_> = Records::new(&records, count).map(Result::unwrap).collect();
        let letters: Vec<Letter<'_>> = self
            .made()
            .zip(&views)
            .filter(|((_, made), _)| made.left_out.is_some() && made.dead)
            .map(|((_, made), view)| Letter {
                target: &self.dead_letters,
                timestamp: Timestamp::new(made.record.time),
                body: view.body().to_vec(),
            })
            .collect();
        let decisions = Decisions {
            sources: self.transformed.then_some(Sources {
                of: &of,
                count: self.sent.len() as u32,
            }),
            routes: &routes,
            keys: self.with_keys.then_some(keys.as_slice()),
            refused: &self.refused(),
            left_out: &left_out,
            letters: &letters,
            ..Decisions::by_key(&self.addressed, self.sticky)
        };
        let first = self.made().next();
        let batch = Batch {
            compression: self.compression,
            base_timestamp: Timestamp::new(first.map_or(0, |(_, made)| made.record.time)),
            count,
            records: &records,
        };
        place(&batch, &decisions).unwrap()
    }

    /// Where a record goes, each place once.
    fn places(&self, made: &Made) -> Vec<TopicPartition> {
        if made.left_out.is_some() {
            return Vec::new();
        }
        let mut chosen: Vec<&Target> = Vec::new();
        if self.targets.is_empty() {
            chosen.push(&self.addressed);
        }
        for (targets, set) in self.targets.iter().zip(made.sets) {
            let bits = targets.iter().zip(0..);
            let taken = bits.filter(|(_, bit)| set & (1 << bit) != 0);
            chosen.extend(taken.map(|(target, _)| target));
        }
        let mut places = Vec::new();
        for target in chosen {
            let hash = made.ordering_key.value();
            let partition = match (target.partition, self.with_keys, hash, &made.record.key) {
                (Some(fixed), ..) => fixed.value(),
                (None, true, hash, _) if hash != 0 => (hash % u64::from(target.partitions)) as u32,
                (None, false, _, Some(key)) => partition_of_key(key, target.partitions).value(),
                _ => self.sticky % target.partitions,
            };
            let at = at(target, partition);
            if !places.contains(&at) {
                places.push(at);
            }
        }
        places
    }

    fn letter_place(&self, record: &Record) -> TopicPartition {
        let target = &self.dead_letters;
        let partition = match (target.partition, &record.key) {
            (Some(fixed), _) => fixed.value(),
            (None, Some(key)) => partition_of_key(key, target.partitions).value(),
            (None, None) => self.sticky % target.partitions,
        };
        at(target, partition)
    }
}

fn at(target: &Target, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: target.topic,
        partition: PartitionId::new(partition),
    }
}

type Rows = Vec<(Record, Option<u64>)>;

/// What the broker would store in each part.
fn stored(case: &Case, original: &[u8], placed: &Placed) -> BTreeMap<TopicPartition, Rows> {
    let mut all = BTreeMap::new();
    for part in &placed.parts {
        let batch = part.batch.as_deref().unwrap_or(original);
        let verified = verify(batch).unwrap();
        assert_eq!(verified.header.compression, case.compression);
        assert_eq!(verified.header.count, part.count);
        let keys = part.ordering_keys.as_ref().map(|keys| {
            let keys = keys
                .chunks(8)
                .map(|key| u64::from_le_bytes(key.try_into().unwrap()));
            keys.collect::<Vec<_>>()
        });
        assert!(
            keys.as_ref()
                .is_none_or(|keys| keys.len() == part.count as usize)
        );
        let mut records = Vec::new();
        for (index, record) in Records::new(&verified.records, part.count).enumerate() {
            let record = record.unwrap();
            assert_eq!(record.header("h"), Some(&b"v"[..]));
            let key = keys.as_ref().map(|keys| keys[index]);
            let owned = Record {
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                time: record.timestamp(verified.header.base_timestamp).value(),
            };
            records.push((owned, key));
        }
        let twice = all.insert(part.partition, records);
        assert!(twice.is_none(), "one part per partition");
    }
    all
}

fn check(case: &Case) {
    if case.sent.is_empty() {
        return;
    }
    let original = case.batch();
    let placed = case.place(&original);
    // Record by record into the places, as the model says.
    let mut expected: BTreeMap<TopicPartition, Rows> = BTreeMap::new();
    let mut offsets = Vec::new();
    for sent in &case.sent {
        let mut at = Vec::new();
        for made in &sent.made {
            let key = case.with_keys.then_some(made.ordering_key.value());
            for place in case.places(made) {
                let rows = expected.entry(place).or_default();
                at.push((place, rows.len() as u64));
                rows.push((made.record.clone(), key));
            }
        }
        offsets.push(at);
    }
    let destinations = expected.len();
    for (_, made) in case.made() {
        if made.left_out.is_some() && made.dead {
            let rows = expected.entry(case.letter_place(&made.record)).or_default();
            // Without keys in the partition there is no column for them.
            let key = rows.first().and_then(|(_, key)| *key).map(|_| 0);
            rows.push((made.record.clone(), key));
        }
    }
    assert_eq!(stored(case, &original, &placed), expected);
    let untouched = case.made().all(|(_, made)| !case.places(made).is_empty());
    let whole = destinations == 1 && untouched && !case.transformed;
    let parts = placed.parts.iter();
    assert!(parts.clone().all(|part| part.batch.is_none() == whole));
    check_outcome(case, &placed, &offsets);
}

fn check_outcome(case: &Case, placed: &Placed, offsets: &[Vec<(TopicPartition, u64)>]) {
    let base = |index: usize| 1000 * (index as u64 + 1);
    let bases: Vec<Offset> = (0..placed.parts.len())
        .map(|n| Offset::new(base(n)))
        .collect();
    let outcome = placed.outcome(&bases);
    let records = outcome.records(case.sent.len() as u32).unwrap();
    let mut refused = 0;
    for ((outcome, offsets), sent) in records.iter().zip(offsets).zip(&case.sent) {
        match outcome {
            RecordOutcome::Stored(places) => {
                let got: Vec<_> = places
                    .iter()
                    .map(|(to, offset)| (to.topic, to.partition, offset.value()))
                    .collect();
                let expected = offsets.iter().map(|(at, index)| {
                    let mut parts = placed.parts.iter();
                    let part = parts.position(|p| p.partition == *at).unwrap();
                    (at.topic, at.partition, base(part) + index)
                });
                assert_eq!(got, expected.collect::<Vec<_>>());
                assert!(!got.is_empty());
            }
            RecordOutcome::Refused(refusal) => {
                refused += 1;
                assert!(offsets.is_empty());
                let of_parts = sent.made.iter().filter_map(|made| made.left_out);
                let all: Vec<Why> = sent.refused.into_iter().chain(of_parts).collect();
                let expected = gravest(&all).unwrap_or((REFUSAL_DROPPED, ROUTE, "no route"));
                let (binding, reason) = (refusal.binding.value(), refusal.reason.as_str());
                assert_eq!((refusal.kind, binding, reason), expected);
            }
        }
    }
    assert_eq!(placed.refused(), refused);
}

/// What a plugin said itself, else what it failed of, else why the record was dropped.
fn gravest(all: &[Why]) -> Option<Why> {
    [REFUSAL_REJECTED, REFUSAL_DEAD_LETTERED, REFUSAL_DROPPED]
        .into_iter()
        .find_map(|kind| all.iter().find(|why| why.0 == kind).copied())
}

proptest! {
    #[test]
    fn every_record_goes_where_the_model_says(case in case()) {
        check(&case);
    }
}
