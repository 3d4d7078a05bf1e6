//! The messages of a subscription.
//!
//! The client opens a stream with `Subscribe` and keeps it for `Credit`; the broker answers
//! `Subscribed` and opens unidirectional streams (lanes), each starting with `LaneOpened`, that
//! carry `Records` and `Progress`. The broker sends no more records and bytes than it has credit
//! for; a batch goes out when credit for one record and one byte is left, so credit may end below
//! zero by one batch. Finishing the client's stream ends the subscription.

use bytes::Bytes;

use crate::frame::{FrameMessage, Kind};
use crate::id::{Offset, PartitionId, SubscriptionId, Timestamp, TopicId};
use crate::message;
use crate::name::{PluginName, TopicName};
use crate::plugin::ErrorPolicy;
use crate::request::{BindingLimits, Setting, frames};

message! {
    /// Subscribe to topics.
    pub struct Subscribe {
        /// The topics.
        1 => topics: Vec<TopicName>,
        /// Only this partition of each.
        2 => partition: Option<PartitionId>,
        /// Where to start: 0 earliest, 1 latest, 2 at `start_offset`, 3 at `start_time`.
        3 => start: u32,
        /// For start 2.
        4 => start_offset: Offset,
        /// For start 3: the first batch appended then or later.
        5 => start_time: Timestamp,
        /// Where to go on in single partitions, before `start`: after a lost connection.
        6 => cursors: Vec<Cursor>,
        /// Filters that a record must pass, in order.
        7 => filters: Vec<FilterSpec>,
        /// Bytes of batches that the broker may send.
        8 => credit_bytes: u64,
        /// Records that the broker may send.
        9 => credit_records: u64,
        /// Whether `Records.ordering_keys` is wanted.
        10 => ordering_keys: bool,
        /// Whether it goes on with an earlier one: then a partition without a cursor is new, and
        /// is read from its first record, whatever `start` says.
        11 => resumed: bool,
        /// What records are shown through that passed all filters, in order.
        12 => projections: Vec<FilterSpec>,
    }

    /// A position in a partition.
    pub struct Cursor {
        /// The topic.
        1 => topic: TopicId,
        /// The partition.
        2 => partition: PartitionId,
        /// The next offset.
        3 => offset: Offset,
    }

    /// A filter or projection of a subscription.
    pub struct FilterSpec {
        /// The plugin.
        1 => plugin: PluginName,
        /// Its version, or the first digits of it; the latest without.
        2 => version: Option<String>,
        /// Its settings.
        3 => config: Vec<Setting>,
        /// What happens to a record on which it fails; `fail` without.
        4 => on_error: Option<ErrorPolicy>,
        /// What a call of it may cost; the broker's defaults without.
        5 => limits: Option<BindingLimits>,
    }

    /// The subscription.
    pub struct Subscribed {
        /// Its id on this connection.
        1 => id: SubscriptionId,
        /// What it reads.
        2 => partitions: Vec<SubscribedPartition>,
    }

    /// A partition that a subscription reads.
    pub struct SubscribedPartition {
        /// The topic's id.
        1 => topic: TopicId,
        /// The topic's name.
        2 => name: TopicName,
        /// The partition.
        3 => partition: PartitionId,
        /// The first offset that will be looked at.
        4 => next: Offset,
        /// The high-water mark when the subscription began.
        5 => end: Offset,
    }

    /// The broker may send that much more.
    pub struct Credit {
        /// Bytes of batches.
        1 => bytes: u64,
        /// Records.
        2 => records: u64,
    }

    /// This stream carries records of that subscription from now on.
    pub struct LaneOpened {
        /// The subscription.
        1 => subscription: SubscriptionId,
    }

    /// Records (payload: one record batch, its base offset as stored).
    pub struct Records {
        /// The topic.
        1 => topic: TopicId,
        /// The partition.
        2 => partition: PartitionId,
        /// The offset after everything that this batch covers, kept or filtered out.
        3 => next: Offset,
        /// When the batch was appended.
        4 => append_time: Timestamp,
        /// Where wanted and known: a u64 (little-endian) per record in the payload, the XXH3-64
        /// of its ordering key, 0 for none.
        5 => ordering_keys: Bytes,
        /// Records that filters left out since the last frame for this partition.
        6 => filtered_out: u64,
        /// The high-water mark when this was sent: lag is `end` − `next`.
        7 => end: Offset,
        /// Records in the payload.
        8 => count: u32,
    }

    /// How far the broker has looked in a partition where nothing was to be sent.
    pub struct Progress {
        /// The topic.
        1 => topic: TopicId,
        /// The partition.
        2 => partition: PartitionId,
        /// The next offset that will be looked at.
        3 => next: Offset,
        /// The high-water mark when this was sent.
        4 => end: Offset,
        /// Records that filters left out since the last frame for this partition.
        5 => filtered_out: u64,
    }
}

frames! {
    Subscribe; Subscribed; Credit; LaneOpened; Records; Progress;
}

/// `Subscribe.start`: the first offset held.
pub const START_EARLIEST: u32 = 0;
/// `Subscribe.start`: the high-water mark.
pub const START_LATEST: u32 = 1;
/// `Subscribe.start`: at `start_offset`.
pub const START_OFFSET: u32 = 2;
/// `Subscribe.start`: at `start_time`.
pub const START_TIME: u32 = 3;
