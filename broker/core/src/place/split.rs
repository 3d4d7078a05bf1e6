//! Building the batches that a plan asks for.

use bytes::Bytes;
use weir_wire::batch::{BatchBuilder, HEADER_LEN, Records};
use weir_wire::id::TopicPartition;
use weir_wire::limits::{BATCH_INFLATED_MAX, BATCH_RECORDS_MAX};
use weir_wire::placement::OrderingKey;
use weir_wire::produce::{Destination, Fate, Outcome, encode_runs};
use weir_wire::varint::{Reader, put_unsigned};

use super::plan::{Decided, partition};
use super::{Batch, Decisions, Part, PlaceError, Placed};

/// One batch per partition, and the outcome.
pub(super) fn build(
    decided: Decided,
    batch: &Batch<'_>,
    decisions: &Decisions<'_>,
) -> Result<Placed, PlaceError> {
    let whole = decisions.sources.is_none()
        && decisions.letters.is_empty()
        && decided.refusals.is_empty()
        && decided.destinations.len() == 1;
    let parts = if whole {
        vec![Part {
            partition: place_of(&decided.destinations[0]),
            count: batch.count,
            batch: None,
            ordering_keys: decisions.keys.map(encode_keys),
        }]
    } else {
        split(&decided, batch, decisions)?
    };
    let fates = decided.fates.iter();
    let refused = fates.filter(|fate| matches!(fate, Fate::Refusal(_)));
    let refused = refused.count() as u32;
    let sets: Vec<Bytes> = decided.sets.iter().map(|set| encode_set(set)).collect();
    let runs = encode_runs(decided.fates.into_iter().map(|fate| (1, fate)));
    Ok(Placed {
        parts,
        outcome: Outcome {
            destinations: decided.destinations,
            sets,
            refusals: decided.refusals,
            runs,
        },
        refused,
    })
}

/// The batch of a part, and its ordering keys if there are any.
struct Builder {
    partition: TopicPartition,
    batch: BatchBuilder,
    keys: Option<Vec<OrderingKey>>,
}

impl Builder {
    fn new(partition: TopicPartition, share: usize, keys: bool) -> Self {
        Self {
            partition,
            batch: BatchBuilder::with_capacity(share),
            keys: keys.then(Vec::new),
        }
    }

    fn part(self, batch: &Batch<'_>) -> Result<Part, PlaceError> {
        let count = self.batch.count();
        let too_long = self.batch.bytes_len() > HEADER_LEN + BATCH_INFLATED_MAX;
        if too_long || count > BATCH_RECORDS_MAX {
            return Err(PlaceError::PartTooLarge);
        }
        Ok(Part {
            partition: self.partition,
            count,
            batch: Some(self.batch.finish(batch.compression)?),
            ordering_keys: self.keys.as_deref().map(encode_keys),
        })
    }
}

fn split(
    decided: &Decided,
    batch: &Batch<'_>,
    decisions: &Decisions<'_>,
) -> Result<Vec<Part>, PlaceError> {
    let share = batch.records.len() / decided.destinations.len().max(1) + 64;
    let keys = decisions.keys;
    let places = decided.destinations.iter().map(place_of);
    let mut builders: Vec<Builder> = places
        .map(|at| Builder::new(at, share, keys.is_some()))
        .collect();
    let mut source = 0;
    let mut left: &[u32] = places_of(decided, source);
    for (index, record) in Records::new(batch.records, batch.count).enumerate() {
        let record = record?;
        let from = decisions.sources.map_or(index, |s| s.of[index] as usize);
        if from != source {
            source = from;
            left = places_of(decided, source);
        }
        let (own, others) = left.split_at(usize::from(decided.taken[index]));
        left = others;
        for &place in own {
            let builder = &mut builders[place as usize];
            let timestamp = record.timestamp(batch.base_timestamp);
            builder.batch.push_body(timestamp, record.body());
            if let (Some(all), Some(keys)) = (keys, &mut builder.keys) {
                keys.push(all[index]);
            }
        }
    }
    add_letters(&mut builders, decisions);
    let parts = builders.into_iter().map(|builder| builder.part(batch));
    parts.collect()
}

/// Where the parts of a record of the producer go, in their order.
fn places_of(decided: &Decided, source: usize) -> &[u32] {
    match decided.fates.get(source) {
        Some(Fate::Set(set)) => &decided.sets[*set],
        _ => &[],
    }
}

/// Dead letters stand behind everything that the outcome counts, in whatever partition.
fn add_letters(builders: &mut Vec<Builder>, decisions: &Decisions<'_>) {
    for letter in decisions.letters {
        let key = Reader::new(&letter.body).nullable().ok().flatten();
        let at = TopicPartition {
            topic: letter.target.topic,
            partition: partition(letter.target, None, key, decisions.sticky),
        };
        let known = builders.iter().position(|builder| builder.partition == at);
        let place = known.unwrap_or_else(|| {
            builders.push(Builder::new(at, letter.body.len() + 64, false));
            builders.len() - 1
        });
        let builder = &mut builders[place];
        builder.batch.push_body(letter.timestamp, &letter.body);
        builder
            .keys
            .iter_mut()
            .for_each(|keys| keys.push(OrderingKey::NONE));
    }
}

const fn place_of(destination: &Destination) -> TopicPartition {
    TopicPartition {
        topic: destination.topic,
        partition: destination.partition,
    }
}

fn encode_keys(keys: &[OrderingKey]) -> Bytes {
    keys.iter()
        .flat_map(|key| key.value().to_le_bytes())
        .collect()
}

fn encode_set(set: &[u32]) -> Bytes {
    let mut out = Vec::with_capacity(set.len());
    for &place in set {
        put_unsigned(&mut out, place.into());
    }
    Bytes::from(out)
}
