//! A run under kills: producers and readers work on, the broker is killed and started again, and
//! everything that happens goes into a history.
//!
//! Kills come after a random number of answers or deliveries: nothing waits for a clock, and the
//! moments just behind an answer, where bugs of durability show, are hit often.

mod bindings;
mod producer;
mod reader;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::{JoinHandle, block_in_place};
use tokio::time::timeout;
use weir_sdk::{Client, Received};

use crate::client::{connect, try_connect};
use crate::directory::files;
use crate::history::{History, Place, Problem, ReaderId, Stored, summary};
use crate::process::{Process, Setup};
use crate::reading;
use crate::report::say;
use bindings::Bindings;
use producer::Worker;

/// The topic that is produced to; its bindings send everything on.
const ADDRESSED: &str = "flights";
/// Producers: one that prepares its batches, one that leaves that to the SDK.
const PRODUCERS: u32 = 2;
/// Requests that a producer may send between two kills.
const REQUESTS_PER_ROUND: u32 = 100;
/// Of the answers of a round, so many in a hundred may come before the kill: the rest is under
/// way, or still to be sent.
const ANSWERS_PERCENT: u32 = 70;
/// Rounds that a process is aimed in are so much longer: it has to get to its moment by itself.
const AIMED_FACTOR: u32 = 6;
const AIMED_PERCENT: u32 = 95;
/// Of the processes, so many in a hundred are aimed, if there are moments to aim at.
const AIMED: u32 = 60;
/// Deliveries of a round before such a kill, at most.
const DELIVERIES_MAX: u64 = 12;
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
    /// Of the kills, so many in a hundred come behind a delivery instead of an answer.
    pub behind_deliveries_percent: u32,
    /// Whether bindings and plugin versions change all the time.
    pub rebinds: bool,
    /// Moments of what the log does at which some of the kills come, as `WEIR_KILL_AT` takes
    /// them, and at most how many times each may pass before.
    pub moments: Vec<(&'static str, u32)>,
    /// Decides everything that is random here.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What breaks the rules.
    pub problems: Vec<Problem>,
    /// Kills with requests in flight.
    pub kills: usize,
    /// Of these, kills at moments of what the log does, by moment.
    pub at_moments: BTreeMap<&'static str, usize>,
    /// Most WAL files, segments and checkpoints that a restart found.
    pub found: [usize; 3],
    /// Kills that met an idle moment, or producers that were not back yet; they count for nothing.
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
            at_moments,
            found: [wal, segments, checkpoints],
        } = self;
        let [sent, acknowledged, read, stored] = records;
        let aimed: usize = at_moments.values().sum();
        let moments: Vec<String> = at_moments
            .iter()
            .map(|(moment, kills)| format!("{moment} {kills}"))
            .collect();
        let moments = moments.join(", ");
        format!(
            "{kills} kills with requests in flight ({idle_kills} others; {aimed} at moments: \
             {moments}), restarts from up to {segments} segments, {checkpoints} checkpoints, {wal} \
             WAL files; {rebinds} bindings changed under way; {sent} records sent, {acknowledged} acknowledged, {stored} \
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
    /// Answers to producers so far.
    answers: watch::Sender<u64>,
    /// Deliveries so far of what no reader had before.
    news: watch::Sender<u64>,
    /// Deliveries so far, and ends of readers.
    deliveries: watch::Sender<u64>,
}

impl Board {
    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
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

    let board = Board {
        history: Mutex::default(),
        answers: watch::Sender::new(0),
        news: watch::Sender::new(0),
        deliveries: watch::Sender::new(0),
    };
    let mut run = Run {
        rng: StdRng::seed_from_u64(plan.seed),
        behind_deliveries_percent: plan.behind_deliveries_percent,
        switches: [plan.setup.switches.clone(), plan.switches.clone()].concat(),
        moments: shuffled(&plan),
        aimed_at: None,
        process,
        board: Arc::new(board),
        workers: Vec::new(),
        topics: bindings.topics(),
        readers: 0,
        passing: None,
        down: None,
        outcome: Outcome::default(),
    };
    let staying = run.start_reader().await;
    for number in 0..PRODUCERS {
        let client = connect(&run.process).await;
        run.workers
            .push(Worker::start(client, number, plan.seed, run.board.clone()).await);
    }
    while run.outcome.kills < plan.kills && run.goes_on() {
        run.round(plan.rebinds.then_some(&mut bindings)).await;
    }
    let planted = plan.switches.iter().any(|(name, _)| *name == "WEIR_PLANT");
    run.finish(staying, !planted).await
}

/// The moments in an order of this seed.
fn shuffled(plan: &Plan) -> Vec<(&'static str, u32)> {
    let mut moments = plan.moments.clone();
    moments.shuffle(&mut StdRng::seed_from_u64(plan.seed));
    moments
}

/// When to kill: at so many answers in all, or at so many deliveries if that comes first.
#[derive(Clone, Copy, Debug)]
struct Moment {
    answers: u64,
    news: Option<u64>,
}

