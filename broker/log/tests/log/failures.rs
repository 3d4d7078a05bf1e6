//! Disks that fail or are full: no false answer, nothing more is written, reading goes on.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use expect_test::expect;
use weir_log::{
    CommitSink, CommittedBlock, CrashPolicy, Log, LogConfig, LogError, SimVfs, Submission,
    SubmitError, Vfs, recover,
};

use crate::crash_plan::{Plan, Step};
use crate::history::History;
use crate::support::{
    Driven, Opened, append, config, deep, drive, entry, open, partition, payload, read_all, until,
};

/// Where a run stopped: how many entries were acknowledged, and how many were handed over.
struct Stopped {
    acknowledged: usize,
    submitted: usize,
}

fn small() -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 64 << 10;
    config
}

/// Follows the plan until something fails; `None` when nothing did.
fn run_until_failure(plan: &Plan, sim: &SimVfs) -> Option<Stopped> {
    let mut next = 0;
    let stopped = |acknowledged, submitted| Stopped {
        acknowledged,
        submitted,
    };
    let Ok(mut driven) = drive(Arc::new(sim.clone()), small()) else {
        return Some(stopped(0, 0));
    };
    for step in &plan.steps {
        let (done, count) = match step {
            Step::Commit(count) => (commit(plan, &mut driven, next, *count), *count),
            Step::Seal | Step::Restart { .. } => (driven.committer.seal(), 0),
            Step::Archive(_) => (driven.committer.archive().map(drop), 0),
            Step::Flush => (driven.committer.flush(), 0),
        };
        if done.is_err() {
            let steps = sim.steps();
            commit(plan, &mut driven, next + count, 1).unwrap_err();
            driven.committer.seal().unwrap_err();
            assert_eq!(sim.steps(), steps, "after a failure nothing is written");
            assert_eq!(driven.acked.lock().unwrap().len(), next);
            plan.check_read(&driven.committer.reader(), next).unwrap();
            return Some(stopped(next, next + count));
        }
        next += count;
    }
    None
}

fn commit(plan: &Plan, driven: &mut Driven, from: usize, count: usize) -> Result<(), LogError> {
    let submissions = (from..from + count)
        .map(|number| Submission {
            entry: plan.entry(number),
            token: number as u64,
        })
        .collect();
    driven.committer.commit(submissions)
}

/// Opens what a failure left, as a new process on the same machine, and then loses power.
fn check_after(plan: &Plan, sim: &SimVfs, stopped: &Stopped) {
    let Stopped {
        acknowledged,
        submitted,
    } = *stopped;
    let reopened = |sim: &SimVfs| {
        let driven = drive(Arc::new(sim.clone()), small()).unwrap();
        let found = driven.replayed.len();
        assert!((acknowledged..=submitted).contains(&found), "{found}");
        plan.check_replayed(&driven.replayed).unwrap();
        plan.check_read(&driven.committer.reader(), found).unwrap();
        found
    };
    // A power cut right away loses what the failed sync did not write.
    for policy in [CrashPolicy::DropUnsynced, CrashPolicy::RandomSubset] {
        reopened(&sim.snapshot().crash(policy, 3));
    }
    // A new process sees what the system's memory holds; once seen, it has to stay.
    let found = reopened(sim);
    let cut = sim.snapshot().crash(CrashPolicy::DropUnsynced, 3);
    assert_eq!(
        reopened(&cut),
        found,
        "what was served after a restart is durable"
    );
}

/// All n of several runs, until one has no n-th; answers how many failed.
fn fail_all(fail: impl Fn(&SimVfs, u64)) -> usize {
    let mut failures = 0;
    for seed in 0..deep(4) {
        let plan = Plan::new(seed, 120);
        for n in 1.. {
            let sim = SimVfs::new(seed);
            fail(&sim, n);
            let Some(stopped) = run_until_failure(&plan, &sim) else {
                break;
            };
            check_after(&plan, &sim, &stopped);
            failures += 1;
        }
    }
    failures
}

