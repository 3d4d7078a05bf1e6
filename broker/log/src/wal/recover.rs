//! From files back to a log: every block is read and checked, the torn end is told from damage.
//!
//! The rule: D is the highest durable LSN that any valid block states. A bad block above D with
//! nothing valid behind it is a write that was under way: it is cut. Any other bad block is
//! damage to acknowledged data: the log is not opened, and nothing is changed. A manifest states
//! a durable LSN too.

mod scan;
mod window;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use weir_wire::id::{
    EntryIndex, Offset, ProducerEpoch, ProducerId, Sequence, Term, Timestamp, TopicPartition,
};

use super::files::{
    Files, MAKING_SUFFIX, Maker, Spare, Supply, WAL_SUFFIX, WalFile, file_path, wal_dir,
};
use super::writer::Wal;
use crate::archive::Table;
use crate::config::LogConfig;
use crate::entry::Op;
use crate::error::OpenError;
use crate::format::entry::DecodedOp;
use crate::ids::{FileSequence, Lsn, NodeId, Nonce};
use crate::index::Index;
use crate::machine::StateMachine;
use crate::manifest::{FileStart, PassedOver};
use crate::names::{foreign, io_error, list, number};
use crate::page_buf::PageBuf;
use crate::vfs::{OpenMode, Vfs};
pub(crate) use scan::End;
use scan::Scan;
pub(crate) use scan::check_body;

/// An entry of the log, as it was found.
#[derive(Clone, Debug)]
pub struct RecoveredEntry {
    /// Its position in the shard.
    pub index: EntryIndex,
    /// The term it was written in.
    pub term: Term,
    /// What it changed.
    pub ops: Vec<RecoveredOp>,
}

/// A part of a recovered entry. Batches stay on disk.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum RecoveredOp {
    /// A batch of a partition.
    Append {
        /// The partition.
        partition: TopicPartition,
        /// The offset of its first record.
        base_offset: Offset,
        /// How many offsets it covers.
        count: u32,
        /// When it was appended.
        append_time: Timestamp,
    },
    /// A request's outcome.
    ProducerSequence {
        /// The producer.
        producer: ProducerId,
        /// Its session.
        epoch: ProducerEpoch,
        /// The request.
        sequence: Sequence,
        /// The answer.
        outcome: Bytes,
    },
    /// A change of the catalog.
    Metadata(Bytes),
    /// What a partition holds begins here now.
    Trim {
        /// The partition.
        partition: TopicPartition,
        /// Its first offset.
        start: Offset,
    },
}

impl From<&Op> for RecoveredOp {
    fn from(op: &Op) -> Self {
        match op {
            Op::Append(append) => Self::Append {
                partition: append.partition,
                base_offset: append.base_offset,
                count: append.count,
                append_time: append.append_time,
            },
            Op::ProducerSequence {
                producer,
                epoch,
                sequence,
                outcome,
            } => Self::ProducerSequence {
                producer: *producer,
                epoch: *epoch,
                sequence: *sequence,
                outcome: outcome.clone(),
            },
            Op::Metadata(bytes) => Self::Metadata(bytes.clone()),
            Op::Trim { partition, start } => Self::Trim {
                partition: *partition,
                start: *start,
            },
        }
    }
}

impl From<&DecodedOp> for RecoveredOp {
    fn from(op: &DecodedOp) -> Self {
        match op {
            DecodedOp::Append { envelope, .. } => Self::Append {
                partition: envelope.partition,
                base_offset: envelope.base_offset,
                count: envelope.count,
                append_time: envelope.append_time,
            },
            DecodedOp::ProducerSequence {
                producer,
                epoch,
                sequence,
                outcome,
            } => Self::ProducerSequence {
                producer: *producer,
                epoch: *epoch,
                sequence: *sequence,
                outcome: outcome.clone(),
            },
            DecodedOp::Metadata(bytes) => Self::Metadata(bytes.clone()),
            DecodedOp::Trim { partition, start } => Self::Trim {
                partition: *partition,
                start: *start,
            },
        }
    }
}

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The node the log belongs to.
    pub node: NodeId,
    /// The manifest that says what the log consists of, if there was one.
    pub manifest: Option<PathBuf>,
    /// Newer manifests that are damaged, so that this one was used.
    pub passed_over: Vec<PassedOver>,
    /// Segments it names.
    pub segments: u64,
    /// Blocks read.
    pub blocks: u64,
    /// The last block.
    pub last: Lsn,
    /// The highest LSN that was stated to be durable.
    pub durable: Lsn,
    /// Where a write that was under way was cut off, if one was.
    pub cut: Option<Cut>,
}

