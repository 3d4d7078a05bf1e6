//! The same runs on brokers that are broken on purpose: a checker that finds nothing there would
//! prove nothing elsewhere.

use weir_harness::crash::{Outcome, Plan, run};
use weir_harness::history::{Problem, generation};
use weir_harness::process::SMALL_FILES;
use weir_harness::report::{say, seed};

use crate::setup;

/// The bug that only readers can see.
const PUBLISH: &str = "publish-before-fsync";
/// Kills of one attempt.
const KILLS: usize = 5;
/// Attempts: a kill that meets the window of a bug is a matter of luck.
const ATTEMPTS: u64 = 4;

async fn finds(bug: &'static str, more: Option<(&'static str, String)>, is: fn(&Problem) -> bool) {
    finds_at(bug, more, &[], is).await;
}

/// The same with kills at moments at which the bug is likely to show.
async fn finds_at(
    bug: &'static str,
    more: Option<(&'static str, String)>,
    moments: &[(&'static str, u32)],
    is: fn(&Problem) -> bool,
) {
    let seed = seed(bug);
    let mut last: Option<Outcome> = None;
    for attempt in 0..ATTEMPTS {
        let mut switches = vec![("WEIR_PLANT", bug.to_owned())];
        switches.extend(more.clone());
        let outcome = run(Plan {
            setup: setup().configured(SMALL_FILES).with("WEIR_VFS", "lazy"),
            switches,
            kills: KILLS,
            behind_deliveries_percent: if bug == PUBLISH { 100 } else { 0 },
            rebinds: more.is_some(),
            moments: moments.to_vec(),
            seed: seed.wrapping_add(attempt),
        })
        .await;
        say(&format!("{bug}, attempt {attempt}: {}", outcome.line()));
        if outcome.problems.iter().any(is) {
            return;
        }
        last = Some(outcome);
    }
    let last = last.expect("there was an attempt");
    panic!(
        "{bug} was not found by {} kills: {}",
        ATTEMPTS * KILLS as u64,
        last.line()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_fsync_is_found() {
    finds("skip-fsync", None, |problem| {
        matches!(problem, Problem::Lost { .. })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_before_the_fsync_is_found() {
    finds("ack-before-fsync", None, |problem| {
        matches!(problem, Problem::Lost { .. })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_published_before_the_fsync_is_found() {
    finds(PUBLISH, None, |problem| {
        matches!(
            problem,
            Problem::Vanished { .. } | Problem::Diverged { .. } | Problem::Receded { .. }
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dedup_after_the_hooks_is_found() {
    let dropped = ("WEIR_DROP_REPLIES", "0.1".to_owned());
    // In two generations: the binding had changed between the send and its retry.
    finds(
        "dedup-after-hooks",
        Some(dropped),
        |problem| match problem {
            Problem::Doubled { first, second, .. } => {
                generation(&first.topic) != generation(&second.topic)
            }
            _ => false,
        },
    )
    .await;
}

/// The archive lacks something that it said it had.
fn lacks_something(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::Down { .. }
            | Problem::Unreadable { .. }
            | Problem::ReaderEnded { .. }
            | Problem::Lost { .. }
            | Problem::Gap { .. }
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn segments_that_are_not_synced_are_found() {
    let moments = [("manifest-named", 2), ("wal-taken", 2)];
    finds_at("segments-unsynced", None, &moments, lacks_something).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wal_files_that_are_freed_too_early_are_found() {
    // The first manifest is that of the start; files went before each of the others.
    let moments = [("manifest-written", 4)];
    finds_at("freed-too-early", None, &moments, lacks_something).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_gets_into_no_segment_is_found() {
    let moments = [("manifest-named", 2), ("manifest-removed", 2)];
    finds_at("boundary-batch-lost", None, &moments, lacks_something).await;
}
