//! Who keeps the network thread busy: whether, for a while now, it has served one connection only.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// For how long nobody else may have been heard of. Somebody who sends less often than that hardly
/// feels the wait for a sync, and is noticed with the next frame.
const QUIET: Duration = Duration::from_millis(10);

/// Kept by the tasks of the network thread, so the order of its parts needs no more than that.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    /// The connection that sent a frame last.
    last: AtomicUsize,
    /// When somebody else was active last, in microseconds since `begun`.
    mixed: AtomicU64,
}

impl Activity {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            begun: now,
            last: AtomicUsize::new(0),
            mixed: AtomicU64::new(0),
        }
    }

    /// A producer's frame arrived on that connection.
    pub(crate) fn received(&self, connection: usize, now: Instant) {
        if self.last.swap(connection, Ordering::Relaxed) != connection {
            self.mixed.store(self.micros(now), Ordering::Relaxed);
        }
    }

    /// Something was delivered to a subscriber: somebody besides the producers is active.
    pub(crate) fn delivered(&self, now: Instant) {
        self.mixed.store(self.micros(now), Ordering::Relaxed);
    }

    /// Whether only the connection that sent the last frame has been active for a while.
    pub(crate) fn is_of_one(&self, now: Instant) -> bool {
        let mixed = Duration::from_micros(self.mixed.load(Ordering::Relaxed));
        now.saturating_duration_since(self.begun) > mixed + QUIET
    }

    fn micros(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.begun).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_connection_or_a_subscriber_ends_the_quiet_for_a_while() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let activity = Activity::new(begun);
        activity.received(7, at(0));
        assert!(!activity.is_of_one(at(10)));
        activity.received(7, at(11));
        assert!(activity.is_of_one(at(11)));
        activity.received(8, at(12));
        assert!(!activity.is_of_one(at(22)));
        activity.received(8, at(23));
        assert!(activity.is_of_one(at(23)));
        activity.delivered(at(30));
        assert!(!activity.is_of_one(at(40)));
        assert!(activity.is_of_one(at(41)));
    }

    #[test]
    fn connections_in_turns_are_never_one() {
        let begun = Instant::now();
        let activity = Activity::new(begun);
        for ms in 0..100 {
            let now = begun + Duration::from_millis(ms);
            activity.received(1 + ms as usize % 2, now);
            assert!(!activity.is_of_one(now));
        }
    }
}
