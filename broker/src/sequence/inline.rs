//! When the sequencer makes an entry durable itself, on the network thread.
//!
//! A producer that sends one small request and waits for it pays for two changes of threads, to
//! the log's and back, about as much as for half a sync. Nobody else is served while the network
//! thread waits for the disk, so it does so only where there is nobody else.

use std::time::{Duration, Instant};

use weir_log::Held;

use crate::budget::Permit;
use crate::commit::Token;
use crate::metrics::Metrics;
use crate::state::Shared;

/// A sync that took that long was no bargain: the disk is slow, or busy.
const SLOW: Duration = Duration::from_millis(10);
/// For how long the log's thread commits everything then.
const LEAVE_ALONE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Inline {
    /// The commands of this turn are one.
    single: bool,
    /// The disk was slow: not before that time.
    not_before: Option<Instant>,
}

impl Inline {
    /// A turn begins, with so many commands.
    pub(super) const fn turn_of(&mut self, commands: usize) {
        self.single = commands == 1;
    }

    /// Whether a request whose client waits for the disk is the only thing that the broker has to
    /// do: no other command in this turn, no other request under way, no other connection active,
    /// and a disk that was quick the last time. Whether the entry is small and the log idle, the
    /// log sees to itself.
    pub(super) fn is_worth_it(&self, shared: &Shared, permit: &Permit) -> bool {
        if !self.single || !shared.budget.is_all(permit) {
            return false;
        }
        let now = Instant::now();
        self.not_before.is_none_or(|at| at <= now) && shared.activity.is_of_one(now)
    }

    /// Commits here if the log lets us.
    pub(super) fn commit(&mut self, held: Held<'_, Token>, metrics: &Metrics) {
        let begun = Instant::now();
        if held.commit_here() {
            metrics.blocks_inline.inc();
            let took = begun.elapsed();
            self.not_before = (took > SLOW).then(|| begun + took + LEAVE_ALONE);
        }
    }
}
