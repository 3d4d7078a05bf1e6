//! A producer of a run: sends flights of its own fleet as long as it is allowed to, and writes
//! down what it sent and what it heard.

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use weir_sdk::wire::batch::{BatchBuilder, Compression, NewRecord};
use weir_sdk::wire::id::Timestamp;
use weir_sdk::{BatchTicket, Client, Producer, PublishError, Record, RecordOutcome, Ticket};

use super::{ADDRESSED, Board};
use crate::flights::{Flight, Generator};
use crate::history::{Place, Problem, RecordId, RequestId, Sent};

/// The header that says which record it is.
pub(super) const ID_HEADER: &str = "id";
/// Records of a request at most.
const RECORDS_MAX: u32 = 40;
/// Aircraft of a fleet: few, so that every key has many records.
const FLEET: u32 = 15;
/// Little enough that a producer waits for answers, much enough for several requests.
const BYTE_BUDGET: usize = 128 << 10;
/// Answers that may wait to be looked at.
const TICKETS_MAX: usize = 4096;
/// 2013-01-01.
const TIME: Timestamp = Timestamp::new(1_356_998_400_000);

/// A producer at work.
#[derive(Debug)]
pub(super) struct Worker {
    producer: Producer,
    allowance: Arc<Semaphore>,
    ended: watch::Receiver<bool>,
    sending: JoinHandle<()>,
    collecting: JoinHandle<()>,
    answers: watch::Receiver<u64>,
    /// Its answers when the round began.
    answers_before: u64,
}

/// An answer to come, and whose.
#[derive(Debug)]
enum Awaited {
    One(RecordId, Ticket),
    Batch(Vec<RecordId>, BatchTicket),
}

impl Worker {
    /// Even ones send prepared batches, odd ones record by record, batched by the SDK.
    pub(super) async fn start(client: Client, number: u32, seed: u64, board: Arc<Board>) -> Self {
        let opened = client
            .producer(ADDRESSED)
            .byte_budget(BYTE_BUDGET)
            .batch_bytes(8 << 10);
        let producer = opened
            .open()
            .await
            .expect("a producer opens while the broker lives");
        let allowance = Arc::new(Semaphore::new(0));
        let (to_tickets, tickets) = mpsc::channel(TICKETS_MAX);
        let (to_answers, answers) = watch::channel(0);
        let (to_ended, ended) = watch::channel(false);
        let sender = Sender {
            producer: producer.clone(),
            allowance: allowance.clone(),
            board: board.clone(),
            flights: Generator::new(seed ^ u64::from(number), format!("F{number}-"), FLEET),
            rng: StdRng::seed_from_u64(seed.wrapping_add(u64::from(number))),
            number,
            next: 0,
            tickets: to_tickets,
        };
        let sending = tokio::spawn(async move {
            sender.run().await;
            to_ended.send_replace(true);
        });
        let collecting = tokio::spawn(collect(tickets, to_answers, board));
        Self {
            producer,
            allowance,
            ended,
            sending,
            collecting,
            answers,
            answers_before: 0,
        }
    }

    /// Lets it send so many requests more; answers how many that are.
    pub(super) fn allow(&self, requests: u32) -> u32 {
        self.allowance.add_permits(requests as usize);
        requests
    }

    /// Whether it still sends.
    pub(super) fn is_alive(&self) -> bool {
        !*self.ended.borrow()
    }

    /// Returns once it sends no more.
    pub(super) async fn ended(&self) {
        // The sender ends with its task, which is an end as well.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// The broker has started.
    pub(super) fn begin_round(&mut self) {
        self.answers_before = *self.answers.borrow();
    }

    /// Whether it is connected, which answers of this round show, and has requests in flight.
    pub(super) fn is_under_way(&self) -> bool {
        *self.answers.borrow() > self.answers_before && self.in_flight() > 0
    }

    /// Requests without an answer.
    pub(super) fn in_flight(&self) -> u64 {
        self.producer.stats().requests_in_flight
    }

    /// Ends it where it stands: nobody will answer.
    pub(super) fn abort(&self) {
        self.sending.abort();
        self.collecting.abort();
    }

    /// Stops sending, waits for all answers; says how many requests were sent again.
    pub(super) async fn finish(self) -> u64 {
        self.allowance.close();
        self.sending
            .await
            .expect("the producer's task does not panic");
        // Why it may have ended is among its answers already.
        let _ = self.producer.close().await;
        self.collecting.await.expect("the collector does not panic");
        self.producer.stats().resent
    }
}

struct Sender {
    producer: Producer,
    allowance: Arc<Semaphore>,
    board: Arc<Board>,
    flights: Generator,
    rng: StdRng,
    number: u32,
    next: u32,
    tickets: mpsc::Sender<Awaited>,
}

impl Sender {
    async fn run(mut self) {
        // The semaphore is closed when the run is over.
        while let Ok(permit) = self.allowance.clone().acquire_owned().await {
            permit.forget();
            let sent = if self.number.is_multiple_of(2) {
                self.batch().await
            } else {
                self.one().await
            };
            if let Err(reason) = sent {
                self.board
                    .history()
                    .note(Problem::ProducerFailed { reason });
                return;
            }
        }
    }

