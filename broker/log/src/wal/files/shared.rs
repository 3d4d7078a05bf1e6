//! What the log's threads have to know of each other about files: how far the archiver is, which
//! files it gave back, and whether there is room on the disk.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::config::DiskReserve;
use crate::ids::FileSequence;
use crate::vfs::Vfs;

/// Files that are kept for later; more are removed.
const SPARES_MAX: usize = 4;

/// What is known about the files.
#[derive(Debug, Default)]
pub(crate) struct Files {
    disk_bytes: AtomicU64,
    /// There is no room for the next WAL file, or for a segment.
    full: AtomicBool,
    /// The WAL's thread waits for a file that there is no room for.
    stuck: AtomicBool,
    /// There is less room than is to be kept free.
    low: AtomicBool,
    closing: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The oldest file that is not in segments yet.
    oldest: FileSequence,
    spares: VecDeque<Spare>,
    /// The archiver ended: nobody waits for it.
    ended: bool,
}

/// A file that nobody needs any longer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spare {
    pub(crate) sequence: FileSequence,
    pub(crate) bytes: u64,
}

impl Files {
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: u64) {
        self.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether records are refused.
    pub(crate) fn refuses_records(&self) -> bool {
        self.full.load(Ordering::Relaxed) || self.low.load(Ordering::Relaxed)
    }

    /// Whether nothing at all can be written.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// There is no room for a file, and somebody waits for it, or nobody yet. Answers whether
    /// that is new.
    pub(crate) fn lacks_room(&self, waited_for: bool) -> bool {
        if waited_for {
            self.stuck.store(true, Ordering::Relaxed);
        }
        !self.full.swap(true, Ordering::Relaxed)
    }

    /// There was room for a file.
    pub(crate) fn made_room(&self) {
        self.full.store(false, Ordering::Relaxed);
        self.stuck.store(false, Ordering::Relaxed);
    }

    /// Looks whether there is as much room as is to be left free.
    pub(crate) fn look_at_the_disk(&self, vfs: &dyn Vfs, dir: &Path, reserve: DiskReserve) {
        // A disk that does not tell is found to be full when it is.
        let Ok(space) = vfs.free_space(dir) else {
            return;
        };
        let low = reserve.is_touched(space);
        if self.low.swap(low, Ordering::Relaxed) == low {
            return;
        }
        if low {
            tracing::error!(
                free = space.free,
                "the disk is almost full: no record is stored until there is room"
            );
        } else {
            tracing::info!(free = space.free, "there is room on the disk again");
        }
    }

    /// The log is to end: nobody waits for room on the disk any longer.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        self.changed.notify_all();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// What is in files before this one is in segments.
    pub(crate) fn archived_up_to(&self, oldest: FileSequence) {
        self.state().oldest = oldest;
        self.changed.notify_all();
    }

    /// The archiver ended.
    pub(crate) fn archiver_ended(&self) {
        self.state().ended = true;
        self.changed.notify_all();
    }

    /// Whether that file is one of the `files_max` that may wait for the archiver.
    pub(crate) fn may_begin(&self, file: FileSequence, files_max: u64) -> bool {
        let waiting = file.value().saturating_sub(self.state().oldest.value());
        waiting < files_max
    }

    /// Waits until it is.
    pub(crate) fn wait_to_begin(&self, file: FileSequence, files_max: u64) -> io::Result<()> {
        let mut state = self.state();
        loop {
            if file.value().saturating_sub(state.oldest.value()) < files_max {
                return Ok(());
            }
            if state.ended {
                return Err(io::Error::other(
                    "whoever empties the files before it ended",
                ));
            }
            if self.is_closing() && self.full.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Keeps a file for later; answers with it if there are enough.
    pub(crate) fn give_spare(&self, spare: Spare) -> Option<Spare> {
        let mut state = self.state();
        if state.spares.len() >= SPARES_MAX {
            return Some(spare);
        }
        state.spares.push_back(spare);
        None
    }

    /// A file of that length, if there is one.
    pub(crate) fn take_spare(&self, bytes: u64) -> Option<Spare> {
        let mut state = self.state();
        let at = state.spares.iter().position(|spare| spare.bytes == bytes)?;
        state.spares.remove(at)
    }

    /// A file to be removed, unless it is the last.
    pub(crate) fn take_spare_but_one(&self) -> Option<Spare> {
        let mut state = self.state();
        if state.spares.len() > 1 {
            state.spares.pop_front()
        } else {
            None
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
