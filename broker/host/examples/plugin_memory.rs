//! What plugins cost besides their calls: memory of live instances and of idle bindings, the time
//! from an upload to its first call, and the time to load many of them after a restart.
//!
//! `cargo run --release --workspace --example plugin_memory -- plugins/prebuilt/tag-filter.wasm`,
//! with `WEIR_COMPILER` set to `target/release/weir-compile`.
#![expect(clippy::print_stdout, reason = "an example's report")]

use bytes::Bytes;
use std::error::Error;
use std::time::{Duration, Instant};
use weir_host::{Bound, Host, HostConfig, Input, Limits};
use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord};
use weir_wire::id::Timestamp;
use weir_wire::plugin::Hook;

const BINDINGS: u32 = 100;

fn main() -> Result<(), Box<dyn Error>> {
    let component = std::env::args().nth(1).ok_or("name a component")?;
    let component = Bytes::from(std::fs::read(component)?);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let host = Host::new(HostConfig {
        idle: Duration::from_secs(3),
        ..HostConfig::default()
    })?;
    let config = [("tags".to_owned(), "UA".to_owned())];
    let bind = |plugin| {
        let bound = host.bind(plugin, Hook::Filter, &config, &[], Limits::default());
        runtime.block_on(bound)
    };
    let input = input()?;
    let start = Instant::now();
    let compiled = runtime.block_on(host.compile(component))?;
    let plugin = host.load(compiled.version, &compiled.artifact)?;
    let first = bind(&plugin)?;
    first.filter_now(&input)?;
    println!(
        "from the upload to the first verdict: {:?}",
        start.elapsed()
    );

    let start = Instant::now();
    let loaded = (0..BINDINGS).map(|_| host.load(compiled.version, &compiled.artifact));
    let loaded = loaded.collect::<Result<Vec<_>, _>>()?;
    println!(
        "loading, each of {BINDINGS}: {:?}",
        start.elapsed() / BINDINGS
    );

    let before = resident()?;
    let live: Vec<Bound> = (0..50).map(|_| bind(&plugin)).collect::<Result<_, _>>()?;
    for bound in &live {
        runtime.block_on(bound.filter(input.clone()))?;
    }
    let each = (resident()? - before) / live.len();
    println!("a live instance: {} KiB", each >> 10);
    drop(live);

    let before = resident()?;
    let start = Instant::now();
    let idle: Vec<Bound> = loaded.iter().map(bind).collect::<Result<_, _>>()?;
    println!(
        "binding, each of {BINDINGS}: {:?}",
        start.elapsed() / BINDINGS
    );
    for bound in &idle {
        runtime.block_on(bound.filter(input.clone()))?;
    }
    let start = Instant::now();
    while idle.iter().any(|bound| bound.stats().instances > 0) {
        assert!(start.elapsed() < Duration::from_secs(30), "instances stay");
        std::thread::sleep(Duration::from_millis(100));
    }
    let kept = resident()?.saturating_sub(before);
    println!(
        "{BINDINGS} idle bindings: {} KiB more than before",
        kept >> 10
    );
    Ok(())
}

fn resident() -> Result<usize, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kibibytes.ok_or("no VmRSS")?.parse::<usize>()? << 10)
}

fn input() -> Result<Input, Box<dyn Error>> {
    let mut builder = BatchBuilder::default();
    for _ in 0..1000 {
        let record = NewRecord {
            value: Some(&[b'x'; 100]),
            headers: &[("tag", b"UA")],
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(0), &record);
    }
    let records = Bytes::from(builder.finish(Compression::None)?).slice(HEADER_LEN..);
    Ok(Input {
        base_timestamp: Timestamp::new(0),
        count: 1000,
        records,
    })
}
