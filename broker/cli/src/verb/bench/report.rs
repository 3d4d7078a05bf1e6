//! Measurements as results: an object each, as soon as it is there, or one table at the end.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Load;
use super::limits::Limits;
use super::load::Latencies;
use crate::exit::Failure;
use crate::output::{self, Format, Listing};

/// One measurement.
#[derive(Clone, Debug)]
pub struct Measurement {
    name: &'static str,
    fields: Map<String, Value>,
    quinn: Option<f64>,
    rate: Option<f64>,
    fdatasync_us: Option<f64>,
}

impl Measurement {
    /// A measurement, and what QUIC alone does in its direction.
    pub fn new(name: &'static str, quinn: Option<f64>) -> Self {
        Self {
            name,
            fields: Map::new(),
            quinn,
            rate: None,
            fdatasync_us: None,
        }
    }

    /// Adds a parameter or a result.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), rounded(value.into()));
        self
    }

    /// Adds records per second, and 10^6 bytes of values per second.
    pub fn throughput(mut self, records: u64, load: Load, took: Duration) -> Self {
        let per_second = records as f64 / took.as_secs_f64();
        let rate = per_second * f64::from(load.size) / 1e6;
        self.rate = Some(rate);
        self.with("seconds", took.as_secs_f64())
            .with("records", records)
            .with("mb_per_s", rate)
            .with("records_per_s", per_second)
    }

    /// Adds the quantiles.
    pub fn latency(self, latencies: &Latencies) -> Self {
        self.with("p50_us", latencies.quantile_us(0.5))
            .with("p99_us", latencies.quantile_us(0.99))
            .with("p999_us", latencies.quantile_us(0.999))
    }

    /// Sets the time of a small sync, where it was measured right beside this.
    pub const fn fdatasync_us(mut self, sync: f64) -> Self {
        self.fdatasync_us = Some(sync);
        self
    }

    fn json(&self, limits: &Limits) -> Value {
        let mut object = Map::new();
        object.insert("name".to_owned(), json!(self.name));
        object.extend(self.fields.clone());
        let ratio = self.rate.zip(self.quinn).map(|(rate, quinn)| rate / quinn);
        for (name, value) in [
            ("quinn_mb_per_s", self.quinn),
            ("ratio_to_quinn", ratio),
            ("disk_mb_per_s", limits.disk),
            ("fdatasync_us", self.fdatasync_us.or(limits.fdatasync_us)),
        ] {
            object.insert(name.to_owned(), rounded(json!(value)));
        }
        Value::Object(object)
    }
}

/// A figure has no more digits than it deserves.
fn rounded(value: Value) -> Value {
    match value.as_f64() {
        Some(number) if value.is_f64() => json!((number * 1000.0).round() / 1000.0),
        _ => value,
    }
}

/// All measurements of a run.
#[derive(Debug)]
pub struct Report {
    format: Format,
    limits: Limits,
    table: Vec<Value>,
}

impl Report {
    /// Nothing is measured yet but the limits.
    pub const fn new(format: Format, limits: Limits) -> Self {
        Self {
            format,
            limits,
            table: Vec::new(),
        }
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A measurement is there.
    pub fn add(&mut self, measurement: Measurement) -> Result<(), Failure> {
        let object = measurement.json(&self.limits);
        if self.format == Format::Json {
            return output::print(&object.to_string());
        }
        output::note(&format!("{} is measured", measurement.name));
        self.table.push(object);
        Ok(())
    }

    /// Prints what was gathered for people.
    pub fn finish(self) -> Result<(), Failure> {
        if self.format == Format::Json {
            return Ok(());
        }
        let mut table = Listing::new(&[
            "name",
            "with",
            "MB/s#",
            "records/s#",
            "p50 us#",
            "p99 us#",
            "p99.9 us#",
            "of quinn#",
        ]);
        for object in &self.table {
            let figure = |name: &str| {
                let value = object.get(name).and_then(Value::as_f64);
                value.map_or_else(|| "-".to_owned(), |value| format!("{value:.0}"))
            };
            let ratio = object.get("ratio_to_quinn").and_then(Value::as_f64);
            table.row([
                object
                    .get("name")
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                parameters(object),
                figure("mb_per_s"),
                figure("records_per_s"),
                figure("p50_us"),
                figure("p99_us"),
                figure("p999_us"),
                ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")),
            ]);
        }
        output::print(&format!("{}\n{}", table.render(None), self.limits_text()))
    }

    fn limits_text(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, value: Option<f64>, unit: &str| {
            if let Some(value) = value {
                text.push_str(&format!("{what}: {value:.0} {unit}\n"));
            }
        };
        line(
            "quinn alone, client to broker",
            self.limits.quinn_up,
            "MB/s",
        );
        line(
            "quinn alone, broker to client",
            self.limits.quinn_down,
            "MB/s",
        );
        line("disk, 1 MiB synced", self.limits.disk, "MB/s");
        line("disk, 4 KiB synced, median", self.limits.fdatasync_us, "µs");
        text
    }
}

/// What is no figure of the table's own columns.
fn parameters(object: &Value) -> String {
    const SHOWN: [&str; 42] = [
        "hostile",
        "hook",
        "from",
        "partitions",
        "size",
        "batch",
        "producers",
        "ack",
        "rounds",
        "ratio_to_one",
        "segment_files",
        "block_bytes",
        "disk_twice_mb_per_s",
        "ratio_to_disk_twice",
        "rate",
        "received",
        "readers",
        "readers_mb_per_s",
        "ratio_to_fdatasync",
        "ns_per_record",
        "native_ns_per_record",
        "single_ns_per_record",
        "ratio_to_native",
        "single_ratio_to_native",
        "keeps_percent",
        "verdicts",
        "ratio_to_unfiltered",
        "alone_cores",
        "cores",
        "alone_p99_us",
        "ratio_to_alone",
        "component_bytes",
        "ms",
        "slowest_ms",
        "plugins",
        "without_ms",
        "ms_each",
        "first_record_ms_each",
        "filters",
        "kib_each",
        "bindings",
        "mib",
    ];
    let shown = SHOWN.iter().filter_map(|name| {
        let value = object.get(*name)?;
        let text = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        Some(format!("{name}={text}"))
    });
    shown.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn an_object_has_the_names_of_the_contract() {
        let load = Load {
            size: 1000,
            batch: 1000,
            time: Duration::from_secs(2),
        };
        let mut latencies = Latencies::new();
        latencies.add(Duration::from_micros(100));
        let measurement = Measurement::new("produce", Some(1500.0))
            .with("producers", 1)
            .throughput(1_000_000, load, load.time)
            .latency(&latencies);
        let limits = Limits {
            disk: Some(1000.1234),
            ..Limits::default()
        };
        expect![[r#"{"name":"produce","producers":1,"seconds":2.0,"records":1000000,"mb_per_s":500.0,"records_per_s":500000.0,"p50_us":100.031,"p99_us":100.031,"p999_us":100.031,"quinn_mb_per_s":1500.0,"ratio_to_quinn":0.333,"disk_mb_per_s":1000.123,"fdatasync_us":null}"#]]
        .assert_eq(&measurement.json(&limits).to_string());
    }
}
