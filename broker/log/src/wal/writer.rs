//! Writing blocks: build, write, sync, in that order and one at a time.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use weir_wire::id::EntryIndex;

use super::block::{Block, Stamp};
use super::files::{Supply, WalFile};
use crate::config::{Bug, LogConfig};
use crate::entry::Entry;
use crate::error::LogError;
use crate::ids::Lsn;

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
}

/// A block that is written, and must be synced before anybody hears of it.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) block: Block,
    pub(crate) pending: Pending,
}

/// Stands for a block that is not synced yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pending(Lsn);

impl Wal {
    /// Writes a block of these entries; none make a seal.
    pub(crate) fn write(&mut self, entries: Vec<Entry>) -> Result<Written, LogError> {
        let bytes = Block::bytes_for(&entries) as u64;
        if self.file.position + bytes > self.file.bytes {
            let next = self.file.sequence.next();
            let file = self.supply.take(next);
            self.file = file.map_err(|error| self.failed("preparing the file after", &error))?;
        }
        assert!(
            self.file.position + bytes <= self.file.bytes,
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
        })
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
    pub(crate) fn seal(&mut self) -> Result<(), LogError> {
        let written = self.write(Vec::new())?;
        self.sync(written.pending)?;
        // A seal needs no seal.
        self.stated = self.durable;
        Ok(())
    }

    pub(crate) const fn config(&self) -> &LogConfig {
        &self.config
    }

    fn failed(&self, what: &'static str, error: &io::Error) -> LogError {
        let path: PathBuf = self.file.path.clone();
        LogError {
            what,
            path,
            reason: error.to_string(),
        }
    }
}
