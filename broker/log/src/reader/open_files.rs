//! Files that are open for reading, a bounded number of them, and reading from them in one piece.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::error::ReadError;
use crate::ids::{FileSequence, SegmentId};
use crate::lru::Lru;
use crate::page_buf::PageBuf;
use crate::segment::segment_path;
use crate::vfs::{OpenMode, Vfs, VfsFile};
use crate::wal::file_path;

/// A file of the log that batches are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum FileKey {
    Wal(FileSequence),
    Segment(SegmentId),
}

impl FileKey {
    fn path(self, dir: &Path) -> PathBuf {
        match self {
            Self::Wal(sequence) => file_path(dir, sequence),
            Self::Segment(id) => segment_path(dir, id),
        }
    }
}

#[derive(Debug)]
pub(super) struct OpenFiles {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    open: Mutex<Lru<FileKey, Arc<dyn VfsFile>>>,
}

impl OpenFiles {
    pub(super) fn new(vfs: Arc<dyn Vfs>, dir: PathBuf, files_max: usize) -> Self {
        Self {
            vfs,
            dir,
            open: Mutex::new(Lru::new(files_max.max(1))),
        }
    }

    pub(super) fn place(&self) -> (&dyn Vfs, &Path) {
        (&*self.vfs, &self.dir)
    }

    /// That part of a file.
    pub(super) fn read(&self, key: FileKey, at: u64, length: usize) -> Result<Bytes, ReadError> {
        let read = || {
            let file = self.file(key)?;
            let mut bytes = PageBuf::to_overwrite(length);
            file.read_exact_at(bytes.as_mut_slice(), at)?;
            Ok(bytes.freeze())
        };
        read().map_err(|source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => {
                self.corrupt(key, at, "the file ends before the batch does")
            }
            _ => ReadError::Io {
                path: key.path(&self.dir),
                source,
            },
        })
    }

    pub(super) fn corrupt(&self, key: FileKey, offset: u64, what: &'static str) -> ReadError {
        ReadError::Corrupt {
            path: key.path(&self.dir),
            offset,
            what,
        }
    }

    pub(super) fn close(&self, wal_below: FileSequence, segments: &[SegmentId]) {
        self.lock(|open| {
            open.retain(|key| match key {
                FileKey::Wal(sequence) => *sequence >= wal_below,
                FileKey::Segment(id) => !segments.contains(id),
            });
        });
    }

    /// A file is opened under the lock, so that none is that was closed for good meanwhile.
    fn file(&self, key: FileKey) -> io::Result<Arc<dyn VfsFile>> {
        self.lock(|open| {
            if let Some(file) = open.get(&key) {
                return Ok(file);
            }
            let file = self.vfs.open(&key.path(&self.dir), OpenMode::Read)?;
            open.insert(key, file.clone(), 1);
            Ok(file)
        })
    }

    fn lock<R>(&self, act: impl FnOnce(&mut Lru<FileKey, Arc<dyn VfsFile>>) -> R) -> R {
        act(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock(|open| open.size().0)
    }
}
