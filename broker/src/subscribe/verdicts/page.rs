//! What a chain of filters said about the batches of one stretch of a partition.

use weir_wire::id::Offset;

/// Offsets that one page covers. A page is what the cache lets go of at once, so it is small
/// beside the cache even when every record has a batch of its own; and it is large enough that
/// thousands of batches of which nothing is kept are one range.
pub(super) const PAGE_OFFSETS: u64 = 1 << 14;
/// Stands for the place of a bitmap where every record is kept.
const ALL: u32 = u32::MAX;

/// Which batch is meant. Compaction writes batches anew at the offset that they had, so the offset
/// alone does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchName {
    /// The offset of its first record.
    pub(crate) base: Offset,
    /// The offset after its last one.
    pub(crate) end: Offset,
    /// CRC32C of its bytes.
    pub(crate) crc: u32,
    /// How many records are in it.
    pub(crate) count: u32,
}

/// Which records of a batch a chain of filters keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// None.
    Nothing,
    /// Every one.
    All,
    /// A bit for each, the first in the lowest bit of the first byte.
    Some(Box<[u8]>),
}

/// A stretch of which nothing is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skip {
    /// Where it ends.
    pub(crate) to: Offset,
    /// Records in it, when they were looked at.
    pub(crate) records: u64,
}

/// The verdicts about the batches that begin in one stretch of [`PAGE_OFFSETS`].
#[derive(Debug, Default)]
pub(super) struct Page {
    /// Batches of which something is kept, in their order.
    kept: Vec<Entry>,
    /// The bitmaps of those of which not everything is.
    bits: Vec<u8>,
    /// Bytes of `bits` that no entry refers to any more.
    unused: usize,
    /// Where nothing is kept, in order; no two of them touch.
    empty: Vec<Range>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    base: Offset,
    crc: u32,
    count: u32,
    /// Where its bitmap begins, or [`ALL`].
    bits: u32,
}

#[derive(Clone, Copy, Debug)]
struct Range {
    from: Offset,
    to: Offset,
    records: u64,
}

impl Verdict {
    /// From a yes or no for each record.
    pub(crate) fn of(keep: &[bool]) -> Self {
        if !keep.contains(&true) {
            return Self::Nothing;
        }
        if !keep.contains(&false) {
            return Self::All;
        }
        let byte = |chunk: &[bool]| {
            let bits = chunk.iter().enumerate();
            bits.fold(0, |byte, (bit, keep)| byte | u8::from(*keep) << bit)
        };
        Self::Some(keep.chunks(8).map(byte).collect())
    }

    /// A yes or no for each of so many records.
    pub(crate) fn to_bools(&self, count: u32) -> Vec<bool> {
        let count = count as usize;
        match self {
            Self::Nothing => vec![false; count],
            Self::All => vec![true; count],
            Self::Some(bits) => {
                let each = bits
                    .iter()
                    .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
                each.chain(std::iter::repeat(false)).take(count).collect()
            }
        }
    }
}

impl Range {
    /// Whether every offset in it had a record, so that each part of it has as many as offsets.
    const fn is_dense(&self) -> bool {
        self.records == self.to.since(self.from)
    }
}

impl Page {
    /// What was said about that batch.
    pub(super) fn get(&self, batch: &BatchName) -> Option<Verdict> {
        let covers = |range: &Range| range.from <= batch.base && batch.end <= range.to;
        if self.range_before(batch.base).is_some_and(covers) {
            // Whatever is left of a batch of which nothing was kept, nothing of it is kept.
            return Some(Verdict::Nothing);
        }
        let at = self.kept.binary_search_by_key(&batch.base, |e| e.base);
        let entry = self.kept.get(at.ok()?)?;
        if (entry.crc, entry.count) != (batch.crc, batch.count) {
            return None;
        }
        if entry.bits == ALL {
            return Some(Verdict::All);
        }
        let begin = entry.bits as usize;
        let bits = self.bits.get(begin..begin + bitmap_len(entry.count))?;
        Some(Verdict::Some(bits.into()))
    }

