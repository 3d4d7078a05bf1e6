//! The sequencer: the one task that changes the state of the shard. It takes everything that
//! waits, gives each request its place, and hands one entry per request to the log.

mod inline;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use weir_core::change::Change;
use weir_core::dedup::FlightId;
use weir_core::place::Part;
use weir_core::shard::{
    ChangeRequest, LEADER_EPOCH, Plan, ProduceRequest, SequenceError, Trim, Turn,
};
use weir_host::Bound;
use weir_log::{Append, BatchBytes, Columns, Entry, Log, Op, PageBuf, Submission, SubmitError};
use weir_wire::batch::stamp;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::message::Message;
use weir_wire::produce::{Ack, Produced};
use weir_wire::request::Error;

use crate::append;
use crate::clock;
use crate::commit::{Done, Token};
use crate::fault::IntoFault;
use crate::metrics::Metrics;
use crate::producers::Producer;
use crate::publish::{Flight, Prepared, count_lost};
use crate::state::Shared;
use crate::trim;
use inline::Inline;

/// Commands that wait for the sequencer.
pub(crate) const QUEUE_MAX: usize = 1024;
/// Commands taken at once.
const TOGETHER_MAX: usize = 256;

/// What the sequencer is asked to do.
pub(crate) enum Command {
    /// Give a produce request its place.
    Produce(Flight),
    /// Change the catalog.
    Change {
        /// What is wanted.
        request: ChangeRequest,
        /// For a bind: the component, configured and ready.
        bound: Option<Bound>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Durable, Fault>>,
    },
    /// Store batches that no producer sent, in one entry.
    Append {
        /// The batches.
        parts: Vec<Part>,
        /// Where the answer goes once they have their place.
        reply: append::Reply,
    },
    /// Remove the oldest records of partitions, in one entry.
    Trim {
        /// Which.
        trims: Vec<Trim>,
        /// Where the answer goes once they are gone.
        reply: trim::Reply,
    },
}

/// Tells when a change that has its place is durable.
pub(crate) type Durable = oneshot::Receiver<Result<Change, Fault>>;

/// Asks for a change of the catalog; returns once it is durable.
pub(crate) async fn change(
    shared: &Shared,
    request: ChangeRequest,
    bound: Option<Bound>,
) -> Result<Change, Fault> {
    change_by(&shared.sequencer, request, bound).await
}

/// The same for who has nothing but the way to the sequencer.
pub(crate) async fn change_by(
    sequencer: &mpsc::Sender<Command>,
    request: ChangeRequest,
    bound: Option<Bound>,
) -> Result<Change, Fault> {
    let (reply, answer) = oneshot::channel();
    let command = Command::Change {
        request,
        bound,
        reply,
    };
    sequencer.send(command).await.map_err(|_| ending())?;
    let durable = answer.await.map_err(|_| ending())??;
    durable.await.map_err(|_| ending())?
}

/// Nobody answers any more.
pub(crate) fn ending() -> Fault {
    Fault::new(ErrorCode::ShuttingDown, "the broker is shutting down")
}

pub(crate) struct Sequencer {
    shared: Arc<Shared>,
    log: Log<Token>,
    commands: mpsc::Receiver<Command>,
    inline: Inline,
}

impl Sequencer {
    pub(crate) fn new(
        shared: Arc<Shared>,
        log: Log<Token>,
        commands: mpsc::Receiver<Command>,
    ) -> Self {
        Self {
            shared,
            log,
            commands,
            inline: Inline::default(),
        }
    }

    /// Runs until nobody can send any more, or the broker is told to end; then the log drains.
    pub(crate) async fn run(mut self, stop: tokio_util::sync::CancellationToken) -> Log<Token> {
        let mut waiting = Vec::with_capacity(TOGETHER_MAX);
        loop {
            tokio::select! {
                biased;
                count = self.commands.recv_many(&mut waiting, TOGETHER_MAX) => {
                    if count == 0 {
                        return self.log;
                    }
                }
                () = stop.cancelled() => return self.log,
            }
            self.inline.turn_of(waiting.len());
            for command in waiting.drain(..) {
                match command {
                    Command::Produce(flight) => self.produce(flight),
                    Command::Change {
                        request,
                        bound,
                        reply,
                    } => {
                        self.change(&request, bound, reply);
                    }
                    Command::Append { parts, reply } => {
                        append::sequence(&self.shared, &self.log, &parts, reply);
                    }
                    Command::Trim { trims, reply } => {
                        trim::sequence(&self.shared, &self.log, &trims, reply);
                    }
                }
            }
        }
    }

