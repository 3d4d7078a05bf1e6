//! What lies where in the data directory, in one place.

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use weir_log::{DirLock, Vfs};

/// Whoever looks whether a directory is locked holds the lock for microseconds.
const LOCK_TRIES: u32 = 4;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// What a log's directory has in it, by which it is known.
const NODE_FILE: &str = "NODE";
const NODE_MAGIC: &[u8] = b"weir-log";
const WAL: &str = "wal";
/// Only takes room, and is there or not.
const RESERVE: &str = "reserve";
const PARTS: [&str; 4] = [WAL, "segments", "checkpoints", "manifest"];
/// For whoever looks into the file.
const LOG_MARK: &[u8] =
    b"The folder log beside this file holds a broker's log. While this file is \
there, a broker\ndoes not start without that log.\n";

/// A broker's data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// Why a directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// It cannot be made, or not be locked.
    #[error(
        "cannot use {}: {source}; choose another data directory (--data DIR) or correct this one",
        path.display()
    )]
    File {
        /// What it is about.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// Something else is kept there.
    #[error(
        "{} is no file of a broker's data directory; choose an empty directory, or one that a \
         broker made (--data DIR); nothing was changed",
        path.display()
    )]
    Foreign {
        /// The first such file.
        path: PathBuf,
    },
    /// The log that was in it is gone.
    #[error(
        "{} is {what}, while a log was there before: is a volume not mounted? Mount it, or put the \
         folder back from a copy; to begin with an empty log, remove {}; nothing was changed",
        path.display(), mark.display()
    )]
    LogGone {
        /// Where it was.
        path: PathBuf,
        /// What is there now.
        what: &'static str,
        /// What tells of it.
        mark: PathBuf,
    },
    /// Another broker has it.
    #[error(
        "the data directory {} is in use by another broker; stop that one, or choose another \
         directory (--data DIR)",
        path.display()
    )]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

impl DataDir {
    /// The directory at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Refuses a directory in which somebody else keeps files, before anything is put between
    /// them, and one that had a log and has none any more: that is not for a start to make anew.
    pub fn check(&self, vfs: &dyn Vfs) -> Result<(), DataDirError> {
        // What cannot be read is named by whoever needs it.
        let is_missing = |path: &Path| {
            vfs.read(path)
                .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        };
        let is_empty = |part: &&str| {
            let names = vfs.list(&self.log().join(part));
            names.unwrap_or_default().is_empty()
        };
        let gone = match vfs.list(&self.log()) {
            Ok(names) if names.iter().all(|name| name == RESERVE) && PARTS.iter().all(is_empty) => {
                Some("empty")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some("missing"),
            _ => None,
        };
        if let Some(what) = gone.filter(|_| !is_missing(&self.log_mark())) {
            return Err(DataDirError::LogGone {
                path: self.log(),
                what,
                mark: self.log_mark(),
            });
        }
        // Every broker makes it first.
        if !is_missing(&self.lock_file()) {
            return Ok(());
        }
        let node = self.log().join(NODE_FILE);
        let foreign = |path| Err(DataDirError::Foreign { path });
        match vfs.read(&node) {
            Ok(bytes) if bytes.starts_with(NODE_MAGIC) => return Ok(()),
            Ok(_) => return foreign(node),
            Err(_) => {}
        }
        let given = [self.token(), self.reset_key()];
        for directory in [self.root.clone(), self.log(), self.log().join(WAL)] {
            let names = vfs.list(&directory).unwrap_or_default();
            let mut paths = names.iter().map(|name| directory.join(name));
            if let Some(path) = paths.find(|path| !given.contains(path)) {
                return foreign(path);
            }
        }
        Ok(())
    }

    /// Creates what does not exist yet, for its owner only.
    pub fn create(&self, vfs: &dyn Vfs) -> Result<(), DataDirError> {
        for path in [self.root.clone(), self.log(), self.plugins(), self.tls()] {
            vfs.create_dir_all(&path)
                .map_err(|source| DataDirError::File { path, source })?;
        }
        Ok(())
    }

    /// Notes, outside of the log, that there is one: should it be gone one day, it is missed.
    pub fn mark_log(&self, vfs: &dyn Vfs) -> io::Result<()> {
        let mark = self.log_mark();
        if vfs.read(&mark).is_ok_and(|text| text == LOG_MARK) {
            return Ok(());
        }
        vfs.write_atomic(&mark, LOG_MARK)
    }

    /// Takes the directory for this broker, before anything in it is read or made; dropping the
    /// lock lets go of it.
    pub fn lock(&self, vfs: &dyn Vfs) -> Result<DirLock, DataDirError> {
        let path = self.lock_file();
        for tries_left in (0..LOCK_TRIES).rev() {
            match vfs.lock(&path) {
                Ok(Some(lock)) => return Ok(lock),
                // Somebody may only be looking, see `is_locked`.
                Ok(None) if tries_left > 0 => thread::sleep(LOCK_PAUSE),
                Ok(None) => break,
                Err(source) => return Err(DataDirError::File { path, source }),
            }
        }
        Err(DataDirError::InUse {
            path: self.root.clone(),
        })
    }

    /// Takes it as [`Self::lock`] does, if there is one that a broker ever took.
    pub fn lock_existing(&self, vfs: &dyn Vfs) -> Result<Option<DirLock>, DataDirError> {
        // Looking must not make a file where no broker ever was.
        if vfs.read(&self.lock_file()).is_err() {
            return Ok(None);
        }
        self.lock(vfs).map(Some)
    }

    /// Whether a broker has taken the directory.
    #[must_use]
    pub fn is_locked(&self, vfs: &dyn Vfs) -> bool {
        let path = self.lock_file();
        vfs.read(&path).is_ok() && matches!(vfs.lock(&path), Ok(None))
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What the broker that uses the directory has locked.
    #[must_use]
    pub fn lock_file(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// What says that there is a log.
    #[must_use]
    pub fn log_mark(&self) -> PathBuf {
        self.root.join("log-made")
    }

    /// Plugins: components and their precompiled forms.
    #[must_use]
    pub fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Keys and certificates that the broker made.
    #[must_use]
    pub fn tls(&self) -> PathBuf {
        self.root.join("tls")
    }

    /// The certificate that clients are to trust; made to be handed out.
    #[must_use]
    pub fn ca_certificate(&self) -> PathBuf {
        self.tls().join("ca.pem")
    }

    /// The authority: its key and certificate in one file, so that they cannot fall apart.
    #[must_use]
    pub fn ca_key(&self) -> PathBuf {
        self.tls().join("ca.key")
    }

    /// The broker's own key and certificate, in one file.
    #[must_use]
    pub fn broker_key(&self) -> PathBuf {
        self.tls().join("broker.key")
    }

    /// What lets a restarted broker end the connections of the one before.
    #[must_use]
    pub fn reset_key(&self) -> PathBuf {
        self.root.join("reset.key")
    }

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.root.join("token")
    }
}

#[cfg(test)]
mod tests {
    use weir_log::RealVfs;

    use super::*;

    #[test]
    fn one_broker_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let vfs = RealVfs::new();
        let data = DataDir::new(directory.path().join("data"));
        assert!(!data.is_locked(&vfs));
        assert!(!data.root().exists(), "looking makes nothing");

        data.create(&vfs).unwrap();
        assert!(!data.is_locked(&vfs));
        let lock = data.lock(&vfs).unwrap();
        assert!(data.is_locked(&vfs));
        let error = data.lock(&vfs).unwrap_err();
        assert!(matches!(error, DataDirError::InUse { .. }), "{error}");
        drop(lock);
        assert!(!data.is_locked(&vfs));
        data.lock(&vfs).unwrap();
    }

    #[test]
    fn what_is_not_a_brokers_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let vfs = RealVfs::new();
        let data = DataDir::new(directory.path());
        data.check(&vfs).unwrap();
        // A token that is given to a new broker.
        std::fs::write(data.token(), "secret").unwrap();
        data.check(&vfs).unwrap();
        std::fs::write(directory.path().join("letters.txt"), "dear").unwrap();
        let error = data.check(&vfs).unwrap_err();
        assert!(error.to_string().contains("letters.txt"), "{error}");
        std::fs::create_dir(data.log()).unwrap();
        std::fs::write(data.log().join(NODE_FILE), "weir-log 1 7\n").unwrap();
        data.check(&vfs).unwrap();
    }