/// A write that was under way when the log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What was wrong there.
    pub what: &'static str,
}

/// Where reading the WAL begins, and what is known about it beforehand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) start: FileStart,
    /// Entries up to this one are in segments and sections.
    pub(crate) checkpoint: EntryIndex,
    pub(crate) durable: Lsn,
    pub(crate) durable_file: FileSequence,
    /// A manifest says all this, so that the file at the start has to be there.
    pub(crate) from_manifest: bool,
}

/// What the WAL holds.
#[derive(Debug)]
pub(crate) struct Found {
    /// All its files, those before the start too.
    pub(crate) sequences: Vec<FileSequence>,
    pub(crate) end: End,
}

/// Reads the WAL; changes nothing.
pub(crate) fn read<M: StateMachine>(
    vfs: &Arc<dyn Vfs>,
    config: &LogConfig,
    node: NodeId,
    origin: &Origin,
    into: (Index, Table, &mut M),
) -> Result<Found, OpenError<M::Error>> {
    let sequences = file_sequences(&**vfs, &config.dir)?;
    let used: Vec<FileSequence> = sequences
        .iter()
        .copied()
        .filter(|sequence| *sequence >= origin.start.file)
        .collect();
    check_sequences(&config.dir, &used, origin)?;
    let mut scan = Scan::new(vfs, config, node, origin, into);
    for sequence in used {
        scan.file(sequence)?;
    }
    let end = scan.finish()?;
    Ok(Found { sequences, end })
}

/// Gets the file ready in which writing goes on: what was read is accepted.
pub(crate) fn accept<E>(
    vfs: &Arc<dyn Vfs>,
    config: &LogConfig,
    node: NodeId,
    origin: &Origin,
    found: &mut Found,
    files: &Arc<Files>,
) -> Result<(WalFile, Maker), OpenError<E>> {
    let dir = wal_dir(&config.dir);
    let failed = |source| io_error(&dir, source);
    for name in list(&**vfs, &dir)? {
        if name.ends_with(MAKING_SUFFIX) {
            let path = dir.join(&name);
            vfs.remove(&path)
                .map_err(|source| io_error(&path, source))?;
        }
    }
    let end = &mut found.end;
    let used = end.tail.as_ref().map(|tail| tail.sequence);
    remove_unused(
        &**vfs,
        config,
        &found.sequences,
        origin.start.file,
        used,
        files,
    )?;
    files.add(end.file_bytes);
    let maker = Maker {
        vfs: vfs.clone(),
        dir: config.dir.clone(),
        shard: config.shard,
        node,
        bytes: config.wal_file_bytes,
        files: files.clone(),
        reserve: config.disk_reserve,
    };
    let file = match end.tail.take() {
        Some(tail) => reopen(&**vfs, config, &tail)?,
        None => {
            let first = maker.make(origin.start.file, true).map_err(failed)?;
            if config.prepare_ahead && !first.recycled {
                Maker::zero_first(&first).map_err(failed)?;
            }
            first
        }
    };
    Ok((file, maker))
}

/// The WAL as it goes on in that file. From now on the next ones are made, too.
pub(crate) fn go_on<E>(
    config: LogConfig,
    (file, maker): (WalFile, Maker),
    found: &Found,
) -> Result<Wal, OpenError<E>> {
    let (end, files) = (&found.end, maker.files.clone());
    let next = file.sequence.next();
    let supply = Supply::new(maker, next, config.prepare_ahead)
        .map_err(|source| io_error(&wal_dir(&config.dir), source))?;
    Ok(Wal {
        config,
        file,
        supply,
        next_lsn: end.last.next(),
        durable: end.last,
        previous: end.previous,
        next_index: end.next_index,
        stated: end.durable,
        files,
    })
}

/// Keeps a file that nobody needs for the log to go on in, where there is no reserve: others might
/// take its room. Answers whether it did; one is enough.
fn keep<E>(
    vfs: &dyn Vfs,
    config: &LogConfig,
    sequence: FileSequence,
    files: &Files,
) -> Result<bool, OpenError<E>> {
    if files.reserve().bytes() > 0 || files.has_spare() {
        return Ok(false);
    }
    let path = file_path(&config.dir, sequence);
    let failed = |source| io_error(&path, source);
    let file = vfs.open(&path, OpenMode::Write { direct: false });
    let file = file.map_err(failed)?;
    let bytes = file.size().map_err(failed)?;
    // A copy of the file may have its length and take no room.
    let fits = bytes == config.wal_file_bytes && file.allocate(bytes).is_ok();
    if fits && files.give_spare(Spare { sequence, bytes }).is_none() {
        files.add(bytes);
    }
    Ok(fits)
}

