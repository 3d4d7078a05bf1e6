//! What is left of a batch, ready to be sent.

use bytes::Bytes;
use weir_log::StoredBatch;
use weir_wire::id::{Offset, Timestamp};

use super::super::dead_letters::Letter;

/// What is left of a batch.
#[derive(Debug)]
pub(in crate::subscribe) struct Kept {
    /// The batch to be sent; `None` if nothing is left.
    pub(in crate::subscribe) batch: Option<Bytes>,
    /// Records in it.
    pub(in crate::subscribe) count: u32,
    /// The ordering keys of these.
    pub(in crate::subscribe) ordering_keys: Bytes,
    /// Records on which a plugin failed, for the dead-letter topic. They come before the batch.
    pub(in crate::subscribe) letters: Vec<Letter>,
    /// Records left out.
    pub(in crate::subscribe) filtered_out: u64,
    /// The offset after everything that the stored batch covers.
    pub(in crate::subscribe) next: Offset,
    /// When that was appended.
    pub(in crate::subscribe) append_time: Timestamp,
    /// Bytes of it that were made of the stored batch: all but slices of that.
    pub(super) made: usize,
}

impl Kept {
    /// The whole batch as it is stored.
    pub(super) fn whole(stored: &StoredBatch, count: u32) -> Self {
        Self {
            batch: Some(stored.bytes.clone()),
            count,
            ordering_keys: stored.columns.ordering_keys.clone().unwrap_or_default(),
            letters: Vec::new(),
            filtered_out: 0,
            next: stored.end(),
            append_time: stored.append_time,
            made: 0,
        }
    }

    /// Nothing of it.
    pub(super) fn nothing(stored: &StoredBatch, filtered_out: u64) -> Self {
        Self {
            batch: None,
            count: 0,
            ordering_keys: Bytes::new(),
            letters: Vec::new(),
            filtered_out,
            next: stored.end(),
            append_time: stored.append_time,
            made: 0,
        }
    }
}
