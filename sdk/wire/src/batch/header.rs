//! The 61 bytes before the records of a batch, and the two fields the broker stamps.

use super::compression::Compression;
use crate::id::{LeaderEpoch, Offset, Timestamp};
use crate::varint::{ReadError, Reader};

/// Bytes before the records.
pub const HEADER_LEN: usize = 61;
/// Where the CRC-covered part starts: at the attributes.
pub(super) const CRC_START: usize = 21;
/// `batchLength` counts what follows it: everything but base offset and itself.
pub(super) const LENGTH_PREFIX: usize = 12;
pub(super) const MAGIC: u8 = 2;
/// Up to here the CRC of a stamped batch is counted over its bytes; combining two CRCs takes some
/// microseconds, whatever their lengths.
const COMBINED_MIN: usize = 32 << 10;
/// Of the attributes, only the compression bits are a producer's to set: append time, transaction,
/// control and delete horizon are the broker's, the rest has no meaning yet.
const COMPRESSION_MASK: i16 = 0b111;

/// What the header of a batch says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// Bytes of the whole batch, from its base offset on.
    pub total_len: usize,
    /// CRC32C over the bytes from 21 on.
    pub crc: u32,
    /// How the records section is compressed.
    pub compression: Compression,
    /// Offset of the last record (kept or compacted away) minus the base offset.
    pub last_offset_delta: u32,
    /// Timestamp that the records' deltas count from.
    pub base_timestamp: Timestamp,
    /// The latest timestamp inside.
    pub max_timestamp: Timestamp,
    /// Records inside.
    pub count: u32,
}

/// Why a header was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Fewer bytes than a header has.
    #[error("a batch needs at least 61 bytes of header")]
    Truncated,
    /// Another record format.
    #[error("record format {0} is not supported; use magic 2 (Kafka 0.11 and later)")]
    Magic(u8),
    /// `batchLength` is less than the header needs, or negative.
    #[error("the batch length {0} is impossible")]
    Length(i32),
    /// A compression type that does not exist.
    #[error("compression type {0} does not exist")]
    Compression(i16),
    /// Attributes that only a broker or a transaction may set.
    #[error("the attributes {0:#06x} hold flags that a producer may not set")]
    Attributes(i16),
    /// A count or delta that is negative.
    #[error("a count or offset delta is negative")]
    Negative,
}

impl From<ReadError> for HeaderError {
    fn from(_: ReadError) -> Self {
        Self::Truncated
    }
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may go on behind the batch.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let mut reader = Reader::new(bytes.get(..HEADER_LEN).ok_or(HeaderError::Truncated)?);
        let base_offset = u64::from_be_bytes(reader.array()?);
        let batch_length = i32::from_be_bytes(reader.array()?);
        let _leader_epoch = reader.array::<4>()?;
        let magic = reader.byte()?;
        if magic != MAGIC {
            return Err(HeaderError::Magic(magic));
        }
        let crc = u32::from_be_bytes(reader.array()?);
        let attributes = i16::from_be_bytes(reader.array()?);
        let last_offset_delta = i32::from_be_bytes(reader.array()?);
        let base_timestamp = i64::from_be_bytes(reader.array()?);
        let max_timestamp = i64::from_be_bytes(reader.array()?);
        let _producer = reader.array::<14>()?;
        let count = i32::from_be_bytes(reader.array()?);

        let total_len = usize::try_from(batch_length)
            .ok()
            .map(|length| length + LENGTH_PREFIX)
            .filter(|&length| length >= HEADER_LEN)
            .ok_or(HeaderError::Length(batch_length))?;
        if attributes & !COMPRESSION_MASK != 0 {
            return Err(HeaderError::Attributes(attributes));
        }
        let kind = attributes & COMPRESSION_MASK;
        let compression =
            Compression::from_attributes(kind).ok_or(HeaderError::Compression(kind))?;
        Ok(Self {
            base_offset: Offset::new(base_offset),
            total_len,
            crc,
            compression,
            last_offset_delta: u32::try_from(last_offset_delta)
                .map_err(|_| HeaderError::Negative)?,
            base_timestamp: Timestamp::new(base_timestamp),
            max_timestamp: Timestamp::new(max_timestamp),
            count: u32::try_from(count).map_err(|_| HeaderError::Negative)?,
        })
    }

    /// Offset of the record after the last one.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        Offset::new(
            self.base_offset
                .value()
                .saturating_add(u64::from(self.last_offset_delta))
                .saturating_add(1),
        )
    }
}

/// Writes the place of a batch into it, and answers the CRC32C of the whole batch as it now is.
///
/// The batch must have been verified: where that is cheaper, its own CRC is combined with the
/// changed prefix, so that the payload is not read again.
///
/// # Panics
/// If `batch` is shorter than a header; a verified batch never is.
#[must_use]
pub fn stamp(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) -> u32 {
    assert!(batch.len() >= HEADER_LEN, "stamp() takes a verified batch");
    batch[..8].copy_from_slice(&base_offset.value().to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.value().to_be_bytes());
    if batch.len() <= COMBINED_MIN {
        return crc32c::crc32c(batch);
    }
    let prefix = crc32c::crc32c(&batch[..CRC_START]);
    let mut own = [0; 4];
    own.copy_from_slice(&batch[17..CRC_START]);
    crc32c::crc32c_combine(prefix, u32::from_be_bytes(own), batch.len() - CRC_START)
}
