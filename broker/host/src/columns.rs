//! Records laid out as the columns that a plugin asked for, in chunks that fit a processor's cache.
//!
//! If values are asked for, the stored bytes are the arena as they are; if not, the columns are
//! copied together, so that the rest never enters the plugin.

use crate::Input;
use crate::contract::{ABSENT, Projection, WireBatch};
use std::ops::Range;
use weir_wire::batch::{RecordView, Records};

/// Bytes after which a chunk ends. Copying into a plugin costs half as much per byte below
/// 256 KiB as above; the difference is room for the last record.
const CHUNK_BYTES: usize = 192 << 10;
/// Records of a chunk, however small they are.
pub(crate) const CHUNK_RECORDS_MAX: u32 = 16_384;

/// The records section is not what the caller promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) index: u32,
}

/// Some records of a batch, as columns.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    first: u32,
    count: u32,
    /// The arena, unless it is a part of the stored bytes.
    compact: Vec<u8>,
    stored: Option<Range<usize>>,
    /// Spans of the first column, with those of all columns appended by `close`.
    spans: Vec<u32>,
    further: Vec<Vec<u32>>,
    timestamps: Option<Vec<i64>>,
    columns: usize,
}

/// Spans and timestamps of some records of a chunk.
#[derive(Debug)]
pub(crate) struct Part {
    spans: Vec<u32>,
    timestamps: Option<Vec<i64>>,
}

/// Cuts a batch into chunks.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    input: &'a Input,
    projection: &'a Projection,
    records: Records<'a>,
    next: u32,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(input: &'a Input, projection: &'a Projection) -> Self {
        let records = Records::new(&input.records, input.count);
        Self {
            input,
            projection,
            records,
            next: 0,
        }
    }

    /// Fills `chunk` with the next records, at most `records_max`; whether there were any.
    pub(crate) fn fill(&mut self, chunk: &mut Chunk, records_max: u32) -> Result<bool, Malformed> {
        let start = self.position();
        chunk.open(self.next, self.projection, start);
        let stored = self
            .projection
            .value
            .then(|| self.input.records.as_ptr() as usize + start);
        let end = self
            .input
            .count
            .min(self.next.saturating_add(records_max.max(1)));
        let mut bytes = 0;
        while self.next < end && bytes < CHUNK_BYTES {
            let malformed = Malformed { index: self.next };
            let record = self.records.next().and_then(Result::ok).ok_or(malformed)?;
            match stored {
                Some(base) => {
                    let at = |bytes: &[u8]| (bytes.as_ptr() as usize).wrapping_sub(base);
                    chunk
                        .push(&record, self.projection, |_, bytes| at(bytes))
                        .ok_or(malformed)?;
                    bytes = self.position() - start;
                }
                None => {
                    let copy = |arena: &mut Vec<u8>, bytes: &[u8]| {
                        let at = arena.len();
                        arena.extend_from_slice(bytes);
                        at
                    };
                    chunk
                        .push(&record, self.projection, copy)
                        .ok_or(malformed)?;
                    bytes = chunk.compact.len() + 8 * chunk.columns * chunk.count as usize;
                }
            }
            if let Some(timestamps) = &mut chunk.timestamps {
                timestamps.push(record.timestamp(self.input.base_timestamp).value());
            }
            self.next += 1;
        }
        chunk.close(self.position());
        Ok(chunk.count > 0)
    }

    /// How much of the section has been read.
    fn position(&self) -> usize {
        self.input.records.len() - self.records.rest().len()
    }
}

impl Chunk {
    pub(crate) fn first(&self) -> u32 {
        self.first
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The arena that spans point into.
    pub(crate) fn arena<'a>(&'a self, input: &'a Input) -> &'a [u8] {
        match &self.stored {
            Some(range) => input.records.get(range.clone()).unwrap_or_default(),
            None => &self.compact,
        }
    }

    /// All records of the chunk, as the contract passes them.
    pub(crate) fn whole<'a>(&'a self, input: &'a Input) -> WireBatch<'a> {
        WireBatch {
            count: self.count,
            base_offset: input.base_offset.advance(self.first).value(),
            arena: self.arena(input),
            spans: &self.spans,
            timestamps: self.timestamps.as_deref(),
        }
    }

    /// Spans and timestamps of the records `range` of the chunk.
    pub(crate) fn part(&self, range: &Range<u32>) -> Part {
        let (start, end) = (range.start as usize, range.end as usize);
        let count = self.count as usize;
        let columns = (0..self.columns).map(|column| column * count);
        let spans = columns
            .filter_map(|column| self.spans.get(2 * (column + start)..2 * (column + end)))
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
        self.columns = projection.columns();
        self.compact.clear();
        self.spans.clear();
        self.stored = projection.value.then_some(start..start);
        self.further
            .resize_with(self.columns.saturating_sub(1), Vec::new);
        self.further.iter_mut().for_each(Vec::clear);
        self.timestamps = projection.timestamp.then(Vec::new);
    }

    /// Adds a record; `place` says where in the arena its bytes lie. `None` if they cannot lie
    /// there.
    #[inline]
    fn push(
        &mut self,
        record: &RecordView<'_>,
        projection: &Projection,
        mut place: impl FnMut(&mut Vec<u8>, &[u8]) -> usize,
    ) -> Option<()> {
        let mut spans = std::iter::once(&mut self.spans).chain(&mut self.further);
        let arena = &mut self.compact;
        let mut put = |bytes: Option<&[u8]>| {
            let span = match bytes {
                Some(bytes) => [
                    u32::try_from(place(arena, bytes)).ok()?,
                    u32::try_from(bytes.len()).ok()?,
                ],
                None => [0, ABSENT],
            };
            spans.next()?.extend_from_slice(&span);
            Some(())
        };
        if projection.key {
            put(record.key)?;
        }
        if projection.value {
            put(record.value)?;
        }
        for name in &projection.headers {
            put(record.header(name))?;
        }
        self.count += 1;
        Some(())
    }

    fn close(&mut self, end: usize) {
        if let Some(stored) = &mut self.stored {
            stored.end = end;
        }
        for column in &self.further {
            self.spans.extend_from_slice(column);
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
            base_offset: input.base_offset.advance(chunk.first + range.start).value(),
            arena: chunk.arena(input),
            spans: &self.spans,
            timestamps: self.timestamps.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests;
