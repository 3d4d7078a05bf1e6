//! Requests about topics.

use weir_core::catalog::Topic;
use weir_core::cursors::GroupCursors;
use weir_core::shard::{ChangeRequest, Trim, TrimError};
use weir_log::{LogReader, ReadError, Totals};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::PAGE_ITEMS_MAX;
use weir_wire::name::TopicName;
use weir_wire::request::{
    CreateTopic, DeleteTopic, DescribeTopic, Done, GroupInfo, ListTopics, PartitionInfo,
    PartitionTruncated, TopicCreated, TopicDescription, TopicInfo, TopicTruncated, TopicUpdated,
    Topics, TruncateTopic, UpdateTopic,
};

use super::binding_info;
use crate::fault::IntoFault;
use crate::sequence;
use crate::state::Shared;
use crate::subscribe::{numbers, read_fault};
use crate::trim::trim;

pub(super) async fn create(shared: &Shared, request: CreateTopic) -> Result<TopicCreated, Fault> {
    let CreateTopic {
        name,
        partitions,
        settings,
    } = request;
    let request = ChangeRequest::CreateTopic {
        name: name.clone(),
        partitions,
        settings: settings.unwrap_or_default(),
    };
    sequence::change(shared, request, None).await?;
    Ok(TopicCreated {
        topic: info(shared, &existing(shared, &name)?),
    })
}

pub(super) async fn update(shared: &Shared, request: UpdateTopic) -> Result<TopicUpdated, Fault> {
    let name = request.name.clone();
    sequence::change(shared, ChangeRequest::UpdateTopic(request), None).await?;
    let topic = existing(shared, &name)?;
    Ok(TopicUpdated {
        topic: info(shared, &topic),
        settings: topic.settings,
    })
}

pub(super) async fn truncate(
    shared: &Shared,
    request: TruncateTopic,
) -> Result<TopicTruncated, Fault> {
    let before = Before::of(&request)?;
    let topic = existing(shared, &request.name)?;
    let partitions = numbers(&topic, request.partition)?;
    let reader = shared.reader.clone();
    let id = topic.id;
    let found = tokio::task::spawn_blocking(move || {
        let found = partitions.map(|partition| {
            let partition = PartitionId::new(partition);
            cut(
                &reader,
                TopicPartition {
                    topic: id,
                    partition,
                },
                before,
            )
        });
        found.collect::<Result<Vec<Cut>, ReadError>>()
    });
    let found = found
        .await
        .map_err(|error| Fault::new(ErrorCode::Internal, error.to_string()))?;
    let cuts = found.map_err(|error| read_fault(&error))?;
    let named = request.partition.is_some();
    if let Before::Offset(offset) = before
        && (named || cuts.iter().all(|cut| offset > cut.end))
        && let Some(cut) = cuts.iter().max_by_key(|cut| cut.end)
        && offset > cut.end
    {
        return Err(TrimError::BeyondEnd {
            topic: topic.name,
            partition: cut.trim.partition.partition,
            start: offset,
            end: cut.end,
        }
        .into_fault());
    }
    let trims: Vec<Trim> = cuts
        .iter()
        .map(|cut| cut.trim)
        .filter(|trim| trim.start > trim.held)
        .collect();
    trim(shared, &trims).await?;
    let partitions = cuts.iter().map(|Cut { trim, .. }| PartitionTruncated {
        partition: trim.partition.partition,
        before: trim.held,
        start: trim.held.max(trim.start),
    });
    Ok(TopicTruncated {
        partitions: partitions.collect(),
    })
}

/// What is to go.
#[derive(Clone, Copy)]
enum Before {
    Offset(Offset),
    Time(Timestamp),
}

impl Before {
    fn of(request: &TruncateTopic) -> Result<Self, Fault> {
        match (request.before_offset, request.before_time) {
            (Some(offset), None) => Ok(Self::Offset(offset)),
            (None, Some(time)) => Ok(Self::Time(time)),
            _ => {
                let text = "say either an offset or a time before which records are to go";
                Err(Fault::new(ErrorCode::InvalidArgument, text))
            }
        }
    }
}

/// Where a partition is to begin, and where it ends.
struct Cut {
    trim: Trim,
    end: Offset,
}

