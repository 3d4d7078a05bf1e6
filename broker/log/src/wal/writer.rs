//! Writing blocks: build, write, sync, in that order and one at a time.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_wire::id::EntryIndex;

use super::block::{Block, Stamp};
use super::files::{Files, Supply, WalFile};
use crate::config::{Bug, LogConfig};
use crate::entry::Entry;
use crate::error::LogError;
use crate::ids::{FileSequence, Lsn};
use crate::manifest::FileStart;
use crate::page_buf::PAGE_BYTES;

/// The WAL: knows where the next block goes.
#[derive(Debug)]
pub(crate) struct Wal {
    pub(super) config: LogConfig,
    pub(super) file: WalFile,
    pub(super) supply: Supply,
    pub(super) next_lsn: Lsn,
    pub(super) durable: Lsn,
    /// The header CRC of the last block.
    pub(super) previous: u32,
    pub(super) next_index: EntryIndex,
    /// The last block that states what is durable.
    pub(super) stated: Lsn,
    pub(super) files: Arc<Files>,
}

/// A block that is written, and must be synced before anybody hears of it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) block: Block,
    pub(crate) pending: Pending,
    pub(crate) lsn: Lsn,
    pub(crate) file: FileSequence,
    /// What comes before the file, if the block is its first.
    pub(crate) file_start: Option<FileStart>,
}

/// Stands for a block that is not synced yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending(Lsn);

impl Wal {
    /// Writes a block of these entries; none make a seal.
    pub(crate) fn write(&mut self, entries: Vec<Entry>) -> Result<Written, LogError> {
        let bytes = Block::bytes_for(&entries) as u64;
        if !self.fits(bytes) {
            let next = self.file.sequence.next();
            let file = self
                .files
                .wait_to_begin(next, self.config.wal_files_max())
                .and_then(|()| self.supply.take(next));
            self.file = file.map_err(|error| self.failed("preparing the file after", &error))?;
        }
        assert!(
            self.fits(bytes),
            "a block fits a file: entries are bounded when they are submitted"
        );
        let count = entries.len() as u64;
        let stamp = Stamp {
            shard: self.config.shard,
            term: self.config.term,
            nonce: self.file.nonce,
            lsn: self.next_lsn,
            durable: self.durable,
            previous: self.previous,
            first: self.next_index,
            file: u32::try_from(self.file.sequence.value())
                .expect("four billion files would be 256 PiB"),
            position: self.file.position,
        };
        let is_first = self.file.position == PAGE_BYTES as u64;
        let file_start = is_first.then_some(FileStart {
            file: self.file.sequence,
            first: stamp.lsn,
            previous: stamp.previous,
            entry: stamp.first,
        });
        let block = Block::build(entries, &stamp);
        let written = self
            .file
            .file
            .write_vectored_at(&block.parts(), self.file.position);
        written.map_err(|error| self.failed("writing", &error))?;
        self.file.position += block.bytes as u64;
        self.previous = block.crc;
        self.next_lsn = self.next_lsn.next();
        self.next_index = EntryIndex::new(self.next_index.value() + count);
        self.stated = stamp.durable;
        Ok(Written {
            block,
            pending: Pending(stamp.lsn),
            lsn: stamp.lsn,
            file: self.file.sequence,
            file_start,
        })
    }

    /// Whether these entries can be written without waiting for the archiver.
    pub(crate) fn has_room(&self, entries: &[Entry]) -> bool {
        let next = self.file.sequence.next();
        self.fits(Block::bytes_for(entries) as u64)
            || self.files.may_begin(next, self.config.wal_files_max())
    }

    fn fits(&self, bytes: u64) -> bool {
        self.file.position + bytes <= self.file.bytes
    }

    /// Whether a block of this entry alone fits the file that is being written.
    pub(crate) fn has_room_for(&self, entry: &Entry) -> bool {
        let bytes = Block::bytes_for(std::slice::from_ref(entry)) as u64;
        self.file.position + bytes <= self.file.bytes
    }

    /// Makes what was written durable; answers how long that took.
    pub(crate) fn sync(&mut self, pending: Pending) -> Result<Duration, LogError> {
        let begun = Instant::now();
        if !self.config.plants(Bug::SkipFsync) {
            self.file
                .file
                .sync_data()
                .map_err(|error| self.failed("syncing", &error))?;
        }
        self.durable = pending.0;
        Ok(begun.elapsed())
    }

    /// Whether the last block is durable and no block says so yet.
    pub(crate) fn wants_seal(&self) -> bool {
        self.stated < self.durable
    }

    /// States what is durable.
    pub(crate) fn seal(&mut self) -> Result<Written, LogError> {
        let written = self.write(Vec::new())?;
        self.sync(written.pending)?;
        // A seal needs no seal.
        self.stated = self.durable;
        Ok(written)
    }

    pub(crate) const fn config(&self) -> &LogConfig {
        &self.config
    }

    fn failed(&self, what: &'static str, error: &io::Error) -> LogError {
        LogError::io(what, &self.file.path, error)
    }
}
