//! `backoff`: a retry policy that waits longer each time. Settings, all optional:
//!
//! - `base_ms=100`: the time before the first retry, in milliseconds.
//! - `factor=2`: each further wait is that many times the one before.
//! - `max_ms=60000`: no wait is longer.
//! - `give_up_after=N`: after so many deliveries the record goes to the dead letters.
//! - `park_header=ordered`: of a record with that header the whole ordering key is parked instead
//!   of giving up the record alone.

use serde::Deserialize;
use std::time::Duration;
use weir_plugin::{Columns, Config, Decision, Error, Failure, Record, RetryPolicy};

#[derive(Deserialize)]
#[serde(default)]
struct Backoff {
    base_ms: u64,
    factor: u64,
    max_ms: u64,
    give_up_after: Option<u32>,
    park_header: Option<String>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base_ms: 100,
            factor: 2,
            max_ms: 60_000,
            give_up_after: None,
            park_header: None,
        }
    }
}

impl RetryPolicy for Backoff {
    fn configure(config: &Config, columns: &mut Columns) -> Result<Self, Error> {
        let plugin: Self = config.typed()?;
        if plugin.base_ms == 0 || plugin.factor == 0 || plugin.base_ms > plugin.max_ms {
            return Err(Error::new(
                "base_ms and factor have to be at least 1, and base_ms at most max_ms",
            ));
        }
        if plugin.park_header.is_some() && plugin.give_up_after.is_none() {
            return Err(Error::new("setting `park_header` needs `give_up_after=N`"));
        }
        if let Some(header) = &plugin.park_header {
            columns.header(header);
        }
        Ok(plugin)
    }

    fn decide(&self, record: Record<'_>, failure: &Failure<'_>) -> Result<Decision, Error> {
        if self.give_up_after.is_none_or(|most| failure.attempt < most) {
            return Ok(Decision::Delay(self.delay(failure.attempt)));
        }
        let parks = |header: &String| record.header(header).is_some();
        Ok(match self.park_header.as_ref().is_some_and(parks) {
            true => Decision::ParkKey,
            false => Decision::DeadLetter,
        })
    }
}

impl Backoff {
    fn delay(&self, attempt: u32) -> Duration {
        let factor = self.factor.saturating_pow(attempt.saturating_sub(1));
        Duration::from_millis(self.base_ms.saturating_mul(factor).min(self.max_ms))
    }
}

weir_plugin::export! { retry_policy: Backoff }

#[cfg(test)]
mod tests {
    use super::Backoff;
    use std::time::Duration;
    use weir_plugin::testing::{Sample, retry_policy};
    use weir_plugin::{Decision, Failure};

    fn decide(settings: &[(&str, &str)], sample: Sample, attempt: u32) -> Decision {
        let plugin = retry_policy::<Backoff>(settings).unwrap();
        let message = "no answer";
        plugin.decide(sample, Failure { attempt, message }).unwrap()
    }

    fn delay(settings: &[(&str, &str)], attempt: u32) -> u128 {
        match decide(settings, Sample::new(), attempt) {
            Decision::Delay(delay) => delay.as_millis(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn waits_longer_each_time_up_to_a_bound() {
        assert_eq!(
            [1, 2, 3, 4].map(|attempt| delay(&[], attempt)),
            [100, 200, 400, 800]
        );
        assert_eq!(delay(&[], 1_000_000), 60_000);
        let settings = [("base_ms", "7"), ("factor", "10"), ("max_ms", "5000")];
        assert_eq!(
            [0, 1, 2, 3, 4, u32::MAX].map(|attempt| delay(&settings, attempt)),
            [7, 7, 70, 700, 5_000, 5_000]
        );
    }

    #[test]
    fn gives_up_the_record_or_parks_its_key() {
        let settings = [("give_up_after", "3"), ("park_header", "ordered")];
        let ordered = Sample::new().header("ordered", "");
        let again = Decision::Delay(Duration::from_millis(200));
        assert_eq!(decide(&settings, ordered.clone(), 2), again);
        assert_eq!(decide(&settings, ordered, 3), Decision::ParkKey);
        assert_eq!(decide(&settings, Sample::new(), 3), Decision::DeadLetter);
        let settings = [("give_up_after", "1")];
        assert_eq!(decide(&settings, Sample::new(), 1), Decision::DeadLetter);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for settings in [
            &[("factor", "0")][..],
            &[("base_ms", "0")],
            &[("base_ms", "10"), ("max_ms", "9")],
            &[("park_header", "h")],
            &[("base", "10")],
        ] {
            assert!(retry_policy::<Backoff>(settings).is_err(), "{settings:?}");
        }
    }
}
