//! What is sent: batches prepared beforehand, of bytes that no compressor could shorten.

use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use rand::RngCore;
use weir_wire::batch::{BatchBuilder, Compression, NewRecord};

use super::Load;
use crate::exit::Failure;
use crate::time;

/// Bytes of different batches that are kept; then they come again.
const KEPT_BYTES: usize = 64 << 20;
/// The longest latency that is told apart, in nanoseconds.
const LATENCY_MAX: u64 = 120_000_000_000;
const DIGITS: u8 = 3;

/// Batches of random values.
pub fn batches(load: Load) -> Result<Vec<Bytes>, Failure> {
    let bytes = load.batch as usize * load.size as usize;
    let count = (KEPT_BYTES / bytes.max(1)).clamp(2, 1024);
    (0..count).map(|_| batch(load, &[])).collect()
}

/// One batch of random values, its records tagged in turn with `tags`.
pub fn batch(load: Load, tags: &[&str]) -> Result<Bytes, Failure> {
    let mut random = rand::rng();
    let mut value = vec![0; load.size as usize];
    let mut builder = BatchBuilder::with_capacity(load.batch as usize * (value.len() + 32));
    let mut tags = tags.iter().cycle();
    let now = time::now();
    for _ in 0..load.batch {
        random.fill_bytes(&mut value);
        let tag = tags.next().map(|tag| ("tag", tag.as_bytes()));
        let record = NewRecord {
            key: None,
            value: Some(&value),
            headers: tag.as_slice(),
        };
        builder.push(now, &record);
    }
    let batch = builder.finish(Compression::None);
    batch
        .map(Bytes::from)
        .map_err(|error| Failure::failed(error.to_string()))
}

/// Latencies, to three digits.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS);
        Self(histogram.expect("these bounds are in order and the digits in range"))
    }

    /// One more; beyond two minutes it counts as two minutes.
    pub fn add(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_MAX);
        self.0.saturating_record(nanoseconds.max(1));
    }

    /// Those of another, too.
    pub fn join(&mut self, other: &Self) {
        self.0
            .add(&other.0)
            .expect("both have the same bounds and digits");
    }

    /// Microseconds within which that share of them lies.
    pub fn quantile_us(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1e3
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_what_was_asked_for() {
        let load = Load {
            size: 100,
            batch: 7,
            time: Duration::from_secs(1),
        };
        let batch = batch(load, &["a", "b"]).unwrap();
        let verified = weir_wire::batch::verify(&batch).unwrap();
        assert_eq!(verified.header.count, 7);
        let records = weir_wire::batch::Records::new(&verified.records, 7);
        let tags: Vec<_> = records
            .map(|r| r.unwrap().header("tag").unwrap()[0])
            .collect();
        assert_eq!(tags, b"abababa");
    }

    #[test]
    fn latencies_have_three_digits() {
        let mut latencies = Latencies::new();
        for us in 1..=1000 {
            latencies.add(Duration::from_micros(us));
        }
        let median = latencies.quantile_us(0.5);
        assert!((499.0..=501.5).contains(&median), "{median}");
        assert_eq!(latencies.count(), 1000);
    }
}
