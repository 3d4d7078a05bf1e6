//! Looking at a log that no broker has open: what is in it, whether it is sound, and what can
//! still be read of it. Nothing here ever writes, and nothing stops at the first damage.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_wire::id::{EntryIndex, Offset, Timestamp, TopicPartition};

use crate::ids::{FileSequence, Lsn, NodeId, SegmentId};
use crate::index::StoredBatch;
use crate::machine::StateMachine;
use crate::vfs::Vfs;
use crate::wal::{Cut, RecoveredEntry};

mod blocks;
pub(crate) mod check;
pub(crate) mod frames;
mod losses;
pub(crate) mod pages;
mod places;
mod remains;
mod rescue;
mod survey;
#[cfg(test)]
mod tests;
pub(crate) mod verify;
mod walk;

/// Why a directory cannot be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OfflineError {
    /// The file system refuses something.
    #[error("cannot read {}: {source}; check the disk and the permissions", path.display())]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// There is no log.
    #[error("{} holds no log of weir: neither NODE nor WAL files are there", path.display())]
    NoLog {
        /// The directory.
        path: PathBuf,
    },
    /// What was read cannot be handed on.
    #[error("cannot hand on what was read: {0}")]
    Output(io::Error),
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong.
    pub what: String,
    /// The partitions that it concerns, as far as can be told.
    pub partitions: Vec<TopicPartition>,
    /// What to do about it.
    pub advice: &'static str,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        write!(f, "{path} at byte {}: {}", self.offset, self.what)?;
        if !self.partitions.is_empty() {
            let names: Vec<_> = self.partitions.iter().map(ToString::to_string).collect();
            write!(f, " (partitions {})", names.join(", "))?;
        }
        write!(f, "; {}", self.advice)
    }
}

/// What a log's directory holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Whose log it is, if that can be read.
    pub node: Option<NodeId>,
    /// The manifests, the newest first.
    pub manifests: Vec<ManifestInfo>,
    /// The segments, by number.
    pub segments: Vec<SegmentInfo>,
    /// The WAL files, by number.
    pub wal: Vec<WalFileInfo>,
    /// Where the log ends.
    pub end: LogEnd,
    /// Files that the next start removes.
    pub leftovers: Vec<PathBuf>,
    /// What is wrong, as far as this look showed; [`verify`] looks at every byte.
    pub damages: Vec<Damage>,
}

/// What a manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestInfo {
    /// Its file.
    pub path: PathBuf,
    /// Its generation.
    pub generation: u64,
    /// The last block that was durable when it was written.
    pub durable: Lsn,
    /// The last entry that its checkpoints hold.
    pub checkpoint: EntryIndex,
    /// The WAL file that a start begins with.
    pub wal_start: FileSequence,
    /// The sections of the checkpoint.
    pub sections: Vec<SectionInfo>,
    /// How many segments it names.
    pub segments: usize,
    /// How many partitions it names.
    pub partitions: usize,
}

/// A section of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionInfo {
    /// Its name.
    pub name: String,
    /// The last entry that it holds.
    pub index: EntryIndex,
    /// Bytes of it.
    pub bytes: u64,
}

/// What a segment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// Its number.
    pub id: SegmentId,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether the newest sound manifest names it; one that is not named is about to be removed.
    pub named: bool,
    /// What is in it; nothing if its footer cannot be read.
    pub runs: Vec<RunInfo>,
}

/// Batches of one partition in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// The partition.
    pub partition: TopicPartition,
    /// The first offset.
    pub base: Offset,
    /// Where the partition's next batch may begin.
    pub end: Offset,
    /// Records that are there.
    pub records: u64,
    /// Batches.
    pub batches: u32,
    /// Bytes of the batches.
    pub bytes: u64,
    /// When the first batch was appended.
    pub first_time: Timestamp,
    /// When the last batch was appended.
    pub last_time: Timestamp,
}

/// What a WAL file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalFileInfo {
    /// Its number.
    pub sequence: FileSequence,
    /// Its file.
    pub path: PathBuf,
    /// Bytes of the file.
    pub bytes: u64,
    /// Whether everything in it is in segments and checkpoints, so that it is not read any more.
    pub freed: bool,
    /// Sound blocks.
    pub blocks: u64,
    /// The first and the last of them.
    pub lsns: Option<(Lsn, Lsn)>,
    /// Their entries.
    pub entries: u64,
}