    #[test]
    fn a_log_that_is_gone_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let vfs = RealVfs::new();
        let data = DataDir::new(directory.path().join("data"));
        let check = |expected: &str| match data.check(&vfs) {
            Ok(()) => assert_eq!(expected, ""),
            Err(error) => {
                let text = error.to_string();
                assert!(!expected.is_empty() && text.contains(expected), "{text}");
            }
        };
        data.create(&vfs).unwrap();
        drop(data.lock(&vfs).unwrap());
        // A first start that did not get as far as to a log.
        check("");
        std::fs::write(data.log().join(NODE_FILE), "weir-log 1 7\n").unwrap();
        data.mark_log(&vfs).unwrap();
        check("");
        std::fs::write(data.log().join(RESERVE), "").unwrap();
        std::fs::remove_file(data.log().join(NODE_FILE)).unwrap();
        check("log is empty, while a log was there before");
        std::fs::remove_file(data.log().join(RESERVE)).unwrap();
        check("log is empty, while a log was there before");
        // What is left of a log is for whoever opens it to refuse.
        for part in PARTS {
            let part = data.log().join(part);
            std::fs::create_dir(&part).unwrap();
            check("log is empty, while a log was there before");
            std::fs::write(part.join("1"), "").unwrap();
            check("");
            std::fs::remove_dir_all(part).unwrap();
        }
        std::fs::remove_dir(data.log()).unwrap();
        check("log is missing, while a log was there before");
        std::fs::remove_file(data.lock_file()).unwrap();
        check("to begin with an empty log, remove ");
        drop(data.lock(&vfs).unwrap());
        std::fs::remove_file(data.log_mark()).unwrap();
        check("");
    }

    #[test]
    fn a_place_that_cannot_be_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "in the way").unwrap();
        let error = DataDir::new(file.join("data"))
            .create(&RealVfs::new())
            .unwrap_err();
        assert!(error.to_string().contains("--data"), "{error}");
    }
}
