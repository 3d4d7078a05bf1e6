//! `{{name}}`: tries a failed delivery again, a second later and twice as late each time, and gives
//! up after as many deliveries as the setting `attempts` says.

use std::time::Duration;

use weir_plugin::{Columns, Config, Decision, Error, Failure, Record, RetryPolicy};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(3600);

struct Plugin {
    attempts: u32,
}

impl RetryPolicy for Plugin {
    fn configure(config: &Config, _columns: &mut Columns) -> Result<Self, Error> {
        Ok(Self {
            attempts: config.parse("attempts")?,
        })
    }

    fn decide(&self, _record: Record<'_>, failure: &Failure<'_>) -> Result<Decision, Error> {
        if failure.attempt >= self.attempts {
            return Ok(Decision::DeadLetter);
        }
        let factor = 2_u32.saturating_pow(failure.attempt.saturating_sub(1));
        Ok(Decision::Delay(FIRST.saturating_mul(factor).min(LONGEST)))
    }
}

weir_plugin::export! { retry_policy: Plugin }

#[cfg(test)]
mod tests {
    use super::Plugin;
    use std::time::Duration;
    use weir_plugin::testing::{Sample, retry_policy};
    use weir_plugin::{Decision, Failure};

    fn decide(attempt: u32) -> Decision {
        let plugin = retry_policy::<Plugin>(&[("attempts", "3")]).unwrap();
        let message = "no answer";
        let decision = plugin.decide(Sample::new(), Failure { attempt, message });
        decision.unwrap()
    }

    #[test]
    fn waits_longer_each_time_and_gives_up() {
        assert_eq!(decide(1), Decision::Delay(Duration::from_secs(1)));
        assert_eq!(decide(2), Decision::Delay(Duration::from_secs(2)));
        assert_eq!(decide(3), Decision::DeadLetter);
    }

    #[test]
    fn refuses_what_is_no_number() {
        assert!(retry_policy::<Plugin>(&[("attempts", "many")]).is_err());
    }
}
