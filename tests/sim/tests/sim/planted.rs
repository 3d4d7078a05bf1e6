//! Bugs planted on purpose, one at a time: each is found within the seeds that every run plays.

use weir_sim::Planted;

use crate::seeds::{SEEDS, play};

/// How it shows that something durable was not: depends on what it was.
const LOSS: &[&str] = &[
    "lost:",
    "receded:",
    "gap:",
    "is gone",
    "was deleted, and is there",
    "gets nowhere",
    "not found",
    "does not open",
];

/// How it shows that a state was not what the log made it: an outcome or a change is missing.
const FORGOTTEN: &[&str] = &[
    "which was answered",
    "never get their answers",
    "is gone",
    "the state changed",
];

/// The words that the first problem found has to contain.
fn found(planted: Planted, expected: &[&str]) {
    let (_, report) = play(0..SEEDS, Some(planted));
    let report = report.unwrap_or_else(|| panic!("{planted:?} is not found in {SEEDS} seeds"));
    let problems: Vec<String> = report.problems.iter().map(ToString::to_string).collect();
    println!("{planted:?}: seed {}: {}", report.seed, problems[0]);
    let named = |problem: &String| expected.iter().any(|word| problem.contains(word));
    assert!(
        problems.iter().any(named),
        "{planted:?} shows as {problems:#?}"
    );
}

#[test]
fn a_retry_that_appends_again_is_found() {
    found(Planted::RetryAppendsAgain, &["doubled"]);
}

#[test]
fn forgotten_outcomes_are_found() {
    found(Planted::OutcomesForgotten, FORGOTTEN);
}

#[test]
fn outcomes_that_a_checkpoint_lacks_are_found() {
    found(Planted::OutcomesNotSaved, FORGOTTEN);
}

#[test]
fn a_placement_for_fewer_partitions_is_found() {
    found(Planted::StalePlacement, &["split", "reordered"]);
}

#[test]
fn an_answer_before_the_commit_is_found() {
    found(Planted::AnswerBeforeCommit, LOSS);
}

#[test]
fn a_topic_forgotten_before_its_deletion_is_durable_is_found() {
    found(Planted::ForgottenBeforeDurable, LOSS);
}

#[cfg(debug_assertions)]
mod of_the_log {
    use weir_log::Bug;
    use weir_sim::Planted;

    use super::{FORGOTTEN, LOSS, found};

    #[test]
    fn a_left_out_fsync_is_found() {
        found(Planted::Log(Bug::SkipFsync), LOSS);
    }

    #[test]
    fn an_ack_before_the_fsync_is_found() {
        found(Planted::Log(Bug::AckBeforeFsync), LOSS);
    }

    #[test]
    fn records_shown_before_the_fsync_are_found() {
        found(Planted::Log(Bug::PublishBeforeFsync), LOSS);
    }

    #[test]
    fn segments_left_unsynced_are_found() {
        found(Planted::Log(Bug::SegmentsUnsynced), LOSS);
    }

    #[test]
    fn wal_files_that_are_freed_too_early_are_found() {
        found(Planted::Log(Bug::FreedTooEarly), LOSS);
    }

    #[test]
    fn a_checkpoint_with_the_wrong_entry_is_found() {
        found(Planted::Log(Bug::CheckpointTooHigh), FORGOTTEN);
    }

    #[test]
    fn trims_that_a_manifest_forgets_are_found() {
        found(Planted::Log(Bug::TrimsNotSaved), &["resurrected"]);
    }

    #[test]
    fn a_batch_lost_between_wal_and_segment_is_found() {
        found(Planted::Log(Bug::BoundaryBatchLost), LOSS);
    }

    #[test]
    fn an_offset_skipped_where_a_segment_ends_is_found() {
        found(Planted::Log(Bug::BorderSkipped), &["gap:"]);
    }
}
