//! Reading a file in large pieces, and in small ones where the disk refuses a large one.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Bytes read at once, unless more is asked for.
const WINDOW_BYTES: u64 = 4 << 20;

/// A file, and the part of it that was read last.
#[derive(Debug)]
pub(super) struct Pages {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    size: u64,
    start: u64,
    window: Bytes,
}

impl Pages {
    pub(super) fn open(vfs: &dyn Vfs, path: &Path) -> io::Result<Self> {
        let file = vfs.open(path, OpenMode::Read)?;
        let size = file.size()?;
        Ok(Self {
            file,
            path: path.to_owned(),
            size,
            start: 0,
            window: Bytes::new(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Exactly these bytes.
    pub(super) fn get(&mut self, at: u64, length: u64) -> io::Result<Bytes> {
        let end = at.checked_add(length).filter(|end| *end <= self.size);
        let end = end.ok_or(io::ErrorKind::UnexpectedEof)?;
        if at < self.start || end > self.start + self.window.len() as u64 {
            self.window = Bytes::new();
            let large = self.read(at, length.max(WINDOW_BYTES).min(self.size - at));
            // A bad sector spoils the piece around it, and not more.
            self.window = large.or_else(|_| self.read(at, length))?;
            self.start = at;
        }
        let from = narrow(at - self.start)?;
        Ok(self.window.slice(from..from + narrow(length)?))
    }

    fn read(&self, at: u64, length: u64) -> io::Result<Bytes> {
        let mut bytes = vec![0; narrow(length)?];
        self.file.read_exact_at(&mut bytes, at)?;
        Ok(bytes.into())
    }
}

fn narrow(length: u64) -> io::Result<usize> {
    usize::try_from(length).map_err(io::Error::other)
}
