//! A batch of records as the host passes it, and the records in it as borrowed slices.
//!
//! The contract is columns: one arena of bytes and (offset, length) spans into it. Authors never
//! see the spans; they iterate over records.

/// The length of a span that stands for "absent".
const ABSENT: u32 = u32::MAX;

/// The columns that the host must supply. Ask for what is read and no more: what nobody asked for
/// is not copied into the plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    pub(crate) key: bool,
    pub(crate) value: bool,
    pub(crate) timestamp: bool,
    pub(crate) headers: Vec<String>,
}

impl Columns {
    /// Asks for the records' keys.
    pub fn key(&mut self) -> &mut Self {
        self.key = true;
        self
    }

    /// Asks for the records' values.
    pub fn value(&mut self) -> &mut Self {
        self.value = true;
        self
    }

    /// Asks for the records' timestamps.
    pub fn timestamp(&mut self) -> &mut Self {
        self.timestamp = true;
        self
    }

    /// Asks for the header of that name.
    pub fn header(&mut self, name: impl Into<String>) -> &mut Self {
        let name = name.into();
        if !self.headers.contains(&name) {
            self.headers.push(name);
        }
        self
    }

    fn first_header(&self) -> usize {
        usize::from(self.key) + usize::from(self.value)
    }
}

/// A batch of records: `for record in &batch { … }`.
#[derive(Debug)]
pub struct Batch<'a> {
    columns: &'a Columns,
    count: usize,
    base_offset: u64,
    arena: &'a [u8],
    spans: &'a [u32],
    timestamps: &'a [i64],
}

impl<'a> Batch<'a> {
    /// The batch as the contract passes it (`weir.wit`, `types.batch`).
    #[doc(hidden)]
    #[must_use]
    pub fn new(
        columns: &'a Columns,
        count: u32,
        base_offset: u64,
        arena: &'a [u8],
        spans: &'a [u32],
        timestamps: &'a [i64],
    ) -> Self {
        Self {
            columns,
            count: count as usize,
            base_offset,
            arena,
            spans,
            timestamps,
        }
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The records, in order.
    #[must_use]
    pub fn iter(&self) -> Records<'_> {
        Records {
            batch: self,
            indexes: 0..self.count,
        }
    }

    /// The bytes that records are slices of.
    #[cfg(target_family = "wasm")]
    pub(crate) fn arena(&self) -> &'a [u8] {
        self.arena
    }
}

impl<'a> IntoIterator for &'a Batch<'_> {
    type Item = Record<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.iter()
    }
}

/// The records of a batch, in order.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    batch: &'a Batch<'a>,
    indexes: std::ops::Range<usize>,
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    #[inline]
    fn next(&mut self) -> Option<Record<'a>> {
        let batch = self.batch;
        self.indexes.next().map(|index| Record { batch, index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.indexes.size_hint()
    }
}

impl ExactSizeIterator for Records<'_> {}

/// One record; its parts are slices of the batch.
///
/// Reading a column that `configure` did not ask for is a mistake in the plugin and panics with a
/// sentence that says which; the host reports it.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    batch: &'a Batch<'a>,
    index: usize,
}

impl<'a> Record<'a> {
    /// The record's offset in its partition; on produce, where none is known yet, its position in
    /// the request.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.batch.base_offset + self.index as u64
    }

    /// The producer's timestamp, in milliseconds since the Unix epoch.
    #[inline]
    #[must_use]
    pub fn timestamp(&self) -> i64 {
        assert!(
            self.batch.columns.timestamp,
            "ask for columns.timestamp() in configure"
        );
        self.batch.timestamps[self.index]
    }

    /// The key, if the record has one.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        assert!(self.batch.columns.key, "ask for columns.key() in configure");
        self.bytes(0)
    }

    /// The value; `None` for a tombstone.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        assert!(
            self.batch.columns.value,
            "ask for columns.value() in configure"
        );
        self.bytes(usize::from(self.batch.columns.key))
    }

    /// The value of the last header of that name, if the record has one.
    #[inline]
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        let columns = self.batch.columns;
        let Some(position) = columns.headers.iter().position(|header| header == name) else {
            panic!("ask for columns.header({name:?}) in configure");
        };
        self.bytes(columns.first_header() + position)
    }

    #[inline]
    fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let at = 2 * (column * self.batch.count + self.index);
        let (start, length) = (self.batch.spans[at], self.batch.spans[at + 1]);
        if length == ABSENT {
            return None;
        }
        Some(&self.batch.arena[start as usize..][..length as usize])
    }
}
