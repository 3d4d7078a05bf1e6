//! What the log's threads have to know of each other about files: how far the archiver is, which
//! files it gave back, and whether there is room on the disk.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::is_full;
use crate::config::DiskReserve;
use crate::ids::FileSequence;
use crate::reserve::Reserve;
use crate::vfs::Vfs;

/// Files that are kept for later; more are removed.
const SPARES_MAX: usize = 4;
/// While what is in files cannot become segments, for want of room, so many more may wait: then
/// no records come, but what gives room back has to have a place.
const MORE_WITHOUT_ROOM: u64 = 2;

/// What is known about the files.
#[derive(Debug)]
pub(crate) struct Files {
    /// But for the reserve's.
    disk_bytes: AtomicU64,
    reserve: Reserve,
    /// There is no room for the next WAL file.
    no_file: AtomicBool,
    /// There is no room for what the archiver has to write.
    no_segment: AtomicBool,
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
    pub(crate) fn new(reserve: Reserve) -> Self {
        Self {
            disk_bytes: AtomicU64::default(),
            reserve,
            no_file: AtomicBool::new(false),
            no_segment: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            low: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.disk_bytes.load(Ordering::Relaxed) + self.reserve.bytes()
    }

    pub(crate) fn add(&self, bytes: u64) {
        self.disk_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn subtract(&self, bytes: u64) {
        self.disk_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) const fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// Gives up the reserve's room; answers whether there was any.
    pub(crate) fn give_up_reserve(&self) -> io::Result<bool> {
        let bytes = self.reserve.bytes();
        let given = self.reserve.give_up()?;
        if given {
            tracing::error!(
                bytes,
                "the disk is full: the log's reserve is used up; no record is stored until there \
                 is room for it again"
            );
        }
        Ok(given)
    }

    /// Does something, with the reserve's room if there is no other.
    pub(crate) fn with_reserve<R>(&self, act: impl Fn() -> io::Result<R>) -> io::Result<R> {
        match act() {
            Err(error) if is_full(&error) && self.give_up_reserve()? => act(),
            done => done,
        }
    }

    /// Whether records are refused.
    pub(crate) fn refuses_records(&self) -> bool {
        let without_room = [&self.no_file, &self.no_segment, &self.low];
        without_room.iter().any(|it| it.load(Ordering::Relaxed)) || !self.reserve.is_whole()
    }

    /// Whether nothing at all can be written.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck.load(Ordering::Relaxed)
    }

    /// There is no room for a WAL file, and somebody waits for it, or nobody yet. Answers whether
    /// that is new.
    pub(crate) fn lacks_room(&self, waited_for: bool) -> bool {
        if waited_for {
            self.stuck.store(true, Ordering::Relaxed);
        }
        !self.no_file.swap(true, Ordering::Relaxed)
    }

    /// There was room for a WAL file.
    pub(crate) fn made_room(&self) {
        self.no_file.store(false, Ordering::Relaxed);
        self.stuck.store(false, Ordering::Relaxed);
    }

    /// Whether the archiver lacks room.
    pub(crate) fn archiver_is_stuck(&self) -> bool {
        self.no_segment.load(Ordering::Relaxed)
    }

    /// Notes whether the archiver lacks room; answers whether that is new.
    pub(crate) fn archiver_lacks_room(&self, lacks: bool) -> bool {
        let is_new = self.no_segment.swap(lacks, Ordering::Relaxed) != lacks;
        if is_new {
            // Whoever looked before waits by now.
            drop(self.state());
            self.changed.notify_all();
        }
        is_new
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
        } else if !self.refuses_records() {
            tracing::info!(free = space.free, "there is room on the disk again");
        }
    }

    /// The log is to end: nobody waits for room on the disk any longer.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
        // Whoever looked before waits by now.
        drop(self.state());
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
        self.is_within(file, self.state().oldest, files_max)
    }

    fn is_within(&self, file: FileSequence, oldest: FileSequence, files_max: u64) -> bool {
        let more = if self.archiver_is_stuck() {
            MORE_WITHOUT_ROOM
        } else {
            0
        };
        file.value().saturating_sub(oldest.value()) < files_max + more
    }

    /// Waits until it is.
    pub(crate) fn wait_to_begin(&self, file: FileSequence, files_max: u64) -> io::Result<()> {
        let mut state = self.state();
        loop {
            if self.is_within(file, state.oldest, files_max) {
                self.stuck.store(false, Ordering::Relaxed);
                return Ok(());
            }
            if state.ended {
                return Err(io::Error::other(
                    "whoever empties the files before it ended",
                ));
            }
            let without_room = self.archiver_is_stuck();
            if self.is_closing() && (without_room || self.no_file.load(Ordering::Relaxed)) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.stuck.store(without_room, Ordering::Relaxed);
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

    /// Whether there is a file that is kept for later.
    pub(crate) fn has_spare(&self) -> bool {
        !self.state().spares.is_empty()
    }

    /// A file to be removed, unless it is the last. Never the first: one that was found behind the
    /// log's end bears the number of the file that is made next, perhaps at this moment.
    pub(crate) fn take_spare_but_one(&self) -> Option<Spare> {
        let mut state = self.state();
        if state.spares.len() > 1 {
            state.spares.pop_back()
        } else {
            None
        }
    }

    /// Bytes of the files that could be removed.
    pub(crate) fn spare_bytes_but_one(&self) -> u64 {
        let state = self.state();
        state.spares.iter().skip(1).map(|spare| spare.bytes).sum()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
