//! Changes of topics: making, changing, shortening, removing them, and where groups stand in them.

use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::{FENCE_ENDS_MAX, TOPIC_GROUPS_MAX, TOPIC_PARTITIONS_MAX, TOPICS_MAX};
use weir_wire::name::{GroupName, TopicName};
use weir_wire::request::{TopicSettings, UpdateTopic};

use super::{ChangeError, Shard};
use crate::catalog::Topic;
use crate::change::{
    Bound, Change, CursorSet, Expired, ExpiredGroup, PartitionsAdded, TopicCreated, TopicDeleted,
    TopicEpoch, TopicUpdated,
};

/// The oldest records of a partition are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trim {
    /// The partition.
    pub partition: TopicPartition,
    /// Where it begins now.
    pub held: Offset,
    /// Where it is to begin.
    pub start: Offset,
}

/// Why a partition is not shortened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrimError {
    /// The topic is gone.
    #[error("the topic was deleted meanwhile (id {0})")]
    UnknownTopic(TopicId),
    /// No such partition.
    #[error("topic \"{topic}\" has no partition {partition}; it has {partitions}, numbered from 0")]
    UnknownPartition {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// How many it has.
        partitions: u32,
    },
    /// Records that do not exist yet cannot go.
    #[error(
        "offset {start} of topic \"{topic}\" partition {partition} does not exist yet; \
         it ends at {end}: name an offset up to there"
    )]
    BeyondEnd {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// Where it was to begin.
        start: Offset,
        /// Where it ends.
        end: Offset,
    },
}

impl Shard {
    pub(super) fn plan_topic(
        &self,
        now: Timestamp,
        name: &TopicName,
        partitions: u32,
        settings: &TopicSettings,
    ) -> Result<Change, ChangeError> {
        if self.catalog.topic_named(name).is_some() {
            return Err(ChangeError::TopicExists(name.clone()));
        }
        check_partitions(partitions)?;
        if self.catalog.topic_count() >= TOPICS_MAX {
            return Err(ChangeError::Limit(format!(
                "a broker holds at most {TOPICS_MAX} topics"
            )));
        }
        let created = TopicCreated {
            id: self.catalog.next_topic_id(),
            name: name.clone(),
            partitions,
            time: now,
            settings: Some(without_zeros(settings.clone())),
        };
        Ok(Change {
            topic_created: Some(created),
            ..Change::NONE
        })
    }

    pub(super) fn plan_deletion(&self, name: &TopicName) -> Result<Change, ChangeError> {
        let id = self.existing_topic(name)?.id;
        let leads_here = |bound: &Bound| {
            let mut routes = bound.routes.iter();
            bound.dead_letters == Some(id) || routes.any(|route| route.topic == id)
        };
        let user = self
            .catalog
            .bindings()
            .find(|(from, bound)| from.id != id && leads_here(bound));
        if let Some((from, bound)) = user {
            return Err(ChangeError::TopicInUse {
                topic: name.clone(),
                binding: bound.id,
                from: from.name.clone(),
            });
        }
        Ok(Change {
            topic_deleted: Some(TopicDeleted { id }),
            ..Change::NONE
        })
    }

    pub(super) fn plan_update(
        &self,
        now: Timestamp,
        request: &UpdateTopic,
    ) -> Result<Change, ChangeError> {
        let topic = self.existing_topic(&request.name)?;
        let before = topic.settings.clone();
        let settings = without_zeros(TopicSettings {
            retention_ms: request.retention_ms.or(before.retention_ms),
            retention_bytes: request.retention_bytes.or(before.retention_bytes),
            when_unread: request.when_unread.unwrap_or(before.when_unread),
            compact: request.compact.unwrap_or(before.compact),
        });
        let updated = TopicUpdated {
            id: topic.id,
            settings,
        };
        // Asked twice for the same number, a topic gets it once.
        let partitions = request.partitions.filter(|more| *more != topic.partitions);
        let partitions_added = partitions
            .map(|partitions| self.plan_partitions(now, topic, partitions))
            .transpose()?;
        Ok(Change {
            topic_updated: Some(updated),
            partitions_added,
            ..Change::NONE
        })
    }

