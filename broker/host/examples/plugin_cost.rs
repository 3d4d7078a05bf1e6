//! What a plugin costs, and what native code costs that does the same over the same stored bytes: a
//! line per hook and batch size, in nanoseconds per record. `weir bench plugin` does it for the
//! sample plugins with more comfort; this is for components of one's own, in whatever language,
//! which must do what native code is there for:
//!
//! `cargo run --release --workspace --example plugin_cost -- filter FILTER.wasm key KEY.wasm
//! transform TRANSFORM.wasm`, with `WEIR_COMPILER` set to `target/release/weir-compile`.

use bytes::Bytes;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};
use weir_host::{Bound, Host, HostConfig, Input, Limits, record_keys, tag_matches, upper_values};
use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord};
use weir_wire::id::Timestamp;
use weir_wire::plugin::Hook;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let host = Host::new(HostConfig::default())?;
    while let (Some(hook), Some(component)) = (arguments.next(), arguments.next()) {
        let component = Bytes::from(std::fs::read(component)?);
        let (start, bytes) = (Instant::now(), component.len());
        let compiled = runtime.block_on(host.compile(component))?;
        let compiling = start.elapsed();
        let plugin = host.load(compiled.version, &compiled.artifact)?;
        let hook: Hook = hook.parse()?;
        let tags = [("tags".to_owned(), "AAAAAAAA".to_owned())];
        let config = if hook == Hook::Filter { &tags[..] } else { &[] };
        let bound = host.bind(&plugin, hook, config, &[], Limits::default());
        let bound = runtime.block_on(bound)?;
        starting(&bound, hook, bytes, compiling)?;
        for value_len in [100, 1000] {
            for count in [1, 10, 100, 1000, 10_000] {
                let input = input(count, value_len)?;
                let tags = ["AAAAAAAA"];
                let times = measure(
                    count,
                    [
                        &mut || match hook {
                            Hook::Key => record_keys(&input).is_some(),
                            Hook::Transform => upper_values(&input).is_some(),
                            _ => tag_matches(&input, &tags).is_some(),
                        },
                        &mut || match hook {
                            Hook::Key => bound.keys_now(&input).is_ok(),
                            Hook::Transform => bound.transform_now(&input).is_ok(),
                            _ => bound.filter_now(&input).is_ok(),
                        },
                        &mut || match hook {
                            Hook::Key => runtime.block_on(bound.keys(input.clone())).is_ok(),
                            Hook::Transform => {
                                runtime.block_on(bound.transform(input.clone())).is_ok()
                            }
                            _ => runtime.block_on(bound.filter(input.clone())).is_ok(),
                        },
                    ],
                );
                report(hook, value_len, count, times);
            }
        }
    }
    Ok(())
}

/// What there is to say before the first measurement, with one small call made.
#[expect(clippy::print_stdout, reason = "an example's report")]
fn starting(
    bound: &Bound,
    hook: Hook,
    bytes: usize,
    compiling: Duration,
) -> Result<(), Box<dyn Error>> {
    let one = input(1, 100)?;
    let start = Instant::now();
    match hook {
        Hook::Key => drop(bound.keys_now(&one)?),
        Hook::Transform => drop(bound.transform_now(&one)?),
        _ => drop(bound.filter_now(&one)?),
    }
    println!(
        "{hook:<9} component of {bytes} bytes, compiled in {compiling:.1?}; first call, on two \
         new instances, {:.1?}; memory of an instance {} bytes",
        start.elapsed(),
        bound.stats().memory_max
    );
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example's report")]
fn report(hook: Hook, value_len: usize, count: u32, [native, plugin, queued]: [f64; 3]) {
    println!(
        "{hook:<9} value {value_len:>4} batch {count:>5}: native {native:>6.1}  plugin \
         {plugin:>7.1}  ({:.2}×)  through the queue {queued:>8.1} ns per record",
        plugin / native
    );
}

/// Nanoseconds per record of each, the least of 15 runs of about 5 ms that take turns: what else
/// the machine does meanwhile slows all of them down, and never makes one faster.
fn measure<const N: usize>(count: u32, mut runs: [&mut dyn FnMut() -> bool; N]) -> [f64; N] {
    let mut least = [f64::INFINITY; N];
    for _ in 0..15 {
        for (run, least) in runs.iter_mut().zip(&mut least) {
            *least = least.min(slice(run));
        }
    }
    least.map(|nanos| nanos / f64::from(count))
}

fn slice(run: &mut dyn FnMut() -> bool) -> f64 {
    let (start, mut times) = (Instant::now(), 0);
    while start.elapsed().as_millis() < 5 {
        for _ in 0..8 {
            assert!(black_box(run()), "the call failed");
        }
        times += 8;
    }
    start.elapsed().as_nanos() as f64 / f64::from(times)
}

fn input(count: u32, value_len: usize) -> Result<Input, Box<dyn Error>> {
    let mut builder = BatchBuilder::default();
    let mut state = 0x0123_4567_u64;
    for _ in 0..count {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let tag: &[u8] = if state >> 40 & 1 == 0 {
            b"AAAAAAAA"
        } else {
            b"BBBBBBBB"
        };
        let key = format!("{state:016x}");
        let record = NewRecord {
            key: Some(key.as_bytes()),
            value: Some(&vec![b'x'; value_len]),
            headers: &[("tag", tag)],
        };
        builder.push(Timestamp::new(0), &record);
    }
    let records = Bytes::from(builder.finish(Compression::None)?).slice(HEADER_LEN..);
    Ok(Input {
        base_timestamp: Timestamp::new(0),
        count,
        records,
    })
}
