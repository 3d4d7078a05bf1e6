//! The sessions of producers: whose turn it is. Bounded: the one idle longest is forgotten.

use std::collections::{BTreeMap, HashMap};

use weir_wire::id::{ProducerEpoch, ProducerId, Sequence, TopicId};
use weir_wire::limits::PRODUCERS_MAX;

use super::{SequenceError, Turn};

/// A producer's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The producer.
    pub producer: ProducerId,
    /// Its epoch.
    pub epoch: ProducerEpoch,
}

#[derive(Debug, Default)]
pub(super) struct Producers {
    rows: HashMap<ProducerId, Row>,
    /// Rows by when they were last used, the longest idle first.
    by_use: BTreeMap<Use, ProducerId>,
    last_use: Use,
    last_id: ProducerId,
}

/// Counts the uses of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Use(u64);

#[derive(Debug)]
struct Row {
    epoch: ProducerEpoch,
    topic: TopicId,
    next: Sequence,
    used: Use,
}

impl Producers {
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

    pub(super) fn advance(&mut self, turn: Turn) {
        let Turn { session, sequence } = turn;
        self.last_use.0 += 1;
        let used = self.last_use;
        if let Some(row) = self.rows.get_mut(&session.producer) {
            row.next = sequence.next();
            self.by_use.remove(&row.used);
            row.used = used;
            self.by_use.insert(used, session.producer);
        }
    }

    /// Opens a session; answers which were forgotten for it.
    pub(super) fn open(&mut self, session: Session, topic: TopicId) -> Vec<ProducerId> {
        self.last_id = self.last_id.max(session.producer);
        self.forget(session.producer);
        let mut forgotten = Vec::new();
        while self.rows.len() >= PRODUCERS_MAX {
            let Some((_, &idle)) = self.by_use.first_key_value() else {
                break;
            };
            self.forget(idle);
            forgotten.push(idle);
        }
        self.last_use.0 += 1;
        let used = self.last_use;
        let row = Row {
            epoch: session.epoch,
            topic,
            next: Sequence::new(0),
            used,
        };
        self.rows.insert(session.producer, row);
        self.by_use.insert(used, session.producer);
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
        }
    }
}
