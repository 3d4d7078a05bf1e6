//! The log through its public face: on a real disk, a lazy one and a simulated one.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod archive;
mod commit_here;
mod compact;
mod corruption;
mod crash_enumerator;
mod crash_plan;
mod decoders;
mod failures;
mod format;
mod full_disk;
mod golden;
mod history;
mod offline;
mod rewrite;
mod round_trip;
mod scrub;
mod segments;
mod sim_disk;
mod support;
