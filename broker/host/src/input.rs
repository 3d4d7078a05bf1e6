//! What a call is given and what it answers.

use bytes::Bytes;
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

impl<T> Verdicts<T> {
    /// The same with every value converted.
    pub(crate) fn map<U>(self, convert: impl FnMut(T) -> U) -> Verdicts<U> {
        let values = self.values.into_iter().map(convert).collect();
        Verdicts {
            values,
            failures: self.failures,
        }
    }
}
