//! What touches the disk: done with the chance that the power fails half-way, that a write or a
//! sync fails, and that somebody reads in the middle of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use rand::Rng;
use weir_log::{CrashPolicy, LogError, LogReader, Snapshot};
use weir_wire::id::{Offset, TopicPartition};

use super::World;
use crate::broker::{self, Broker, Commits};
use crate::history::{Extent, Found, Problem};
use crate::reader::{self, Answered, Ask};

/// A partition, what it says of itself, and all that is in it.
type Everything = (TopicPartition, Extent, Vec<Found>);

/// Room that a disk has at most when it is about to be full.
const ROOM: u64 = 200 << 10;

/// I/O steps among which something happens in the middle of an operation.
const STEPS: u64 = 4;
const ARCHIVE_STEPS: u64 = 40;
const START_STEPS: u64 = 24;

const POLICIES: [CrashPolicy; 3] = [
    CrashPolicy::DropUnsynced,
    CrashPolicy::RandomSubset,
    CrashPolicy::TornWrite,
];

/// What is to happen in the middle of an operation, and what came of it.
#[derive(Debug, Default)]
struct Probe {
    /// The step at which the power fails.
    crash_at: Option<u64>,
    /// Reads, each at its step.
    asks: Vec<(u64, Ask)>,
    log: Option<LogReader>,
    commits: Option<Commits>,
    answered: Vec<Answered>,
    /// Entries that were said to be durable when the power failed.
    durable: usize,
    over: bool,
}

impl Probe {
    /// Called at every step; answers whether the power fails here.
    fn step(&mut self, step: u64) -> bool {
        if self.over {
            return false;
        }
        if let Some(log) = &self.log {
            let due = self.asks.iter().filter(|(at, _)| *at == step);
            self.answered.extend(due.map(|(_, ask)| ask.ask(log)));
        }
        if self.crash_at == Some(step) {
            self.over = true;
            self.durable = self.commits.as_ref().map_or(0, Commits::len);
        }
        self.over
    }
}

impl World {
    pub(super) fn commit(&mut self) {
        let count = match self.random.random_range(0..4) {
            0 => 1,
            1 => usize::MAX,
            _ => self.random.random_range(1..6),
        };
        let Some(waiting) = self.broker.as_ref().map(Broker::waiting) else {
            return;
        };
        if waiting > 0 {
            self.touch_disk("commit", STEPS, |broker| broker.commit(count));
        }
    }

    pub(super) fn seal(&mut self) {
        self.touch_disk("seal", STEPS, |broker| broker.committer.seal());
    }

    /// One step of the archiver.
    pub(super) fn archive(&mut self) {
        self.touch_disk("archive", ARCHIVE_STEPS, |broker| {
            broker.committer.archive().map(drop)
        });
    }

    /// All that is durable goes into segments.
    pub(super) fn flush(&mut self) {
        self.touch_disk("flush", ARCHIVE_STEPS, |broker| broker.committer.flush());
    }

    /// One operation of the broker that writes. Something may happen in one of its first `steps`.
    fn touch_disk(
        &mut self,
        what: &str,
        steps: u64,
        act: impl FnOnce(&mut Broker) -> Result<(), LogError>,
    ) {
        let Some(mut broker) = self.broker.take() else {
            return;
        };
        let probe = self.probe(Some(&broker), steps);
        let fails = self.arm_failure(steps);
        let done = act(&mut broker);
        let kept = self.end_probe();
        let probe = std::mem::take(&mut *lock(&probe));
        self.disk.clear_failures();
        self.note_answered(&probe.answered);
        if let Some(snapshot) = kept {
            self.counts.midway += 1;
            broker.settle(probe.durable);
            self.broker = Some(broker);
            self.dispatch();
            self.receive_some();
            self.trace.line(format_args!("{what}, and midway:"));
            return self.lose_power(&snapshot);
        }
        broker.settle(usize::MAX);
        self.broker = Some(broker);
        match done {
            Ok(()) => {
                self.trace
                    .line(format_args!("{what}, {} steps", self.disk.steps()));
                self.dispatch();
            }
            Err(error) => {
                self.dispatch();
                self.failed(what, fails, &error);
            }
        }
    }

