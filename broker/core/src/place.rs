//! Where the records of one request go: decisions of hooks and keys turned into one batch per
//! partition, with the outcome that the producer will see, all but the offsets.
//!
//! Two kinds of records meet here: the producer's, which the outcome is about, and what the
//! transforms made of them, which is stored. Without transforms they are the same.

mod bounds;
mod plan;
mod split;

use std::borrow::Cow;

use bytes::Bytes;
use weir_wire::batch::{BatchHeader, Compression, CompressionError, Records};
use weir_wire::id::{BindingId, Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::{BATCH_INFLATED_MAX, BATCH_RECORDS_MAX, SET_PLACES_MAX};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;
use weir_wire::produce::{Destination, Outcome, Refusal};
use weir_wire::varint::ReadError;

use plan::{Plan, destination};

/// What the records of one request may become together, before they are compressed, with their
/// ordering keys and as dead letters: a route to many places must not turn one batch into
/// gigabytes.
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

/// The records to be placed: the producer's, or what the transforms made of them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How the batches that it becomes are compressed.
    pub compression: Compression,
    /// What the records' timestamps count from.
    pub base_timestamp: Timestamp,
    /// How many records there are.
    pub count: u32,
    /// Their section, uncompressed.
    pub records: &'a [u8],
}

/// Where the records to be placed come from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// For each of them the index of the producer's record that it was made from, ascending.
    pub of: &'a [u32],
    /// How many records the producer sent.
    pub count: u32,
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

/// A record of the producer's that is not stored, or of which some part is not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its index in the request.
    pub source: u32,
    /// Dropped, rejected or dead-lettered: `REFUSAL_…` of the protocol.
    pub kind: u32,
    /// The binding whose hook refused it or failed on it.
    pub binding: BindingId,
    /// Why.
    pub reason: Cow<'static, str>,
}

/// A record that goes to a dead-letter topic.
#[derive(Clone, Debug)]
pub struct Letter<'a> {
    /// The topic.
    pub target: &'a Target,
    /// The record's timestamp.
    pub timestamp: Timestamp,
    /// Key, value and headers as they are encoded.
    pub body: Vec<u8>,
}

/// Everything that decides where the records of a request go.
#[derive(Clone, Copy, Debug)]
pub struct Decisions<'a> {
    /// The addressed topic.
    pub addressed: &'a Target,
    /// Where the records come from, if they are not the producer's own as they came.
    pub sources: Option<Sources<'a>>,
    /// What the `route` hooks said; a record goes wherever one of them sends it.
    pub routes: &'a [Routing<'a>],
    /// The ordering keys, if a `key` hook is bound.
    pub keys: Option<&'a [OrderingKey]>,
    /// The producer's records that hooks refused or failed on, in order of their index.
    pub refused: &'a [Refused],
    /// The records, by their index among those to be placed, that a policy takes out, ascending.
    pub left_out: &'a [u32],
    /// Those that go to dead-letter topics.
    pub letters: &'a [Letter<'a>],
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
    /// Records that are not stored.
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
    /// Spread over so many places that no client could read where they are.
    #[error(
        "the records would be spread over more places than a reply can list; \
         send smaller batches, or route them to fewer partitions"
    )]
    OutcomeTooLarge,
    /// What goes to one partition is more than a batch may hold.
    #[error(
        "what became of the records would be a batch of more than {bytes} bytes or {records} \
         records in one partition; send smaller batches",
        bytes = BATCH_INFLATED_MAX,
        records = BATCH_RECORDS_MAX
    )]
    PartTooLarge,
    /// A record became so many that the outcome cannot list their places.
    #[error(
        "record {index} of the batch would be stored at more than {max} places; \
         make fewer records of it, or route them to fewer topics",
        max = SET_PLACES_MAX
    )]
    TooManyPlaces {
        /// Its index in the request.
        index: u32,
    },
    /// A hook answered for another number of records.
    #[error("a hook answered for {answers} of {records} records")]
    Answers {
        /// Answers.
        answers: usize,
        /// Records.
        records: u32,
    },
    /// A record is gone, and nobody says why.
    #[error("record {index} of the batch got lost among its hooks")]
    Lost {
        /// Its index in the request.
        index: u32,
    },
}

impl<'a> Batch<'a> {
    /// The records of a verified batch as they came.
    #[must_use]
    pub const fn of(header: &BatchHeader, records: &'a [u8]) -> Self {
        Self {
            compression: header.compression,
            base_timestamp: header.base_timestamp,
            count: header.count,
            records,
        }
    }
}

impl<'a> Decisions<'a> {
    /// Nothing is decided but the topic: records go by their keys.
    #[must_use]
    pub const fn by_key(addressed: &'a Target, sticky: u32) -> Self {
        Self {
            addressed,
            sources: None,
            routes: &[],
            keys: None,
            refused: &[],
            left_out: &[],
            letters: &[],
            sticky,
        }
    }
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
        // Parts that only hold dead letters stand behind the destinations.
        for (destination, &offset) in outcome.destinations.iter_mut().zip(base_offsets) {
            destination.base_offset = offset;
        }
        outcome
    }

    /// About what it takes in memory: its batches, and what will be told of them.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let parts = self.parts.iter().map(|part| {
            let keys = part.ordering_keys.as_ref().map_or(0, Bytes::len);
            size_of::<Part>() + part.batch.as_ref().map_or(0, Vec::capacity) + keys
        });
        let destinations = self.outcome.destinations.iter().map(|destination| {
            let name = &destination.name;
            size_of::<Destination>() + name.namespace().len() + name.topic().len()
        });
        let sets = &self.outcome.sets;
        let sets = sets.iter().map(|set| size_of::<Bytes>() + set.len());
        let refusals = self.outcome.refusals.iter();
        let refusals = refusals.map(|refusal| size_of::<Refusal>() + refusal.reason.len());
        let all = parts.chain(destinations).chain(sets).chain(refusals);
        all.sum::<usize>() + self.outcome.runs.len()
    }

    /// How many of the producer's records are not stored.
    #[must_use]
    pub const fn refused(&self) -> u32 {
        self.refused
    }

    /// Why records, or parts of them, are not stored.
    #[must_use]
    pub fn refusals(&self) -> &[Refusal] {
        &self.outcome.refusals
    }
}

/// Places records: their sections must be sound, as those of a verified batch are.
pub fn place(batch: &Batch<'_>, decisions: &Decisions<'_>) -> Result<Placed, PlaceError> {
    let routes = decisions.routes.iter().map(|routing| routing.sets.len());
    let keys = decisions.keys.map(<[_]>::len);
    let sources = decisions.sources.map(|sources| sources.of.len());
    for answers in routes.chain(keys).chain(sources) {
        if answers != batch.count as usize {
            return Err(PlaceError::Answers {
                answers,
                records: batch.count,
            });
        }
    }
    let mut plan = Plan::new(decisions)?;
    for (index, record) in (0..).zip(Records::new(batch.records, batch.count)) {
        plan.decide(index, &record?)?;
    }
    let sent = decisions
        .sources
        .map_or(batch.count, |sources| sources.count);
    split::build(plan.finish(sent)?, batch, decisions)
}
