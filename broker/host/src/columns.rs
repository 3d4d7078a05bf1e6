//! Records laid out as the columns that a plugin asked for, in chunks that fit a processor's cache.
//!
//! If values are asked for, the stored bytes are the arena as they are; if not, the columns are
//! copied together, so that the rest never enters the plugin.

mod cut;
#[cfg(test)]
mod tests;

pub(crate) use cut::{CHUNK_RECORDS_MAX, Chunks, Malformed};

use crate::Input;
use crate::contract::{Projection, WireBatch};
use std::ops::Range;

/// Some records of a batch, as columns.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    first: u32,
    count: u32,
    /// Where the first record begins in the section, and how many bytes all of them have there.
    start: usize,
    stored_bytes: usize,
    /// The arena, unless it is a part of the stored bytes.
    compact: Vec<u8>,
    compact_len: usize,
    stored: Option<Range<usize>>,
    /// Spans of each column while the chunk is filled, then of all columns one after the other.
    lanes: Vec<Vec<Span>>,
    spans: Vec<Span>,
    timestamps: Option<Vec<i64>>,
}

/// The largest arena that is kept for the next batch: one large value must not stay for ever.
const ARENA_KEPT_MAX: usize = 1 << 20;

/// Offset and length in the arena.
type Span = [u32; 2];

/// Spans and timestamps of some records of a chunk.
#[derive(Debug)]
pub(crate) struct Part {
    spans: Vec<Span>,
    timestamps: Option<Vec<i64>>,
}

impl Chunk {
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Where the first record begins in the section.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Bytes of the records in the section.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    /// The arena that spans point into.
    pub(crate) fn arena<'a>(&'a self, input: &'a Input) -> &'a [u8] {
        match &self.stored {
            Some(range) => input.records.get(range.clone()).unwrap_or_default(),
            None => self.compact.get(..self.compact_len).unwrap_or_default(),
        }
    }

    /// Whether it is small enough to be kept for the next batch.
    pub(crate) fn may_be_kept(&self) -> bool {
        self.compact.capacity() <= ARENA_KEPT_MAX
    }

    /// All records of the chunk, as the contract passes them.
    pub(crate) fn whole<'a>(&'a self, input: &'a Input) -> WireBatch<'a> {
        WireBatch {
            count: self.count,
            arena: self.arena(input),
            spans: self.spans.as_flattened(),
            timestamps: self.timestamps.as_deref(),
        }
    }

    /// Spans and timestamps of the records `range` of the chunk.
    pub(crate) fn part(&self, range: &Range<u32>) -> Part {
        let (start, end) = (range.start as usize, range.end as usize);
        let count = self.count as usize;
        let columns = (0..self.lanes.len()).map(|column| column * count);
        let spans = columns
            .filter_map(|column| self.spans.get(column + start..column + end))
            .flatten()
            .copied()
            .collect();
        let timestamps = self.timestamps.as_ref().and_then(|all| all.get(start..end));
        Part {
            spans,
            timestamps: timestamps.map(<[i64]>::to_vec),
        }
    }

    fn open(&mut self, first: u32, projection: &Projection, start: usize) {
        self.first = first;
        self.count = 0;
        self.start = start;
        self.compact_len = 0;
        self.stored = projection.value.then_some(start..start);
        self.spans.clear();
        self.lanes.resize_with(projection.columns(), Vec::new);
        self.lanes.iter_mut().for_each(Vec::clear);
        self.timestamps = projection.timestamp.then(Vec::new);
    }

    fn close(&mut self, end: usize) {
        self.stored_bytes = end - self.start;
        if let Some(stored) = &mut self.stored {
            stored.end = end;
        }
        match &mut *self.lanes {
            [only] => std::mem::swap(only, &mut self.spans),
            lanes => lanes
                .iter()
                .for_each(|lane| self.spans.extend_from_slice(lane)),
        }
    }
}

impl Part {
    /// The records `range` of `chunk`, as the contract passes them.
    pub(crate) fn batch<'a>(
        &'a self,
        chunk: &'a Chunk,
        range: &Range<u32>,
        input: &'a Input,
    ) -> WireBatch<'a> {
        WireBatch {
            count: range.end - range.start,
            arena: chunk.arena(input),
            spans: self.spans.as_flattened(),
            timestamps: self.timestamps.as_deref(),
        }
    }
}
