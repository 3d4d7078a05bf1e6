//! The batch buffer: page-aligned, so that one copy of a batch serves as CRC input, WAL image,
//! cache entry and send buffer. Large buffers are pooled, because faulting fresh pages in costs
//! more than copying into warm ones.

use std::fmt;
use std::sync::Mutex;

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;

/// The unit of every block and extent: what O_DIRECT asks of memory and file positions.
pub const PAGE_BYTES: usize = 4096;
/// Buffers below this come from the allocator, which recycles them well enough.
const POOLED_MIN_PAGES: usize = 16;
/// What the pool keeps at most: a few maximal blocks.
const POOL_PAGES_MAX: usize = (64 << 20) / PAGE_BYTES;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);

/// A growable byte buffer that is aligned to, and a whole number of, 4 KiB pages.
pub struct PageBuf {
    pages: Box<[Page]>,
    len: usize,
}

impl PageBuf {
    /// A buffer of `len` zero bytes.
    #[must_use]
    pub fn with_len(len: usize) -> Self {
        let (mut pages, dirty) = allocate(len.div_ceil(PAGE_BYTES));
        if dirty {
            bytemuck::cast_slice_mut::<Page, u8>(&mut pages)[..len].fill(0);
        }
        Self { pages, len }
    }

    /// A buffer of `len` bytes that may be old ones of the pool: for whoever overwrites them all,
    /// which is cheaper without clearing them first.
    pub(crate) fn to_overwrite(len: usize) -> Self {
        let (pages, _) = allocate(len.div_ceil(PAGE_BYTES));
        Self { pages, len }
    }

    /// An empty buffer with room for `capacity` bytes: the way to collect a batch from the
    /// network without clearing the memory first.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        let (pages, _) = allocate(capacity.div_ceil(PAGE_BYTES));
        Self { pages, len: 0 }
    }

    /// A copy of `bytes`.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        let mut buffer = Self::with_capacity(bytes.len());
        buffer.extend_from_slice(bytes);
        buffer
    }

    /// Appends `bytes`; moves to a larger buffer when they do not fit.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if end > self.capacity() {
            let mut larger = Self::with_capacity(end.max(self.capacity() * 2));
            larger.memory_mut()[..self.len].copy_from_slice(self.as_slice());
            larger.len = self.len;
            *self = larger;
        }
        let start = self.len;
        self.memory_mut()[start..end].copy_from_slice(bytes);
        self.len = end;
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes fit without moving: what the buffer costs in memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }

    /// The bytes, without the padding.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &bytemuck::cast_slice::<Page, u8>(&self.pages)[..self.len]
    }

    /// The bytes, without the padding.
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.memory_mut()[..len]
    }

    /// The bytes as shared, immutable `Bytes`, without a copy.
    #[must_use]
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }

    /// Clears what lies between the end of the bytes and the end of their last page.
    pub(crate) fn pad(&mut self) {
        let (len, end) = (self.len, self.padded_len());
        self.memory_mut()[len..end].fill(0);
    }

    /// The bytes and their padding. Only after [`PageBuf::pad`] is the padding zero.
    pub(crate) fn padded(&self) -> &[u8] {
        &bytemuck::cast_slice::<Page, u8>(&self.pages)[..self.padded_len()]
    }

    fn padded_len(&self) -> usize {
        self.len.next_multiple_of(PAGE_BYTES)
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.pages)
    }
}

impl AsRef<[u8]> for PageBuf {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl Drop for PageBuf {
    fn drop(&mut self) {
        give_back(std::mem::take(&mut self.pages));
    }
}

impl fmt::Debug for PageBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PageBuf")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    buffers: Vec::new(),
    pages: 0,
});

struct Pool {
    buffers: Vec<Box<[Page]>>,
    pages: usize,
}

/// At least `pages` pages, and whether they may hold old bytes.
fn allocate(pages: usize) -> (Box<[Page]>, bool) {
    if pages < POOLED_MIN_PAGES {
        return (bytemuck::allocation::zeroed_slice_box(pages), false);
    }
    let pages = size_class(pages);
    let mut pool = POOL.lock().expect("the pool's holder does not panic");
    if let Some(at) = pool
        .buffers
        .iter()
        .rposition(|buffer| buffer.len() == pages)
    {
        pool.pages -= pages;
        return (pool.buffers.swap_remove(at), true);
    }
    drop(pool);
    (bytemuck::allocation::zeroed_slice_box(pages), false)
}

fn give_back(buffer: Box<[Page]>) {
    if buffer.len() < POOLED_MIN_PAGES {
        return;
    }
    let mut pool = POOL.lock().expect("the pool's holder does not panic");
    if pool.pages + buffer.len() <= POOL_PAGES_MAX {
        pool.pages += buffer.len();
        pool.buffers.push(buffer);
    }
}

/// Four classes to each power of two, so that a buffer wastes at most a quarter.
fn size_class(pages: usize) -> usize {
    let step = (pages.next_power_of_two() / 8).max(1);
    pages.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::{PAGE_BYTES, PageBuf, size_class};

    #[test]
    fn pages_are_aligned_padded_and_cleared_when_reused() {
        let mut buffer = PageBuf::from_slice(&vec![0xff; 100_000]);
        buffer.pad();
        assert_eq!(buffer.padded().len() % PAGE_BYTES, 0);
        assert_eq!(buffer.padded().as_ptr().addr() % PAGE_BYTES, 0);
        assert!(buffer.padded()[100_000..].iter().all(|byte| *byte == 0));
        drop(buffer);
        assert!(
            PageBuf::with_len(100_001)
                .as_slice()
                .iter()
                .all(|byte| *byte == 0)
        );
    }

    #[test]
    fn growing_keeps_the_bytes() {
        let mut buffer = PageBuf::with_capacity(0);
        let expected: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        expected
            .chunks(1300)
            .for_each(|chunk| buffer.extend_from_slice(chunk));
        assert_eq!(buffer.as_slice(), expected);
        assert_eq!(&buffer.freeze()[..], expected);
    }

    #[test]
    fn a_size_class_fits_and_wastes_at_most_a_quarter() {
        for pages in 16..5000 {
            let class = size_class(pages);
            assert!(
                class >= pages && class * 4 <= pages * 5,
                "{pages} in {class}"
            );
        }
    }
}