    /// An operation failed: the process ends, unless it may be tried again.
    fn failed(&mut self, what: &str, made_to_fail: bool, error: &LogError) {
        self.trace.line(format_args!("{what} failed: {error}"));
        self.counts.disk_failures += 1;
        let full = error.is_disk_full() && self.capacity.is_some();
        if !(made_to_fail || full) {
            let text = format!("{what} failed, and nobody made the disk fail: {error}");
            self.history.note(Problem::Broken(text));
        }
        // A flush without room is tried again later; a block without room ends the log.
        let may_go_on = full && ["archive", "flush"].contains(&what);
        match self.random.random_range(0..2) {
            _ if may_go_on => {}
            0 => self.kill(),
            _ => self.power_failure(),
        }
    }

    /// Watches the disk for an operation.
    fn probe(&mut self, broker: Option<&Broker>, steps: u64) -> Arc<Mutex<Probe>> {
        let mut probe = Probe::default();
        let now = self.disk.steps();
        // Long operations have more to lose.
        let (one_in, steps) = if steps >= ARCHIVE_STEPS {
            (12, steps << self.random.random_range(0..3))
        } else {
            (60, steps)
        };
        if !self.calm && self.random.random_ratio(1, one_in) {
            probe.crash_at = Some(now + self.random.random_range(1..=steps));
        }
        if let Some(broker) = broker {
            probe.log = Some(broker.reader.clone());
            probe.commits = Some(broker.commits.clone());
            for reader in &self.readers {
                let step = match probe.crash_at {
                    // What somebody reads in the last moment has to be there afterwards.
                    Some(step) if self.random.random_ratio(1, 2) => step,
                    _ if self.random.random_ratio(1, 6) => {
                        now + self.random.random_range(1..=steps)
                    }
                    _ => continue,
                };
                let ask = Ask::new(&mut self.random, reader.at, reader.position);
                probe.asks.push((step, ask));
            }
        }
        let idle = probe.crash_at.is_none() && probe.asks.is_empty();
        let probe = Arc::new(Mutex::new(probe));
        if !idle {
            let watching = probe.clone();
            self.disk
                .watch_steps(move |step| lock(&watching).step(step));
        }
        probe
    }

    fn end_probe(&mut self) -> Option<Snapshot> {
        self.disk.unwatch();
        self.disk.take_kept()
    }

    fn note_answered(&mut self, answered: &[Answered]) {
        for answered in answered {
            let noted = reader::note(answered, &mut self.history);
            self.counts.reads += 1;
            self.trace.line(format_args!(
                "meanwhile {}: {}",
                answered.ask.at, noted.text
            ));
        }
    }

    /// Makes a write or a sync of what follows fail, now and then.
    fn arm_failure(&mut self, steps: u64) -> bool {
        if self.calm {
            return false;
        }
        match self.random.random_range(0..160) {
            0 => self.disk.fail_sync(self.random.random_range(1..=steps / 2)),
            1 => self
                .disk
                .fail_write(self.random.random_range(1..=steps / 2)),
            _ => return false,
        }
        true
    }

    /// Replies that had left the broker may still arrive.
    fn receive_some(&mut self) {
        for index in 0..self.producers.len() {
            while self.random.random_ratio(2, 3) && self.receive_as(index) {}
        }
    }

    /// The disk gets little room.
    pub(super) fn fill(&mut self) {
        let room = self.random.random_range(0..ROOM);
        self.capacity = Some(self.disk.used() + room);
        self.counts.fills += 1;
        self.disk.set_capacity(self.capacity);
        self.trace
            .line(format_args!("the disk holds {:?}", self.capacity));
    }

    /// The disk gets all the room there is.
    pub(super) fn empty(&mut self) {
        if self.capacity.take().is_some() {
            self.disk.set_capacity(None);
            self.trace.line(format_args!("the disk has room again"));
        }
    }

    pub(super) fn power_failure(&mut self) {
        let snapshot = self.disk.snapshot();
        self.lose_power(&snapshot);
    }

    fn lose_power(&mut self, snapshot: &Snapshot) {
        let policy = POLICIES[self.random.random_range(0..POLICIES.len())];
        self.disk = snapshot.crash(policy, self.random.random());
        self.disk.set_capacity(self.capacity);
        self.counts.power_failures += 1;
        self.trace.line(format_args!("the power fails: {policy:?}"));
        self.go_down();
    }

