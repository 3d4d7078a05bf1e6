//! A file system that counts how often it is asked to read, and for how many bytes, and lets
//! something happen in the middle of a read.

use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::vfs::{DirLock, FreeSpace, OpenMode, SimVfs, Vfs, VfsFile};

#[derive(Clone, Debug)]
pub(super) struct CountingVfs {
    inner: SimVfs,
    reads: Arc<Reads>,
}

#[derive(Default)]
struct Reads {
    count: AtomicU64,
    bytes: AtomicU64,
    next: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl fmt::Debug for Reads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reads")
            .field("count", &self.count)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl CountingVfs {
    pub(super) fn new(inner: SimVfs) -> Self {
        Self {
            inner,
            reads: Arc::default(),
        }
    }

    /// How many reads there were, and of how many bytes together.
    pub(super) fn reads(&self) -> (u64, u64) {
        let Reads { count, bytes, .. } = &*self.reads;
        (count.load(Ordering::Relaxed), bytes.load(Ordering::Relaxed))
    }

    /// Does that when the next read has begun, before it sees anything.
    pub(super) fn in_next_read(&self, act: impl FnOnce() + Send + 'static) {
        *self.reads.next.lock().unwrap() = Some(Box::new(act));
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.reads.next.lock().unwrap().is_some()
    }
}

impl Vfs for CountingVfs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.inner.create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(CountingFile {
            inner: self.inner.open(path, mode)?,
            reads: self.reads.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.inner.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.inner.list(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.inner.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirLock>> {
        self.inner.lock(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<FreeSpace> {
        self.inner.free_space(path)
    }

    fn nonce(&self) -> u64 {
        self.inner.nonce()
    }
}

#[derive(Debug)]
struct CountingFile {
    inner: Arc<dyn VfsFile>,
    reads: Arc<Reads>,
}

impl VfsFile for CountingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let act = self.reads.next.lock().unwrap().take();
        act.into_iter().for_each(|act| act());
        let read = self.inner.read_at(buffer, offset)?;
        self.reads.count.fetch_add(1, Ordering::Relaxed);
        self.reads.bytes.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.inner.write_vectored_at(parts, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.inner.allocate(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }
}
