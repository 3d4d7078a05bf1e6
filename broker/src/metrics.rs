//! What the broker counts. The rooms bump the fields; what has to be asked for (sizes, bindings,
//! high-water marks) is taken by a sampler when somebody scrapes. The HTTP side is `server.rs`.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use weir_wire::error::ErrorCode;
use weir_wire::frame::Kind;
use weir_wire::limits::STATUS_WARNINGS_MAX;

use crate::requests::at_most;

mod sample;
mod server;

pub use sample::{HighWaterMark, Sample, Sampler, SubscriptionPlugins};
pub use server::{MetricsError, MetricsServer, Readiness, ReadinessView, State};

/// 50 µs to 26 s, doubling: from the fastest fsync to the deadline of a request and beyond.
const SECONDS: (f64, f64, u16) = (50e-6, 2.0, 20);
/// 4 KiB to 8 MiB, doubling: the smallest block of the log to the largest.
const BYTES: (f64, f64, u16) = (4096.0, 2.0, 12);

macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $type:ty = $new:expr;)*) => {
        /// Everything that the broker counts.
        pub struct Metrics {
            $($(#[doc = $help])+ pub $name: $type,)*
            requests: Family<RequestLabels, Counter>,
            sampler: Arc<OnceLock<Sampler>>,
            registry: Registry,
        }

        impl Metrics {
            /// Counters at zero. The rooms share them.
            #[must_use]
            pub fn new() -> Arc<Self> {
                let mut registry = Registry::with_prefix("weir");
                $(
                    let $name: $type = $new;
                    let help = [$($help),+].concat();
                    let help = help.trim().trim_end_matches('.');
                    registry.register(stringify!($name), help, $name.clone());
                )*
                let requests = Family::default();
                let help = "Requests answered, by kind and result";
                registry.register("requests", help, requests.clone());
                let sampler = Arc::new(OnceLock::new());
                registry.register_collector(Box::new(sample::Collector::new(Arc::clone(&sampler))));
                Arc::new(Self { $($name,)* requests, sampler, registry })
            }
        }
    };
}

metrics! {
    /// Connections accepted.
    connections_accepted: Counter = Counter::default();
    /// Connections refused because there are as many as may be.
    connections_refused: Counter = Counter::default();
    /// Hellos without a valid token or client certificate.
    auth_failures: Counter = Counter::default();
    /// Bytes that were no frame or no message.
    malformed_frames: Counter = Counter::default();
    /// Records stored.
    records_in: Counter = Counter::default();
    /// Bytes of the batches stored.
    bytes_in: Counter = Counter::default();
    /// Records delivered to subscribers.
    records_out: Counter = Counter::default();
    /// Bytes of the batches delivered to subscribers.
    bytes_out: Counter = Counter::default();
    /// Produce requests sent again whose outcome was known.
    duplicates: Counter = Counter::default();
    /// Records that a plugin or its policy dropped.
    records_dropped: Counter = Counter::default();
    /// Records that a subscription's filters left out.
    records_filtered: Counter = Counter::default();
    /// Records that a subscription's filters were not asked about, because it is remembered what
    /// such filters said.
    verdict_hits: Counter = Counter::default();
    /// Records that a subscription's filters had to be asked about.
    verdict_misses: Counter = Counter::default();
    /// Bytes of what is remembered of filters.
    verdict_bytes: Gauge = Gauge::default();
    /// Records on which a subscription's plugins failed, kept in dead-letter topics.
    dead_letters: Counter = Counter::default();
    /// Produce requests that were refused as a whole.
    requests_refused: Counter = Counter::default();
    /// Batches whose hooks ran again because a binding changed meanwhile.
    hooks_repeated: Counter = Counter::default();
    /// Produce requests answered before they were durable, as asked (ack memory).
    memory_acks: Counter = Counter::default();
    /// Records that came one-way (ack none).
    one_way_records: Counter = Counter::default();
    /// Records that came one-way and were lost.
    one_way_lost: Counter = Counter::default();
    /// Requests refused as overloaded.
    overloaded: Counter = Counter::default();
    /// Replies that carried a throttle hint.
    throttled: Counter = Counter::default();
    /// Blocks of the log made durable, each by one fsync.
    blocks: Counter = Counter::default();
    /// Blocks that the network thread made durable itself, each a single small request that came
    /// alone.
    blocks_inline: Counter = Counter::default();
    /// Entries made durable.
    entries: Counter = Counter::default();
    /// Records that were removed before a group had read them.
    expired_unread: Counter = Counter::default();
    /// Subscriptions opened.
    subscriptions_opened: Counter = Counter::default();
    /// Seconds from a produce request's frame to its reply.
    produce_seconds: Histogram = seconds();
    /// Seconds that an fsync of the log took.
    fsync_seconds: Histogram = seconds();
    /// Bytes of a block of the log.
    block_bytes: Histogram = Histogram::new(exponential_buckets(BYTES.0, BYTES.1, BYTES.2));
    /// Bytes of segments that the scrub has read.
    scrub_bytes: Counter = Counter::default();
    /// Rounds in which the scrub read every segment once.
    scrub_rounds: Counter = Counter::default();
    /// Damaged places in segments that the scrub knows of, as far as it counts.
    damaged_places: Gauge = Gauge::default();
    /// When the broker's own certificate expires, in seconds since 1970.
    certificate_expiry_seconds: Gauge = Gauge::default();
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(SECONDS.0, SECONDS.1, SECONDS.2))
}

impl Metrics {
    /// Counts an answered request.
    pub fn request(&self, kind: Kind, result: Result<(), ErrorCode>) {
        let labels = RequestLabels {
            kind,
            error: result.err(),
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Adds a time to a histogram of seconds.
    pub fn observe(histogram: &Histogram, time: Duration) {
        histogram.observe(time.as_secs_f64());
    }

    /// The bindings that rest after grave failures, a sentence for each, and what rests of
    /// subscriptions: as many as `weir status` shows.
    pub(crate) fn quarantined(&self) -> Vec<String> {
        let Some(sample) = self.sampler.get().and_then(|sampler| sampler()) else {
            return Vec::new();
        };
        let bindings = sample.status.bindings.into_iter();
        let resting = bindings.filter_map(|binding| {
            let quarantine = binding.counters.quarantine?;
            Some(format!(
                "binding {} (plugin \"{}\" on topic \"{}\") is quarantined: {}",
                binding.id, binding.plugin, binding.topic, quarantine.reason
            ))
        });
        at_most(STATUS_WARNINGS_MAX, resting.chain(sample.resting))
    }

    /// Says how to take what is asked for at a scrape. Only the first sampler counts: it belongs
    /// to the one broker that these metrics are of.
    pub fn sample_with(&self, sampler: Sampler) {
        if self.sampler.set(sampler).is_err() {
            tracing::error!("a second sampler for the same metrics is ignored");
        }
    }

    /// Everything, in the text format of OpenMetrics.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string cannot fail");
        text
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// There are few kinds and few codes, so there are few series.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct RequestLabels {
    kind: Kind,
    error: Option<ErrorCode>,
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        let kind = kebab_case(&format!("{:?}", self.kind));
        let result = self.error.map_or("ok", ErrorCode::word);
        [("kind", kind.as_str()), ("result", result)].encode(encoder)
    }
}

/// `CreateTopic` as `create-topic`.
fn kebab_case(name: &str) -> String {
    let mut text = String::with_capacity(name.len() + 2);
    for character in name.chars() {
        if character.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(character.to_ascii_lowercase());
    }
    text
}

#[cfg(test)]
mod tests;
