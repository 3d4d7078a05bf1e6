//! What the log of a broker that does not run says about its topics: their names, for tools that
//! look at a data directory from outside. Damaged parts are passed over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use weir_core::change::Change;
use weir_core::machine::Machine;
use weir_core::shard::Limits;
use weir_log::RecoveredOp;
use weir_log::Vfs;
use weir_log::offline::{self, Damage, OfflineError, StatePart};
use weir_wire::id::TopicId;
use weir_wire::message::Message;
use weir_wire::name::TopicName;

/// The section of a checkpoint that holds the topics.
const CATALOG: &str = "catalog";

/// Names of topics, by id.
#[derive(Clone, Debug, Default)]
pub struct TopicNames {
    names: BTreeMap<TopicId, TopicName>,
    deleted: BTreeSet<TopicId>,
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

    /// Whether a topic is known to be deleted.
    #[must_use]
    pub fn is_deleted(&self, topic: TopicId) -> bool {
        self.deleted.contains(&topic)
    }

    /// All of them, by id.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &TopicName)> {
        self.names.iter().map(|(id, name)| (*id, name))
    }

    fn take(&mut self, part: StatePart) {
        match part {
            StatePart::Section { name, bytes, .. } if name == CATALOG => {
                let mut machine = Machine::new(Limits::default());
                // What cannot be read names nothing; that it is damaged, the log says itself.
                if machine.restore(CATALOG, &bytes).is_ok() {
                    let topics = machine.shard().catalog().topics();
                    self.names
                        .extend(topics.map(|topic| (topic.id, topic.name.clone())));
                }
            }
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
        }
        if let Some(gone) = &change.topic_deleted {
            self.deleted.insert(gone.id);
        }
    }
}
