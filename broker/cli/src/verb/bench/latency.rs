//! Latency: one durable record at a time, and from sending to a subscriber under a steady load.

use std::time::Duration;

use rand::RngCore;
use tokio::time::{Instant, MissedTickBehavior, interval};
use weir_sdk::{Client, PublishError, Record, Start, Subscriber};

use super::Load;
use super::limits::{Ticks, fdatasync_us, synced_ticks};
use super::load::Latencies;
use super::report::{Measurement, Report};
use super::site::Site;
use crate::exit::{Exit, Failure};

mod readers;

use readers::Readers;

/// What `weir bench latency --help` ends with.
pub const HELP: &str = "\
First one durable record is in flight at a time; then 10,000 records a second go to a topic, and the
time counts from sending a record until a subscriber at the tail has it. `latency-disk-alone` is
what the broker's disk makes of the same load without a broker: the time from when records are due
until they are written and synced.

With --readers N, N subscribers read another topic beside the latter, each over a connection of its
own, from the beginning, again and again, as fast as they can. It has 256 MiB, more than the broker
keeps in memory by default, and on the broker's own machine the operating system is made to forget
its files meanwhile, so that the rest comes from the disk. `readers_mb_per_s` is what all of them
read together.
Compare the latencies with those of --readers 0.

Examples:
  weir bench latency --embedded /tmp
  weir bench latency --readers 8 --embedded /tmp
  weir bench latency --size 100 --seconds 10 --output json";

/// The steady load.
const RATE: u64 = 10_000;
/// Records are sent in bursts this far apart: the runtime's timers are no finer.
const TICK: Duration = Duration::from_millis(1);
const PER_TICK: u64 = RATE * TICK.as_millis() as u64 / 1000;
/// How long a batch waits for more records while another is on its way.
const LINGER: Duration = Duration::from_millis(1);
/// Records of one partition's answers are awaited this much longer than the load lasts.
const PATIENCE: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_millis(500);
/// A record's send time stands in the first bytes of its value.
const STAMP_LEN: usize = 8;

/// Measures both; the latter beside so many readers.
pub async fn measure(
    site: &Site,
    load: Load,
    readers: u16,
    report: &mut Report,
) -> Result<(), Failure> {
    let topic = site.topic(1).await?;
    // The disk drifts: it is asked before and afterwards.
    let before = fdatasync_us(site).await?;
    let latencies = one_in_flight(site.client(), &topic, load).await?;
    let after = fdatasync_us(site).await?;
    site.remove(&topic).await;
    let mut measurement = Measurement::new("latency-one-in-flight", None)
        .with("size", load.size)
        .with("producers", 1)
        .latency(&latencies);
    if let Some((before, after)) = before.zip(after) {
        let sync = before.midpoint(after);
        measurement = measurement
            .with("ratio_to_fdatasync", latencies.quantile_us(0.5) / sync)
            .fdatasync_us(sync);
    }
    report.add(measurement)?;

    // As the disk drifts, again.
    let mut disk = disk_alone(site, load).await?;
    let topic = site.topic(1).await?;
    let beside = match readers {
        0 => None,
        count => Some(Readers::start(site, count, load.size).await?),
    };
    let before = beside.as_ref().map_or(0, Readers::bytes);
    let begin = Instant::now();
    let latencies = end_to_end(site.client(), &topic, load).await;
    let read = beside.as_ref().map_or(0, Readers::bytes) - before;
    let took = begin.elapsed();
    if let Some(beside) = beside {
        beside.end(site).await?;
    }
    let latencies = latencies?;
    site.remove(&topic).await;
    let mut measurement = Measurement::new("latency-end-to-end", None)
        .with("size", load.size)
        .with("producers", 1)
        .with("rate", RATE)
        .with("received", latencies.count())
        .latency(&latencies);
    if readers > 0 {
        measurement = measurement
            .with("readers", readers)
            .with("readers_mb_per_s", read as f64 / 1e6 / took.as_secs_f64());
    }
    report.add(measurement)?;
    let Some(disk) = &mut disk else { return Ok(()) };
    if let Some(later) = disk_alone(site, load).await? {
        disk.join(&later);
    }
    report.add(
        Measurement::new("latency-disk-alone", None)
            .with("size", load.size)
            .with("rate", RATE)
            .latency(disk),
    )
}

