//! Durable throughput over ever more partitions: one partition per batch, partitions in turn, the
//! same bytes for each number of them.
//!
//! The numbers take turns, up and down again, so that what drifts on the machine hits all of them
//! alike, and each of them follows another one as often as the other way round. Topics are made
//! before and live through all rounds; only what a round stored goes behind it, so that the disk
//! has to hold no more than a round.

use std::time::Duration;

use tokio::time::Instant;
use weir_sdk::{Client, Producer};

use super::Load;
use super::load;
use super::report::{Measurement, Report};
use super::site::Site;
use super::stream::{Stream, Until, Window};
use crate::exit::{Exit, Failure};
use crate::{output, size};

/// What `weir bench partitions --help` ends with.
pub const HELP: &str = "\
Each round sends the same bytes to topics of one and of more partitions, a batch to each partition
in turn. `ratio_to_one` is the median over the rounds of the rate, divided by that of one partition
in the same round. Behind it the same with batches of 10, as `partitions-small-batches`.

Examples:
  weir bench partitions --embedded /tmp
  weir bench partitions --partitions 1,1000 --bytes 512MiB --rounds 5 --output json";

/// Batches of the measurement that is for information.
const SMALL_BATCH: u32 = 10;
/// It sends a share of the bytes only: such batches are slower by far.
const SMALL_SHARE: u64 = 16;
/// What stays free on the broker's disk.
const SPARE_BYTES: u64 = 2 << 30;

/// What is sent where.
#[derive(Debug)]
pub struct Plan {
    load: Load,
    /// In ascending order, 1 first.
    counts: Vec<u32>,
    bytes: u64,
    rounds: u16,
}

impl Plan {
    /// Checks what was asked for.
    pub fn new(load: Load, counts: &[u32], bytes: u64, rounds: u16) -> Result<Self, Failure> {
        let mut counts = [&[1], counts].concat();
        counts.sort_unstable();
        counts.dedup();
        if bytes < load.batch_bytes() {
            return Err(Failure::usage(format!(
                "--bytes {bytes} is less than one batch of {}; give more bytes, or a smaller \
                 --batch",
                load.batch_bytes()
            )));
        }
        Ok(Self {
            load,
            counts,
            bytes,
            rounds,
        })
    }

    /// Measures all of it.
    pub async fn measure(self, site: &Site, report: &mut Report) -> Result<(), Failure> {
        self.check_room(site).await?;
        self.series("partitions", site, report).await?;
        if self.load.batch <= SMALL_BATCH {
            return Ok(());
        }
        let load = Load {
            batch: SMALL_BATCH,
            ..self.load
        };
        let small = Self {
            load,
            bytes: (self.bytes / SMALL_SHARE).max(load.batch_bytes()),
            ..self
        };
        small.series("partitions-small-batches", site, report).await
    }

    async fn check_room(&self, site: &Site) -> Result<(), Failure> {
        let free = site.client().admin().status().await?.free_bytes;
        // What a run stored goes behind it, while the next one stores its own.
        let needed = 2 * self.bytes;
        if needed + SPARE_BYTES > free {
            return Err(Failure::failed(format!(
                "this stores up to {} at a time and the broker's disk has {} free; give a smaller \
                 --bytes",
                size::bytes(needed),
                size::bytes(free)
            )));
        }
        Ok(())
    }

    async fn series(
        &self,
        name: &'static str,
        site: &Site,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let batches = load::batches(self.load)?;
        // One connection for all of them: none begins with an unknown network.
        let client = site.client().dedicated();
        let mut runs = Vec::new();
        for count in &self.counts {
            runs.push(Run::open(site, &client, *count, self.bytes, self.load).await?);
        }
        let mut result = Ok(());
        for round in 0..self.rounds {
            output::note(&format!("{name}: round {} of {}", round + 1, self.rounds));
            let mut order: Vec<&mut Run> = runs.iter_mut().collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for run in order {
                result = run.round(self.load, &batches).await;
                if result.is_ok() {
                    result = site.empty(&run.topic).await;
                }
                if result.is_err() {
                    break;
                }
            }
            if result.is_err() {
                break;
            }
        }
        let mut rates = Vec::new();
        for run in runs {
            rates.push((run.partitions, run.close(site, result.is_ok()).await?));
        }
        client.close().await;
        result?;
        self.report(name, &rates, report)
    }

