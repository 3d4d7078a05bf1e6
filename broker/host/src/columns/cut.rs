//! Cutting a batch into chunks and filling them: the host's share of what a record costs.

use super::{Chunk, Span};
use crate::Input;
use crate::contract::{ABSENT, Projection};
use crate::walk::{Place, RecordAt, Walker};

/// Bytes after which a chunk ends. Copying into a plugin costs half as much per byte below
/// 256 KiB as above; the difference is room for the last record.
const CHUNK_BYTES: usize = 192 << 10;
/// Records of a chunk, however small they are.
pub(crate) const CHUNK_RECORDS_MAX: u32 = 16_384;
/// Values up to this length are copied as if they had it, which is one instruction.
const SHORT: usize = 16;

/// The records section is not what the caller promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) index: u32,
}

/// Cuts a batch into chunks.
#[derive(Debug)]
pub(crate) struct Chunks<'a> {
    input: &'a Input,
    projection: &'a Projection,
    walker: Walker<'a>,
    next: u32,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(input: &'a Input, projection: &'a Projection) -> Self {
        Self {
            input,
            projection,
            walker: Walker::new(&input.records),
            next: 0,
        }
    }

    /// Fills `chunk` with the next records, at most `records_max`; whether there were any.
    pub(crate) fn fill(&mut self, chunk: &mut Chunk, records_max: u32) -> Result<bool, Malformed> {
        let start = self.walker.position();
        chunk.open(self.next, self.projection, start);
        let end = self
            .input
            .count
            .min(self.next.saturating_add(records_max.max(1)));
        let Projection {
            key,
            value,
            timestamp,
            headers,
        } = self.projection;
        let filled = match (key, value, timestamp, &headers[..]) {
            (true, false, false, []) => self.fill_one(chunk, end, |_, record| record.key),
            (false, false, false, [name]) => {
                let name = name.as_bytes();
                self.fill_one(chunk, end, |walker, record| walker.header(record, name))
            }
            (_, true, _, _) => self.fill_until::<true>(chunk, start, end),
            _ => self.fill_until::<false>(chunk, start, end),
        };
        filled.ok_or(Malformed { index: self.next })?;
        chunk.close(self.walker.position());
        Ok(chunk.count > 0)
    }

    /// One column alone, not of values: what most filters and keys ask for. What the loop changes
    /// stays in registers.
    #[inline(always)]
    fn fill_one(
        &mut self,
        chunk: &mut Chunk,
        end: u32,
        place: impl Fn(&Walker<'a>, &RecordAt) -> Place,
    ) -> Option<()> {
        let section = &self.input.records[..];
        let lane = chunk.lanes.first_mut()?;
        let (mut walker, mut arena) = (self.walker, std::mem::take(&mut chunk.compact));
        let (mut spans, mut next) = (std::mem::take(lane), self.next);
        let mut fill = || {
            while next < end && arena.len() + size_of_val(&spans[..]) < CHUNK_BYTES {
                let record = walker.record()?;
                let place = place(&walker, &record);
                put::<false>(section, 0, &mut arena, &mut spans, place)?;
                next += 1;
            }
            Some(())
        };
        let filled = fill();
        chunk.count = next - self.next;
        chunk.compact = arena;
        *lane = spans;
        (self.next, self.walker) = (next, walker);
        filled
    }

    /// With the stored bytes as the arena, or with the columns copied together.
    fn fill_until<const STORED: bool>(
        &mut self,
        chunk: &mut Chunk,
        start: usize,
        end: u32,
    ) -> Option<()> {
        let (section, projection) = (&self.input.records[..], self.projection);
        let span_bytes = 8 * projection.columns();
        // Locals stay in registers, where fields behind references would be written each time.
        let (mut walker, mut arena) = (self.walker, std::mem::take(&mut chunk.compact));
        let (first, mut next, mut bytes) = (self.next, self.next, 0);
        while next < end && bytes < CHUNK_BYTES {
            let record = walker.record()?;
            let mut lanes = chunk.lanes.iter_mut();
            // Three calls, so that each is inlined.
            if projection.key {
                put::<STORED>(section, start, &mut arena, lanes.next()?, record.key)?;
            }
            if projection.value {
                put::<STORED>(section, start, &mut arena, lanes.next()?, record.value)?;
            }
            for name in &projection.headers {
                let place = walker.header(&record, name.as_bytes());
                put::<STORED>(section, start, &mut arena, lanes.next()?, place)?;
            }
            if let Some(timestamps) = &mut chunk.timestamps {
                let base = self.input.base_timestamp.value();
                timestamps.push(base.wrapping_add(record.timestamp_delta));
            }
            next += 1;
            self.next = next;
            let arena_bytes = if STORED {
                walker.position() - start
            } else {
                arena.len()
            };
            bytes = arena_bytes + span_bytes * (next - first) as usize;
        }
        chunk.count = next - first;
        chunk.compact = arena;
        self.walker = walker;
        Some(())
    }
}

/// Appends a span to a lane, and its bytes to the arena unless they are in it.
#[inline(always)]
fn put<const STORED: bool>(
    section: &[u8],
    start: usize,
    arena: &mut Vec<u8>,
    lane: &mut Vec<Span>,
    place: Place,
) -> Option<()> {
    let Some((from, to)) = place else {
        lane.push([0, ABSENT]);
        return Some(());
    };
    let length = to - from;
    let at = if STORED { from - start } else { arena.len() };
    if !STORED {
        let rest = section.get(from..)?;
        match rest.first_chunk::<SHORT>() {
            Some(short) if length <= SHORT => {
                arena.extend_from_slice(short);
                arena.truncate(at + length);
            }
            _ => arena.extend_from_slice(rest.get(..length)?),
        }
    }
    lane.push([u32::try_from(at).ok()?, u32::try_from(length).ok()?]);
    Some(())
}
