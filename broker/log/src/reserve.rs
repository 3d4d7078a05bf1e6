//! The log's reserve: a file that only takes room. On a disk without any its room is given up, so
//! that what gives room back can still be written: a WAL file to hear of a deletion in,
//! checkpoints, the manifest without what nobody needs. Records are stored again once there is
//! room for it anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::LogConfig;
use crate::vfs::{OpenMode, Vfs};
use crate::wal::is_full;

/// Its name.
const RESERVE_FILE: &str = "reserve";

/// See the top of this file.
#[derive(Debug)]
pub(crate) struct Reserve {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    /// No reserve is shorter.
    bytes_min: u64,
    /// What is to be free besides before it is made anew.
    besides: u64,
    /// How long it is; 0 if it is not there.
    held: AtomicU64,
    /// How long it is to be.
    wanted: AtomicU64,
    /// Held by whoever changes the file: the archiver makes it while the WAL may need its room.
    changing: Mutex<()>,
}

/// Where it is.
fn path(dir: &Path) -> PathBuf {
    dir.join(RESERVE_FILE)
}

impl Reserve {
    /// The reserve of a log; nobody has looked yet whether it is there.
    pub(crate) fn new(vfs: Arc<dyn Vfs>, config: &LogConfig) -> Self {
        Self {
            vfs,
            dir: config.dir.clone(),
            bytes_min: config.reserve_bytes(&[]),
            besides: config.wal_file_bytes,
            held: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            changing: Mutex::default(),
        }
    }

    /// How long it is; 0 if it is not there.
    pub(crate) fn bytes(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        path(&self.dir)
    }

    /// Whether it is there, as long as it was to be when it was last tended.
    pub(crate) fn is_whole(&self) -> bool {
        let held = self.bytes();
        held > 0 && held >= self.wanted.load(Ordering::Relaxed)
    }

    /// Looks whether it is there. One that cannot be one gives its room back: its making was cut
    /// short, or the size of WAL files was changed.
    pub(crate) fn find(&self) -> io::Result<()> {
        let _changing = self.changing();
        let file = match self
            .vfs
            .open(&self.path(), OpenMode::Write { direct: false })
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let bytes = file.size()?;
        // A copy of the file may have its length and take no room.
        let sound = bytes >= self.bytes_min && file.allocate(bytes).is_ok();
        drop(file);
        if sound {
            self.held.store(bytes, Ordering::Relaxed);
            Ok(())
        } else {
            self.vfs.remove(&self.path())
        }
    }

    /// How much has to be free for it to become that long: what it lacks, and, lest it be needed
    /// again at once, a WAL file besides if it is not there.
    pub(crate) fn room_for(&self, bytes: u64) -> u64 {
        match self.bytes() {
            0 => bytes + self.besides,
            held => bytes.saturating_sub(held),
        }
    }

    /// Whether one as long as that could be made anew in its place: a longer one is better than
    /// none.
    pub(crate) fn may_be_shorter(&self, bytes: u64) -> bool {
        let free = self.vfs.free_space(&self.dir).map(|space| space.free);
        free.is_ok_and(|free| free.saturating_add(self.bytes()) >= bytes + self.besides)
    }

    /// What of its room is for more than the log's files: for the state's sections.
    pub(crate) fn for_sections(&self) -> u64 {
        let wanted = self.wanted.load(Ordering::Relaxed);
        wanted.saturating_sub(self.bytes_min)
    }

    /// Makes it that long at least; answers whether it is, or there was no room.
    pub(crate) fn hold(&self, bytes: u64) -> io::Result<bool> {
        let _changing = self.changing();
        let made = if self.bytes() >= bytes {
            Ok(())
        } else {
            self.make(bytes)
        };
        if made.is_ok() {
            self.held.fetch_max(bytes, Ordering::Relaxed);
        }
        // Not before: nobody is to be refused while it only grows.
        self.wanted.store(bytes, Ordering::Relaxed);
        match made {
            Err(error) if is_full(&error) => Ok(false),
            made => made.map(|()| true),
        }
    }

    fn make(&self, bytes: u64) -> io::Result<()> {
        // A disk that does not tell is found to be full when it is.
        let space = self.vfs.free_space(&self.dir);
        if space.is_ok_and(|space| space.free < self.room_for(bytes)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.path();
        let file = match self.vfs.open(&path, OpenMode::Write { direct: false }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.vfs.open(&path, OpenMode::Create { direct: false })?
            }
            opened => opened?,
        };
        let allocated = file.allocate(bytes).and_then(|()| file.sync_all());
        if allocated.is_err() && self.bytes() == 0 {
            // Half of it is worth nothing.
            let _ = self.vfs.remove(&path);
        } else if allocated.is_err() {
            // What it has grown by takes room, and gives it back.
            let size = file.size().unwrap_or_default();
            self.held.fetch_max(size, Ordering::Relaxed);
        }
        drop(file);
        allocated?;
        self.vfs.sync_dir(&self.dir)
    }

    /// Gives its room up; answers whether there was any.
    pub(crate) fn give_up(&self) -> io::Result<bool> {
        let _changing = self.changing();
        if self.bytes() == 0 {
            return Ok(false);
        }
        let removed = self.vfs.remove(&self.path());
        let gone = matches!(&removed, Err(error) if error.kind() == io::ErrorKind::NotFound);
        if removed.is_ok() || gone {
            self.held.store(0, Ordering::Relaxed);
        }
        if gone {
            return Ok(false);
        }
        removed?;
        // File systems give the room back once that is durable.
        self.vfs.sync_dir(&self.dir)?;
        Ok(true)
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
