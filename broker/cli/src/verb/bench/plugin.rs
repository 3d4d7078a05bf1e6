//! The tag filter as a plugin beside the same predicate in native Rust, over the same bytes as a
//! broker stores them. No network, no queue: what a plugin itself costs.

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_host::{CompilerCommand, Host, HostConfig, Input, Limits, tag_matches};
use weir_wire::batch::HEADER_LEN;
use weir_wire::id::Timestamp;
use weir_wire::plugin::Hook;

use super::Load;
use super::load;
use super::report::{Measurement, Report};
use crate::exit::{Exit, Failure};
use crate::verb::serve::COMPILER_VERB;

const TAG_FILTER: &[u8] = include_bytes!("../../../../../plugins/prebuilt/tag-filter.wasm");
/// Half of the records carry the tag that is looked for, so that no branch is predictable by
/// being always the same.
const TAGS: [&str; 2] = ["AAAAAAAA", "BBBBBBBB"];
/// Rounds whose median counts; native and plugin take turns, so that a busy moment hits both.
const ROUNDS: u32 = 9;

/// Measures both.
pub async fn measure(load: Load, report: &mut Report) -> Result<(), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::of(Exit::Failed, error);
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("cannot find the running program: {error}")))?;
    let host = Host::new(HostConfig {
        compiler: Some(CompilerCommand {
            program,
            arguments: vec![COMPILER_VERB.into()],
        }),
        ..HostConfig::default()
    })
    .map_err(|error| failed(&error))?;
    let component = Bytes::from_static(TAG_FILTER);
    let compiled = host
        .compile(component)
        .await
        .map_err(|error| failed(&error))?;
    let plugin = host
        .load(compiled.version, &compiled.artifact)
        .map_err(|error| failed(&error))?;
    let [wanted, _] = TAGS;
    let config = [("tags".to_owned(), wanted.to_owned())];
    let bound = host
        .bind(&plugin, Hook::Filter, &config, &[], Limits::default())
        .await
        .map_err(|error| failed(&error))?;

    let input = Input {
        base_timestamp: Timestamp::new(0),
        count: load.batch,
        records: load::batch(load, &TAGS)?.slice(HEADER_LEN..),
    };
    let verdicts = bound.filter_now(&input).map_err(|error| failed(&error))?;
    if tag_matches(&input, &[wanted]) != Some(verdicts.values) {
        return Err(Failure::failed(
            "plugin and native code disagree on what matches",
        ));
    }
    let round = load.time / (2 * ROUNDS);
    let mut native = Vec::new();
    let mut guest = Vec::new();
    for _ in 0..ROUNDS {
        let mut now = || tag_matches(&input, &[wanted]).is_some();
        native.push(nanoseconds(round, &mut now)?);
        let mut now = || bound.filter_now(&input).is_ok();
        guest.push(nanoseconds(round, &mut now)?);
    }
    let records = f64::from(load.batch);
    let (native, guest) = (median(native) / records, median(guest) / records);
    report.add(
        Measurement::new("plugin-tag-filter", None)
            .with("size", load.size)
            .with("batch", load.batch)
            .with("ns_per_record", guest)
            .with("native_ns_per_record", native)
            .with("ratio_to_native", guest / native),
    )
}

/// Nanoseconds of a call, repeated for about that long.
fn nanoseconds(time: Duration, call: &mut impl FnMut() -> bool) -> Result<f64, Failure> {
    let begin = Instant::now();
    let mut calls = 0_u32;
    while begin.elapsed() < time || calls == 0 {
        if !black_box(call()) {
            return Err(Failure::failed("the filter failed while it was measured"));
        }
        calls += 1;
    }
    Ok(begin.elapsed().as_nanos() as f64 / f64::from(calls))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
