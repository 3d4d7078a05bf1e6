//! The thread that makes time pass for plugins: it advances the engine's epoch while calls run,
//! lets idle instances go, and sleeps when there is nothing of either.

use crate::clock;
use crate::host::Shared;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How often a running plugin is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(5);
/// How often idle instances are looked at.
const SWEEP: Duration = Duration::from_secs(1);
/// Ticks without a call after which the thread sleeps: calls usually follow each other closely,
/// and waking it costs each first one of them a system call.
const LINGER_TICKS: u32 = 20;

#[derive(Debug, Default)]
pub(crate) struct Ticker {
    running: AtomicUsize,
    asleep: AtomicBool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    idle_instances: bool,
    stopped: bool,
}

/// While it lives, time passes.
#[derive(Debug)]
pub(crate) struct Running<'a> {
    ticker: &'a Ticker,
}

impl Ticker {
    /// A call begins.
    pub(crate) fn enter(&self) -> Running<'_> {
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            let _state = self.lock();
            self.wake.notify_one();
        }
        Running { ticker: self }
    }

    /// An instance waits for its next call, or for its end, or code for its next instance.
    pub(crate) fn instances_are_idle(&self) {
        let mut state = self.lock();
        if !state.idle_instances {
            state.idle_instances = true;
            self.wake.notify_one();
        }
    }

    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.wake.notify_all();
    }

    /// The thread's body.
    pub(crate) fn run(&self, host: &Weak<Shared>, idle: Duration) {
        let mut swept = clock::now();
        let mut quiet = 0;
        loop {
            let Some(host) = host.upgrade() else { return };
            if self.running.load(Ordering::SeqCst) > 0 {
                quiet = 0;
                host.engine().increment_epoch();
            } else {
                quiet += 1;
            }
            let now = clock::now();
            if now.duration_since(swept) >= SWEEP.min(idle) {
                swept = now;
                self.sweep(&host, now, idle);
            }
            drop(host);
            if !self.wait(quiet >= LINGER_TICKS, SWEEP.min(idle)) {
                return;
            }
        }
    }

    fn sweep(&self, host: &Arc<Shared>, now: Instant, idle: Duration) {
        // Cleared first: an instance that becomes idle meanwhile sets it again.
        self.lock().idle_instances = false;
        if host.sweep(now, idle) {
            self.lock().idle_instances = true;
        }
    }

    /// One tick, or a sleep until something happens; `false` at the end.
    fn wait(&self, sleepy: bool, sweep: Duration) -> bool {
        let state = self.lock();
        if state.stopped {
            return false;
        }
        if !sleepy {
            return !self.wait_for(state, TICK).stopped;
        }
        self.asleep.store(true, Ordering::SeqCst);
        let state = if self.running.load(Ordering::SeqCst) > 0 {
            state
        } else if state.idle_instances {
            self.wait_for(state, sweep)
        } else {
            self.wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner)
        };
        self.asleep.store(false, Ordering::SeqCst);
        !state.stopped
    }

    fn wait_for<'a>(&self, state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        self.wake
            .wait_timeout(state, time)
            .unwrap_or_else(PoisonError::into_inner)
            .0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.ticker.running.fetch_sub(1, Ordering::SeqCst);
    }
}
