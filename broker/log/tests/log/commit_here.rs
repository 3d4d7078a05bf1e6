//! Entries that their submitter commits: the same guarantees as on the log's thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;

use weir_log::{
    Bug, CommitSink, CommittedBlock, CrashPolicy, Log, LogConfig, LogError, Op, SimVfs, Snapshot,
    Submission, SubmitError, recover,
};

use crate::history::History;
use crate::support::{
    append, config, drive, entry, open, partition, payload, plant, read_all, until,
};

/// The tokens of a block and who committed it, or what failed.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Committed(Vec<u64>, ThreadId),
    Failed(String, Vec<u64>),
}

/// Tells everything; holds the log's own thread at each block until it may go on.
struct Watch {
    told: SyncSender<Told>,
    go_on: Option<Receiver<()>>,
    panics_at: Option<u64>,
    submitter: ThreadId,
}

impl CommitSink<u64> for Watch {
    fn committed(&mut self, block: CommittedBlock<'_, u64>) {
        let here = std::thread::current().id();
        let panics = self.panics_at.is_some_and(|at| block.tokens.contains(&at));
        assert!(!panics, "the test asked for it");
        let _ = self.told.send(Told::Committed(block.tokens, here));
        if let Some(go_on) = self.go_on.as_ref().filter(|_| here != self.submitter) {
            let _ = go_on.recv();
        }
    }

    fn failed(&mut self, error: &LogError, tokens: Vec<u64>) {
        let _ = self.told.send(Told::Failed(error.to_string(), tokens));
    }
}

struct Watched {
    log: Log<u64>,
    told: Receiver<Told>,
    /// One message lets the log's thread go on behind one block.
    go_on: SyncSender<()>,
}

fn small() -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 512 << 10;
    config
}

fn watched(sim: &SimVfs, config: LogConfig, panics_at: Option<u64>, held: bool) -> Watched {
    let (give, told) = sync_channel(10_000);
    let (go_on, wait) = sync_channel(10_000);
    let sink = Watch {
        told: give,
        go_on: held.then_some(wait),
        panics_at,
        submitter: std::thread::current().id(),
    };
    let recovered = recover(Arc::new(sim.clone()), config, History::default()).unwrap();
    let log = Log::start(recovered, Box::new(sink)).unwrap();
    Watched { log, told, go_on }
}

fn ops(number: u64, bytes: usize) -> Vec<Op> {
    vec![append(partition(1, 0), number, 1, payload(number, bytes))]
}

fn submission(number: u64, bytes: usize) -> Submission<u64> {
    Submission {
        entry: entry(ops(number, bytes)),
        token: number,
    }
}

impl Watched {
    fn commit_here(&self, number: u64, bytes: usize) -> bool {
        let held = self.log.submit_held(submission(number, bytes)).unwrap();
        held.commit_here()
    }

    fn next(&self) -> (Vec<u64>, ThreadId) {
        match self.told.recv().unwrap() {
            Told::Committed(tokens, by) => (tokens, by),
            Told::Failed(error, tokens) => panic!("{error}: {tokens:?}"),
        }
    }
}

#[test]
fn a_small_entry_alone_is_committed_by_its_submitter_before_the_call_returns() {
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), None, false);
    assert!(watched.commit_here(0, 100));
    let told = watched.told.try_recv().unwrap();
    assert_eq!(told, Told::Committed(vec![0], std::thread::current().id()));
    assert_eq!(read_all(&watched.log.reader(), partition(1, 0)).len(), 1);
}

