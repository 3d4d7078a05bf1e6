//! From files back to a log: every block is read and checked, the torn end is told from damage.
//!
//! The rule: D is the highest durable LSN that any valid block states. A bad block above D with
//! nothing valid behind it is a write that was under way: it is cut. Any other bad block is
//! damage to acknowledged data: the log is not opened, and nothing is changed.

mod scan;
mod window;

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use weir_wire::id::{
    EntryIndex, Offset, ProducerEpoch, ProducerId, Sequence, Term, Timestamp, TopicPartition,
};

use super::files::{Files, MAKING_SUFFIX, Maker, Supply, WalFile, file_path, wal_dir};
use super::writer::Wal;
use crate::config::LogConfig;
use crate::error::OpenError;
use crate::format::FORMAT_VERSION;
use crate::ids::{FileSequence, Lsn, NodeId, Nonce};
use crate::index::Index;
use crate::machine::StateMachine;
use crate::page_buf::PageBuf;
use crate::vfs::{OpenMode, Vfs};
use scan::Scan;
pub(crate) use scan::check_body;

pub(crate) const NODE_FILE: &str = "NODE";
pub(crate) const NODE_MAGIC: &str = "weir-log";

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

/// What opening found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The node the log belongs to.
    pub node: NodeId,
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

/// A log that was read.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) wal: Wal,
    pub(crate) index: Index,
    pub(crate) files: Arc<Files>,
    pub(crate) report: RecoveryReport,
}

/// Reads a log, or makes an empty one.
pub(crate) fn recover<M: StateMachine>(
    vfs: &Arc<dyn Vfs>,
    config: LogConfig,
    machine: &mut M,
) -> Result<Found, OpenError<M::Error>> {
    config.check().map_err(OpenError::Config)?;
    let dir = wal_dir(&config.dir);
    vfs.create_dir_all(&dir)
        .map_err(|source| io_error(&dir, source))?;
    let names = vfs.list(&dir).map_err(|source| io_error(&dir, source))?;
    let (making, names): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|name| name.ends_with(MAKING_SUFFIX));
    let sequences = file_sequences(&dir, &names)?;
    let node = node(&**vfs, &config, sequences.is_empty())?;
    let files = Arc::new(Files::default());
    let maker = Maker {
        vfs: vfs.clone(),
        dir: config.dir.clone(),
        shard: config.shard,
        node,
        bytes: config.wal_file_bytes,
        files: files.clone(),
    };
    let mut scan = Scan::new(vfs, &config, node, machine);
    for sequence in &sequences {
        scan.file(*sequence)?;
    }
    let end = scan.finish()?;
    for path in making.iter().map(|name| dir.join(name)) {
        vfs.remove(&path)
            .map_err(|source| io_error(&path, source))?;
    }
    let mut report = RecoveryReport {
        node,
        blocks: end.blocks,
        last: end.last,
        durable: end.durable,
        cut: end.cut,
    };
    let used = end.tail.as_ref().map(|tail| tail.sequence);
    remove_unused(&**vfs, &config, &sequences, used)?;
    files.add(end.file_bytes);
    let first = FileSequence::new(1);
    let next = used.map_or(first, FileSequence::next);
    let (file, supply) = match end.tail {
        Some(tail) => {
            let file = reopen(&**vfs, &config, &tail)?;
            let supply = Supply::new(maker, next, config.prepare_ahead);
            (file, supply.map_err(|source| io_error(&dir, source))?)
        }
        None => {
            let file = maker.make(first).map_err(|source| io_error(&dir, source))?;
            let supply = Supply::new(maker, first.next(), config.prepare_ahead);
            (file, supply.map_err(|source| io_error(&dir, source))?)
        }
    };
    report.durable = report.last;
    let wal = Wal {
        config,
        file,
        supply,
        next_lsn: end.last.next(),
        durable: end.last,
        previous: end.previous,
        next_index: end.next_index,
        stated: end.durable,
    };
    Ok(Found {
        wal,
        index: end.index,
        files,
        report,
    })
}

