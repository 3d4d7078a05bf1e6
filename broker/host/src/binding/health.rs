//! How a binding is doing: quarantine after grave failures, chunks no larger than it can bear,
//! and whether it is slow.

use crate::run::{CallError, chunk_records_max};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The first quarantine; each further one is twice as long.
const QUARANTINE_MIN: Duration = Duration::from_secs(1);
const QUARANTINE_MAX: Duration = Duration::from_secs(60);
/// A binding whose calls take longer than this on average is slow.
const SLOW: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Health {
    quarantined: AtomicBool,
    quarantine: Mutex<Option<Quarantine>>,
    chunk_records: AtomicU32,
    /// A moving average of a call's time, in nanoseconds.
    average: AtomicU64,
}

#[derive(Debug)]
struct Quarantine {
    until: Instant,
    length: Duration,
    message: String,
}

impl Health {
    pub(super) fn new() -> Self {
        Self {
            quarantined: AtomicBool::new(false),
            quarantine: Mutex::new(None),
            chunk_records: AtomicU32::new(chunk_records_max()),
            average: AtomicU64::new(0),
        }
    }

    /// Refuses the call if the binding must still rest.
    pub(super) fn check(&self, now: Instant) -> Result<(), CallError> {
        if !self.quarantined.load(Ordering::Acquire) {
            return Ok(());
        }
        let quarantine = self
            .quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*quarantine {
            Some(quarantine) if quarantine.until > now => Err(CallError::Quarantined {
                retry_after: quarantine.until - now,
                message: quarantine.message.clone(),
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn quarantine(&self, error: &CallError, now: Instant) {
        let mut quarantine = self
            .quarantine
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let length = match &*quarantine {
            Some(earlier) => (earlier.length * 2).min(QUARANTINE_MAX),
            None => QUARANTINE_MIN,
        };
        let message = error.to_string();
        *quarantine = Some(Quarantine {
            until: now + length,
            length,
            message,
        });
        self.quarantined.store(true, Ordering::Release);
    }

    /// A call succeeded: what was is forgotten.
    pub(super) fn recovered(&self) {
        if self.quarantined.swap(false, Ordering::AcqRel) {
            *self
                .quarantine
                .lock()
                .unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    /// What the quarantine was for, while it lasts.
    pub(super) fn quarantined_for(&self, now: Instant) -> Option<String> {
        match self.check(now) {
            Err(CallError::Quarantined { message, .. }) => Some(message),
            _ => None,
        }
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

    pub(super) fn took(&self, wall: Duration) {
        let nanos = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        let average = self.average.load(Ordering::Relaxed);
        self.average
            .store(average - average / 4 + nanos / 4, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{CallError, Duration, Health, chunk_records_max};
    use crate::clock;

    #[test]
    fn quarantines_grow_and_end() {
        let (health, start) = (Health::new(), clock::now());
        let error = CallError::Instance {
            message: "broken".into(),
        };
        let rest = |now| match health.check(now) {
            Err(CallError::Quarantined {
                retry_after,
                message,
            }) => {
                assert!(message.contains("broken"));
                retry_after.as_secs()
            }
            other => panic!("{other:?}"),
        };
        let mut now = start;
        for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
            health.quarantine(&error, now);
            assert_eq!(rest(now), seconds);
            now += Duration::from_secs(seconds);
            assert_eq!(health.check(now), Ok(()));
        }
        health.recovered();
        health.quarantine(&error, now);
        assert_eq!(rest(now), 1);
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
