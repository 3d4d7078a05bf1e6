//! Placing records, against a model that looks at one record at a time: every record is stored
//! once in each of its places, in order, under the offset that the outcome says.

use std::collections::BTreeMap;

use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::sample::select;
use proptest::{bool, collection, option, prop_oneof};
use weir_core::place::{Decisions, Placed, Refused, Routing, Target, place};
use weir_wire::batch::{BatchBuilder, Compression, NewRecord, Records, verify};
use weir_wire::id::{BindingId, Offset, Timestamp, TopicPartition};
use weir_wire::placement::{OrderingKey, partition_of_key};
use weir_wire::produce::{REFUSAL_DROPPED, RecordOutcome};

use crate::place::target;

const ROUTE: BindingId = BindingId::new(5);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    time: i64,
}

/// What is decided about one record.
#[derive(Clone, Debug)]
struct Decided {
    set: u64,
    ordering_key: OrderingKey,
    /// Why it is refused, by which binding.
    refused: Option<(u64, &'static str)>,
}

#[derive(Clone, Debug)]
struct Case {
    records: Vec<(Record, Decided)>,
    compression: Compression,
    addressed: Target,
    targets: Option<Vec<Target>>,
    with_keys: bool,
    sticky: u32,
}

fn record() -> impl Strategy<Value = (Record, Decided)> {
    let bytes = || option::of(collection::vec(any::<u8>(), 0..4));
    let ordering_key = prop_oneof![
        Just(OrderingKey::NONE),
        (0_u8..5).prop_map(|key| OrderingKey::hash(&[key])),
        any::<u64>().prop_map(OrderingKey::from_stored),
    ];
    let refused = option::weighted(0.1, (1_u64..3, select(vec!["trapped", "too slow"])));
    let decided = (any::<u64>(), 0_u32..64, ordering_key, refused);
    (bytes(), bytes(), -50_i64..50, decided).prop_map(|(key, value, time, decided)| {
        let (bits, few, ordering_key, refused) = decided;
        let decided = Decided {
            // Mostly few bits, and sometimes none.
            set: bits >> few,
            ordering_key,
            refused,
        };
        (Record { key, value, time }, decided)
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
        collection::vec(record(), 1..40),
        select(compressions),
        some_target(),
        option::of(collection::vec(some_target(), 1..6)),
        bool::ANY,
        any::<u32>(),
    )
        .prop_map(
            |(records, compression, addressed, targets, with_keys, sticky)| Case {
                records,
                compression,
                addressed,
                targets,
                with_keys,
                sticky,
            },
        )
}

impl Case {
    fn batch(&self) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for (record, _) in &self.records {
            let new = NewRecord {
                key: record.key.as_deref(),
                value: record.value.as_deref(),
                headers: &[("h", b"v")],
            };
            builder.push(Timestamp::new(record.time), &new);
        }
        builder.finish(self.compression).unwrap()
    }

    fn place(&self, batch: &[u8]) -> Placed {
        let verified = verify(batch).unwrap();
        let keys: Vec<_> = self.records.iter().map(|(_, d)| d.ordering_key).collect();
        let sets: Vec<_> = self.records.iter().map(|(_, d)| d.set).collect();
        let refused: Vec<Refused> = self
            .records
            .iter()
            .zip(0..)
            .filter_map(|((_, decided), index)| {
                decided.refused.map(|(binding, reason)| Refused {
                    index,
                    binding: BindingId::new(binding),
                    reason: reason.to_owned(),
                })
            })
            .collect();
        let decisions = Decisions {
            addressed: &self.addressed,
            routing: self.targets.as_deref().map(|targets| Routing {
                binding: ROUTE,
                targets,
                sets: &sets,
            }),
            keys: self.with_keys.then_some(keys.as_slice()),
            refused: &refused,
            sticky: self.sticky,
        };
        place(&verified.header, &verified.records, &decisions).unwrap()
    }

    /// Where a record goes, each place once.
    fn places(&self, record: &Record, decided: &Decided) -> Vec<TopicPartition> {
        if decided.refused.is_some() {
            return Vec::new();
        }
        let chosen: Vec<&Target> = match &self.targets {
            None => vec![&self.addressed],
            Some(targets) => {
                let bits = targets.iter().zip(0..);
                let set = bits.filter(|(_, bit)| decided.set & (1 << bit) != 0);
                set.map(|(target, _)| target).collect()
            }
        };
        let mut places = Vec::new();
        for target in chosen {
            let partition = self.partition(target, record, decided);
            let at = TopicPartition {
                topic: target.topic,
                partition: weir_wire::id::PartitionId::new(partition),
            };
            if !places.contains(&at) {
                places.push(at);
            }
        }
        places
    }

    fn partition(&self, target: &Target, record: &Record, decided: &Decided) -> u32 {
        if let Some(fixed) = target.partition {
            return fixed.value();
        }
        match (self.with_keys, decided.ordering_key.value(), &record.key) {
            (true, hash, _) if hash != 0 => (hash % u64::from(target.partitions)) as u32,
            (false, _, Some(key)) => partition_of_key(key, target.partitions).value(),
            _ => self.sticky % target.partitions,
        }
    }
}

/// What the broker would store in each part.
fn stored(case: &Case, original: &[u8], placed: &Placed) -> Vec<Vec<(Record, Option<u64>)>> {
    let mut all = Vec::new();
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
        assert_eq!(keys.is_some(), case.with_keys);
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
        all.push(records);
    }
    all
}

