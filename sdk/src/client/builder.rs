//! What a client needs to know before it connects.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::Client;
use crate::connection::{ConnectError, Credentials, Dialer};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// Describes a connection. Made by [`Client::builder`].
#[derive(Clone, Debug)]
#[must_use = "nothing happens before connect()"]
pub struct ClientBuilder {
    address: String,
    ca: Option<Source>,
    token: Option<Source>,
    certificate: Option<(Source, Source)>,
    connect_timeout: Duration,
    retry_timeout: Duration,
    name: String,
}

/// Text, or the file that holds it; files are read when the client connects.
#[derive(Clone)]
enum Source {
    Text(Vec<u8>),
    File(PathBuf),
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // It may be a secret.
            Self::Text(text) => write!(f, "{} bytes", text.len()),
            Self::File(path) => path.fmt(f),
        }
    }
}

impl ClientBuilder {
    pub(crate) fn new(address: String) -> Self {
        Self {
            address,
            ca: None,
            token: None,
            certificate: None,
            connect_timeout: CONNECT_TIMEOUT,
            retry_timeout: RETRY_TIMEOUT,
            name: concat!("weir-sdk ", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }

    /// Trusts brokers whose certificate one of these CAs (PEM) has signed.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca = Some(Source::Text(pem.into()));
        self
    }

    /// The same, read from a file.
    pub fn ca_file(mut self, path: impl AsRef<Path>) -> Self {
        self.ca = Some(Source::File(path.as_ref().to_owned()));
        self
    }

    /// Authenticates by a token.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Source::Text(token.into().into_bytes()));
        self
    }

    /// The same, read from a file; white space around it does not count.
    pub fn token_file(mut self, path: impl AsRef<Path>) -> Self {
        self.token = Some(Source::File(path.as_ref().to_owned()));
        self
    }

    /// Authenticates by a certificate chain and its private key, both PEM.
    pub fn client_certificate(
        mut self,
        chain_pem: impl Into<Vec<u8>>,
        key_pem: impl Into<Vec<u8>>,
    ) -> Self {
        self.certificate = Some((Source::Text(chain_pem.into()), Source::Text(key_pem.into())));
        self
    }

    /// The same, read from files.
    pub fn client_certificate_files(
        mut self,
        chain: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Self {
        self.certificate = Some((
            Source::File(chain.as_ref().to_owned()),
            Source::File(key.as_ref().to_owned()),
        ));
        self
    }

    /// How long an address may take to answer; 3 s by default. A closed UDP port says nothing.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long requests that fail are tried again; 60 s by default.
    pub const fn retry_timeout(mut self, timeout: Duration) -> Self {
        self.retry_timeout = timeout;
        self
    }

    /// The name in the broker's log; the SDK's name and version by default.
    pub fn client_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Connects: resolves the address, tries all it stands for at once, verifies the broker's
    /// certificate, authenticates.
    pub async fn connect(self) -> Result<Client, ConnectError> {
        let certificate = match &self.certificate {
            None => None,
            Some((chain, key)) => Some((chain.read()?, key.read()?)),
        };
        let ca = self.ca.as_ref().ok_or(ConnectError::NoCa)?.read()?;
        let dialer = Arc::new(Dialer {
            address: self.address.parse()?,
            credentials: Credentials::new(&ca, self.read_token()?, certificate)?,
            connect_timeout: self.connect_timeout,
            retry_timeout: self.retry_timeout,
            name: self.name,
        });
        let first = dialer.dial().await?;
        Ok(Client::new(dialer, Some(first)))
    }

    fn read_token(&self) -> Result<Option<String>, ConnectError> {
        let Some(source) = &self.token else {
            return Ok(None);
        };
        let token = String::from_utf8(source.read()?).map_err(|_| ConnectError::Credentials {
            what: "the token",
            reason: "it is not text".to_owned(),
        })?;
        Ok(Some(token.trim().to_owned()))
    }
}

impl Source {
    fn read(&self) -> Result<Vec<u8>, ConnectError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => std::fs::read(path).map_err(|error| ConnectError::File {
                path: path.clone(),
                reason: error.to_string(),
            }),
        }
    }
}
