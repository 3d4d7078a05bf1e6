//! Makes `kill -9` as hard as a power cut: what was not synced stays in this process's memory
//! and dies with it. Names are passed on at once; losing those is the simulation's business.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{DirLock, FreeSpace, OpenMode, Vfs, VfsFile};
use crate::page_buf::{PAGE_BYTES, PageBuf};

/// At most this many pages go to the real file in one write.
const PAGES_PER_WRITE_MAX: usize = 256;

/// A file system that hands bytes to the one below only when they are synced.
#[derive(Debug)]
pub struct LazyVfs {
    below: Arc<dyn Vfs>,
    // One per file of the directory, as many as the data directory has files.
    files: Mutex<HashMap<PathBuf, Arc<LazyFile>>>,
}

impl LazyVfs {
    /// Wraps `below`.
    #[must_use]
    pub fn new(below: Arc<dyn Vfs>) -> Self {
        Self {
            below,
            files: Mutex::default(),
        }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<PathBuf, Arc<LazyFile>>> {
        self.files
            .lock()
            .expect("the table's holder does not panic")
    }
}

impl Vfs for LazyVfs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.below.create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut files = self.files();
        let create = matches!(mode, OpenMode::Create { .. });
        if let Some(file) = files.get(path).filter(|file| !create && file.suits(mode)) {
            return Ok(Arc::clone(file) as Arc<dyn VfsFile>);
        }
        let below = self.below.open(path, mode)?;
        let unsynced = Mutex::new(Unsynced {
            size: below.size()?,
            pages: BTreeMap::new(),
        });
        let writable = mode != OpenMode::Read;
        let file = Arc::new(LazyFile {
            below,
            writable,
            unsynced,
        });
        files.insert(path.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)?;
        let mut files = self.files();
        if let Some(file) = files.remove(from) {
            files.insert(to.to_owned(), file);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below.remove(path)?;
        self.files().remove(path);
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.below.list(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.below.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirLock>> {
        self.below.lock(path)
    }

    fn free_space(&self, path: &Path) -> io::Result<FreeSpace> {
        self.below.free_space(path)
    }

    fn nonce(&self) -> u64 {
        self.below.nonce()
    }
}

#[derive(Debug)]
struct LazyFile {
    below: Arc<dyn VfsFile>,
    writable: bool,
    unsynced: Mutex<Unsynced>,
}

struct Unsynced {
    size: u64,
    /// By page number.
    pages: BTreeMap<u64, PageBuf>,
}

impl std::fmt::Debug for Unsynced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unsynced")
            .field("pages", &self.pages.len())
            .finish_non_exhaustive()
    }
}

impl LazyFile {
    fn suits(&self, mode: OpenMode) -> bool {
        // A file that was only read has nothing unsynced, so a new handle may replace it.
        mode == OpenMode::Read || self.writable
    }

    fn unsynced(&self) -> MutexGuard<'_, Unsynced> {
        self.unsynced.lock().expect("the holder does not panic")
    }

    fn page<'a>(
        &self,
        pages: &'a mut BTreeMap<u64, PageBuf>,
        number: u64,
    ) -> io::Result<&'a mut PageBuf> {
        match pages.entry(number) {
            std::collections::btree_map::Entry::Occupied(page) => Ok(page.into_mut()),
            std::collections::btree_map::Entry::Vacant(place) => {
                let mut page = PageBuf::with_len(PAGE_BYTES);
                read_all(
                    &*self.below,
                    page.as_mut_slice(),
                    number * PAGE_BYTES as u64,
                )?;
                Ok(place.insert(page))
            }
        }
    }

    fn flush(&self, unsynced: &mut Unsynced) -> io::Result<()> {
        let pages = std::mem::take(&mut unsynced.pages);
        let mut run: Vec<&[u8]> = Vec::new();
        let mut start = 0;
        for (number, page) in &pages {
            let full = run.len() == PAGES_PER_WRITE_MAX;
            if full || start + run.len() as u64 != *number {
                self.write_run(&run, start)?;
                run.clear();
                start = *number;
            }
            let left = unsynced.size.saturating_sub(number * PAGE_BYTES as u64);
            let length = usize::try_from(left).unwrap_or(PAGE_BYTES).min(PAGE_BYTES);
            run.push(page.as_slice().get(..length).expect("a page holds a page"));
        }
        self.write_run(&run, start)
    }

    fn write_run(&self, run: &[&[u8]], start: u64) -> io::Result<()> {
        if run.is_empty() {
            return Ok(());
        }
        let parts: Vec<IoSlice<'_>> = run.iter().map(|page| IoSlice::new(page)).collect();
        self.below
            .write_vectored_at(&parts, start * PAGE_BYTES as u64)
    }
}

