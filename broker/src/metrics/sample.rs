//! What is asked for when somebody scrapes, since counting it all the time would cost more.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use weir_wire::id::{Offset, PartitionId};
use weir_wire::name::TopicName;
use weir_wire::plugin::CALL_TIMES_US;
use weir_wire::request::{BindingInfo, BrokerStatus};

use crate::config::ByteSize;

/// Series of one name at most: a broker with 100,000 partitions must not drown who watches it.
const SERIES_MAX: usize = 1000;

/// Takes a sample; called at every scrape, so it neither blocks for long nor panics. `None` once
/// the broker is gone.
pub type Sampler = Box<dyn Fn() -> Option<Sample> + Send + Sync>;

/// A broker's state at one moment.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What `weir status` shows.
    pub status: BrokerStatus,
    /// Bytes of requests under way.
    pub buffered: ByteSize,
    /// Where partitions end; the first thousand are shown.
    pub high_water_marks: Vec<HighWaterMark>,
}

/// Where a partition ends.
#[derive(Clone, Debug)]
pub struct HighWaterMark {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The offset of its next record.
    pub offset: Offset,
}

pub(super) struct Collector(Arc<OnceLock<Sampler>>);

impl Collector {
    pub(super) fn new(sampler: Arc<OnceLock<Sampler>>) -> Self {
        Self(sampler)
    }
}

impl fmt::Debug for Collector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Collector")
            .field(&self.0.get().is_some())
            .finish()
    }
}

impl collector::Collector for Collector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Some(sample) = self.0.get().and_then(|sampler| sampler()) else {
            return Ok(());
        };
        encode_status(&mut encoder, &sample)?;
        encode_high_water_marks(&mut encoder, &sample.high_water_marks)?;
        encode_bindings(&mut encoder, &sample.status.bindings)
    }
}

