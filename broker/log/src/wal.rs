//! The write-ahead log as a state machine: blocks into files, one at a time. The thread that
//! drives it is in `log.rs`; simulations drive it directly.

mod block;
mod files;
mod recover;
mod writer;

pub(crate) use block::Block;
pub(crate) use files::{Files, file_path};
pub(crate) use recover::recover;
pub use recover::{Cut, RecoveredEntry, RecoveredOp, RecoveryReport};
pub(crate) use writer::{Wal, Written};
