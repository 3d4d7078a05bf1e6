//! The check before the append: a batch that lies would poison every reader for ever.

use std::borrow::Cow;

use super::compression::CompressionError;
use super::header::{BatchHeader, CRC_START, HEADER_LEN, HeaderError};
use super::record::Records;
use crate::limits;
use crate::varint::ReadError;

/// A batch whose every byte has been looked at.
#[derive(Clone, Debug)]
pub struct Verified<'a> {
    /// The header.
    pub header: BatchHeader,
    /// The uncompressed records section; borrowed when the batch is not compressed.
    pub records: Cow<'a, [u8]>,
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// The header makes no sense.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The length in the header is not the number of bytes that came.
    #[error("the batch says it has {stated} bytes, but {actual} came")]
    Length {
        /// As the header says.
        stated: usize,
        /// As received.
        actual: usize,
    },
    /// Larger than the limits allow.
    #[error("the batch has {0} bytes; the limit is {max}", max = limits::BATCH_BYTES_MAX)]
    TooLarge(usize),
    /// The checksum does not match: the bytes changed on their way.
    #[error("the batch's CRC32C is {actual:#010x}, its header says {stated:#010x}")]
    Crc {
        /// As the header says.
        stated: u32,
        /// As computed.
        actual: u32,
    },
    /// No records, or more than the limits allow.
    #[error("a batch holds 1 to {max} records, not {0}", max = limits::BATCH_RECORDS_MAX)]
    Count(u32),
    /// The header's count or last offset delta is not what the records say.
    #[error("the batch says it holds {stated} records up to delta {last}, its records disagree")]
    Records {
        /// The count in the header.
        stated: u32,
        /// The last offset delta in the header.
        last: u32,
    },
    /// A record cannot be read.
    #[error("record {index} of the batch is malformed: {source}")]
    Record {
        /// Which one, from 0.
        index: u32,
        /// What is wrong with it.
        source: ReadError,
    },
    /// The records section cannot be decompressed within the limits.
    #[error(transparent)]
    Compression(#[from] CompressionError),
}

/// Checks a whole batch as a producer sent it: lengths, CRC, count, deltas, every record.
pub fn verify(batch: &[u8]) -> Result<Verified<'_>, BatchError> {
    if batch.len() > limits::BATCH_BYTES_MAX {
        return Err(BatchError::TooLarge(batch.len()));
    }
    let header = BatchHeader::parse(batch)?;
    if header.total_len != batch.len() {
        return Err(BatchError::Length {
            stated: header.total_len,
            actual: batch.len(),
        });
    }
    let actual = crc32c::crc32c(&batch[CRC_START..]);
    if actual != header.crc {
        return Err(BatchError::Crc {
            stated: header.crc,
            actual,
        });
    }
    if header.count == 0 || header.count > limits::BATCH_RECORDS_MAX {
        return Err(BatchError::Count(header.count));
    }
    let records = header
        .compression
        .inflate(&batch[HEADER_LEN..], limits::BATCH_INFLATED_MAX)?;
    check_records(&header, &records)?;
    Ok(Verified { header, records })
}

fn check_records(header: &BatchHeader, section: &[u8]) -> Result<(), BatchError> {
    let lie = || BatchError::Records {
        stated: header.count,
        last: header.last_offset_delta,
    };
    if header.last_offset_delta != header.count - 1 {
        return Err(lie());
    }
    let mut records = Records::new(section, header.count);
    let mut index = 0;
    for record in &mut records {
        let fault = |source| BatchError::Record { index, source };
        let record = record.map_err(fault)?;
        record.headers_are_sound().map_err(fault)?;
        if record.offset_delta != index {
            return Err(lie());
        }
        index += 1;
    }
    if index != header.count || !records.rest().is_empty() {
        return Err(lie());
    }
    Ok(())
}
