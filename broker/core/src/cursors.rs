//! Where consumer groups stand, and what went before they had read it. Kept by topic, so that a
//! topic takes its groups' cursors with it.

use std::collections::BTreeMap;

use weir_wire::id::{Offset, PartitionId, TopicId, TopicPartition};
use weir_wire::name::GroupName;

use crate::change::{CursorSet, Expired, PartitionsAdded};

/// Where all groups stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    topics: BTreeMap<TopicId, BTreeMap<GroupName, GroupCursors>>,
}

/// Where a group stands in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupCursors {
    /// The next offset it will read, in each partition that it reads.
    pub offsets: BTreeMap<PartitionId, Offset>,
    /// Records that went before it had read them.
    pub expired_unread: u64,
}

impl Cursors {
    /// The groups that read a topic, in order of names.
    pub fn groups(&self, topic: TopicId) -> impl Iterator<Item = (&GroupName, &GroupCursors)> {
        self.topics.get(&topic).into_iter().flatten()
    }

    /// Every group in every topic that it reads, in order of topics.
    pub fn all(&self) -> impl Iterator<Item = (TopicId, &GroupName, &GroupCursors)> {
        let topics = self.topics.iter();
        topics.flat_map(|(topic, groups)| {
            groups
                .iter()
                .map(move |(name, group)| (*topic, name, group))
        })
    }

    /// Takes over where a group stands in a topic, as a checkpoint has it.
    pub fn restore(&mut self, topic: TopicId, name: GroupName, group: GroupCursors) {
        self.topics.entry(topic).or_default().insert(name, group);
    }

    /// The group that is least far in a partition, and where it stands.
    #[must_use]
    pub fn lowest(&self, at: TopicPartition) -> Option<(&GroupName, Offset)> {
        let standing = self
            .groups(at.topic)
            .filter_map(|(name, group)| Some((name, *group.offsets.get(&at.partition)?)));
        standing.min_by_key(|(_, offset)| *offset)
    }

    pub(crate) fn set(&mut self, change: &CursorSet) {
        let groups = self.topics.entry(change.topic).or_default();
        let group = groups.entry(change.group.clone()).or_default();
        group.offsets.insert(change.partition, change.offset);
    }

    pub(crate) fn expire(&mut self, change: &Expired) {
        let Some(groups) = self.topics.get_mut(&change.topic) else {
            return;
        };
        for lost in &change.groups {
            if let Some(group) = groups.get_mut(&lost.group)
                && let Some(offset) = group.offsets.get_mut(&change.partition)
            {
                group.expired_unread = group.expired_unread.saturating_add(lost.unread);
                *offset = change.start.max(*offset);
            }
        }
    }

    /// Whoever reads a topic reads its new partitions from their first record on.
    pub(crate) fn add_partitions(&mut self, change: &PartitionsAdded) {
        let old = change.ends.len() as u32;
        for group in self.topics.get_mut(&change.id).into_iter().flatten() {
            for partition in (old..change.partitions).map(PartitionId::new) {
                group.1.offsets.insert(partition, Offset::ZERO);
            }
        }
    }

    pub(crate) fn forget(&mut self, topic: TopicId) {
        self.topics.remove(&topic);
    }
}
