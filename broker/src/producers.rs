//! The running side of producer sessions: who waits for which request.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;
use weir_core::dedup::{FlightId, ProducerState};
use weir_core::shard::Session;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{ProducerId, Sequence, TopicId};

/// What a request is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// An encoded `Produced`: the outcome, as it is stored.
    Outcome(Bytes),
    /// It was not taken; the same request may be sent again if the fault says so.
    Fault(Sequence, Fault),
}

/// Who waits for a request.
pub(crate) type Waiter = oneshot::Sender<Reply>;

/// A producer session.
#[derive(Debug)]
pub(crate) struct Producer {
    pub(crate) session: Session,
    pub(crate) topic: TopicId,
    pub(crate) state: Mutex<ProducerState<Waiter>>,
}

impl Producer {
    pub(crate) fn new(session: Session, topic: TopicId) -> Self {
        Self::with_state(session, topic, ProducerState::default())
    }

    pub(crate) fn with_state(
        session: Session,
        topic: TopicId,
        state: ProducerState<Waiter>,
    ) -> Self {
        Self {
            session,
            topic,
            state: Mutex::new(state),
        }
    }

    /// A request is done: everybody who waits for it gets its outcome.
    pub(crate) fn complete(&self, sequence: Sequence, outcome: &Bytes) {
        let waiters = self.state.lock().complete(sequence, outcome.clone());
        answer(waiters, &Reply::Outcome(outcome.clone()));
    }

    /// A request was not taken, nor is anything behind it: if it may be sent again, those wait
    /// for it, as the protocol has it.
    pub(crate) fn fail_from(&self, flight: FlightId, fault: &Fault) {
        let failed = self.state.lock().fail_from(flight);
        for (failed, waiters) in failed {
            let fault = if failed == flight.sequence() || !fault.is_retryable() {
                fault.clone()
            } else {
                out_of_sequence(flight.sequence())
            };
            answer(waiters, &Reply::Fault(failed, fault));
        }
    }

    /// Answers before the request is done, as `memory` acks ask for.
    pub(crate) fn answer_early(&self, sequence: Sequence, outcome: &Bytes) {
        let waiters = self.state.lock().take_waiters(sequence);
        answer(waiters, &Reply::Outcome(outcome.clone()));
    }
}

/// A request came before one that is awaited.
pub(crate) fn out_of_sequence(expected: Sequence) -> Fault {
    let text = format!("request {expected} of this producer is awaited first");
    Fault::new(ErrorCode::OutOfSequence, text)
}

fn answer(waiters: Vec<Waiter>, reply: &Reply) {
    for waiter in waiters {
        // A waiter that is gone has lost its connection.
        let _ = waiter.send(reply.clone());
    }
}

/// All producer sessions that the shard knows; it bounds them.
#[derive(Debug, Default)]
pub(crate) struct Producers {
    sessions: RwLock<HashMap<ProducerId, Arc<Producer>>>,
}

impl Producers {
    pub(crate) fn find(&self, session: Session) -> Option<Arc<Producer>> {
        let producer = self.sessions.read().get(&session.producer).cloned();
        producer.filter(|producer| producer.session == session)
    }

    pub(crate) fn insert(&self, producer: Producer) {
        let id = producer.session.producer;
        self.sessions.write().insert(id, Arc::new(producer));
    }

    /// Those that the shard forgot. Their streams learn of it with their next request.
    pub(crate) fn forget(&self, forgotten: &[ProducerId]) {
        if forgotten.is_empty() {
            return;
        }
        let mut sessions = self.sessions.write();
        for id in forgotten {
            sessions.remove(id);
        }
    }
}
