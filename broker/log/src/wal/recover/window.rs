//! Reading a file from front to back in large pieces: one block may be a single page, and asking
//! the disk for each of them would take longer than reading all of the file.

use std::io;
use std::sync::Arc;

use crate::page_buf::PageBuf;
use crate::vfs::VfsFile;

/// Bytes read at once, unless a block is longer.
const WINDOW_BYTES: usize = 4 << 20;

/// A part of a file in memory, moved along as it is read.
pub(super) struct Window {
    file: Arc<dyn VfsFile>,
    size: u64,
    start: u64,
    bytes: PageBuf,
}

impl Window {
    pub(super) fn new(file: Arc<dyn VfsFile>, size: u64) -> Self {
        Self {
            file,
            size,
            start: 0,
            bytes: PageBuf::with_len(0),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// `length` bytes from `at` on; fewer where the file ends. Files that are read past the page
    /// cache want `at` and `size` in whole pages.
    pub(super) fn get(&mut self, at: u64, length: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.size.saturating_sub(at)).unwrap_or(usize::MAX);
        let length = length.min(left);
        let held = self.start..self.start + self.bytes.len() as u64;
        if at < held.start || at + length as u64 > held.end {
            let piece = length.max(WINDOW_BYTES).min(left);
            // What it held is of no use should this reading fail.
            self.bytes = PageBuf::with_len(0);
            let mut bytes = PageBuf::with_len(piece);
            self.file.read_exact_at(bytes.as_mut_slice(), at)?;
            (self.start, self.bytes) = (at, bytes);
        }
        let from = usize::try_from(at - self.start).expect("within the window");
        let held = self.bytes.as_slice().get(from..from + length);
        Ok(held.expect("the window was moved there"))
    }
}
