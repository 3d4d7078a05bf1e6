//! Reading little-endian fields from bytes that may be anything.

use thiserror::Error;

/// What is wrong with some bytes, and where in them.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{what} (at byte {at} of it)")]
pub struct DecodeError {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
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
