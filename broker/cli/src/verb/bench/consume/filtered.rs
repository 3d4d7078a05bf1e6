//! What a filter costs a subscription: a topic is read with tag filters that keep all of it, half
//! of it or little of it, and without. What counts is what the broker passes over, not what it
//! sends, from asking for the subscription to its last record.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_sdk::{Client, Event, FilterSpec};
use weir_wire::request::Setting;

use super::super::load;
use super::super::report::{Measurement, Report};
use super::super::site::Site;
use super::super::{Load, median};
use super::fill;
use crate::exit::{Exit, Failure};

const TAG_FILTER: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/tag-filter.wasm");
/// Different batches.
const BATCHES: usize = 16;
/// Of a hundred records in a row one carries the first tag, 49 the second, the others the third.
const TAGS: [(&str, usize); 3] = [("ONE", 1), ("HALF", 50), ("REST", 100)];
const ROUNDS_MIN: u32 = 3;

/// A filter that keeps so many of a hundred records.
#[derive(Clone, Copy)]
struct Share {
    percent: usize,
    tags: usize,
}

const SHARES: [Share; 3] = [
    Share {
        percent: 100,
        tags: 3,
    },
    Share {
        percent: 50,
        tags: 2,
    },
    Share {
        percent: 1,
        tags: 1,
    },
];

/// The topic and the plugin.
struct Stage<'a> {
    client: &'a Client,
    topic: String,
    plugin: String,
    load: Load,
    stored: u64,
    /// Settings so far: nothing is remembered of settings that were never used.
    settings: u64,
}

/// How long one reading took, opening the subscription included, and that alone.
#[derive(Clone, Copy)]
struct Reading {
    took: Duration,
    opened: Duration,
}

/// Readings, and each one's ratio to that without a filter right before.
#[derive(Default)]
struct Rates {
    took: Duration,
    ratios: Vec<f64>,
    opened_ms: Vec<f64>,
}

/// Measures all of them in turn.
pub async fn measure(
    site: &Site,
    load: Load,
    bytes: u64,
    report: &mut Report,
) -> Result<(), Failure> {
    let topic = site.topic(1).await?;
    let plugin = format!("bench-{:08x}", rand::random::<u32>());
    let component = Bytes::from_static(TAG_FILTER);
    site.client()
        .admin()
        .push_plugin(&plugin, component)
        .await?;
    let tags: Vec<_> = (0..100)
        .filter_map(|number| TAGS.iter().find(|(_, end)| number < *end))
        .map(|(tag, _)| *tag)
        .collect();
    let batches = (0..BATCHES).map(|_| load::batch(load, &tags));
    let batches = batches.collect::<Result<Vec<_>, _>>()?;
    let stored = fill(site.client(), &topic, load, &batches, bytes).await?;
    let mut stage = Stage {
        client: site.client(),
        topic,
        plugin,
        load,
        stored,
        settings: 0,
    };
    let measured = stage.measure(report).await;
    site.remove(&stage.topic).await;
    let admin = site.client().admin();
    admin.remove_plugin(&stage.plugin, None).await?;
    measured
}

impl Stage<'_> {
    async fn measure(&mut self, report: &mut Report) -> Result<(), Failure> {
        self.read(None).await?;
        let mut without = Rates::default();
        let mut new: [Rates; SHARES.len()] = Default::default();
        let mut known: [Rates; SHARES.len()] = Default::default();
        let begin = Instant::now();
        let mut rounds = 0;
        while rounds < ROUNDS_MIN || begin.elapsed() < self.load.time {
            for ((share, new), known) in SHARES.into_iter().zip(&mut new).zip(&mut known) {
                let plain = self.read(None).await?;
                without.add(plain, plain);
                self.settings += 1;
                new.add(self.read(Some(share)).await?, plain);
                known.add(self.read(Some(share)).await?, plain);
            }
            rounds += 1;
        }
        report.add(self.describe("consume-unfiltered", &without, report))?;
        for ((share, new), known) in SHARES.into_iter().zip(new).zip(known) {
            for (rates, verdicts) in [(new, "new"), (known, "remembered")] {
                let measurement = self.describe("consume-filtered", &rates, report);
                report.add(
                    measurement
                        .with("keeps_percent", share.percent)
                        .with("verdicts", verdicts)
                        .with("ratio_to_unfiltered", median(rates.ratios)),
                )?;
            }
        }
        Ok(())
    }

    /// Reads the topic from its start to its end.
    async fn read(&self, share: Option<Share>) -> Result<Reading, Failure> {
        let begin = Instant::now();
        let mut subscription = self.client.subscribe([&self.topic]);
        if let Some(share) = share {
            subscription = subscription.filter(self.filter(share)?);
        }
        let mut subscriber = subscription.open().await?;
        let opened = begin.elapsed();
        let mut read = 0;
        while !subscriber.is_caught_up() {
            match subscriber.next_event().await {
                Some(Ok(Event::Records(batch))) => read += u64::from(batch.count()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error.into()),
                None => return Err(Failure::failed("the subscription ended too early")),
            }
        }
        let expected = self.kept(share.map_or(100, |share| share.percent));
        if read != expected {
            return Err(Failure::failed(format!(
                "{read} records came, {expected} should have"
            )));
        }
        Ok(Reading {
            took: begin.elapsed(),
            opened,
        })
    }

    /// Records that a filter keeps; the tags begin anew in each batch.
    fn kept(&self, percent: usize) -> u64 {
        let batch = self.load.batch as usize;
        let of_batch = batch / 100 * percent + (batch % 100).min(percent);
        self.stored / u64::from(self.load.batch) * of_batch as u64
    }

    fn filter(&self, share: Share) -> Result<FilterSpec, Failure> {
        let tags = TAGS.iter().take(share.tags).map(|(tag, _)| *tag);
        let mut tags: Vec<_> = tags.map(str::to_owned).collect();
        // A tag that no record has makes the settings new.
        tags.push(format!("NEVER{}", self.settings));
        let plugin = self.plugin.parse();
        Ok(FilterSpec {
            plugin: plugin.map_err(|error| Failure::of(Exit::Failed, &error))?,
            version: None,
            config: vec![Setting {
                name: "tags".to_owned(),
                value: tags.join(" || "),
            }],
            on_error: None,
            limits: None,
        })
    }

    fn describe(&self, name: &'static str, rates: &Rates, report: &Report) -> Measurement {
        let records = self.stored * rates.ratios.len() as u64;
        Measurement::new(name, report.limits().quinn_down)
            .with("partitions", 1)
            .with("stored_mib", (self.stored * self.load.size as u64) >> 20)
            .with("size", self.load.size)
            .with("batch", self.load.batch)
            .with("rounds", rates.ratios.len())
            .with("open_ms", median(rates.opened_ms.clone()))
            .throughput(records, self.load, rates.took)
    }
}

impl Rates {
    fn add(&mut self, reading: Reading, without: Reading) {
        self.took += reading.took;
        let ratio = without.took.as_secs_f64() / reading.took.as_secs_f64();
        self.ratios.push(ratio);
        self.opened_ms.push(reading.opened.as_secs_f64() * 1e3);
    }
}
