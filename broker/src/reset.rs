//! What lets a restarted broker tell the clients of the one before that their connections are
//! gone (QUIC's stateless reset, RFC 9000 section 10.3). Without it they would notice after the
//! idle timeout: a port where nobody knows a connection is as silent as a dead one.
//!
//! A secret of the data directory makes it: the connection ids and reset tokens of every run
//! follow from it. Whoever knows it could end connections, no more.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quinn::{ConnectionIdGenerator, EndpointConfig};
use quinn_proto::HashedConnectionIdGenerator;
use rand::TryRngCore;
use rand::rngs::OsRng;
use ring::hmac;
use sha2::{Digest, Sha256};
use weir_log::Vfs;

const SECRET_BYTES: usize = 32;

/// Why there is no secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResetError {
    /// The file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The file's content is no secret.
    #[error(
        "{} does not hold {SECRET_BYTES} bytes; remove the file, and the next start makes a good \
         one",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes: {0}")]
    Random(#[source] rand::rand_core::OsError),
}

/// The secret.
pub(crate) struct ResetSecret([u8; SECRET_BYTES]);

impl ResetSecret {
    /// The secret in that file, which is made if there is none.
    pub(crate) fn with_file(vfs: &dyn Vfs, path: &Path) -> Result<Self, ResetError> {
        let file_error = |source| ResetError::File {
            path: path.to_owned(),
            source,
        };
        match vfs.read(path) {
            Ok(bytes) => bytes
                .try_into()
                .map(Self)
                .map_err(|_| ResetError::Unusable {
                    path: path.to_owned(),
                }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let mut secret = [0; SECRET_BYTES];
                OsRng
                    .try_fill_bytes(&mut secret)
                    .map_err(ResetError::Random)?;
                vfs.write_atomic(path, &secret).map_err(file_error)?;
                Ok(Self(secret))
            }
            Err(error) => Err(file_error(error)),
        }
    }

    /// An endpoint whose connections a later endpoint of the same secret can reset.
    pub(crate) fn endpoint(&self) -> EndpointConfig {
        let tokens = self.derive("weir reset tokens");
        let mut config = EndpointConfig::new(Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &tokens)));
        // An endpoint ignores connection ids that it cannot have given out itself.
        let ids = self.derive("weir connection ids");
        let ids = u64::from_le_bytes(*ids.first_chunk().expect("32 bytes hold 8"));
        config.cid_generator(move || -> Box<dyn ConnectionIdGenerator> {
            Box::new(HashedConnectionIdGenerator::from_key(ids))
        });
        config
    }

    fn derive(&self, purpose: &str) -> [u8; 32] {
        Sha256::new()
            .chain_update(self.0)
            .chain_update(purpose)
            .finalize()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use weir_log::RealVfs;

    use super::{ResetError, ResetSecret};

    #[test]
    fn the_secret_stays_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let (vfs, path) = (RealVfs::new(), directory.path().join("reset.key"));
        let first = ResetSecret::with_file(&vfs, &path).unwrap();
        let second = ResetSecret::with_file(&vfs, &path).unwrap();
        assert_eq!(first.0, second.0);
        assert_ne!(first.derive("a"), first.derive("b"));
        std::fs::write(&path, "too short").unwrap();
        let error = ResetSecret::with_file(&vfs, &path).map(drop).unwrap_err();
        assert!(matches!(error, ResetError::Unusable { .. }), "{error}");
    }
}
