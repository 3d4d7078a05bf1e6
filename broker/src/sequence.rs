//! The sequencer: the one task that changes the state of the shard. It takes everything that
//! waits, gives each request its place, and hands one entry per request to the log.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use weir_core::change::Change;
use weir_core::place::Part;
use weir_core::shard::{ChangeRequest, LEADER_EPOCH, Plan, ProduceRequest, SequenceError, Turn};
use weir_host::Bound;
use weir_log::{Append, BatchBytes, Columns, Entry, Log, Op, PageBuf, Submission, SubmitError};
use weir_wire::batch::stamp;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{BindingEpoch, Sequence};
use weir_wire::message::Message;
use weir_wire::produce::{Ack, Produced};
use weir_wire::request::Error;

use crate::clock;
use crate::commit::{Done, Token};
use crate::fault::IntoFault;
use crate::metrics::Metrics;
use crate::producers::Producer;
use crate::publish::{Flight, Prepared};
use crate::state::Shared;

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
        /// Where the answer goes, once the change is durable.
        reply: oneshot::Sender<Result<Change, Fault>>,
    },
}

/// Asks for a change of the catalog; returns once it is durable.
pub(crate) async fn change(
    shared: &Shared,
    request: ChangeRequest,
    bound: Option<Bound>,
) -> Result<Change, Fault> {
    let ending = || Fault::new(ErrorCode::ShuttingDown, "the broker is shutting down");
    let (reply, answer) = oneshot::channel();
    let command = Command::Change {
        request,
        bound,
        reply,
    };
    shared.sequencer.send(command).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())?
}

pub(crate) struct Sequencer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log<Token>,
    pub(crate) commands: mpsc::Receiver<Command>,
}