    /// The process ends, and the system lives on.
    pub(super) fn kill(&mut self) {
        self.counts.kills += usize::from(self.broker.is_some());
        self.trace.line(format_args!("the broker is killed"));
        self.go_down();
    }

    /// With nothing on its way to the log, the state is the same after a start.
    pub(super) fn expect_state(&mut self) {
        let settled = self.broker.as_ref().filter(|broker| broker.waiting() == 0);
        if settled.is_some() {
            self.expected = settled.map(Broker::state);
        }
    }

    fn go_down(&mut self) {
        self.broker = None;
        self.strays.clear();
        for producer in &mut self.producers {
            producer.reconnect();
        }
    }

    /// The broker starts, which may fail half-way like anything else.
    pub(super) fn start(&mut self) {
        if self.broker.is_some() {
            return;
        }
        let probe = self.probe(None, START_STEPS);
        let fails = self.arm_failure(START_STEPS / 2);
        let opened = broker::open(&self.disk, &self.settings);
        let kept = self.end_probe();
        drop(probe);
        self.disk.clear_failures();
        if let Some(snapshot) = kept {
            self.counts.midway += 1;
            self.trace.line(format_args!("start, and midway:"));
            return self.lose_power(&snapshot);
        }
        match opened {
            Ok(broker) => {
                self.counts.starts += 1;
                self.trace
                    .line(format_args!("start, {} steps", self.disk.steps()));
                self.broker = Some(broker);
                self.look_around();
            }
            Err(error) if fails || self.capacity.is_some() => {
                self.counts.disk_failures += 1;
                self.trace.line(format_args!("start failed: {error}"));
            }
            Err(error) => {
                self.trace.line(format_args!("start failed: {error}"));
                let text = format!("the log does not open: {error}");
                self.history.note(Problem::Broken(text));
            }
        }
    }

    /// After a start, what is there is compared with what was known.
    fn look_around(&mut self) {
        let Some(broker) = &self.broker else { return };
        let topics = broker.shard.catalog().topics();
        let there: BTreeSet<_> = topics.map(|topic| topic.id).collect();
        self.history.restarted(&there);
        if let Some(expected) = self.expected.take() {
            let found = broker.state();
            let pairs = expected.lines().zip(found.lines());
            if let Some((before, after)) = pairs.into_iter().find(|(one, other)| one != other) {
                let text = format!("the state changed by a start from {before} to {after}");
                self.history.note(Problem::Broken(text));
            }
        }
        for topic in there {
            self.note_fences(topic);
        }
        let Some(broker) = &self.broker else { return };
        let mut partitions: BTreeSet<_> = self.history.partitions().into_iter().collect();
        partitions.extend(broker.partitions());
        for at in partitions {
            match reader::extent(&broker.reader, at) {
                Some(extent) => {
                    self.history.extent(at, extent);
                    self.history.begins(at, extent.start);
                }
                None => self.history.absent(at),
            }
        }
        if self.random.random_ratio(1, 3) {
            self.read_everything();
        }
    }

    /// Reads every partition from its beginning to its end.
    pub(super) fn read_everything(&mut self) -> Vec<Everything> {
        let Some(broker) = &self.broker else {
            return Vec::new();
        };
        let mut all = Vec::new();
        for at in broker.partitions() {
            let nothing = Extent {
                start: Offset::ZERO,
                end: Offset::ZERO,
            };
            let extent = reader::extent(&broker.reader, at).unwrap_or(nothing);
            let mut records = Vec::new();
            let mut position = extent.start;
            while position < extent.end && self.history.problems().is_empty() {
                let answered = Ask::new(&mut self.random, at, position).ask(&broker.reader);
                let noted = reader::note(&answered, &mut self.history);
                if noted.next <= position {
                    let text = format!("reading {at} gets nowhere at {position} of {extent:?}");
                    self.history.note(Problem::Broken(text));
                }
                position = noted.next;
                records.extend(noted.found);
            }
            let Extent { start, end } = extent;
            self.trace.line(format_args!("{at} holds {start} to {end}"));
            all.push((at, extent, records));
        }
        all
    }
}

fn lock(probe: &Mutex<Probe>) -> std::sync::MutexGuard<'_, Probe> {
    probe.lock().unwrap_or_else(PoisonError::into_inner)
}
