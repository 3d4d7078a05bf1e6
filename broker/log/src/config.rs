//! What a log is told when it is opened.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;

use weir_wire::id::{ShardId, Term};

use crate::archive::BatchKeys;
use crate::checkpoint;
use crate::manifest::SectionRef;
use crate::page_buf::PAGE_BYTES;
use crate::vfs::FreeSpace;

/// Half of the smallest holds the header of a block and an entry; positions in the largest fit
/// 32 bits.
const WAL_FILE_BYTES: RangeInclusive<u64> = 64 << 10..=2 << 30;

/// With fewer, the archiver could not work while the WAL goes on.
const WAL_FILES_MIN: u64 = 4;

/// What is to be left free on the disk: the smaller of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskReserve {
    /// In hundredths of the disk.
    pub percent: u8,
    /// In bytes.
    pub bytes: u64,
}

impl Default for DiskReserve {
    fn default() -> Self {
        Self {
            percent: 5,
            bytes: 1 << 30,
        }
    }
}

impl DiskReserve {
    /// Whether so little is left.
    pub(crate) fn is_touched(self, space: FreeSpace) -> bool {
        let share = space.total / 100 * u64::from(self.percent);
        space.free < share.min(self.bytes)
    }
}

/// Settings of a log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The directory of the log. Whoever opens it holds the lock of the data directory.
    pub dir: PathBuf,
    /// The shard whose entries these are.
    pub shard: ShardId,
    /// The term of entries from now on.
    pub term: Term,
    /// Bytes of a WAL file, a whole number of 4 KiB pages.
    pub wal_file_bytes: u64,
    /// Bytes of the newest batches that are kept in memory.
    pub cache_bytes: usize,
    /// Bytes of segments' sparse indexes that are kept in memory.
    pub index_bytes: usize,
    /// Files that are kept open for reading.
    pub open_files: usize,
    /// Bytes of entries that may wait for the WAL thread; the broker's own budget is smaller.
    pub queue_bytes: usize,
    /// The largest block, unless a single entry is larger.
    pub block_bytes: usize,
    /// The most WAL files that may wait until what is in them is in segments; at least four.
    pub wal_bytes: u64,
    /// A partition that has so much in the WAL gets a segment of its own; others share one.
    pub segment_own_bytes: u64,
    /// The most that a segment holds which several are made into.
    pub segment_bytes: u64,
    /// What is to be left free on the disk: with less, no record is taken.
    pub disk_reserve: DiskReserve,
    /// Whether segments are written slowly when there is time, so that small commits stay quick.
    pub paced: bool,
    /// Whether files are prepared by a thread of their own, ahead of need. Without, they are made
    /// when they are needed: for simulations.
    pub prepare_ahead: bool,
    /// What looks into batches for compaction by key; without, nothing is compacted.
    pub batch_keys: Option<Arc<dyn BatchKeys>>,
    /// Bytes of memory for the keys of a compaction. If they are not enough for all, the rest of
    /// the partition is left for the next time.
    pub compaction_bytes: usize,
    /// A bug planted on purpose.
    #[cfg(debug_assertions)]
    pub planted: Option<Bug>,
}

