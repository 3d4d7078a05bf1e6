//! Some of the records of a stored batch, at their original offsets: what filters and compaction
//! leave of it.

use std::borrow::Cow;
use std::fmt::Display;

use bytes::Bytes;
use weir_log::StoredBatch;
use weir_wire::batch::{BatchBuilder, BatchHeader, CompressionError, HEADER_LEN, Records, stamp};
use weir_wire::limits::BATCH_INFLATED_MAX;

/// Bytes of an ordering key in its column.
const KEY_BYTES: usize = 8;

/// What is wrong with a stored batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unreadable(String);

impl Unreadable {
    pub(crate) fn new(reason: impl Display) -> Self {
        Self(reason.to_string())
    }
}

/// The records of the batch, unfolded.
pub(crate) fn inflate(stored: &StoredBatch, header: &BatchHeader) -> Result<Bytes, Unreadable> {
    let records = inflate_within(stored, header, BATCH_INFLATED_MAX)?;
    records.ok_or_else(|| Unreadable::new(CompressionError::TooLarge(BATCH_INFLATED_MAX)))
}

/// The same; `None` if they are more than so many bytes.
pub(crate) fn inflate_within(
    stored: &StoredBatch,
    header: &BatchHeader,
    bytes_max: usize,
) -> Result<Option<Bytes>, Unreadable> {
    // The header was read from it, so it is at least that long.
    let section = stored.bytes.slice(HEADER_LEN..);
    match header.compression.inflate(&section, bytes_max) {
        Ok(Cow::Borrowed(_)) => Ok(Some(section.clone())),
        Ok(Cow::Owned(records)) => Ok(Some(Bytes::from(records))),
        Err(CompressionError::TooLarge(_)) => Ok(None),
        Err(error) => Err(Unreadable::new(error)),
    }
}

/// The batch with the kept records alone, at their original offsets.
pub(crate) fn rebuild(
    stored: &StoredBatch,
    header: &BatchHeader,
    records: &[u8],
    keep: &[bool],
) -> Result<Bytes, Unreadable> {
    let mut builder = BatchBuilder::with_capacity(records.len());
    for (record, _) in Records::new(records, header.count)
        .zip(keep)
        .filter(|(_, keep)| **keep)
    {
        let record = record.map_err(Unreadable::new)?;
        let timestamp = record.timestamp(header.base_timestamp);
        builder.push_body_at(timestamp, record.offset_delta, record.body());
    }
    builder.extend_to(header.last_offset_delta);
    let mut batch = builder
        .finish(header.compression)
        .map_err(Unreadable::new)?;
    let _ = stamp(
        &mut batch,
        stored.base_offset,
        weir_core::shard::LEADER_EPOCH,
    );
    Ok(Bytes::from(batch))
}

/// The ordering keys of the kept records.
pub(crate) fn select_keys(keys: &[u8], keep: &[bool]) -> Bytes {
    let kept = keys
        .chunks_exact(KEY_BYTES)
        .zip(keep)
        .filter(|(_, keep)| **keep);
    kept.flat_map(|(key, _)| key.iter().copied()).collect()
}
