//! The outputs of a transform or a projection, put together as a new records section. What the
//! plugin leaves as it is is copied from the stored bytes; of records that it leaves altogether,
//! whole runs are, and a section of which nothing was changed is not copied at all.

use super::check::{self, bytes};
use super::headers::changed;
use super::{Mark, Question};
use crate::contract::{ABSENT, HeaderChange, Mapped, UNCHANGED};
use crate::instance::Failure;
use crate::walk::{RecordAt, Walker};
use crate::{RecordFailure, Rejection, Transformed};
use bytes::Bytes;
use std::ops::Range;
use weir_wire::limits::{BATCH_INFLATED_MAX, BATCH_RECORDS_MAX};
use weir_wire::varint::{put_signed, signed_len};

/// Length and deltas of a record, at most.
const HEAD_MAX: usize = 32;
/// Bytes of headers that may be looked through for changes, as a multiple of the bytes that may be
/// made: a plugin must not get the host to work for nothing.
const SEARCH_FACTOR: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Outputs {
    /// A projection keeps the offsets of its sources; a transform counts its outputs.
    own_offsets: bool,
    /// Bytes that they may have altogether.
    room: usize,
    /// Outputs before these, for their offsets.
    first: u32,
    records: Vec<u8>,
    /// Stored bytes that follow `records`, not copied yet.
    run: Range<usize>,
    /// How much of the stored bytes the outputs begin with.
    prefix: usize,
    sources: Vec<u32>,
    rejected: Vec<Rejection>,
    /// The stored bytes, if they are the outputs.
    whole: Option<Bytes>,
    scratch: Scratch,
}

#[derive(Debug, Default)]
struct Scratch {
    entries: Vec<u8>,
    headers: Vec<u8>,
}

/// How far the section has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Filled {
    records: usize,
    run: Range<usize>,
    prefix: usize,
}

