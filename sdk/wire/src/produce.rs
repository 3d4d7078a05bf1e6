//! The messages of a produce stream, and the outcome of a request, record by record.
//!
//! A stream opens with `OpenProducer`; then requests flow one way and replies, in the same order,
//! the other, many in flight. `Produce.sequence` counts the requests of a producer session, so
//! that a repeated one is recognised and gets its stored outcome.

use bytes::Bytes;

use crate::frame::{FrameMessage, Kind};
use crate::id::{BindingId, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, TopicId};
use crate::limits::{BATCH_RECORDS_MAX, ROUTES_MAX, SET_PLACES_MAX};
use crate::message;
use crate::name::TopicName;
use crate::request::{Error, frames};
use crate::varint::{Reader, put_unsigned};

/// When a request is answered. The numbers are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Ack {
    /// When the records are safe: fsynced. The default.
    #[default]
    Durable = 0,
    /// When the broker has accepted them in memory. Unsafe: a crash may lose them.
    Memory = 1,
    /// Never. The broker counts what is lost.
    None = 2,
}

impl Ack {
    /// The level of that number.
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::Durable,
            1 => Self::Memory,
            2 => Self::None,
            _ => return None,
        })
    }
}

message! {
    /// This stream produces to one topic from now on.
    pub struct OpenProducer {
        /// The topic.
        1 => topic: TopicName,
        /// The session to go on with, after a lost connection.
        2 => session: Option<ProducerSession>,
    }

    /// A producer's identity.
    pub struct ProducerSession {
        /// The producer.
        1 => id: ProducerId,
        /// Its epoch.
        2 => epoch: ProducerEpoch,
    }

    /// The session.
    pub struct ProducerOpened {
        /// The session, new or resumed.
        1 => session: ProducerSession,
        /// The sequence that the broker takes next: those before it have an outcome.
        2 => next_sequence: Sequence,
        /// The topic's id.
        3 => topic: TopicId,
        /// How many partitions it has.
        4 => partitions: u32,
        /// Whether a plugin chooses the partition; then a client must not.
        5 => placement_by_plugin: bool,
        /// What a request may become in the log, in bytes; 0 where the broker does not say.
        6 => request_bytes_max: u64,
    }

    /// Store a batch (payload: one record batch).
    pub struct Produce {
        /// Its place in the session, from 0, without gaps.
        1 => sequence: Sequence,
        /// When to answer: 0 durable, 1 memory, 2 never.
        2 => ack: u32,
        /// The partition that the client chose; without one the broker places each record by its
        /// key (murmur2, as Kafka's default partitioner), and keyless batches in turn.
        3 => partition: Option<PartitionId>,
        /// Whether the refusal of one record refuses all.
        4 => all_or_nothing: bool,
    }

    /// What became of a request.
    pub struct Produced {
        /// Which request.
        1 => sequence: Sequence,
        /// Its outcome; with none, `error` says why.
        2 => outcome: Option<Outcome>,
        /// Why there is no outcome.
        3 => error: Option<Error>,
        /// How long the client had better wait before it sends more, in milliseconds.
        4 => throttle_ms: u64,
    }

    /// What became of each record of a request.
    pub struct Outcome {
        /// The places that records went to.
        1 => destinations: Vec<Destination>,
        /// Sets of destinations, each as varint indices into `destinations`; a record that went
        /// to several places has a set of several. One that a plugin made several of has a place
        /// as often as it is stored there.
        2 => sets: Vec<Bytes>,
        /// Why records were not stored.
        3 => refusals: Vec<Refusal>,
        /// Runs over the records in order, each two varints: how many records, and 2 × an index
        /// into `sets`, or 2 × an index into `refusals` + 1. Within a destination, offsets go up
        /// by one from its base in the order of the records.
        4 => runs: Bytes,
    }

    /// A place that records went to.
    pub struct Destination {
        /// The topic's id.
        1 => topic: TopicId,
        /// The topic's name.
        2 => name: TopicName,
        /// The partition.
        3 => partition: PartitionId,
        /// The offset of the first of them.
        4 => base_offset: Offset,
    }

    /// Why records were not stored.
    pub struct Refusal {
        /// 1 dropped, 2 rejected, 3 dead-lettered.
        1 => kind: u32,
        /// The binding that refused them.
        2 => binding: BindingId,
        /// Its reason.
        3 => reason: String,
    }
}

frames! {
    OpenProducer; ProducerOpened; Produce; Produced;
}

/// `Refusal.kind`: a plugin or a policy dropped the record.
pub const REFUSAL_DROPPED: u32 = 1;
/// `Refusal.kind`: a plugin rejected the record.
pub const REFUSAL_REJECTED: u32 = 2;
/// `Refusal.kind`: the record is in the dead-letter topic.
pub const REFUSAL_DEAD_LETTERED: u32 = 3;

