//! Variable-length integers: unsigned LEB128 and zigzag on top of it (Kafka's varint and varlong,
//! Protocol Buffers' varint and sint), and the checked reader that every decoder here uses.

/// Why bytes could not be read; decoders turn it into an error that names what they were reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The bytes end before the value does.
    #[error("bytes end too early")]
    Truncated,
    /// A varint longer than its type allows.
    #[error("a varint is too long")]
    Overlong,
    /// A length is negative or otherwise impossible.
    #[error("a length is out of range")]
    Length,
}

/// Reads forward over borrowed bytes; never panics, whatever they hold.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    #[inline]
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], ReadError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes as an array, for fixed-width integers.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], ReadError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// One byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, ReadError> {
        let (&byte, rest) = self.rest.split_first().ok_or(ReadError::Truncated)?;
        self.rest = rest;
        Ok(byte)
    }

    /// An unsigned LEB128 integer of at most 64 bits.
    #[inline]
    pub fn unsigned(&mut self) -> Result<u64, ReadError> {
        let first = self.byte()?;
        if first < 0x80 {
            return Ok(u64::from(first));
        }
        let low = u64::from(first & 0x7f);
        // Two bytes hold the lengths and deltas of most records; the loop is for the rest.
        if let Some((&second, rest)) = self.rest.split_first()
            && second < 0x80
        {
            self.rest = rest;
            return Ok(low | u64::from(second) << 7);
        }
        self.unsigned_rest(low)
    }

    fn unsigned_rest(&mut self, low: u64) -> Result<u64, ReadError> {
        let mut value = low;
        for shift in (7..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return Err(ReadError::Overlong);
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(ReadError::Overlong)
    }

    /// A zigzag integer of at most 64 bits.
    #[inline]
    pub fn signed(&mut self) -> Result<i64, ReadError> {
        Ok(unzigzag(self.unsigned()?))
    }

    /// A zigzag integer that must fit 32 bits.
    #[inline]
    pub fn signed32(&mut self) -> Result<i32, ReadError> {
        i32::try_from(self.signed()?).map_err(|_| ReadError::Overlong)
    }

    /// Bytes behind a zigzag length, as Kafka writes keys and values; −1 is null.
    #[inline]
    pub fn nullable(&mut self) -> Result<Option<&'a [u8]>, ReadError> {
        match self.signed32()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| ReadError::Length)?;
                self.take(length).map(Some)
            }
        }
    }
}

/// Appends an unsigned LEB128 integer.
#[inline]
pub fn put_unsigned(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a zigzag integer.
#[inline]
pub fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_unsigned(out, zigzag(value));
}

/// How many bytes [`put_unsigned`] appends.
#[inline]
#[must_use]
pub const fn unsigned_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

/// How many bytes [`put_signed`] appends.
#[inline]
#[must_use]
pub const fn signed_len(value: i64) -> usize {
    unsigned_len(zigzag(value))
}

#[inline]
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
const fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}
