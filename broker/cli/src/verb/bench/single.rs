//! Records sent one by one: what the client's batching makes of them.

use std::time::Duration;

use rand::RngCore;
use tokio::time::Instant;
use weir_sdk::{PublishError, Record};

use super::Load;
use super::report::{Measurement, Report};
use super::site::Site;
use crate::exit::{Exit, Failure};

/// Before this nothing counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// Values that are sent in turn, so that no two records in a row are alike.
const VALUES: usize = 64;
/// Records between two looks at the clock.
const STRIDE: u64 = 1024;

/// Measures the rate at which they are stored.
pub async fn measure(site: &Site, load: Load, report: &mut Report) -> Result<(), Failure> {
    let topic = site.topic(1).await?;
    let client = site.client().dedicated();
    let producer = client.producer(&topic).open().await?;
    let mut random = rand::rng();
    let values: Vec<bytes::Bytes> = (0..VALUES)
        .map(|_| {
            let mut value = vec![0; load.size as usize];
            random.fill_bytes(&mut value);
            value.into()
        })
        .collect();
    let begin = Instant::now();
    let mut from = None;
    let mut sent = 0_u64;
    let (records, took) = loop {
        let value = values[sent as usize % VALUES].clone();
        let ticket = producer.send(Record::new(value)).await;
        // What becomes of it shows in the producer's counts.
        drop(ticket.map_err(PublishError::from)?);
        sent += 1;
        if !sent.is_multiple_of(STRIDE) {
            continue;
        }
        let stored = producer.stats().outcomes.stored;
        match from {
            None if begin.elapsed() >= WARM_UP => from = Some((stored, Instant::now())),
            Some((first, start)) if start.elapsed() >= load.time => {
                break (stored - first, start.elapsed());
            }
            _ => {}
        }
    };
    let summary = producer
        .close()
        .await
        .map_err(|error| Failure::of(Exit::Failed, &error))?;
    client.close().await;
    site.remove(&topic).await;
    if summary.stored != sent {
        return Err(Failure::failed(format!(
            "{} of {sent} records were stored; the measurement counts for nothing",
            summary.stored
        )));
    }
    report.add(
        Measurement::new("produce-single", report.limits().quinn_up)
            .with("partitions", 1)
            .with("size", load.size)
            .with("batch", 1)
            .with("producers", 1)
            .with("ack", "durable")
            .throughput(records, load, took),
    )
}