/// A part of an output.
#[derive(Clone, Copy, Debug)]
enum Piece<'a> {
    /// As the source has it.
    Unchanged,
    /// With its length, if it has one.
    Stored(&'a [u8]),
    Null,
    New(&'a [u8]),
}

/// What may still be made of an answer.
struct Room {
    bytes: usize,
    search: usize,
}

impl Outputs {
    pub(super) fn new(own_offsets: bool, capacity: usize, room: usize) -> Self {
        Self {
            own_offsets,
            room,
            sources: Vec::with_capacity(capacity),
            ..Self::default()
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sources.len()
    }

    pub(super) fn mark(&self) -> Mark {
        Mark {
            records: self.sources.len(),
            rejected: self.rejected.len(),
            bytes: Filled {
                records: self.records.len(),
                run: self.run.clone(),
                prefix: self.prefix,
            },
        }
    }

    pub(super) fn truncate(&mut self, mark: &Mark) {
        self.sources.truncate(mark.records);
        self.rejected.truncate(mark.rejected);
        self.records.truncate(mark.bytes.records);
        self.run = mark.bytes.run.clone();
        self.prefix = mark.bytes.prefix;
    }

    /// Empty, and counting on from here.
    pub(super) fn repetition(&mut self, section: &[u8]) -> Self {
        self.settle(section);
        Self {
            own_offsets: self.own_offsets,
            room: self.room,
            first: self.first + self.sources.len() as u32,
            ..Self::default()
        }
    }

    pub(super) fn is_repeated(&mut self, mark: &Mark, other: &mut Self, section: &[u8]) -> bool {
        self.settle(section);
        other.settle(section);
        self.sources.get(mark.records..) == Some(&other.sources)
            && self.rejected.get(mark.rejected..) == Some(&other.rejected)
            && self.records.get(mark.bytes.records..) == Some(&other.records)
    }

    pub(super) fn finish(&mut self, records: &Bytes, count: u32) {
        let all = self.sources.len() == count as usize && self.prefix == self.bytes();
        if all && self.prefix <= records.len() {
            self.whole = Some(records.slice(..self.prefix));
        } else {
            self.settle(records);
        }
    }

    pub(super) fn transformed(self, failures: Vec<RecordFailure>) -> Transformed {
        Transformed {
            unchanged: self.whole.is_some(),
            records: self.whole.unwrap_or_else(|| Bytes::from(self.records)),
            count: self.sources.len() as u32,
            sources: self.sources,
            rejected: self.rejected,
            failures,
        }
    }

    /// Checks the answer and appends the outputs.
    pub(super) fn take(&mut self, mapped: Mapped, question: &Question<'_>) -> Result<(), Failure> {
        check::mapped(&mapped, question.batch.count, self.own_offsets)?;
        if self.sources.len() + mapped.source.len() > BATCH_RECORDS_MAX as usize {
            return Err(Failure::too_large());
        }
        let mut room = Room {
            bytes: question.output_max,
            search: question.output_max.saturating_mul(SEARCH_FACTOR),
        };
        let mut sources = Sources::new(question);
        let mut changes = &mapped.headers[..];
        let spans = mapped.spans.as_chunks::<4>().0;
        for (output, (source, span)) in mapped.source.iter().zip(spans).enumerate() {
            let record = sources.record(*source)?;
            let own = changes
                .iter()
                .take_while(|change| change.output as usize == output)
                .count();
            let (own, rest) = changes.split_at(own);
            changes = rest;
            let [key_at, key_len, value_at, value_len] = *span;
            let unchanged = key_len == UNCHANGED && value_len == UNCHANGED && own.is_empty();
            let section = question.section;
            if unchanged {
                self.put_unchanged(section, &record, &mut room)?;
            } else {
                let outside = |what| outside(what, output);
                let key = piece(&mapped.data, key_at, key_len).ok_or_else(|| outside("key"))?;
                let value = piece(&mapped.data, value_at, value_len);
                let value = value.ok_or_else(|| outside("value"))?;
                self.put_changed(section, &record, [key, value], own, &mut room)?;
            }
            self.sources.push(question.first + source);
        }
        let rejected = mapped.rejected.into_iter();
        self.rejected
            .extend(rejected.map(|(index, reason)| Rejection {
                index: question.first + index,
                reason: check::reason(&reason),
            }));
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.records.len() + self.run.len()
    }

    /// The offset delta of the next output.
    fn delta(&self, record: &RecordAt) -> u32 {
        if self.own_offsets {
            record.offset_delta
        } else {
            self.first + self.sources.len() as u32
        }
    }

    fn put_unchanged(
        &mut self,
        section: &[u8],
        record: &RecordAt,
        room: &mut Room,
    ) -> Result<(), Failure> {
        let delta = self.delta(record);
        self.reserve(section, record.end - record.start + HEAD_MAX, room)?;
        if delta != record.offset_delta {
            return self.put(section, record, delta, record.end, []);
        }
        if self.prefix == record.start && self.bytes() == record.start {
            self.prefix = record.end;
        }
        if self.run.is_empty() || self.run.end != record.start {
            self.settle(section);
            self.run = record.start..record.end;
        } else {
            self.run.end = record.end;
        }
        Ok(())
    }

    fn put_changed(
        &mut self,
        section: &[u8],
        record: &RecordAt,
        [key, value]: [Piece<'_>; 2],
        changes: &[HeaderChange],
        room: &mut Room,
    ) -> Result<(), Failure> {
        let delta = self.delta(record);
        let headers = section.get(record.headers..record.end);
        let mut headers = headers.ok_or_else(Failure::malformed)?;
        let mut scratch = Scratch::default();
        if !changes.is_empty() {
            let search = headers.len().saturating_mul(changes.len());
            room.search = room.search.checked_sub(search).ok_or_else(too_much)?;
            scratch = std::mem::take(&mut self.scratch);
            let Scratch {
                entries,
                headers: made,
            } = &mut scratch;
            changed(section, record, changes, entries, made).ok_or_else(Failure::malformed)?;
            headers = made;
        }
        let stored = section.get(record.value_at..record.headers);
        let stored = Piece::Stored(stored.ok_or_else(Failure::malformed)?);
        let (kept_to, key, value) = match (key, value) {
            (Piece::Unchanged, Piece::Unchanged) => (record.headers, key, value),
            (Piece::Unchanged, _) => (record.value_at, key, value),
            (key, Piece::Unchanged) => (record.body, key, stored),
            (key, value) => (record.body, key, value),
        };
        let pieces = [key, value, Piece::Stored(headers)];
        let length = pieces.iter().map(Piece::len).sum::<usize>() + (kept_to - record.body);
        self.reserve(section, length + HEAD_MAX, room)?;
        let put = self.put(section, record, delta, kept_to, pieces);
        if !changes.is_empty() {
            self.scratch = scratch;
        }
        put
    }

    /// Takes so many bytes of the room, and of what a batch may become altogether.
    fn reserve(&self, section: &[u8], length: usize, room: &mut Room) -> Result<(), Failure> {
        room.bytes = room.bytes.checked_sub(length).ok_or_else(too_much)?;
        // What was as large before is never refused.
        let most = section.len().max(BATCH_INFLATED_MAX) + HEAD_MAX;
        let bytes = self.bytes() + length;
        if bytes > most {
            return Err(Failure::too_large());
        }
        if bytes > self.room {
            return Err(Failure::no_room());
        }
        Ok(())
    }

    /// Puts together the record up to `kept_to`, with another offset delta, and what follows then.
    fn put<const N: usize>(
        &mut self,
        section: &[u8],
        record: &RecordAt,
        delta: u32,
        kept_to: usize,
        pieces: [Piece<'_>; N],
    ) -> Result<(), Failure> {
        self.settle(section);
        self.make_room(section);
        let new_delta = (delta != record.offset_delta).then_some(i64::from(delta));
        // Attributes and timestamp stay as they are.
        let (first, second) = match new_delta {
            None => (record.attributes..kept_to, kept_to..kept_to),
            Some(_) => (record.attributes..record.offset_at, record.body..kept_to),
        };
        let (first, second) = (section.get(first), section.get(second));
        let (first, second) = first.zip(second).ok_or_else(Failure::malformed)?;
        let body: usize = pieces.iter().map(Piece::len).sum();
        let length = first.len() + new_delta.map_or(0, signed_len) + second.len() + body;
        let out = &mut self.records;
        out.reserve(length + HEAD_MAX);
        put_signed(out, length as i64);
        put_bytes(out, first);
        if let Some(delta) = new_delta {
            put_signed(out, delta);
            put_bytes(out, second);
        }
        for piece in pieces {
            piece.put(out);
        }
        Ok(())
    }

    /// Outputs mostly come to about as many bytes as there were.
    fn make_room(&mut self, section: &[u8]) {
        if self.records.capacity() == 0 {
            self.records.reserve(section.len() + HEAD_MAX);
        }
    }

    /// Copies the run.
    fn settle(&mut self, section: &[u8]) {
        let run = std::mem::take(&mut self.run);
        if run.is_empty() {
            return;
        }
        self.make_room(section);
        self.records
            .extend_from_slice(section.get(run).unwrap_or_default());
    }
}

/// The sources of a question's outputs, which ascend.
struct Sources<'a> {
    walker: Walker<'a>,
    /// How many records of the chunk have been read, and where the last of them begins.
    read: u32,
    last: Walker<'a>,
    /// The number in the chunk of the question's first record.
    skip: u32,
}

impl<'a> Sources<'a> {
    fn new(question: &Question<'a>) -> Self {
        let walker = Walker::at(question.section, question.start);
        Self {
            walker,
            read: 0,
            last: walker,
            skip: question.skip,
        }
    }

    // Inlined, so that what nobody asks for of a record is not put together.
    #[inline(always)]
    fn record(&mut self, source: u32) -> Result<RecordAt, Failure> {
        let wanted = self.skip + source;
        // The same once more: it is multiplied.
        if self.read > wanted {
            (self.walker, self.read) = (self.last, wanted);
        }
        loop {
            self.last = self.walker;
            let record = self.walker.record().ok_or_else(Failure::malformed)?;
            self.read += 1;
            if self.read > wanted {
                return Ok(record);
            }
        }
    }
}

impl Piece<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Unchanged => 0,
            Self::Stored(bytes) => bytes.len(),
            Self::Null => 1,
            Self::New(bytes) => signed_len(bytes.len() as i64) + bytes.len(),
        }
    }

    #[inline]
    fn put(self, out: &mut Vec<u8>) {
        match self {
            Self::Unchanged => {}
            Self::Stored(bytes) => put_bytes(out, bytes),
            Self::Null => put_signed(out, -1),
            Self::New(bytes) => {
                put_signed(out, bytes.len() as i64);
                put_bytes(out, bytes);
            }
        }
    }
}

