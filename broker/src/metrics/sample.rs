//! What is asked for when somebody scrapes, since counting it all the time would cost more.

use std::fmt;
use std::sync::{Arc, OnceLock};

use prometheus_client::collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use weir_wire::id::{Offset, PartitionId, PluginVersion};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::{CALL_TIMES_US, Hook};
use weir_wire::request::{BindingCounters, BindingInfo, BrokerStatus};

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
    /// A sentence for each filter or projection of subscriptions that rests.
    pub resting: Vec<String>,
    /// What filters and projections of subscriptions do; the first thousand are shown.
    pub subscription_plugins: Vec<SubscriptionPlugins>,
}

/// What a plugin has done since the broker started for all subscriptions that name the same topics.
#[derive(Clone, Debug)]
pub struct SubscriptionPlugins {
    /// The plugin.
    pub plugin: PluginName,
    /// Its version.
    pub version: PluginVersion,
    /// Its hook.
    pub hook: Hook,
    /// The topic; of several the first, and how many more there are.
    pub topic: String,
    /// For how many subscriptions it is at work now.
    pub at_work: u64,
    /// For how many of these it rests.
    pub resting: u64,
    /// For how many of these it gave two answers to one question.
    pub impure: u64,
    /// What it has done, also for those that have ended; and the most memory for one that has not.
    pub counters: BindingCounters,
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
        encode_bindings(&mut encoder, &sample.status.bindings)?;
        encode_subscription_plugins(&mut encoder, &sample.subscription_plugins)
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

/// What is told of plugins by the same names and words: of bindings of topics, one by one, and of
/// the filters and projections of subscriptions, those of one kind together.
#[derive(Clone, Copy)]
struct Family {
    /// What the names begin with.
    prefix: &'static str,
    /// What stands for `{}` in the help.
    whose: &'static str,
}

const BINDINGS: Family = Family {
    prefix: "binding",
    whose: "a binding's plugin",
};
const SUBSCRIPTION_PLUGINS: Family = Family {
    prefix: "subscription_plugin",
    whose: "a plugin of subscriptions",
};

type Labels = Vec<(&'static str, String)>;

/// One number of a plugin: the end of its name, help, how it is read.
type Series = (&'static str, &'static str, fn(&BindingCounters) -> f64);

const COUNTERS: [Series; 8] = [
    ("records", "Records that {} saw", |c| c.records as f64),
    (
        "records_out",
        "Records that {} kept, placed, gave a key, or made",
        |c| c.records_out as f64,
    ),
    ("traps", "Traps of {}", |c| c.traps as f64),
    ("limits", "Calls of {} that were stopped at a limit", |c| {
        c.limits as f64
    }),
    ("failed", "Records on which {} failed", |c| c.failed as f64),
    ("calls", "Calls of {}", |c| c.calls as f64),
    ("cpu_seconds", "CPU time of {}", |c| c.cpu_ns as f64 / 1e9),
    (
        "log_lines_suppressed",
        "Log lines of {} left out because there were too many",
        |c| c.log_lines_suppressed as f64,
    ),
];

/// The same of what is whole and may go down again.
type Gauge<T> = (&'static str, &'static str, fn(&T) -> u64);

const BINDING_GAUGES: [Gauge<BindingInfo>; 3] = [
    (
        "memory_bytes",
        "The most memory that one instance of {} had",
        |b| b.counters.memory_bytes,
    ),
    (
        "quarantined",
        "Whether a binding rests after grave failures",
        |b| u64::from(b.counters.quarantine.is_some()),
    ),
    (
        "impure",
        "Whether {} gave two answers to one question",
        |b| u64::from(b.counters.impure),
    ),
];

const SUBSCRIPTION_GAUGES: [Gauge<SubscriptionPlugins>; 4] = [
    (
        "at_work",
        "For how many subscriptions a plugin is at work now",
        |p| p.at_work,
    ),
    (
        "memory_bytes",
        "The most memory that one instance of {} had that is at work now",
        |p| p.counters.memory_bytes,
    ),
    (
        "quarantined",
        "For how many subscriptions a plugin rests after grave failures",
        |p| p.resting,
    ),
    (
        "impure",
        "For how many subscriptions a plugin gave two answers to one question",
        |p| p.impure,
    ),
];

fn encode_bindings(
    encoder: &mut DescriptorEncoder<'_>,
    bindings: &[BindingInfo],
) -> Result<(), fmt::Error> {
    let shown: Vec<_> = bindings.iter().take(SERIES_MAX).collect();
    let counted = shown.iter().map(|b| (binding_labels(b), &b.counters));
    encode_counters(encoder, BINDINGS, &counted.collect::<Vec<_>>())?;
    let shown = shown.iter().map(|b| (binding_labels(b), *b));
    encode_gauges(
        encoder,
        BINDINGS,
        &BINDING_GAUGES,
        &shown.collect::<Vec<_>>(),
    )
}

fn encode_subscription_plugins(
    encoder: &mut DescriptorEncoder<'_>,
    plugins: &[SubscriptionPlugins],
) -> Result<(), fmt::Error> {
    let shown: Vec<_> = plugins.iter().take(SERIES_MAX).collect();
    let counted = shown.iter().map(|p| (plugin_labels(p), &p.counters));
    encode_counters(encoder, SUBSCRIPTION_PLUGINS, &counted.collect::<Vec<_>>())?;
    let shown = shown.iter().map(|p| (plugin_labels(p), *p));
    let shown: Vec<_> = shown.collect();
    encode_gauges(encoder, SUBSCRIPTION_PLUGINS, &SUBSCRIPTION_GAUGES, &shown)
}

fn encode_gauges<T>(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family,
    gauges: &[Gauge<T>],
    shown: &[(Labels, &T)],
) -> Result<(), fmt::Error> {
    for (name, help, value) in gauges {
        let (name, help) = family.named(name, help);
        let mut series = encoder.encode_descriptor(&name, &help, None, MetricType::Gauge)?;
        for (labels, one) in shown {
            let metric = ConstGauge::new(as_gauge(value(one)));
            metric.encode(series.encode_family(labels)?)?;
        }
    }
    Ok(())
}

/// The counters, and how long calls took.
fn encode_counters(
    encoder: &mut DescriptorEncoder<'_>,
    family: Family,
    shown: &[(Labels, &BindingCounters)],
) -> Result<(), fmt::Error> {
    for (name, help, value) in COUNTERS {
        let (name, help) = family.named(name, help);
        let mut series = encoder.encode_descriptor(&name, &help, None, MetricType::Counter)?;
        for (labels, counters) in shown {
            let metric = ConstCounter::new(value(counters));
            metric.encode(series.encode_family(labels)?)?;
        }
    }
    let (name, help) = family.named("call_seconds", "How long the calls of {} took");
    let kind = MetricType::Histogram;
    let mut series = encoder.encode_descriptor(&name, &help, None, kind)?;
    for (labels, counters) in shown {
        let bounds = CALL_TIMES_US.iter().map(|bound| *bound as f64 / 1e6);
        let bounds = bounds.chain([f64::INFINITY]);
        let counts = counters.call_times.iter().copied();
        // A binding that cannot run has no counts.
        let counts = counts.chain(std::iter::repeat(0));
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let calls = buckets.iter().map(|(_, calls)| calls).sum();
        let seconds = counters.call_ns as f64 / 1e9;
        series
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(seconds, calls, &buckets, None)?;
    }
    Ok(())
}

impl Family {
    fn named(self, name: &str, help: &str) -> (String, String) {
        let name = format!("{}_{name}", self.prefix);
        (name, help.replace("{}", self.whose))
    }
}

fn binding_labels(binding: &BindingInfo) -> Labels {
    vec![
        ("binding", binding.id.to_string()),
        ("topic", binding.topic.to_string()),
        ("hook", binding.hook.to_string()),
        ("plugin", binding.plugin.to_string()),
        ("version", binding.version.to_string()),
    ]
}

fn plugin_labels(plugin: &SubscriptionPlugins) -> Labels {
    vec![
        ("topic", plugin.topic.clone()),
        ("hook", plugin.hook.to_string()),
        ("plugin", plugin.plugin.to_string()),
        ("version", plugin.version.to_string()),
    ]
}

fn as_gauge(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
