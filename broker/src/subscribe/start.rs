//! Where a subscription starts in each of its partitions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use weir_core::catalog::Topic;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{Offset, PartitionId, TopicId, TopicPartition};
use weir_wire::limits::{FILTERS_MAX, REPEATED_MAX};
use weir_wire::subscribe::{
    START_EARLIEST, START_LATEST, START_OFFSET, START_TIME, Subscribe, SubscribedPartition,
};

use crate::fault::IntoFault;
use crate::state::Shared;

/// Where to go on in single partitions.
type Cursors = HashMap<(TopicId, PartitionId), Offset>;

/// The partitions of the topics, each with its start.
pub(super) fn partitions(
    shared: &Shared,
    request: &Subscribe,
) -> Result<Vec<SubscribedPartition>, Fault> {
    let invalid = |text: String| Err(Fault::new(ErrorCode::InvalidArgument, text));
    if request.topics.is_empty() {
        return invalid("a subscription names at least one topic".to_owned());
    }
    if request.filters.len() > FILTERS_MAX {
        return invalid(format!("a subscription has at most {FILTERS_MAX} filters"));
    }
    if request.start > START_TIME {
        return invalid(format!(
            "start {} does not exist; use 0 to 3",
            request.start
        ));
    }
    let cursors: Cursors = request
        .cursors
        .iter()
        .map(|cursor| ((cursor.topic, cursor.partition), cursor.offset))
        .collect();
    let mut named = HashSet::new();
    let shard = shared.shard.read();
    let mut partitions = Vec::new();
    for name in &request.topics {
        let topic = shard.existing_topic(name).map_err(IntoFault::into_fault)?;
        if !named.insert(topic.id) {
            return invalid(format!("topic \"{name}\" is named twice; name it once"));
        }
        let chosen = chosen(topic, request.partition)?;
        if partitions.len() + chosen.len() > REPEATED_MAX {
            return invalid(format!(
                "a subscription reads at most {REPEATED_MAX} partitions; take several"
            ));
        }
        for partition in chosen.map(PartitionId::new) {
            partitions.push(place(shared, request, &cursors, topic, partition)?);
        }
    }
    Ok(partitions)
}

fn chosen(topic: &Topic, only: Option<PartitionId>) -> Result<Range<u32>, Fault> {
    let count = topic.partitions;
    if let Some(partition) = only
        && partition.value() >= count
    {
        let text = format!(
            "topic \"{}\" has no partition {partition}; it has {count}, numbered from 0",
            topic.name
        );
        return Err(Fault::new(ErrorCode::UnknownPartition, text));
    }
    Ok(only.map_or(0..count, |one| one.value()..one.value() + 1))
}

fn place(
    shared: &Shared,
    request: &Subscribe,
    cursors: &Cursors,
    topic: &Topic,
    partition: PartitionId,
) -> Result<SubscribedPartition, Fault> {
    let at = TopicPartition {
        topic: topic.id,
        partition,
    };
    let bounds = shared.reader.bounds(at);
    let (start, end) = bounds.map_or((Offset::ZERO, Offset::ZERO), |bounds| {
        (bounds.start, bounds.high_water_mark)
    });
    let next = match (cursors.get(&(topic.id, partition)), request.start) {
        (Some(offset), _) => *offset,
        (None, START_EARLIEST) => start,
        (None, START_LATEST) => end,
        (None, START_OFFSET) => request.start_offset,
        (None, _) => shared.reader.offset_at(at, request.start_time),
    };
    if next < start || next > end {
        let text = format!(
            "offset {next} of topic \"{}\" partition {partition} is out of range; \
             it holds {start} to {end}",
            topic.name
        );
        return Err(Fault::new(ErrorCode::OffsetOutOfRange, text));
    }
    Ok(SubscribedPartition {
        topic: topic.id,
        name: topic.name.clone(),
        partition,
        next,
        end,
    })
}
