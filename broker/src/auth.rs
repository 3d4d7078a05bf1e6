//! Who may come in: the admin token made at the first start, or a verified client certificate.
//! Whoever is in may upload code, so there is no way around it but `--no-auth` on loopback.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use weir_log::Vfs;
use weir_wire::error::{ErrorCode, Fault};

/// 256 bits: nobody guesses them.
const TOKEN_BYTES: usize = 32;
/// A token that somebody put there by hand may be no easier to guess than 128 bits in hex.
const TOKEN_CHARS_MIN: usize = 32;
/// It has to fit the first frame of a connection with room to spare.
const TOKEN_CHARS_MAX: usize = 4096;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Decides who may come in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authenticator(Arc<Mode>);

#[derive(Debug)]
enum Mode {
    Open,
    Token(Token),
}

struct Token {
    text: String,
    /// Hashes have one length, so comparing them tells nothing about the token's.
    digest: [u8; 32],
}

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// The file cannot be read or written.
    #[error("cannot use the token file {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The file's content is no token.
    #[error(
        "the token in {} {reason}; remove the file, and the next start makes a good one",
        path.display()
    )]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for a token: {0}")]
    Random(#[source] rand::rand_core::OsError),
}

impl Authenticator {
    /// Lets everybody in.
    #[must_use]
    pub fn open() -> Self {
        Self(Arc::new(Mode::Open))
    }

    /// Asks for the token in `path`, which is made if there is none.
    pub fn with_token_file(vfs: &dyn Vfs, path: &Path) -> Result<Self, AuthError> {
        let file_error = |source| AuthError::File {
            path: path.to_owned(),
            source,
        };
        let text = match vfs.read(path) {
            Ok(bytes) => usable(&bytes).map_err(|reason| AuthError::Unusable {
                path: path.to_owned(),
                reason,
            })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let text = new_token()?;
                vfs.write_atomic(path, format!("{text}\n").as_bytes())
                    .map_err(file_error)?;
                text
            }
            Err(error) => return Err(file_error(error)),
        };
        let digest = Sha256::digest(&text).into();
        Ok(Self(Arc::new(Mode::Token(Token { text, digest }))))
    }

    /// Whether everybody may come in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(*self.0, Mode::Open)
    }

    /// The token, for the context of the user who started the broker.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match &*self.0 {
            Mode::Open => None,
            Mode::Token(token) => Some(&token.text),
        }
    }

    /// Whether a client with that token may come in. A certificate counts only when TLS has
    /// verified it against `--client-ca`. A wrong token is refused even beside a good certificate:
    /// whoever sends one believes that it matters.
    pub fn check(&self, token: Option<&str>, has_verified_certificate: bool) -> Result<(), Fault> {
        let Mode::Token(expected) = &*self.0 else {
            return Ok(());
        };
        match token {
            Some(token) => {
                let digest: [u8; 32] = Sha256::digest(token).into();
                if bool::from(digest.ct_eq(&expected.digest)) {
                    Ok(())
                } else {
                    Err(refusal(
                        "this is not the token of this broker; take the one in the file `token` of \
                         its data directory (--token-file FILE, WEIR_TOKEN, or weir context add)",
                    ))
                }
            }
            None if has_verified_certificate => Ok(()),
            None => Err(refusal(
                "no token came and no client certificate; give the token in the file `token` of \
                 the broker's data directory (--token-file FILE, WEIR_TOKEN, or weir context add)",
            )),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let _ = (&self.text, &self.digest);
        f.write_str("Token(…)")
    }
}

fn refusal(message: &str) -> Fault {
    Fault::new(ErrorCode::NotAuthorised, message)
}

fn usable(bytes: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(bytes)
        .map_err(|_| "is not text")?
        .trim();
    if text.len() < TOKEN_CHARS_MIN {
        return Err("is too short to be safe (32 characters at least)");
    }
    if text.len() > TOKEN_CHARS_MAX {
        return Err("is too long (4096 characters at most)");
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("contains blanks or characters outside ASCII");
    }
    Ok(text.to_owned())
}

fn new_token() -> Result<String, AuthError> {
    let mut bytes = [0; TOKEN_BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(AuthError::Random)?;
    Ok(url_safe(&bytes))
}

/// Base64 with the URL-safe alphabet and without padding (RFC 4648, section 5).
fn url_safe(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .enumerate()
            .fold(0, |group: usize, (index, byte)| {
                group | usize::from(*byte) << (16 - 8 * index)
            });
        for digit in 0..=chunk.len() {
            text.push(char::from(ALPHABET[group >> (18 - 6 * digit) & 63]));
        }
    }
    text
}

#[cfg(test)]
mod tests;