    async fn batch(&mut self) -> Result<(), String> {
        let request = self.request();
        let count = self.rng.random_range(1..=RECORDS_MAX);
        let mut builder = BatchBuilder::default();
        let mut ids = Vec::new();
        for index in 0..count {
            let id = RecordId { request, index };
            let flight = self.flights.flight();
            self.sent(id, &flight);
            builder.push(
                TIME,
                &NewRecord {
                    key: None,
                    value: Some(&flight.line),
                    headers: &[(ID_HEADER, id.to_string().as_bytes())],
                },
            );
            ids.push(id);
        }
        let batch = builder
            .finish(Compression::None)
            .expect("a small batch can be built");
        let ticket = self
            .producer
            .send_batch(batch)
            .await
            .map_err(|error| error.to_string())?;
        self.await_answer(Awaited::Batch(ids, ticket)).await;
        Ok(())
    }

    async fn one(&mut self) -> Result<(), String> {
        let id = RecordId {
            request: self.request(),
            index: 0,
        };
        let flight = self.flights.flight();
        self.sent(id, &flight);
        let record = Record::new(flight.line).header(ID_HEADER, id.to_string());
        let ticket = self
            .producer
            .send(record)
            .await
            .map_err(|error| error.to_string())?;
        self.await_answer(Awaited::One(id, ticket)).await;
        Ok(())
    }

    const fn request(&mut self) -> RequestId {
        let number = self.next;
        self.next += 1;
        RequestId {
            producer: self.number,
            number,
        }
    }

    fn sent(&self, id: RecordId, flight: &Flight) {
        let sent = Sent {
            key: flight.tailnum.clone(),
            value: Bytes::clone(&flight.line),
        };
        self.board.history().sent(id, sent);
    }

    async fn await_answer(&self, awaited: Awaited) {
        self.tickets
            .send(awaited)
            .await
            .expect("the collector outlives the sender");
    }
}

async fn collect(
    mut tickets: mpsc::Receiver<Awaited>,
    answers: watch::Sender<u64>,
    board: Arc<Board>,
) {
    while let Some(awaited) = tickets.recv().await {
        match awaited {
            Awaited::One(id, ticket) => {
                let outcome = ticket.await;
                answer(&board, [id], outcome.map(|outcome| vec![outcome]));
            }
            Awaited::Batch(ids, ticket) => {
                let outcomes = ticket.await.map(|outcomes| outcomes.records().collect());
                answer(&board, ids, outcomes);
            }
        }
        answers.send_modify(|answers| *answers += 1);
        board.answers.send_modify(|answers| *answers += 1);
    }
}

fn answer(
    board: &Board,
    ids: impl IntoIterator<Item = RecordId>,
    outcomes: Result<Vec<RecordOutcome>, PublishError>,
) {
    let mut history = board.history();
    match outcomes {
        Ok(outcomes) => {
            for (id, outcome) in ids.into_iter().zip(outcomes) {
                match outcome {
                    RecordOutcome::Stored(stored) => {
                        let places = stored.places().map(|place| Place {
                            topic: place.topic.clone(),
                            partition: place.partition,
                            offset: place.offset,
                        });
                        history.acknowledged(id, places.collect());
                    }
                    other => {
                        history.not_stored(id);
                        let reason = format!("record {id}: {other:?}");
                        history.note(Problem::ProducerFailed { reason });
                    }
                }
            }
        }
        Err(error) => {
            if matches!(
                error,
                PublishError::Refused(_) | PublishError::NotSent { .. }
            ) {
                ids.into_iter().for_each(|id| history.not_stored(id));
            }
            history.note(Problem::ProducerFailed {
                reason: error.to_string(),
            });
        }
    }
}
