//! What lies where in the data directory, in one place.

use std::io;
use std::path::{Path, PathBuf};

use weir_log::Vfs;

/// A broker's data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir {
    root: PathBuf,
}

/// A directory that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create {}: {source}; choose another data directory (--data DIR) or make room for this one", path.display())]
pub struct DataDirError {
    path: PathBuf,
    source: io::Error,
}

impl DataDir {
    /// The directory at `root`, which need not exist yet.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Creates what does not exist yet, for its owner only.
    pub fn create(&self, vfs: &dyn Vfs) -> Result<(), DataDirError> {
        for path in [self.root.clone(), self.log(), self.plugins(), self.tls()] {
            vfs.create_dir_all(&path).map_err(|source| DataDirError {
                path: path.clone(),
                source,
            })?;
        }
        Ok(())
    }

    /// The directory itself.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
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

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.root.join("token")
    }
}
