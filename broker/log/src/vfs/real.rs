//! The real file system.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{Advice, FallocateFlags, OFlags};
use rustix::io::Errno;

use super::{DirLock, FreeSpace, OpenMode, Vfs, VfsFile};

/// The kernel takes at most this many parts in one call (IOV_MAX).
const PARTS_MAX: usize = 1024;
/// Zeros are written in pieces of this size where the file system cannot reserve room.
const ZEROS: usize = 1 << 20;

/// The file system of the operating system.
#[derive(Debug, Default)]
pub struct RealVfs {
    warned_buffered: AtomicBool,
}

impl RealVfs {
    /// The real thing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the operating system forget what its page cache holds of a file, as far as that is
    /// on disk: for measuring how a cold file is read.
    #[doc(hidden)]
    pub fn drop_cached(&self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
    }

    fn open_file(&self, path: &Path, options: &OpenOptions, direct: bool) -> io::Result<File> {
        if !direct {
            return options.open(path);
        }
        let flags = OFlags::DIRECT.bits().cast_signed();
        match options.clone().custom_flags(flags).open(path) {
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {
                if !self.warned_buffered.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        path = %path.display(),
                        "this file system has no O_DIRECT: writing through the page cache, slower"
                    );
                }
                options.open(path)
            }
            other => other,
        }
    }
}

impl Vfs for RealVfs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        if path.is_dir() {
            return Ok(());
        }
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.create_dir_all(parent)?;
        }
        // Keys and records lie below it: for the owner only.
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            other => other,
        }?;
        match path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            Some(parent) => self.sync_dir(parent),
            None => Ok(()),
        }
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        let file = match mode {
            OpenMode::Read => {
                let file = options.open(path)?;
                // Read-ahead would pull pages into the cache that the WAL is about to write
                // around it. That it is not done is worth a slower read, never an error.
                let _ = rustix::fs::fadvise(&file, 0, None, Advice::Random);
                file
            }
            OpenMode::Write { direct } => self.open_file(path, options.write(true), direct)?,
            OpenMode::Create { direct } => self.open_file(
                path,
                options.write(true).create(true).truncate(true),
                direct,
            )?,
        };
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for item in std::fs::read_dir(directory)? {
            let item = item?;
            if item.file_type()?.is_file() {
                names.push(item.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirLock>> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(true)
            .mode(0o600)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirLock::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn free_space(&self, path: &Path) -> io::Result<FreeSpace> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(FreeSpace {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn nonce(&self) -> u64 {
        // Each RandomState has fresh keys from the operating system.
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(0);
        hasher.finish()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl VfsFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], mut offset: u64) -> io::Result<()> {
        for some in parts.chunks(PARTS_MAX) {
            let mut some = some.to_vec();
            let mut left = some.as_mut_slice();
            while !left.is_empty() {
                let written = match rustix::io::pwritev(&self.0, left, offset) {
                    Err(Errno::INTR) => continue,
                    other => other?,
                };
                if written == 0 && left.iter().any(|part| !part.is_empty()) {
                    return Err(io::ErrorKind::WriteZero.into());
                }
                offset += written as u64;
                IoSlice::advance_slices(&mut left, written);
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let old = self.size()?;
        match rustix::fs::fallocate(&self.0, FallocateFlags::empty(), 0, size) {
            Err(Errno::NOTSUP | Errno::NOSYS) => {}
            other => return Ok(other?),
        }
        let zeros = crate::page_buf::PageBuf::with_len(ZEROS);
        let mut at = old;
        while at < size {
            let piece = usize::try_from(size - at).unwrap_or(ZEROS).min(ZEROS);
            let piece = zeros
                .as_slice()
                .get(..piece)
                .expect("a piece is at most all zeros");
            self.write_vectored_at(&[IoSlice::new(piece)], at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}
