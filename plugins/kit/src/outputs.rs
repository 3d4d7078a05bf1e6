//! What the hooks `transform` and `project` answer: the records that a batch becomes.
//!
//! The contract wants one buffer of bytes and spans into it. Outputs are written straight there, so
//! that a record costs no allocation; what stays as it is is not even copied.

use crate::Record;
use std::fmt;
use std::io;

/// The length of a span that stands for "as in the source", and for "absent".
pub(crate) const UNCHANGED: u32 = u32::MAX - 1;
pub(crate) const ABSENT: u32 = u32::MAX;

/// Numbers per output: offset and length of the key, offset and length of the value.
pub(crate) const SPANS: usize = 4;

/// The records that become of a batch, in order.
///
/// A record of which nothing is pushed and that is not rejected is dropped. Records are taken in
/// their order: what has been passed cannot be added to later.
#[derive(Debug, Default)]
pub struct Outputs {
    pub(crate) source: Vec<u32>,
    pub(crate) data: Vec<u8>,
    pub(crate) spans: Vec<[u32; SPANS]>,
    pub(crate) headers: Vec<Change>,
    pub(crate) rejected: Vec<(u32, String)>,
    /// The first record that may still have outputs.
    open: u32,
    /// Room for values when the first is written: most changes keep the size.
    data_expected: usize,
}

/// A header of an output that is set, or removed.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) output: u32,
    pub(crate) name: String,
    pub(crate) value: Option<Vec<u8>>,
}

impl Outputs {
    pub(crate) fn new(records: usize, data_expected: usize) -> Self {
        Self {
            source: Vec::with_capacity(records),
            spans: Vec::with_capacity(records),
            data_expected,
            ..Self::default()
        }
    }

    /// The record as it is.
    #[inline]
    pub fn keep(&mut self, record: Record<'_>) {
        self.push(record);
    }

    /// A record like this one, to be changed as the calls that follow say.
    ///
    /// # Panics
    /// If a later record was pushed or rejected already, or this one rejected.
    #[inline]
    pub fn push(&mut self, record: Record<'_>) -> Output<'_> {
        let index = number(record.index());
        self.expect_open(index);
        self.open = index;
        self.source.push(index);
        self.spans.push([0, UNCHANGED, 0, UNCHANGED]);
        Output { outputs: self }
    }

    /// Refuses the record. The producer is told the reason; the other records of its request are
    /// stored, unless it asked for all or nothing. What was pushed of the record before is taken
    /// back.
    ///
    /// # Panics
    /// If a later record was pushed or rejected already, or this one rejected.
    pub fn reject(&mut self, record: Record<'_>, reason: impl Into<String>) {
        let index = number(record.index());
        self.expect_open(index);
        self.open = index + 1;
        let pushed = self.source.iter().rev();
        let pushed = pushed.take_while(|source| **source == index).count();
        let left = self.source.len() - pushed;
        self.source.truncate(left);
        self.spans.truncate(left);
        let undone = self.headers.iter().rev();
        let undone = undone.take_while(|change| change.output as usize >= left);
        self.headers.truncate(self.headers.len() - undone.count());
        self.rejected.push((index, reason.into()));
    }

    #[inline]
    fn expect_open(&self, index: u32) {
        assert!(
            index >= self.open,
            "records are pushed and rejected in their order, and not after they were rejected"
        );
    }

    #[inline]
    fn buffer(&mut self) -> &mut Vec<u8> {
        if self.data.capacity() == 0 {
            self.data.reserve(self.data_expected);
        }
        &mut self.data
    }
}

/// What a subscriber will see of a record.
pub type View<'a> = Output<'a>;

/// One record in the making. It starts as its source is; each call changes a part.
#[derive(Debug)]
pub struct Output<'a> {
    outputs: &'a mut Outputs,
}

