//! How long to wait before trying again: doubling, bounded, with jitter, so that clients of a
//! broker that was away do not all come back in the same moment.

use std::time::Duration;

use rand::Rng;

const FIRST: Duration = Duration::from_millis(25);
const LONGEST: Duration = Duration::from_secs(2);

/// Counts the attempts in a row that failed.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait after one more failure: between half of the step and all of it.
    pub(crate) fn next_wait(&mut self) -> Duration {
        let step = Self::step(self.failures);
        self.failures = self.failures.saturating_add(1);
        step.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// It worked: the next failure is a first one.
    pub(crate) const fn reset(&mut self) {
        self.failures = 0;
    }

    fn step(failures: u32) -> Duration {
        FIRST
            .saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX))
            .min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, FIRST, LONGEST};

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::default();
        for failures in 0..100 {
            let wait = backoff.next_wait();
            let step = Backoff::step(failures);
            assert!(
                wait <= step && wait >= step / 2,
                "{wait:?} is not near {step:?}"
            );
            assert!(step <= LONGEST);
        }
        assert_eq!(Backoff::step(0), FIRST);
        assert_eq!(Backoff::step(2), FIRST * 4);
        assert_eq!(Backoff::step(99), LONGEST);
        backoff.reset();
        assert!(backoff.next_wait() <= FIRST);
    }
}
