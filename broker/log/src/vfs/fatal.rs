//! A fault at a chosen moment of what the log does: for tests that want one between two given
//! steps. Either the process ends there, as by `kill -9`, or the file system fails. The moments
//! are seen from outside, by what is done to which kind of file, so nothing else in the log knows
//! of them.

use std::io::{self, IoSlice};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::io::Errno;
use rustix::process::{Signal, getpid, kill_process};

use super::{DirLock, FreeSpace, OpenMode, Vfs, VfsFile};

/// A moment: just after something was done to a file of the log. A block that is synced is not
/// answered yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    BlockWritten,
    BlockSynced,
    SegmentCreated,
    SegmentWritten,
    SegmentSynced,
    SegmentRemoved,
    CheckpointWritten,
    CheckpointSynced,
    CheckpointRemoved,
    ManifestWritten,
    ManifestSynced,
    ManifestNamed,
    ManifestRemoved,
    WalTaken,
    WalSynced,
    WalNamed,
    WalRemoved,
}

/// Every moment, by name.
const MOMENTS: [(&str, Moment); 17] = [
    ("block-written", Moment::BlockWritten),
    ("block-synced", Moment::BlockSynced),
    ("segment-created", Moment::SegmentCreated),
    ("segment-written", Moment::SegmentWritten),
    ("segment-synced", Moment::SegmentSynced),
    ("segment-removed", Moment::SegmentRemoved),
    ("checkpoint-written", Moment::CheckpointWritten),
    ("checkpoint-synced", Moment::CheckpointSynced),
    ("checkpoint-removed", Moment::CheckpointRemoved),
    ("manifest-written", Moment::ManifestWritten),
    ("manifest-synced", Moment::ManifestSynced),
    ("manifest-named", Moment::ManifestNamed),
    ("manifest-removed", Moment::ManifestRemoved),
    ("wal-taken", Moment::WalTaken),
    ("wal-synced", Moment::WalSynced),
    ("wal-named", Moment::WalNamed),
    ("wal-removed", Moment::WalRemoved),
];

/// When it is to happen: at the n-th time that a moment comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FatalMoment {
    moment: Moment,
    count: u64,
}

/// Text that is no moment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no moment; write one as in segment-synced:2")]
pub struct FatalMomentError(String);

impl FromStr for FatalMoment {
    type Err = FatalMomentError;

    fn from_str(text: &str) -> Result<Self, FatalMomentError> {
        let parsed = text.split_once(':').and_then(|(name, count)| {
            let (_, moment) = MOMENTS.iter().find(|(known, _)| *known == name)?;
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self {
                moment: *moment,
                count,
            })
        });
        parsed.ok_or_else(|| FatalMomentError(text.to_owned()))
    }
}

/// What kind of file a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Segment,
    Checkpoint,
    Manifest,
    /// A WAL file that is in use.
    Wal,
    /// A WAL file that is being made, of nothing or of one that is not needed any longer.
    WalInTheMaking,
    Other,
}

impl Kind {
    fn of(path: &Path) -> Self {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = name.strip_suffix(".tmp").unwrap_or(&name);
        match name.rsplit('.').next() {
            Some("seg") => Self::Segment,
            Some("ckpt") => Self::Checkpoint,
            Some("manifest") => Self::Manifest,
            Some("wal") => Self::Wal,
            Some("making") => Self::WalInTheMaking,
            _ => Self::Other,
        }
    }
}

/// What happens at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// What was done is done, and the process ends.
    Kill,
    /// What is to be done is not, and fails; so does every sync from then on.
    Fail,
}

#[derive(Debug)]
struct Countdown {
    fault: Fault,
    moment: Moment,
    left: AtomicU64,
    /// Something has failed.
    broken: AtomicBool,
}

impl Countdown {
    /// Does something, unless it is to fail; ends the process behind it if that is to be.
    fn around<T>(
        &self,
        moment: Option<Moment>,
        does: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        if self.fault == Fault::Fail && self.comes(moment) {
            self.broken.store(true, Ordering::Relaxed);
            return Err(Errno::IO.into());
        }
        let done = does()?;
        if self.fault == Fault::Kill && self.comes(moment) {
            // What cannot be killed goes on, which the test sees.
            let _ = kill_process(getpid(), Signal::KILL);
        }
        Ok(done)
    }

