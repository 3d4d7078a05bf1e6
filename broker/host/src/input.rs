//! What a call is given and what it answers.

use bytes::Bytes;
use std::time::Duration;
use weir_wire::id::Timestamp;

/// A batch of records to judge.
#[derive(Clone, Debug)]
pub struct Input {
    /// The timestamp that the records' deltas count from.
    pub base_timestamp: Timestamp,
    /// How many records there are.
    pub count: u32,
    /// The uncompressed records section of a batch (Kafka's format v2).
    pub records: Bytes,
}

/// How the delivery of a record failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Which delivery of the record it was, from 1.
    pub number: u32,
    /// What the consumer said, or that its time was up; the first 1 KiB counts.
    pub message: String,
}

/// What a retry policy decides about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Deliver it again after so long.
    Delay(Duration),
    /// Give it up.
    DeadLetter,
    /// Give it up for now, with the records of its ordering key behind it.
    ParkKey,
}

/// What a transform or a projection made of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Transformed {
    /// The outputs as an uncompressed records section, their timestamps counted from the same base
    /// as those of the input. The offset deltas of a transform's outputs count from 0, those of a
    /// projection's are their sources' own.
    pub records: Bytes,
    /// How many outputs there are.
    pub count: u32,
    /// The position of the record that each output was made of, ascending.
    pub sources: Vec<u32>,
    /// The records that must not be stored, ascending. They have no outputs.
    pub rejected: Vec<Rejection>,
    /// The records that the plugin failed on, ascending; at most 8. They have no outputs.
    pub failures: Vec<RecordFailure>,
    /// Whether the outputs are the input, byte for byte.
    pub unchanged: bool,
}

/// A record that a plugin rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The record's position in the batch.
    pub index: u32,
    /// What its producer is told, at most 1 KiB.
    pub reason: String,
}

/// One verdict per record, and which records failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdicts<T> {
    /// As many as there are records, in their order. Those of failed records mean nothing.
    pub values: Vec<T>,
    /// The records that the plugin failed on, ascending; at most 8.
    pub failures: Vec<RecordFailure>,
}

/// A record that a plugin failed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFailure {
    /// The record's position in the batch.
    pub index: u32,
    /// What the plugin said, or what stopped it.
    pub message: String,
    /// Where in the plugin that was, the innermost function first; at most 2 KiB.
    pub backtrace: Option<String>,
}

/// A set of a binding's declared routes: bit i stands for route i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RouteSet(u64);

impl RouteSet {
    /// Wraps the bits.
    #[must_use]
    pub const fn new(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Whether no route is taken.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the route at that position is taken.
    #[must_use]
    pub const fn contains(self, position: usize) -> bool {
        position < 64 && self.0 >> position & 1 == 1
    }

    /// The positions of the routes taken, ascending.
    pub fn positions(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |position| self.contains(*position))
    }
}
