//! Encoding: a batch is built record by record, from parts or from records already encoded.

use super::compression::{Compression, CompressionError};
use super::header::{CRC_START, HEADER_LEN, LENGTH_PREFIX, MAGIC};
use crate::id::Timestamp;
use crate::varint::{put_signed, put_unsigned, signed_len};

/// `batchLength` and the deltas are signed 32-bit numbers.
const BYTES_MAX: usize = i32::MAX as usize;
const DELTA_MAX: u32 = i32::MAX as u32;

/// What a record consists of, before it has a place.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewRecord<'a> {
    /// The key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null (a tombstone).
    pub value: Option<&'a [u8]>,
    /// Names and values, in order.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Builds one batch.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    /// Room for the header, then the records, uncompressed.
    bytes: Vec<u8>,
    count: u32,
    base: Timestamp,
    latest: Timestamp,
    last_delta: u32,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl BatchBuilder {
    /// An empty batch with room for that many bytes of records.
    #[must_use]
    pub fn with_capacity(records_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER_LEN + records_bytes);
        bytes.resize(HEADER_LEN, 0);
        let zero = Timestamp::new(0);
        Self {
            bytes,
            count: 0,
            base: zero,
            latest: zero,
            last_delta: 0,
        }
    }

    /// Records so far.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// Whether there is no record yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, header included, compression not.
    #[must_use]
    pub const fn bytes_len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record behind the last one.
    pub fn push(&mut self, timestamp: Timestamp, record: &NewRecord<'_>) {
        let body_len = nullable_len(record.key)
            + nullable_len(record.value)
            + signed_len(record.headers.len() as i64)
            + record
                .headers
                .iter()
                .map(|(name, value)| {
                    nullable_len(Some(name.as_bytes())) + nullable_len(Some(value))
                })
                .sum::<usize>();
        self.open_record(timestamp, self.next_delta(), body_len);
        put_nullable(&mut self.bytes, record.key);
        put_nullable(&mut self.bytes, record.value);
        put_signed(&mut self.bytes, record.headers.len() as i64);
        for (name, value) in record.headers {
            put_nullable(&mut self.bytes, Some(name.as_bytes()));
            put_nullable(&mut self.bytes, Some(value));
        }
    }

    /// Adds a record whose key, value and headers are encoded already ([`RecordView::body`]).
    ///
    /// [`RecordView::body`]: super::RecordView::body
    pub fn push_body(&mut self, timestamp: Timestamp, body: &[u8]) {
        self.push_body_at(timestamp, self.next_delta(), body);
    }

    /// The same at an offset delta of its own, as filtering and compaction leave gaps.
    ///
    /// # Panics
    /// If the delta does not fit the 31 bits it has in the batch; that of a record that was read
    /// from a batch always does.
    pub fn push_body_at(&mut self, timestamp: Timestamp, offset_delta: u32, body: &[u8]) {
        assert!(
            offset_delta <= DELTA_MAX,
            "offset delta {offset_delta} needs more than 31 bits"
        );
        self.open_record(timestamp, offset_delta, body.len());
        self.bytes.extend_from_slice(body);
    }

    /// Makes the last offset delta larger than that of the last record, when records behind it
    /// were left out.
    ///
    /// # Panics
    /// If the delta does not fit the 31 bits it has in the batch.
    pub fn extend_to(&mut self, last_offset_delta: u32) {
        assert!(
            last_offset_delta <= DELTA_MAX,
            "offset delta {last_offset_delta} needs more than 31 bits"
        );
        self.last_delta = self.last_delta.max(last_offset_delta);
    }

    /// The batch, base offset 0, leader epoch −1, no producer.
    ///
    /// Refused if it has more bytes than its length field can say (2 GiB).
    pub fn finish(mut self, compression: Compression) -> Result<Vec<u8>, CompressionError> {
        if self.bytes.len() > BYTES_MAX {
            return Err(CompressionError::TooLarge(BYTES_MAX));
        }
        if compression != Compression::None {
            let mut packed = Vec::with_capacity(self.bytes.len() / 2 + HEADER_LEN);
            packed.resize(HEADER_LEN, 0);
            compression.deflate(&self.bytes[HEADER_LEN..], &mut packed)?;
            self.bytes = packed;
        }
        self.write_header(compression);
        Ok(self.bytes)
    }

    const fn next_delta(&self) -> u32 {
        if self.count == 0 {
            0
        } else {
            self.last_delta + 1
        }
    }

    fn open_record(&mut self, timestamp: Timestamp, offset_delta: u32, body_len: usize) {
        if self.count == 0 {
            (self.base, self.latest) = (timestamp, timestamp);
        }
        self.latest = self.latest.max(timestamp);
        self.last_delta = offset_delta;
        self.count += 1;
        let timestamp_delta = timestamp.value().wrapping_sub(self.base.value());
        let length =
            1 + signed_len(timestamp_delta) + signed_len(i64::from(offset_delta)) + body_len;
        self.bytes.reserve(length + 10);
        put_signed(&mut self.bytes, length as i64);
        self.bytes.push(0);
        put_signed(&mut self.bytes, timestamp_delta);
        put_signed(&mut self.bytes, i64::from(offset_delta));
    }

    fn write_header(&mut self, compression: Compression) {
        let length = (self.bytes.len() - LENGTH_PREFIX) as i32;
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.extend_from_slice(&0_i64.to_be_bytes());
        header.extend_from_slice(&length.to_be_bytes());
        header.extend_from_slice(&(-1_i32).to_be_bytes());
        header.push(MAGIC);
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&(compression as i16).to_be_bytes());
        header.extend_from_slice(&(self.last_delta as i32).to_be_bytes());
        header.extend_from_slice(&self.base.value().to_be_bytes());
        header.extend_from_slice(&self.latest.value().to_be_bytes());
        header.extend_from_slice(&(-1_i64).to_be_bytes());
        header.extend_from_slice(&(-1_i16).to_be_bytes());
        header.extend_from_slice(&(-1_i32).to_be_bytes());
        header.extend_from_slice(&(self.count as i32).to_be_bytes());
        self.bytes[..HEADER_LEN].copy_from_slice(&header);
        let crc = crc32c::crc32c(&self.bytes[CRC_START..]);
        self.bytes[17..CRC_START].copy_from_slice(&crc.to_be_bytes());
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| signed_len(bytes.len() as i64) + bytes.len())
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_unsigned(out, 1),
        Some(bytes) => {
            put_signed(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
    }
}