    fn produce(&mut self, mut flight: Flight) {
        if let Some(id) = flight.id
            && !flight.producer.state.lock().is_current(id)
        {
            // It failed together with one before it, and its client knows: a flight that is sent
            // again is another one.
            return;
        }
        let parts = match &mut flight.prepared {
            Prepared::Placed { placed, .. } => std::mem::take(&mut placed.parts),
            _ => Vec::new(),
        };
        let binding_epoch = match &flight.prepared {
            Prepared::Placed { epoch, .. } => Some(*epoch),
            Prepared::Refused { epoch, .. } => *epoch,
            Prepared::Not | Prepared::Retry(_) => None,
        };
        let turn = flight.id.map(|id| Turn {
            session: flight.producer.session,
            sequence: id.sequence(),
        });
        let topic = flight.producer.topic;
        let request = ProduceRequest {
            hooks_of: binding_epoch.map(|epoch| (topic, epoch)),
            turn,
            parts: &parts,
        };
        let plan = self.shared.shard.read().plan(clock::now(), &request);
        match plan {
            Ok(plan) => self.append(flight, &request, &plan),
            Err(error) => self.refuse(flight, error),
        }
    }

    /// The request has its place: one entry, with everything it became.
    fn append(&mut self, mut flight: Flight, request: &ProduceRequest<'_>, plan: &Plan) {
        let shared = self.shared.clone();
        if flight.id.is_none() && request.parts.is_empty() {
            return self.nothing_to_log(&flight);
        }
        let outcome = outcome(&flight.prepared, flight.id, plan);
        let batch = std::mem::replace(&mut flight.batch, PageBuf::with_capacity(0));
        let (ops, bytes) = operations(request, batch, plan, &outcome);
        let entry = Entry { ops };
        if let Err(error) = self.log.check(&entry) {
            // Sending it again would not make it smaller, so the refusal is its outcome.
            return self.refuse_for_good(flight, submit_fault(&error));
        }
        let records: u64 = request.parts.iter().map(|p| u64::from(p.count)).sum();
        let Flight {
            producer,
            id,
            ack,
            prepared,
            permit,
            arrived,
            ..
        } = flight;
        let here = ack == Ack::Durable && self.inline.is_worth_it(&shared, &permit);
        let token = Token::Produce(Done {
            producer: producer.clone(),
            id,
            outcome: outcome.clone(),
            records,
            bytes,
            arrived,
            permit,
        });
        match self.log.submit_held(Submission { entry, token }) {
            Ok(held) => {
                let forgotten = shared.shard.write().commit(request, plan, outcome.len());
                shared.producers.forget(&forgotten);
                count_refused(&shared.metrics, &prepared);
                match (ack, id) {
                    (Ack::Memory, Some(id)) => {
                        shared.metrics.memory_acks.inc();
                        producer.answer_early(id.sequence(), &outcome);
                    }
                    (Ack::None, _) => drop(shared.metrics.one_way_records.inc_by(records)),
                    _ => {}
                }
                if here {
                    self.inline.commit(held, &shared.metrics);
                }
            }
            Err(error) => self.not_logged(&producer, id, records, &error),
        }
    }

    /// A one-way request of which nothing is left.
    fn nothing_to_log(&self, flight: &Flight) {
        count_refused(&self.shared.metrics, &flight.prepared);
        if let Prepared::Refused { .. } = flight.prepared {
            count_lost(&self.shared, flight.batch.as_slice());
        }
    }

    /// The log does not take the entry, and the shard was not changed.
    fn not_logged(
        &self,
        producer: &Arc<Producer>,
        id: Option<FlightId>,
        records: u64,
        error: &SubmitError,
    ) {
        match id {
            Some(id) => producer.fail_from(id, &submit_fault(error)),
            None => drop(self.shared.metrics.one_way_lost.inc_by(records)),
        }
    }

