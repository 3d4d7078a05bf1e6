//! What plugins cost: the sample plugins beside native Rust that does the same over the same bytes
//! as a broker stores them, and beside one call per record. No network, no queue. What is measured
//! with a broker is in `plugin/lifecycle.rs`.

use std::hint::black_box;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use weir_host::{Bound, CompilerCommand, Host, HostConfig, Limits};

use super::Load;
use super::report::{Measurement, Report};
use crate::exit::{Exit, Failure};
use crate::verb::serve::COMPILER_VERB;

mod job;
mod lifecycle;

pub use lifecycle::measure as measure_lifecycle;

use job::{Job, jobs};

/// What `weir bench plugin --help` ends with.
pub const HELP: &str = "\
Each plugin gets stored batches, as it does in a broker, on one thread: records with a key of 16
bytes and one header. `native` is Rust that does the same with the same bytes, `single` the same
plugin called once for each record. The three take turns, and the least time of each counts.

With --embedded brokers are started, too, for what plugins cost besides their calls: the time from
an upload to the first record, that of a restart with 100 bound plugins, the memory of a running
filter, and that of 100 bindings at rest, which takes two minutes.

Examples:
  weir bench plugin
  weir bench plugin --size 100 --batch 100,1000 --output json
  weir bench plugin --embedded /tmp";

/// One way of doing a job takes about so long before it is another's turn.
const TURN: Duration = Duration::from_millis(3);
/// Turns of each at least, however little time there is.
const TURNS_MIN: u32 = 5;
/// Records that are given one by one; their number does not change what one of them costs.
const SINGLES_MAX: usize = 1000;

/// Measures every plugin with every load.
pub async fn measure(loads: &[Load], report: &mut Report) -> Result<(), Failure> {
    let host = host()?;
    for job in jobs()? {
        let bound = bind(&host, &job).await?;
        for load in loads {
            report.add(compare(&job, &bound, *load)?)?;
        }
    }
    Ok(())
}

/// A host whose compiler is this program.
fn host() -> Result<Host, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find the running program: {error}")))?;
    Host::new(HostConfig {
        compiler: Some(CompilerCommand {
            program,
            arguments: vec![COMPILER_VERB.into()],
        }),
        ..HostConfig::default()
    })
    .map_err(|error| Failure::of(Exit::Failed, &error))
}

async fn bind(host: &Host, job: &Job) -> Result<Bound, Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(Exit::Failed, error);
    let compiled = host.compile(job.component()).await;
    let compiled = compiled.map_err(|error| failed(&error))?;
    let limits = Limits::default();
    let bound = host.bind(&compiled.plugin, job.hook, &job.config, &job.routes, limits);
    bound.await.map_err(|error| failed(&error))
}

fn compare(job: &Job, bound: &Bound, load: Load) -> Result<Measurement, Failure> {
    let samples = job.samples(load);
    let whole = job::input(&samples)?;
    let singles = samples.chunks(1).take(SINGLES_MAX).map(job::input);
    let singles = singles.collect::<Result<Vec<_>, _>>()?;
    if job.native(&whole)? != job.ask(bound, &whole)? {
        return Err(Failure::failed(format!(
            "{} and native code answer differently",
            job.name
        )));
    }
    let [native, plugin, single] = least(
        load.time,
        [
            &mut || job.native(&whole).map(|answer| drop(black_box(answer))),
            &mut || {
                let answer = job.ask(bound, &whole);
                answer.map(|answer| drop(black_box(answer)))
            },
            &mut || {
                singles.iter().try_for_each(|single| {
                    let answer = job.ask(bound, single);
                    answer.map(|answer| drop(black_box(answer)))
                })
            },
        ],
    )?;
    let native = native / samples.len() as f64;
    let plugin = plugin / samples.len() as f64;
    let single = single / singles.len() as f64;
    Ok(Measurement::new(job.measurement, None)
        .with("hook", job.hook.word())
        .with("size", load.size)
        .with("batch", load.batch)
        .with("ns_per_record", plugin)
        .with("native_ns_per_record", native)
        .with("single_ns_per_record", single)
        .with("ratio_to_native", plugin / native)
        .with("single_ratio_to_native", single / native))
}

/// Nanoseconds of processor time that each takes, the least of many turns: what else the machine
/// does slows some of them down, and makes none faster.
fn least<const N: usize>(
    time: Duration,
    mut ways: [&mut dyn FnMut() -> Result<(), Failure>; N],
) -> Result<[f64; N], Failure> {
    let mut least = [f64::INFINITY; N];
    let begin = Instant::now();
    let mut turns = 0;
    while turns < TURNS_MIN || begin.elapsed() < time {
        for (way, least) in ways.iter_mut().zip(&mut least) {
            *least = least.min(nanoseconds(way)?);
        }
        turns += 1;
    }
    Ok(least)
}

/// Nanoseconds of a call, repeated for a turn. A call waits for nothing, so the time of this thread
/// is all it takes.
fn nanoseconds(call: &mut dyn FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let (begin, before) = (Instant::now(), thread_time());
    // Looking at the clock takes as long as a short call: the more of them there are, the less
    // often that is done.
    let mut calls = 0_u32;
    let mut stride = 1;
    loop {
        for _ in 0..stride {
            call()?;
        }
        calls += stride;
        match begin.elapsed() {
            elapsed if elapsed >= TURN => break,
            elapsed if elapsed < TURN / 16 => stride *= 2,
            _ => {}
        }
    }
    Ok((thread_time() - before).as_nanos() as f64 / f64::from(calls))
}

/// Processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_all_turns_counts() {
        let mut calls = 0;
        let mut slow_at_first = || {
            calls += 1;
            if calls == 1 {
                let begin = thread_time();
                while thread_time() - begin < TURN * 3 {}
            }
            Ok(())
        };
        let [nanos] = least(Duration::ZERO, [&mut slow_at_first]).unwrap();
        assert!(nanos < TURN.as_nanos() as f64, "{nanos}");
        let mut fails = || Err(Failure::failed("no"));
        assert!(least(Duration::ZERO, [&mut fails]).is_err());
    }
}
