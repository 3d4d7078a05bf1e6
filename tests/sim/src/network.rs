//! What travels between the broker and its clients, and the links that lose it.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_core::shard::Session;
use weir_wire::id::{Sequence, TopicId};

/// What a producer says.
#[derive(Debug)]
pub(crate) enum Message {
    /// Open a session for a topic, by its number among the names.
    Open(usize),
    /// Store a batch.
    Produce {
        session: Session,
        sequence: Sequence,
        batch: Bytes,
    },
}

/// What the broker says.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Opened(Session, TopicId),
    /// There is no such topic.
    NotOpened,
    /// An encoded `Produced`.
    Outcome(Sequence, Bytes),
    /// It was not taken: send it again, from there on.
    Again(Sequence),
    /// The session is unknown, for ever.
    Unknown(Sequence),
}

/// Who waits for an answer: a producer, on one of its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) producer: usize,
    pub(crate) link: u64,
}

/// A producer's connection. Breaking it loses replies that are on their way.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) number: u64,
    pub(crate) to_broker: VecDeque<Message>,
    pub(crate) to_client: VecDeque<Reply>,
}

impl Link {
    /// Answers what was on its way to the broker, which may hear some of it yet.
    pub(crate) fn break_off(&mut self) -> VecDeque<Message> {
        self.number += 1;
        self.to_client.clear();
        std::mem::take(&mut self.to_broker)
    }

    pub(crate) fn deliver(&mut self, waiter: Waiter, reply: Reply) {
        if waiter.link == self.number {
            self.to_client.push_back(reply);
        }
    }
}