fn check(case: &Case) {
    let original = case.batch();
    let placed = case.place(&original);
    let stored = stored(case, &original, &placed);
    // Record by record into the places, as the model says.
    let mut expected: BTreeMap<TopicPartition, Vec<(Record, Option<u64>)>> = BTreeMap::new();
    let mut offsets = Vec::new();
    for (record, decided) in &case.records {
        let key = case.with_keys.then_some(decided.ordering_key.value());
        let mut at = Vec::new();
        for place in case.places(record, decided) {
            let rows = expected.entry(place).or_default();
            at.push((place, rows.len() as u64));
            rows.push((record.clone(), key));
        }
        offsets.push(at);
    }
    let parts = placed.parts.iter().map(|part| part.partition);
    let got: BTreeMap<_, _> = parts.clone().zip(stored).collect();
    assert_eq!(got.len(), placed.parts.len(), "one part per partition");
    assert_eq!(got, expected);
    let whole = expected.len() == 1 && offsets.iter().all(|at| !at.is_empty());
    assert!(
        placed
            .parts
            .iter()
            .all(|part| part.batch.is_none() == whole)
    );
    check_outcome(case, &placed, &offsets);
}

fn check_outcome(case: &Case, placed: &Placed, offsets: &[Vec<(TopicPartition, u64)>]) {
    let base = |index: usize| 1000 * (index as u64 + 1);
    let bases: Vec<Offset> = (0..placed.parts.len())
        .map(|n| Offset::new(base(n)))
        .collect();
    let outcome = placed.outcome(&bases);
    let records = outcome.records(case.records.len() as u32).unwrap();
    let mut refused = 0;
    for ((outcome, offsets), (_, decided)) in records.iter().zip(offsets).zip(&case.records) {
        match outcome {
            RecordOutcome::Stored(places) => {
                let got: Vec<_> = places
                    .iter()
                    .map(|(to, offset)| (to.topic, to.partition, offset.value()))
                    .collect();
                let expected = offsets.iter().map(|(at, index)| {
                    let part = placed
                        .parts
                        .iter()
                        .position(|p| p.partition == *at)
                        .unwrap();
                    (at.topic, at.partition, base(part) + index)
                });
                assert_eq!(got, expected.collect::<Vec<_>>());
                assert!(!got.is_empty());
            }
            RecordOutcome::Refused(refusal) => {
                refused += 1;
                assert!(offsets.is_empty());
                let (binding, reason) = decided.refused.unwrap_or((ROUTE.value(), "no route"));
                assert_eq!(
                    (refusal.binding.value(), refusal.reason.as_str()),
                    (binding, reason)
                );
                assert_eq!(refusal.kind, REFUSAL_DROPPED);
            }
        }
    }
    assert_eq!(placed.refused(), refused);
}

proptest! {
    #[test]
    fn every_record_goes_where_the_model_says(case in case()) {
        check(&case);
    }
}