#[test]
fn whichever_sync_fails_nothing_is_falsely_acknowledged() {
    let failures = fail_all(SimVfs::fail_sync);
    println!("{failures} failures");
    assert!(failures >= 500, "only {failures}");
}

#[test]
fn whichever_write_fails_nothing_is_falsely_acknowledged() {
    let failures = fail_all(SimVfs::fail_write);
    println!("{failures} failures");
    assert!(failures >= 500, "only {failures}");
}

#[test]
fn who_waits_hears_of_a_failure_and_who_comes_later_is_refused() {
    let sim = SimVfs::new(1);
    let opened = open(Arc::new(sim.clone()), small());
    let at = partition(1, 0);
    opened.submit(0, vec![append(at, 0, 1, payload(0, 100))]);
    opened.wait_for(0);
    sim.fail_sync(1);
    // Whether the failing sync is this block's or that of a seal, this entry is not acknowledged.
    let ops = vec![append(at, 1, 1, payload(1, 100))];
    let submission = Submission {
        entry: entry(ops),
        token: 1,
    };
    if opened.log.submit(submission).is_ok() {
        let (error, tokens) = opened.next_failed();
        assert_eq!(
            error,
            "syncing /data/wal/0000000000000001.wal failed: sync failed, as the test asked"
        );
        assert!(tokens.is_empty() || tokens == [1]);
    } else {
        opened.next_failed();
    }
    let ops = vec![append(at, 1, 1, payload(1, 100))];
    let later = Submission {
        entry: entry(ops),
        token: 2,
    };
    let refused = opened.log.submit(later).unwrap_err();
    assert!(matches!(refused, SubmitError::Poisoned { .. }), "{refused}");
    assert_eq!(read_all(&opened.log.reader(), at).len(), 1);
}

/// The tokens of a block, or what failed and the tokens that concerns.
type Told = Result<Vec<u64>, (String, Vec<u64>)>;

/// Holds the log's thread at the first block until it is told to go on.
struct Gate {
    go_on: Option<Receiver<()>>,
    heard: SyncSender<Told>,
}

impl CommitSink<u64> for Gate {
    fn committed(&mut self, block: CommittedBlock<'_, u64>) {
        // There may be more blocks of probes than anybody listens to.
        let is_probe = |token: &u64| *token == PROBE;
        if !block.tokens.iter().all(is_probe) {
            let _ = self.heard.send(Ok(block.tokens));
        }
        if let Some(go_on) = self.go_on.take() {
            let _ = go_on.recv();
        }
    }

    fn failed(&mut self, error: &LogError, tokens: Vec<u64>) {
        let _ = self.heard.send(Err((error.to_string(), tokens)));
    }
}

/// The token of entries that only ask whether the disk is full yet.
const PROBE: u64 = 99;

/// A log with ten entries handed over, of which four fit the two files that are there.
struct Full {
    sim: SimVfs,
    log: Log<u64>,
    heard: Receiver<Told>,
}

fn full() -> Full {
    let sim = SimVfs::new(1);
    let mut config = small();
    config.prepare_ahead = true;
    let (open_gate, go_on) = sync_channel(1);
    let (give, heard) = sync_channel(100);
    let sink = Box::new(Gate {
        go_on: Some(go_on),
        heard: give,
    });
    let vfs = Arc::new(sim.clone());
    let recovered = recover(vfs, config, History::default()).unwrap();
    let log = Log::start(recovered, sink).unwrap();
    let submit = |number| {
        let ops = vec![append(partition(1, 0), number, 1, payload(number, 20_000))];
        let submission = Submission {
            entry: entry(ops),
            token: number,
        };
        log.submit(submission)
    };
    submit(0).unwrap();
    assert_eq!(heard.recv().unwrap(), Ok(vec![0]));
    let second = Path::new("/data/wal/0000000000000002.wal");
    until("the second file", || sim.read(second).is_ok());
    // Others took all the room, and take that of the reserve once it is given up.
    sim.set_capacity(Some(0));
    (1..10).for_each(|number| submit(number).unwrap());
    open_gate.send(()).unwrap();
    for number in 1..4 {
        assert_eq!(heard.recv().unwrap(), Ok(vec![number]));
    }
    let probe = || {
        let entry = entry(Vec::new());
        log.submit(Submission {
            entry,
            token: PROBE,
        })
    };
    until("a full disk", || probe() == Err(SubmitError::Stuck));
    Full { sim, log, heard }
}

