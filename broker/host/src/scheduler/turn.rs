//! What a plugin thread runs at the moment, and whether that may go on. Plugins are asked at every
//! tick, whatever they are doing: thus the question is put to the thread, and not handed down
//! through all that a call consists of.

use super::{SLOW, Scheduler};
use crate::clock;
use std::cell::RefCell;
use std::sync::{Arc, Weak};
use std::time::Duration;

thread_local! {
    static CURRENT: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

/// A job that runs on a plugin thread.
#[derive(Debug)]
pub(super) struct Turn {
    scheduler: Arc<Scheduler>,
    /// Gone when nobody waits for the job any more.
    caller: Weak<()>,
    /// Whether it counts among the slow ones that run.
    slow: bool,
    /// The thread's processor time when the question was put first.
    since: Option<Duration>,
}

/// Why a job has no result.
#[derive(Debug)]
pub(crate) enum Stopped<E> {
    /// It failed.
    Failed(E),
    /// It had to leave its thread: it is begun anew later, if somebody still waits for it.
    Interrupted,
}

impl<E> From<E> for Stopped<E> {
    fn from(error: E) -> Self {
        Self::Failed(error)
    }
}

/// Whether what this thread runs may go on. `cpu` is the thread's processor time.
pub(crate) fn may_go_on(cpu: Duration) -> bool {
    CURRENT.with_borrow_mut(|turn| turn.as_mut().is_none_or(|turn| turn.may_go_on(cpu)))
}

/// Processor time that what runs here has used since it was first asked at a tick. What ends before
/// has used none that counts: its thread may not have had the processor for most of that time.
pub(super) fn cpu_used() -> Duration {
    let since = CURRENT.with_borrow(|turn| turn.as_ref().and_then(|turn| turn.since));
    since.map_or(Duration::ZERO, |since| {
        clock::thread_cpu().saturating_sub(since)
    })
}

impl Turn {
    /// A job begins on this thread.
    pub(super) fn begin(scheduler: &Arc<Scheduler>, caller: Weak<()>, slow: bool) {
        let turn = Self {
            scheduler: scheduler.clone(),
            caller,
            slow,
            since: None,
        };
        CURRENT.set(Some(turn));
    }

    /// It has ended; whether it counts among the slow ones.
    pub(super) fn end() -> bool {
        CURRENT.take().is_some_and(|turn| turn.slow)
    }

    fn may_go_on(&mut self, cpu: Duration) -> bool {
        if self.caller.strong_count() == 0 {
            return false;
        }
        let since = *self.since.get_or_insert(cpu);
        if !self.slow && cpu.saturating_sub(since) > SLOW {
            self.slow = self.scheduler.lock().count_slow(self.scheduler.slow_max());
            return self.slow;
        }
        true
    }
}
