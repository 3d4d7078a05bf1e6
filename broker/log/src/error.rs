//! What can go wrong, one enum per operation.

use std::io;
use std::path::{Path, PathBuf};

use weir_wire::id::{Offset, TopicPartition};

use crate::wal::is_full;

/// Why a log cannot be opened. `E` is the error of whoever takes in its entries.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError<E> {
    /// The file system refuses something.
    #[error("cannot use {}: {source}; check the disk and the permissions", path.display())]
    Io {
        /// What it is about.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// There is no room on the disk, and no reserve any more.
    #[error(
        "there is no room for {}: {source}; free {bytes} bytes on its disk, by removing files that \
         are not weir's or enlarging it, and start again",
        path.display()
    )]
    NoRoom {
        /// What cannot be written.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
        /// With so much room, records are stored again, too.
        bytes: u64,
    },
    /// The directory is not a log of Weir's, or one of a newer version.
    #[error("{}: {what}; nothing was changed", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Acknowledged data is damaged.
    #[error(
        "acknowledged data is damaged: {} at byte {offset}: {what}; partitions touched: \
         {partitions}. Nothing was changed: restore this file from a copy",
        path.display()
    )]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: String,
        /// The partitions, as far as the block tells.
        partitions: String,
    },
    /// The settings make no sense.
    #[error("the log cannot be opened with these settings: {0}")]
    Config(&'static str),
    /// Whoever takes in the entries refused one.
    #[error(transparent)]
    Replay(E),
}

/// Why an entry is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// There is no room for records.
    #[error("the disk is full: no record can be stored until there is room (reading goes on)")]
    DiskFull,
    /// There is no room for anything: the reserve is used up, too.
    #[error(
        "the disk is full, and the log's reserve is used up: nothing can be changed until files \
         that are not weir's are removed from the disk, or it is enlarged (reading goes on)"
    )]
    Stuck,
    /// Larger than an entry may be.
    #[error("the request became {bytes} bytes of log; the limit is {max}: send smaller batches")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Too much waits already.
    #[error("{bytes} bytes wait to be written already; try again later")]
    Busy {
        /// What waits.
        bytes: usize,
    },
    /// The log failed earlier.
    #[error("the log failed: {reason}; the broker has to be started again")]
    Poisoned {
        /// How.
        reason: String,
    },
    /// The log is shutting down.
    #[error("the log is shutting down")]
    Closed,
}

/// The log failed; nothing more is written to it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what} {} failed: {reason}", path.display())]
pub struct LogError {
    /// What was tried.
    pub(crate) what: &'static str,
    /// On which file.
    pub(crate) path: PathBuf,
    /// What the system said.
    pub(crate) reason: String,
    /// There was no room on the disk.
    pub(crate) full: bool,
}

impl LogError {
    pub(crate) fn io(what: &'static str, path: &Path, error: &io::Error) -> Self {
        Self {
            what,
            path: path.to_owned(),
            reason: error.to_string(),
            full: is_full(error),
        }
    }

    /// Whether there was no room on the disk.
    #[must_use]
    pub const fn is_disk_full(&self) -> bool {
        self.full
    }

    /// For whoever waited for the archiver until one of both ended.
    #[must_use]
    pub fn ended() -> Self {
        Self {
            what: "the thread that archives",
            path: PathBuf::from("the log"),
            reason: "it ended".to_owned(),
            full: false,
        }
    }

    pub(crate) fn panicked() -> Self {
        Self {
            what: "the thread that writes",
            path: PathBuf::from("the log"),
            reason: "it panicked".to_owned(),
            full: false,
        }
    }
}

/// Why stored batches cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The offset is not one that the partition holds.
    #[error("offset {offset} of {partition} is out of range; it holds {start} to {end}")]
    OutOfRange {
        /// The partition.
        partition: TopicPartition,
        /// The offset asked for.
        offset: Offset,
        /// The first held.
        start: Offset,
        /// The high-water mark.
        end: Offset,
    },
    /// The stored bytes are damaged; they are not served.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The file system refuses.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
}