/// A file without a block holds nothing: it was prepared, or its making was cut short. Removed
/// are the newest first, each for good before the next, so that no crash leaves a gap.
fn remove_unused<E>(
    vfs: &dyn Vfs,
    config: &LogConfig,
    sequences: &[FileSequence],
    used: Option<FileSequence>,
) -> Result<(), OpenError<E>> {
    let dir = wal_dir(&config.dir);
    let unused = |sequence: &&FileSequence| used.is_none_or(|used| **sequence > used);
    for sequence in sequences.iter().rev().take_while(unused) {
        let path = file_path(&config.dir, *sequence);
        vfs.remove(&path)
            .map_err(|source| io_error(&path, source))?;
        vfs.sync_dir(&dir)
            .map_err(|source| io_error(&dir, source))?;
    }
    Ok(())
}

/// Where the log goes on.
#[derive(Debug)]
struct Tail {
    sequence: FileSequence,
    nonce: Nonce,
    position: u64,
    /// The length of its file.
    file_bytes: u64,
    /// The last block's bytes.
    last: PageBuf,
}

/// Opens the last file for writing. The last block, which none states to be durable, is written
/// again: after a failed sync the system's memory may show what the disk does not hold.
fn reopen<E>(vfs: &dyn Vfs, config: &LogConfig, tail: &Tail) -> Result<WalFile, OpenError<E>> {
    let path = file_path(&config.dir, tail.sequence);
    let rewrite = || {
        let file = vfs.open(&path, OpenMode::Write { direct: true })?;
        let position = tail.position - tail.last.len() as u64;
        file.write_vectored_at(&[IoSlice::new(tail.last.padded())], position)?;
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
    })
}

fn file_sequences<E>(dir: &Path, names: &[String]) -> Result<Vec<FileSequence>, OpenError<E>> {
    let mut sequences = Vec::new();
    for name in names {
        let number = name
            .strip_suffix(".wal")
            .and_then(|stem| stem.parse::<u64>().ok());
        let Some(number) = number else {
            let what = "is no file of a log; is this another program's directory?".to_owned();
            return Err(OpenError::Foreign {
                path: dir.join(name),
                what,
            });
        };
        sequences.push(FileSequence::new(number));
    }
    sequences.sort_unstable();
    for (expected, found) in (1..).map(FileSequence::new).zip(&sequences) {
        if *found != expected {
            let path = dir.join(format!("{:016}.wal", expected.value()));
            let what = format!("is missing, while file {found} is there; restore it from a copy");
            return Err(OpenError::Foreign { path, what });
        }
    }
    Ok(sequences)
}

/// Which node the directory belongs to: read, or chosen when the directory is new.
fn node<E>(vfs: &dyn Vfs, config: &LogConfig, is_new: bool) -> Result<NodeId, OpenError<E>> {
    let path = config.dir.join(NODE_FILE);
    let foreign = |what: &str| OpenError::Foreign {
        path: path.clone(),
        what: what.to_owned(),
    };
    match vfs.read(&path) {
        Ok(bytes) => {
            let text = String::from_utf8(bytes).map_err(|_| foreign("is no text"))?;
            let mut words = text.split_whitespace();
            if words.next() != Some(NODE_MAGIC) {
                return Err(foreign("is not the node file of a Weir log"));
            }
            let version = words.next().and_then(|word| word.parse::<u16>().ok());
            if version != Some(FORMAT_VERSION) {
                let what = format!(
                    "states a log format that this weir does not read (it reads \
                     {FORMAT_VERSION}); use the weir that wrote it, or a newer one"
                );
                return Err(foreign(&what));
            }
            let node = words.next().and_then(|word| word.parse().ok());
            node.map(NodeId::new)
                .ok_or_else(|| foreign("names no node"))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && is_new => {
            let node = NodeId::new(vfs.nonce());
            let text = format!("{NODE_MAGIC} {FORMAT_VERSION} {node}\n");
            vfs.write_atomic(&path, text.as_bytes())
                .map_err(|source| io_error(&path, source))?;
            Ok(node)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(foreign(
            "is missing, while there are log files; restore it from a copy",
        )),
        Err(source) => Err(io_error(&path, source)),
    }
}

fn io_error<E>(path: &Path, source: std::io::Error) -> OpenError<E> {
    OpenError::Io {
        path: path.to_owned(),
        source,
    }
}
