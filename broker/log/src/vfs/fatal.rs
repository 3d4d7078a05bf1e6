//! Ends the process at a chosen moment of what the log does, as `kill -9` would there: for
//! tests that want a crash between two given steps. The moments are seen from outside, by what is
//! done to which kind of file, so nothing else in the log knows of them.

use std::io::{self, IoSlice};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// When to end: at the n-th time that a moment comes.
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

#[derive(Debug)]
struct Countdown {
    moment: Moment,
    left: AtomicU64,
}

impl Countdown {
    /// The moment has come once; ends the process if that was the last time.
    fn reached(&self, moment: Option<Moment>) {
        if moment != Some(self.moment) {
            return;
        }
        if self.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // What cannot be killed goes on, which the test sees.
            let _ = kill_process(getpid(), Signal::KILL);
        }
    }
}

/// A file system whose process ends at a given moment.
#[derive(Debug)]
pub struct FatalVfs {
    below: Arc<dyn Vfs>,
    countdown: Arc<Countdown>,
}

impl FatalVfs {
    /// Wraps `below`.
    #[must_use]
    pub fn new(below: Arc<dyn Vfs>, at: FatalMoment) -> Self {
        let countdown = Countdown {
            moment: at.moment,
            left: AtomicU64::new(at.count),
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
        let below = self.below.open(path, mode)?;
        let kind = Kind::of(path);
        if kind == Kind::Segment && matches!(mode, OpenMode::Create { .. }) {
            self.countdown.reached(Some(Moment::SegmentCreated));
        }
        Ok(Arc::new(FatalFile {
            below,
            kind,
            countdown: self.countdown.clone(),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.below.rename(from, to)?;
        self.countdown
            .reached(match (Kind::of(from), Kind::of(to)) {
                (Kind::Wal, Kind::WalInTheMaking) => Some(Moment::WalTaken),
                (Kind::WalInTheMaking, Kind::Wal) => Some(Moment::WalNamed),
                (_, Kind::Manifest) => Some(Moment::ManifestNamed),
                _ => None,
            });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.below.remove(path)?;
        self.countdown.reached(match Kind::of(path) {
            Kind::Segment => Some(Moment::SegmentRemoved),
            Kind::Checkpoint => Some(Moment::CheckpointRemoved),
            Kind::Manifest => Some(Moment::ManifestRemoved),
            Kind::Wal => Some(Moment::WalRemoved),
            Kind::WalInTheMaking | Kind::Other => None,
        });
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
struct FatalFile {
    below: Arc<dyn VfsFile>,
    kind: Kind,
    countdown: Arc<Countdown>,
}

impl FatalFile {
    fn synced(&self) {
        self.countdown.reached(match self.kind {
            Kind::Segment => Some(Moment::SegmentSynced),
            Kind::Checkpoint => Some(Moment::CheckpointSynced),
            Kind::Manifest => Some(Moment::ManifestSynced),
            Kind::WalInTheMaking => Some(Moment::WalSynced),
            Kind::Wal | Kind::Other => None,
        });
    }
}

impl VfsFile for FatalFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.below.read_at(buffer, offset)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.below.write_vectored_at(parts, offset)?;
        self.countdown.reached(match self.kind {
            Kind::Segment => Some(Moment::SegmentWritten),
            Kind::Checkpoint => Some(Moment::CheckpointWritten),
            Kind::Manifest => Some(Moment::ManifestWritten),
            Kind::Wal => Some(Moment::BlockWritten),
            Kind::WalInTheMaking | Kind::Other => None,
        });
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.below.sync_data()?;
        if self.kind == Kind::Wal {
            self.countdown.reached(Some(Moment::BlockSynced));
        }
        Ok(())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.below.sync_all()?;
        self.synced();
        Ok(())
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
