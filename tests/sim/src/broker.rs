//! A broker without network, threads and clock: sessions, placement and the sequencer around
//! core's shard and the log's committer. Every call does one step and answers at once.

mod open;
mod request;
mod sink;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use weir_core::change::Change;
use weir_core::dedup::{Admission, FlightId, ProducerState};
use weir_core::place::Placed;
use weir_core::shard::{
    ChangeRequest, Plan, ProduceRequest, SequenceError, Session, Shard, Trim, Turn,
};
use weir_log::{Committer, Entry, LogError, LogReader, Op, Submission};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{
    BindingEpoch, Offset, PartitionId, ProducerId, Sequence, Timestamp, TopicId, TopicPartition,
};
use weir_wire::message::Message as _;
use weir_wire::name::TopicName;

use crate::network::{Message, Reply, Waiter};
pub(crate) use open::{DIR, Settings, open};
pub(crate) use request::has_ordering_keys;
use request::{operations, outcome, prepare, size};
pub(crate) use sink::Commits;

/// What a block holds at most: half of the smallest WAL file.
const BLOCK_BYTES: usize = 30 << 10;

/// A bug planted on purpose, to see that the simulation finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Planted {
    /// One of the log's.
    Log(weir_log::Bug),
    /// A repeated request is appended again, although its outcome is known.
    RetryAppendsAgain,
    /// Outcomes are not restored when the log is opened.
    OutcomesForgotten,
    /// Outcomes do not get into checkpoints.
    OutcomesNotSaved,
    /// The log hears of a topic's deletion before that is durable.
    ForgottenBeforeDurable,
    /// A request that was placed for fewer partitions is not placed again.
    StalePlacement,
    /// Producers are answered when their request has its place, before it is durable.
    AnswerBeforeCommit,
}

/// Who waits for an entry to be durable.
#[derive(Debug)]
pub(crate) enum Token {
    Produce {
        producer: ProducerId,
        flight: Option<FlightId>,
        outcome: Bytes,
    },
    Change {
        change: Box<Change>,
        waiter: Option<Waiter>,
    },
    Trim(TopicPartition, Offset),
}

/// A producer session.
#[derive(Debug)]
struct Row {
    session: Session,
    topic: TopicId,
    state: ProducerState<Waiter>,
    /// Requests that have no place yet, in the order in which they will be sequenced.
    preparing: VecDeque<Flight>,
    sticky: u32,
}

/// A request on its way to the sequencer.
#[derive(Debug)]
struct Flight {
    /// `None` for one that only a planted bug runs.
    id: Option<FlightId>,
    batch: Bytes,
    prepared: Prepared,
}

#[derive(Debug)]
enum Prepared {
    Placed(BindingEpoch, Placed),
    Refused(Fault),
}

/// What a broker tells the outside: replies, and what changed for good.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) replies: Vec<(Waiter, Reply)>,
    pub(crate) changes: Vec<Change>,
    pub(crate) trims: Vec<(TopicPartition, Offset)>,
}

/// A broker that runs.
#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) shard: Shard,
    pub(crate) committer: Committer<Token>,
    pub(crate) reader: LogReader,
    pub(crate) commits: Commits,
    rows: BTreeMap<ProducerId, Row>,
    waiting: VecDeque<Submission<Token>>,
    told: Told,
    planted: Option<Planted>,
}

impl Broker {
    /// Takes in what a client said.
    pub(crate) fn hear(&mut self, now: Timestamp, waiter: Waiter, message: Message) {
        match message {
            Message::Open(name) => {
                let request = ChangeRequest::OpenProducer(topic_name(name));
                if self.change(now, &request, Some(waiter)).is_err() {
                    self.told.replies.push((waiter, Reply::NotOpened));
                }
            }
            Message::Produce {
                session,
                sequence,
                batch,
            } => self.admit(waiter, session, sequence, batch),
        }
    }

