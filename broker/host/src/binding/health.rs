//! How a binding is doing: quarantine after grave failures, chunks no larger than it can bear,
//! and whether it is slow.

use crate::run::{CallError, chunk_records_max};
use crate::scheduler::SLOW;
use crate::{RecordFailure, clock};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_wire::id::Timestamp;

/// The first quarantine; each further one is twice as long.
const QUARANTINE_MIN: Duration = Duration::from_secs(1);
const QUARANTINE_MAX: Duration = Duration::from_secs(60);
/// So many calls in a row in which a record was stopped at a limit are too many: each of them costs
/// what a hundred thousand records cost a sound plugin.
const AT_LIMIT_MAX: u32 = 8;

#[derive(Debug)]
pub(super) struct Health {
    quarantined: AtomicBool,
    quarantine: Mutex<Option<Resting>>,
    quarantines: AtomicU64,
    /// Calls in a row in which a record was stopped at a limit.
    at_limit: AtomicU32,
    chunk_records: AtomicU32,
    /// A moving average of a call's processor time, in nanoseconds.
    average: AtomicU64,
}

#[derive(Debug)]
struct Resting {
    since: Timestamp,
    until: Instant,
    length: Duration,
    message: String,
}

/// Why and how long a binding is not called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// When it began.
    pub since: Timestamp,
    /// How long it still lasts; then the binding is tried again.
    pub left: Duration,
    /// What the binding failed of.
    pub message: String,
}

