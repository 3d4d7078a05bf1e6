//! Requests about topics.

use weir_core::catalog::Topic;
use weir_core::shard::ChangeRequest;
use weir_log::Totals;
use weir_wire::error::Fault;
use weir_wire::id::{Offset, PartitionId, TopicPartition};
use weir_wire::limits::PAGE_ITEMS_MAX;
use weir_wire::request::{
    CreateTopic, DeleteTopic, DescribeTopic, Done, ListTopics, PartitionInfo, TopicCreated,
    TopicDescription, TopicInfo, Topics,
};

use super::binding_info;
use crate::fault::IntoFault;
use crate::sequence;
use crate::state::Shared;

pub(super) async fn create(shared: &Shared, request: CreateTopic) -> Result<TopicCreated, Fault> {
    let CreateTopic { name, partitions } = request;
    let request = ChangeRequest::CreateTopic {
        name: name.clone(),
        partitions,
    };
    sequence::change(shared, request, None).await?;
    let shard = shared.shard.read();
    let topic = shard.existing_topic(&name).map_err(IntoFault::into_fault)?;
    Ok(TopicCreated {
        topic: info(shared, topic),
    })
}

pub(super) async fn delete(shared: &Shared, request: DeleteTopic) -> Result<Done, Fault> {
    sequence::change(shared, ChangeRequest::DeleteTopic(request.name), None).await?;
    Ok(Done {})
}

pub(super) fn list(shared: &Shared, request: &ListTopics) -> Topics {
    let shard = shared.shard.read();
    let after = |topic: &&Topic| {
        request
            .after
            .as_ref()
            .is_none_or(|after| topic.name > *after)
    };
    let mut page = shard.catalog().topics().filter(after);
    let topics = page
        .by_ref()
        .take(PAGE_ITEMS_MAX)
        .map(|topic| info(shared, topic))
        .collect();
    Topics {
        topics,
        more: page.next().is_some(),
    }
}

pub(super) fn describe(
    shared: &Shared,
    request: &DescribeTopic,
) -> Result<TopicDescription, Fault> {
    let shard = shared.shard.read();
    let topic = shard
        .existing_topic(&request.name)
        .map_err(IntoFault::into_fault)?;
    let partitions = (0..topic.partitions)
        .map(PartitionId::new)
        .map(|partition| {
            let bounds = shared.reader.bounds(TopicPartition {
                topic: topic.id,
                partition,
            });
            let (start, end) = bounds.map_or((Offset::ZERO, Offset::ZERO), |bounds| {
                (bounds.start, bounds.high_water_mark)
            });
            PartitionInfo {
                partition,
                start,
                end,
            }
        });
    let bindings = topic
        .bindings
        .values()
        .map(|bound| binding_info(shared, &shard, topic, bound));
    Ok(TopicDescription {
        topic: info(shared, topic),
        partitions: partitions.collect(),
        bindings: bindings.collect(),
    })
}

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
