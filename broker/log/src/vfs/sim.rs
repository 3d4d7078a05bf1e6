//! A file system in memory that can lose power. It counts the steps that change something, keeps
//! what is synced apart from what is not, and can show at every step what a disk might hold
//! after a crash there. The same seed gives the same disk.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{DirLock, FreeSpace, OpenMode, Vfs, VfsFile};
use crate::page_buf::PAGE_BYTES;

mod content;
mod crash;

use content::{Content, Pending};
pub use crash::{CrashPolicy, Snapshot};

/// Called before each step takes effect.
enum Watcher {
    /// With what the disk may hold at that moment.
    Every(Box<dyn FnMut(u64, Snapshot) + Send>),
    /// Answers whether what the disk may hold at that moment is to be kept.
    Choosing(Box<dyn FnMut(u64) -> bool + Send>),
}

/// A simulated file system. Clones are handles of the same one.
#[derive(Clone)]
pub struct SimVfs {
    state: Arc<Mutex<State>>,
}

struct State {
    disk: Disk,
    names: BTreeMap<PathBuf, Inode>,
    locks: BTreeSet<PathBuf>,
    next_inode: u64,
    steps: u64,
    syncs: u64,
    writes: u64,
    random: SplitMix,
    faults: Faults,
    watcher: Option<Watcher>,
    kept: Option<Snapshot>,
}

/// What the disk holds, and what is on its way to it.
#[derive(Clone, Default)]
struct Disk {
    files: BTreeMap<Inode, SimFile>,
    names: BTreeMap<PathBuf, Inode>,
    directories: BTreeSet<PathBuf>,
    name_changes: Vec<NameChange>,
}

#[derive(Clone, Default)]
struct SimFile {
    durable: Content,
    visible: Content,
    pending: Vec<Pending>,
}

#[derive(Clone)]
struct NameChange {
    directory: PathBuf,
    kind: NameChangeKind,
}

#[derive(Clone)]
enum NameChangeKind {
    Link(PathBuf, Inode),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, Inode),
    MakeDirectory(PathBuf),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Inode(u64);

#[derive(Default)]
struct Faults {
    sync: Option<u64>,
    write: Option<u64>,
    capacity: Option<u64>,
    /// The directory whose names cannot be synced.
    names: Option<PathBuf>,
}

