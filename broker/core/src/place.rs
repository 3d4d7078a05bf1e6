//! Where the records of one request go: decisions of hooks and keys turned into one batch per
//! partition, with the outcome that the producer will see, all but the offsets.

use std::collections::HashMap;

use bytes::Bytes;
use weir_wire::batch::{BatchBuilder, BatchHeader, CompressionError, RecordView, Records};
use weir_wire::id::{BindingId, Offset, PartitionId, TopicId, TopicPartition};
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::name::TopicName;
use weir_wire::placement::{OrderingKey, partition_of_key};
use weir_wire::produce::{Destination, Fate, Outcome, Refusal, encode_runs};
use weir_wire::produce::{REFUSAL_DROPPED, REFUSAL_REJECTED};
use weir_wire::varint::{ReadError, put_unsigned};

/// What the records of one request may become together, before they are compressed: a route to
/// many places must not turn one large batch into gigabytes.
pub const PLACED_BYTES_MAX: usize = 4 * BATCH_INFLATED_MAX;

/// A topic that records may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub topic: TopicId,
    /// Its name, for the outcome.
    pub name: TopicName,
    /// How many partitions it has.
    pub partitions: u32,
    /// The partition, if it is fixed: by the producer, or by the declared route.
    pub partition: Option<PartitionId>,
}

/// What a `route` hook said.
#[derive(Clone, Copy, Debug)]
pub struct Routing<'a> {
    /// The binding.
    pub binding: BindingId,
    /// The declared routes, in order.
    pub targets: &'a [Target],
    /// For each record a bit set of them.
    pub sets: &'a [u64],
}

/// A record that is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its index in the request.
    pub index: u32,
    /// The binding whose hook failed on it or refused it.
    pub binding: BindingId,
    /// Why.
    pub reason: String,
}

/// Everything that decides where the records of a request go.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// The addressed topic.
    pub addressed: &'a Target,
    /// What a `route` hook said, if one is bound.
    pub routing: Option<Routing<'a>>,
    /// The ordering keys, if a `key` hook is bound.
    pub keys: Option<&'a [OrderingKey]>,
    /// Records that a policy drops, in order of their index.
    pub refused: &'a [Refused],
    /// Decides the partition of records without a key; changes from batch to batch.
    pub sticky: u32,
}

/// A request, ready to be sequenced.
#[derive(Debug)]
pub struct Placed {
    /// The batches, one per partition.
    pub parts: Vec<Part>,
    /// What the producer will be told; the base offsets are set by [`Placed::outcome`].
    outcome: Outcome,
    /// Records that go nowhere.
    refused: u32,
}

/// The records of a request that go to one partition.
#[derive(Debug)]
pub struct Part {
    /// Where they go.
    pub partition: TopicPartition,
    /// How many.
    pub count: u32,
    /// Their batch; `None` if it is the request's batch as it came.
    pub batch: Option<Vec<u8>>,
    /// A u64 (little-endian) per record, if a `key` hook ran.
    pub ordering_keys: Option<Bytes>,
}

/// Why a request cannot be placed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// The records cannot be read; a verified batch never gets here.
    #[error("the batch's records cannot be read: {0}")]
    Records(#[from] ReadError),
    /// A batch could not be compressed again.
    #[error(transparent)]
    Compression(#[from] CompressionError),
    /// Routed to so many places that the copies are too large.
    #[error(
        "the records would take more than {max} bytes in all the places they are routed to; \
         send smaller batches",
        max = PLACED_BYTES_MAX
    )]
    TooLarge,
    /// A hook answered for another number of records.
    #[error("a hook answered for {answers} of {records} records")]
    Answers {
        /// Answers.
        answers: usize,
        /// Records.
        records: u32,
    },
}

impl Placed {
    /// A request that goes to one partition as it came.
    #[must_use]
    pub fn whole(target: &Target, partition: PartitionId, count: u32) -> Self {
        let at = TopicPartition {
            topic: target.topic,
            partition,
        };
        Self {
            parts: vec![Part {
                partition: at,
                count,
                batch: None,
                ordering_keys: None,
            }],
            outcome: Outcome::stored(destination(target, partition), count),
            refused: 0,
        }
    }

