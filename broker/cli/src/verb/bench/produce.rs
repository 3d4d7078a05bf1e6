//! Durable throughput: prepared batches, several on their way, until the time is over.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::time::Instant;
use weir_sdk::{BatchTicket, Producer, PublishError};

use super::Load;
use super::load::{self, Latencies};
use super::report::{Measurement, Report};
use super::site::Site;
use crate::exit::{Exit, Failure};

/// Bytes on their way per producer: enough that neither network nor disk waits for the other.
const IN_FLIGHT_BYTES: usize = 8 << 20;
const IN_FLIGHT_MIN: usize = 2;
const IN_FLIGHT_MAX: usize = 100;
/// Before this nothing counts: congestion control and files have to settle.
const WARM_UP: Duration = Duration::from_millis(500);

/// Measures it.
pub async fn measure(
    site: &Site,
    load: Load,
    producers: u16,
    report: &mut Report,
) -> Result<(), Failure> {
    let batches = load::batches(load)?;
    let topic = site.topic().await?;
    let mut open = Vec::new();
    for _ in 0..producers {
        let client = site.client().dedicated();
        let producer = client.producer(&topic).open().await?;
        open.push((client, producer));
    }
    let begin = Instant::now();
    let window = Window {
        from: begin + WARM_UP,
        to: begin + WARM_UP + load.time,
    };
    let runs = open.iter().enumerate().map(|(number, (_, producer))| {
        // Each begins elsewhere, so that no two send the same bytes at the same time.
        Run::new(
            producer,
            &batches,
            number * batches.len() / usize::from(producers),
            window,
        )
        .run()
    });
    let counted = try_join_all(runs).await?;
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
    let records = answered * u64::from(load.batch);
    report.add(
        Measurement::new("produce", report.limits().quinn_up)
            .with("partitions", 1)
            .with("size", load.size)
            .with("batch", load.batch)
            .with("producers", producers)
            .with("ack", "durable")
            .throughput(records, load, load.time)
            .latency(&latencies),
    )
}

/// When answers count.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Instant,
    to: Instant,
}

struct Counted {
    batches: u64,
    latencies: Latencies,
}

struct Run<'a> {
    producer: &'a Producer,
    batches: &'a [Bytes],
    next: usize,
    window: Window,
    in_flight_max: usize,
    waiting: VecDeque<(Instant, BatchTicket)>,
    counted: Counted,
}

impl<'a> Run<'a> {
    fn new(producer: &'a Producer, batches: &'a [Bytes], next: usize, window: Window) -> Self {
        let bytes = batches.first().map_or(1, Bytes::len);
        Self {
            producer,
            batches,
            next,
            window,
            in_flight_max: (IN_FLIGHT_BYTES / bytes).clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX),
            waiting: VecDeque::new(),
            counted: Counted {
                batches: 0,
                latencies: Latencies::new(),
            },
        }
    }

    async fn run(mut self) -> Result<Counted, Failure> {
        while Instant::now() < self.window.to {
            if self.waiting.len() >= self.in_flight_max {
                self.answer().await?;
            }
            let batch = &self.batches[self.next % self.batches.len()];
            self.next += 1;
            let sent = self.producer.send_batch(batch.clone()).await;
            let ticket = sent.map_err(PublishError::from)?;
            self.waiting.push_back((Instant::now(), ticket));
        }
        while !self.waiting.is_empty() {
            self.answer().await?;
        }
        Ok(self.counted)
    }

    /// Waits for the oldest batch's outcome.
    async fn answer(&mut self) -> Result<(), Failure> {
        let Some((sent, ticket)) = self.waiting.pop_front() else {
            return Ok(());
        };
        ticket.await?;
        let now = Instant::now();
        if (self.window.from..self.window.to).contains(&now) {
            self.counted.batches += 1;
            self.counted.latencies.add(now - sent);
        }
        Ok(())
    }
}