struct Run {
    rng: StdRng,
    behind_deliveries_percent: u32,
    /// The switches that are always on.
    switches: Vec<(&'static str, String)>,
    moments: Vec<(&'static str, u32)>,
    /// The moment at which the process that runs is to be killed.
    aimed_at: Option<&'static str>,
    process: Process,
    workers: Vec<Worker>,
    board: Arc<Board>,
    topics: Vec<&'static str>,
    /// Readers so far.
    readers: u32,
    /// The reader that lives from restart to kill.
    passing: Option<JoinHandle<()>>,
    /// Why there is no broker any more.
    down: Option<Problem>,
    outcome: Outcome,
}

impl Run {
    fn goes_on(&self) -> bool {
        self.down.is_none() && self.workers.iter().all(Worker::is_alive)
    }

    /// The broker is gone, and not because of a kill.
    fn is_down(&mut self, what: &'static str) {
        let log = self.process.last_lines();
        self.down.get_or_insert(Problem::Down { what, log });
    }

    /// Traffic, a kill somewhere in it, a restart; bindings change before and after.
    async fn round(&mut self, bindings: Option<&mut Bindings>) {
        let begin = *self.board.answers.borrow();
        let is_aimed = self.aimed_at.is_some();
        for worker in &mut self.workers {
            worker.begin_round();
        }
        let requests: u32 = self
            .workers
            .iter()
            .map(|w| w.allow(REQUESTS_PER_ROUND * if is_aimed { AIMED_FACTOR } else { 1 }))
            .sum();
        let answers = if is_aimed {
            requests * AIMED_PERCENT / 100
        } else {
            self.rng.random_range(1..=requests * ANSWERS_PERCENT / 100)
        };
        let kill_at = Moment {
            answers: begin + u64::from(answers),
            news: (!is_aimed && self.rng.random_ratio(self.behind_deliveries_percent, 100))
                .then(|| *self.board.news.borrow() + self.rng.random_range(1..=DELIVERIES_MAX)),
        };
        let Some(bindings) = bindings else {
            self.wait_until(kill_at).await;
            self.kill();
            return self.restart().await;
        };
        let half_way = begin + u64::from(answers / 2);
        self.wait_until(Moment {
            answers: half_way,
            news: None,
        })
        .await;
        let client = connect(&self.process).await;
        self.rebind(&client, bindings).await;
        self.wait_until(kill_at).await;
        // Sometimes the kill meets a change of bindings that is under way.
        let change = bindings.next_route();
        let admin = client.admin();
        let changing = tokio::spawn(async move { admin.bind(&change).await.is_ok() });
        if self.rng.random_bool(0.5) {
            tokio::task::yield_now().await;
        }
        self.kill();
        changing.abort();
        self.restart().await;
        if self.down.is_some() {
            return;
        }
        let client = connect(&self.process).await;
        self.rebind(&client, bindings).await;
        client.close().await;
    }

    async fn start_reader(&mut self) -> JoinHandle<()> {
        let id = ReaderId(self.readers);
        self.readers += 1;
        let client = if self.aimed_at.is_some() {
            // It may end any moment.
            match try_connect(&self.process).await {
                Ok(client) => client,
                Err(_) => return tokio::spawn(async {}),
            }
        } else {
            connect(&self.process).await
        };
        let (topics, board) = (self.topics.clone(), self.board.clone());
        tokio::spawn(reader::run(client, id, topics, board))
    }

    async fn rebind(&mut self, client: &Client, bindings: &mut Bindings) {
        let before = self.in_flight();
        bindings.change(client, &mut self.rng).await;
        if before > 0 {
            self.outcome.rebinds += 1;
        }
    }

    /// Waits for that moment, or until no producer works any more.
    async fn wait_until(&self, moment: Moment) {
        let mut answers = self.board.answers.subscribe();
        let mut news = self.board.news.subscribe();
        let news_target = moment.news.unwrap_or(u64::MAX);
        let ended = async {
            for worker in &self.workers {
                worker.ended().await;
            }
        };
        let waited = timeout(STEP_MAX, async {
            tokio::select! {
                result = answers.wait_for(|answers| *answers >= moment.answers) => drop(result),
                result = news.wait_for(|news| *news >= news_target) => drop(result),
                () = ended => {}
                () = self.process.ended() => {}
            }
        });
        if waited.await.is_err() {
            let (lines, in_flight) = (self.process.last_lines(), self.in_flight());
            panic!("nothing moves: {in_flight} requests in flight; the broker:\n{lines}");
        }
    }

    fn in_flight(&self) -> u64 {
        self.workers.iter().map(Worker::in_flight).sum()
    }

    fn kill(&mut self) {
        let counts = self.workers.iter().any(Worker::is_under_way);
        let by_itself = self.process.has_ended();
        self.process.kill();
        if by_itself {
            match self.aimed_at.take() {
                Some(moment) => *self.outcome.at_moments.entry(moment).or_default() += 1,
                None => self.is_down("ended by itself"),
            }
        }
        if counts {
            self.outcome.kills += 1;
        } else {
            self.outcome.idle_kills += 1;
        }
    }

    /// Sometimes the first attempt is killed while it recovers. A new reader comes at once: it
    /// looks how much is there before the producers are back.
    async fn restart(&mut self) {
        if self.rng.random_bool(0.2) {
            block_in_place(|| self.process.restart_in_vain());
        }
        self.look_at_files();
        block_in_place(|| self.restart_aimed());
        if self.down.is_some() {
            return;
        }
        let passing = self.start_reader().await;
        if let Some(before) = self.passing.replace(passing) {
            before.abort();
        }
    }

    /// Some of the processes are to end at a moment of what the log does; some of them end
    /// while they start.
    fn restart_aimed(&mut self) {
        if !self.moments.is_empty() && self.rng.random_ratio(AIMED, 100) {
            // One after the other, so that each has its turn.
            self.moments.rotate_left(1);
            let (moment, most) = self.moments[0];
            let count = self.rng.random_range(1..=most);
            let aim = ("WEIR_KILL_AT", format!("{moment}:{count}"));
            let switches = self.switches.iter().cloned().chain([aim]).collect();
            self.process.set_switches(switches);
            self.aimed_at = Some(moment);
            if self.process.try_restart() {
                return;
            }
            *self.outcome.at_moments.entry(moment).or_default() += 1;
        }
        self.aimed_at = None;
        self.process.set_switches(self.switches.clone());
        if !self.process.try_restart() {
            self.is_down("does not start again");
        }
    }

    fn look_at_files(&mut self) {
        let log = self.process.data().join("log");
        for (most, directory) in
            self.outcome
                .found
                .iter_mut()
                .zip(["wal", "segments", "checkpoints"])
        {
            *most = files(&log.join(directory)).len().max(*most);
        }
    }

    /// Everything gets its outcome; one more kill, so that nothing counts that is only in memory;
    /// then everything is read and judged.
    async fn finish(mut self, mut staying: JoinHandle<()>, patient: bool) -> Outcome {
        // What is left to do is done without another kill.
        self.moments.clear();
        self.look_at_files();
        if self.aimed_at.is_some() && self.down.is_none() {
            block_in_place(|| self.restart_aimed());
        }
        if self.down.is_some() {
            return self.give_up(&staying);
        }
        for worker in std::mem::take(&mut self.workers) {
            let resent = timeout(STEP_MAX, worker.finish()).await;
            let lines = self.process.last_lines();
            self.outcome.resent +=
                resent.unwrap_or_else(|_| panic!("a producer does not end; the broker:\n{lines}"));
        }
        if patient {
            self.await_reader().await;
        }
        staying.abort();
        self.passing.iter().for_each(JoinHandle::abort);
        // It has written down everything, or was cancelled.
        let _ = (&mut staying).await;
        block_in_place(|| self.restart_aimed());
        if self.down.is_some() {
            return self.give_up(&staying);
        }
        self.read_all().await;
        let history = self.board.history();
        self.outcome.problems = history.check();
        self.outcome.records = history.counts();
        drop(history);
        self.outcome
    }

    /// Without a broker nothing more can be judged.
    fn give_up(mut self, staying: &JoinHandle<()>) -> Outcome {
        staying.abort();
        self.passing.iter().for_each(JoinHandle::abort);
        self.workers.iter().for_each(Worker::abort);
        self.outcome.problems = self.down.take().into_iter().collect();
        self.outcome.records = self.board.history().counts();
        self.outcome
    }

    /// The reader that lives as long as the run gets everything that was acknowledged.
    async fn await_reader(&self) {
        let mut deliveries = self.board.deliveries.subscribe();
        let caught_up = || {
            let history = self.board.history();
            history.read_by(ReaderId(0)) >= history.counts()[1] || history.has_ended(ReaderId(0))
        };
        let waited = timeout(STEP_MAX, deliveries.wait_for(|_| caught_up())).await;
        if waited.is_err() {
            let reason = "it did not get all that was acknowledged".to_owned();
            self.board.history().note(Problem::ReaderEnded { reason });
        }
    }

    /// Writes down what is there.
    async fn read_all(&self) {
        let client = connect(&self.process).await;
        let mut found = Vec::new();
        let each = |record: Received| found.push(record);
        let read = timeout(
            STEP_MAX,
            reading::to_the_end(&client, &self.topics, None, each),
        );
        let read = read.await.expect("reading what is there ends");
        let mut history = self.board.history();
        if let Err(error) = read {
            history.note(Problem::Unreadable {
                reason: error.to_string(),
            });
        }
        for record in found {
            let id = record
                .header(producer::ID_HEADER)
                .map(|id| String::from_utf8_lossy(id));
            history.stored(Stored {
                id: id.and_then(|id| id.parse().ok()),
                place: Place {
                    topic: (*record.topic).clone(),
                    partition: record.partition,
                    offset: record.offset,
                },
                key: record.ordering_key,
                value: record.value.unwrap_or_default(),
            });
        }
    }
}
