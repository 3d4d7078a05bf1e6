//! The state that outlives the log's older files: a shard and what its producers were told, kept
//! up to date entry by entry and written down in sections when a checkpoint is taken.
//!
//! What partitions hold is not part of it: the log knows that itself.

mod section;

use std::collections::HashMap;

use bytes::Bytes;
use weir_wire::id::ProducerId;
use weir_wire::message::{Message, MessageError};

use crate::change::Change;
use crate::dedup::ProducerState;
use crate::shard::{Limits, Session, Shard, Turn};
use section::{CatalogItem, GroupState, Items, ProducerItem, SessionState, TopicState};

/// Topics, plugins, bindings.
const CATALOG: &str = "catalog";
/// Producer sessions and the outcomes they may ask for again.
const PRODUCERS: &str = "producers";
/// Where consumer groups stand.
const CURSORS: &str = "cursors";

/// The state.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    shard: Shard,
    sessions: HashMap<ProducerId, ProducerState<()>>,
    changed: Changed,
}

/// Which sections changed since they were written down.
#[derive(Clone, Copy, Debug, Default)]
struct Changed {
    catalog: bool,
    producers: bool,
    cursors: bool,
}

/// Why a section or an entry cannot be taken in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MachineError {
    /// The bytes are not what this version writes.
    #[error("it cannot be read ({0}); was it written by a newer weir?")]
    Message(#[from] MessageError),
    /// The section is not known.
    #[error("this weir knows no state called \"{0}\"; use the one that wrote it, or a newer one")]
    UnknownSection(String),
}