fn encode_status(encoder: &mut DescriptorEncoder<'_>, sample: &Sample) -> Result<(), fmt::Error> {
    let status = &sample.status;
    let gauges = [
        ("topics", "Topics", status.topics),
        ("partitions", "Partitions of all topics", status.partitions),
        ("connections", "Connections now", status.connections),
        ("subscriptions", "Subscriptions now", status.subscriptions),
        (
            "producers",
            "Producer sessions that the broker remembers",
            status.producers,
        ),
        ("log_bytes", "Bytes of the log on disk", status.log_bytes),
        (
            "disk_free_bytes",
            "Free bytes on the log's file system",
            status.free_bytes,
        ),
        (
            "memory_bytes",
            "Resident memory of the broker",
            status.memory_bytes,
        ),
        (
            "buffered_bytes",
            "Bytes of requests under way",
            sample.buffered.as_u64(),
        ),
        (
            "warnings",
            "Warnings that weir status shows",
            status.warnings.len() as u64,
        ),
        (
            "start_time_seconds",
            "When the broker started, in seconds since 1970",
            u64::try_from(status.started.value() / 1000).unwrap_or_default(),
        ),
    ];
    for (name, help, value) in gauges {
        let metric = ConstGauge::new(as_gauge(value));
        metric.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    let labels = [("version", status.version.as_str())];
    let mut info = encoder.encode_descriptor("broker", "The broker", None, MetricType::Info)?;
    info.encode_info(&labels)
}

fn encode_high_water_marks(
    encoder: &mut DescriptorEncoder<'_>,
    marks: &[HighWaterMark],
) -> Result<(), fmt::Error> {
    let help = "The offset of a partition's next record; the first thousand partitions";
    let mut family = encoder.encode_descriptor("high_water_mark", help, None, MetricType::Gauge)?;
    for mark in marks.iter().take(SERIES_MAX) {
        let labels = [
            ("topic", mark.topic.to_string()),
            ("partition", mark.partition.to_string()),
        ];
        let metric = ConstGauge::new(as_gauge(mark.offset.value()));
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// One number of a binding: name, help, how it is read.
type Series = (&'static str, &'static str, fn(&BindingInfo) -> f64);

const BINDING_COUNTERS: [Series; 8] = [
    (
        "binding_records",
        "Records that a binding's plugin saw",
        |b| b.counters.records as f64,
    ),
    (
        "binding_records_out",
        "Records that a binding's plugin placed, gave a key, or made",
        |b| b.counters.records_out as f64,
    ),
    ("binding_traps", "Traps of a binding's plugin", |b| {
        b.counters.traps as f64
    }),
    (
        "binding_limits",
        "Calls of a binding's plugin that were stopped at a limit",
        |b| b.counters.limits as f64,
    ),
    (
        "binding_failed",
        "Records on which a binding's plugin failed",
        |b| b.counters.failed as f64,
    ),
    ("binding_calls", "Calls of a binding's plugin", |b| {
        b.counters.calls as f64
    }),
    (
        "binding_cpu_seconds",
        "CPU time of a binding's plugin",
        |b| b.counters.cpu_ns as f64 / 1e9,
    ),
    (
        "binding_log_lines_suppressed",
        "Log lines of a binding's plugin left out because there were too many",
        |b| b.counters.log_lines_suppressed as f64,
    ),
];

/// The same of a number that is whole.
type WholeSeries = (&'static str, &'static str, fn(&BindingInfo) -> u64);

const BINDING_GAUGES: [WholeSeries; 3] = [
    (
        "binding_memory_bytes",
        "The most memory that one instance of a binding's plugin had",
        |b| b.counters.memory_bytes,
    ),
    (
        "binding_quarantined",
        "Whether a binding rests after grave failures",
        |b| u64::from(b.counters.quarantine.is_some()),
    ),
    (
        "binding_impure",
        "Whether a binding's plugin gave two answers to one question",
        |b| u64::from(b.counters.impure),
    ),
];

fn encode_bindings(
    encoder: &mut DescriptorEncoder<'_>,
    bindings: &[BindingInfo],
) -> Result<(), fmt::Error> {
    for (name, help, value) in BINDING_COUNTERS {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for binding in bindings.iter().take(SERIES_MAX) {
            let metric = ConstCounter::new(value(binding));
            metric.encode(family.encode_family(&binding_labels(binding))?)?;
        }
    }
    for (name, help, value) in BINDING_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for binding in bindings.iter().take(SERIES_MAX) {
            let metric = ConstGauge::new(as_gauge(value(binding)));
            metric.encode(family.encode_family(&binding_labels(binding))?)?;
        }
    }
    encode_call_times(encoder, bindings)
}

fn encode_call_times(
    encoder: &mut DescriptorEncoder<'_>,
    bindings: &[BindingInfo],
) -> Result<(), fmt::Error> {
    let (name, help) = (
        "binding_call_seconds",
        "How long the calls of a binding took",
    );
    let kind = MetricType::Histogram;
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for binding in bindings.iter().take(SERIES_MAX) {
        let counters = &binding.counters;
        let bounds = CALL_TIMES_US.iter().map(|bound| *bound as f64 / 1e6);
        let bounds = bounds.chain([f64::INFINITY]);
        let counts = counters.call_times.iter().copied();
        // A binding that cannot run has no counts.
        let counts = counts.chain(std::iter::repeat(0));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let calls = buckets.iter().map(|(_, calls)| calls).sum();
        let seconds = counters.call_ns as f64 / 1e9;
        family
            .encode_family(&binding_labels(binding))?
            .encode_histogram::<NoLabelSet>(seconds, calls, &buckets, None)?;
    }
    Ok(())
}

fn binding_labels(binding: &BindingInfo) -> [(&'static str, String); 5] {
    [
        ("binding", binding.id.to_string()),
        ("topic", binding.topic.to_string()),
        ("hook", binding.hook.to_string()),
        ("plugin", binding.plugin.to_string()),
        ("version", binding.version.to_string()),
    ]
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
