//! The state of everything that is sequenced together: offsets, producers, the catalog.
//!
//! Each step is planned first (nothing changes, it may be refused) and committed once the log
//! took the entry, so that a refused entry leaves no trace.

mod bindings;
mod changes;
mod producers;
mod topics;

use std::collections::HashMap;

use weir_wire::id::{
    BindingEpoch, LeaderEpoch, Offset, PartitionId, ProducerId, Sequence, Term, Timestamp, TopicId,
    TopicPartition,
};

use crate::catalog::Catalog;
use crate::change::Change;
use crate::cursors::Cursors;
use crate::place::Part;

pub use bindings::{BindRequest, RouteRequest};
pub use changes::{ChangeError, ChangeRequest};
use producers::Producers;
pub use producers::Session;
pub use topics::{Trim, TrimError};

/// The leader epoch stamped into batches: a single node leads in term 1 for ever.
pub const LEADER_EPOCH: LeaderEpoch = LeaderEpoch::new(1);
/// The term of entries on a single node.
pub const TERM: Term = Term::new(1);

/// Bounds of a shard's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of outcomes that are remembered for retries, over all producer sessions. One alone
    /// may take more: the outcomes that its client may still ask for are never forgotten.
    pub dedup_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            dedup_bytes: 256 << 20,
        }
    }
}

/// The state of a shard.
#[derive(Clone, Debug, Default)]
pub struct Shard {
    catalog: Catalog,
    partitions: HashMap<TopicPartition, PartitionState>,
    producers: Producers,
    cursors: Cursors,
}

#[derive(Clone, Copy, Debug, Default)]
struct PartitionState {
    next: Offset,
    append_time: Timestamp,
}

/// A produce request as the shard sees it.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRequest<'a> {
    /// The addressed topic, and the epoch of its bindings that the hooks ran under; `None` if
    /// none did.
    pub hooks_of: Option<(TopicId, BindingEpoch)>,
    /// Whose request it is, and its place in the session; `None` for one-way requests, which are
    /// not deduplicated.
    pub turn: Option<Turn>,
    /// What is to be appended; nothing for a request that was refused.
    pub parts: &'a [Part],
}

/// A request's place in its producer's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The session.
    pub session: Session,
    /// The place.
    pub sequence: Sequence,
}

/// Where a request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The first offset of each part.
    pub base_offsets: Vec<Offset>,
    /// The append time of each part: never decreasing within a partition.
    pub append_times: Vec<Timestamp>,
}

/// Why a request is not sequenced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SequenceError {
    /// The topic's bindings changed since the hooks ran; they must run again.
    #[error("the topic's bindings changed while the request was under way")]
    Stale,
    /// A request before this one is missing.
    #[error("request {expected} of this producer is awaited first")]
    OutOfSequence {
        /// The one awaited.
        expected: Sequence,
    },
    /// A newer session of this producer exists.
    #[error("a newer session of this producer took over")]
    Fenced,
    /// The session is not known.
    #[error("the broker does not know this producer any more; open it again")]
    UnknownProducer,
    /// A topic that records go to is gone.
    #[error("a topic that the records go to was deleted meanwhile (id {0})")]
    UnknownTopic(TopicId),
    /// A partition that records go to does not exist.
    #[error("topic id {topic} has no partition {partition}; it has {partitions}")]
    UnknownPartition {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: PartitionId,
        /// How many it has.
        partitions: u32,
    },
}

