//! The decisions of the core, each against what a reader would work out by hand, or against a
//! model that is too simple to be wrong.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod bindings;
mod catalog;
mod changes;
mod dedup;
mod place;
mod place_model;
mod shard;
mod shard_replay;
mod support;
mod topics;