impl LogConfig {
    /// The defaults for a log in that directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, shard: ShardId) -> Self {
        Self {
            dir: dir.into(),
            shard,
            term: Term::new(1),
            wal_file_bytes: 32 << 20,
            cache_bytes: 192 << 20,
            index_bytes: 32 << 20,
            open_files: 256,
            queue_bytes: 512 << 20,
            block_bytes: 8 << 20,
            wal_bytes: 512 << 20,
            segment_own_bytes: 8 << 20,
            segment_bytes: 1 << 30,
            disk_reserve: DiskReserve::default(),
            paced: true,
            batch_keys: None,
            compaction_bytes: 64 << 20,
            prepare_ahead: true,
            #[cfg(debug_assertions)]
            planted: None,
        }
    }

    /// The largest entry: it must fit a file beside the file's header and its own block's.
    #[must_use]
    pub fn entry_bytes_max(&self) -> usize {
        usize::try_from(self.wal_file_bytes / 2).unwrap_or(usize::MAX)
    }

    /// The room that is kept for when the disk is full: a WAL file for the log to go on in, and
    /// what moving it out of there takes: as much, and the state's sections, which are written as
    /// a whole beside those that the newest manifest names.
    pub(crate) fn reserve_bytes(&self, sections: &[SectionRef]) -> u64 {
        let rooms = sections.iter().map(|it| checkpoint::room_for(it.length));
        2 * self.wal_file_bytes + rooms.sum::<u64>()
    }

    /// What a block may hold; with small files less than was asked for.
    pub(crate) fn block_bytes_max(&self) -> usize {
        self.block_bytes.min(self.entry_bytes_max())
    }

    /// How many WAL files may wait for the archiver. No more than the cache still holds most of,
    /// if it holds a few: an archiver that has to read back what it copies is half as fast, and
    /// would never catch up with a steady load.
    pub(crate) fn wal_files_max(&self) -> u64 {
        let wanted = (self.wal_bytes / self.wal_file_bytes).max(WAL_FILES_MIN);
        let cached = self.cache_bytes as u64 / 4 * 3 / self.wal_file_bytes;
        if cached < WAL_FILES_MIN {
            wanted
        } else {
            wanted.min(cached)
        }
    }

    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !self.wal_file_bytes.is_multiple_of(PAGE_BYTES as u64) {
            return Err("wal_file_bytes must be a multiple of 4096");
        }
        if !WAL_FILE_BYTES.contains(&self.wal_file_bytes) {
            return Err("wal_file_bytes must be between 64 KiB and 2 GiB");
        }
        Ok(())
    }

    pub(crate) fn plants(&self, bug: Bug) -> bool {
        #[cfg(debug_assertions)]
        return self.planted == Some(bug);
        #[cfg(not(debug_assertions))]
        {
            let _ = bug;
            false
        }
    }
}

/// Bugs that can be planted in debug builds, to see that a harness finds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Bug {
    /// Blocks are never synced.
    SkipFsync,
    /// Whoever waits is answered before the sync.
    AckBeforeFsync,
    /// Readers see records before the sync.
    PublishBeforeFsync,
    /// Segments are never synced.
    SegmentsUnsynced,
    /// WAL files are given back before the manifest says that nobody needs them.
    FreedTooEarly,
    /// A manifest says that its checkpoints hold one entry more than they do.
    CheckpointTooHigh,
    /// Manifests do not say where partitions begin.
    TrimsNotSaved,
    /// The last batch of a partition does not get into its segment.
    BoundaryBatchLost,
    /// A reader that has read a segment's run to its end goes on one offset too far.
    BorderSkipped,
}

impl Bug {
    /// All of them, by the words that plant them.
    const WORDS: [(&str, Self); 9] = [
        ("skip-fsync", Self::SkipFsync),
        ("ack-before-fsync", Self::AckBeforeFsync),
        ("publish-before-fsync", Self::PublishBeforeFsync),
        ("segments-unsynced", Self::SegmentsUnsynced),
        ("freed-too-early", Self::FreedTooEarly),
        ("checkpoint-too-high", Self::CheckpointTooHigh),
        ("trims-not-saved", Self::TrimsNotSaved),
        ("boundary-batch-lost", Self::BoundaryBatchLost),
        ("border-skipped", Self::BorderSkipped),
    ];
}

/// A word that names no bug.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not one of {words}", words = Bug::WORDS.map(|(word, _)| word).join(", "))]
pub struct UnknownBug(String);

impl std::str::FromStr for Bug {
    type Err = UnknownBug;

    fn from_str(word: &str) -> Result<Self, UnknownBug> {
        let named = Self::WORDS.iter().find(|(known, _)| *known == word);
        named
            .map(|(_, bug)| *bug)
            .ok_or_else(|| UnknownBug(word.to_owned()))
    }
}
