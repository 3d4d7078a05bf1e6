//! The world: everybody and everything in it, and the one who decides what happens next.

mod end;
mod steps;

use std::collections::VecDeque;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_core::shard::ChangeRequest;
use weir_log::SimVfs;
use weir_wire::id::{Offset, Timestamp, TopicId};

use crate::admin::{self, TOPICS, Wish};
use crate::broker::{Broker, Planted, Settings};
use crate::history::{Fence, History, Problem};
use crate::network::{Message, Waiter};
use crate::producer::Producer;
use crate::reader::{self, Reader};
use crate::trace::Trace;

/// How a run is to be.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Actions until the run comes to its end.
    pub actions: usize,
    /// A bug planted on purpose.
    pub planted: Option<Planted>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            actions: 6_000,
            planted: None,
        }
    }
}

/// How much a run did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered.
    pub answered: usize,
    /// Reads.
    pub reads: usize,
    /// Times the power failed.
    pub power_failures: usize,
    /// Those of them in the middle of writing.
    pub midway: usize,
    /// Times the process ended without the disk losing anything.
    pub kills: usize,
    /// Writes and syncs that failed.
    pub disk_failures: usize,
    /// Times the log was opened.
    pub starts: usize,
    /// Connections that broke.
    pub breaks: usize,
    /// Times the disk became too small.
    pub fills: usize,
    /// Segments that were written.
    pub segments: usize,
    /// WAL files that were filled.
    pub wal_files: usize,
}

impl Counts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.reads += other.reads;
        self.power_failures += other.power_failures;
        self.midway += other.midway;
        self.kills += other.kills;
        self.disk_failures += other.disk_failures;
        self.starts += other.starts;
        self.breaks += other.breaks;
        self.fills += other.fills;
        self.segments += other.segments;
        self.wal_files += other.wal_files;
    }
}

/// What a run was.
#[derive(Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// What happened.
    pub trace: Trace,
    /// What was wrong.
    pub problems: Vec<Problem>,
    /// How much happened.
    pub counts: Counts,
}

/// Problems that the trace tells.
const PROBLEMS_TOLD: usize = 12;
const PRODUCERS: u32 = 4;
const READERS: usize = 6;

/// Plays one seed, up to its end or to the first problem.
#[must_use]
pub fn run(seed: u64, options: &Options) -> Report {
    let mut world = World::new(seed, options);
    for _ in 0..options.actions {
        world.act();
        if !world.history.problems().is_empty() {
            break;
        }
    }
    if world.history.problems().is_empty() {
        world.end();
    }
    // What is there in the end is known only if the run got there.
    let problems = match world.history.problems() {
        [] => world.history.check(),
        problems => problems.to_vec(),
    };
    for problem in problems.iter().take(PROBLEMS_TOLD) {
        world.trace.line(format_args!("PROBLEM {problem}"));
    }
    Report {
        seed,
        trace: world.trace,
        problems,
        counts: world.counts,
    }
}

struct World {
    random: SmallRng,
    now: Timestamp,
    disk: SimVfs,
    broker: Option<Broker>,
    producers: Vec<Producer>,
    /// What the broker has not heard yet of links that broke.
    strays: VecDeque<(Waiter, Message)>,
    readers: Vec<Reader>,
    history: History,
    trace: Trace,
    counts: Counts,
    settings: Settings,
    /// Nothing fails any more.
    calm: bool,
    /// The size of the disk, if it has one.
    capacity: Option<u64>,
    /// The state that the next start has to find, if all of it was durable.
    expected: Option<String>,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Send,
    Hear,
    Stray,
    Sequence,
    Commit,
    Seal,
    Archive,
    Flush,
    Receive,
    Read,
    Begin,
    Break,
    Wish,
    Clock,
    PowerFailure,
    Kill,
    Fill,
    Empty,
    Start,
}

/// How often what happens, in comparison.
const WEIGHTS: [(u32, Action); 18] = [
    (240, Action::Send),
    (260, Action::Hear),
    (60, Action::Stray),
    (260, Action::Sequence),
    (120, Action::Commit),
    (25, Action::Seal),
    (160, Action::Archive),
    (6, Action::Flush),
    (260, Action::Receive),
    (200, Action::Read),
    (20, Action::Begin),
    (12, Action::Break),
    (24, Action::Wish),
    (40, Action::Clock),
    (3, Action::PowerFailure),
    (2, Action::Kill),
    (2, Action::Fill),
    (12, Action::Empty),
];