impl Sequencer {
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
                }
            }
        }
    }

    fn produce(&self, mut flight: Flight) {
        let parts = match &mut flight.prepared {
            Prepared::Placed { placed, .. } => std::mem::take(&mut placed.parts),
            _ => Vec::new(),
        };
        let binding_epoch = match &flight.prepared {
            Prepared::Placed { epoch, .. } => Some(*epoch),
            Prepared::Refused { epoch, .. } => *epoch,
            Prepared::Not | Prepared::Retry(_) => None,
        };
        let turn = flight
            .sequence
            .map(|sequence| Turn {
                session: flight.producer.session,
                sequence,
            })
            .filter(|_| !flight.repeats);
        let topic = flight.producer.topic;
        let request = ProduceRequest {
            topic,
            binding_epoch,
            turn,
            parts: &parts,
        };
        let plan = self.shared.shard.read().plan(clock::now(), &request);
        match plan {
            Ok(plan) => self.append(flight, parts, &plan, binding_epoch),
            Err(error) => self.refuse(flight, error),
        }
    }

    /// The request has its place: one entry, with everything it became.
    fn append(
        &self,
        flight: Flight,
        parts: Vec<Part>,
        plan: &Plan,
        binding_epoch: Option<BindingEpoch>,
    ) {
        let shared = &self.shared;
        let Flight {
            producer,
            sequence,
            ack,
            batch,
            prepared,
            permit,
            arrived,
            repeats,
            ..
        } = flight;
        let outcome = outcome(&prepared, sequence, plan);
        let turn = sequence.map(|sequence| Turn {
            session: producer.session,
            sequence,
        });
        let topic = producer.topic;
        let request = ProduceRequest {
            topic,
            binding_epoch,
            turn: turn.filter(|_| !repeats),
            parts: &parts,
        };
        let records: u64 = parts.iter().map(|part| u64::from(part.count)).sum();
        let (ops, bytes) = operations(&parts, batch, plan, request.turn, &outcome);
        if ops.is_empty() {
            return;
        }
        let token = Token::Produce(Done {
            producer: producer.clone(),
            sequence: sequence.filter(|_| !repeats),
            outcome: outcome.clone(),
            records,
            bytes,
            arrived,
            permit,
        });
        match self.log.submit(Submission {
            entry: Entry { ops },
            token,
        }) {
            Ok(_) => {
                shared.shard.write().commit(&request, plan);
                count_refused(&shared.metrics, &prepared);
                match (ack, sequence) {
                    (Ack::Memory, Some(sequence)) => {
                        shared.metrics.memory_acks.inc();
                        producer.answer_early(sequence, &outcome);
                    }
                    (Ack::None, _) => drop(shared.metrics.one_way_records.inc_by(records)),
                    _ => {}
                }
            }
            Err(error) => self.not_logged(&producer, sequence, records, &error),
        }
    }

    /// The log does not take the entry, and the shard was not changed.
    fn not_logged(
        &self,
        producer: &Arc<Producer>,
        sequence: Option<Sequence>,
        records: u64,
        error: &SubmitError,
    ) {
        let Some(sequence) = sequence else {
            self.shared.metrics.one_way_lost.inc_by(records);
            return;
        };
        producer.fail_from(sequence, &submit_fault(error));
    }

    fn refuse(&self, mut flight: Flight, error: SequenceError) {
        let Some(sequence) = flight.sequence else {
            if matches!(error, SequenceError::Stale) {
                self.run_again(flight);
            } else {
                let count = match flight.prepared {
                    Prepared::Placed { count, .. } => u64::from(count),
                    _ => 0,
                };
                self.shared.metrics.one_way_lost.inc_by(count);
            }
            return;
        };
        match error {
            SequenceError::Stale => self.run_again(flight),
            SequenceError::OutOfSequence { expected } => {
                // Behind one that runs its hooks again, it does so too. Otherwise another flight
                // of the same request was faster, or it was failed together with one before it.
                let waits = sequence > expected;
                if waits && flight.producer.state.lock().is_in_flight(sequence) {
                    self.run_again(flight);
                }
            }
            SequenceError::Fenced | SequenceError::UnknownProducer => {
                flight.producer.fail_from(sequence, &error.into_fault());
            }
            permanent => {
                flight.prepared = Prepared::Refused {
                    epoch: None,
                    fault: permanent.into_fault(),
                };
                self.produce(flight);
            }
        }
    }

    fn run_again(&self, mut flight: Flight) {
        self.shared.metrics.hooks_repeated.inc();
        flight.prepared = Prepared::Not;
        let (producer, sequence) = (flight.producer.clone(), flight.sequence);
        let redo = flight.redo.clone();
        if let Err(error) = redo.try_send(flight) {
            tracing::error!(%error, "a request could not go back to its hooks");
            let fault = Fault::new(ErrorCode::Overloaded, "too many requests wait; send again");
            if let Some(sequence) = sequence {
                producer.fail_from(sequence, &fault);
            }
        }
    }

    fn change(
        &self,
        request: &ChangeRequest,
        bound: Option<Bound>,
        reply: oneshot::Sender<Result<Change, Fault>>,
    ) {
        let change = self.shared.shard.read().plan_change(clock::now(), request);
        let change = match change {
            Ok(change) => change,
            Err(error) => return drop(reply.send(Err(error.into_fault()))),
        };
        let entry = Entry {
            ops: vec![Op::Metadata(Bytes::from(change.to_vec()))],
        };
        let token = Token::Change {
            change: Box::new(change.clone()),
            reply,
        };
        match self.log.submit(Submission { entry, token }) {
            Ok(_) => self.apply(&change, bound),
            Err(error) => tracing::warn!(%error, "the log refused a change of the catalog"),
        }
    }

    /// The change has its place: whatever is sequenced from here on comes after it.
    fn apply(&self, change: &Change, bound: Option<Bound>) {
        let shared = &self.shared;
        let mut shard = shared.shard.write();
        shard.commit_change(change);
        if let (Some(made), Some(bound)) = (&change.bound, bound) {
            shared.topics.ready(made.id, Ok(bound));
        }
        let catalog = shard.catalog();
        if let Some(created) = &change.topic_created {
            shared.topics.refresh(catalog, created.id);
        }
        if let Some(deleted) = &change.topic_deleted {
            shared.topics.refresh(catalog, deleted.id);
            shared.reader.forget(deleted.id);
            shared.tails.wake_topic(deleted.id);
        }
        if let Some(made) = &change.bound {
            shared.topics.refresh(catalog, made.topic);
        }
        if change.unbound.is_some() {
            let topics: Vec<_> = catalog.topics().map(|topic| topic.id).collect();
            topics
                .into_iter()
                .for_each(|topic| shared.topics.refresh(catalog, topic));
        }
        if change.unbound.is_some() || change.bound.is_some() || change.topic_deleted.is_some() {
            shared.topics.sweep(catalog);
        }
        if let Some(opened) = &change.producer_opened {
            let session = weir_core::shard::Session {
                producer: opened.id,
                epoch: opened.epoch,
            };
            let producer = Arc::new(Producer::new(session, opened.topic));
            shared
                .producers
                .insert(producer, |session| shard.session(session).is_some());
        }
    }
}

/// What the log's refusal means to a client.
pub(crate) fn submit_fault(error: &SubmitError) -> Fault {
    let code = match error {
        SubmitError::DiskFull => ErrorCode::DiskFull,
        SubmitError::TooLarge { .. } => ErrorCode::BatchTooLarge,
        SubmitError::Poisoned { .. } => ErrorCode::OutcomeUnknown,
        _ => ErrorCode::ShuttingDown,
    };
    Fault::new(code, error.to_string())
}

/// What the producer is told, encoded as it is stored.
fn outcome(prepared: &Prepared, sequence: Option<Sequence>, plan: &Plan) -> Bytes {
    let (outcome, error) = match prepared {
        Prepared::Placed { placed, .. } => (Some(placed.outcome(&plan.base_offsets)), None),
        Prepared::Refused { fault, .. } | Prepared::Retry(fault) => {
            (None, Some(Error::from(fault)))
        }
        Prepared::Not => unreachable!("only prepared flights reach the sequencer"),
    };
    let sequence = sequence.unwrap_or_default();
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
fn operations(
    parts: &[Part],
    original: PageBuf,
    plan: &Plan,
    turn: Option<Turn>,
    outcome: &Bytes,
) -> (Vec<Op>, u64) {
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
    if let Some(turn) = turn {
        ops.push(Op::ProducerSequence {
            producer: turn.session.producer,
            epoch: turn.session.epoch,
            sequence: turn.sequence,
            outcome: outcome.clone(),
        });
    }
    (ops, bytes)
}
