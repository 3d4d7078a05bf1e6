//! Reading: what is durable, and nothing else. From memory while it is there, else from the WAL,
//! else from segments.
//!
//! Batches move while they are read: what the index said may be gone by the time the disk is
//! asked. So whatever cannot be read is looked up again, and only what is still said to be in the
//! same place is an error.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

use crate::config::{Bug, LogConfig};
use crate::error::ReadError;
use crate::ids::{FileSequence, SegmentId};
use crate::index::{Bounds, Found, Index, Read, Seek, StoredBatch, Totals};
use crate::segment::Run;
use crate::vfs::Vfs;
use crate::wal::Files;

mod open_files;
mod runs;
#[cfg(test)]
mod tests;
mod wal;

use open_files::{FileKey, OpenFiles};
use runs::Runs;

/// How often batches may move away from under one read. Each time takes a whole flush or rewrite.
const MOVES_MAX: usize = 16;

/// Reads the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    index: Arc<RwLock<Index>>,
    files: Arc<Files>,
    disk: Disk,
    /// A planted bug.
    skips_at_borders: bool,
}

/// What is read from.
#[derive(Debug)]
struct Disk {
    open: OpenFiles,
    runs: Runs,
}

/// Where something was said to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Location(FileKey, u64);

/// What a read may still take, and what it has taken.
#[derive(Debug)]
struct Taken {
    read: Read,
    bytes: usize,
    bytes_max: usize,
    batches_max: usize,
}

