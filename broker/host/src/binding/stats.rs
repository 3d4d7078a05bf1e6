//! Counters of a binding.

use super::Quarantine;
use crate::instance::{Cause, Failure};
use crate::logs::cut;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use weir_wire::plugin::CALL_TIMES_US;

/// What a binding has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BindingStats {
    /// Calls of the binding.
    pub calls: u64,
    /// Calls into the plugin: several for a large batch or while guilty records are looked for.
    pub plugin_calls: u64,
    /// Records judged.
    pub records_in: u64,
    /// Records kept by a filter, given a key, sent to a route or decided on; outputs of a mapper.
    pub records_out: u64,
    /// Records that failed by themselves.
    pub records_failed: u64,
    /// Traps.
    pub traps: u64,
    /// Calls stopped at a limit.
    pub limits: u64,
    /// Processor time of the plugin, the making of its instances included.
    pub cpu: Duration,
    /// Calls of the binding by how long they took, waiting for a thread left out: up to each of
    /// [`CALL_TIMES_US`], then longer.
    pub call_times: [u64; CALL_TIMES_US.len() + 1],
    /// How long they took in all.
    pub call_time: Duration,
    /// The most linear memory that an instance had, in bytes.
    pub memory_max: u64,
    /// Idle instances kept.
    pub instances: usize,
    /// Whether a call that was repeated gave another answer.
    pub impure: bool,
    /// Why and how long it is not called, if it is quarantined.
    pub quarantined: Option<Quarantine>,
    /// How often it was quarantined.
    pub quarantines: u64,
    /// The last error, of a record or of a call.
    pub last_error: Option<String>,
    /// Log lines left out because there were too many.
    pub log_lines_suppressed: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    calls: AtomicU64,
    plugin_calls: AtomicU64,
    records_in: AtomicU64,
    records_out: AtomicU64,
    records_failed: AtomicU64,
    traps: AtomicU64,
    limits: AtomicU64,
    cpu: AtomicU64,
    call_times: [AtomicU64; CALL_TIMES_US.len() + 1],
    call_time: AtomicU64,
    memory_max: AtomicU64,
    impure: AtomicBool,
    last_error: Mutex<Option<String>>,
}

impl Counters {
    /// A call ended, with that many answers.
    pub(super) fn call(&self, records: u32, out: usize, failed: usize, cpu: Duration) {
        add(&self.calls, 1);
        add(&self.records_in, u64::from(records));
        add(&self.records_out, out as u64);
        add(&self.records_failed, failed as u64);
        self.cpu(cpu);
    }

    /// Processor time of a call, or of what is none: the first instance, an interrupted call.
    pub(super) fn cpu(&self, cpu: Duration) {
        add(&self.cpu, u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A call of the binding took so long on its thread.
    pub(super) fn took(&self, wall: Duration) {
        let micros = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX);
        let bucket = CALL_TIMES_US.partition_point(|bound| *bound < micros);
        if let Some(calls) = self.call_times.get(bucket) {
            add(calls, 1);
        }
        let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        add(&self.call_time, nanos);
    }

    pub(super) fn plugin_call(&self, memory: usize, failure: Option<&Failure>) {
        add(&self.plugin_calls, 1);
        self.memory_max.fetch_max(memory as u64, Ordering::Relaxed);
        let Some(failure) = failure else { return };
        match failure.cause {
            Cause::Trapped => add(&self.traps, 1),
            Cause::Limit => add(&self.limits, 1),
            // It is no failure to be asked to come back, nor its own that there is no room for it.
            Cause::Interrupted | Cause::NoRoom | Cause::Crowded | Cause::Shutdown => return,
            _ => {}
        }
        self.error(&failure.to_string());
    }

    pub(super) fn error(&self, message: &str) {
        let message = cut(message, 1024).to_owned();
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    pub(super) fn forget_error(&self) {
        *self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Marks the plugin; whether that is news.
    pub(super) fn impure(&self) -> bool {
        !self.impure.swap(true, Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> BindingStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BindingStats {
            calls: read(&self.calls),
            plugin_calls: read(&self.plugin_calls),
            records_in: read(&self.records_in),
            records_out: read(&self.records_out),
            records_failed: read(&self.records_failed),
            traps: read(&self.traps),
            limits: read(&self.limits),
            cpu: Duration::from_nanos(read(&self.cpu)),
            call_times: std::array::from_fn(|bucket| read(&self.call_times[bucket])),
            call_time: Duration::from_nanos(read(&self.call_time)),
            memory_max: read(&self.memory_max),
            impure: self.impure.load(Ordering::Relaxed),
            last_error: self
                .last_error
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
            ..BindingStats::default()
        }
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}