    fn plan_partitions(
        &self,
        now: Timestamp,
        topic: &Topic,
        partitions: u32,
    ) -> Result<PartitionsAdded, ChangeError> {
        check_partitions(partitions)?;
        if partitions < topic.partitions {
            return Err(ChangeError::Invalid(format!(
                "topic \"{}\" has {} partitions and cannot have fewer; \
                 make a topic with {partitions} and move its producers there",
                topic.name, topic.partitions
            )));
        }
        let listed: usize = topic.fences.iter().map(|fence| fence.ends.len()).sum();
        if listed + topic.partitions as usize > FENCE_ENDS_MAX {
            return Err(ChangeError::Limit(format!(
                "partitions were added to topic \"{}\" too many times: its fences may list \
                 {FENCE_ENDS_MAX} ends; make a new topic and move its producers there",
                topic.name
            )));
        }
        let epochs = self.catalog.leading_to(topic.id).map(|from| TopicEpoch {
            topic: from.id,
            epoch: from.binding_epoch.next(),
        });
        Ok(PartitionsAdded {
            id: topic.id,
            partitions,
            ends: self.ends(topic).collect(),
            epochs: epochs.collect(),
            time: now,
        })
    }

    pub(super) fn plan_cursor(
        &self,
        group: &GroupName,
        topic: &TopicName,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<Change, ChangeError> {
        let topic = self.existing_topic(topic)?;
        let at = TopicPartition {
            topic: topic.id,
            partition,
        };
        if partition.value() >= topic.partitions || offset > self.end(at) {
            return Err(ChangeError::Invalid(format!(
                "topic \"{}\" has no offset {offset} in partition {partition} to stand at",
                topic.name
            )));
        }
        let mut groups = self.cursors.groups(topic.id);
        if groups.all(|(known, _)| known != group)
            && self.cursors.groups(topic.id).count() >= TOPIC_GROUPS_MAX
        {
            return Err(ChangeError::Limit(format!(
                "a topic is read by at most {TOPIC_GROUPS_MAX} groups"
            )));
        }
        let set = CursorSet {
            group: group.clone(),
            topic: topic.id,
            partition,
            offset,
        };
        Ok(Change {
            cursor_set: Some(set),
            ..Change::NONE
        })
    }

    /// Checks that a partition may be shortened; answers which groups lose records by it, if any.
    pub fn plan_trim(&self, now: Timestamp, trim: Trim) -> Result<Option<Change>, TrimError> {
        let Trim {
            partition: at,
            held,
            start,
        } = trim;
        let topic = self.catalog.topic(at.topic);
        let topic = topic.ok_or(TrimError::UnknownTopic(at.topic))?;
        if at.partition.value() >= topic.partitions {
            return Err(TrimError::UnknownPartition {
                topic: topic.name.clone(),
                partition: at.partition,
                partitions: topic.partitions,
            });
        }
        let end = self.end(at);
        if start > end {
            return Err(TrimError::BeyondEnd {
                topic: topic.name.clone(),
                partition: at.partition,
                start,
                end,
            });
        }
        let groups = self.cursors.groups(at.topic).filter_map(|(name, group)| {
            let offset = *group.offsets.get(&at.partition)?;
            let unread = start.since(offset.max(held));
            (unread > 0).then(|| ExpiredGroup {
                group: name.clone(),
                unread,
            })
        });
        let groups: Vec<ExpiredGroup> = groups.collect();
        let expired = Expired {
            topic: at.topic,
            partition: at.partition,
            start,
            groups,
            time: now,
        };
        Ok((!expired.groups.is_empty()).then_some(Change {
            expired: Some(expired),
            ..Change::NONE
        }))
    }

    /// The offsets that the next records of a topic's partitions will have, in order.
    pub(super) fn ends(&self, topic: &Topic) -> impl Iterator<Item = Offset> {
        let id = topic.id;
        (0..topic.partitions).map(move |partition| {
            self.end(TopicPartition {
                topic: id,
                partition: PartitionId::new(partition),
            })
        })
    }

    /// The offset that the partition's next record will have.
    #[must_use]
    pub fn end(&self, at: TopicPartition) -> Offset {
        self.partitions
            .get(&at)
            .map_or(Offset::ZERO, |state| state.next)
    }
}

fn check_partitions(partitions: u32) -> Result<(), ChangeError> {
    if partitions == 0 || partitions > TOPIC_PARTITIONS_MAX {
        let text = format!("a topic has 1 to {TOPIC_PARTITIONS_MAX} partitions, not {partitions}");
        return Err(ChangeError::Invalid(text));
    }
    Ok(())
}

/// A limit of 0 is none.
fn without_zeros(settings: TopicSettings) -> TopicSettings {
    TopicSettings {
        retention_ms: settings.retention_ms.filter(|limit| *limit > 0),
        retention_bytes: settings.retention_bytes.filter(|limit| *limit > 0),
        ..settings
    }
}
