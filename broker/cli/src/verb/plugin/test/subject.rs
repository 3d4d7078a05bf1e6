//! A plugin that is tried: compiled and bound in this process, called and timed. Nobody else sees
//! it.

use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use weir_host::{
    Attempt, BindingStats, Bound, CallError, CompilerCommand, Host, HostConfig, Input, Limits,
    LogLine, RecordFailure,
};
use weir_wire::batch::{BatchBuilder, Records};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

use super::records::{BATCH_RECORDS, input};
use super::verdict::{self, Answers, Asked, Verdict};
use crate::exit::{Exit, Failure};
use crate::time;
use crate::verb::serve::COMPILER_VERB;

/// How often a batch of a short input is measured again, and the time that all of that may take:
/// a few calls say nothing about the slowest in a hundred.
const REPEATS: u32 = 4;
const REPEATED_MAX: Duration = Duration::from_millis(400);
/// Batches cut in two because more records failed than the host looks for. A plugin that fails on
/// everything must not take for ever.
const CUTS_MAX: u32 = 200;
/// Processor time in a row without an answer to any record, after which a test ends: a plugin that
/// loops would keep it busy for an hour.
pub const VAIN_MAX: Duration = Duration::from_secs(5);
/// Times are kept in tenths of a nanosecond per record, to three digits.
const TENTHS: f64 = 10.0;
/// The longest time that is told apart: a minute for one record.
const TENTHS_MAX: u64 = 600_000_000_000;
const DIGITS: u8 = 3;

/// What is tested besides the component.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The hook.
    pub hook: Hook,
    /// The settings.
    pub config: Vec<(String, String)>,
    /// The names of the declared routes.
    pub routes: Vec<String>,
    /// For a retry policy: the delivery that failed.
    pub attempt: Attempt,
}

/// The plugin host of this process.
#[derive(Debug)]
pub struct Lab {
    host: Host,
}

impl Lab {
    /// Starts it. Components are compiled by this program, run as a child process.
    pub fn start() -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::failed(format!("cannot find the running program: {error}"))
        })?;
        let config = HostConfig {
            compiler: Some(CompilerCommand {
                program,
                arguments: vec![COMPILER_VERB.into()],
            }),
            ..HostConfig::default()
        };
        let host = Host::new(config).map_err(|error| Failure::of(Exit::Failed, &error))?;
        Ok(Self { host })
    }

    /// Compiles and binds a component.
    pub async fn subject(
        &self,
        name: String,
        component: Bytes,
        setup: &Setup,
    ) -> Result<Subject, Failure> {
        let failed = |error: &dyn std::error::Error| Failure::failed(format!("{name}: {error}"));
        let compiled = self.host.compile(component).await;
        let compiled = compiled.map_err(|error| failed(&error))?;
        let Setup {
            hook,
            config,
            routes,
            attempt,
        } = setup;
        let bound = self
            .host
            .bind(&compiled.plugin, *hook, config, routes, Limits::default())
            .await
            .map_err(|error| failed(&error))?;
        Ok(Subject {
            version: compiled.version,
            bound,
            attempt: attempt.clone(),
            times: Times::new(),
            cuts_left: CUTS_MAX,
            vain: Duration::ZERO,
            name,
        })
    }
}

/// A plugin that is tried.
#[derive(Debug)]
pub struct Subject {
    /// As it was named on the command line.
    pub name: String,
    /// The component's hash.
    pub version: PluginVersion,
    /// What its calls took.
    pub times: Times,
    bound: Bound,
    attempt: Attempt,
    cuts_left: u32,
    /// What the calls have taken since a record had an answer.
    vain: Duration,
}

/// What a plugin said about a batch.
#[derive(Debug, Default)]
pub struct Judged {
    /// One per record.
    pub verdicts: Vec<Verdict>,
    /// The records that it failed on, by their position in the batch.
    pub failures: Vec<RecordFailure>,
    /// Why some have no verdict.
    pub not_judged: Option<String>,
}

impl Subject {
    /// The verdicts on a batch. Takes its time: not for a thread that serves a network.
    pub fn judge(&mut self, batch: &Input) -> Result<Judged, Failure> {
        let mut judged = Judged::default();
        let (asked, took) = self.ask(batch);
        let asked = asked.map(|asked| asked.answers(batch));
        let clean = asked
            .as_ref()
            .is_ok_and(|answers| answers.failures.is_empty());
        self.times.add(took, batch.count, clean);
        if clean {
            self.repeat(batch);
        }
        self.take(asked, batch, &mut judged)?;
        Ok(judged)
    }

    /// Whether it has answered nothing for so long that it is not worth waiting.
    pub fn is_stuck(&self) -> bool {
        self.vain >= VAIN_MAX
    }

    /// What the binding has done, as the host counts it.
    pub fn stats(&self) -> BindingStats {
        self.bound.stats()
    }