/// Appends bytes. Most parts of a record are a few, for which a call of memmove takes longer than
/// two moves that overlap.
#[inline(always)]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    match bytes.len() {
        0 => {}
        2..=4 => put_ends::<2>(out, bytes),
        5..=8 => put_ends::<4>(out, bytes),
        9..=16 => put_ends::<8>(out, bytes),
        17..=32 => put_ends::<16>(out, bytes),
        _ => out.extend_from_slice(bytes),
    }
}

/// Appends `N` to `2 * N` bytes.
#[inline]
fn put_ends<const N: usize>(out: &mut Vec<u8>, bytes: &[u8]) {
    let end = out.len() + bytes.len();
    out.extend_from_slice(bytes.first_chunk::<N>().expect("as many bytes"));
    out.truncate(end - N);
    out.extend_from_slice(bytes.last_chunk::<N>().expect("as many bytes"));
}

/// What a span stands for; `None` if it lies outside.
#[inline]
fn piece(data: &[u8], start: u32, length: u32) -> Option<Piece<'_>> {
    match length {
        UNCHANGED => Some(Piece::Unchanged),
        ABSENT => Some(Piece::Null),
        length => bytes(data, start, length).map(Piece::New),
    }
}

fn outside(what: &str, output: usize) -> Failure {
    Failure::answered(format!(
        "the plugin answered a {what} outside its bytes for output {output}"
    ))
}

fn too_much() -> Failure {
    Failure::limit("the plugin was stopped: its outputs have more bytes than they may".to_owned())
}

#[cfg(test)]
mod tests;