/// What the disk makes of half of the steady load.
async fn disk_alone(site: &Site, load: Load) -> Result<Option<Latencies>, Failure> {
    let ticks = Ticks {
        every: TICK,
        bytes: (load.size as usize).max(STAMP_LEN) * PER_TICK as usize,
        time: load.time / 2,
    };
    synced_ticks(site, ticks).await
}

async fn one_in_flight(client: &Client, topic: &str, load: Load) -> Result<Latencies, Failure> {
    let producer = client.producer(topic).open().await?;
    let mut latencies = Latencies::new();
    let mut value = vec![0; load.size as usize];
    let begin = Instant::now();
    while begin.elapsed() < WARM_UP + load.time {
        rand::rng().fill_bytes(&mut value);
        let record = Record::new(value.clone());
        let sent = Instant::now();
        producer.publish(record).await?;
        if begin.elapsed() > WARM_UP {
            latencies.add(sent.elapsed());
        }
    }
    let closed = producer.close().await;
    closed.map_err(|error| Failure::of(Exit::Failed, &error))?;
    Ok(latencies)
}

async fn end_to_end(client: &Client, topic: &str, load: Load) -> Result<Latencies, Failure> {
    let builder = client.subscribe([topic]).from(Start::Latest);
    let subscriber = builder.open().await?;
    let begin = Instant::now();
    let total = RATE * (WARM_UP + load.time).as_millis() as u64 / 1000;
    let receiving = tokio::time::timeout(
        WARM_UP + load.time + PATIENCE,
        receive(subscriber, begin, total),
    );
    let (sent, received) = tokio::join!(send(client, topic, load, begin, total), receiving);
    sent?;
    received.map_err(|_| Failure::failed("records that were sent did not come in time"))?
}

async fn send(
    client: &Client,
    topic: &str,
    load: Load,
    begin: Instant,
    total: u64,
) -> Result<(), Failure> {
    let producer = client.producer(topic).linger(LINGER).open().await?;
    let mut value = vec![0; (load.size as usize).max(STAMP_LEN)];
    rand::rng().fill_bytes(&mut value);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    while sent < total {
        tick.tick().await;
        for _ in 0..PER_TICK.min(total - sent) {
            let stamp = begin.elapsed().as_nanos() as u64;
            if let Some(room) = value.first_chunk_mut::<STAMP_LEN>() {
                *room = stamp.to_le_bytes();
            }
            let record = Record::new(value.clone());
            let ticket = producer.send(record).await.map_err(PublishError::from)?;
            // What is lost, the subscriber misses.
            drop(ticket);
            sent += 1;
        }
    }
    let closed = producer.close().await;
    closed
        .map(drop)
        .map_err(|error| Failure::of(Exit::Failed, &error))
}

async fn receive(
    mut subscriber: Subscriber,
    begin: Instant,
    total: u64,
) -> Result<Latencies, Failure> {
    let mut latencies = Latencies::new();
    let mut received = 0;
    while received < total {
        let Some(batch) = subscriber.next_batch().await else {
            return Err(Failure::failed("the subscription ended too early"));
        };
        for record in batch? {
            let record = record?;
            let now = begin.elapsed();
            let value = record.value.as_deref().unwrap_or_default();
            let Some(stamp) = value.first_chunk::<STAMP_LEN>() else {
                return Err(Failure::failed("a record came that was not sent"));
            };
            let sent = Duration::from_nanos(u64::from_le_bytes(*stamp));
            if sent > WARM_UP {
                latencies.add(now.saturating_sub(sent));
            }
            received += 1;
        }
    }
    Ok(latencies)
}
