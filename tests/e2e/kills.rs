//! Nothing acknowledged is lost, nothing is doubled, order is kept, requests are whole: while the
//! broker is killed, at random and between two steps of what its log does, on a file system that
//! loses what was not synced, while replies get lost and bindings change. Files are small, so that
//! in every run batches move to segments, files are used again, and restarts begin at checkpoints.

use std::collections::BTreeSet;

use weir_harness::crash::{Outcome, Plan, run};
use weir_harness::process::SMALL_FILES;
use weir_harness::report::{deep, seed};

use crate::setup;

/// Where to kill, and how often that may pass before.
const MOMENTS: [(&str, u32); 17] = [
    ("block-written", 40),
    ("block-synced", 40),
    ("segment-created", 2),
    ("segment-written", 2),
    ("segment-synced", 2),
    ("segment-removed", 1),
    ("checkpoint-written", 2),
    ("checkpoint-synced", 2),
    ("checkpoint-removed", 2),
    ("manifest-written", 2),
    ("manifest-synced", 2),
    ("manifest-named", 2),
    ("manifest-removed", 2),
    ("wal-taken", 2),
    ("wal-synced", 2),
    ("wal-named", 2),
    ("wal-removed", 1),
];

/// Kills of one data directory: every restart is read from the beginning, so what a run reads
/// grows with their square.
const KILLS_MAX: usize = 200;

/// Runs with so many kills together, each with a directory and a seed of its own.
fn plans(name: &str, kills: usize) -> Vec<Plan> {
    let (kills, seed) = (deep(kills), seed(name));
    let runs = kills.div_ceil(KILLS_MAX);
    let each = kills / runs;
    let last = kills - each * (runs - 1);
    let plan = |run: usize| Plan {
        setup: setup().configured(SMALL_FILES),
        switches: vec![("WEIR_DROP_REPLIES", "0.1".to_owned())],
        kills: if run + 1 < runs { each } else { last },
        behind_deliveries_percent: 30,
        rebinds: false,
        moments: MOMENTS.to_vec(),
        seed: seed.wrapping_add(run as u64),
    };
    (0..runs).map(plan).collect()
}

/// Does them one after the other.
async fn run_all(name: &str, plans: Vec<Plan>) {
    let mut kills = 0;
    let mut moments = BTreeSet::new();
    for plan in plans {
        let outcome = run(plan).await;
        outcome.expect_good(name);
        expect_thorough(&outcome);
        kills += outcome.kills;
        moments.extend(outcome.at_moments.into_keys());
    }
    let missed = MOMENTS.iter().map(|(moment, _)| *moment);
    let missed: Vec<_> = missed.filter(|moment| !moments.contains(moment)).collect();
    assert!(
        kills < KILLS_MAX || missed.is_empty(),
        "{name}: nobody was killed at {missed:?} in {kills} kills"
    );
}

/// The run went through everything that it is about.
fn expect_thorough(outcome: &Outcome) {
    let line = outcome.line();
    let [_, segments, checkpoints] = outcome.found;
    assert!(
        segments > 0 && checkpoints > 0,
        "nothing was archived: {line}"
    );
    assert!(
        !outcome.at_moments.is_empty(),
        "no kill at a moment: {line}"
    );
    assert!(outcome.resent > 0, "no request was sent again: {line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_fifty_times() {
    let name = "killed";
    run_all(name, plans(name, 50)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_twenty_times() {
    let name = "power cut";
    let mut plans = plans(name, 20);
    for plan in &mut plans {
        plan.setup = plan.setup.clone().with("WEIR_VFS", "lazy");
    }
    run_all(name, plans).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_change_between_send_and_retry() {
    let name = "rebound";
    for plan in plans(name, 10) {
        let setup = plan.setup.clone().with("WEIR_VFS", "lazy");
        let outcome = run(Plan {
            setup,
            rebinds: true,
            moments: Vec::new(),
            ..plan
        })
        .await;
        outcome.expect_good(name);
        assert!(
            outcome.rebinds > 0,
            "no binding changed while requests were in flight"
        );
        assert!(outcome.resent > 0, "no request was sent again");
    }
}
