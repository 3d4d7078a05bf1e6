//! Where a subscription starts in each of its partitions.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use weir_core::catalog::Topic;
use weir_log::ReadError;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::{FILTERS_MAX, REPEATED_MAX};
use weir_wire::name::TopicName;
use weir_wire::subscribe::{
    START_EARLIEST, START_LATEST, START_TIME, Subscribe, SubscribedPartition,
};

use super::lane::read_fault;
use crate::fault::IntoFault;
use crate::state::Shared;

/// Where to go on in single partitions.
type Cursors = HashMap<(TopicId, PartitionId), Offset>;

/// A partition that is to be read.
struct Chosen {
    at: TopicPartition,
    name: TopicName,
}

/// The partitions of the topics, each with its start.
pub(super) async fn partitions(
    shared: &Shared,
    request: &Subscribe,
) -> Result<Vec<SubscribedPartition>, Fault> {
    let chosen = chosen(shared, request)?;
    let mut cursors: Cursors = request
        .cursors
        .iter()
        .map(|cursor| ((cursor.topic, cursor.partition), cursor.offset))
        .collect();
    if request.start == START_TIME && !request.resumed {
        let at = chosen.iter().map(|one| one.at);
        let unknown = at.filter(|at| !cursors.contains_key(&(at.topic, at.partition)));
        let found = offsets_at(shared, unknown.collect(), request.start_time).await?;
        cursors.extend(found);
    }
    chosen
        .into_iter()
        .map(|one| place(shared, request, &cursors, one))
        .collect()
}

/// Where each of the partitions was at that time. Asks the disk, so off this thread.
async fn offsets_at(
    shared: &Shared,
    partitions: Vec<TopicPartition>,
    time: Timestamp,
) -> Result<Cursors, Fault> {
    let reader = shared.reader.clone();
    let look = move || {
        let mut found = Cursors::new();
        for at in partitions {
            found.insert((at.topic, at.partition), reader.offset_at(at, time)?);
        }
        Ok(found)
    };
    let found = tokio::task::spawn_blocking(look).await;
    let found = found.map_err(|error| Fault::new(ErrorCode::Internal, error.to_string()))?;
    found.map_err(|error: ReadError| read_fault(&error))
}

fn chosen(shared: &Shared, request: &Subscribe) -> Result<Vec<Chosen>, Fault> {
    let invalid = |text: String| Err(Fault::new(ErrorCode::InvalidArgument, text));
    if request.topics.is_empty() {
        return invalid("a subscription names at least one topic".to_owned());
    }
    if request.filters.len() > FILTERS_MAX {
        return invalid(format!("a subscription has at most {FILTERS_MAX} filters"));
    }
    if request.projections.len() > FILTERS_MAX {
        return invalid(format!(
            "a subscription has at most {FILTERS_MAX} projections"
        ));
    }
    if request.start > START_TIME {
        return invalid(format!(
            "start {} does not exist; use 0 to 3",
            request.start
        ));
    }
    let mut named = HashSet::new();
    let shard = shared.shard.read();
    let mut partitions = Vec::new();
    for name in &request.topics {
        let topic = shard.existing_topic(name).map_err(IntoFault::into_fault)?;
        if !named.insert(topic.id) {
            return invalid(format!("topic \"{name}\" is named twice; name it once"));
        }
        let numbers = numbers(topic, request.partition)?;
        if partitions.len() + numbers.len() > REPEATED_MAX {
            return invalid(format!(
                "a subscription reads at most {REPEATED_MAX} partitions; take several"
            ));
        }
        partitions.extend(numbers.map(PartitionId::new).map(|partition| Chosen {
            at: TopicPartition {
                topic: topic.id,
                partition,
            },
            name: topic.name.clone(),
        }));
    }
    Ok(partitions)
}

/// The partitions of a topic, or the one that is meant.
pub(crate) fn numbers(topic: &Topic, only: Option<PartitionId>) -> Result<Range<u32>, Fault> {
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
    chosen: Chosen,
) -> Result<SubscribedPartition, Fault> {
    let Chosen { at, name } = chosen;
    let bounds = shared.reader.bounds(at);
    let (start, end) = bounds.map_or((Offset::ZERO, Offset::ZERO), |bounds| {
        (bounds.start, bounds.high_water_mark)
    });
    let next = match (cursors.get(&(at.topic, at.partition)), request.start) {
        (Some(offset), _) => *offset,
        (None, _) if request.resumed => start,
        (None, START_EARLIEST) => start,
        (None, START_LATEST) => end,
        (None, _) => request.start_offset,
    };
    if next < start || next > end {
        let text = format!(
            "offset {next} of topic \"{name}\" partition {} is out of range; \
             it holds {start} to {end}",
            at.partition
        );
        return Err(Fault::new(ErrorCode::OffsetOutOfRange, text));
    }
    Ok(SubscribedPartition {
        topic: at.topic,
        name,
        partition: at.partition,
        next,
        end,
    })
}
