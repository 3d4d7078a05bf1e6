//! The broker's identity: certificates given by the operator, or (trust on first start) an
//! authority of its own and a certificate that it renews by itself. TLS 1.3 only, no 0-RTT, no
//! session tickets: a resumed session would outlive the certificates it was checked with.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{self, cipher_suite};
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, version};
use weir_log::Vfs;

use crate::config::Config;
use crate::data_dir::DataDir;

mod authority;
mod names;
mod pem;
mod renewal;
mod swap;

pub use names::host_name;
pub use renewal::Renewal;

use names::Names;
use pem::{Chain, Facts};
use swap::{ClientVerifier, Resolver};

/// What both sides name in the handshake.
pub const ALPN: &[u8] = b"weir/1";
/// A certificate with less time left is renewed, so a broker that runs for two months without a
/// restart, its renewal failing all the time, still has a valid one.
const RENEW_BEFORE: Duration = Duration::from_secs(60 * 24 * 60 * 60);
/// Renewing for less gain than this would renew at every look.
const GAIN_MIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The broker's identity. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Identity(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    resolver: Arc<Resolver>,
    clients: Option<Clients>,
    crypto: Arc<ServerConfig>,
    trust_pem: String,
    trust_file: PathBuf,
}

#[derive(Debug)]
struct Clients {
    file: PathBuf,
    verifier: Arc<ClientVerifier>,
}

