//! Durable throughput: prepared batches, several on their way, for a while or until the broker
//! writes its segments as fast as its log.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use weir_wire::batch::verify;

use super::Load;
use super::disk;
use super::load::{self, Latencies};
use super::report::{Measurement, Report};
use super::site::Site;
use super::stream::{Stream, Until, Window};
use crate::exit::{Exit, Failure};

/// Before this nothing counts: congestion control and files have to settle.
const WARM_UP: Duration = Duration::from_millis(500);
/// A steady run ends when it has stored so much: several times what waits in the WAL at most.
const STEADY_BYTES: u64 = 4 << 30;
/// Or after that time.
const STEADY_TIME: Duration = Duration::from_secs(30);

/// How often the batches are checked to see what that takes; the least counts, since what else a
/// machine does makes nothing faster.
const CHECK_ROUNDS: usize = 5;

/// Measures it.
pub async fn measure(
    site: &Site,
    load: Load,
    producers: u16,
    report: &mut Report,
) -> Result<(), Failure> {
    let until = |begin| Until::Time(begin + WARM_UP + load.time);
    let done = run(site, load, producers, until).await?;
    let measurement = Measurement::new("produce", report.limits().quinn_up);
    report.add(done.describe(measurement, load, producers))
}

/// Measures it until segments are written and WAL files used again, and what the disk gives to
/// the same writes and syncs without a broker.
pub async fn measure_steady(
    site: &Site,
    load: Load,
    producers: u16,
    report: &mut Report,
) -> Result<(), Failure> {
    let before = site.files();
    let until = |begin| Until::Steady {
        time: begin + WARM_UP + load.time,
        bytes: STEADY_BYTES,
        at_last: begin + WARM_UP + load.time.max(STEADY_TIME),
    };
    let done = run(site, load, producers, until).await?;
    let after = site.files();
    let measurement = Measurement::new("produce-steady", report.limits().quinn_up);
    let mut measurement = done.describe(measurement, load, producers);
    if let Some((before, after)) = before.zip(after) {
        measurement = measurement
            .with("segment_files", after.segments_since(&before))
            .with("wal_files", after.wal.len());
    }
    if let Some(directory) = site.disk() {
        let bytes = done.records * u64::from(load.size);
        let block = done.block_bytes.unwrap_or(disk::BLOCK_BYTES);
        site.settle().await;
        let twice = disk::twice(directory, bytes, block).await?;
        measurement = measurement
            .with("block_bytes", block)
            .with("disk_twice_mb_per_s", twice)
            .with("ratio_to_disk_twice", done.mb_per_s(load) / twice);
    }
    report.add(measurement)
}

struct Done {
    records: u64,
    took: Duration,
    /// What checking one batch takes, as the broker does before it stores it.
    check: Duration,
    latencies: Latencies,
    /// What a block of the broker's log held on average, where that can be known.
    block_bytes: Option<u64>,
}

impl Done {
    fn describe(&self, measurement: Measurement, load: Load, producers: u16) -> Measurement {
        let batches = self.records as f64 / f64::from(load.batch);
        let check = self.check.as_secs_f64();
        measurement
            .with("partitions", 1)
            .with("size", load.size)
            .with("batch", load.batch)
            .with("producers", producers)
            .with("ack", "durable")
            .throughput(self.records, load, self.took)
            .latency(&self.latencies)
            .with("check_us_per_batch", check * 1e6)
            .with("check_share", check * batches / self.took.as_secs_f64())
    }

    fn mb_per_s(&self, load: Load) -> f64 {
        self.records as f64 * f64::from(load.size) / 1e6 / self.took.as_secs_f64()
    }
}

async fn run(
    site: &Site,
    load: Load,
    producers: u16,
    until: impl FnOnce(Instant) -> Until,
) -> Result<Done, Failure> {
    let batches = load::batches(load)?;
    let topic = site.topic(1).await?;
    let mut open = Vec::new();
    for _ in 0..producers {
        let client = site.client().dedicated();
        let producer = client.producer(&topic).open().await?;
        open.push((client, producer));
    }
    let before = site.blocks().await;
    let begin = Instant::now();
    let window = Window::new(begin + WARM_UP, until(begin), load);
    let streams = open.iter().enumerate().map(|(number, (_, producer))| {
        // Each begins elsewhere, so that no two send the same bytes at the same time.
        let first = number * batches.len() / usize::from(producers);
        Stream::new(producer, &batches, first, &window).run()
    });
    let counted = try_join_all(streams).await?;
    let took = window.took();
    let after = site.blocks().await;
    for (client, producer) in open {
        producer
            .close()
            .await
            .map_err(|error| Failure::of(Exit::Failed, &error))?;
        client.close().await;
    }
    site.remove(&topic).await;
    let mut latencies = Latencies::new();
    let mut answered = 0_u64;
    for counted in counted {
        answered += counted.batches;
        latencies.join(&counted.latencies);
    }
    Ok(Done {
        records: answered * u64::from(load.batch),
        took,
        check: check_time(&batches)?,
        latencies,
        block_bytes: before
            .zip(after)
            .and_then(|(before, after)| after.mean_since(before)),
    })
}

/// What checking one of these batches takes, alone on one core.
fn check_time(batches: &[Bytes]) -> Result<Duration, Failure> {
    let mut least = Duration::MAX;
    for _ in 0..CHECK_ROUNDS {
        let begin = Instant::now();
        for batch in batches {
            let verified = verify(batch).map_err(|error| Failure::of(Exit::Failed, &error))?;
            black_box(verified);
        }
        least = least.min(begin.elapsed());
    }
    let count = u32::try_from(batches.len()).expect("some hundred are prepared");
    Ok(least / count.max(1))
}