/// Where a log ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogEnd {
    /// The last sound block.
    pub last: Lsn,
    /// The highest block that is stated to be durable.
    pub durable: Lsn,
    /// The last entry.
    pub index: EntryIndex,
    /// A write that was under way, which the next start cuts off.
    pub cut: Option<Cut>,
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// Files that were read.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Sound batches.
    pub batches: u64,
    /// Offsets that they take.
    pub records: u64,
    /// What is wrong.
    pub damages: Vec<Damage>,
    /// A write that was under way, which the next start cuts off: no damage.
    pub cut: Option<Cut>,
}

/// What [`rescue`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RescueReport {
    /// Batches that were handed on.
    pub batches: u64,
    /// Offsets that they take.
    pub records: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// What is gone: offsets that should be there and cannot be read, from and up to.
    pub holes: Vec<(TopicPartition, Offset, Offset)>,
    /// Partitions that may have had more, from here on: where they ended is gone, too.
    pub open_ends: Vec<(TopicPartition, Offset)>,
    /// Partitions that nothing is known of any more may be gone with all they held.
    pub unknown: bool,
    /// What is wrong with the files.
    pub damages: Vec<Damage>,
}

/// A batch that can still be read.
#[derive(Clone, Debug)]
pub struct RescuedBatch {
    /// Whose it is.
    pub partition: TopicPartition,
    /// The first of its offsets that counts: the partition may begin within the batch.
    pub from: Offset,
    /// The one after the last that counts.
    pub to: Offset,
    /// The batch.
    pub batch: StoredBatch,
}

/// A part of the state that the log holds beside the batches.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum StatePart {
    /// A section of the checkpoint; sections come before the entries.
    Section {
        /// Its name.
        name: String,
        /// It holds what entries up to this one made.
        index: EntryIndex,
        /// What the state machine wrote.
        bytes: Vec<u8>,
    },
    /// A section that cannot be read.
    Lost {
        /// Its name.
        name: String,
    },
    /// An entry, in their order; damaged ones are left out.
    Entry(RecoveredEntry),
}

/// Says what a log's directory holds. Blocks are read, batches in segments are not.
///
/// # Errors
/// When there is no log, or it cannot be read at all.
pub fn inspect(vfs: &dyn Vfs, dir: &Path) -> Result<Inspection, OfflineError> {
    verify::inspect(vfs, dir)
}

/// Reads every byte of a log that means something and checks it, and whether a start would take
/// it: `machine` takes in what it holds, as it would then. `progress` hears of how many bytes of
/// how many are done.
///
/// # Errors
/// When there is no log, or it cannot be read at all.
pub fn verify<M: StateMachine>(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    machine: M,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OfflineError> {
    verify::verify(vfs, dir, machine, progress)
}

/// Hands on every batch of the wanted partitions that can still be read: partition by partition,
/// the offsets going up, none twice. Footers and manifests are used where they are sound and not
/// needed where they are not. What is missing is told of every partition that the log tells of,
/// and of those that are `known` to be in it from elsewhere.
///
/// # Errors
/// When there is no log, it cannot be read at all, or `each` fails.
pub fn rescue(
    vfs: &dyn Vfs,
    dir: &Path,
    known: &[TopicPartition],
    wanted: &dyn Fn(TopicPartition) -> bool,
    each: &mut dyn FnMut(RescuedBatch) -> io::Result<()>,
) -> Result<RescueReport, OfflineError> {
    rescue::rescue(vfs, dir, known, wanted, each)
}

/// Hands on what the log knows beside the batches: the sections of the newest sound checkpoint,
/// then the entries behind it, as far as they can be read. This is what names topics.
///
/// # Errors
/// When there is no log, or it cannot be read at all.
pub fn state(
    vfs: &dyn Vfs,
    dir: &Path,
    each: &mut dyn FnMut(StatePart),
) -> Result<Vec<Damage>, OfflineError> {
    rescue::state(vfs, dir, each)
}