#[derive(Debug)]
enum Source {
    Own { data_dir: DataDir, names: Names },
    Given { cert: PathBuf, key: PathBuf },
}

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A file's content is not what it has to be.
    #[error("{} {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A certificate that is not valid now.
    #[error("the certificate in {} {problem}; put a valid one there", path.display())]
    Validity {
        /// The file.
        path: PathBuf,
        /// Since when it is not, or from when it will be.
        problem: String,
    },
    /// The broker's own authority is too old.
    #[error(
        "the authority in {} {problem}; remove that file to have a new one made, then give every \
         client the new {}",
        key.display(),
        certificate.display()
    )]
    AuthorityExpired {
        /// The authority's key and certificate.
        key: PathBuf,
        /// What clients trust.
        certificate: PathBuf,
        /// Since when it is not valid, or from when it will be.
        problem: String,
    },
    /// A name that no certificate can bear.
    #[error("{name:?} (--name, tls.names) is neither a host name nor an IP address")]
    Name {
        /// The name.
        name: String,
    },
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Make(#[source] rcgen::Error),
    /// The TLS library refused the configuration.
    #[error("cannot set up TLS: {0}")]
    Setup(#[source] rustls::Error),
}

/// Loads the certificates that `config` names, or makes those that are missing.
pub fn prepare(vfs: &dyn Vfs, config: &Config, now: SystemTime) -> Result<Identity, TlsError> {
    let provider = Arc::new(provider());
    let (source, chain, trust_pem, trust_file) = match (&config.tls.cert, &config.tls.key) {
        (Some(cert), Some(key)) => {
            let chain = Chain::given(vfs, cert, key, &provider, now)?;
            let pem = pem::read_text(vfs, cert)?;
            let source = Source::Given {
                cert: cert.clone(),
                key: key.clone(),
            };
            (source, chain, pem, cert.clone())
        }
        _ => {
            let data_dir = DataDir::new(&config.data_dir);
            let names = Names::of(config)?;
            let authority = authority::load_or_make(vfs, &data_dir, now)?;
            let chain = authority.current_leaf(vfs, &data_dir, &names, &provider, now)?;
            let file = data_dir.ca_certificate();
            (
                Source::Own { data_dir, names },
                chain,
                authority.certificate_pem().to_owned(),
                file,
            )
        }
    };
    let resolver = Arc::new(Resolver::new(chain));
    let clients = match &config.tls.client_ca {
        Some(file) => Some(Clients {
            verifier: Arc::new(ClientVerifier::new(pem::client_verifier(
                vfs, file, &provider,
            )?)),
            file: file.clone(),
        }),
        None => None,
    };
    let crypto = server_crypto(provider, &resolver, clients.as_ref())?;
    Ok(Identity(Arc::new(Inner {
        source,
        resolver,
        clients,
        crypto: Arc::new(crypto),
        trust_pem,
        trust_file,
    })))
}

impl Identity {
    /// What the QUIC endpoint is set up with. Certificates that are renewed or reloaded later
    /// count for every handshake that starts afterwards, without setting anything up anew.
    #[must_use]
    pub fn server_crypto(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0.crypto)
    }

    /// What clients need to trust this broker: its authority, or the chain that was given.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        &self.0.trust_pem
    }

    /// The file with what clients need to trust.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.0.trust_file
    }

    /// When the broker's certificate expires.
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.0.resolver.current().facts.not_after
    }

    /// Reads the files again (SIGHUP). On an error everything stays as it was.
    pub fn reload(&self, vfs: &dyn Vfs, now: SystemTime) -> Result<(), TlsError> {
        let provider = self.0.crypto.crypto_provider();
        let chain = match &self.0.source {
            Source::Given { cert, key } => Chain::given(vfs, cert, key, provider, now)?,
            Source::Own { data_dir, names } => {
                let authority = authority::load_or_make(vfs, data_dir, now)?;
                authority.current_leaf(vfs, data_dir, names, provider, now)?
            }
        };
        if let Some(clients) = &self.0.clients {
            clients
                .verifier
                .replace(pem::client_verifier(vfs, &clients.file, provider)?);
        }
        self.0.resolver.replace(chain);
        Ok(())
    }

    /// Renews the broker's own certificate if it is time; says whether it did. To be called every
    /// few hours. Given certificates are the operator's to renew: a warning says so in time.
    pub fn renew_if_due(&self, vfs: &dyn Vfs, now: SystemTime) -> Result<bool, TlsError> {
        let left = self.expires().duration_since(now).unwrap_or_default();
        if left >= RENEW_BEFORE {
            return Ok(false);
        }
        let Source::Own { data_dir, names } = &self.0.source else {
            tracing::warn!(
                certificate = %self.0.trust_file.display(),
                days_left = left.as_secs() / (24 * 60 * 60),
                "the certificate expires soon: put a new one there and send SIGHUP"
            );
            return Ok(false);
        };
        let authority = authority::load_or_make(vfs, data_dir, now)?;
        let before = self.expires();
        let provider = self.0.crypto.crypto_provider();
        let chain = authority.current_leaf(vfs, data_dir, names, provider, now)?;
        let renewed = chain.facts.not_after != before;
        self.0.resolver.replace(chain);
        Ok(renewed)
    }
}

/// Whether a certificate with these facts is to be renewed by an authority that is valid until
/// `latest`.
fn is_due(facts: &Facts, now: SystemTime, latest: SystemTime) -> bool {
    let left = facts.not_after.duration_since(now).unwrap_or_default();
    left < RENEW_BEFORE && facts.not_after + GAIN_MIN < latest
}

fn server_crypto(
    provider: Arc<CryptoProvider>,
    resolver: &Arc<Resolver>,
    clients: Option<&Clients>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .map_err(TlsError::Setup)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier) as _),
        None => builder.with_no_client_auth(),
    };
    let mut crypto = builder.with_cert_resolver(Arc::clone(resolver) as _);
    crypto.alpn_protocols = vec![ALPN.to_vec()];
    crypto.max_early_data_size = 0;
    crypto.send_tls13_tickets = 0;
    crypto.session_storage = Arc::new(NoServerSessionStorage {});
    crypto.ignore_client_order = true;
    Ok(crypto)
}

/// AES first: ChaCha20 is 40 % slower where the processor knows AES, and the broker's does.
fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    }
}

#[cfg(test)]
mod tests;
