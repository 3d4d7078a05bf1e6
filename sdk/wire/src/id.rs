//! Ids and counts, each a type of its own, so that no signature takes a bare integer.
//!
//! What is durable refers to ids, never to names: a topic created anew under an old name is
//! another topic.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Wraps the number.
            #[must_use]
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// The plain number.
            #[must_use]
            pub const fn value(self) -> $inner {
                self.0
            }

            /// The number after this one; the largest has none and stays, since numbers come
            /// from outside too.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A topic, for as long as it exists. Never reused.
    TopicId(u64)
}
number! {
    /// A partition's index within its topic, from 0.
    PartitionId(u32)
}
number! {
    /// A record's position in its partition, from 0, without gaps at the time of the append.
    Offset(u64)
}
number! {
    /// A producer, as the broker named it. Never reused.
    ProducerId(u64)
}
number! {
    /// Counts the sessions of one producer; a session with an older one is fenced.
    ProducerEpoch(u32)
}
number! {
    /// Counts the produce requests of one producer epoch, from 0, without gaps.
    Sequence(u64)
}
number! {
    /// A binding of a plugin to a hook. Never reused.
    BindingId(u64)
}
number! {
    /// Counts the changes of the bindings of one topic, from 0 (no binding yet).
    BindingEpoch(u64)
}
number! {
    /// What is sequenced, and later replicated, together. One on a single node.
    ShardId(u32)
}
number! {
    /// The term of a shard's leader: 1 on a single node.
    Term(u64)
}
number! {
    /// An entry's position in its shard, from 1.
    EntryIndex(u64)
}
number! {
    /// The leader epoch stamped into stored batches (Kafka's `partitionLeaderEpoch`).
    LeaderEpoch(u32)
}
number! {
    /// A subscription within its connection, chosen by the broker.
    SubscriptionId(u64)
}
number! {
    /// Milliseconds since the Unix epoch, UTC (Kafka's unit for record and append times).
    Timestamp(i64)
}

impl Offset {
    /// The first offset of a partition.
    pub const ZERO: Self = Self(0);

    /// The offset `count` records further on, at most the largest.
    #[must_use]
    pub const fn advance(self, count: u32) -> Self {
        Self(self.0.saturating_add(count as u64))
    }

    /// How many offsets lie between `earlier` and this one; 0 if it is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition within it.
    pub partition: PartitionId,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "topic id {} partition {}", self.topic, self.partition)
    }
}

/// The content hash (SHA-256) of a plugin's component: its immutable version.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PluginVersion([u8; 32]);

impl PluginVersion {
    /// Wraps a SHA-256 digest.
    #[must_use]
    pub const fn new(digest: [u8; 32]) -> Self {
        Self(digest)
    }

    /// The digest.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hex digits, as people see and type it.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PluginVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PluginVersion({self})")
    }
}
