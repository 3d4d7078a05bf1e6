//! Weir's vocabulary: names, ids, records, batches, frames, requests, error codes, limits.
//!
//! No async, no I/O, no clock. `PROTOCOL.md` beside this crate describes every byte.

pub mod batch;
pub mod dead_letter;
pub mod error;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod id;
pub mod limits;
pub mod message;
pub mod name;
pub mod placement;
pub mod plugin;
pub mod produce;
pub mod request;
mod scalars;
pub mod subscribe;
pub mod topic;
pub mod varint;
