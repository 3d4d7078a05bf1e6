//! The storage seam: everything that reaches a disk goes through [`Vfs`], so that tests can
//! crash it, fail it and cut its power. The real one lives in `vfs/real.rs`, the only file of
//! the broker that names `std::fs`.

use std::any::Any;
use std::fmt;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

mod fatal;
mod lazy;
mod real;
mod sim;

pub use fatal::{FatalMoment, FatalMomentError, FatalVfs};
pub use lazy::LazyVfs;
pub use real::RealVfs;
pub use sim::{CrashPolicy, SimVfs, Snapshot};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenMode {
    /// An existing file, to read at random positions.
    Read,
    /// An existing file, to write. `direct`: bypass the page cache where the file system can;
    /// then buffers and positions are whole 4 KiB pages.
    Write {
        /// Ask for O_DIRECT.
        direct: bool,
    },
    /// A new, empty file (an old one of that name is emptied), readable by its owner only.
    Create {
        /// Ask for O_DIRECT.
        direct: bool,
    },
}

/// Room in a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// What may still be written.
    pub free: u64,
    /// The size of the whole.
    pub total: u64,
}

/// A lock on a directory; dropping it lets go.
pub struct DirLock(Box<dyn Any + Send + Sync>);

impl DirLock {
    fn new(holder: impl Any + Send + Sync) -> Self {
        Self(Box::new(holder))
    }
}

impl fmt::Debug for DirLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = &self.0;
        f.write_str("DirLock")
    }
}

/// A file system. Nothing is durable before it is synced: bytes by the file's sync, names by
/// [`Vfs::sync_dir`].
pub trait Vfs: fmt::Debug + Send + Sync + 'static {
    /// Creates a directory and its parents; one that exists is fine.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>>;
    /// Renames within one directory, replacing what was there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// The names of the files in a directory, sorted.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, directory: &Path) -> io::Result<()>;
    /// Takes the lock file at `path`, creating it; `None` when somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<DirLock>>;
    /// The room left where `path` lies.
    fn free_space(&self, path: &Path) -> io::Result<FreeSpace>;
    /// A number that nobody can guess (in a simulation: the next of its seed).
    fn nonce(&self) -> u64;

    /// The whole of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let size = usize::try_from(file.size()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; size];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Replaces a file as a whole: after a crash it is the old or the new one. Durable on return.
    fn write_atomic(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        let file = self.open(temporary, OpenMode::Create { direct: false })?;
        file.write_vectored_at(&[IoSlice::new(bytes)], 0)?;
        file.sync_all()?;
        self.rename(temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }
}

/// An open file.
pub trait VfsFile: fmt::Debug + Send + Sync {
    /// Reads up to `buffer.len()` bytes; 0 only at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all parts, one after the other.
    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()>;
    /// Makes what was written durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes what was written and the file's own attributes durable.
    fn sync_all(&self) -> io::Result<()>;
    /// Grows the file to `size`, reserving the room; the new part reads as zeros.
    fn allocate(&self, size: u64) -> io::Result<()>;
    /// How long it is.
    fn size(&self) -> io::Result<u64>;

    /// Reads exactly `buffer.len()` bytes.
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            let read = self.read_at(buffer, offset)?;
            if read == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            buffer = buffer.get_mut(read..).unwrap_or_default();
            offset += read as u64;
        }
        Ok(())
    }
}