impl World {
    fn new(seed: u64, options: &Options) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let disk = SimVfs::new(random.random());
        let settings = Settings::draw(&mut random, options.planted);
        let topics = u32::try_from(TOPICS).expect("a handful");
        let producers = (0..PRODUCERS)
            .map(|number| Producer::new(number, random.random_range(0..topics) as usize))
            .collect();
        Self {
            random,
            now: Timestamp::new(1_000),
            disk,
            broker: None,
            producers,
            strays: VecDeque::new(),
            readers: Vec::new(),
            history: History::default(),
            trace: Trace::default(),
            counts: Counts::default(),
            settings,
            calm: false,
            capacity: None,
            expected: None,
        }
    }

    /// One thing happens.
    fn act(&mut self) {
        self.now = Timestamp::new(self.now.value() + self.random.random_range(0..3));
        let action = if self.broker.is_none() && self.random.random_ratio(1, 3) {
            Action::Start
        } else {
            self.choose()
        };
        match action {
            Action::Send => self.send(),
            Action::Hear => self.hear(),
            Action::Stray => self.hear_a_stray(),
            Action::Fill => self.fill(),
            Action::Empty => self.empty(),
            Action::Sequence => self.sequence(),
            Action::Commit => self.commit(),
            Action::Seal => self.seal(),
            Action::Archive => self.archive(),
            Action::Flush => self.flush(),
            Action::Receive => self.receive(),
            Action::Read => self.read(),
            Action::Begin => self.begin_reading(),
            Action::Break => self.break_a_link(),
            Action::Wish => self.wish(),
            Action::Clock => self.turn_the_clock(),
            Action::PowerFailure => {
                self.expect_state();
                self.power_failure();
            }
            Action::Kill => {
                self.expect_state();
                self.kill();
            }
            Action::Start => self.start(),
        }
    }

    fn choose(&mut self) -> Action {
        let total: u32 = WEIGHTS.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.random.random_range(0..total);
        for (weight, action) in WEIGHTS {
            if drawn < weight {
                return action;
            }
            drawn -= weight;
        }
        unreachable!("the weights add up to their sum")
    }

    fn any_producer(&mut self) -> usize {
        self.random.random_range(0..self.producers.len())
    }

    fn send(&mut self) {
        let index = self.any_producer();
        self.send_as(index, true);
    }

    fn send_as(&mut self, index: usize, may_begin: bool) {
        let (random, now) = (&mut self.random, self.now);
        let sent = self.producers[index].send(random, now, may_begin, &mut self.history);
        if let Some(text) = sent {
            self.trace
                .line(format_args!("{} p{index} {text}", self.now));
        }
    }

    fn hear(&mut self) {
        let index = self.any_producer();
        self.hear_from(index);
    }

    /// The broker hears the oldest message of a link that broke.
    fn hear_a_stray(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        if let Some((waiter, message)) = self.strays.pop_front() {
            broker.hear(self.now, waiter, message);
            let index = waiter.producer;
            self.trace
                .line(format_args!("broker hears a stray of p{index}"));
            self.dispatch();
        }
    }

    fn hear_from(&mut self, index: usize) {
        let (Some(broker), link) = (&mut self.broker, &mut self.producers[index].link) else {
            return;
        };
        if let Some(message) = link.to_broker.pop_front() {
            let waiter = Waiter {
                producer: index,
                link: link.number,
            };
            broker.hear(self.now, waiter, message);
            self.trace.line(format_args!("broker hears p{index}"));
            self.dispatch();
        }
    }

    fn sequence(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        let busy = broker.preparing();
        if busy.is_empty() {
            return;
        }
        let producer = busy[self.random.random_range(0..busy.len())];
        broker.sequence(self.now, producer);
        self.trace
            .line(format_args!("{} broker sequences {producer}", self.now));
        self.dispatch();
    }

    fn receive(&mut self) {
        let index = self.any_producer();
        self.receive_as(index);
    }

    fn receive_as(&mut self, index: usize) -> bool {
        let received = self.producers[index].receive(&mut self.history);
        if let Some(text) = &received {
            self.counts.answered += usize::from(text.starts_with("has an answer"));
            self.trace.line(format_args!("p{index} {text}"));
        }
        received.is_some()
    }

    /// What the broker told reaches links and the history.
    fn dispatch(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        let told = broker.tell();
        for (waiter, reply) in told.replies {
            self.producers[waiter.producer].link.deliver(waiter, reply);
        }
        for (at, start) in told.trims {
            self.history.dropped(at, start);
            self.trace
                .line(format_args!("durable: {at} begins at {start}"));
        }
        for change in told.changes {
            if let Some(created) = &change.topic_created {
                self.history.created(created.id);
            }
            if let Some(deleted) = &change.topic_deleted {
                self.history.deleted(deleted.id);
            }
            if let Some(added) = &change.partitions_added {
                self.note_fences(added.id);
            }
            self.trace.line(format_args!("durable: {change:?}"));
        }
    }

    /// Keys may go elsewhere from the fences of a topic on.
    pub(super) fn note_fences(&mut self, id: TopicId) {
        let topic = self.broker.as_ref().map(|broker| broker.shard.catalog());
        if let Some(topic) = topic.and_then(|catalog| catalog.topic(id)) {
            let fences = topic.fences.iter().map(|fence| Fence {
                before: fence.partitions,
                ends: fence.ends.clone(),
            });
            self.history.fences(id, fences.collect());
        }
    }

    fn read(&mut self) {
        let Some(broker) = &self.broker else { return };
        if self.readers.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.readers.len());
        let reader = &mut self.readers[index];
        if broker.shard.catalog().topic(reader.at.topic).is_none() {
            let gone = self.readers.swap_remove(index);
            return self
                .trace
                .line(format_args!("a reader of {} ends", gone.at));
        }
        let answered = reader.read(&mut self.random, &broker.reader);
        let noted = reader::note(&answered, &mut self.history);
        reader.position = noted.next;
        self.counts.reads += 1;
        self.trace
            .line(format_args!("r{index} of {}: {}", reader.at, noted.text));
    }

    fn begin_reading(&mut self) {
        let Some(broker) = &self.broker else { return };
        let partitions = broker.partitions();
        if partitions.is_empty() {
            return;
        }
        let at = partitions[self.random.random_range(0..partitions.len())];
        let (random, now) = (&mut self.random, self.now);
        let reader = Reader::begin(random, now, at, &broker.reader, &mut self.history);
        self.trace.line(format_args!(
            "a reader of {at} begins at {}",
            reader.position
        ));
        if self.readers.len() < READERS {
            self.readers.push(reader);
        } else {
            let index = self.random.random_range(0..READERS);
            self.readers[index] = reader;
        }
    }

    fn break_a_link(&mut self) {
        let producer = self.any_producer();
        let link = self.producers[producer].link.number;
        let waiter = Waiter { producer, link };
        let mut strays = self.producers[producer].reconnect();
        strays.truncate(self.random.random_range(0..=strays.len()));
        self.strays
            .extend(strays.into_iter().map(|message| (waiter, message)));
        self.counts.breaks += 1;
        let index = producer;
        self.trace.line(format_args!("p{index} has a new link"));
    }

    fn wish(&mut self) {
        match admin::wish(&mut self.random) {
            Wish::Change(request) => self.change(&request),
            Wish::Trim => self.trim(),
        }
    }

    /// Drops the beginning of a partition: up to an offset, up to a time, or all but some bytes.
    fn trim(&mut self) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        let partitions = broker.partitions();
        if partitions.is_empty() {
            return;
        }
        let at = partitions[self.random.random_range(0..partitions.len())];
        let Some(extent) = reader::extent(&broker.reader, at) else {
            return;
        };
        let time = Timestamp::new(self.random.random_range(0..=self.now.value()));
        let (first, last) = (extent.start.value(), broker.shard.end(at).value());
        let start = match self.random.random_range(0..4) {
            0 => Ok(Offset::new(self.random.random_range(first..=last))),
            1 => broker.reader.offset_at(at, time),
            _ => broker
                .reader
                .offset_keeping(at, self.random.random_range(0..60_000)),
        };
        let trimmed = start
            .map_err(|error| error.to_string())
            .and_then(|start| broker.trim(self.now, at, start).map(|()| start));
        match trimmed {
            Ok(start) => {
                self.history.drop_asked(at, start);
                self.trace
                    .line(format_args!("operator trims {at} up to {start}"));
            }
            Err(error) => self.history.note(Problem::Broken(error)),
        }
    }

    fn change(&mut self, request: &ChangeRequest) {
        let Some(broker) = &mut self.broker else {
            return;
        };
        match broker.change(self.now, request, None) {
            Ok(change) => {
                if let Some(deleted) = &change.topic_deleted {
                    self.history.delete_asked(deleted.id);
                }
                self.trace
                    .line(format_args!("{} operator: {change:?}", self.now));
            }
            Err(error) => self
                .trace
                .line(format_args!("operator is refused: {error}")),
        }
    }

    /// Clocks are set back now and then.
    fn turn_the_clock(&mut self) {
        let by = self.random.random_range(-20..60);
        self.now = Timestamp::new((self.now.value() + by).max(0));
        self.trace.line(format_args!("it is {}", self.now));
    }
}