    fn refuse(&mut self, flight: Flight, error: SequenceError) {
        match (error, flight.id) {
            (SequenceError::Stale, _) => self.run_again(flight),
            // Behind one that runs its hooks again, it does so too.
            (SequenceError::OutOfSequence { expected }, Some(id)) if id.sequence() > expected => {
                self.run_again(flight);
            }
            (SequenceError::OutOfSequence { .. }, Some(id)) => {
                // The log had taken it, and failed before it was durable.
                let text = "the log failed, so it is unknown whether this was stored";
                let fault = Fault::new(ErrorCode::OutcomeUnknown, text);
                flight.producer.fail_from(id, &fault);
            }
            (error @ (SequenceError::Fenced | SequenceError::UnknownProducer), Some(id)) => {
                flight.producer.fail_from(id, &error.into_fault());
            }
            (permanent, _) => self.refuse_for_good(flight, permanent.into_fault()),
        }
    }

    /// The refusal is the request's outcome: logged, so that a repeated one hears the same.
    fn refuse_for_good(&mut self, mut flight: Flight, fault: Fault) {
        if flight.id.is_none() {
            match flight.prepared {
                Prepared::Placed { count, .. } => {
                    self.shared.metrics.one_way_lost.inc_by(u64::from(count));
                }
                _ => count_lost(&self.shared, flight.batch.as_slice()),
            }
            return;
        }
        flight.prepared = Prepared::Refused { epoch: None, fault };
        self.produce(flight);
    }

    fn run_again(&self, mut flight: Flight) {
        self.shared.metrics.hooks_repeated.inc();
        flight.prepared = Prepared::Not;
        let (producer, id) = (flight.producer.clone(), flight.id);
        let redo = flight.redo.clone();
        if let Err(error) = redo.try_send(flight) {
            tracing::error!(%error, "a request could not go back to its hooks");
            let fault = Fault::new(ErrorCode::Overloaded, "too many requests wait; send again");
            if let Some(id) = id {
                producer.fail_from(id, &fault);
            }
        }
    }

    fn change(
        &self,
        request: &ChangeRequest,
        bound: Option<Bound>,
        reply: oneshot::Sender<Result<Durable, Fault>>,
    ) {
        let change = self.shared.shard.read().plan_change(clock::now(), request);
        let change = match change {
            Ok(change) => change,
            Err(error) => return drop(reply.send(Err(error.into_fault()))),
        };
        let entry = Entry {
            ops: vec![Op::Metadata(Bytes::from(change.to_vec()))],
        };
        let (logged, durable) = oneshot::channel();
        let token = Token::Change {
            change: Box::new(change.clone()),
            reader: self.shared.reader.clone(),
            reply: logged,
        };
        let answer = match self.log.submit(Submission { entry, token }) {
            Ok(()) => {
                self.apply(&change, bound);
                Ok(durable)
            }
            Err(error) => {
                tracing::warn!(%error, "the log refused a change of the catalog");
                Err(submit_fault(&error))
            }
        };
        // Whoever asked may have gone.
        drop(reply.send(answer));
    }

    /// The change has its place: whatever is sequenced from here on comes after it.
    fn apply(&self, change: &Change, bound: Option<Bound>) {
        let shared = &self.shared;
        let mut shard = shared.shard.write();
        // Behind the change nobody knows any more whose it was.
        let unbound = change.unbound.as_ref().and_then(|unbound| {
            let (topic, _) = shard.catalog().binding(unbound.id)?;
            Some(topic.id)
        });
        let forgotten = shard.commit_change(change);
        shared.producers.forget(&forgotten);
        if let (Some(made), Some(bound)) = (&change.bound, bound) {
            shared.topics.ready(made.id, Ok(bound));
        }
        let catalog = shard.catalog();
        if let Some(created) = &change.topic_created {
            shared.topics.refresh(catalog, created.id);
        }
        if let Some(deleted) = &change.topic_deleted {
            // The log hears of it once it is durable: what nobody reads any more it drops, and
            // until then a crash may bring the topic back.
            shared.topics.refresh(catalog, deleted.id);
            shared.tails.wake_topic(deleted.id);
            shared.verdicts.forget_topic(deleted.id);
        }
        if let Some(made) = &change.bound {
            shared.topics.refresh(catalog, made.topic);
        }
        if let Some(added) = &change.partitions_added {
            for from in &added.epochs {
                shared.topics.refresh(catalog, from.topic);
            }
            shared.tails.wake_topic(added.id);
        }
        if let Some(topic) = unbound {
            shared.topics.refresh(catalog, topic);
        }
        if change.unbound.is_some() || change.bound.is_some() || change.topic_deleted.is_some() {
            shared.topics.sweep(catalog);
        }
        if let Some(opened) = &change.producer_opened {
            let session = weir_core::shard::Session {
                producer: opened.id,
                epoch: opened.epoch,
            };
            let producer = Producer::new(session, opened.topic);
            shared.producers.insert(producer);
        }
    }
}

