//! Every bound of the protocol in one place, each with its reason.

use std::time::Duration;

/// The largest batch on the wire: large enough that batching pays, small enough that a few
/// hundred in flight fit a broker's memory.
pub const BATCH_BYTES_MAX: usize = 8 << 20;
/// What a compressed batch may inflate to: a compression bomb stops here.
pub const BATCH_INFLATED_MAX: usize = 32 << 20;
/// Records in a batch: bounds offset deltas and per-record outcomes.
pub const BATCH_RECORDS_MAX: u32 = 1 << 20;
/// The header part of a frame: room for a topic with the most partitions.
pub const FRAME_HEADER_MAX: usize = 4 << 20;
/// The header part of `Produced` and `Records`: room for what is said of each record of the
/// largest batch (8 bytes of ordering key, or a run of its own in the outcome). So much also for
/// what tells of each partition of the largest topic: `TopicDescription`, `TopicTruncated`; and for
/// what lists plugins or bindings: `Plugins`, `PluginDescription`, `BrokerStatus`.
pub const RECORDS_HEADER_MAX: usize = 16 << 20;
/// The payload of `Records`: a batch inflated and filtered; re-encoding may lengthen the
/// timestamp deltas of what is kept.
pub const RECORDS_PAYLOAD_MAX: usize = BATCH_INFLATED_MAX + (16 << 20);
/// Values of one repeated field: bounds what a small message may unfold to in memory, and leaves
/// room for the partitions of two of the largest topics.
pub const REPEATED_MAX: usize = 1 << 18;
/// A plugin's component: the largest useful one, a Python interpreter, has 18 MB.
pub const COMPONENT_BYTES_MAX: usize = 32 << 20;
/// The payload part of a frame before its kind is known to allow more.
pub const FRAME_PAYLOAD_MAX: usize = BATCH_BYTES_MAX;
/// Frames of a peer that has not authenticated.
pub const HELLO_FRAME_MAX: usize = 16 << 10;
/// How long a peer may take to authenticate.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// Produce requests of one producer that may be unanswered, and whose outcomes are remembered.
pub const PRODUCER_IN_FLIGHT_MAX: usize = 128;
/// Partitions of a topic.
pub const TOPIC_PARTITIONS_MAX: u32 = 100_000;
/// Ends that the fences of one topic may list together: each adding of partitions lists one per
/// partition there was before.
pub const FENCE_ENDS_MAX: usize = REPEATED_MAX;
/// Groups that read one topic.
pub const TOPIC_GROUPS_MAX: usize = 1000;
/// Topics of a broker.
pub const TOPICS_MAX: usize = 100_000;
/// Length of a topic's or namespace's name, in bytes, as in Kafka.
pub const NAME_BYTES_MAX: usize = 249;
/// Declared routes of a binding: they travel as a bit set.
pub const ROUTES_MAX: usize = 64;
/// Settings of a binding or filter.
pub const CONFIG_ENTRIES_MAX: usize = 256;
/// Bindings of one hook of a topic: each is a call per batch.
pub const BINDINGS_MAX: usize = 16;
/// Places that one record may be stored at: what it is turned into, times where that is routed.
pub const SET_PLACES_MAX: usize = 1024;
/// Places that an outcome lists, those of records that share their fate once: bounds what a
/// client keeps for each request.
pub const OUTCOME_PLACES_MAX: usize = 4 << 20;
/// Versions of a plugin: each keeps its component and its machine code on the disk.
pub const PLUGIN_VERSIONS_MAX: usize = 100;
/// Bindings that the status of a broker tells of: with the longest names and errors they fit a
/// frame.
pub const STATUS_BINDINGS_MAX: usize = 4096;
/// Warnings of a broker's status.
pub const STATUS_WARNINGS_MAX: usize = 100;
/// Filters and projections of subscriptions that the description of a plugin tells of: with the
/// longest settings they take less than half a frame.
pub const PLUGIN_SUBSCRIPTIONS_MAX: usize = 100;
/// Events that a topic's history of bindings goes back.
pub const HISTORY_EVENTS_MAX: usize = 1000;
/// Partitions whose ends one event of a history lists.
pub const HISTORY_ENDS_MAX: usize = REPEATED_MAX;
/// Memory that a topic's history takes: that of so many ends, 8 bytes each. The oldest events go
/// first.
pub const HISTORY_BYTES_MAX: usize = 8 * HISTORY_ENDS_MAX;
/// CPU time that a binding may be allowed per call: as long as a request may wait.
pub const BINDING_CPU_MAX: Duration = Duration::from_secs(10);
/// Memory that a binding may be allowed per instance, and what it needs at least: a page.
pub const BINDING_MEMORY_MAX: u64 = 256 << 20;
/// See [`BINDING_MEMORY_MAX`].
pub const BINDING_MEMORY_MIN: u64 = 64 << 10;
/// Bytes that a call of a binding may be allowed to return.
pub const BINDING_OUTPUT_MAX: u64 = BATCH_INFLATED_MAX as u64;
/// Lines that a binding may be allowed to log in a second.
pub const BINDING_LOG_RATE_MAX: u64 = 10_000;
/// How long a request for log lines may wait for the next one.
pub const LOGS_WAIT_MAX: Duration = Duration::from_secs(10);
/// Cursors of a request for log lines: more than log at a time, and few enough to be looked
/// through for each.
pub const LOG_CURSORS_MAX: usize = 10_000;
/// Filters of one subscription.
pub const FILTERS_MAX: usize = 16;
/// Streams of one subscription; with more partitions than that, several share a stream.
pub const SUBSCRIPTION_STREAMS_MAX: usize = 256;
/// Subscriptions of one connection.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Producers whose state a broker keeps; the one idle longest is forgotten first.
pub const PRODUCERS_MAX: usize = 100_000;
/// Items of one page of a listing.
pub const PAGE_ITEMS_MAX: usize = 1000;