    /// The outcome, given the offset of each part's first record.
    #[must_use]
    pub fn outcome(&self, base_offsets: &[Offset]) -> Outcome {
        let mut outcome = self.outcome.clone();
        for (destination, &offset) in outcome.destinations.iter_mut().zip(base_offsets) {
            destination.base_offset = offset;
        }
        outcome
    }

    /// How many records are not stored.
    #[must_use]
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    /// Why records are not stored.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.outcome.refusals
    }
}

/// Places the records of a verified batch: `header` is its header, `section` its uncompressed
/// records.
pub fn place(
    header: &BatchHeader,
    section: &[u8],
    decisions: &Decisions<'_>,
) -> Result<Placed, PlaceError> {
    let answers = [
        decisions.keys.map(<[_]>::len),
        decisions.routing.map(|r| r.sets.len()),
    ];
    for answers in answers.into_iter().flatten() {
        if answers != header.count as usize {
            return Err(PlaceError::Answers {
                answers,
                records: header.count,
            });
        }
    }
    let mut plan = Plan::new(decisions);
    for (index, record) in Records::new(section, header.count).enumerate() {
        plan.decide(index, &record?);
    }
    plan.build(header, section)
}

/// The decision for every record, before any batch is built.
struct Plan<'a> {
    decisions: &'a Decisions<'a>,
    refused: std::iter::Peekable<std::slice::Iter<'a, Refused>>,
    places: HashMap<TopicPartition, usize>,
    destinations: Vec<Destination>,
    sets: Vec<Vec<usize>>,
    set_index: HashMap<Vec<usize>, usize>,
    refusals: Vec<Refusal>,
    fates: Vec<Fate>,
    scratch: Vec<usize>,
}

impl<'a> Plan<'a> {
    fn new(decisions: &'a Decisions<'a>) -> Self {
        Self {
            decisions,
            refused: decisions.refused.iter().peekable(),
            places: HashMap::new(),
            destinations: Vec::new(),
            sets: Vec::new(),
            set_index: HashMap::new(),
            refusals: Vec::new(),
            fates: Vec::new(),
            scratch: Vec::new(),
        }
    }

    fn decide(&mut self, index: usize, record: &RecordView<'_>) {
        let refused = self
            .refused
            .next_if(|refused| refused.index as usize == index);
        let fate = match refused {
            Some(refused) => self.refuse(REFUSAL_DROPPED, refused.binding, &refused.reason),
            None => self.send(index, record),
        };
        self.fates.push(fate);
    }

    fn send(&mut self, index: usize, record: &RecordView<'_>) -> Fate {
        let decisions = self.decisions;
        let key = decisions.keys.map(|keys| keys[index]);
        self.scratch.clear();
        match decisions.routing {
            None => self.add_destination(decisions.addressed, key, record.key),
            Some(routing) => {
                let set = routing.sets[index];
                let declared = routing.targets.iter().enumerate();
                for (_, target) in declared.filter(|(bit, _)| set >> bit & 1 == 1) {
                    self.add_destination(target, key, record.key);
                }
                if self.scratch.is_empty() {
                    return self.refuse(REFUSAL_DROPPED, routing.binding, "no route");
                }
            }
        }
        if let Some(&set) = self.set_index.get(&self.scratch) {
            return Fate::Set(set);
        }
        let set = self.sets.len();
        self.sets.push(self.scratch.clone());
        self.set_index.insert(self.scratch.clone(), set);
        Fate::Set(set)
    }

    fn add_destination(
        &mut self,
        target: &Target,
        ordering_key: Option<OrderingKey>,
        key: Option<&[u8]>,
    ) {
        let partition = self.partition(target, ordering_key, key);
        let at = TopicPartition {
            topic: target.topic,
            partition,
        };
        let destinations = &mut self.destinations;
        let place = *self.places.entry(at).or_insert_with(|| {
            destinations.push(destination(target, partition));
            destinations.len() - 1
        });
        // Two declared routes may lead to one place; a record is stored there once.
        if !self.scratch.contains(&place) {
            self.scratch.push(place);
        }
    }

