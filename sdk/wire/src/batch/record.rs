//! The records section of a batch, read record by record as borrowed slices.

use crate::id::Timestamp;
use crate::varint::{ReadError, Reader, put_signed};

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Milliseconds after the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Offset after the batch's base offset.
    pub offset_delta: u32,
    /// The producer's key; `None` is null.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is null (a tombstone).
    pub value: Option<&'a [u8]>,
    /// The headers, still encoded: count, then name and value of each.
    headers: &'a [u8],
    /// Everything from the key's length on: what a re-encoding copies as it is.
    body: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The timestamp, given that of the batch.
    #[must_use]
    pub const fn timestamp(&self, base: Timestamp) -> Timestamp {
        // Wrapping, as the builder's subtraction: any two timestamps come back as they were.
        Timestamp::new(base.value().wrapping_add(self.timestamp_delta))
    }

    /// The headers, in their order.
    #[inline]
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        let mut reader = Reader::new(self.headers);
        let count = reader.signed32().unwrap_or(0);
        Headers {
            left: u32::try_from(count).unwrap_or(0),
            reader,
        }
    }

    /// The value of the last header of that name (Kafka's `lastHeader`); null reads as absent.
    #[inline]
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let found = self.headers().filter(|(n, _)| *n == name.as_bytes()).last();
        found.and_then(|(_, value)| value)
    }

    /// Key, value and headers as they are encoded, for [`BatchBuilder::push_body`].
    ///
    /// [`BatchBuilder::push_body`]: super::BatchBuilder::push_body
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The same with headers behind those that the record has.
    #[must_use]
    pub fn body_with_headers(&self, more: &[(&str, &[u8])]) -> Vec<u8> {
        let mut reader = Reader::new(self.headers);
        let count = reader.signed32().unwrap_or(0).max(0);
        let before = self.body.len() - self.headers.len();
        let added: usize = more.iter().map(|(n, v)| n.len() + v.len() + 10).sum();
        let mut out = Vec::with_capacity(self.body.len() + added);
        out.extend_from_slice(self.body.get(..before).unwrap_or_default());
        put_signed(&mut out, i64::from(count) + more.len() as i64);
        out.extend_from_slice(reader.rest());
        for (name, value) in more {
            for bytes in [name.as_bytes(), value] {
                put_signed(&mut out, bytes.len() as i64);
                out.extend_from_slice(bytes);
            }
        }
        out
    }

    #[inline]
    fn parse(reader: &mut Reader<'a>) -> Result<Self, ReadError> {
        let length = usize::try_from(reader.signed32()?).map_err(|_| ReadError::Length)?;
        let mut record = Reader::new(reader.take(length)?);
        let _attributes = record.byte()?;
        let timestamp_delta = record.signed()?;
        let offset_delta = u32::try_from(record.signed32()?).map_err(|_| ReadError::Length)?;
        let body = record.rest();
        let key = record.nullable()?;
        let value = record.nullable()?;
        let headers = record.rest();
        Ok(Self {
            timestamp_delta,
            offset_delta,
            key,
            value,
            headers,
            body,
        })
    }

    /// Whether the headers are well formed and nothing follows them.
    pub(super) fn headers_are_sound(&self) -> Result<(), ReadError> {
        let mut reader = Reader::new(self.headers);
        let count = reader.signed32()?;
        if count < 0 {
            return Err(ReadError::Length);
        }
        for _ in 0..count {
            let name = reader.nullable()?.ok_or(ReadError::Length)?;
            if std::str::from_utf8(name).is_err() {
                return Err(ReadError::Length);
            }
            reader.nullable()?;
        }
        if reader.is_empty() {
            Ok(())
        } else {
            Err(ReadError::Length)
        }
    }
}

/// Walks the headers of a record: name (UTF-8 in a verified batch) and value.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let name = self.reader.nullable().ok()??;
        let value = self.reader.nullable().ok()?;
        Some((name, value))
    }
}

/// Walks an uncompressed records section.
///
/// Yields one error and ends where the bytes are not what they should be; never more than
/// `count` records.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    reader: Reader<'a>,
    left: u32,
}

impl<'a> Records<'a> {
    /// Reads `count` records from an uncompressed section.
    #[must_use]
    pub const fn new(section: &'a [u8], count: u32) -> Self {
        Self {
            reader: Reader::new(section),
            left: count,
        }
    }

    /// Bytes not read yet: empty after the last record of a sound section.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.reader.rest()
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, ReadError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = RecordView::parse(&mut self.reader);
        if record.is_err() {
            self.left = 0;
        }
        Some(record)
    }
}