impl SimVfs {
    /// An empty disk.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_disk(Disk::default(), seed)
    }

    fn with_disk(mut disk: Disk, seed: u64) -> Self {
        disk.directories.insert(PathBuf::from("/"));
        let state = State {
            names: disk.names.clone(),
            next_inode: disk.files.keys().last().map_or(0, |inode| inode.0 + 1),
            disk,
            locks: BTreeSet::new(),
            steps: 0,
            syncs: 0,
            writes: 0,
            random: SplitMix(seed),
            faults: Faults::default(),
            watcher: None,
            kept: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// How many steps that change something were taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.state().steps
    }

    /// How many syncs of files were asked for.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state().syncs
    }

    /// Calls `watcher` at every step, before it takes effect: where a crash may happen. A write
    /// counts as under way in what the watcher sees, a sync as not yet done.
    pub fn watch(&self, watcher: impl FnMut(u64, Snapshot) + Send + 'static) {
        self.state().watcher = Some(Watcher::Every(Box::new(watcher)));
    }

    /// Calls `choose` at every step, before it takes effect: it may look at the disk, and answers
    /// whether to keep what the disk may hold if the power fails there.
    pub fn watch_steps(&self, choose: impl FnMut(u64) -> bool + Send + 'static) {
        self.state().watcher = Some(Watcher::Choosing(Box::new(choose)));
    }

    /// Stops calling the watcher.
    pub fn unwatch(&self) {
        self.state().watcher = None;
    }

    /// What the watcher kept last, once.
    #[must_use]
    pub fn take_kept(&self) -> Option<Snapshot> {
        self.state().kept.take()
    }

    /// What the disk may hold if the power fails now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(self.state().disk.clone())
    }

    /// The `n`-th sync of a file from now on (1 is the next) fails, and what it should have
    /// written is lost although readers go on seeing it: what Linux does.
    pub fn fail_sync(&self, n: u64) {
        let mut state = self.state();
        state.faults.sync = Some(state.syncs + n);
    }

    /// The `n`-th write from now on (1 is the next) stops half-way with an error.
    pub fn fail_write(&self, n: u64) {
        let mut state = self.state();
        state.faults.write = Some(state.writes + n);
    }

    /// From now on the names of that directory cannot be made durable; they are as they are.
    pub fn fail_names_of(&self, directory: Option<&Path>) {
        self.state().faults.names = directory.map(Path::to_owned);
    }

    /// No sync or write fails any more that was to fail.
    pub fn clear_failures(&self) {
        let mut state = self.state();
        (state.faults.sync, state.faults.write) = (None, None);
    }

    /// Sets the size of the disk in bytes; `None` is endless.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.state().faults.capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Changes a file behind everybody's back, on the disk and in the cache.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state();
        let file = state.file_at(path)?;
        let mut bytes = file.visible.to_vec();
        change(&mut bytes);
        file.visible = Content::from_bytes(&bytes);
        file.durable = file.visible.clone();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("the simulated disk's holder does not panic")
    }

    /// Counts a step that is about to take effect on `disk`, and shows it to the watcher.
    fn step(&self, under_way: impl FnOnce(&mut Disk)) {
        let mut state = self.state();
        state.steps += 1;
        let Some(mut watcher) = state.watcher.take() else {
            return;
        };
        let step = state.steps;
        drop(state);
        let snapshot = || {
            let mut disk = self.state().disk.clone();
            under_way(&mut disk);
            Snapshot::new(disk)
        };
        match &mut watcher {
            Watcher::Every(watch) => watch(step, snapshot()),
            Watcher::Choosing(choose) => {
                if choose(step) {
                    let kept = snapshot();
                    self.state().kept = Some(kept);
                }
            }
        }
        self.state().watcher.get_or_insert(watcher);
    }

    fn change_names(&self, path: &Path, kind: NameChangeKind) {
        let change = NameChange {
            directory: parent(path),
            kind,
        };
        self.step(|disk| disk.name_changes.push(change.clone()));
        self.state().disk.name_changes.push(change);
    }
}

impl State {
    fn file_at(&mut self, path: &Path) -> io::Result<&mut SimFile> {
        let inode = *self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.disk
            .files
            .get_mut(&inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.names
            .values()
            .filter_map(|inode| self.disk.files.get(inode))
            .map(|file| file.visible.size())
            .sum()
    }
}

fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}

