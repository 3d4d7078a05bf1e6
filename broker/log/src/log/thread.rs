//! The log's thread: commits what waits, as one block as large as it gets, and states what is
//! durable when nothing waits.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use super::queue::{Due, Queue, State, Turn};
use crate::entry::Entry;
use crate::error::LogError;

/// With nothing to write for that long, a seal states what is durable.
const SEAL_AFTER: Duration = Duration::from_millis(10);
/// Under load the thread waits until that much is there, or for that long: larger blocks make
/// fewer syncs.
pub(super) const LINGER_BYTES: usize = 2 << 20;
const LINGER: Duration = Duration::from_millis(1);
/// What counts as load: the last block held several entries and this many bytes.
const LOAD_BYTES: usize = 64 << 10;

#[derive(Debug)]
pub(super) struct Run<T> {
    queue: Arc<Queue<T>>,
    block_bytes_max: usize,
    /// The last block was one of many: more will come.
    loaded: bool,
}

/// What the thread does next.
enum Task<T> {
    Block(Vec<Entry>, Vec<T>),
    Seal,
    GiveUp(LogError),
}

/// Whatever ends the thread too early, nobody waits for it.
struct PoisonOnPanic<T: 'static>(Arc<Queue<T>>);

impl<T> Drop for PoisonOnPanic<T> {
    fn drop(&mut self) {
        self.0.poison_if_panicking();
    }
}

impl<T: Send + 'static> Run<T> {
    pub(super) const fn new(queue: Arc<Queue<T>>, block_bytes_max: usize) -> Self {
        Self {
            queue,
            block_bytes_max,
            loaded: false,
        }
    }

    pub(super) fn run(mut self) {
        let _poison = PoisonOnPanic(self.queue.clone());
        let queue = self.queue.clone();
        while let Some((turn, task)) = self.next(&queue) {
            match task {
                Task::Block(entries, tokens) => turn.commit(entries, tokens),
                Task::Seal => turn.seal(),
                Task::GiveUp(error) => turn.give_up(&error),
            }
        }
        // The files are closed when the log is.
        let committer = queue.lock().committer.take();
        drop(committer);
    }

    /// What is to be done next, and the right to do it; waits for it.
    fn next<'a>(&mut self, queue: &'a Queue<T>) -> Option<(Turn<'a, T>, Task<T>)> {
        let mut state = queue.lock();
        loop {
            let due = state.due();
            self.loaded &= due == Due::Block;
            match due {
                Due::Nothing => state = sleep(queue, state),
                Due::SealWhenIdle => {
                    let idle;
                    (state, idle) = listen(queue, state);
                    if idle {
                        return Some((state.turn(queue)?, Task::Seal));
                    }
                }
                Due::Seal => return Some((state.turn(queue)?, Task::Seal)),
                Due::Fail => {
                    let error = state.broken.clone()?;
                    return Some((state.turn(queue)?, Task::GiveUp(error)));
                }
                Due::Block => break,
                Due::End => return None,
            }
        }
        if self.loaded && state.bytes < LINGER_BYTES {
            state = linger(queue, state);
        }
        let turn = state.turn(queue)?;
        let (entries, tokens, bytes) = state.take(self.block_bytes_max);
        self.loaded = entries.len() > 1 && bytes >= LOAD_BYTES;
        Some((turn, Task::Block(entries, tokens)))
    }
}

/// Waits until something changes.
fn sleep<'a, T>(queue: &Queue<T>, mut state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
    state.asleep = true;
    let woken = queue.changed.wait(state);
    state = woken.unwrap_or_else(PoisonError::into_inner);
    state.asleep = false;
    state
}

/// Waits until something changes, but not for long; answers whether a seal is due.
///
/// Callers that commit by themselves wake nobody: that they did shows in their count.
fn listen<'a, T: 'static>(
    queue: &Queue<T>,
    state: MutexGuard<'a, State<T>>,
) -> (MutexGuard<'a, State<T>>, bool) {
    let before = state.committed_here;
    let waited = queue.changed.wait_timeout(state, SEAL_AFTER);
    let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
    let idle =
        timeout.timed_out() && state.committed_here == before && state.due() == Due::SealWhenIdle;
    (state, idle)
}

/// Waits for more, as there is load. Nobody commits meanwhile.
fn linger<'a, T>(
    queue: &Queue<T>,
    mut state: MutexGuard<'a, State<T>>,
) -> MutexGuard<'a, State<T>> {
    state.lingering = true;
    let more = |state: &mut State<T>| state.bytes < LINGER_BYTES && !state.closed;
    let waited = queue.changed.wait_timeout_while(state, LINGER, more);
    let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
    state.lingering = false;
    state
}
