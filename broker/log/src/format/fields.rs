//! Reading little-endian fields from bytes that may be anything.

use thiserror::Error;

use super::FORMAT_VERSION;

/// What is wrong with a file of another format version.
pub(crate) const OTHER_FORMAT: &str = "its format version is not the one this weir reads (1)";
/// Where the checksum stands in what a file begins with.
pub(crate) const CRC_AT: usize = 12;

/// What is wrong with some bytes, and where in them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} (at byte {at} of it)")]
pub struct DecodeError {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}

impl DecodeError {
    /// What to say of a file of another format version, if that is what is wrong.
    pub(crate) fn other_format(&self) -> Option<String> {
        (self.what == OTHER_FORMAT).then(|| {
            format!(
                "at byte {}: {OTHER_FORMAT}; use the weir that wrote it, or a newer one",
                self.at
            )
        })
    }
}

/// The checksum of bytes that hold it themselves: with zeros where it stands.
pub(crate) fn crc_without(bytes: &[u8], at: usize) -> u32 {
    let (before, rest) = bytes.split_at(at.min(bytes.len()));
    let after = rest.get(4..).unwrap_or_default();
    [before, &[0; 4], after]
        .into_iter()
        .fold(0, crc32c::crc32c_append)
}

/// A position in some bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Reads what every kind of file begins with: its magic, the format version, two bytes that
    /// are left free, and a checksum, which is answered.
    pub(crate) fn begin(
        bytes: &'a [u8],
        magic: &[u8; 8],
        not_it: &'static str,
    ) -> Result<(Self, u32), DecodeError> {
        let mut fields = Self::new(bytes);
        let start = fields;
        if fields.take(magic.len())? != magic {
            return Err(start.error(not_it));
        }
        let version = fields;
        if fields.u16()? != FORMAT_VERSION {
            return Err(version.error(OTHER_FORMAT));
        }
        fields.u16()?;
        let stated = fields.u32()?;
        Ok((fields, stated))
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn error(&self, what: &'static str) -> DecodeError {
        DecodeError { at: self.at, what }
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(self.error("it ends too early"))?;
        self.rest = rest;
        self.at += length;
        Ok(taken)
    }

    /// `length` bytes as a reader of their own that counts positions as this one does.
    pub(crate) fn part(&mut self, length: usize) -> Result<Self, DecodeError> {
        let at = self.at;
        Ok(Self {
            rest: self.take(length)?,
            at,
        })
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(self.error("it ends too early"))?;
        self.rest = rest;
        self.at += N;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_le_bytes)
    }

    /// A u32 that is a length or a position.
    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        Ok(self.u32()? as usize)
    }
}
