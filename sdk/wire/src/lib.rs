//! Weir's vocabulary: names, ids, records, batches, frames, requests, error codes, limits.
//!
//! No async, no I/O, no clock. `PROTOCOL.md` beside this crate describes every byte.

pub mod batch;
pub mod id;
pub mod limits;
pub mod plugin;
pub mod varint;
