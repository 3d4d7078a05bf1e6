//! The operator: makes topics, adds partitions, drops the beginnings of partitions, moves groups
//! and deletes topics.

use rand::Rng;
use rand::rngs::SmallRng;
use weir_core::shard::ChangeRequest;
use weir_wire::id::{Offset, PartitionId};
use weir_wire::request::{TopicSettings, UpdateTopic};

use crate::broker::topic_name;

/// Topics that a simulation knows by name.
pub(crate) const TOPICS: usize = 3;

/// Partitions of a topic at the beginning, at most.
const PARTITIONS_MAX: u32 = 4;
/// Partitions of a topic in the end, at most.
const ADDED_MAX: u32 = 8;

/// Something that an operator might want.
#[derive(Debug)]
pub(crate) enum Wish {
    Change(Box<ChangeRequest>),
    /// Drop the beginning of some partition.
    Trim,
}

pub(crate) fn wish(random: &mut SmallRng) -> Wish {
    let topic = topic_name(random.random_range(0..TOPICS));
    let settings = TopicSettings::default();
    Wish::Change(Box::new(match random.random_range(0..16) {
        0 => ChangeRequest::DeleteTopic(topic),
        1..=6 => return Wish::Trim,
        7..=8 => ChangeRequest::UpdateTopic(UpdateTopic {
            name: topic,
            retention_ms: None,
            retention_bytes: None,
            when_unread: None,
            compact: None,
            partitions: Some(random.random_range(1..=ADDED_MAX)),
        }),
        9 => ChangeRequest::SetCursor {
            group: ["eager", "lazy"][random.random_range(0..2)]
                .parse()
                .expect("letters make a name"),
            topic,
            partition: PartitionId::new(random.random_range(0..PARTITIONS_MAX)),
            offset: Offset::new(random.random_range(0..50)),
        },
        _ => ChangeRequest::CreateTopic {
            name: topic,
            partitions: random.random_range(1..=PARTITIONS_MAX),
            settings,
        },
    }))
}
