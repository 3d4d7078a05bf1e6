//! The log's reserve: a file that only takes room. On a disk without any its room is given up, so
//! that what gives room back can still be written: a WAL file to hear of a deletion in,
//! checkpoints, the manifest without what nobody needs. Records are stored again once there is
//! room for it anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
    bytes: u64,
    held: AtomicBool,
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
            bytes: config.reserve_bytes(),
            held: AtomicBool::new(false),
        }
    }

    /// How large it is.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        path(&self.dir)
    }

    /// Whether it is there.
    pub(crate) fn is_held(&self) -> bool {
        self.held.load(Ordering::Relaxed)
    }

    /// Looks whether it is there. One that is not what it should be gives its room back: its
    /// making was cut short, or the size of WAL files was changed.
    pub(crate) fn find(&self) -> io::Result<()> {
        let file = match self
            .vfs
            .open(&self.path(), OpenMode::Write { direct: false })
        {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        // A copy of the file may have its length and take no room.
        let whole = file.size()? == self.bytes && file.allocate(self.bytes).is_ok();
        drop(file);
        self.held.store(whole, Ordering::Relaxed);
        if whole {
            Ok(())
        } else {
            self.vfs.remove(&self.path())
        }
    }

    /// Makes it, unless it is there; answers whether there was room.
    pub(crate) fn hold(&self) -> io::Result<bool> {
        if self.is_held() {
            return Ok(true);
        }
        let made = self.make();
        match &made {
            Ok(()) => self.held.store(true, Ordering::Relaxed),
            Err(error) if is_full(error) => {
                // Half of it is worth nothing.
                let _ = self.vfs.remove(&self.path());
                return Ok(false);
            }
            Err(_) => {}
        }
        made.map(|()| true)
    }

    fn make(&self) -> io::Result<()> {
        let file = self
            .vfs
            .open(&self.path(), OpenMode::Create { direct: false })?;
        file.allocate(self.bytes)?;
        file.sync_all()?;
        self.vfs.sync_dir(&self.dir)
    }

    /// Gives its room up; answers whether there was any.
    pub(crate) fn give_up(&self) -> io::Result<bool> {
        if !self.held.swap(false, Ordering::Relaxed) {
            return Ok(false);
        }
        match self.vfs.remove(&self.path()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        }
        // File systems give the room back once that is durable.
        self.vfs.sync_dir(&self.dir)?;
        Ok(true)
    }
}