impl Output<'_> {
    /// Gives it that key.
    #[inline]
    pub fn key(&mut self, key: impl AsRef<[u8]>) -> &mut Self {
        self.write(0, |buffer| buffer.push_all(key.as_ref()));
        self
    }

    /// Takes its key away.
    #[inline]
    pub fn remove_key(&mut self) -> &mut Self {
        self.set(0, 0, ABSENT);
        self
    }

    /// Gives it that value.
    #[inline]
    pub fn value(&mut self, value: impl AsRef<[u8]>) -> &mut Self {
        self.write_value(|buffer| buffer.push_all(value.as_ref()));
        self
    }

    /// Takes its value away: it becomes a tombstone.
    #[inline]
    pub fn remove_value(&mut self) -> &mut Self {
        self.set(2, 0, ABSENT);
        self
    }

    /// Gives it the value that `write` writes, straight to where the host will read it; answers
    /// what `write` answers:
    ///
    /// ```
    /// # use weir_plugin::{Columns, Config, Error, Project, Record, View, testing};
    /// # struct Upper;
    /// # impl Project for Upper {
    /// # fn configure(_: &Config, columns: &mut Columns) -> Result<Self, Error> {
    /// #     columns.value();
    /// #     Ok(Self)
    /// # }
    /// fn project(&self, record: Record<'_>, view: &mut View<'_>) -> Result<(), Error> {
    ///     let value = record.value().unwrap_or_default();
    ///     view.write_value(|buffer| buffer.push_mapped(value, |byte| byte.to_ascii_uppercase()));
    ///     Ok(())
    /// }
    /// # }
    /// # fn main() -> Result<(), Error> {
    /// # let seen = testing::project::<Upper>(&[])?.project(testing::value("abc"))?;
    /// # assert_eq!(seen, testing::value("ABC"));
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn write_value<T>(&mut self, write: impl FnOnce(&mut Buffer<'_>) -> T) -> T {
        self.write(2, write)
    }

    /// Gives it that header, once: others of the name go.
    pub fn header(&mut self, name: impl Into<String>, value: impl AsRef<[u8]>) -> &mut Self {
        self.change(name.into(), Some(value.as_ref().to_vec()))
    }

    /// Takes all headers of that name away.
    pub fn remove_header(&mut self, name: impl Into<String>) -> &mut Self {
        self.change(name.into(), None)
    }

    fn change(&mut self, name: String, value: Option<Vec<u8>>) -> &mut Self {
        let output = number(self.outputs.spans.len() - 1);
        self.outputs.headers.push(Change {
            output,
            name,
            value,
        });
        self
    }

    #[inline]
    fn write<T>(&mut self, column: usize, write: impl FnOnce(&mut Buffer<'_>) -> T) -> T {
        let data = self.outputs.buffer();
        let start = data.len();
        let answer = write(&mut Buffer { data, start });
        let length = self.outputs.data.len() - start;
        self.set(column, number(start), number(length));
        answer
    }

    #[inline]
    fn set(&mut self, column: usize, start: u32, length: u32) {
        if let Some(spans) = self.outputs.spans.last_mut() {
            spans[column] = start;
            spans[column + 1] = length;
        }
    }
}

/// Where a value is written; bytes can be added and no longer be taken back.
///
/// It takes bytes by [`Extend`], by [`io::Write`] and, for text, by [`fmt::Write`].
#[derive(Debug)]
pub struct Buffer<'a> {
    data: &'a mut Vec<u8>,
    start: usize,
}

impl Buffer<'_> {
    /// Adds a byte.
    #[inline]
    pub fn push(&mut self, byte: u8) {
        self.data.push(byte);
    }

    /// Adds bytes.
    #[inline]
    pub fn push_all(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    /// Adds these bytes, each as `change` has it: the fastest way to change every byte of a value.
    /// `change` must depend on the byte alone; it may be called several times for one.
    #[inline]
    pub fn push_mapped(&mut self, bytes: &[u8], change: impl Fn(u8) -> u8) {
        if !push_blocks::<64>(self.data, bytes, &change)
            && !push_blocks::<16>(self.data, bytes, &change)
        {
            self.data.extend(bytes.iter().map(|byte| change(*byte)));
        }
    }

    /// What was written so far, to be changed in place.
    #[inline]
    #[must_use]
    pub fn written(&mut self) -> &mut [u8] {
        &mut self.data[self.start..]
    }
}

impl Extend<u8> for Buffer<'_> {
    #[inline]
    fn extend<I: IntoIterator<Item = u8>>(&mut self, bytes: I) {
        self.data.extend(bytes);
    }
}

impl<'b> Extend<&'b u8> for Buffer<'_> {
    #[inline]
    fn extend<I: IntoIterator<Item = &'b u8>>(&mut self, bytes: I) {
        self.data.extend(bytes);
    }
}

impl io::Write for Buffer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Write for Buffer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push_all(text.as_bytes());
        Ok(())
    }
}