#[test]
fn whoever_commits_the_order_is_that_of_submission() {
    const ENTRIES: u64 = 2_000;
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), None, false);
    let (mut here, mut there) = (0, 0);
    for number in 0..ENTRIES {
        // Runs of each kind, so that one meets the other at work.
        if number % 7 < 4 {
            watched.commit_here(number, 500);
        } else {
            watched.log.submit(submission(number, 500)).unwrap();
        }
    }
    let mut expected = 0;
    while expected < ENTRIES {
        let (tokens, by) = watched.next();
        for token in tokens {
            assert_eq!(token, expected);
            expected += 1;
        }
        if by == std::thread::current().id() {
            here += 1;
        } else {
            there += 1;
        }
    }
    assert!(here > 0, "the first at the latest is committed here");
    assert!(there > 0, "what was only submitted is left to the thread");
    watched.log.shutdown();
    let opened = open(Arc::new(sim), small());
    assert_eq!(opened.replayed.len() as u64, ENTRIES);
    let read = read_all(&opened.log.reader(), partition(1, 0));
    let offsets: Vec<u64> = read.iter().map(|b| b.base_offset.value()).collect();
    assert_eq!(offsets, (0..ENTRIES).collect::<Vec<u64>>());
}

#[test]
fn while_the_thread_commits_nobody_else_does() {
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), None, true);
    watched.log.submit(submission(0, 100)).unwrap();
    assert_eq!(watched.next().0, [0]);
    // The thread still holds the first block.
    assert!(!watched.commit_here(1, 100));
    assert!(watched.told.try_recv().is_err());
    watched.go_on.send(()).unwrap();
    watched.go_on.send(()).unwrap();
    let (tokens, by) = watched.next();
    assert_eq!(tokens, [1]);
    assert_ne!(by, std::thread::current().id());
}

#[test]
fn several_that_wait_and_large_ones_are_left_to_the_thread() {
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), None, false);
    let first = watched.log.submit_held(submission(0, 100)).unwrap();
    let second = watched.log.submit_held(submission(1, 100)).unwrap();
    assert!(!second.commit_here());
    assert!(
        watched.told.try_recv().is_err(),
        "nobody was told of the first yet, and it comes first"
    );
    drop(first);
    let (tokens, by) = watched.next();
    assert_eq!(tokens, [0, 1]);
    assert_ne!(by, std::thread::current().id());
    assert!(!watched.commit_here(2, 200_000));
    assert_ne!(watched.next().1, std::thread::current().id());
}

#[test]
fn the_next_file_is_left_to_the_thread() {
    let sim = SimVfs::new(1);
    let mut config = small();
    config.wal_file_bytes = 64 << 10;
    let watched = watched(&sim, config, None, false);
    let mut in_a_row = 0;
    let mut refused = 0;
    for number in 0..30 {
        let here = watched.commit_here(number, 20_000);
        in_a_row = if here { in_a_row + 1 } else { 0 };
        refused += u32::from(!here);
        // Only two blocks of this size fit a file beside its header.
        assert!(in_a_row <= 2, "a file was made at entry {number}");
        assert_eq!(watched.next().0, [number]);
    }
    assert!(refused >= 10, "{refused}");
}

#[test]
fn what_a_submitter_committed_is_stated_as_durable_when_nothing_follows() {
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), None, false);
    assert!(watched.commit_here(0, 100));
    // The thread slept, and was not told of the entry; it is of what is to be stated.
    until("the seal", || {
        let left = sim.snapshot().crash(CrashPolicy::DropUnsynced, 1);
        let driven = drive(Arc::new(left), small()).unwrap();
        assert_eq!(driven.replayed.len(), 1);
        driven.report.blocks == 2
    });
}

#[test]
fn a_failure_is_told_to_who_waits_and_is_the_end_of_the_log() {
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), None, false);
    sim.fail_sync(1);
    assert!(watched.commit_here(0, 100), "it was done, but not well");
    let told = watched.told.try_recv().unwrap();
    let error = "syncing /data/wal/0000000000000001.wal failed: sync failed, as the test asked";
    assert_eq!(told, Told::Failed(error.to_owned(), vec![0]));
    let steps = sim.steps();
    let refused = watched.log.submit(submission(1, 100)).unwrap_err();
    assert!(matches!(refused, SubmitError::Poisoned { .. }), "{refused}");
    let refused = watched.log.submit_held(submission(1, 100)).unwrap_err();
    assert!(matches!(refused, SubmitError::Poisoned { .. }), "{refused}");
    assert!(read_all(&watched.log.reader(), partition(1, 0)).is_empty());
    watched.log.shutdown();
    assert_eq!(sim.steps(), steps, "after a failure nothing is written");
}