/// A file behind the end holds no block: it was prepared, or its making was cut short. The newest
/// go first, each for good before the next, so that no crash leaves a gap.
fn remove_unused<E>(
    vfs: &dyn Vfs,
    config: &LogConfig,
    sequences: &[FileSequence],
    start: FileSequence,
    used: Option<FileSequence>,
    files: &Files,
) -> Result<(), OpenError<E>> {
    let next = used.map(FileSequence::next);
    let dir = wal_dir(&config.dir);
    let unused =
        |sequence: &&FileSequence| **sequence >= start && used.is_none_or(|used| **sequence > used);
    for sequence in sequences.iter().rev().take_while(unused) {
        if next == Some(*sequence) && keep(vfs, config, *sequence, files)? {
            continue;
        }
        let path = file_path(&config.dir, *sequence);
        vfs.remove(&path)
            .map_err(|source| io_error(&path, source))?;
        vfs.sync_dir(&dir)
            .map_err(|source| io_error(&dir, source))?;
    }
    Ok(())
}

/// Removes the files before the start: what is in them is in segments, and no kept manifest names
/// them.
pub(crate) fn remove_before<E>(
    vfs: &dyn Vfs,
    config: &LogConfig,
    sequences: &[FileSequence],
    start: FileSequence,
    files: &Files,
) -> Result<(), OpenError<E>> {
    for sequence in sequences.iter().take_while(|sequence| **sequence < start) {
        if keep(vfs, config, *sequence, files)? {
            continue;
        }
        let path = file_path(&config.dir, *sequence);
        vfs.remove(&path)
            .map_err(|source| io_error(&path, source))?;
    }
    Ok(())
}

/// Where the log goes on.
#[derive(Debug)]
pub(crate) struct Tail {
    sequence: FileSequence,
    nonce: Nonce,
    position: u64,
    /// The length of its file.
    file_bytes: u64,
    /// The last block's bytes; none if there is no block in the file.
    last: PageBuf,
}

/// Opens the last file for writing. The last block, which none states to be durable, is written
/// again: after a failed sync the system's memory may show what the disk does not hold.
fn reopen<E>(vfs: &dyn Vfs, config: &LogConfig, tail: &Tail) -> Result<WalFile, OpenError<E>> {
    let path = file_path(&config.dir, tail.sequence);
    let rewrite = || {
        let file = vfs.open(&path, OpenMode::Write { direct: true })?;
        if !tail.last.is_empty() {
            let position = tail.position - tail.last.len() as u64;
            file.write_vectored_at(&[IoSlice::new(tail.last.padded())], position)?;
        }
        file.sync_all()?;
        Ok(file)
    };
    let file = rewrite().map_err(|source| io_error(&path, source))?;
    let Tail {
        sequence,
        nonce,
        position,
        file_bytes,
        ..
    } = *tail;
    Ok(WalFile {
        file,
        path,
        sequence,
        nonce,
        position,
        bytes: file_bytes,
        recycled: true,
    })
}

/// The numbers of all WAL files, in order.
pub(crate) fn file_sequences<E>(
    vfs: &dyn Vfs,
    dir: &Path,
) -> Result<Vec<FileSequence>, OpenError<E>> {
    let dir = wal_dir(dir);
    let mut sequences = Vec::new();
    for name in list(vfs, &dir)? {
        if name.ends_with(MAKING_SUFFIX) {
            continue;
        }
        let digits = name.strip_suffix(WAL_SUFFIX);
        let number = digits
            .and_then(number)
            .ok_or_else(|| foreign(&dir, &name))?;
        sequences.push(FileSequence::new(number));
    }
    sequences.sort_unstable();
    Ok(sequences)
}

/// From the start on no file may be missing.
fn check_sequences<E>(
    dir: &Path,
    used: &[FileSequence],
    origin: &Origin,
) -> Result<(), OpenError<E>> {
    let missing = |sequence: FileSequence, why: String| {
        let path = file_path(dir, sequence);
        let what = format!("is missing, while {why}; restore it from a copy");
        Err(OpenError::Foreign { path, what })
    };
    for (expected, found) in (origin.start.file.value()..).zip(used) {
        if found.value() != expected {
            let why = format!("file {found} is there");
            return missing(FileSequence::new(expected), why);
        }
    }
    if used.is_empty() && origin.from_manifest {
        return missing(origin.start.file, "the manifest names it".to_owned());
    }
    Ok(())
}