impl Machine {
    /// An empty one.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            shard: Shard::with_limits(limits),
            ..Self::default()
        }
    }

    /// The shard, without its partitions' offsets.
    #[must_use]
    pub const fn shard(&self) -> &Shard {
        &self.shard
    }

    /// All producer sessions with the topics they address and their outcomes, the longest idle
    /// first.
    pub fn sessions(
        &self,
    ) -> impl Iterator<Item = (Session, weir_wire::id::TopicId, &ProducerState<()>)> {
        self.shard.sessions().filter_map(|(session, topic)| {
            let state = self.sessions.get(&session.producer)?;
            Some((session, topic, state))
        })
    }

    /// The log holds this change of the catalog.
    ///
    /// # Errors
    /// When the bytes cannot be read.
    pub fn metadata(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        let change = Change::decode(bytes)?;
        let forgotten = self.shard.commit_change(&change);
        self.forget(&forgotten);
        if let Some(opened) = &change.producer_opened {
            let state = ProducerState::default();
            self.sessions.insert(opened.id, state);
        }
        let stands = change.cursor_set.is_some() || change.expired.is_some();
        let topics = change.topic_deleted.is_some() || change.partitions_added.is_some();
        self.changed.cursors |= stands || topics;
        self.changed.catalog |= change.producer_opened.is_none() && !stands;
        self.changed.producers |= change.producer_opened.is_some() || !forgotten.is_empty();
        Ok(())
    }

    /// The log holds the outcome of this request.
    pub fn outcome(&mut self, turn: Turn, outcome: Bytes) {
        let forgotten = self.shard.replay_sequence(turn, outcome.len());
        if self.shard.session(turn.session).is_some()
            && let Some(state) = self.sessions.get_mut(&turn.session.producer)
        {
            state.replay(turn.sequence, outcome);
        }
        self.forget(&forgotten);
        self.changed.producers = true;
    }

    /// Takes in a section of a checkpoint, before any entry that follows it.
    ///
    /// # Errors
    /// When the section cannot be read.
    pub fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), MachineError> {
        match section {
            CATALOG => self.restore_catalog(bytes),
            PRODUCERS => self.restore_producers(bytes),
            CURSORS => self.restore_cursors(bytes),
            other => Err(MachineError::UnknownSection(other.to_owned())),
        }
    }

    /// The sections that changed since the last call, whole.
    pub fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let changed = std::mem::take(&mut self.changed);
        let mut sections = Vec::new();
        if changed.catalog {
            sections.push((CATALOG, self.catalog_section()));
        }
        if changed.producers {
            sections.push((PRODUCERS, self.producers_section()));
        }
        if changed.cursors {
            sections.push((CURSORS, self.cursors_section()));
        }
        sections
    }

    fn catalog_section(&self) -> Vec<u8> {
        let catalog = self.shard.catalog();
        let (topic, binding) = catalog.last_ids();
        let mut out = Vec::new();
        section::put(&mut out, &CatalogItem::head(topic, binding));
        for topic in catalog.topics() {
            let state = TopicState {
                id: topic.id,
                epoch: topic.binding_epoch,
                changes: topic.changes(),
                history: topic.history.events().cloned().collect(),
            };
            section::put(&mut out, &CatalogItem::topic(state));
        }
        for pushed in catalog.plugins().flat_map(|(_, versions)| versions) {
            section::put(&mut out, &CatalogItem::plugin(pushed.clone()));
        }
        out
    }

    fn restore_catalog(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        for item in Items::<CatalogItem>::new(bytes) {
            let item = item?;
            if let Some(head) = item.head {
                let catalog = self.shard.catalog_mut();
                catalog.resume_after(head.last_topic, head.last_binding);
            }
            if let Some(topic) = item.topic {
                let catalog = self.shard.catalog_mut();
                topic
                    .changes
                    .iter()
                    .for_each(|change| catalog.apply(change));
                catalog.resume_bindings(topic.id, topic.epoch, topic.history);
            }
            if let Some(pushed) = item.plugin {
                self.shard.catalog_mut().apply(&Change {
                    plugin_pushed: Some(pushed),
                    ..Change::NONE
                });
            }
        }
        Ok(())
    }

    fn producers_section(&self) -> Vec<u8> {
        let mut out = Vec::new();
        section::put(&mut out, &ProducerItem::head(self.shard.last_producer()));
        for (session, topic, state) in self.sessions() {
            let (oldest, outcomes) = state.outcomes();
            let state = SessionState {
                id: session.producer,
                epoch: session.epoch,
                topic,
                oldest,
                outcomes: outcomes.cloned().collect(),
            };
            section::put(&mut out, &ProducerItem::session(state));
        }
        out
    }

    fn restore_producers(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        for item in Items::<ProducerItem>::new(bytes) {
            let item = item?;
            if let Some(last) = item.last {
                self.shard.resume_producers_after(last);
            }
            if let Some(state) = item.session {
                self.restore_session(state);
            }
        }
        Ok(())
    }

    fn cursors_section(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (topic, name, group) in self.shard.cursors().all() {
            section::put(&mut out, &GroupState::new(topic, name, group));
        }
        out
    }

    fn restore_cursors(&mut self, bytes: &[u8]) -> Result<(), MachineError> {
        for group in Items::<GroupState>::new(bytes) {
            let (topic, name, group) = group?.into_group();
            self.shard.cursors_mut().restore(topic, name, group);
        }
        Ok(())
    }

    fn restore_session(&mut self, state: SessionState) {
        let session = Session {
            producer: state.id,
            epoch: state.epoch,
        };
        let mut forgotten = self.shard.restore_session(session, state.topic);
        let mut sequence = state.oldest;
        for outcome in &state.outcomes {
            let turn = Turn { session, sequence };
            forgotten.extend(self.shard.replay_sequence(turn, outcome.len()));
            sequence = sequence.next();
        }
        let restored = ProducerState::restored(state.oldest, state.outcomes);
        self.sessions.insert(state.id, restored);
        self.forget(&forgotten);
    }

    fn forget(&mut self, forgotten: &[ProducerId]) {
        for id in forgotten {
            self.sessions.remove(id);
        }
    }
}