/// Places of all records together that [`Outcome::records`] unfolds.
const UNFOLDED_PLACES_MAX: u64 = BATCH_RECORDS_MAX as u64 * ROUTES_MAX as u64;

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordOutcome<'a> {
    /// Stored, at each of these places.
    Stored(Vec<(&'a Destination, Offset)>),
    /// Not stored.
    Refused(&'a Refusal),
}

/// An outcome whose indices or counts do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker's outcome contradicts itself")]
pub struct InvalidOutcome;

/// One run of records that share their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// An index into [`Outcome::sets`].
    Set(usize),
    /// An index into [`Outcome::refusals`].
    Refusal(usize),
}

impl Outcome {
    /// The outcome of records that all went to one place.
    #[must_use]
    pub fn stored(destination: Destination, count: u32) -> Self {
        let mut outcome = Self {
            destinations: vec![destination],
            sets: vec![Bytes::from_static(&[0])],
            refusals: Vec::new(),
            runs: Bytes::new(),
        };
        outcome.runs = encode_runs([(count, Fate::Set(0))]);
        outcome
    }

    /// The runs; none is empty, and together they count no more records than a batch may hold.
    pub fn runs(&self) -> Result<Vec<(u32, Fate)>, InvalidOutcome> {
        let mut reader = Reader::new(&self.runs);
        let mut runs = Vec::new();
        let mut total = 0;
        while !reader.is_empty() {
            let count = reader.unsigned().map_err(|_| InvalidOutcome)?;
            let what = reader.unsigned().map_err(|_| InvalidOutcome)?;
            let count = u32::try_from(count).map_err(|_| InvalidOutcome)?;
            total += u64::from(count);
            if count == 0 || total > u64::from(BATCH_RECORDS_MAX) {
                return Err(InvalidOutcome);
            }
            let index = usize::try_from(what / 2).map_err(|_| InvalidOutcome)?;
            let fate = if what % 2 == 0 {
                Fate::Set(index)
            } else {
                Fate::Refusal(index)
            };
            let known = match fate {
                Fate::Set(index) => index < self.sets.len(),
                Fate::Refusal(index) => index < self.refusals.len(),
            };
            if !known {
                return Err(InvalidOutcome);
            }
            runs.push((count, fate));
        }
        Ok(runs)
    }

    /// What became of each of the request's `count` records, in their order.
    pub fn records(&self, count: u32) -> Result<Vec<RecordOutcome<'_>>, InvalidOutcome> {
        let sets = self
            .sets
            .iter()
            .map(|set| self.set(set))
            .collect::<Result<Vec<_>, _>>()?;
        let mut next: Vec<Offset> = self.destinations.iter().map(|d| d.base_offset).collect();
        let mut records = Vec::new();
        let mut places = 0;
        for (run, fate) in self.runs()? {
            if let Fate::Set(index) = fate {
                places += u64::from(run) * sets[index].len() as u64;
            }
            if places > UNFOLDED_PLACES_MAX {
                return Err(InvalidOutcome);
            }
            if records.len() as u64 + u64::from(run) > u64::from(count) {
                return Err(InvalidOutcome);
            }
            for _ in 0..run {
                records.push(match fate {
                    Fate::Refusal(index) => RecordOutcome::Refused(&self.refusals[index]),
                    Fate::Set(index) => {
                        let places = sets[index].iter().map(|&destination| {
                            let offset = next[destination];
                            next[destination] = offset.next();
                            (&self.destinations[destination], offset)
                        });
                        RecordOutcome::Stored(places.collect())
                    }
                });
            }
        }
        if records.len() == count as usize {
            Ok(records)
        } else {
            Err(InvalidOutcome)
        }
    }

    fn set(&self, bytes: &[u8]) -> Result<Vec<usize>, InvalidOutcome> {
        let mut reader = Reader::new(bytes);
        let mut set = Vec::new();
        while !reader.is_empty() {
            let index = reader.unsigned().map_err(|_| InvalidOutcome)?;
            let index = usize::try_from(index).map_err(|_| InvalidOutcome)?;
            if index >= self.destinations.len() || set.len() == SET_PLACES_MAX {
                return Err(InvalidOutcome);
            }
            set.push(index);
        }
        Ok(set)
    }
}

/// Encodes runs for [`Outcome::runs`], joining neighbours that share their fate.
#[must_use]
pub fn encode_runs(runs: impl IntoIterator<Item = (u32, Fate)>) -> Bytes {
    let mut out = Vec::new();
    let mut open: Option<(u32, Fate)> = None;
    for (count, fate) in runs.into_iter().filter(|(count, _)| *count > 0) {
        match &mut open {
            Some((total, last)) if *last == fate => *total += count,
            _ => {
                if let Some(run) = open.replace((count, fate)) {
                    put_run(&mut out, run);
                }
            }
        }
    }
    if let Some(run) = open {
        put_run(&mut out, run);
    }
    Bytes::from(out)
}

fn put_run(out: &mut Vec<u8>, (count, fate): (u32, Fate)) {
    let what = match fate {
        Fate::Set(index) => index * 2,
        Fate::Refusal(index) => index * 2 + 1,
    };
    put_unsigned(out, u64::from(count));
    put_unsigned(out, what as u64);
}
