//! Throughput of a subscription: what the broker holds in memory, what it reads from files that
//! the operating system holds in memory, and what has to come from the disk.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_sdk::{Client, PublishError};

use super::Load;
use super::load;
use super::report::{Measurement, Report};
use super::site::Site;
use crate::exit::{Exit, Failure};
use crate::output;

mod filtered;

pub use filtered::measure as measure_filtered;

/// What `weir bench consume --help` ends with.
pub const HELP: &str = "\
`from` says where the records are: in the broker's `memory`; on disk, with files that the operating
system holds in memory (`warm`); or on disk alone (`cold`). For the latter two another topic pushes
them out of the broker's memory; for `cold` the operating system is told before each reading to
forget the files of the log, which it can be on the broker's own machine only.

With --filter readings without a filter take turns with those through tag filters that keep 100 %,
50 % and 1 %. Rates count the stored records that are passed over, kept or not, and opening the
subscription counts. `verdicts` says whether a filter is asked (`new`) or what it said before is
`remembered`. By default the topic stays in the broker's memory; one of --bytes 1GiB does not.

Examples:
  weir bench consume --embedded /tmp
  weir bench consume --filter --embedded /tmp
  weir bench consume --filter --bytes 1GiB --embedded /tmp
  weir bench consume --seconds 2 --output json";

/// Less than a broker's cache holds by default (192 MiB).
const MEMORY_BYTES: u64 = 40 << 20;
/// What is read from files.
const FILE_BYTES: u64 = 512 << 20;
/// More than the cache holds: afterwards nothing of an older topic is in it.
const DISPLACING_BYTES: u64 = 256 << 20;

/// Measures all three.
pub async fn measure(site: &Site, load: Load, report: &mut Report) -> Result<(), Failure> {
    let batches = load::batches(load)?;
    let topic = site.topic(1).await?;
    let stored = fill(site.client(), &topic, load, &batches, MEMORY_BYTES).await?;
    let begin = Instant::now();
    let mut readings = Readings::default();
    while begin.elapsed() < load.time {
        readings.add(site.client(), &topic, stored).await?;
    }
    site.remove(&topic).await;
    report.add(readings.describe("memory", load, report))?;

    let topic = site.topic(1).await?;
    let stored = fill(site.client(), &topic, load, &batches, FILE_BYTES).await?;
    let other = site.topic(1).await?;
    fill(site.client(), &other, load, &batches, DISPLACING_BYTES).await?;
    let measured = from_files(site, &topic, stored, load, report).await;
    site.remove(&topic).await;
    site.remove(&other).await;
    measured
}

async fn from_files(
    site: &Site,
    topic: &str,
    stored: u64,
    load: Load,
    report: &mut Report,
) -> Result<(), Failure> {
    // The first reading warms the files up.
    Readings::default()
        .add(site.client(), topic, stored)
        .await?;
    let begin = Instant::now();
    let mut warm = Readings::default();
    while begin.elapsed() < load.time {
        warm.add(site.client(), topic, stored).await?;
    }
    report.add(warm.describe("warm", load, report))?;

    let begin = Instant::now();
    let mut cold = Readings::default();
    while begin.elapsed() < load.time {
        if !site.cool_down()? {
            output::note("reading from a cold disk is measured on the broker's machine only");
            return Ok(());
        }
        cold.add(site.client(), topic, stored).await?;
    }
    report.add(cold.describe("cold", load, report))
}

/// Stores that many bytes, and says how many records that are.
pub async fn fill(
    client: &Client,
    topic: &str,
    load: Load,
    batches: &[Bytes],
    bytes: u64,
) -> Result<u64, Failure> {
    let count = bytes.div_ceil(load.batch_bytes());
    let producer = client.producer(topic).open().await?;
    for batch in batches.iter().cycle().take(count as usize) {
        let sent = producer.send_batch(batch.clone()).await;
        // What fails shows when the producer is closed.
        drop(sent.map_err(PublishError::from)?);
    }
    let summary = producer
        .close()
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    let records = count * u64::from(load.batch);
    if summary.stored != records {
        return Err(Failure::failed(format!(
            "{} of {records} records were stored; nothing can be measured",
            summary.stored
        )));
    }
    Ok(records)
}

/// Readings of a topic from its start to its end.
#[derive(Debug, Default)]
struct Readings {
    records: u64,
    took: Duration,
}

impl Readings {
    /// One more; `stored` records have to come.
    async fn add(&mut self, client: &Client, topic: &str, stored: u64) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut subscriber = client.subscribe([topic]).open().await?;
        let mut read = 0;
        while !subscriber.is_caught_up() {
            match subscriber.next_batch().await {
                Some(batch) => read += u64::from(batch?.count()),
                None => return Err(Failure::failed("the subscription ended too early")),
            }
        }
        if read != stored {
            return Err(Failure::failed(format!(
                "{read} records came, {stored} are stored"
            )));
        }
        self.records += read;
        self.took += begin.elapsed();
        Ok(())
    }

    fn describe(&self, from: &str, load: Load, report: &Report) -> Measurement {
        Measurement::new("consume", report.limits().quinn_down)
            .with("from", from)
            .with("partitions", 1)
            .with("size", load.size)
            .with("batch", load.batch)
            .throughput(self.records, load, self.took)
    }
}
