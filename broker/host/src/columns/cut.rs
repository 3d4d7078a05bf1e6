//! Cutting a batch into chunks and filling them: the host's share of what a record costs.

use super::{Chunk, Span};
use crate::Input;
use crate::contract::{ABSENT, Projection};
use crate::walk::{Place, RecordAt, Walker};
use std::hint::black_box;

/// Bytes after which a chunk ends. Copying into a plugin costs half as much per byte below
/// 256 KiB as above; the difference is room for the last record.
const CHUNK_BYTES: usize = 192 << 10;
/// Records of a chunk, however small they are.
pub(crate) const CHUNK_RECORDS_MAX: u32 = 16_384;
/// Values up to this length are copied as if they had it, which is one instruction.
const SHORT: usize = 16;
/// Records whose beginnings are fetched from memory together, and the size from which on that is
/// done: shorter ones the processor fetches ahead itself.
const AHEAD: usize = 64;
const AHEAD_BYTES: usize = 256;
/// Bytes before the end of a record in which its headers are expected, and behind the start of the
/// next one in which its key is.
const HEADERS_BYTES: usize = 16;
const KEY_BYTES: usize = 24;

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
    /// stays in registers, and nothing in it looks whether there is room to grow.
    #[inline(always)]
    fn fill_one(
        &mut self,
        chunk: &mut Chunk,
        end: u32,
        place: impl Fn(&Walker<'a>, &RecordAt) -> Place,
    ) -> Option<()> {
        let section = &self.input.records[..];
        let lane = chunk.lanes.first_mut()?;
        let records_max =
            (end.saturating_sub(self.next) as usize).min(CHUNK_BYTES / size_of::<Span>());
        lane.resize(records_max, [0, ABSENT]);
        let (mut walker, mut arena) = (self.walker, std::mem::take(&mut chunk.compact));
        let (mut at, mut count, mut bytes, mut fetched) = (0, 0, 0, 0);
        let headers = !self.projection.headers.is_empty();
        let mut fill = || {
            for span in &mut *lane {
                if bytes >= CHUNK_BYTES {
                    break;
                }
                let record = walker.record()?;
                if record.end >= fetched {
                    fetched = fetch_behind(section, &record, headers);
                }
                let mut length = 0;
                if let Some((from, to)) = place(&walker, &record) {
                    length = to - from;
                    copy(section.get(from..)?, length, &mut arena, at)?;
                    *span = [at as u32, length as u32];
                }
                at += length;
                bytes += length + size_of::<Span>();
                count += 1;
            }
            Some(())
        };
        let filled = fill();
        lane.truncate(count);
        self.next += count as u32;
        self.walker = walker;
        chunk.count = count as u32;
        (chunk.compact, chunk.compact_len) = (arena, at);
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
        arena.clear();
        let (first, mut next, mut bytes, mut fetched) = (self.next, self.next, 0, 0);
        while next < end && bytes < CHUNK_BYTES {
            let record = walker.record()?;
            if record.end >= fetched {
                fetched = fetch_behind(section, &record, !projection.headers.is_empty());
            }
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
        (chunk.compact_len, chunk.compact) = (arena.len(), arena);
        self.walker = walker;
        Some(())
    }
}

/// Reads where the records behind this one begin, and where their headers are if those are asked
/// for, if they are about as long: how far that is. Where a record begins is known only when the
/// one before it was read, and waiting for memory once for each would take longer than all that is
/// done with them.
#[inline(never)]
fn fetch_behind(section: &[u8], record: &RecordAt, headers: bool) -> usize {
    let length = record.end - record.start;
    if length >= AHEAD_BYTES {
        let rest = section.get(record.end..).unwrap_or_default();
        let byte = |at: usize| rest.get(at).copied().unwrap_or(0);
        let mut seen = 0;
        for start in (0..AHEAD).map(|behind| behind * length) {
            seen ^= byte(start + KEY_BYTES);
            if headers {
                seen ^= byte(start + length - HEADERS_BYTES);
            }
        }
        black_box(seen);
    }
    record.end + length * AHEAD
}

/// Copies so many bytes from the beginning of `from` to a place in the arena.
#[inline(always)]
fn copy(from: &[u8], length: usize, arena: &mut Vec<u8>, at: usize) -> Option<()> {
    let to = arena.get_mut(at..).and_then(<[u8]>::first_chunk_mut);
    match (from.first_chunk::<SHORT>(), to) {
        (Some(short), Some(to)) if length <= SHORT => *to = *short,
        _ => copy_long(from.get(..length)?, arena, at),
    }
    Some(())
}

/// The same for what is long, or if the arena is too short: it becomes as long as it has memory.
#[inline(never)]
fn copy_long(from: &[u8], arena: &mut Vec<u8>, at: usize) {
    if let Some(to) = arena.get_mut(at..at + from.len()) {
        to.copy_from_slice(from);
        return;
    }
    arena.truncate(at);
    arena.extend_from_slice(from);
    arena.reserve(SHORT);
    arena.resize(arena.capacity(), 0);
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

#[cfg(test)]
mod tests {
    use super::copy_long;

    #[test]
    fn what_is_long_is_copied_and_nothing_else_is_touched() {
        let mut arena = vec![7; 100];
        copy_long(&[1; 20], &mut arena, 10);
        assert_eq!(arena.len(), 100);
        assert_eq!((&arena[..10], &arena[30..]), (&[7; 10][..], &[7; 70][..]));
        assert_eq!(arena[10..30], [1; 20]);
        copy_long(&[2; 200], &mut arena, 30);
        assert_eq!(arena[10..230], [[1; 20].as_slice(), &[2; 200]].concat());
        assert!(arena.len() >= 230);
    }
}