    /// The stretch of which nothing is kept, if that offset is in one. Who begins within a stretch
    /// with gaps gets none: how many records it skips could not be told.
    pub(super) fn skip(&self, from: Offset) -> Option<Skip> {
        let range = self.range_before(from).filter(|range| from < range.to)?;
        let records = match range {
            range if range.from == from => range.records,
            range if range.is_dense() => range.to.since(from),
            _ => return None,
        };
        let to = range.to;
        Some(Skip { to, records })
    }

    /// Remembers what was said about a batch. Whoever read it had looked from `from` on, so there
    /// is nothing between that and the batch, and never will be.
    pub(super) fn put(&mut self, from: Offset, batch: &BatchName, verdict: &Verdict) {
        self.forget(batch);
        let bits = match verdict {
            Verdict::Nothing => return self.put_empty(from.min(batch.base), batch),
            Verdict::All => ALL,
            Verdict::Some(bits) => {
                debug_assert_eq!(bits.len(), bitmap_len(batch.count));
                let Ok(at) = u32::try_from(self.bits.len()) else {
                    return;
                };
                self.bits.extend_from_slice(bits);
                at
            }
        };
        let entry = Entry {
            base: batch.base,
            crc: batch.crc,
            count: batch.count,
            bits,
        };
        let at = self.kept.partition_point(|other| other.base < batch.base);
        self.kept.insert(at, entry);
    }

    /// What the page takes in memory, besides itself.
    pub(super) fn weight(&self) -> usize {
        self.kept.capacity() * size_of::<Entry>()
            + self.bits.capacity()
            + self.empty.capacity() * size_of::<Range>()
    }

    /// The last range that begins at that offset or before.
    fn range_before(&self, offset: Offset) -> Option<&Range> {
        let behind = self.empty.partition_point(|range| range.from <= offset);
        self.empty.get(behind.checked_sub(1)?)
    }

    /// Drops what is known of batches that stood where this one does, unless it is in a range:
    /// that holds whatever compaction has made of them.
    fn forget(&mut self, batch: &BatchName) {
        let first = self.kept.partition_point(|entry| entry.base < batch.base);
        let behind = self.kept.partition_point(|entry| entry.base < batch.end);
        for entry in self.kept.drain(first..behind) {
            if entry.bits != ALL {
                self.unused += bitmap_len(entry.count);
            }
        }
        if self.unused > self.bits.len() / 2 {
            let mut bits = Vec::with_capacity(self.bits.len() - self.unused);
            for entry in self.kept.iter_mut().filter(|entry| entry.bits != ALL) {
                let begin = entry.bits as usize;
                // No larger than where it was, which did fit.
                entry.bits = bits.len() as u32;
                bits.extend_from_slice(&self.bits[begin..begin + bitmap_len(entry.count)]);
            }
            (self.bits, self.unused) = (bits, 0);
        }
    }

    fn put_empty(&mut self, from: Offset, batch: &BatchName) {
        let behind = self.empty.partition_point(|range| range.from <= batch.base);
        let range = |at: usize| self.empty.get(at.checked_sub(1)?).copied();
        let mut new = Range {
            from,
            to: batch.end,
            records: batch.count.into(),
        };
        let mut first = behind;
        match range(first) {
            Some(known) if batch.end <= known.to => {
                if from >= known.from {
                    return;
                }
                // Only the gap in front of it is new.
                (new.to, new.records, first) = (known.to, known.records, first - 1);
            }
            Some(part) if part.to > batch.base => {
                // Two batches became one. What was said of a part says nothing of the whole.
                (new.from, first) = (batch.base, first - 1);
            }
            _ => {}
        }
        if let Some(before) = range(first).filter(|before| before.to >= new.from) {
            (new.from, first) = (before.from, first - 1);
            new.records += before.records;
        }
        // Ranges that begin within the batch: what they say is in the new one.
        let mut end = behind;
        while self.empty.get(end).is_some_and(|next| next.from < new.to) {
            end += 1;
        }
        if let Some(next) = self.empty.get(end)
            && next.from == new.to
        {
            (new.to, new.records) = (next.to, new.records + next.records);
            end += 1;
        }
        self.empty.splice(first..end, [new]);
    }
}

/// Bytes of a bit for each record.
const fn bitmap_len(count: u32) -> usize {
    count.div_ceil(8) as usize
}
