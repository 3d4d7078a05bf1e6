//! Weir's log: what reaches the disk, and how.
//!
//! One write-ahead log takes every change in group commits; a record is seen only once the sync
//! of its block is done. `FORMAT.md` beside this crate describes every byte. Batches are opaque
//! here, and everything that touches a disk goes through [`Vfs`].

mod archive;
mod checkpoint;
mod commit;
mod config;
mod entry;
mod error;
mod format;
#[doc(hidden)]
pub mod fuzz;
mod ids;
mod index;
mod log;
mod lru;
mod machine;
mod manifest;
mod names;
mod node;
pub mod offline;
mod open;
mod page_buf;
mod reader;
mod reserve;
mod scrub;
mod segment;
pub mod vfs;
mod wal;

pub use archive::{BatchKeys, CompactionJob, KeyedRecord, KeysError, Maintenance, Rebuilt};
pub use commit::{CommitSink, CommittedBlock, Committer, Submission};
pub use config::{Bug, DiskReserve, LogConfig, UnknownBug};
pub use entry::{Append, BatchBytes, Columns, EXTENT_BYTES_MIN, Entry, Op};
pub use error::{LogError, OpenError, ReadError, SubmitError};
pub use format::FORMAT_VERSION;
pub use ids::{FileSequence, Lsn, NodeId, Nonce, SegmentId};
pub use index::{Bounds, Read, StoredBatch, Totals};
pub use log::{Held, Log};
pub use machine::StateMachine;
pub use manifest::PassedOver;
pub use open::{Recovered, recover};
pub use page_buf::{PAGE_BYTES, PageBuf};
pub use reader::LogReader;
pub use scrub::{Scrub, Scrubbed};
pub use vfs::{
    CrashPolicy, DirLock, FatalMoment, FatalMomentError, FatalVfs, FreeSpace, LazyVfs, OpenMode,
    RealVfs, SimVfs, Snapshot, Vfs, VfsFile,
};
pub use wal::{Cut, RecoveredEntry, RecoveredOp, RecoveryReport};
