//! The operator: makes topics, changes them and deletes them.

use rand::Rng;
use rand::rngs::SmallRng;
use weir_core::shard::ChangeRequest;
use weir_wire::request::TopicSettings;

use crate::broker::topic_name;

/// Topics that a simulation knows by name.
pub(crate) const TOPICS: usize = 3;

/// Partitions of a topic at the beginning, at most.
const PARTITIONS_MAX: u32 = 4;

/// A topic to be made.
pub(crate) fn create(random: &mut SmallRng, topic: usize) -> ChangeRequest {
    ChangeRequest::CreateTopic {
        name: topic_name(topic),
        partitions: random.random_range(1..=PARTITIONS_MAX),
        settings: TopicSettings::default(),
    }
}

/// Something that an operator might want.
pub(crate) fn wish(random: &mut SmallRng) -> ChangeRequest {
    let topic = random.random_range(0..TOPICS);
    match random.random_range(0..4) {
        0 => ChangeRequest::DeleteTopic(topic_name(topic)),
        _ => create(random, topic),
    }
}