#[test]
fn a_full_disk_refuses_reads_on_and_goes_on_when_there_is_room() {
    let Full { sim, log, heard } = full();
    assert_eq!(read_all(&log.reader(), partition(1, 0)).len(), 4);
    sim.set_capacity(None);
    let mut tokens = Vec::new();
    while !tokens.contains(&9) {
        tokens.extend(heard.recv().unwrap().unwrap());
    }
    assert!(tokens.starts_with(&[4, 5, 6, 7, 8, 9]), "{tokens:?}");
    assert_eq!(read_all(&log.reader(), partition(1, 0)).len(), 10);
    log.shutdown();
    let opened = open(Arc::new(sim), small());
    assert_eq!(read_all(&opened.log.reader(), partition(1, 0)).len(), 10);
}

#[test]
fn a_log_ends_although_the_disk_is_full_and_says_what_it_did_not_write() {
    let Full { sim, log, heard } = full();
    log.shutdown();
    let (error, tokens) = heard.recv().unwrap().unwrap_err();
    assert!(
        error.starts_with("preparing the file after /data/wal/"),
        "{error}"
    );
    assert!(tokens.starts_with(&[4, 5, 6, 7, 8, 9]), "{tokens:?}");
    sim.set_capacity(None);
    assert_eq!(open(Arc::new(sim), small()).replayed.len(), 4);
}

#[test]
fn a_disk_that_is_full_from_the_start_is_an_error_of_opening() {
    let sim = SimVfs::new(1);
    sim.set_capacity(Some(1_000));
    let error = drive(Arc::new(sim.clone()), small()).err().unwrap();
    expect![
        "there is no room for /data/wal: no storage space; free 262144 bytes on its disk, by \
         removing files that are not weir's or enlarging it, and start again"
    ]
    .assert_eq(&error.to_string());
    sim.set_capacity(None);
    drive(Arc::new(sim), small()).unwrap();
}

struct Panics;

impl CommitSink<u64> for Panics {
    fn committed(&mut self, _block: CommittedBlock<'_, u64>) {
        panic!("the test asked for it");
    }

    fn failed(&mut self, _error: &LogError, _tokens: Vec<u64>) {}
}

#[test]
fn when_the_thread_panics_nobody_waits_for_ever() {
    let vfs = Arc::new(SimVfs::new(1));
    let recovered = recover(vfs, small(), History::default()).unwrap();
    let log = Log::start(recovered, Box::new(Panics)).unwrap();
    let submit = |number| {
        let ops = vec![append(partition(1, 0), number, 1, payload(number, 10))];
        let submission = Submission {
            entry: entry(ops),
            token: number,
        };
        log.submit(submission)
    };
    let (mut number, mut refused) = (0, None);
    until("the end of the log", || {
        refused = submit(number).err();
        number += 1;
        refused.is_some()
    });
    let refused = refused.unwrap();
    assert!(matches!(refused, SubmitError::Poisoned { .. }), "{refused}");
}

#[test]
fn what_waits_when_a_log_ends_is_written_first() {
    let sim = SimVfs::new(1);
    let opened: Opened = open(Arc::new(sim.clone()), small());
    for number in 0..100 {
        opened.submit(
            number,
            vec![append(partition(1, 0), number, 1, payload(number, 999))],
        );
    }
    opened.log.shutdown();
    assert_eq!(open(Arc::new(sim), small()).replayed.len(), 100);
}
