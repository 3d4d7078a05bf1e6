//! Weir's decisions, without I/O: who may produce what next, where records go, what the catalog
//! holds. State machines that are told the time and spawn nothing, so that recovery, simulation
//! and the running broker all drive the same code.

pub mod catalog;
pub mod change;
pub mod cursors;
pub mod dedup;
pub mod history;
pub mod machine;
pub mod place;
pub mod shard;
