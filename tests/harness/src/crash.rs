//! A run under kills: producers and a reader work on, the broker is killed and started again, and
//! everything that happens goes into a history.
//!
//! Kills come after a random number of answers or deliveries: nothing waits for a clock, and the
//! moments just behind an answer, where bugs of durability show, are hit often.

mod bindings;
mod producer;
mod reader;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;
use weir_sdk::Client;

use crate::client::connect;
use crate::history::{History, Place, Problem, Stored, summary};
use crate::process::{Process, Setup};
use crate::reading;
use crate::report::say;
use bindings::Bindings;
use producer::Worker;

/// The topic that is produced to; its bindings send everything on.
const ADDRESSED: &str = "flights";
/// Requests that a producer may send between two kills.
const REQUESTS_PER_ROUND: u32 = 48;
/// Of the answers of a round, so many in a hundred may come before the kill: the rest is under
/// way, or still to be sent.
const ANSWERS_PERCENT: u32 = 70;
/// Nothing takes that long unless something hangs.
const STEP_MAX: Duration = Duration::from_secs(90);

/// What is to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The broker.
    pub setup: Setup,
    /// The test switches that are on once topics and bindings exist.
    pub switches: Vec<(&'static str, String)>,
    /// Kills with requests in flight.
    pub kills: usize,
    /// Whether bindings and plugin versions change all the time.
    pub rebinds: bool,
    /// Decides everything that is random here.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// What breaks the rules.
    pub problems: Vec<Problem>,
    /// Kills with requests in flight.
    pub kills: usize,
    /// Kills that met an idle moment, and count for nothing.
    pub idle_kills: usize,
    /// Requests that were sent again.
    pub resent: u64,
    /// Bindings made while requests were in flight.
    pub rebinds: usize,
    /// Records sent, acknowledged, read along, and there in the end.
    pub records: [usize; 4],
}

impl Outcome {
    /// One line for whoever watches.
    #[must_use]
    pub fn line(&self) -> String {
        let Self {
            kills,
            idle_kills,
            resent,
            rebinds,
            records,
            problems,
        } = self;
        let [sent, acknowledged, read, stored] = records;
        format!(
            "{kills} kills with requests in flight ({idle_kills} idle ones not counted), {rebinds} \
             bindings changed under way; {sent} records sent, {acknowledged} acknowledged, {stored} \
             stored, {read} read along; {resent} requests sent again; {}",
            summary(problems)
        )
    }

    /// Fails the test if anything is wrong.
    pub fn expect_good(&self, name: &str) {
        say(&format!("{name}: {}", self.line()));
        assert!(self.problems.is_empty(), "{name}: {}", self.line());
    }
}

/// What everybody in a run shares.
#[derive(Debug)]
struct Board {
    history: Mutex<History>,
    /// Answers and deliveries so far.
    events: watch::Sender<u64>,
}

impl Board {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self) {
        self.events.send_modify(|events| *events += 1);
    }
}

/// Does what the plan says.
pub async fn run(plan: Plan) -> Outcome {
    let mut process = block_in_place(|| Process::start(plan.setup.clone()));
    let client = connect(&process).await;
    let mut bindings = Bindings::prepare(&client).await;
    client.close().await;
    process.set_switches([plan.setup.switches.clone(), plan.switches.clone()].concat());
    block_in_place(|| process.restart());

    let board = Arc::new(Board {
        history: Mutex::default(),
        events: watch::Sender::new(0),
    });
    let reader = connect(&process).await;
    let reading = tokio::spawn(reader::run(reader, bindings.topics(), board.clone()));
    let mut workers = Vec::new();
    for number in 0..2 {
        let client = connect(&process).await;
        workers.push(Worker::start(client, number, plan.seed, board.clone()).await);
    }
    let mut run = Run {
        rng: StdRng::seed_from_u64(plan.seed),
        process,
        workers,
        board,
        outcome: Outcome {
            problems: Vec::new(),
            kills: 0,
            idle_kills: 0,
            resent: 0,
            rebinds: 0,
            records: [0; 4],
        },
    };
    while run.outcome.kills < plan.kills && run.workers.iter().all(Worker::is_alive) {
        run.round(plan.rebinds.then_some(&mut bindings)).await;
    }
    run.finish(reading, &bindings).await
}

