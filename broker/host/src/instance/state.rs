//! What belongs to an instance besides its memory: the limits of the current call, how much of
//! them is used, and where its log lines go.

use crate::clock;
use crate::host::Shared;
use crate::logs::{LogLevel, Logs, cut};
use crate::scheduler;
use crate::ticker::TICK;
use std::sync::Arc;
use std::time::{Duration, Instant};
use wasmtime::{ResourceLimiter, UpdateDeadline};

/// Elements of all tables; the pool has room for that many in each.
const TABLE_ELEMENTS_MAX: usize = 20_000;
/// Processor time that a call may take besides its own for each mebibyte that the host copies into
/// the plugin: the copying, and the pages that the system has to find and clear for it, are on the
/// same clock, but they are no work of the plugin. Several times what they take on a quiet machine.
const COPY_PER_MIB: Duration = Duration::from_millis(4);
/// Bytes kept of what a plugin logs as an error, to explain a trap.
const SAID_MAX: usize = 512;

/// Why the host stopped a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it used more than its {limit:?} of processor time")]
    Cpu { limit: Duration },
    #[error("it took longer than {limit:?}")]
    Wall { limit: Duration },
    #[error("it needs more than its {limit} bytes of memory")]
    Memory { limit: usize },
    #[error(
        "the plugins together have {used} of the {max} bytes of memory that they may have; try \
         again, or allow more (plugins.total_memory_bytes)"
    )]
    Crowded { used: u64, max: u64 },
    #[error("its thread is needed for others, or nobody waits for it any more")]
    Interrupted,
    #[error("the broker is shutting down")]
    Shutdown,
}

/// What a call may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    pub(crate) cpu: Duration,
    pub(crate) wall: Duration,
    pub(crate) memory: usize,
}

/// The moment of a call from which on its processor time is measured. Asking for it is a system
/// call, which takes longer than a short call of a plugin: those that end before are measured by
/// the wall clock.
#[derive(Clone, Copy, Debug)]
struct FirstTick {
    /// Processor time of the thread.
    cpu: Duration,
    /// What the call is taken to have used before.
    before: Duration,
}

/// The data of a store.
#[derive(Debug)]
pub(crate) struct State {
    budget: Budget,
    first_tick: Option<FirstTick>,
    /// Processor time of the current call for copying.
    copying: Duration,
    wall_start: Instant,
    memory: usize,
    said: Option<String>,
    logs: Arc<Logs>,
    host: Arc<Shared>,
}

impl State {
    pub(crate) fn new(budget: Budget, logs: Arc<Logs>, host: Arc<Shared>) -> Self {
        Self {
            budget,
            first_tick: None,
            copying: Duration::ZERO,
            wall_start: clock::now(),
            memory: 0,
            said: None,
            logs,
            host,
        }
    }

    /// A call begins, with so many bytes to be copied into the plugin.
    pub(crate) fn begin(&mut self, bytes: usize) {
        self.copying = COPY_PER_MIB.mul_f64(bytes as f64 / f64::from(1 << 20));
        self.first_tick = None;
        self.wall_start = clock::now();
        self.said = None;
    }

    /// Processor time since `begin`; up to a tick of it may be time in which the thread did not
    /// run.
    pub(crate) fn cpu_used(&self) -> Duration {
        match self.first_tick {
            None => self.elapsed(),
            Some(first) => first.before + clock::thread_cpu().saturating_sub(first.cpu),
        }
    }

    fn elapsed(&self) -> Duration {
        clock::now().duration_since(self.wall_start)
    }

    /// Bytes of linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// The last error that was logged in this call: what a panic says.
    pub(crate) fn take_said(&mut self) -> Option<String> {
        self.said.take()
    }

    pub(crate) fn log(&mut self, level: LogLevel, message: &str) {
        if level == LogLevel::Error {
            self.said = Some(cut(message, SAID_MAX).to_owned());
        }
        self.logs.push(level, message);
    }

    /// Every few milliseconds of a call: may it go on?
    pub(crate) fn tick(&mut self) -> Result<UpdateDeadline, Stop> {
        if self.host.is_stopping() {
            return Err(Stop::Shutdown);
        }
        let (cpu, elapsed) = (clock::thread_cpu(), self.elapsed());
        let first = self.first_tick.get_or_insert(FirstTick {
            cpu,
            before: elapsed.min(TICK),
        });
        // What came before the first tick is not held against the plugin: its thread may not have
        // had the processor.
        if cpu.saturating_sub(first.cpu) > self.budget.cpu + self.copying {
            return Err(Stop::Cpu {
                limit: self.budget.cpu,
            });
        }
        if elapsed > self.budget.wall {
            return Err(Stop::Wall {
                limit: self.budget.wall,
            });
        }
        if !scheduler::may_go_on(cpu) {
            return Err(Stop::Interrupted);
        }
        Ok(UpdateDeadline::Continue(1))
    }
}

impl ResourceLimiter for State {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The engine asks before it looks at what the memory itself allows: nothing may be
            // charged for what cannot come.
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        let wanted = self.memory.saturating_add(more);
        // What it could not have even if it were alone is its own fault.
        let limit = self.budget.memory.min(self.host.memory().max());
        if wanted > limit {
            return Err(Stop::Memory { limit }.into());
        }
        if !self.host.take_memory(more) {
            let (used, max) = (self.host.memory().used(), self.host.memory().max() as u64);
            return Err(Stop::Crowded { used, max }.into());
        }
        self.memory = wanted;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.host.memory().give_back(self.memory);
    }
}
