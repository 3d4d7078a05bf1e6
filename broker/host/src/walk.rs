//! Walks a records section by positions: the inner loop of projection, where [`Records`] costs
//! twice as much because it makes slices of parts that nobody asked for. It reads the same format
//! and accepts the same bytes; a property test holds it to that.
//!
//! [`Records`]: weir_wire::batch::Records

/// A place in the section; `None` is null.
pub(crate) type Place = Option<(usize, usize)>;

/// One record, as places in its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RecordAt {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: u32,
    pub(crate) key: Place,
    pub(crate) value: Place,
    /// Where the record begins, and where in it its parts do: the attributes with the timestamp
    /// behind them, the offset delta, then the body: key, value and headers with their lengths.
    pub(crate) start: usize,
    pub(crate) attributes: usize,
    pub(crate) offset_at: usize,
    pub(crate) body: usize,
    pub(crate) value_at: usize,
    pub(crate) headers: usize,
    pub(crate) end: usize,
}

/// One header, as places in its section: name and value with their lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderAt {
    pub(crate) start: usize,
    pub(crate) name: (usize, usize),
    pub(crate) end: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Walker<'a> {
    section: &'a [u8],
    at: usize,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(section: &'a [u8]) -> Self {
        Self::at(section, 0)
    }

    /// Starts where a record begins.
    pub(crate) fn at(section: &'a [u8], at: usize) -> Self {
        Self { section, at }
    }

    /// Starts at a record's headers: [`Self::count`] of them.
    pub(crate) fn headers(section: &'a [u8], record: &RecordAt) -> Option<Self> {
        let section = section.get(..record.end)?;
        Some(Self::at(section, record.headers))
    }

    /// A number of things; none if it is negative.
    pub(crate) fn count(&mut self) -> Option<u32> {
        Some(u32::try_from(self.small()?).unwrap_or(0))
    }

    /// The next header.
    pub(crate) fn header_at(&mut self) -> Option<HeaderAt> {
        let start = self.at;
        let name = self.nullable()??;
        self.nullable()?;
        Some(HeaderAt {
            start,
            name,
            end: self.at,
        })
    }

    /// How much of the section has been read.
    #[inline]
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The next record, `None` if the bytes hold none.
    #[inline(always)]
    pub(crate) fn record(&mut self) -> Option<RecordAt> {
        let start = self.at;
        let length = usize::try_from(self.small()?).ok()?;
        let attributes = self.at;
        let end = attributes.checked_add(length)?;
        let mut record = Walker::at(self.section.get(..end)?, attributes);
        let _attributes = record.byte()?;
        let timestamp_delta = record.signed()?;
        let offset_at = record.at;
        let offset_delta = u32::try_from(record.small()?).ok()?;
        let body = record.at;
        let key = record.nullable()?;
        let value_at = record.at;
        let value = record.nullable()?;
        self.at = end;
        Some(RecordAt {
            timestamp_delta,
            offset_delta,
            key,
            value,
            start,
            attributes,
            offset_at,
            body,
            value_at,
            headers: record.at,
            end,
        })
    }

    /// The value of the last header of that name; null reads as absent, as do headers that are
    /// not what they should be.
    #[inline(always)]
    pub(crate) fn header(&self, record: &RecordAt, name: &[u8]) -> Place {
        let section = self.section.get(..record.end)?;
        let mut headers = Walker {
            section,
            at: record.headers,
        };
        let mut found = None;
        for _ in 0..headers.small()? {
            let Some(Some((start, end))) = headers.nullable() else {
                break;
            };
            let Some(value) = headers.nullable() else {
                break;
            };
            // A loop beats a call of memcmp for the few bytes of a name.
            let equal = end - start == name.len()
                && section
                    .get(start..end)?
                    .iter()
                    .zip(name)
                    .all(|(one, other)| one == other);
            if equal {
                found = value;
            }
        }
        found
    }

    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.section.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    #[inline(always)]
    fn unsigned(&mut self) -> Option<u64> {
        let first = self.byte()?;
        if first < 0x80 {
            return Some(u64::from(first));
        }
        let second = self.byte()?;
        let low = u64::from(first & 0x7f) | u64::from(second & 0x7f) << 7;
        if second < 0x80 {
            Some(low)
        } else {
            self.unsigned_rest(low)
        }
    }

    #[cold]
    fn unsigned_rest(&mut self, low: u64) -> Option<u64> {
        let mut value = low;
        for shift in (14..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                return None;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    #[inline(always)]
    fn signed(&mut self) -> Option<i64> {
        let value = self.unsigned()?;
        Some((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// A number that must fit 32 bits.
    #[inline(always)]
    fn small(&mut self) -> Option<i32> {
        i32::try_from(self.signed()?).ok()
    }

    /// Start and end of bytes behind their length; the inner `None` is null.
    #[inline(always)]
    fn nullable(&mut self) -> Option<Place> {
        let length = self.small()?;
        if length == -1 {
            return Some(None);
        }
        let start = self.at;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        if end > self.section.len() {
            return None;
        }
        self.at = end;
        Some(Some((start, end)))
    }
}

#[cfg(test)]
mod tests {
    use super::{Place, Walker};
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};
    use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord, Records};
    use weir_wire::id::Timestamp;

    /// Both readers see the same records, keys, values and headers, up to the same place.
    fn same(section: &[u8], count: u32) {
        let mut walker = Walker::new(section);
        let slice = |place: Place| place.and_then(|(start, end)| section.get(start..end));
        for view in Records::new(section, count) {
            let found = walker.record();
            let Ok(view) = view else {
                assert_eq!(found, None);
                return;
            };
            let found = found.unwrap();
            assert_eq!(found.timestamp_delta, view.timestamp_delta);
            assert_eq!(found.offset_delta, view.offset_delta);
            assert_eq!(section.get(found.body..found.end), Some(view.body()));
            assert_eq!(
                (slice(found.key), slice(found.value)),
                (view.key, view.value)
            );
            for name in ["tag", "", "x"] {
                assert_eq!(
                    slice(walker.header(&found, name.as_bytes())),
                    view.header(name)
                );
            }
        }
    }

    fn sample(values: &[Vec<u8>], tag: &[u8]) -> Vec<u8> {
        let mut builder = BatchBuilder::default();
        for (index, value) in values.iter().enumerate() {
            let headers: [(&str, &[u8]); 3] = [("tag", b"first"), ("x", value), ("tag", tag)];
            let key = (index % 3 > 0).then_some(&value[..value.len() / 2]);
            let headers = &headers[..index % 4];
            let record = NewRecord {
                key,
                value: Some(value),
                headers,
            };
            builder.push(Timestamp::new(index as i64 * 977), &record);
        }
        builder
            .finish(Compression::None)
            .unwrap()
            .split_off(HEADER_LEN)
    }

    proptest! {
        #[test]
        fn reads_what_the_wire_crate_reads(
            values in vec(vec(any::<u8>(), 0..300), 0..40),
            changes in vec((any::<usize>(), any::<u8>()), 0..4),
        ) {
            let mut section = sample(&values, b"last");
            same(&section, values.len() as u32);
            for (at, byte) in changes {
                let length = section.len().max(1);
                if let Some(slot) = section.get_mut(at % length) {
                    *slot = byte;
                }
            }
            same(&section, u32::MAX);
        }

        #[test]
        fn reads_noise_as_the_wire_crate_does(section in vec(any::<u8>(), 0..200)) {
            same(&section, u32::MAX);
        }
    }
}
