//! The way from the WAL to the archiver: what became durable, block by block. It has a bound, so
//! that the log never runs far ahead of whoever empties its files.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::LogError;
use crate::ids::{FileSequence, Lsn};
use crate::manifest::FileStart;
use crate::wal::{RecoveredEntry, Written};

/// Blocks that may wait: about as many as a file of small ones holds.
pub(crate) const NOTED_MAX: usize = 1 << 14;

/// A block that became durable.
#[derive(Debug)]
pub(crate) struct Noted {
    pub(crate) file: FileSequence,
    /// What comes before the file, if the block is its first.
    pub(crate) file_start: Option<FileStart>,
    pub(crate) lsn: Lsn,
    pub(crate) entries: Vec<RecoveredEntry>,
}

impl From<&Written> for Noted {
    fn from(written: &Written) -> Self {
        Self {
            file: written.file,
            file_start: written.file_start,
            lsn: written.lsn,
            entries: written.block.recovered(),
        }
    }
}

/// Blocks on their way, and what else is to be told.
#[derive(Debug, Default)]
pub(crate) struct Feed {
    state: Mutex<State>,
    /// There is something for the archiver.
    wanted: Condvar,
    /// There is room for a block, or a flush is done.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    noted: VecDeque<Noted>,
    /// Files that were begun since the archiver looked.
    begun: u32,
    /// Flushes asked for, and done.
    flushes_asked: u64,
    flushes_done: u64,
    /// Why the last flush was not done: there was no room.
    flush_error: Option<LogError>,
    ended: bool,
    /// The archiver failed, or ended.
    failure: Option<LogError>,
}

impl State {
    /// Nobody waits for the archiver, nor will soon.
    fn is_calm(&self) -> bool {
        self.begun == 0
            && self.noted.len() < NOTED_MAX / 2
            && self.flushes_asked == self.flushes_done
            && !self.ended
    }
}

/// What wakes the archiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A flush of what is durable, with its number.
    Flush(u64),
    /// Nothing in particular: there are blocks.
    Blocks,
    /// Nothing came.
    Nothing,
    /// The log ended.
    End,
}

impl Feed {
    /// Hands a block over. Waits while there are too many already; if the archiver failed, the
    /// block is of no use to it.
    pub(crate) fn push(&self, noted: Noted) {
        let mut state = self.lock();
        while state.noted.len() >= NOTED_MAX && state.failure.is_none() {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        if state.failure.is_some() {
            return;
        }
        let begins = noted.file_start.is_some();
        state.noted.push_back(noted);
        state.begun += u32::from(begins);
        let many = state.noted.len() == NOTED_MAX / 2;
        drop(state);
        // The archiver looks by itself now and then; what it need not know at once does not wake
        // it, since that would cost every block a change of threads.
        if begins || many {
            self.wanted.notify_one();
        }
    }

    /// Whether a block can be handed over without waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.lock().noted.len() < NOTED_MAX
    }

    pub(crate) fn take(&self) -> Option<Noted> {
        let mut state = self.lock();
        let noted = state.noted.pop_front();
        if let Some(noted) = &noted {
            state.begun -= u32::from(noted.file_start.is_some());
            if state.noted.len() + 1 == NOTED_MAX {
                self.changed.notify_all();
            }
        }
        noted
    }

    /// Gives the block back that was taken last.
    pub(crate) fn put_back(&self, noted: Noted) {
        self.lock().noted.push_front(noted);
    }

    /// Waits until there is something to do, at most that long.
    pub(crate) fn wait(&self, time: Duration) -> Wanted {
        let waited = self
            .wanted
            .wait_timeout_while(self.lock(), time, |state| state.is_calm());
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.flushes_asked > state.flushes_done {
            Wanted::Flush(state.flushes_asked)
        } else if state.ended {
            Wanted::End
        } else if state.noted.is_empty() {
            Wanted::Nothing
        } else {
            Wanted::Blocks
        }
    }

    /// Waits for that time, unless there is a reason to hurry.
    pub(crate) fn pause(&self, time: Duration) {
        let waited = self
            .wanted
            .wait_timeout_while(self.lock(), time, |state| state.is_calm());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether there is no reason to hurry.
    pub(crate) fn is_calm(&self) -> bool {
        self.lock().is_calm()
    }

    /// Waits for that time, unless the log ends; answers whether it does.
    pub(crate) fn rest(&self, time: Duration) -> bool {
        let going = |state: &mut State| !state.ended;
        let waited = self.wanted.wait_timeout_while(self.lock(), time, going);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }

    /// Asks for a flush and waits until it is done.
    pub(crate) fn flush(&self) -> Result<(), LogError> {
        let mut state = self.lock();
        state.flushes_asked += 1;
        let number = state.flushes_asked;
        self.wanted.notify_one();
        loop {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            if state.flushes_done >= number {
                return state.flush_error.clone().map_or(Ok(()), Err);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub(crate) fn flushed(&self, number: u64, error: Option<LogError>) {
        let mut state = self.lock();
        state.flushes_done = state.flushes_done.max(number);
        state.flush_error = error;
        self.changed.notify_all();
    }

    /// Nothing more comes.
    pub(crate) fn end(&self) {
        self.lock().ended = true;
        self.wanted.notify_one();
    }

    /// The archiver does no more: because it failed, or because the log ended.
    pub(crate) fn fail(&self, error: LogError) {
        let mut state = self.lock();
        state.failure.get_or_insert(error);
        state.noted.clear();
        self.changed.notify_all();
    }

    /// How the archiver failed.
    pub(crate) fn failure(&self) -> Option<LogError> {
        self.lock().failure.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