impl VfsFile for LazyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let unsynced = self.unsynced();
        let left = usize::try_from(unsynced.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let length = buffer.len().min(left);
        let buffer = buffer.get_mut(..length).expect("cut to at most its length");
        buffer.fill(0);
        read_all(&*self.below, buffer, offset)?;
        let first = offset / PAGE_BYTES as u64;
        let last = (offset + length as u64).div_ceil(PAGE_BYTES as u64);
        for (number, page) in unsynced.pages.range(first..last) {
            overlay(buffer, offset, number * PAGE_BYTES as u64, page.as_slice());
        }
        Ok(length)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        let mut unsynced = self.unsynced();
        for part in parts {
            let mut bytes: &[u8] = part;
            while !bytes.is_empty() {
                let page = self.page(&mut unsynced.pages, offset / PAGE_BYTES as u64)?;
                let within = usize::try_from(offset % PAGE_BYTES as u64).expect("below a page");
                let to = page.as_mut_slice().get_mut(within..).expect("below a page");
                let (now, later) = bytes.split_at(to.len().min(bytes.len()));
                to.iter_mut().zip(now).for_each(|(to, from)| *to = *from);
                offset += now.len() as u64;
                bytes = later;
            }
        }
        unsynced.size = unsynced.size.max(offset);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.flush(&mut self.unsynced())?;
        self.below.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.flush(&mut self.unsynced())?;
        self.below.sync_all()
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let mut unsynced = self.unsynced();
        self.below.allocate(size)?;
        unsynced.size = unsynced.size.max(size);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.unsynced().size)
    }
}

/// Fills as much of `buffer` as the file has.
fn read_all(file: &dyn VfsFile, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        // A file opened for O_DIRECT wants whole pages in aligned memory.
        let start = offset - offset % PAGE_BYTES as u64;
        let skip = usize::try_from(offset - start).expect("below a page");
        let wanted = (skip + buffer.len()).next_multiple_of(PAGE_BYTES);
        let mut aligned = PageBuf::with_len(wanted);
        let read = file.read_at(aligned.as_mut_slice(), start)?;
        let Some(bytes) = aligned
            .as_slice()
            .get(skip..read)
            .filter(|bytes| !bytes.is_empty())
        else {
            return Ok(());
        };
        let (now, later) = buffer.split_at_mut(bytes.len().min(buffer.len()));
        now.copy_from_slice(bytes.get(..now.len()).expect("at most what was read"));
        offset += now.len() as u64;
        buffer = later;
    }
    Ok(())
}

/// Copies the part of `page` (at `page_offset`) that lies within `buffer` (at `offset`).
fn overlay(buffer: &mut [u8], offset: u64, page_offset: u64, page: &[u8]) {
    let end = (offset + buffer.len() as u64).min(page_offset + page.len() as u64);
    let start = offset.max(page_offset);
    let at = |position: u64, base: u64| usize::try_from(position - base).expect("within a buffer");
    if let (Some(to), Some(from)) = (
        buffer.get_mut(at(start, offset)..at(end, offset)),
        page.get(at(start, page_offset)..at(end, page_offset)),
    ) {
        to.copy_from_slice(from);
    }
}