    /// Plans a change and hands it to the log; answers it, if it is allowed.
    pub(crate) fn change(
        &mut self,
        now: Timestamp,
        request: &ChangeRequest,
        waiter: Option<Waiter>,
    ) -> Result<Change, String> {
        let change = self.shard.plan_change(now, request);
        let change = change.map_err(|error| error.to_string())?;
        let ops = vec![Op::Metadata(Bytes::from(change.to_vec()))];
        let token = Token::Change {
            change: Box::new(change.clone()),
            waiter,
        };
        self.waiting.push_back(Submission {
            entry: Entry { ops },
            token,
        });
        for forgotten in self.shard.commit_change(&change) {
            self.forget(forgotten);
        }
        if let Some(opened) = &change.producer_opened {
            let session = Session {
                producer: opened.id,
                epoch: opened.epoch,
            };
            self.rows.insert(opened.id, Row::new(session, opened.topic));
        }
        if self.planted == Some(Planted::ForgottenBeforeDurable)
            && let Some(deleted) = &change.topic_deleted
        {
            self.reader.forget(deleted.id);
        }
        Ok(change)
    }

    /// Drops everything below an offset of a partition, if that is allowed.
    pub(crate) fn trim(
        &mut self,
        now: Timestamp,
        partition: TopicPartition,
        start: Offset,
    ) -> Result<(), String> {
        let held = self.reader.bounds(partition);
        let trim = Trim {
            partition,
            held: held.map_or(Offset::ZERO, |bounds| bounds.start),
            start,
        };
        let expired = self.shard.plan_trim(now, trim);
        let expired = expired.map_err(|error| error.to_string())?;
        let mut ops = vec![Op::Trim { partition, start }];
        if let Some(expired) = &expired {
            ops.push(Op::Metadata(Bytes::from(expired.to_vec())));
            self.shard.commit_change(expired);
        }
        let token = Token::Trim(partition, start);
        self.waiting.push_back(Submission {
            entry: Entry { ops },
            token,
        });
        Ok(())
    }

    /// The state that the log's entries make, in words; all of it is durable only when nothing
    /// waits.
    pub(crate) fn state(&self) -> String {
        let mut state = String::new();
        let mut line = |part: &dyn std::fmt::Debug| {
            state.push_str(&format!("{part:?}\n"));
        };
        self.shard.catalog().topics().for_each(|topic| line(topic));
        line(&self.shard.catalog().next_topic_id());
        self.shard.cursors().all().for_each(|group| line(&group));
        for (session, topic) in self.shard.sessions() {
            let outcomes = self.rows.get(&session.producer);
            let outcomes = outcomes.map(|row| {
                let (oldest, outcomes) = row.state.outcomes();
                (
                    oldest,
                    outcomes
                        .map(|bytes| crc32c::crc32c(bytes))
                        .collect::<Vec<u32>>(),
                )
            });
            line(&(session, topic, self.shard.session(session), outcomes));
        }
        for at in self.partitions() {
            line(&(at, self.shard.end(at)));
        }
        state
    }

    /// Producers with requests that have no place yet.
    pub(crate) fn preparing(&self) -> Vec<ProducerId> {
        let rows = self.rows.iter();
        let busy = rows.filter(|(_, row)| !row.preparing.is_empty());
        busy.map(|(id, _)| *id).collect()
    }

    /// Every partition of every topic.
    pub(crate) fn partitions(&self) -> Vec<TopicPartition> {
        let topics = self.shard.catalog().topics();
        topics
            .flat_map(|topic| {
                (0..topic.partitions).map(|number| TopicPartition {
                    topic: topic.id,
                    partition: PartitionId::new(number),
                })
            })
            .collect()
    }

    /// Entries that wait for the log.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Gives the oldest request of a producer its place.
    pub(crate) fn sequence(&mut self, now: Timestamp, producer: ProducerId) {
        let row = self.rows.get_mut(&producer);
        let flight = row.and_then(|row| row.preparing.pop_front());
        if let Some(flight) = flight {
            self.produce(now, producer, flight);
        }
    }