    fn report(
        &self,
        name: &'static str,
        rates: &[(u32, Vec<f64>)],
        report: &mut Report,
    ) -> Result<(), Failure> {
        let one: &[f64] = rates.first().map_or(&[], |(_, rates)| rates);
        for (partitions, rates) in rates {
            let ratios = rates.iter().zip(one).map(|(rate, one)| rate / one);
            let rate = median(rates.iter().copied());
            let batches = self.bytes.div_ceil(self.load.batch_bytes());
            let records = batches * u64::from(self.load.batch);
            let values = records as f64 * f64::from(self.load.size);
            let took = Duration::from_secs_f64(values / 1e6 / rate);
            report.add(
                Measurement::new(name, report.limits().quinn_up)
                    .with("partitions", *partitions)
                    .with("size", self.load.size)
                    .with("batch", self.load.batch)
                    .with("producers", 1)
                    .with("ack", "durable")
                    .with("bytes", self.bytes)
                    .with("rounds", self.rounds)
                    .throughput(records, self.load, took)
                    .with(
                        "mb_per_s_min",
                        rates.iter().copied().fold(f64::MAX, f64::min),
                    )
                    .with("mb_per_s_max", rates.iter().copied().fold(0.0, f64::max))
                    .with("ratio_to_one", median(ratios)),
            )?;
        }
        Ok(())
    }
}

/// A topic, its producer, and what was measured with them.
struct Run {
    partitions: u32,
    bytes: u64,
    topic: String,
    producer: Producer,
    batch: u32,
    next: usize,
    rates: Vec<f64>,
}

impl Run {
    async fn open(
        site: &Site,
        client: &Client,
        partitions: u32,
        bytes: u64,
        load: Load,
    ) -> Result<Self, Failure> {
        let topic = site.topic(partitions).await?;
        Ok(Self {
            partitions,
            bytes,
            producer: client.producer(&topic).open().await?,
            topic,
            batch: load.batch,
            next: 0,
            rates: Vec::new(),
        })
    }

    async fn round(&mut self, load: Load, batches: &[bytes::Bytes]) -> Result<(), Failure> {
        let window = Window::new(Instant::now(), Until::Bytes(self.bytes), load);
        let counted = Stream::new(&self.producer, batches, self.next, &window)
            .run()
            .await?;
        let took = window.took().as_secs_f64();
        self.next += counted.batches as usize;
        let bytes = counted.batches * load.batch_bytes();
        self.rates.push(bytes as f64 / 1e6 / took);
        Ok(())
    }

    /// Ends it; the rates count only if the batches went to the partitions in turn.
    async fn close(self, site: &Site, check: bool) -> Result<Vec<f64>, Failure> {
        let closed = self.producer.close().await;
        let in_turn = if check {
            self.check_turns(site).await
        } else {
            Ok(())
        };
        site.remove(&self.topic).await;
        closed.map_err(|error| Failure::of(Exit::Failed, &error))?;
        in_turn.map(|()| self.rates)
    }

    async fn check_turns(&self, site: &Site) -> Result<(), Failure> {
        let described = site.client().admin().describe_topic(&self.topic).await?;
        let ends = described.partitions.iter().map(|partition| partition.end);
        let (least, most) = (ends.clone().min(), ends.max());
        let apart = least.zip(most).map_or(0, |(least, most)| most.since(least));
        if apart > u64::from(self.batch) {
            return Err(Failure::failed(format!(
                "partitions of {} end {apart} records apart: batches did not go to them in turn, \
                 and nothing was measured",
                self.topic
            )));
        }
        Ok(())
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        size: 1000,
        batch: 1000,
        time: Duration::ZERO,
    };

    #[test]
    fn one_partition_is_always_among_them() {
        let plan = Plan::new(LOAD, &[100, 10, 10], 1 << 30, 3).unwrap();
        assert_eq!(plan.counts, [1, 10, 100]);
        let error = Plan::new(LOAD, &[10], 1000, 3).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert!(median(std::iter::empty()).is_nan());
    }
}