impl fmt::Display for Quarantine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            quarantined: AtomicBool::new(false),
            quarantine: Mutex::new(None),
            quarantines: AtomicU64::new(0),
            at_limit: AtomicU32::new(0),
            chunk_records: AtomicU32::new(chunk_records_max()),
            average: AtomicU64::new(0),
        }
    }

    fn resting(&self) -> MutexGuard<'_, Option<Resting>> {
        self.quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses the call if the binding must still rest.
    pub(super) fn check(&self, now: impl FnOnce() -> Instant) -> Result<(), CallError> {
        match self.quarantined_for(now) {
            Some(Quarantine { left, message, .. }) => Err(CallError::Quarantined {
                retry_after: left,
                message,
            }),
            None => Ok(()),
        }
    }

    pub(super) fn quarantine(&self, message: String, now: Instant) {
        let mut resting = self.resting();
        let length = match &*resting {
            Some(earlier) => (earlier.length * 2).min(QUARANTINE_MAX),
            None => QUARANTINE_MIN,
        };
        *resting = Some(Resting {
            since: clock::wall(),
            until: now + length,
            length,
            message,
        });
        self.quarantines.fetch_add(1, Ordering::Relaxed);
        self.quarantined.store(true, Ordering::Release);
    }

    /// A call gave answers. What was is forgotten, unless `at_limit` is a record that was stopped
    /// at a limit; the message if that was once too often.
    pub(super) fn answered(
        &self,
        at_limit: Option<&RecordFailure>,
        now: impl FnOnce() -> Instant,
    ) -> Option<String> {
        let calls = self.records_failed(at_limit.is_some());
        let Some(failure) = at_limit else {
            self.end_quarantine();
            return None;
        };
        if calls < AT_LIMIT_MAX {
            return None;
        }
        let message = format!(
            "in {calls} calls in a row a record was stopped at a limit: {}",
            failure.message
        );
        self.quarantine(message.clone(), now());
        Some(message)
    }

    /// In how many calls in a row a record was stopped at a limit, with this one.
    pub(super) fn records_failed(&self, at_limit: bool) -> u32 {
        if at_limit {
            return self
                .at_limit
                .fetch_add(1, Ordering::Relaxed)
                .saturating_add(1);
        }
        self.at_limit.store(0, Ordering::Relaxed);
        0
    }

    /// Forgets failures and ends a quarantine.
    pub(super) fn forgive(&self) {
        self.at_limit.store(0, Ordering::Relaxed);
        self.end_quarantine();
    }

    pub(super) fn end_quarantine(&self) {
        if self.quarantined.swap(false, Ordering::AcqRel) {
            *self.resting() = None;
        }
    }

    /// The quarantine, while it lasts.
    pub(super) fn quarantined_for(&self, now: impl FnOnce() -> Instant) -> Option<Quarantine> {
        if !self.quarantined.load(Ordering::Acquire) {
            return None;
        }
        let now = now();
        let resting = self.resting();
        let resting = resting.as_ref().filter(|resting| resting.until > now)?;
        Some(Quarantine {
            since: resting.since,
            left: resting.until - now,
            message: resting.message.clone(),
        })
    }

    /// How many there were so far.
    pub(super) fn quarantines(&self) -> u64 {
        self.quarantines.load(Ordering::Relaxed)
    }

    pub(super) fn chunk_records(&self) -> u32 {
        self.chunk_records.load(Ordering::Relaxed)
    }

    /// So many records at once exceeded a limit that none of them exceeds alone.
    pub(super) fn chunk_was_too_large(&self, records: u32) {
        self.chunk_records
            .fetch_min((records / 2).max(1), Ordering::Relaxed);
    }

    /// A chunk stayed within its limits; where there is much room left, chunks grow again.
    pub(super) fn chunk_went_well(&self, cpu: Duration, limit: Duration) {
        let records = self.chunk_records();
        if records < chunk_records_max() && cpu < limit / 4 {
            self.chunk_records
                .store((records * 2).min(chunk_records_max()), Ordering::Relaxed);
        }
    }

    pub(super) fn is_slow(&self) -> bool {
        self.average.load(Ordering::Relaxed) > SLOW.as_nanos() as u64
    }

    /// A call used so much processor time. How long it took does not count: on a busy machine that
    /// is not the plugin's fault.
    pub(super) fn took(&self, cpu: Duration) {
        let nanos = u64::try_from(cpu.as_nanos()).unwrap_or(u64::MAX);
        let average = self.average.load(Ordering::Relaxed);
        self.average
            .store(average - average / 4 + nanos / 4, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{AT_LIMIT_MAX, CallError, Duration, Health, RecordFailure, chunk_records_max};
    use crate::clock;

    #[test]
    fn quarantines_grow_and_end() {
        let (health, start) = (Health::new(), clock::now());
        let rest = |now| match health.check(|| now) {
            Err(CallError::Quarantined {
                retry_after,
                message,
            }) => {
                assert_eq!(message, "broken");
                retry_after.as_secs()
            }
            other => panic!("{other:?}"),
        };
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            health.quarantine("broken".to_owned(), now);
            assert_eq!(rest(now), seconds);
            now += Duration::from_secs(seconds);
            assert_eq!(health.check(|| now), Ok(()));
        }
        assert_eq!(health.answered(None, || now), None);
        health.quarantine("broken".to_owned(), now);
        assert_eq!((rest(now), health.quarantines()), (1, 9));
        health.forgive();
        assert_eq!(health.check(|| now), Ok(()));
    }

    #[test]
    fn limits_in_a_row_quarantine_and_others_do_not() {
        let (health, now) = (Health::new(), clock::now());
        let failure = RecordFailure {
            index: 0,
            message: "too slow".to_owned(),
            backtrace: None,
        };
        for round in 0..2 {
            for _ in 1..AT_LIMIT_MAX {
                assert_eq!(health.answered(Some(&failure), || now), None);
            }
            if round == 0 {
                health.answered(None, || now);
            }
        }
        let message = health.answered(Some(&failure), || now).unwrap();
        assert!(message.ends_with("at a limit: too slow"), "{message}");
        // It rests for a second, is tried once, and rests again.
        let later = now + Duration::from_secs(1);
        assert!(health.check(|| now).is_err() && health.check(|| later).is_ok());
        assert!(health.answered(Some(&failure), || later).is_some());
        let left = health.quarantined_for(|| later).unwrap().left;
        assert_eq!(left, Duration::from_secs(2));
    }

    #[test]
    fn chunks_shrink_to_what_is_bearable_and_grow_again() {
        let (health, limit) = (Health::new(), Duration::from_millis(100));
        health.chunk_was_too_large(1_000);
        assert_eq!(health.chunk_records(), 500);
        health.chunk_was_too_large(1);
        assert_eq!(health.chunk_records(), 1);
        health.chunk_went_well(limit / 2, limit);
        assert_eq!(health.chunk_records(), 1);
        for _ in 0..20 {
            health.chunk_went_well(limit / 5, limit);
        }
        assert_eq!(health.chunk_records(), chunk_records_max());
    }

    #[test]
    fn slow_is_an_average() {
        let health = Health::new();
        (0..10).for_each(|_| health.took(Duration::from_millis(10)));
        assert!(health.is_slow());
        (0..10).for_each(|_| health.took(Duration::from_millis(1)));
        assert!(!health.is_slow());
    }
}
