//! Nothing acknowledged is lost, nothing is doubled, order is kept, requests are whole: while the
//! broker is killed, at random and between two steps of its housekeeping, on a file system that
//! loses what was not synced, while replies get lost and bindings change. Files are small, so that
//! in every run batches move to segments, files are used again, and restarts begin at checkpoints.

use weir_harness::crash::{Outcome, Plan, run};
use weir_harness::process::SMALL_FILES;
use weir_harness::report::{deep, seed};

use crate::setup;

/// Where to kill, and how often that may pass before.
const MOMENTS: [(&str, u32); 15] = [
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

fn plan(name: &str, kills: usize) -> Plan {
    Plan {
        setup: setup().configured(SMALL_FILES),
        switches: vec![("WEIR_DROP_REPLIES", "0.1".to_owned())],
        kills: deep(kills),
        behind_deliveries_percent: 30,
        rebinds: false,
        moments: MOMENTS.to_vec(),
        seed: seed(name),
    }
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
    let outcome = run(plan(name, 50)).await;
    outcome.expect_good(name);
    expect_thorough(&outcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cut_twenty_times() {
    let name = "power cut";
    let plan = plan(name, 20);
    let setup = plan.setup.clone().with("WEIR_VFS", "lazy");
    let outcome = run(Plan { setup, ..plan }).await;
    outcome.expect_good(name);
    expect_thorough(&outcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_change_between_send_and_retry() {
    let name = "rebound";
    let plan = plan(name, 10);
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