    /// The same for a sync.
    fn around_sync(
        &self,
        moment: Option<Moment>,
        does: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(Errno::IO.into());
        }
        self.around(moment, does)
    }

    /// Whether this is the last time that was waited for.
    fn comes(&self, moment: Option<Moment>) -> bool {
        moment == Some(self.moment) && self.left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

/// A file system that has a fault at a given moment.
#[derive(Debug)]
pub struct FatalVfs {
    below: Arc<dyn Vfs>,
    countdown: Arc<Countdown>,
}

impl FatalVfs {
    /// Wraps `below`; the process ends at that moment.
    #[must_use]
    pub fn kills(below: Arc<dyn Vfs>, at: FatalMoment) -> Self {
        Self::new(below, at, Fault::Kill)
    }

    /// Wraps `below`; it fails at that moment, and can sync nothing from then on.
    #[must_use]
    pub fn fails(below: Arc<dyn Vfs>, at: FatalMoment) -> Self {
        Self::new(below, at, Fault::Fail)
    }

    fn new(below: Arc<dyn Vfs>, at: FatalMoment, fault: Fault) -> Self {
        let countdown = Countdown {
            fault,
            moment: at.moment,
            left: AtomicU64::new(at.count),
            broken: AtomicBool::new(false),
        };
        Self {
            below,
            countdown: Arc::new(countdown),
        }
    }
}

impl Vfs for FatalVfs {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.below.create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        let kind = Kind::of(path);
        let creates = kind == Kind::Segment && matches!(mode, OpenMode::Create { .. });
        let moment = creates.then_some(Moment::SegmentCreated);
        let open = || self.below.open(path, mode);
        let below = self.countdown.around(moment, open)?;
        Ok(Arc::new(FatalFile {
            below,
            kind,
            countdown: self.countdown.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let moment = match (Kind::of(from), Kind::of(to)) {
            (Kind::Wal, Kind::WalInTheMaking) => Some(Moment::WalTaken),
            (Kind::WalInTheMaking, Kind::Wal) => Some(Moment::WalNamed),
            (_, Kind::Manifest) => Some(Moment::ManifestNamed),
            _ => None,
        };
        let rename = || self.below.rename(from, to);
        self.countdown.around(moment, rename)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let moment = match Kind::of(path) {
            Kind::Segment => Some(Moment::SegmentRemoved),
            Kind::Checkpoint => Some(Moment::CheckpointRemoved),
            Kind::Manifest => Some(Moment::ManifestRemoved),
            Kind::Wal => Some(Moment::WalRemoved),
            Kind::WalInTheMaking | Kind::Other => None,
        };
        self.countdown.around(moment, || self.below.remove(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.below.list(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        let sync = || self.below.sync_dir(directory);
        self.countdown.around_sync(None, sync)
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
struct FatalFile {
    below: Arc<dyn VfsFile>,
    kind: Kind,
    countdown: Arc<Countdown>,
}

impl VfsFile for FatalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let moment = match self.kind {
            Kind::Segment => Some(Moment::SegmentWritten),
            Kind::Checkpoint => Some(Moment::CheckpointWritten),
            Kind::Manifest => Some(Moment::ManifestWritten),
            Kind::Wal => Some(Moment::BlockWritten),
            Kind::WalInTheMaking | Kind::Other => None,
        };
        let write = || self.below.write_vectored_at(parts, offset);
        self.countdown.around(moment, write)
    }

    fn sync_data(&self) -> io::Result<()> {
        let moment = (self.kind == Kind::Wal).then_some(Moment::BlockSynced);
        self.countdown
            .around_sync(moment, || self.below.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        let moment = match self.kind {
            Kind::Segment => Some(Moment::SegmentSynced),
            Kind::Checkpoint => Some(Moment::CheckpointSynced),
            Kind::Manifest => Some(Moment::ManifestSynced),
            Kind::WalInTheMaking => Some(Moment::WalSynced),
            Kind::Wal | Kind::Other => None,
        };
        self.countdown.around_sync(moment, || self.below.sync_all())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        self.below.allocate(size)
    }

    fn size(&self) -> io::Result<u64> {
        self.below.size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{CrashPolicy, SimVfs};

    #[test]
    fn moments_are_named() {
        for (name, moment) in MOMENTS {
            let parsed = format!("{name}:2").parse::<FatalMoment>();
            assert_eq!(parsed, Ok(FatalMoment { moment, count: 2 }));
        }
        for text in ["segment-synced", "segment-synced:0", "soon:1", ""] {
            assert!(text.parse::<FatalMoment>().is_err(), "{text}");
        }
    }

    #[test]
    fn from_the_moment_on_nothing_can_be_synced() {
        let at = "block-synced:2".parse().unwrap();
        let sim = SimVfs::new(1);
        let vfs = FatalVfs::fails(Arc::new(sim.clone()), at);
        vfs.create_dir_all(Path::new("/wal")).unwrap();
        let path = Path::new("/wal/0000000000000001.wal");
        let create = OpenMode::Create { direct: false };
        let file = vfs.open(path, create).unwrap();
        vfs.sync_dir(Path::new("/wal")).unwrap();
        for (at, byte) in [(0, b"a"), (1, b"b")] {
            file.write_vectored_at(&[IoSlice::new(byte)], at).unwrap();
            assert_eq!(file.sync_data().is_ok(), at == 0);
        }
        for failed in [
            file.sync_data(),
            file.sync_all(),
            vfs.sync_dir(Path::new("/wal")),
        ] {
            assert_eq!(failed.unwrap_err().raw_os_error(), Some(5));
        }
        // What is not synced can still be seen, as in a page cache.
        assert_eq!(vfs.read(path).unwrap(), b"ab");
        let after = sim.snapshot().crash(CrashPolicy::DropUnsynced, 1);
        assert_eq!(after.read(path).unwrap(), b"a");
    }

    #[test]
    fn files_are_told_apart() {
        for (name, kind) in [
            ("log/segments/0000000000000001.seg", Kind::Segment),
            (
                "log/checkpoints/catalog-0000000000000001.ckpt",
                Kind::Checkpoint,
            ),
            ("log/manifest/0000000000000001.manifest.tmp", Kind::Manifest),
            ("log/wal/0000000000000001.wal", Kind::Wal),
            ("log/wal/0000000000000001.making", Kind::WalInTheMaking),
            ("log/NODE", Kind::Other),
            ("tls/ca.pem", Kind::Other),
        ] {
            assert_eq!(Kind::of(Path::new(name)), kind, "{name}");
        }
    }
}
