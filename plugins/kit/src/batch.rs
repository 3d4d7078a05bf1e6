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

    #[inline]
    fn key_column(&self) -> usize {
        assert!(self.key, "ask for columns.key() in configure");
        0
    }

    #[inline]
    fn value_column(&self) -> usize {
        assert!(self.value, "ask for columns.value() in configure");
        usize::from(self.key)
    }

    #[inline]
    fn header_column(&self, name: &str) -> usize {
        let same = |header: &String| equal(header.as_bytes(), name.as_bytes());
        let Some(position) = self.headers.iter().position(same) else {
            panic!("ask for columns.header({name:?}) in configure");
        };
        usize::from(self.key) + usize::from(self.value) + position
    }
}

/// A batch of records: `for record in &batch { … }`.
#[derive(Debug)]
pub struct Batch<'a> {
    columns: &'a Columns,
    count: usize,
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
        arena: &'a [u8],
        spans: &'a [u32],
        timestamps: &'a [i64],
    ) -> Self {
        Self {
            columns,
            count: count as usize,
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

    /// The values of the header of that name, one per record: what `record.header(name)` says of
    /// each, but the column is looked up once.
    ///
    /// # Panics
    /// If `configure` did not ask for the header.
    #[inline]
    pub fn header(&self, name: &str) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone {
        self.column(self.columns.header_column(name))
    }

    /// The keys, one per record: [`Record::key`] of each.
    ///
    /// # Panics
    /// If `configure` did not ask for keys.
    #[inline]
    pub fn keys(&self) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone {
        self.column(self.columns.key_column())
    }

    /// The values, one per record: [`Record::value`] of each.
    ///
    /// # Panics
    /// If `configure` did not ask for values.
    #[inline]
    pub fn values(&self) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone {
        self.column(self.columns.value_column())
    }

    #[inline]
    fn column(
        &self,
        column: usize,
    ) -> impl ExactSizeIterator<Item = Option<&'a [u8]>> + Clone + use<'a> {
        let arena = self.arena;
        let spans = &self.spans[2 * column * self.count..][..2 * self.count];
        spans
            .chunks_exact(2)
            .map(move |span| slice(arena, span[0], span[1]))
    }

    /// The bytes that records are slices of.
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
    /// Its position in the batch.
    #[inline]
    pub(crate) fn index(&self) -> usize {
        self.index
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
        self.bytes(self.batch.columns.key_column())
    }

    /// The value; `None` for a tombstone.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&'a [u8]> {
        self.bytes(self.batch.columns.value_column())
    }

    /// The value of the last header of that name, if the record has one.
    #[inline]
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.bytes(self.batch.columns.header_column(name))
    }

    #[inline]
    fn bytes(&self, column: usize) -> Option<&'a [u8]> {
        let at = 2 * (column * self.batch.count + self.index);
        slice(
            self.batch.arena,
            self.batch.spans[at],
            self.batch.spans[at + 1],
        )
    }
}

#[inline]
fn slice(arena: &[u8], start: u32, length: u32) -> Option<&[u8]> {
    if length == ABSENT {
        return None;
    }
    Some(&arena[start as usize..][..length as usize])
}

/// Whether two short texts are equal, such as a header's value and the one looked for: eight bytes
/// at a time, where `==` on slices calls a function that goes byte by byte in WebAssembly.
#[inline]
#[must_use]
pub fn equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (ones, one_rest) = one.as_chunks::<8>();
    let (others, other_rest) = other.as_chunks::<8>();
    let words = ones.iter().zip(others);
    let mut differences = 0;
    for (one, other) in words {
        differences |= u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
    }
    differences == 0
        && one_rest
            .iter()
            .zip(other_rest)
            .all(|(one, other)| one == other)
}

#[cfg(test)]
mod tests {
    use super::equal;

    #[test]
    fn equal_is_equality_at_every_length_and_place() {
        for length in 0..40 {
            let text: Vec<u8> = (0..length).collect();
            assert!(equal(&text, &text.clone()));
            assert!(!equal(&text, &[&text[..], b"x"].concat()));
            for at in 0..text.len() {
                let mut other = text.clone();
                other[at] ^= 1;
                assert!(!equal(&text, &other));
            }
        }
    }
}