impl Vfs for SimVfs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if self.state().disk.directories.contains(path) || path.as_os_str().is_empty() {
            return Ok(());
        }
        self.create_dir_all(&parent(path))?;
        self.change_names(path, NameChangeKind::MakeDirectory(path.to_owned()));
        self.state().disk.directories.insert(path.to_owned());
        self.sync_dir(&parent(path))
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let existing = self.state().names.get(path).copied();
        let inode = match (mode, existing) {
            (OpenMode::Create { .. }, _) => {
                let mut state = self.state();
                let inode = Inode(state.next_inode);
                state.next_inode += 1;
                state.disk.files.insert(inode, SimFile::default());
                drop(state);
                self.change_names(path, NameChangeKind::Link(path.to_owned(), inode));
                self.state().names.insert(path.to_owned(), inode);
                inode
            }
            (_, Some(inode)) => inode,
            (_, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        let direct = matches!(
            mode,
            OpenMode::Write { direct: true } | OpenMode::Create { direct: true }
        );
        Ok(Arc::new(Handle {
            vfs: self.clone(),
            inode,
            direct,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let inode = *self
            .state()
            .names
            .get(from)
            .ok_or(io::ErrorKind::NotFound)?;
        if parent(from) != parent(to) {
            return Err(io::ErrorKind::CrossesDevices.into());
        }
        self.change_names(
            to,
            NameChangeKind::Rename(from.to_owned(), to.to_owned(), inode),
        );
        let mut state = self.state();
        state.names.remove(from);
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.state().names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        self.change_names(path, NameChangeKind::Unlink(path.to_owned()));
        self.state().names.remove(path);
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        if !state.disk.directories.contains(directory) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state
            .names
            .keys()
            .filter(|path| path.parent() == Some(directory));
        Ok(inside
            .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
            .collect())
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.step(|_| {});
        let mut state = self.state();
        if state.faults.names.as_deref() == Some(directory) {
            return Err(io::Error::other("sync failed, as the test asked"));
        }
        state.disk.sync_names(directory);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirLock>> {
        if !self.state().disk.directories.contains(&parent(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let free = self.state().locks.insert(path.to_owned());
        Ok(free.then(|| {
            DirLock::new(HeldLock {
                vfs: self.clone(),
                path: path.to_owned(),
            })
        }))
    }

    fn free_space(&self, _path: &Path) -> io::Result<FreeSpace> {
        let state = self.state();
        let total = state.faults.capacity.unwrap_or(u64::MAX);
        Ok(FreeSpace {
            free: total.saturating_sub(state.used()),
            total,
        })
    }

    fn nonce(&self) -> u64 {
        self.state().random.next()
    }
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimVfs")
            .field("steps", &self.steps())
            .finish_non_exhaustive()
    }
}

struct HeldLock {
    vfs: SimVfs,
    path: PathBuf,
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        self.vfs.state().locks.remove(&self.path);
    }
}

#[derive(Debug)]
struct Handle {
    vfs: SimVfs,
    inode: Inode,
    /// Whether it bypasses the page cache, and so takes whole pages only.
    direct: bool,
}

impl Handle {
    fn with<R>(&self, act: impl FnOnce(&mut SimFile) -> R) -> R {
        let mut state = self.vfs.state();
        act(state
            .disk
            .files
            .get_mut(&self.inode)
            .expect("an open file keeps its inode"))
    }

    fn apply(&self, pending: Pending) {
        self.vfs.step(|disk| {
            let file = disk
                .files
                .get_mut(&self.inode)
                .expect("an open file keeps its inode");
            file.pending.push(pending.clone());
        });
        self.with(|file| {
            pending.apply(&mut file.visible);
            file.pending.push(pending);
        });
    }

    /// Whether the disk has room for the file to reach that size.
    fn check_room(&self, size: u64) -> io::Result<()> {
        let grown = size.saturating_sub(self.with(|file| file.visible.size()));
        let state = self.vfs.state();
        match state.faults.capacity {
            Some(capacity) if grown > 0 && state.used() + grown > capacity => {
                Err(io::ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }

    /// What O_DIRECT asks for: whole pages, from whole pages, to whole pages.
    fn check_pages(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let whole = |part: &IoSlice<'_>| {
            part.len().is_multiple_of(PAGE_BYTES) && part.as_ptr().addr().is_multiple_of(PAGE_BYTES)
        };
        let pages = offset.is_multiple_of(PAGE_BYTES as u64) && parts.iter().all(whole);
        if self.direct && !pages {
            let text = format!("a direct write at {offset} that is not of whole pages");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(())
    }
}

impl VfsFile for Handle {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        Ok(self.with(|file| file.visible.read(buffer, offset)))
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.check_pages(parts, offset)?;
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        self.check_room(offset + bytes.len() as u64)?;
        let mut state = self.vfs.state();
        state.writes += 1;
        let fails = state.faults.write == Some(state.writes);
        drop(state);
        if fails {
            bytes.truncate(bytes.len() / 2);
        }
        self.apply(Pending::Write {
            offset,
            bytes: bytes.into(),
        });
        if fails {
            Err(io::Error::other("write failed, as the test asked"))
        } else {
            Ok(())
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.vfs.step(|_| {});
        let mut state = self.vfs.state();
        state.syncs += 1;
        let fails = state.faults.sync == Some(state.syncs);
        drop(state);
        if fails {
            self.with(|file| file.pending.clear());
            return Err(io::Error::other("sync failed, as the test asked"));
        }
        self.with(|file| {
            for pending in std::mem::take(&mut file.pending) {
                pending.apply(&mut file.durable);
            }
        });
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.check_room(size)?;
        self.apply(Pending::Allocate(size));
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.with(|file| file.visible.size()))
    }
}

/// A small generator of its own, so that a seed means the same for ever.
#[derive(Clone, Copy)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
