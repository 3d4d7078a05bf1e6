//! Record batches in Kafka's format v2 (magic 2): the header, the check before the append, and
//! what is stamped into a batch when its place is known.
//!
//! Source of the format: Apache Kafka's protocol guide, "Record Batch". All fixed-width numbers
//! are big-endian. The CRC32C covers everything after the CRC field, so the broker stamps base
//! offset and leader epoch without touching it.

mod build;
mod compression;
mod header;
mod record;
mod verify;

pub use build::{BatchBuilder, NewRecord};
pub use compression::{Compression, CompressionError};
pub use header::{BatchHeader, HEADER_LEN, HeaderError, stamp};
pub use record::{Headers, RecordView, Records};
pub use verify::{BatchError, Verified, verify};
