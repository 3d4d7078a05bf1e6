//! The state of everything that is sequenced together: offsets, producers, the catalog.
//!
//! Each step is planned first (nothing changes, it may be refused) and committed once the log
//! took the entry, so that a refused entry leaves no trace.

mod changes;
mod producers;

use std::collections::HashMap;

use weir_wire::id::{
    BindingEpoch, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Term,
    Timestamp, TopicId, TopicPartition,
};

use crate::catalog::Catalog;
use crate::change::Change;
use crate::place::Part;

pub use changes::{BindRequest, ChangeError, ChangeRequest, RouteRequest};
use producers::Producers;
pub use producers::Session;

/// The leader epoch stamped into batches: a single node leads in term 1 for ever.
pub const LEADER_EPOCH: LeaderEpoch = LeaderEpoch::new(1);
/// The term of entries on a single node.
pub const TERM: Term = Term::new(1);

/// The state of a shard.
#[derive(Debug, Default)]
pub struct Shard {
    catalog: Catalog,
    partitions: HashMap<TopicPartition, PartitionState>,
    producers: Producers,
}

#[derive(Clone, Copy, Debug, Default)]
struct PartitionState {
    next: Offset,
    append_time: Timestamp,
}

/// A produce request as the shard sees it.
#[derive(Clone, Copy, Debug)]
pub struct ProduceRequest<'a> {
    /// The addressed topic.
    pub topic: TopicId,
    /// The epoch of the bindings that its hooks ran under; `None` if it was refused before any.
    pub binding_epoch: Option<BindingEpoch>,
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
    /// What exists.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
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
        if let Some(epoch) = request.binding_epoch {
            let topic = self.catalog.topic(request.topic);
            let topic = topic.ok_or(SequenceError::UnknownTopic(request.topic))?;
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

    /// The log took the entry of that plan.
    pub fn commit(&mut self, request: &ProduceRequest<'_>, plan: &Plan) {
        let places = plan.base_offsets.iter().zip(&plan.append_times);
        for (part, (&base, &time)) in request.parts.iter().zip(places) {
            self.append(part.partition, base, part.count, time);
        }
        if let Some(turn) = request.turn {
            self.producers.advance(turn);
        }
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

    /// Recovery: the log holds the outcome of this request.
    pub fn replay_sequence(
        &mut self,
        producer: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
    ) {
        self.producers.advance(Turn {
            session: Session { producer, epoch },
            sequence,
        });
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
            forgotten = self.producers.forget_topic(deleted.id);
        }
        self.catalog.apply(change);
        forgotten
    }

    /// The topic that a session addresses, and the request it sends next.
    #[must_use]
    pub fn session(&self, session: Session) -> Option<(TopicId, Sequence)> {
        self.producers.session(session)
    }

    /// How many producer sessions are remembered.
    #[must_use]
    pub fn producer_count(&self) -> usize {
        self.producers.len()
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