fn cut(reader: &LogReader, at: TopicPartition, before: Before) -> Result<Cut, ReadError> {
    let bounds = reader.bounds(at).unwrap_or_default();
    let end = bounds.high_water_mark;
    let start = match before {
        Before::Offset(offset) => offset.min(end),
        Before::Time(_) if bounds.start == end => end,
        Before::Time(time) => reader.offset_at(at, time)?,
    };
    let trim = Trim {
        partition: at,
        held: bounds.start,
        start,
    };
    Ok(Cut { trim, end })
}

pub(super) async fn delete(shared: &Shared, request: DeleteTopic) -> Result<Done, Fault> {
    sequence::change(shared, ChangeRequest::DeleteTopic(request.name), None).await?;
    Ok(Done {})
}

pub(super) fn list(shared: &Shared, request: &ListTopics) -> Topics {
    let (page, more) = {
        let shard = shared.shard.read();
        let mut topics = shard.catalog().topics_after(request.after.as_ref());
        let page: Vec<Topic> = topics.by_ref().take(PAGE_ITEMS_MAX).cloned().collect();
        (page, topics.next().is_some())
    };
    let topics = page.iter().map(|topic| info(shared, topic)).collect();
    Topics { topics, more }
}

pub(super) fn describe(
    shared: &Shared,
    request: &DescribeTopic,
) -> Result<TopicDescription, Fault> {
    let (topic, bindings, cursors) = {
        let shard = shared.shard.read();
        let topic = shard
            .existing_topic(&request.name)
            .map_err(IntoFault::into_fault)?;
        let bindings = topic.bound();
        let bindings =
            bindings.map(|(position, bound)| binding_info(shared, &shard, topic, position, bound));
        let cursors = shard.cursors().groups(topic.id);
        let cursors: Vec<_> = cursors
            .map(|(name, group)| (name.clone(), group.clone()))
            .collect();
        (topic.clone(), bindings.collect(), cursors)
    };
    // The sequencer does not wait while partitions are looked at, however many they are.
    let partitions: Vec<PartitionInfo> = (0..topic.partitions)
        .map(|partition| partition_info(shared, topic.id, PartitionId::new(partition)))
        .collect();
    let groups = cursors.into_iter().map(|(group, cursors)| GroupInfo {
        group,
        lag: lag(&cursors, &partitions),
        expired_unread: cursors.expired_unread,
    });
    Ok(TopicDescription {
        topic: info(shared, &topic),
        groups: groups.collect(),
        partitions,
        bindings,
        settings: topic.settings,
        fences: topic.fences,
    })
}

/// Records from where a group stands to the end, in the partitions that it reads. What is no
/// longer there cannot be read any more and is not awaited.
fn lag(group: &GroupCursors, partitions: &[PartitionInfo]) -> u64 {
    let behind = partitions.iter().filter_map(|partition| {
        let offset = *group.offsets.get(&partition.partition)?;
        Some(partition.end.since(offset.max(partition.start)))
    });
    behind.sum()
}

fn partition_info(shared: &Shared, topic: TopicId, partition: PartitionId) -> PartitionInfo {
    let bounds = shared.reader.bounds(TopicPartition { topic, partition });
    let Some(bounds) = bounds else {
        return PartitionInfo {
            partition,
            start: Offset::ZERO,
            end: Offset::ZERO,
            bytes: 0,
            records: 0,
            oldest: None,
            newest: None,
        };
    };
    PartitionInfo {
        partition,
        start: bounds.start,
        end: bounds.high_water_mark,
        bytes: bounds.bytes,
        records: bounds.records,
        oldest: bounds.oldest,
        newest: bounds.oldest.map(|_| bounds.last_time),
    }
}

/// The topic in short, as it is now.
fn info(shared: &Shared, topic: &Topic) -> TopicInfo {
    let Totals { bytes, records } = shared.reader.totals(topic.id);
    TopicInfo {
        id: topic.id,
        name: topic.name.clone(),
        partitions: topic.partitions,
        created: topic.created,
        records,
        bytes,
        placement_by_plugin: topic.placement_by_plugin(),
    }
}

/// The topic of that name, without holding up the sequencer any longer.
fn existing(shared: &Shared, name: &TopicName) -> Result<Topic, Fault> {
    let shard = shared.shard.read();
    let topic = shard.existing_topic(name).map_err(IntoFault::into_fault)?;
    Ok(topic.clone())
}
