//! What the log of a broker that does not run says about its topics, for tools that look at a data
//! directory from outside: damaged parts are passed over. And whether a broker would take it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use weir_core::change::Change;
use weir_core::machine::Machine;
use weir_core::shard::Limits;
use weir_log::RecoveredOp;
use weir_log::Vfs;
use weir_log::offline::{self, Damage, OfflineError, StatePart, Verification};
use weir_wire::id::{PartitionId, TopicId, TopicPartition};
use weir_wire::message::Message;
use weir_wire::name::TopicName;

use crate::broker::recover::Replay;

/// The section of a checkpoint that holds the topics.
const CATALOG: &str = "catalog";

/// Reads every byte of a log and checks it; see [`offline::verify`]. What it holds is taken in as
/// by a broker that starts.
///
/// # Errors
/// When there is no log, or it cannot be read at all.
pub fn verify(
    vfs: &Arc<dyn Vfs>,
    log: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OfflineError> {
    offline::verify(vfs, log, Replay::new(Limits::default()), progress)
}

/// Names of topics, by id.
#[derive(Clone, Debug, Default)]
pub struct TopicNames {
    names: BTreeMap<TopicId, TopicName>,
    /// How many partitions each has.
    partitions: BTreeMap<TopicId, u32>,
    deleted: BTreeSet<TopicId>,
    /// The id that the next topic had when the checkpoint was written: of those below it, all that
    /// were not deleted are in its catalog.
    next: TopicId,
    is_incomplete: bool,
}

impl TopicNames {
    /// Reads them from a log's directory, with what was found damaged on the way.
    ///
    /// # Errors
    /// When there is no log, or it cannot be read at all.
    pub fn read(vfs: &dyn Vfs, log: &Path) -> Result<(Self, Vec<Damage>), OfflineError> {
        let mut topics = Self::default();
        let damages = offline::state(vfs, log, &mut |part| topics.take(part))?;
        Ok((topics, damages))
    }

    /// The name of a topic, deleted or not.
    #[must_use]
    pub fn name(&self, topic: TopicId) -> Option<&TopicName> {
        self.names.get(&topic)
    }

    /// Whether the checkpoint's catalog cannot be read: then there may be topics without a name.
    #[must_use]
    pub const fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Whether a topic is known to be deleted. Once a checkpoint is behind its deletion, that its
    /// name is missing is all that tells.
    #[must_use]
    pub fn is_deleted(&self, topic: TopicId) -> bool {
        let is_named = self.names.contains_key(&topic);
        self.deleted.contains(&topic) || topic < self.next && !is_named
    }

    /// All of them, by id.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &TopicName)> {
        self.names.iter().map(|(id, name)| (*id, name))
    }

    /// The partitions of those that are not deleted.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        let kept = self.partitions.iter();
        let kept = kept.filter(|(topic, _)| !self.is_deleted(**topic));
        let numbers = kept.flat_map(|(topic, count)| (0..*count).map(|number| (*topic, number)));
        numbers
            .map(|(topic, number)| TopicPartition {
                topic,
                partition: PartitionId::new(number),
            })
            .collect()
    }

    fn take(&mut self, part: StatePart) {
        match part {
            StatePart::Section { name, bytes, .. } if name == CATALOG => {
                let mut machine = Machine::new(Limits::default());
                // What cannot be read names nothing; that it is damaged, the log says itself.
                if machine.restore(CATALOG, &bytes).is_ok() {
                    let catalog = machine.shard().catalog();
                    self.next = catalog.next_topic_id();
                    for topic in catalog.topics() {
                        self.names.insert(topic.id, topic.name.clone());
                        self.partitions.insert(topic.id, topic.partitions);
                    }
                } else {
                    self.is_incomplete = true;
                }
            }
            StatePart::Lost { name } if name == CATALOG => self.is_incomplete = true,
            StatePart::Entry(entry) => {
                for op in &entry.ops {
                    if let RecoveredOp::Metadata(bytes) = op
                        && let Ok(change) = Change::decode(bytes)
                    {
                        self.change(&change);
                    }
                }
            }
            _ => {}
        }
    }

    fn change(&mut self, change: &Change) {
        if let Some(made) = &change.topic_created {
            self.names.insert(made.id, made.name.clone());
            self.partitions.insert(made.id, made.partitions);
        }
        if let Some(more) = &change.partitions_added {
            self.partitions.insert(more.id, more.partitions);
        }
        if let Some(gone) = &change.topic_deleted {
            self.deleted.insert(gone.id);
        }
    }
}
