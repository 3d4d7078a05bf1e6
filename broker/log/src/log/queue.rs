//! What waits to be committed, and the right to commit it: whoever holds the committer commits,
//! the log's thread or, for a single small entry, the thread that submitted it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::commit::Committer;
use crate::entry::Entry;
use crate::error::LogError;

/// What a caller commits by itself is at most that large: it waits while this is written.
const COMMIT_HERE_BYTES_MAX: usize = 128 << 10;

#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    /// For the log's thread, the only one that waits here.
    pub(super) changed: Condvar,
}

#[derive(Debug)]
pub(super) struct State<T> {
    pub(super) waiting: VecDeque<(Entry, T, usize)>,
    pub(super) bytes: usize,
    /// The log's thread waits for more before it commits.
    pub(super) lingering: bool,
    /// The log's thread waits, and for no particular time.
    pub(super) asleep: bool,
    pub(super) closed: bool,
    pub(super) poisoned: Option<LogError>,
    /// The archiver failed: the log has to.
    pub(super) broken: Option<LogError>,
    /// `None` while somebody commits, and when the log has ended.
    pub(super) committer: Option<Box<Committer<T>>>,
    /// How many blocks callers committed.
    pub(super) committed_here: u64,
}

/// What the log's thread is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing, or somebody else commits: it is told when that changes.
    Nothing,
    /// Commit what waits.
    Block,
    /// State what is durable, unless something comes soon.
    SealWhenIdle,
    /// State what is durable: nothing more comes.
    Seal,
    /// Tell everybody that the archiver failed.
    Fail,
    /// Everything is done, or the log failed.
    End,
}

impl<T: 'static> Queue<T> {
    pub(super) fn new(committer: Committer<T>) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            lingering: false,
            asleep: false,
            closed: false,
            poisoned: None,
            broken: None,
            committer: Some(Box::new(committer)),
            committed_here: 0,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whatever ends a thread while it commits, nobody waits for it.
    pub(super) fn poison_if_panicking(&self) {
        if std::thread::panicking() {
            let mut state = self.lock();
            state.poisoned = Some(LogError::panicked());
            state.waiting.clear();
            state.bytes = 0;
        }
    }

    /// The log is to fail, for a reason that lies elsewhere.
    pub(super) fn fail_from_outside(&self, error: &LogError) {
        self.lock().broken = Some(error.clone());
        self.changed.notify_one();
    }

    /// Commits what waits if that is one small entry and nobody else commits. Answers whether it
    /// did.
    pub(super) fn commit_here(&self) -> bool {
        let mut state = self.lock();
        if !state.may_commit_here() {
            return false;
        }
        let Some(turn) = state.turn(self) else {
            return false;
        };
        state.committed_here += 1;
        let (entries, tokens, _) = state.take(COMMIT_HERE_BYTES_MAX);
        drop(state);
        turn.commit(entries, tokens);
        true
    }
}

impl<T: 'static> State<T> {
    /// What the log's thread is to do.
    pub(super) fn due(&self) -> Due {
        let Some(committer) = &self.committer else {
            return Due::Nothing;
        };
        if self.poisoned.is_some() {
            return Due::End;
        }
        if self.broken.is_some() {
            return Due::Fail;
        }
        if !self.waiting.is_empty() {
            return Due::Block;
        }
        match (committer.wants_seal(), self.closed) {
            (true, true) => Due::Seal,
            (true, false) => Due::SealWhenIdle,
            (false, true) => Due::End,
            (false, false) => Due::Nothing,
        }
    }

    /// The right to commit, if nobody has it.
    pub(super) fn turn<'a>(&mut self, queue: &'a Queue<T>) -> Option<Turn<'a, T>> {
        let committer = Some(self.committer.take()?);
        Some(Turn { queue, committer })
    }

    /// Everything that waits, up to a block's worth but at least one entry.
    pub(super) fn take(&mut self, bytes_max: usize) -> (Vec<Entry>, Vec<T>, usize) {
        let (mut entries, mut tokens, mut total) = (Vec::new(), Vec::new(), 0);
        while let Some((_, _, bytes)) = self.waiting.front() {
            if !entries.is_empty() && total + bytes > bytes_max {
                break;
            }
            let (entry, token, bytes) = self.waiting.pop_front().expect("it was looked at");
            total += bytes;
            entries.push(entry);
            tokens.push(token);
        }
        self.bytes -= total;
        (entries, tokens, total)
    }

    fn may_commit_here(&self) -> bool {
        let free =
            !self.lingering && !self.closed && self.poisoned.is_none() && self.broken.is_none();
        free && self.waiting.len() == 1
            && self.bytes <= COMMIT_HERE_BYTES_MAX
            && self.waiting.front().is_some_and(|(entry, _, _)| {
                let committer = self.committer.as_ref();
                committer.is_some_and(|committer| committer.is_ready_for(entry))
            })
    }
}

/// The right to commit. Dropping it gives it back; if that happens while the thread panics,
/// nobody commits any more.
pub(super) struct Turn<'a, T: 'static> {
    queue: &'a Queue<T>,
    committer: Option<Box<Committer<T>>>,
}

impl<T> Turn<'_, T> {
    /// Makes a block durable. A failure is told to everybody who waits, and is the log's end.
    pub(super) fn commit(mut self, entries: Vec<Entry>, tokens: Vec<T>) {
        if let Err((error, tokens)) = self.committer().commit_block(entries, tokens) {
            self.fail(&error, tokens);
        }
    }

    /// States what is durable; a failure is the log's end.
    pub(super) fn seal(mut self) {
        if let Err(error) = self.committer().seal() {
            self.fail(&error, Vec::new());
        }
    }

    /// The archiver failed, so nothing more is written.
    pub(super) fn give_up(mut self, error: &LogError) {
        self.fail(error, Vec::new());
    }

    /// Nothing more is written, and whoever waits or comes later hears why.
    fn fail(&mut self, error: &LogError, mut tokens: Vec<T>) {
        let mut state = self.queue.lock();
        state.poisoned = Some(error.clone());
        tokens.extend(state.waiting.drain(..).map(|(_, token, _)| token));
        state.bytes = 0;
        drop(state);
        self.committer().fail(error, tokens);
    }

    fn committer(&mut self) -> &mut Committer<T> {
        self.committer.as_mut().expect("only drop takes it")
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.queue.poison_if_panicking();
        let mut state = self.queue.lock();
        let committer = self.committer.take();
        let wants_seal = committer.as_ref().is_some_and(|c| c.wants_seal());
        state.committer = committer;
        let ends = state.closed || state.poisoned.is_some() || state.broken.is_some();
        if ends || !state.waiting.is_empty() || state.asleep && wants_seal {
            self.queue.changed.notify_one();
        }
    }
}
