//! Reading batches from segments: the sparse index says which part of a run to read, and both its
//! ends are where batches begin, so that nothing is read twice by who reads on.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use weir_wire::id::{Offset, Timestamp};

use super::Disk;
use super::open_files::FileKey;
use crate::error::ReadError;
use crate::format::fields::DecodeError;
use crate::format::segment::{INDEX_ENTRY_BYTES, decode_index};
use crate::ids::SegmentId;
use crate::index::StoredBatch;
use crate::lru::Lru;
use crate::segment::{FrameHead, Frames, IndexEntry, Run};

/// What is read at once at most, unless a batch is larger.
const READ_BYTES_MAX: u64 = 2 << 20;
/// What envelopes may add to the batches of a read.
const ENVELOPES_BYTES: u64 = 16 << 10;
/// What keeping a sparse index costs besides its entries.
const INDEX_OVERHEAD: usize = 160;

type Entries = Arc<[IndexEntry]>;

/// The sparse indexes that were used last.
#[derive(Debug)]
pub(super) struct Runs {
    indexes: Mutex<Lru<(SegmentId, u64), Entries>>,
}

impl Runs {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            indexes: Mutex::new(Lru::new(bytes_max)),
        }
    }

    pub(super) fn close(&self, segments: &[SegmentId]) {
        self.lock(|indexes| indexes.retain(|(segment, _)| !segments.contains(segment)));
    }

    fn lock<R>(&self, act: impl FnOnce(&mut Lru<(SegmentId, u64), Entries>) -> R) -> R {
        act(&mut self.indexes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many sparse indexes are kept, and what they take.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize) {
        self.lock(|indexes| indexes.size())
    }
}

impl Disk {
    /// Batches of a run from the first that ends behind `from` on, as far as they fit the limits
    /// and are sound: at least one, or why not; none if there is no such batch.
    pub(super) fn read_run(
        &self,
        run: &Run,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        let entries = self.entries(run)?;
        let mut first = entries
            .partition_point(|entry| entry.offset <= from)
            .saturating_sub(1);
        let mut batches = Vec::new();
        while batches.is_empty() && first < entries.len() {
            let behind = part_end(run, &entries, first, bytes_max, batches_max);
            let part = Part::read(self, run, &entries, first, behind)?;
            part.batches(from, bytes_max, batches_max, &mut batches)?;
            first = behind;
        }
        Ok(batches)
    }

    /// The first offset of a run that was appended at that time or later, which there is one of.
    pub(super) fn offset_at(&self, run: &Run, time: Timestamp) -> Result<Offset, ReadError> {
        let entries = self.entries(run)?;
        let behind = entries.partition_point(|entry| entry.time < time);
        let first = behind.saturating_sub(1);
        let found = Part::read(self, run, &entries, first, first + 1)?.offset_at(time)?;
        let next = entries.get(first + 1).map_or(run.end, |entry| entry.offset);
        Ok(found.unwrap_or(next))
    }

    /// The first batch in the sparse index that at most so many bytes of the run follow, itself
    /// included; the run's end if there is none.
    pub(super) fn offset_keeping(&self, run: &Run, bytes: u64) -> Result<Offset, ReadError> {
        let entries = self.entries(run)?;
        let end = run.frames_end();
        let first = entries.partition_point(|entry| end - entry.position > bytes);
        Ok(entries.get(first).map_or(run.end, |entry| entry.offset))
    }

    fn entries(&self, run: &Run) -> Result<Entries, ReadError> {
        if run.index_entries == 1 {
            return Ok(Arc::new([IndexEntry {
                offset: run.base,
                time: run.first_time,
                position: run.position,
            }]));
        }
        let name = (run.segment, run.position);
        if let Some(entries) = self.runs.lock(|indexes| indexes.get(&name)) {
            return Ok(entries);
        }
        let key = FileKey::Segment(run.segment);
        let bytes = self.open.read(key, run.index_at, run.index_bytes())?;
        let entries: Entries = decode_index(&bytes, run)
            .map_err(|error| {
                let offset = run.index_at + error.at as u64;
                self.open.corrupt(key, offset, error.what)
            })?
            .into();
        let weight = entries.len() * INDEX_ENTRY_BYTES + INDEX_OVERHEAD;
        self.runs
            .lock(|indexes| indexes.insert(name, entries.clone(), weight));
        Ok(entries)
    }
}

/// Up to which entry of its sparse index a run is read from entry `first` on: as far as the
/// limits are likely to reach, and one entry at least.
fn part_end(
    run: &Run,
    entries: &[IndexEntry],
    first: usize,
    bytes_max: usize,
    batches_max: usize,
) -> usize {
    let mean = run.length / u64::from(run.batches.max(1)) + 1;
    let likely = (batches_max as u64).saturating_mul(mean);
    let most = likely.min(bytes_max as u64).min(READ_BYTES_MAX) + ENVELOPES_BYTES;
    let start = entries
        .get(first)
        .map_or(run.position, |entry| entry.position);
    let within = |entry: &IndexEntry| entry.position - start <= most;
    if run.frames_end() - start <= most {
        return entries.len();
    }
    let behind = entries
        .get(first + 1..)
        .map_or(0, |later| later.partition_point(within));
    first + behind.max(1)
}

