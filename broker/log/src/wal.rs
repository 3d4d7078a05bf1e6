//! The write-ahead log as a state machine: blocks into files, one at a time. The thread that
//! drives it is in `log.rs`; simulations drive it directly.

mod block;
mod files;
mod recover;
mod writer;

pub(crate) use block::{Block, Shown};
pub(crate) use files::{Files, Spare, file_path, is_full, wal_dir};
pub use recover::{Cut, RecoveredEntry, RecoveredOp, RecoveryReport};
pub(crate) use recover::{
    Found, Origin, accept, check_body, file_sequences, go_on, read, remove_before,
};
pub(crate) use writer::{Wal, Written};
