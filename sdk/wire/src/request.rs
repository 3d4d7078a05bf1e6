//! The messages of control streams: each request, and what answers it.

use bytes::Bytes;

use crate::error::{ErrorCode, Fault};
use crate::frame::{FrameMessage, Kind};
use crate::id::{BindingEpoch, BindingId, Offset, PartitionId, PluginVersion, Timestamp, TopicId};
use crate::message;
use crate::name::{GroupName, PluginName, TopicName};
use crate::plugin::{ErrorPolicy, Hook};
use crate::topic::WhenUnread;

mod bindings;

pub use bindings::{
    BindingEvent, BindingLimits, DescribeHistory, FetchPlugin, History, LimitOutOfRange, LogCursor,
    LogLine, PluginFetched, PluginLogLines, PluginLogs, Quarantine, Rollback, SubscriptionPlugin,
    TopicEnds, Unquarantine,
};

macro_rules! frames {
    ($($message:ident;)*) => {$(
        impl FrameMessage for $message {
            const KIND: Kind = Kind::$message;
        }
    )*};
}
pub(crate) use frames;

message! {
    /// Who the client is.
    pub struct Hello {
        /// The protocol version it speaks: 1.
        1 => version: u32,
        /// The token, where it has one; else the client certificate counts.
        2 => token: Option<String>,
        /// Program and version, for logs.
        3 => client: String,
    }

    /// The client is in.
    pub struct Welcome {
        /// The protocol version both speak from now on.
        1 => version: u32,
        /// The broker's version, for people.
        2 => broker: String,
        /// The broker's data directory, as an id: a client that finds another one has been moved.
        3 => node_id: u64,
    }

    /// The request failed.
    pub struct Error {
        /// For programs.
        1 => code: ErrorCode,
        /// For people.
        2 => message: String,
        /// When it may work, in milliseconds from now.
        3 => retry_after_ms: Option<u64>,
        /// The record of the request that it is about, from 0.
        4 => record: Option<u32>,
    }

    /// The request is done.
    pub struct Done {}

    /// Make a topic.
    pub struct CreateTopic {
        /// Its name.
        1 => name: TopicName,
        /// How many partitions.
        2 => partitions: u32,
        /// What is kept, and for how long; everything for ever without.
        3 => settings: Option<TopicSettings>,
    }

    /// The topic made.
    pub struct TopicCreated {
        /// The topic.
        1 => topic: TopicInfo,
    }

    /// What a topic keeps, and for how long.
    #[derive(Default)]
    pub struct TopicSettings {
        /// Records appended longer ago than so many milliseconds may go; 0 is no limit.
        1 => retention_ms: Option<u64>,
        /// So many bytes of batches stay in each partition, older ones may go; 0 is no limit.
        2 => retention_bytes: Option<u64>,
        /// What happens to records that may go while a group has not read them.
        3 => when_unread: WhenUnread,
        /// Whether only the latest record of each key is sure to stay.
        4 => compact: bool,
    }

    /// Change a topic; what is absent stays as it is.
    pub struct UpdateTopic {
        /// Its name.
        1 => name: TopicName,
        /// Limits its age, in milliseconds; 0 removes the limit.
        2 => retention_ms: Option<u64>,
        /// Limits its bytes per partition; 0 removes the limit.
        3 => retention_bytes: Option<u64>,
        /// What happens to records that may go while a group has not read them.
        4 => when_unread: Option<WhenUnread>,
        /// Whether only the latest record of each key is sure to stay.
        5 => compact: Option<bool>,
        /// How many partitions it is to have; never less than it has.
        6 => partitions: Option<u32>,
    }

    /// The topic as it is now.
    pub struct TopicUpdated {
        /// The topic.
        1 => topic: TopicInfo,
        /// Its settings.
        2 => settings: TopicSettings,
    }

    /// Remove the oldest records of a topic; either an offset or a time says which.
    pub struct TruncateTopic {
        /// Its name.
        1 => name: TopicName,
        /// Those below this offset.
        2 => before_offset: Option<Offset>,
        /// The batches appended before this time.
        3 => before_time: Option<Timestamp>,
        /// Only in this partition; in every one without.
        4 => partition: Option<PartitionId>,
    }

    /// The records are gone.
    pub struct TopicTruncated {
        /// The partitions that were looked at, in order.
        1 => partitions: Vec<PartitionTruncated>,
    }

    /// What a truncation did to a partition.
    pub struct PartitionTruncated {
        /// Which one.
        1 => partition: PartitionId,
        /// The first offset it held before.
        2 => before: Offset,
        /// The first offset it holds now.
        3 => start: Offset,
    }

    /// Remove a topic and its records.
    pub struct DeleteTopic {
        /// Its name.
        1 => name: TopicName,
    }

    /// Which topics there are.
    pub struct ListTopics {
        /// Only those after this name, in order of names.
        1 => after: Option<TopicName>,
    }

    /// A page of topics.
    pub struct Topics {
        /// In order of names.
        1 => topics: Vec<TopicInfo>,
        /// Whether more follow.
        2 => more: bool,
    }

    /// A topic in short.
    pub struct TopicInfo {
        /// Its id.
        1 => id: TopicId,
        /// Its name.
        2 => name: TopicName,
        /// How many partitions.
        3 => partitions: u32,
        /// When it was made.
        4 => created: Timestamp,
        /// Records in it.
        5 => records: u64,
        /// Their bytes, as batches.
        6 => bytes: u64,
        /// Whether a plugin chooses key or route, and with them the partition.
        7 => placement_by_plugin: bool,
    }

    /// A topic in detail.
    pub struct DescribeTopic {
        /// Its name.
        1 => name: TopicName,
    }

    /// The detail.
    pub struct TopicDescription {
        /// The topic.
        1 => topic: TopicInfo,
        /// Its partitions, in order.
        2 => partitions: Vec<PartitionInfo>,
        /// Its bindings, in the order in which they run.
        3 => bindings: Vec<BindingInfo>,
        /// What it keeps, and for how long.
        4 => settings: TopicSettings,
        /// When partitions were added, the oldest first.
        5 => fences: Vec<Fence>,
        /// The groups that read it, in order of names.
        6 => groups: Vec<GroupInfo>,
    }

    /// A partition.
    pub struct PartitionInfo {
        /// Which one.
        1 => partition: PartitionId,
        /// The first offset it holds.
        2 => start: Offset,
        /// The high-water mark: the offset of the next record.
        3 => end: Offset,
        /// Bytes of its batches.
        4 => bytes: u64,
        /// Records in it; less than `end` − `start` where compaction removed some.
        5 => records: u64,
        /// When its oldest batch was appended, if it holds any.
        6 => oldest: Option<Timestamp>,
        /// When its newest batch was appended, if it holds any.
        7 => newest: Option<Timestamp>,
    }

    /// Partitions were added: from here on a key may be in another one than before.
    pub struct Fence {
        /// How many there were before.
        1 => partitions: u32,
        /// Where each of these ended: records below are from before.
        2 => ends: Vec<Offset>,
        /// When.
        3 => time: Timestamp,
    }

    /// How far a group has read a topic.
    pub struct GroupInfo {
        /// The group.
        1 => group: GroupName,
        /// Records that it has not read yet.
        2 => lag: u64,
        /// Records that were removed before it had read them.
        3 => expired_unread: u64,
    }

    /// Upload a component.
    pub struct PushPlugin {
        /// The name it is to be a version of.
        1 => name: PluginName,
    }

    /// The version it became.
    pub struct PluginPushed {
        /// The version.
        1 => version: PluginVersionInfo,
        /// Whether this name had this version already.
        2 => known: bool,
    }

    /// A version of a plugin.
    pub struct PluginVersionInfo {
        /// Its content hash.
        1 => version: PluginVersion,
        /// Bytes of the component.
        2 => bytes: u64,
        /// The hooks it exports; of transform and project, which share an interface, both.
        3 => hooks: Vec<Hook>,
        /// When it was first pushed.
        4 => pushed: Timestamp,
    }

    /// Which plugins there are.
    pub struct ListPlugins {
        /// Only those after this name, in order of names.
        1 => after: Option<PluginName>,
    }

    /// A page of plugins.
    pub struct Plugins {
        /// In order of names.
        1 => plugins: Vec<PluginInfo>,
        /// Whether more follow.
        2 => more: bool,
    }

    /// A plugin.
    pub struct PluginInfo {
        /// Its name.
        1 => name: PluginName,
        /// Its versions, the latest last.
        2 => versions: Vec<PluginVersionInfo>,
        /// How many bindings use one of them.
        3 => bindings: u64,
    }

    /// A plugin in detail.
    pub struct DescribePlugin {
        /// Its name.
        1 => name: PluginName,
        /// Only bindings of topics after this one, in order of names.
        2 => after: Option<TopicName>,
    }

    /// The detail, with a page of bindings.
    pub struct PluginDescription {
        /// The plugin.
        1 => plugin: PluginInfo,
        /// The bindings that use it, in order of their topics' names.
        2 => bindings: Vec<BindingInfo>,
        /// Whether more bindings follow, those of further topics.
        3 => more: bool,
        /// With the last page, the filters and projections of subscriptions that use it: those that
        /// rest first, then those that failed.
        4 => subscriptions: Vec<SubscriptionPlugin>,
        /// How many more of these there are.
        5 => subscriptions_unlisted: u64,
    }

    /// Remove a plugin, or one version of it.
    pub struct RemovePlugin {
        /// Its name.
        1 => name: PluginName,
        /// The version, or the first digits of it; all of them without.
        2 => version: Option<String>,
    }

    /// Bind a plugin to a hook of a topic. The bindings of a hook are a chain: this one is inserted
    /// at `position`, or takes the place of `replace`. Without either it takes the place of the
    /// plugin's one binding there, is appended if the plugin has none, and is refused if it has
    /// several.
    pub struct Bind {
        /// The plugin.
        1 => plugin: PluginName,
        /// Its version, or the first digits of it; the latest without.
        2 => version: Option<String>,
        /// The topic.
        3 => topic: TopicName,
        /// The hook.
        4 => hook: Hook,
        /// The plugin's settings.
        5 => config: Vec<Setting>,
        /// For the hook `route`: where each value leads.
        6 => routes: Vec<Route>,
        /// What happens to a record whose hook failed; the hook's default without.
        7 => on_error: Option<ErrorPolicy>,
        /// The place in the chain, from 0, that it is inserted at.
        8 => position: Option<u32>,
        /// The binding of this hook that it takes the place of.
        9 => replace: Option<BindingId>,
        /// What its calls may cost; the broker's defaults without.
        10 => limits: Option<BindingLimits>,
    }

    /// A setting of a plugin.
    pub struct Setting {
        /// Its name.
        1 => name: String,
        /// Its value.
        2 => value: String,
    }

    /// Where a value that a route plugin names leads.
    pub struct Route {
        /// The value; `*` stands for every value not declared.
        1 => value: String,
        /// The topic.
        2 => topic: TopicName,
        /// The partition; without one, the key decides.
        3 => partition: Option<PartitionId>,
    }

    /// The binding made.
    pub struct Bound {
        /// The binding.
        1 => binding: BindingInfo,
        /// The binding it took the place of.
        2 => replaced: Option<BindingId>,
    }

    /// A binding.
    pub struct BindingInfo {
        /// Its id.
        1 => id: BindingId,
        /// The epoch that the topic's bindings have since it was made.
        2 => epoch: BindingEpoch,
        /// The topic.
        3 => topic: TopicName,
        /// The hook.
        4 => hook: Hook,
        /// The plugin.
        5 => plugin: PluginName,
        /// Its version.
        6 => version: PluginVersion,
        /// The plugin's settings.
        7 => config: Vec<Setting>,
        /// The declared routes.
        8 => routes: Vec<Route>,
        /// What happens to a record whose hook failed.
        9 => on_error: ErrorPolicy,
        /// What it has done since the broker started.
        10 => counters: BindingCounters,
        /// Its place in the chain of its hook, from 0.
        11 => position: u32,
        /// What its calls may cost, where that was said.
        12 => limits: Option<BindingLimits>,
        /// When it was made; 0 if that was before brokers wrote it down.
        13 => time: Timestamp,
        /// Where records go that its policy dead-letters.
        14 => dead_letters: Option<TopicName>,
    }

    /// What a binding has done since the broker started.
    pub struct BindingCounters {
        /// Records it saw.
        1 => records: u64,
        /// Records on which it failed.
        2 => failed: u64,
        /// Calls of the component.
        3 => calls: u64,
        /// CPU time of these calls, in nanoseconds.
        4 => cpu_ns: u64,
        /// The last failure.
        5 => last_error: Option<String>,
        /// The most memory one of its instances had, in bytes.
        6 => memory_bytes: u64,
        /// Records that it kept, placed, gave a key, or made.
        7 => records_out: u64,
        /// Traps.
        8 => traps: u64,
        /// Calls that were stopped at a limit.
        9 => limits: u64,
        /// Whether it gave two answers to one question: what it says is not remembered then.
        10 => impure: bool,
        /// Why it rests, while it does.
        11 => quarantine: Option<Quarantine>,
        /// Calls of the binding by how long they took: up to 50 µs, 100 µs, 250 µs, and so on up
        /// to 1 s, then longer ones.
        12 => call_times: Vec<u64>,
        /// How long they took in all, in nanoseconds.
        13 => call_ns: u64,
        /// Log lines left out because there were more than it may log.
        14 => log_lines_suppressed: u64,
    }

    /// End a binding.
    pub struct Unbind {
        /// The binding.
        1 => binding: BindingId,
    }

    /// How the broker is.
    pub struct Status {}

    /// How it is.
    pub struct BrokerStatus {
        /// Its version.
        1 => version: String,
        /// Since when it runs.
        2 => started: Timestamp,
        /// Topics.
        3 => topics: u64,
        /// Partitions of all topics.
        4 => partitions: u64,
        /// Connections.
        5 => connections: u64,
        /// Producer sessions.
        6 => producers: u64,
        /// Subscriptions.
        7 => subscriptions: u64,
        /// Records stored since the start.
        8 => records_in: u64,
        /// Their bytes.
        9 => bytes_in: u64,
        /// Records delivered since the start.
        10 => records_out: u64,
        /// Their bytes.
        11 => bytes_out: u64,
        /// Bytes of the log on disk.
        12 => log_bytes: u64,
        /// Free bytes on its file system.
        13 => free_bytes: u64,
        /// Resident memory, in bytes.
        14 => memory_bytes: u64,
        /// What an operator ought to know, in sentences.
        15 => warnings: Vec<String>,
        /// The bindings, without `config` and `routes`: `DescribePlugin` tells those.
        16 => bindings: Vec<BindingInfo>,
        /// The data directory.
        17 => data_dir: String,
    }
}

frames! {
    Hello; Welcome; Error; Done;
    CreateTopic; TopicCreated; DeleteTopic; ListTopics; Topics; DescribeTopic; TopicDescription;
    UpdateTopic; TopicUpdated; TruncateTopic; TopicTruncated;
    PushPlugin; PluginPushed; ListPlugins; Plugins; DescribePlugin; PluginDescription;
    RemovePlugin; Bind; Bound; Unbind; Status; BrokerStatus;
    Rollback; DescribeHistory; History; Unquarantine; PluginLogs; PluginLogLines; FetchPlugin;
    PluginFetched;
}

impl From<&Fault> for Error {
    fn from(fault: &Fault) -> Self {
        Self {
            code: fault.code,
            message: fault.message.clone(),
            retry_after_ms: fault.retry_after.map(|wait| wait.as_millis() as u64),
            record: fault.record,
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self {
            code: error.code,
            message: error.message,
            retry_after: error.retry_after_ms.map(std::time::Duration::from_millis),
            record: error.record,
        }
    }
}

/// An empty payload, for frames that have none.
pub const NO_PAYLOAD: Bytes = Bytes::new();