    /// Makes the oldest entries durable as one block, as many as fit one.
    pub(crate) fn commit(&mut self, count: usize) -> Result<(), LogError> {
        let mut bytes = 0;
        let fitting = self.waiting.iter().take(count).take_while(|submission| {
            bytes += size(&submission.entry);
            bytes <= BLOCK_BYTES
        });
        let count = fitting.count();
        let block: Vec<_> = self.waiting.drain(..count).collect();
        self.committer.commit(block)
    }

    /// What the log made durable reaches sessions and clients: all of it, or only the first so
    /// many entries.
    pub(crate) fn settle(&mut self, first: usize) {
        for token in self.commits.take(first) {
            match token {
                Token::Produce {
                    producer,
                    flight,
                    outcome,
                } => self.complete(producer, flight, &outcome),
                Token::Change { change, waiter } => self.changed(*change, waiter),
                Token::Trim(at, start) => self.told.trims.push((at, start)),
            }
        }
    }

    /// What there is to tell since the last call.
    pub(crate) fn tell(&mut self) -> Told {
        std::mem::take(&mut self.told)
    }

    /// A session is unknown from here on, and whoever waits for one of its requests hears it.
    fn forget(&mut self, producer: ProducerId) {
        let Some(mut row) = self.rows.remove(&producer) else {
            return;
        };
        let open = row.state.done_before().value()..row.state.next().value();
        for sequence in open.map(Sequence::new) {
            let waiters = row.state.take_waiters(sequence).into_iter();
            let replies = waiters.map(|waiter| (waiter, Reply::Unknown(sequence)));
            self.told.replies.extend(replies);
        }
    }

    fn complete(&mut self, producer: ProducerId, flight: Option<FlightId>, outcome: &Bytes) {
        let (Some(row), Some(flight)) = (self.rows.get_mut(&producer), flight) else {
            return;
        };
        let sequence = flight.sequence();
        let reply = Reply::Outcome(sequence, outcome.clone());
        let waiters = row.state.complete(sequence, outcome.clone());
        let replies = waiters.into_iter().map(|waiter| (waiter, reply.clone()));
        self.told.replies.extend(replies);
    }

    fn changed(&mut self, change: Change, waiter: Option<Waiter>) {
        if let (Some(opened), Some(waiter)) = (&change.producer_opened, waiter) {
            let session = Session {
                producer: opened.id,
                epoch: opened.epoch,
            };
            let reply = Reply::Opened(session, opened.topic);
            self.told.replies.push((waiter, reply));
        }
        if let Some(deleted) = &change.topic_deleted {
            // Not before: what nobody reads any more, the log drops.
            self.reader.forget(deleted.id);
        }
        self.told.changes.push(change);
    }

    fn admit(&mut self, waiter: Waiter, session: Session, sequence: Sequence, batch: Bytes) {
        let row = self.rows.get_mut(&session.producer);
        let Some(row) = row.filter(|row| row.session == session) else {
            let reply = Reply::Unknown(sequence);
            return self.told.replies.push((waiter, reply));
        };
        let topic = row.topic;
        let id = match row.state.admit(sequence, waiter) {
            Admission::New(id) => Some(id),
            Admission::InFlight => return,
            Admission::Known(waiter, outcome) => {
                let reply = Reply::Outcome(sequence, outcome);
                self.told.replies.push((waiter, reply));
                if self.planted != Some(Planted::RetryAppendsAgain) {
                    return;
                }
                None
            }
            Admission::Forgotten(waiter) => {
                let reply = Reply::Unknown(sequence);
                return self.told.replies.push((waiter, reply));
            }
            Admission::OutOfSequence(waiter, next) => {
                return self.told.replies.push((waiter, Reply::Again(next)));
            }
            Admission::TooMany(waiter) => {
                return self.told.replies.push((waiter, Reply::Again(sequence)));
            }
        };
        row.sticky += 1;
        let prepared = prepare(&self.shard, topic, &batch, row.sticky);
        row.preparing.push_back(Flight {
            id,
            batch,
            prepared,
        });
    }