impl Shard {
    /// An empty shard with these bounds.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            producers: Producers::with_limits(limits),
            ..Self::default()
        }
    }

    /// What exists.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Where consumer groups stand.
    #[must_use]
    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Plans a produce request: its turn, its offsets.
    pub fn plan(
        &self,
        now: Timestamp,
        request: &ProduceRequest<'_>,
    ) -> Result<Plan, SequenceError> {
        if let Some(turn) = request.turn {
            self.producers.check(turn)?;
        }
        if let Some((topic, epoch)) = request.hooks_of {
            let known = self.catalog.topic(topic);
            let topic = known.ok_or(SequenceError::UnknownTopic(topic))?;
            if topic.binding_epoch != epoch {
                return Err(SequenceError::Stale);
            }
        }
        let mut plan = Plan {
            base_offsets: Vec::new(),
            append_times: Vec::new(),
        };
        for part in request.parts {
            self.check_partition(part.partition)?;
            let state = self
                .partitions
                .get(&part.partition)
                .copied()
                .unwrap_or_default();
            plan.base_offsets.push(state.next);
            plan.append_times.push(state.append_time.max(now));
        }
        Ok(plan)
    }

    /// The log took the entry of that plan, with an outcome of so many bytes. Answers which
    /// producers were forgotten to remember it.
    pub fn commit(
        &mut self,
        request: &ProduceRequest<'_>,
        plan: &Plan,
        outcome_bytes: usize,
    ) -> Vec<ProducerId> {
        let places = plan.base_offsets.iter().zip(&plan.append_times);
        for (part, (&base, &time)) in request.parts.iter().zip(places) {
            self.append(part.partition, base, part.count, time);
        }
        request
            .turn
            .map(|turn| self.producers.advance(turn, outcome_bytes))
            .unwrap_or_default()
    }

    /// Recovery: what the log holds of a partition; its next batch begins at `next`.
    pub fn restore_partition(
        &mut self,
        partition: TopicPartition,
        next: Offset,
        append_time: Timestamp,
    ) {
        let state = PartitionState { next, append_time };
        self.partitions.insert(partition, state);
    }

    /// Recovery: the log holds this batch.
    pub fn replay_append(
        &mut self,
        partition: TopicPartition,
        base: Offset,
        count: u32,
        time: Timestamp,
    ) {
        self.append(partition, base, count, time);
    }

    /// Recovery: the log holds the outcome of this request, in so many bytes. Answers which
    /// producers were forgotten to remember it.
    pub fn replay_sequence(&mut self, turn: Turn, outcome_bytes: usize) -> Vec<ProducerId> {
        self.producers.advance(turn, outcome_bytes)
    }

    /// The log took this change, or holds it (recovery). Answers which producers were forgotten.
    pub fn commit_change(&mut self, change: &Change) -> Vec<ProducerId> {
        let mut forgotten = Vec::new();
        if let Some(opened) = &change.producer_opened {
            let session = Session {
                producer: opened.id,
                epoch: opened.epoch,
            };
            forgotten = self.producers.open(session, opened.topic);
        }
        if let Some(deleted) = &change.topic_deleted {
            self.partitions
                .retain(|partition, _| partition.topic != deleted.id);
            forgotten.extend(self.producers.forget_topic(deleted.id));
            self.cursors.forget(deleted.id);
        }
        if let Some(added) = &change.partitions_added {
            self.cursors.add_partitions(added);
        }
        if let Some(set) = &change.cursor_set {
            self.cursors.set(set);
        }
        if let Some(expired) = &change.expired {
            self.cursors.expire(expired);
        }
        self.catalog.apply(change);
        forgotten
    }

    /// The topic that a session addresses, and the request it sends next.
    #[must_use]
    pub fn session(&self, session: Session) -> Option<(TopicId, Sequence)> {
        self.producers.session(session)
    }

    /// Recovery from a checkpoint: what the catalog was made of.
    pub(crate) const fn catalog_mut(&mut self) -> &mut Catalog {
        &mut self.catalog
    }

    pub(crate) const fn cursors_mut(&mut self) -> &mut Cursors {
        &mut self.cursors
    }

    /// Recovery from a checkpoint: a session that addresses a topic; the longest idle come first.
    pub(crate) fn restore_session(&mut self, session: Session, topic: TopicId) -> Vec<ProducerId> {
        self.producers.open(session, topic)
    }

    /// Recovery from a checkpoint: ids of producers up to this one were given away.
    pub(crate) fn resume_producers_after(&mut self, last: ProducerId) {
        self.producers.resume_after(last);
    }

    /// The newest id given to a producer.
    pub(crate) const fn last_producer(&self) -> ProducerId {
        self.producers.last_id()
    }

    /// All producer sessions with the topics they address, the longest idle first.
    pub fn sessions(&self) -> impl Iterator<Item = (Session, TopicId)> {
        self.producers.by_use()
    }

    /// How many producer sessions are remembered.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
    }

    /// What remembering their outcomes takes, in bytes.
    #[must_use]
    pub const fn dedup_bytes(&self) -> u64 {
        self.producers.bytes()
    }

    fn append(&mut self, partition: TopicPartition, base: Offset, count: u32, time: Timestamp) {
        let state = PartitionState {
            next: base.advance(count),
            append_time: time,
        };
        let before = self.partitions.insert(partition, state).unwrap_or_default();
        assert_eq!(before.next, base, "offsets of {partition} leave no gap");
    }

    fn check_partition(&self, at: TopicPartition) -> Result<(), SequenceError> {
        let topic = self
            .catalog
            .topic(at.topic)
            .ok_or(SequenceError::UnknownTopic(at.topic))?;
        if at.partition.value() < topic.partitions {
            return Ok(());
        }
        Err(SequenceError::UnknownPartition {
            topic: at.topic,
            partition: at.partition,
            partitions: topic.partitions,
        })
    }
}