/// What the log's refusal means to a client.
pub(crate) fn submit_fault(error: &SubmitError) -> Fault {
    let code = match error {
        SubmitError::DiskFull | SubmitError::Stuck => ErrorCode::DiskFull,
        SubmitError::TooLarge { .. } => ErrorCode::BatchTooLarge,
        SubmitError::Busy { .. } => ErrorCode::Overloaded,
        SubmitError::Poisoned { .. } => ErrorCode::OutcomeUnknown,
        _ => ErrorCode::ShuttingDown,
    };
    Fault::new(code, error.to_string())
}

/// What the producer is told, encoded as it is stored.
fn outcome(prepared: &Prepared, id: Option<FlightId>, plan: &Plan) -> Bytes {
    let (outcome, error) = match prepared {
        Prepared::Placed { placed, .. } => (Some(placed.outcome(&plan.base_offsets)), None),
        Prepared::Refused { fault, .. } | Prepared::Retry(fault) => {
            (None, Some(Error::from(fault)))
        }
        Prepared::Not => unreachable!("only prepared flights reach the sequencer"),
    };
    let sequence = id.map(FlightId::sequence).unwrap_or_default();
    let produced = Produced {
        sequence,
        outcome,
        error,
        throttle_ms: 0,
    };
    Bytes::from(produced.to_vec())
}

/// Counts what was not stored, once it is sure that it will not be.
fn count_refused(metrics: &Metrics, prepared: &Prepared) {
    match prepared {
        Prepared::Placed { placed, .. } => {
            metrics.records_dropped.inc_by(u64::from(placed.refused()));
        }
        Prepared::Refused { fault, .. } => {
            metrics.requests_refused.inc();
            tracing::debug!(%fault, "request refused");
        }
        Prepared::Not | Prepared::Retry(_) => {}
    }
}

/// The operations of a request's entry, and the bytes of its batches.
pub(crate) fn operations(
    request: &ProduceRequest<'_>,
    original: PageBuf,
    plan: &Plan,
    outcome: &Bytes,
) -> (Vec<Op>, u64) {
    let parts = request.parts;
    let mut ops = Vec::with_capacity(parts.len() + 1);
    let mut bytes = 0;
    let mut original = Some(original);
    let places = plan.base_offsets.iter().zip(&plan.append_times);
    for (part, (&base_offset, &append_time)) in parts.iter().zip(places) {
        let mut batch = match &part.batch {
            Some(batch) => PageBuf::from_slice(batch),
            None => original
                .take()
                .expect("a batch that is kept whole is the only part"),
        };
        let crc = stamp(batch.as_mut_slice(), base_offset, LEADER_EPOCH);
        bytes += batch.len() as u64;
        ops.push(Op::Append(Append {
            partition: part.partition,
            base_offset,
            count: part.count,
            append_time,
            batch: BatchBytes::from(batch),
            crc,
            columns: Columns {
                ordering_keys: part.ordering_keys.clone(),
                origin: None,
            },
        }));
    }
    if let Some(turn) = request.turn {
        ops.push(Op::ProducerSequence {
            producer: turn.session.producer,
            epoch: turn.session.epoch,
            sequence: turn.sequence,
            outcome: outcome.clone(),
        });
    }
    (ops, bytes)
}
