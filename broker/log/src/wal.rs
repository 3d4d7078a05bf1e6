//! The write-ahead log as a state machine: blocks into files, one at a time. The thread that
//! drives it is in `log.rs`; simulations drive it directly.

mod block;
mod files;
mod recover;
mod writer;

pub(crate) use block::Block;
pub(crate) use files::{Files, file_path, wal_dir};
pub use recover::{Cut, RecoveredEntry, RecoveredOp, RecoveryReport};
pub(crate) use recover::{NODE_FILE, NODE_MAGIC, check_body, recover};
pub(crate) use writer::{Wal, Written};