struct Run {
    rng: StdRng,
    process: Process,
    workers: Vec<Worker>,
    board: Arc<Board>,
    outcome: Outcome,
}

impl Run {
    /// Traffic, a kill somewhere in it, a restart; bindings change before and after.
    async fn round(&mut self, bindings: Option<&mut Bindings>) {
        let requests: u32 = self
            .workers
            .iter()
            .map(|w| w.allow(REQUESTS_PER_ROUND))
            .sum();
        let answers = self.rng.random_range(0..=requests * ANSWERS_PERCENT / 100);
        let Some(bindings) = bindings else {
            self.wait_for(answers).await;
            self.kill();
            block_in_place(|| self.process.restart());
            return;
        };
        self.wait_for(answers / 2).await;
        let client = connect(&self.process).await;
        self.rebind(&client, bindings).await;
        self.wait_for(answers - answers / 2).await;
        // Sometimes the kill meets a change of bindings that is under way.
        let change = bindings.next_route();
        let admin = client.admin();
        let changing = tokio::spawn(async move { admin.bind(&change).await.is_ok() });
        if self.rng.random_bool(0.5) {
            tokio::task::yield_now().await;
        }
        self.kill();
        changing.abort();
        block_in_place(|| self.process.restart());
        let client = connect(&self.process).await;
        self.rebind(&client, bindings).await;
        client.close().await;
    }

    async fn rebind(&mut self, client: &Client, bindings: &mut Bindings) {
        let before = self.in_flight();
        bindings.change(client, &mut self.rng).await;
        if before > 0 {
            self.outcome.rebinds += 1;
        }
    }

    /// Waits for so many answers or deliveries more, or until no producer works any more.
    async fn wait_for(&self, more: u32) {
        let mut events = self.board.events.subscribe();
        let target = *events.borrow() + u64::from(more);
        let workers = &self.workers;
        let ended = async {
            for worker in workers {
                worker.ended().await;
            }
        };
        let waited = timeout(STEP_MAX, async {
            tokio::select! {
                result = events.wait_for(|events| *events >= target) => drop(result),
                () = ended => {}
            }
        });
        if waited.await.is_err() {
            let lines = self.process.last_lines();
            panic!(
                "nothing moves: {} requests in flight; the broker:\n{lines}",
                self.in_flight()
            );
        }
    }

    fn in_flight(&self) -> u64 {
        self.workers.iter().map(Worker::in_flight).sum()
    }

    fn kill(&mut self) {
        let in_flight = self.in_flight();
        self.process.kill();
        if in_flight > 0 {
            self.outcome.kills += 1;
        } else {
            self.outcome.idle_kills += 1;
        }
    }

    /// Everything gets its outcome; one more kill, so that nothing counts that is only in memory;
    /// then everything is read and judged.
    async fn finish(mut self, reading: JoinHandle<()>, bindings: &Bindings) -> Outcome {
        for worker in self.workers.drain(..) {
            let resent = timeout(STEP_MAX, worker.finish()).await;
            let lines = self.process.last_lines();
            self.outcome.resent +=
                resent.unwrap_or_else(|_| panic!("a producer does not end; the broker:\n{lines}"));
        }
        reading.abort();
        // It has written down everything, or was cancelled.
        let _ = reading.await;
        block_in_place(|| self.process.restart());
        let client = connect(&self.process).await;
        let topics = bindings.topics();
        let mut history = self.board.history();
        let mut found = Vec::new();
        drop(history);
        let read = timeout(
            STEP_MAX,
            reading::to_the_end(&client, &topics, None, |record| {
                found.push(record);
            }),
        );
        let read = read.await.expect("reading what is there ends");
        history = self.board.history();
        for record in found {
            let id = record
                .header(producer::ID_HEADER)
                .map(|id| String::from_utf8_lossy(id));
            history.stored(Stored {
                place: Place {
                    topic: (*record.topic).clone(),
                    partition: record.partition,
                    offset: record.offset,
                },
                id: id.and_then(|id| id.parse().ok()),
                key: record.ordering_key,
                value: record.value.unwrap_or_default(),
            });
        }
        if let Err(error) = read {
            history.note(Problem::Unreadable {
                reason: error.to_string(),
            });
        }
        self.outcome.problems = history.check();
        self.outcome.records = history.counts();
        drop(history);
        self.outcome
    }
}