/// Counts what was acknowledged.
struct Count(Arc<AtomicUsize>);

impl CommitSink<u64> for Count {
    fn committed(&mut self, block: CommittedBlock<'_, u64>) {
        self.0.fetch_add(block.tokens.len(), Ordering::SeqCst);
    }

    fn failed(&mut self, _error: &LogError, _tokens: Vec<u64>) {}
}

/// What the power failed on: what the disk may hold, and how many entries were acknowledged.
type Cuts = Arc<Mutex<Vec<(usize, Snapshot)>>>;

/// Commits entries one by one on this thread, several files full, with the power failing at every
/// step; answers for each how many acknowledged entries are lost at worst.
fn cuts(bug: Option<Bug>) -> Vec<usize> {
    const HERE: u64 = 50;
    let sim = SimVfs::new(5);
    let mut config = small();
    config.wal_file_bytes = 64 << 10;
    plant(&mut config, bug);
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let recovered = recover(Arc::new(sim.clone()), config.clone(), History::default()).unwrap();
    let log = Log::start(recovered, Box::new(Count(acknowledged.clone()))).unwrap();
    let cuts = Cuts::default();
    let (keep, count) = (cuts.clone(), acknowledged.clone());
    sim.watch(move |_, snapshot| {
        let acknowledged = count.load(Ordering::SeqCst);
        keep.lock().unwrap().push((acknowledged, snapshot));
    });
    let (mut here, mut number) = (0, 0);
    // Now and then the log's thread is at work, and commits an entry with its own.
    while here < HERE {
        assert!(number < 100 * HERE, "{here} of {number} entries");
        let held = log.submit_held(submission(number, 500)).unwrap();
        here += u64::from(held.commit_here());
        number += 1;
        until("an acknowledgement", || {
            acknowledged.load(Ordering::SeqCst) as u64 >= number
        });
    }
    sim.unwatch();
    log.shutdown();
    let lost = |acknowledged: usize, snapshot: &Snapshot, policy| {
        let left = snapshot.crash(policy, acknowledged as u64);
        let mut config = config.clone();
        plant(&mut config, None);
        let driven = drive(Arc::new(left), config).unwrap();
        acknowledged.saturating_sub(driven.replayed.len())
    };
    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    let policies = [
        CrashPolicy::DropUnsynced,
        CrashPolicy::RandomSubset,
        CrashPolicy::TornWrite,
    ];
    cuts.iter()
        .map(|(acknowledged, snapshot)| {
            let losses = policies.map(|policy| lost(*acknowledged, snapshot, policy));
            losses.into_iter().max().unwrap()
        })
        .collect()
}

#[test]
fn what_a_submitter_committed_survives_every_power_cut() {
    let cuts = cuts(None);
    assert!(cuts.len() > 100, "the power failed {} times", cuts.len());
    assert!(cuts.iter().all(|lost| *lost == 0), "{cuts:?}");
}

#[cfg(debug_assertions)]
#[test]
fn an_ack_before_the_sync_of_a_submitter_is_found() {
    let lost = cuts(Some(Bug::AckBeforeFsync));
    assert!(lost.iter().any(|lost| *lost > 0), "{lost:?}");
}

#[test]
fn a_submitter_that_panics_ends_the_log_too() {
    let sim = SimVfs::new(1);
    let watched = watched(&sim, small(), Some(0), false);
    let panicked = catch_unwind(AssertUnwindSafe(|| watched.commit_here(0, 100)));
    assert!(panicked.is_err());
    let refused = watched.log.submit(submission(1, 100)).unwrap_err();
    assert!(matches!(refused, SubmitError::Poisoned { .. }), "{refused}");
    watched.log.shutdown();
}
