//! The sessions of producers: whose turn it is, and what remembering their outcomes costs.
//! Bounded in both: the session idle longest is forgotten.

use std::collections::{BTreeMap, HashMap, VecDeque};

use weir_wire::id::{ProducerEpoch, ProducerId, Sequence, TopicId};
use weir_wire::limits::{PRODUCER_IN_FLIGHT_MAX, PRODUCERS_MAX};

use super::{Limits, SequenceError, Turn};

/// What a remembered outcome takes besides its bytes.
const OUTCOME_OVERHEAD: u64 = 40;
/// What a session takes besides its outcomes.
const SESSION_OVERHEAD: u64 = 512;

/// A producer's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Producers {
    limits: Limits,
    rows: HashMap<ProducerId, Row>,
    /// Rows by when they were last used, the longest idle first.
    by_use: BTreeMap<Use, ProducerId>,
    last_use: Use,
    last_id: ProducerId,
    /// What all rows take.
    bytes: u64,
}

/// Counts the uses of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Use(u64);

#[derive(Clone, Debug)]
struct Row {
    epoch: ProducerEpoch,
    topic: TopicId,
    next: Sequence,
    used: Use,
    /// The bytes of each outcome that is remembered, the oldest first.
    outcomes: VecDeque<u64>,
    /// What all of this takes.
    bytes: u64,
}

impl Row {
    /// An outcome more; the oldest goes when there are too many. Answers by how much the row grew
    /// and shrank.
    fn remember(&mut self, outcome_bytes: usize) -> (u64, u64) {
        let grown = outcome_bytes as u64 + OUTCOME_OVERHEAD;
        self.outcomes.push_back(grown);
        let shrunk = if self.outcomes.len() > PRODUCER_IN_FLIGHT_MAX {
            self.outcomes.pop_front().unwrap_or(0)
        } else {
            0
        };
        self.bytes += grown;
        self.bytes -= shrunk;
        (grown, shrunk)
    }
}

impl Producers {
    pub(super) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn last_id(&self) -> ProducerId {
        self.last_id
    }

    /// Recovery: ids up to this one were given away.
    pub(super) fn resume_after(&mut self, last: ProducerId) {
        self.last_id = self.last_id.max(last);
    }

    /// All sessions, the longest idle first, each with its topic.
    pub(super) fn by_use(&self) -> impl Iterator<Item = (Session, TopicId)> {
        self.by_use.values().filter_map(|id| {
            let row = self.rows.get(id)?;
            let session = Session {
                producer: *id,
                epoch: row.epoch,
            };
            Some((session, row.topic))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(super) const fn next_id(&self) -> ProducerId {
        self.last_id.next()
    }

    pub(super) fn session(&self, session: Session) -> Option<(TopicId, Sequence)> {
        let row = self.rows.get(&session.producer)?;
        (row.epoch == session.epoch).then_some((row.topic, row.next))
    }

    pub(super) fn check(&self, turn: Turn) -> Result<(), SequenceError> {
        let Turn { session, sequence } = turn;
        let row = self
            .rows
            .get(&session.producer)
            .ok_or(SequenceError::UnknownProducer)?;
        if row.epoch != session.epoch {
            return Err(SequenceError::Fenced);
        }
        if row.next != sequence {
            return Err(SequenceError::OutOfSequence { expected: row.next });
        }
        Ok(())
    }

    /// The outcome of this turn is remembered; answers which sessions were forgotten for it.
    pub(super) fn advance(&mut self, turn: Turn, outcome_bytes: usize) -> Vec<ProducerId> {
        let Turn { session, sequence } = turn;
        self.last_use.0 += 1;
        let used = self.last_use;
        if let Some(row) = self.rows.get_mut(&session.producer) {
            row.next = sequence.next();
            let (grown, shrunk) = row.remember(outcome_bytes);
            self.bytes += grown;
            self.bytes -= shrunk;
            self.by_use.remove(&row.used);
            row.used = used;
            self.by_use.insert(used, session.producer);
        }
        self.make_room(session.producer)
    }

    /// Opens a session; answers which were forgotten for it.
    pub(super) fn open(&mut self, session: Session, topic: TopicId) -> Vec<ProducerId> {
        self.last_id = self.last_id.max(session.producer);
        self.forget(session.producer);
        self.last_use.0 += 1;
        let used = self.last_use;
        let row = Row {
            epoch: session.epoch,
            topic,
            next: Sequence::new(0),
            used,
            outcomes: VecDeque::new(),
            bytes: SESSION_OVERHEAD,
        };
        self.bytes += row.bytes;
        self.rows.insert(session.producer, row);
        self.by_use.insert(used, session.producer);
        self.make_room(session.producer)
    }

    /// Forgets the longest idle until the bounds hold, but never the one in use.
    fn make_room(&mut self, in_use: ProducerId) -> Vec<ProducerId> {
        let mut forgotten = Vec::new();
        while self.rows.len() > PRODUCERS_MAX || self.bytes > self.limits.dedup_bytes {
            let idle = self.by_use.first_key_value().map(|(_, idle)| *idle);
            let Some(idle) = idle.filter(|idle| *idle != in_use) else {
                break;
            };
            self.forget(idle);
            forgotten.push(idle);
        }
        forgotten
    }

    /// Forgets the sessions of a topic; answers which.
    pub(super) fn forget_topic(&mut self, topic: TopicId) -> Vec<ProducerId> {
        let gone: Vec<ProducerId> = self
            .rows
            .iter()
            .filter(|(_, row)| row.topic == topic)
            .map(|(id, _)| *id)
            .collect();
        gone.iter().for_each(|id| self.forget(*id));
        gone
    }

    fn forget(&mut self, producer: ProducerId) {
        if let Some(row) = self.rows.remove(&producer) {
            self.by_use.remove(&row.used);
            self.bytes -= row.bytes;
        }
    }
}