/// [`Buffer::push_mapped`] in blocks of `N` bytes, of which the last may overlap the one before:
/// loops over as many bytes become a few instructions for all of them. Whether there are enough.
#[inline]
fn push_blocks<const N: usize>(
    data: &mut Vec<u8>,
    bytes: &[u8],
    change: &impl Fn(u8) -> u8,
) -> bool {
    let Some(last) = bytes.last_chunk::<N>() else {
        return false;
    };
    let changed = |block: &[u8; N]| {
        let mut block = *block;
        block.iter_mut().for_each(|byte| *byte = change(*byte));
        block
    };
    let (blocks, rest) = bytes.as_chunks::<N>();
    data.reserve(bytes.len());
    for block in blocks {
        data.extend_from_slice(&changed(block));
    }
    if !rest.is_empty() {
        data.truncate(data.len() + rest.len() - N);
        data.extend_from_slice(&changed(last));
    }
    true
}

#[inline]
fn number(size: usize) -> u32 {
    u32::try_from(size).expect("a plugin's memory has less than 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::{ABSENT, Outputs, UNCHANGED};
    use crate::{Batch, Columns};
    use std::fmt::Write;

    fn with_batch(run: impl FnOnce(&Batch<'_>, &mut Outputs)) -> Outputs {
        let columns = Columns::default();
        let batch = Batch::new(&columns, 3, &[], &[], &[]);
        let mut outputs = Outputs::new(3, 0);
        run(&batch, &mut outputs);
        outputs
    }

    #[test]
    fn parts_are_unchanged_absent_or_in_the_buffer() {
        let outputs = with_batch(|batch, out| {
            let records: Vec<_> = batch.iter().collect();
            out.keep(records[0]);
            out.push(records[2]).key("k").remove_value();
            let mut last = out.push(records[2]);
            last.value("first").remove_key();
            last.write_value(|buffer| {
                buffer.push(b'v');
                write!(buffer, "{}", 17).unwrap();
                buffer.extend(b"xyz".iter().map(u8::to_ascii_uppercase));
                buffer.written()[0] = b'V';
            });
        });
        assert_eq!(outputs.source, [0, 2, 2]);
        let expected = [
            [0, UNCHANGED, 0, UNCHANGED],
            [0, 1, 0, ABSENT],
            [0, ABSENT, 6, 6],
        ];
        assert_eq!(outputs.spans, expected);
        assert_eq!(outputs.data, b"kfirstV17XYZ");
    }

    #[test]
    fn bytes_are_mapped_at_every_length() {
        let bytes: Vec<u8> = (0..200).map(|n| n as u8).collect();
        for length in 0..bytes.len() {
            let outputs = with_batch(|batch, out| {
                let record = batch.iter().next().unwrap();
                out.push(record).write_value(|buffer| {
                    buffer.push(b'<');
                    buffer.push_mapped(&bytes[..length], |byte| !byte);
                    buffer.push(b'>');
                });
            });
            let mapped: Vec<u8> = bytes[..length].iter().map(|byte| !byte).collect();
            assert_eq!(outputs.data, [b"<", &mapped[..], b">"].concat());
        }
    }

    #[test]
    fn rejecting_takes_back_what_was_pushed_of_the_record() {
        let outputs = with_batch(|batch, out| {
            let records: Vec<_> = batch.iter().collect();
            out.push(records[0]).header("a", "1");
            out.push(records[1]).header("b", "2");
            out.push(records[1]).remove_header("c");
            out.reject(records[1], "no");
            out.push(records[2]).header("d", "3");
        });
        assert_eq!(outputs.source, [0, 2]);
        assert_eq!(outputs.spans.len(), 2);
        let changed: Vec<_> = outputs
            .headers
            .iter()
            .map(|c| (c.output, &*c.name))
            .collect();
        assert_eq!(changed, [(0, "a"), (1, "d")]);
        assert_eq!(outputs.rejected, [(1, "no".to_owned())]);
    }

    #[test]
    #[should_panic(expected = "records are pushed and rejected in their order")]
    fn a_rejected_record_has_no_outputs() {
        with_batch(|batch, out| {
            let first = batch.iter().next().unwrap();
            out.reject(first, "no");
            out.keep(first);
        });
    }

    #[test]
    #[should_panic(expected = "records are pushed and rejected in their order")]
    fn records_cannot_be_passed_and_then_pushed() {
        with_batch(|batch, out| {
            let records: Vec<_> = batch.iter().collect();
            out.keep(records[1]);
            out.keep(records[0]);
        });
    }
}
