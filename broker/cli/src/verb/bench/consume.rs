//! Throughput of a subscription: what the broker still holds in memory, and what it has to read
//! from its log.

use std::time::Duration;

use tokio::time::Instant;
use weir_sdk::{Client, PublishError};

use super::Load;
use super::load;
use super::report::{Measurement, Report};
use super::site::Site;
use crate::exit::{Exit, Failure};

/// Less than a broker's cache holds by default (64 MiB).
const MEMORY_BYTES: u64 = 40 << 20;
/// Several times what it holds, so that most of a reading comes from the log.
const LOG_BYTES: u64 = 512 << 20;

/// Measures both.
pub async fn measure(site: &Site, load: Load, report: &mut Report) -> Result<(), Failure> {
    for (from, bytes) in [("memory", MEMORY_BYTES), ("log", LOG_BYTES)] {
        let topic = site.topic().await?;
        let stored = fill(site.client(), &topic, load, bytes).await?;
        let (records, took) = read(site.client(), &topic, stored, load.time).await?;
        site.remove(&topic).await;
        report.add(
            Measurement::new("consume", report.limits().quinn_down)
                .with("from", from)
                .with("partitions", 1)
                .with("size", load.size)
                .with("batch", load.batch)
                .throughput(records, load, took),
        )?;
    }
    Ok(())
}

/// Stores that many bytes, and says how many records that are.
async fn fill(client: &Client, topic: &str, load: Load, bytes: u64) -> Result<u64, Failure> {
    let batches = load::batches(load)?;
    let count = bytes.div_ceil(u64::from(load.size) * u64::from(load.batch));
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

/// Reads the topic from its start again and again until the time is over; records and the time
/// that they took.
async fn read(
    client: &Client,
    topic: &str,
    stored: u64,
    time: Duration,
) -> Result<(u64, Duration), Failure> {
    let mut records = 0;
    let begin = Instant::now();
    while begin.elapsed() < time {
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
        records += read;
    }
    Ok((records, begin.elapsed()))
}