    /// What it logged last.
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.bound.log_lines()
    }

    /// Calls the plugin; what that took of the processor.
    fn ask(&mut self, batch: &Input) -> (Result<Asked, CallError>, Duration) {
        // Failures are what is looked for here: a binding that rests would show none.
        self.bound.unquarantine();
        let begin = time::thread_cpu();
        let asked = verdict::ask(&self.bound, batch, &self.attempt);
        let took = time::thread_cpu().saturating_sub(begin);
        self.vain += took;
        (asked, took)
    }

    fn repeat(&mut self, batch: &Input) {
        for _ in 0..REPEATS {
            if self.times.repeated >= REPEATED_MAX {
                return;
            }
            let (asked, took) = self.ask(batch);
            self.times.repeated += took;
            self.times.add(took, batch.count, asked.is_ok());
        }
    }

    /// Adds the answers; where a call has none, halves of the batch may have.
    fn take(
        &mut self,
        asked: Result<Answers, CallError>,
        batch: &Input,
        judged: &mut Judged,
    ) -> Result<(), Failure> {
        let first = judged.verdicts.len() as u32;
        match asked {
            Ok(answers) => {
                let mut verdicts = answers.verdicts.iter();
                if verdicts.any(|verdict| !matches!(verdict, Verdict::Failed)) {
                    self.vain = Duration::ZERO;
                }
                let failures = answers.failures.into_iter().map(|mut failure| {
                    failure.index += first;
                    failure
                });
                judged.failures.extend(failures);
                judged.verdicts.extend(answers.verdicts);
            }
            Err(error)
                if batch.count > 1
                    && self.cuts_left > 0
                    && !self.is_stuck()
                    && may_be_too_large(&error) =>
            {
                self.cuts_left -= 1;
                for half in halves(batch)? {
                    let (asked, _) = self.ask(&half);
                    let asked = asked.map(|asked| asked.answers(&half));
                    self.take(asked, &half, judged)?;
                }
            }
            Err(error) => {
                judged.not_judged = Some(error.to_string());
                let missing = (0..batch.count).map(|_| Verdict::NotJudged);
                judged.verdicts.extend(missing);
            }
        }
        Ok(())
    }
}

/// Whether fewer records at once may get an answer.
const fn may_be_too_large(error: &CallError) -> bool {
    matches!(
        error,
        CallError::TooManyFailures { .. }
            | CallError::TooSlow { .. }
            | CallError::TooManyParts { .. }
    )
}

fn halves(batch: &Input) -> Result<[Input; 2], Failure> {
    let mut first = BatchBuilder::default();
    let mut second = BatchBuilder::default();
    let records = Records::new(&batch.records, batch.count).map_while(Result::ok);
    for (index, record) in (0..).zip(records) {
        let half = if index < batch.count / 2 {
            &mut first
        } else {
            &mut second
        };
        half.push_body(record.timestamp(batch.base_timestamp), record.body());
    }
    Ok([input(first)?, input(second)?])
}

/// Processor time per record, preparation by the host included.
#[derive(Debug)]
pub struct Times {
    /// Batches that are at least half full and that nothing failed in.
    clean: Histogram<u64>,
    /// All the others: what they took says less.
    other: Histogram<u64>,
    repeated: Duration,
}

impl Times {
    fn new() -> Self {
        let histogram = || {
            let histogram = Histogram::new_with_bounds(1, TENTHS_MAX, DIGITS);
            histogram.expect("these bounds are in order and the digits in range")
        };
        Self {
            clean: histogram(),
            other: histogram(),
            repeated: Duration::ZERO,
        }
    }

    fn add(&mut self, took: Duration, records: u32, clean: bool) {
        let tenths = took.as_nanos() as f64 * TENTHS / f64::from(records.max(1));
        let times = if clean && records >= BATCH_RECORDS / 2 {
            &mut self.clean
        } else {
            &mut self.other
        };
        times.saturating_record(tenths as u64);
    }

    /// Nanoseconds per record within which that share of the calls lie.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let times = if self.clean.is_empty() {
            &self.other
        } else {
            &self.clean
        };
        (!times.is_empty()).then(|| times.value_at_quantile(share) as f64 / TENTHS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_per_record_and_batches_that_say_little_stand_back() {
        let mut times = Times::new();
        // Three digits are kept.
        let is_about = |share, expected: f64, times: &Times| {
            let found = times.quantile(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.001, "{found}");
        };
        assert_eq!(times.quantile(0.5), None);
        times.add(Duration::from_micros(5), 1, true);
        is_about(0.5, 5000.0, &times);
        for micros in 1..=100 {
            times.add(Duration::from_micros(micros), BATCH_RECORDS, true);
            times.add(Duration::from_secs(1), BATCH_RECORDS, false);
        }
        is_about(0.5, 50.0, &times);
        is_about(0.99, 99.0, &times);
        times.add(Duration::from_secs(3600), BATCH_RECORDS, true);
        is_about(1.0, 3.6e9, &times);
    }
}
