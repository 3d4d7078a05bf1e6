//! Reading a file in large pieces, and in small ones where the disk refuses a large one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Bytes read at once, unless more is asked for.
const WINDOW_BYTES: u64 = 4 << 20;

/// A file, and the part of it that was read last.
#[derive(Debug)]
pub(crate) struct Pages {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    size: u64,
    window_bytes: u64,
    start: u64,
    window: Bytes,
}

impl Pages {
    /// Opens a file. `direct`: past the page cache, which is left to others; what is read then is
    /// what the disk holds.
    pub(crate) fn open(vfs: &dyn Vfs, path: &Path, direct: bool) -> io::Result<Self> {
        let mode = if direct {
            OpenMode::Write { direct }
        } else {
            OpenMode::Read
        };
        let file = vfs.open(path, mode)?;
        let size = file.size()?;
        Ok(Self {
            file,
            path: path.to_owned(),
            size,
            window_bytes: WINDOW_BYTES,
            start: 0,
            window: Bytes::new(),
        })
    }

    /// Reads that much at once.
    pub(crate) fn in_pieces_of(self, bytes: u64) -> Self {
        Self {
            window_bytes: bytes,
            ..self
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Exactly these bytes.
    pub(crate) fn get(&mut self, at: u64, length: u64) -> io::Result<Bytes> {
        let end = at.checked_add(length).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if at < self.start || end > self.start + self.window.len() as u64 {
            // What it held is of no use any longer, and its memory may be.
            self.window = Bytes::new();
            let page = PAGE_BYTES as u64;
            let start = at - at % page;
            let large = self.read(start, end.max(start + self.window_bytes));
            // A bad sector spoils the piece around it, and not more.
            self.window = large.or_else(|_| self.read(start, end))?;
            self.start = start;
        }
        let from = narrow(at - self.start)?;
        let part = from..from + narrow(length)?;
        if part.end > self.window.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(self.window.slice(part))
    }

    /// Whole pages from `start` on, up to the one that holds `end`, or to where the file ends.
    fn read(&self, start: u64, end: u64) -> io::Result<Bytes> {
        let end = end.min(self.size).next_multiple_of(PAGE_BYTES as u64);
        let mut pages = PageBuf::to_overwrite(narrow(end - start)?);
        let mut done = 0;
        while let Some(rest) = pages
            .as_mut_slice()
            .get_mut(done..)
            .filter(|r| !r.is_empty())
        {
            match self.file.read_at(rest, start + done as u64)? {
                0 => break,
                read => done += read,
            }
        }
        Ok(pages.freeze().slice(..done))
    }
}

fn narrow(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(io::Error::other)
}