    fn partition(
        &self,
        target: &Target,
        ordering_key: Option<OrderingKey>,
        key: Option<&[u8]>,
    ) -> PartitionId {
        let by_key = || match (ordering_key, key) {
            (Some(ordering_key), _) => ordering_key.partition(target.partitions),
            (None, Some(key)) => Some(partition_of_key(key, target.partitions)),
            (None, None) => None,
        };
        let sticky = || PartitionId::new(self.decisions.sticky % target.partitions.max(1));
        target.partition.or_else(by_key).unwrap_or_else(sticky)
    }

    fn refuse(&mut self, kind: u32, binding: BindingId, reason: &str) -> Fate {
        debug_assert!(kind == REFUSAL_DROPPED || kind == REFUSAL_REJECTED);
        let same = |r: &Refusal| r.kind == kind && r.binding == binding && r.reason == reason;
        let known = self.refusals.iter().position(same);
        Fate::Refusal(known.unwrap_or_else(|| {
            self.refusals.push(Refusal {
                kind,
                binding,
                reason: reason.to_owned(),
            });
            self.refusals.len() - 1
        }))
    }

    fn build(self, header: &BatchHeader, section: &[u8]) -> Result<Placed, PlaceError> {
        let whole = self.refusals.is_empty() && self.destinations.len() == 1;
        let parts = if whole {
            self.whole_part(header)
        } else {
            self.split(header, section)?
        };
        let refused = self
            .fates
            .iter()
            .filter(|fate| matches!(fate, Fate::Refusal(_)))
            .count();
        let sets = self.sets.iter().map(|set| encode_set(set)).collect();
        let outcome = Outcome {
            destinations: self.destinations,
            sets,
            refusals: self.refusals,
            runs: encode_runs(self.fates.into_iter().map(|fate| (1, fate))),
        };
        Ok(Placed {
            parts,
            outcome,
            refused: refused as u32,
        })
    }

    fn whole_part(&self, header: &BatchHeader) -> Vec<Part> {
        vec![Part {
            partition: place_of(&self.destinations[0]),
            count: header.count,
            batch: None,
            ordering_keys: self.decisions.keys.map(encode_keys),
        }]
    }

    fn split(&self, header: &BatchHeader, section: &[u8]) -> Result<Vec<Part>, PlaceError> {
        let share = section.len() / self.destinations.len().max(1) + 64;
        let mut builders: Vec<(BatchBuilder, Vec<OrderingKey>)> = self
            .destinations
            .iter()
            .map(|_| (BatchBuilder::with_capacity(share), Vec::new()))
            .collect();
        let mut bytes = 0;
        for (index, record) in Records::new(section, header.count).enumerate() {
            let record = record?;
            let Fate::Set(set) = self.fates[index] else {
                continue;
            };
            bytes += record.body().len() * self.sets[set].len();
            if bytes > PLACED_BYTES_MAX {
                return Err(PlaceError::TooLarge);
            }
            for &place in &self.sets[set] {
                let (builder, keys) = &mut builders[place];
                builder.push_body(record.timestamp(header.base_timestamp), record.body());
                keys.extend(self.decisions.keys.map(|keys| keys[index]));
            }
        }
        let parts = self
            .destinations
            .iter()
            .zip(builders)
            .map(|(destination, (builder, keys))| {
                Ok(Part {
                    partition: place_of(destination),
                    count: builder.count(),
                    batch: Some(builder.finish(header.compression)?),
                    ordering_keys: self.decisions.keys.map(|_| encode_keys(&keys)),
                })
            });
        parts.collect()
    }
}

fn destination(target: &Target, partition: PartitionId) -> Destination {
    Destination {
        topic: target.topic,
        name: target.name.clone(),
        partition,
        base_offset: Offset::ZERO,
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

fn encode_set(set: &[usize]) -> Bytes {
    let mut out = Vec::with_capacity(set.len());
    for &place in set {
        put_unsigned(&mut out, place as u64);
    }
    Bytes::from(out)
}