impl LogReader {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        config: &LogConfig,
        index: Arc<RwLock<Index>>,
        files: Arc<Files>,
    ) -> Self {
        let dir: PathBuf = config.dir.clone();
        let disk = Disk {
            open: OpenFiles::new(vfs, dir, config.open_files),
            runs: Runs::new(config.index_bytes),
        };
        Self {
            shared: Arc::new(Shared {
                index,
                files,
                disk,
                skips_at_borders: config.plants(Bug::BorderSkipped),
            }),
        }
    }

    /// What a partition holds; `None` if nothing was ever appended.
    #[must_use]
    pub fn bounds(&self, partition: TopicPartition) -> Option<Bounds> {
        self.index(|index| index.bounds(partition))
    }

    /// All partitions that something was ever appended to, and what they hold.
    #[must_use]
    pub fn partitions(&self) -> Vec<(TopicPartition, Bounds)> {
        let mut all: Vec<_> = self.index(|index| index.partitions().collect());
        all.sort_unstable_by_key(|(at, _)| *at);
        all
    }

    /// What all partitions of a topic hold together, however many they are.
    #[must_use]
    pub fn totals(&self, topic: TopicId) -> Totals {
        self.index(|index| index.totals(topic))
    }

    /// The batches from the one that contains `from` on, or, where records were compacted away,
    /// from the next one on: at least one, then more, up to the limits or nearly; none if there is
    /// nothing up to the high-water mark, as it was at one and the same time. May read from disk.
    pub fn read(
        &self,
        partition: TopicPartition,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Result<Read, ReadError> {
        let mut taken = Taken::new(from, bytes_max, batches_max);
        let (mut next, mut moves, mut border) = (from, 0, None);
        let mut failed: Option<(Location, ReadError)> = None;
        while taken.wants_more() {
            let (bytes, batches) = taken.left();
            let found = self.index(|index| index.find(partition, next, bytes, batches));
            let location = match &found {
                Found::Places(places) => places
                    .first()
                    .map(|place| Location(FileKey::Wal(place.file()), place.envelope.into())),
                Found::Run(run) => Some(Location(FileKey::Segment(run.segment), run.position)),
                Found::Nothing(_) | Found::Cached(_) | Found::OutOfRange(_) => None,
            };
            if let Some((at, error)) = failed.take()
                && (location == Some(at) || moves == MOVES_MAX)
            {
                return taken.or(error);
            }
            let disk = &self.shared.disk;
            let (read, end) = match found {
                Found::Nothing(end) => {
                    taken.read.next = end;
                    break;
                }
                Found::Cached(batches) => {
                    taken.add(batches);
                    break;
                }
                Found::OutOfRange(bounds) => {
                    return taken.or(ReadError::OutOfRange {
                        partition,
                        offset: next,
                        start: bounds.start,
                        end: bounds.high_water_mark,
                    });
                }
                Found::Places(places) => (disk.read_places(partition, &places), None),
                Found::Run(run) => {
                    let read = disk.read_run(&run, next, bytes, batches);
                    (read, Some(run.end))
                }
            };
            border = end;
            match (read, location) {
                (Ok(batches), _) => {
                    // Behind the last batch of a run there may be a gap.
                    let read_to = batches.last().map(StoredBatch::end);
                    next = read_to.or(end).unwrap_or(next);
                    taken.add(batches);
                }
                (Err(error), Some(location)) => {
                    moves += 1;
                    failed = Some((location, error));
                }
                (Err(error), None) => return taken.or(error),
            }
        }
        Ok(self.planted(partition, taken.read, border))
    }

    /// The same read; with a planted bug it goes on too far where a run ends.
    fn planted(&self, partition: TopicPartition, read: Read, border: Option<Offset>) -> Read {
        let is_border = self.shared.skips_at_borders && border == Some(read.next);
        let end = |bounds: Bounds| bounds.high_water_mark;
        if is_border && self.bounds(partition).map(end) > border {
            return Read {
                next: read.next.advance(1),
                ..read
            };
        }
        read
    }

    /// The same if no disk is needed for it; else `None`.
    #[must_use]
    pub fn read_cached(
        &self,
        partition: TopicPartition,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Option<Read> {
        let (batches, next) =
            match self.index(|index| index.find(partition, from, bytes_max, batches_max)) {
                Found::Nothing(end) => (Vec::new(), end),
                Found::Cached(batches) => {
                    let next = batches.last().map_or(from, StoredBatch::end);
                    (batches, next)
                }
                Found::Places(_) | Found::Run(_) | Found::OutOfRange(_) => return None,
            };
        Some(Read { batches, next })
    }

    /// The first offset whose batch was appended at that time or later; the high-water mark if
    /// there is none. May read from disk.
    pub fn offset_at(
        &self,
        partition: TopicPartition,
        time: Timestamp,
    ) -> Result<Offset, ReadError> {
        self.seek(partition, |index| index.offset_at(partition, time), time)
    }

    /// The smallest offset where a batch begins such that at most about `bytes` lie at it and
    /// above. May read from disk.
    pub fn offset_keeping(
        &self,
        partition: TopicPartition,
        bytes: u64,
    ) -> Result<Offset, ReadError> {
        let any_time = Timestamp::default();
        self.seek(
            partition,
            |index| index.offset_keeping(partition, bytes),
            any_time,
        )
    }

    /// Looks an offset up, if need be in the run that the index names.
    fn seek(
        &self,
        partition: TopicPartition,
        look: impl Fn(&Index) -> Seek,
        time: Timestamp,
    ) -> Result<Offset, ReadError> {
        let disk = &self.shared.disk;
        let mut failed: Option<(Seek, ReadError)> = None;
        for _ in 0..MOVES_MAX {
            let seek = self.index(&look);
            if let Some((before, error)) = failed.take()
                && before == seek
            {
                return Err(error);
            }
            let found = match seek {
                Seek::Offset(offset) => return Ok(offset),
                Seek::TimeIn(run) => disk.offset_at(&run, time),
                Seek::BytesIn(run, bytes) => disk.offset_keeping(&run, bytes),
            };
            match found {
                Ok(offset) => {
                    let start = self.bounds(partition).map_or(offset, |bounds| bounds.start);
                    return Ok(offset.max(start));
                }
                Err(error) => failed = Some((seek, error)),
            }
        }
        Err(failed.expect("every round but a failed one returns").1)
    }

    /// How many bytes of a partition are in segments: in all, and, about, from that offset on,
    /// where there is a record at each.
    #[must_use]
    pub fn segment_bytes(&self, partition: TopicPartition, from: Offset) -> (u64, u64) {
        self.index(|index| {
            let runs = index.runs(partition).iter();
            runs.fold((0, 0), |(all, above), run| {
                (all + run.batch_bytes, above + run.bytes_from(from))
            })
        })
    }

    /// Bytes of the log's files.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.shared.files.disk_bytes()
    }

    /// A topic is gone: its records are no longer served.
    pub fn forget(&self, topic: TopicId) {
        self.retain(|other| other != topic);
    }

    /// Only these topics are left.
    pub fn retain(&self, keep: impl Fn(TopicId) -> bool) {
        self.shared
            .index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(keep);
    }

    /// Files that are gone are closed, so that their room is free. To be called once they are:
    /// WAL files below the first one that is left, and segments.
    pub(crate) fn close(&self, wal_below: FileSequence, segments: &[SegmentId]) {
        self.shared.disk.open.close(wal_below, segments);
        self.shared.disk.runs.close(segments);
    }

    /// The disk, and where on it the log is.
    pub(crate) fn place(&self) -> (&dyn Vfs, &Path) {
        self.shared.disk.open.place()
    }

    /// The segments that something is read from, the oldest first.
    pub(crate) fn segments(&self) -> Vec<SegmentId> {
        let live = self.index(Index::live_runs);
        let mut segments: Vec<SegmentId> = live.into_keys().collect();
        segments.sort_unstable();
        segments
    }

    /// Whether a run is read from.
    pub(crate) fn is_live(&self, run: &Run) -> bool {
        self.index(|index| index.is_live(run))
    }

    fn index<R>(&self, look: impl FnOnce(&Index) -> R) -> R {
        look(
            &self
                .shared
                .index
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }
}

impl Taken {
    fn new(from: Offset, bytes_max: usize, batches_max: usize) -> Self {
        Self {
            read: Read {
                batches: Vec::new(),
                next: from,
            },
            bytes: 0,
            bytes_max,
            batches_max: batches_max.max(1),
        }
    }

    fn left(&self) -> (usize, usize) {
        (
            self.bytes_max.saturating_sub(self.bytes),
            self.batches_max - self.read.batches.len(),
        )
    }

    /// With half of what it may take it is not worth asking the disk once more.
    fn wants_more(&self) -> bool {
        let batches = self.read.batches.len();
        batches == 0 || (self.bytes < self.bytes_max / 2 && batches < self.batches_max / 2)
    }

    /// Takes what still fits: a place gives at least one batch, even if it does not.
    fn add(&mut self, batches: Vec<StoredBatch>) {
        for batch in batches {
            let bytes = self.bytes.saturating_add(batch.bytes.len());
            if !self.read.batches.is_empty() && bytes > self.bytes_max {
                self.bytes_max = self.bytes;
                return;
            }
            self.bytes = bytes;
            self.read.next = batch.end();
            self.read.batches.push(batch);
        }
    }

    /// What was read is served first; the next read comes upon the error again.
    fn or(self, error: ReadError) -> Result<Read, ReadError> {
        if self.read.batches.is_empty() {
            Err(error)
        } else {
            Ok(self.read)
        }
    }
}