    fn produce(&mut self, now: Timestamp, producer: ProducerId, mut flight: Flight) {
        let Some(row) = self.rows.get_mut(&producer) else {
            return;
        };
        if flight.id.is_some_and(|id| !row.state.is_current(id)) {
            return;
        }
        let turn = flight.id.map(|id| Turn {
            session: row.session,
            sequence: id.sequence(),
        });
        let (epoch, parts) = match &flight.prepared {
            Prepared::Placed(epoch, placed) => (Some(*epoch), placed.parts.as_slice()),
            Prepared::Refused(_) => (None, [].as_slice()),
        };
        let request = ProduceRequest {
            hooks_of: epoch
                .filter(|_| self.planted != Some(Planted::StalePlacement))
                .map(|epoch| (row.topic, epoch)),
            turn,
            parts,
        };
        match self.shard.plan(now, &request) {
            Ok(plan) => {
                let outcome = outcome(&flight.prepared, flight.id, &plan);
                let forgotten = self.shard.commit(&request, &plan, outcome.len());
                self.log(producer, flight, turn, &plan, outcome);
                forgotten.into_iter().for_each(|id| self.forget(id));
            }
            Err(error) if goes_again(&error, flight.id) => {
                flight.prepared = prepare(&self.shard, row.topic, &flight.batch, row.sticky);
                row.preparing.push_back(flight);
            }
            Err(SequenceError::Fenced | SequenceError::UnknownProducer) => self.forget(producer),
            Err(error) => self.refuse(now, producer, flight, &error),
        }
    }

    /// A refusal for good is the request's outcome, and is logged like any other.
    fn refuse(
        &mut self,
        now: Timestamp,
        producer: ProducerId,
        mut flight: Flight,
        error: &SequenceError,
    ) {
        if flight.id.is_some() && matches!(flight.prepared, Prepared::Placed(..)) {
            let fault = Fault::new(ErrorCode::UnknownTopic, error.to_string());
            flight.prepared = Prepared::Refused(fault);
            self.produce(now, producer, flight);
        }
    }

    fn log(
        &mut self,
        producer: ProducerId,
        flight: Flight,
        turn: Option<Turn>,
        plan: &Plan,
        outcome: Bytes,
    ) {
        let entry = Entry {
            ops: operations(&flight, turn, plan, &outcome),
        };
        let Flight { id, .. } = flight;
        if self.planted == Some(Planted::AnswerBeforeCommit)
            && let (Some(row), Some(id)) = (self.rows.get_mut(&producer), id)
        {
            let sequence = id.sequence();
            let waiters = row.state.take_waiters(sequence);
            let reply = Reply::Outcome(sequence, outcome.clone());
            let replies = waiters.into_iter().map(|waiter| (waiter, reply.clone()));
            self.told.replies.extend(replies);
        }
        let token = Token::Produce {
            producer,
            flight: id,
            outcome,
        };
        self.waiting.push_back(Submission { entry, token });
    }
}

impl Row {
    fn new(session: Session, topic: TopicId) -> Self {
        Self {
            session,
            topic,
            state: ProducerState::default(),
            preparing: VecDeque::new(),
            sticky: 0,
        }
    }
}

/// The topics of a simulation, by number.
pub(crate) fn topic_name(number: usize) -> TopicName {
    let name = format!("topic-{number}");
    name.parse().expect("letters and digits make a name")
}

/// Whether a request is placed anew, and takes its turn again.
fn goes_again(error: &SequenceError, id: Option<FlightId>) -> bool {
    match error {
        SequenceError::Stale => true,
        SequenceError::OutOfSequence { expected } => id.is_some_and(|id| id.sequence() > *expected),
        _ => false,
    }
}