/// A part of a run, from one entry of its sparse index to another.
struct Part<'a> {
    disk: &'a Disk,
    run: &'a Run,
    /// Where it begins.
    entry: IndexEntry,
    /// The entries behind that.
    later: &'a [IndexEntry],
    bytes: Bytes,
}

/// How far a part was gone through.
struct Walk<'a> {
    frames: Frames,
    /// What the next batch may begin with; the first one must.
    next: Offset,
    /// The entries of the sparse index that were not come by yet.
    later: &'a [IndexEntry],
}

impl<'a> Part<'a> {
    fn read(
        disk: &'a Disk,
        run: &'a Run,
        entries: &'a [IndexEntry],
        first: usize,
        behind: usize,
    ) -> Result<Self, ReadError> {
        let entry = *entries.get(first).expect("it is one of the entries");
        let end = entries
            .get(behind)
            .map_or(run.frames_end(), |entry| entry.position);
        let length = usize::try_from(end - entry.position).expect("a part fits memory");
        let key = FileKey::Segment(run.segment);
        let bytes = disk.open.read(key, entry.position, length)?;
        Ok(Self {
            disk,
            run,
            entry,
            later: entries.get(first + 1..).unwrap_or_default(),
            bytes,
        })
    }

    fn walk(&self) -> Walk<'a> {
        Walk {
            frames: Frames::new(self.bytes.clone()),
            next: self.entry.offset,
            later: self.later,
        }
    }

    /// Its batches that end behind `from`, up to the limits.
    fn batches(
        &self,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
        batches: &mut Vec<StoredBatch>,
    ) -> Result<(), ReadError> {
        let (mut walk, mut total) = (self.walk(), 0_usize);
        while batches.len() < batches_max.max(1) {
            let at = walk.frames.at();
            match self.batch(&mut walk, from) {
                Ok(None) => break,
                Ok(Some(None)) => {}
                Ok(Some(Some(batch))) => {
                    total = total.saturating_add(batch.bytes.len());
                    if !batches.is_empty() && total > bytes_max {
                        break;
                    }
                    batches.push(batch);
                }
                Err(error) if batches.is_empty() => return Err(self.corrupt(at, &error)),
                // What is sound is served; the next read comes upon this one first.
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// The next frame, if there is one, and its batch, if it ends behind `from`.
    fn batch(
        &self,
        walk: &mut Walk<'_>,
        from: Offset,
    ) -> Result<Option<Option<StoredBatch>>, DecodeError> {
        let Some((head, frame)) = self.next(walk)? else {
            return Ok(None);
        };
        if walk.next <= from {
            return Ok(Some(None));
        }
        head.batch(&frame).map(|batch| Some(Some(batch)))
    }

    /// The next frame, if it is one that the sparse index leaves room for.
    fn next(&self, walk: &mut Walk<'_>) -> Result<Option<(FrameHead, Bytes)>, DecodeError> {
        let at = self.entry.position + walk.frames.at() as u64;
        let mut indexed = at == self.entry.position;
        if let Some((entry, later)) = walk.later.split_first()
            && entry.position == at
        {
            (walk.next, walk.later, indexed) = (entry.offset, later, true);
        }
        let Some((head, frame)) = walk.frames.next(self.run.partition)? else {
            return Ok(None);
        };
        let base = head.envelope.base_offset;
        let end = base.advance(head.envelope.count);
        let room = walk
            .later
            .first()
            .map_or(self.run.end, |entry| entry.offset);
        if base < walk.next || (indexed && base != walk.next) || end > room {
            return Err(DecodeError {
                at: 0,
                what: "another batch stands there",
            });
        }
        walk.next = end;
        Ok(Some((head, frame)))
    }

    /// The offset of its first batch that was appended at that time or later.
    fn offset_at(&self, time: Timestamp) -> Result<Option<Offset>, ReadError> {
        let mut walk = self.walk();
        loop {
            let at = walk.frames.at();
            match self
                .next(&mut walk)
                .map_err(|error| self.corrupt(at, &error))?
            {
                Some((head, _)) if head.envelope.append_time < time => {}
                Some((head, _)) => return Ok(Some(head.envelope.base_offset)),
                None => return Ok(None),
            }
        }
    }

    fn corrupt(&self, at: usize, error: &DecodeError) -> ReadError {
        let offset = self.entry.position + (at + error.at) as u64;
        let key = FileKey::Segment(self.run.segment);
        self.disk.open.corrupt(key, offset, error.what)
    }
}
