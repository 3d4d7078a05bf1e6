//! A plugin bound to a hook with a configuration: its instances, its health, its counters.

mod bind;
mod bound;
mod health;
mod identity;
mod instances;
mod stats;

pub use bind::BindError;
pub use bound::Bound;
pub use health::Quarantine;
pub use identity::BindingIdentity;
pub use stats::BindingStats;

pub(crate) use bind::bind;

use crate::columns::Chunk;
use crate::contract::Projection;
use crate::host::Shared;
use crate::instance::Instance;
use crate::logs::Logs;
use crate::plugin::Origin;
use crate::run::CallError;
use crate::scheduler::Queue;
use crate::{Limits, RecordFailure, clock};
use health::Health;
use instances::Instances;
use stats::Counters;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use weir_wire::plugin::Hook;

/// One call in so many is run again on a fresh instance, and the first of a binding.
const PURITY_EVERY: u64 = 256;

/// What all clones of a [`Bound`] and the threads that run its calls share.
#[derive(Debug)]
pub(crate) struct Binding {
    host: Arc<Shared>,
    plugin: Arc<Origin>,
    identity: Arc<BindingIdentity>,
    limits: Limits,
    /// What `configure` asked for; set before the binding is handed out.
    projection: OnceLock<Projection>,
    instances: Instances,
    scratch: Mutex<Option<Chunk>>,
    health: Health,
    counters: Counters,
    logs: Arc<Logs>,
    calls: AtomicU64,
    /// Whether a call is to be run again, to see whether the answers are the same.
    purity_check_is_due: AtomicBool,
    /// Where the scheduler keeps this binding's waiting calls.
    pub(crate) queue: Queue,
}

impl Binding {
    pub(crate) fn host(&self) -> &Arc<Shared> {
        &self.host
    }

    pub(crate) fn hook(&self) -> Hook {
        self.identity.hook()
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The columns to supply.
    pub(crate) fn projection(&self) -> &Projection {
        self.projection
            .get()
            .expect("bind() hands a binding out after it was configured")
    }

    /// A call begins: whether it is to be run again on a fresh instance. A check that is due stays
    /// so until one was made: a call may be given up, or have nothing that can be checked.
    pub(crate) fn begin_call(&self) -> bool {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if number.is_multiple_of(PURITY_EVERY) {
            self.purity_check_is_due.store(true, Ordering::Relaxed);
        }
        self.purity_check_is_due.load(Ordering::Relaxed)
    }

    pub(crate) fn purity_was_checked(&self) {
        self.purity_check_is_due.store(false, Ordering::Relaxed);
    }

    /// Buffers of an earlier call, so that a call allocates nothing.
    pub(crate) fn take_scratch(&self) -> Chunk {
        self.lock_scratch().take().unwrap_or_default()
    }

    pub(crate) fn give_scratch(&self, chunk: Chunk) {
        if chunk.may_be_kept() {
            *self.lock_scratch() = Some(chunk);
        }
    }

    fn lock_scratch(&self) -> MutexGuard<'_, Option<Chunk>> {
        self.scratch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check_quarantine(&self) -> Result<(), CallError> {
        self.health.check(clock::now)
    }

    /// A call gave answers, if not for all records: `at_limit` if one was stopped at a limit.
    pub(crate) fn succeeded(
        &self,
        records: u32,
        out: usize,
        failures: &[RecordFailure],
        cpu: Duration,
        at_limit: bool,
    ) {
        self.counters.call(records, out, failures.len(), cpu);
        let last = failures.last().filter(|_| at_limit);
        if let Some(message) = self.health.answered(last, clock::now) {
            self.warn_quarantined(&message);
        }
    }

    /// A call on so many records gave no answers: `at_limit` if one was stopped at a limit.
    pub(crate) fn failed(
        &self,
        error: &CallError,
        records: u32,
        cpu: Duration,
        at_limit: bool,
        now: Instant,
    ) {
        let judged = if error.is_of_the_plugin() { records } else { 0 };
        self.counters.call(judged, 0, judged as usize, cpu);
        let message = error.to_string();
        // What others are the reason of would be held against it long after it has passed.
        if error.is_of_the_plugin() {
            self.counters.error(&message);
        }
        if matches!(error, CallError::TooManyFailures { .. }) {
            self.health.records_failed(at_limit);
        }
        if error.quarantines() {
            self.warn_quarantined(&message);
            self.health.quarantine(message, now);
        }
    }

    /// A call was interrupted after so much processor time; it will begin anew.
    pub(crate) fn interrupted(&self, cpu: Duration) {
        self.counters.cpu(cpu);
    }

    fn warn_quarantined(&self, message: &str) {
        tracing::warn!(
            target: "weir::plugin", version = %self.plugin.version().short(), hook = %self.hook(),
            "binding quarantined: {message}"
        );
    }

    pub(crate) fn is_pure(&self) -> bool {
        self.plugin.is_pure(self.hook())
    }

    pub(crate) fn found_impure(&self, why: &str) {
        self.plugin.found_impure(self.hook());
        if self.counters.impure() {
            tracing::warn!(
                target: "weir::plugin", version = %self.plugin.version().short(),
                hook = %self.hook(), "the plugin is impure: {why}"
            );
        }
    }

    pub(crate) fn count_plugin_call(
        &self,
        instance: &Instance,
        failure: Option<&crate::instance::Failure>,
    ) {
        self.counters.plugin_call(instance.memory(), failure);
    }

    /// How many records the next chunk may have.
    pub(crate) fn chunk_records(&self) -> u32 {
        self.health.chunk_records()
    }

    pub(crate) fn chunk_was_too_large(&self, records: u32) {
        self.health.chunk_was_too_large(records);
    }

    pub(crate) fn chunk_went_well(&self, cpu: Duration) {
        self.health.chunk_went_well(cpu, self.limits.cpu);
    }

    /// Whether its calls take long, so that they must not occupy every thread.
    pub(crate) fn is_slow(&self) -> bool {
        self.health.is_slow()
    }

    /// A call has left its thread after that time, of which so much counts as its own.
    pub(crate) fn took(&self, wall: Duration, cpu: Duration) {
        self.health.took(cpu);
        self.counters.took(wall);
    }
}
