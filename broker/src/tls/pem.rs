//! Certificates and keys as files: reading them, and saying precisely what is wrong with them.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, RootCertStore};
use weir_log::Vfs;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::TlsError;
use super::names::Names;

/// A certificate chain with its key, ready to be served.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) facts: Facts,
}

/// What a certificate says about itself.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
    pub(super) names: Names,
}

impl Chain {
    /// The operator's: it has to be valid now, since no client would take it otherwise.
    pub(super) fn given(
        vfs: &dyn Vfs,
        cert: &Path,
        key: &Path,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        let chain = Self::parse(cert, &read(vfs, cert)?, key, &read(vfs, key)?, provider)?;
        chain
            .facts
            .check(now)
            .map_err(|problem| TlsError::Validity {
                path: cert.to_owned(),
                problem,
            })?;
        Ok(chain)
    }

    /// A chain and its key from bytes; the paths are for error messages.
    pub(super) fn parse(
        cert_path: &Path,
        cert: &[u8],
        key_path: &Path,
        key: &[u8],
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let certificates = certificates(cert_path, cert)?;
        let facts = match certificates.first() {
            Some(first) => Facts::of(cert_path, first)?,
            None => return Err(content(cert_path, "contains no certificate in PEM form")),
        };
        let private = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            content(
                key_path,
                format!("contains no private key in PEM form ({error})"),
            )
        })?;
        let private = provider
            .key_provider
            .load_private_key(private)
            .map_err(|error| {
                content(
                    key_path,
                    format!("contains a key that cannot be used: {error}"),
                )
            })?;
        let key = CertifiedKey::new(certificates, private);
        match key.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(_) => {
                let reason = format!(
                    "is not the key of the certificate in {}",
                    cert_path.display()
                );
                return Err(content(key_path, reason));
            }
        }
        let key = Arc::new(key);
        Ok(Self { key, facts })
    }
}

impl Facts {
    /// What `certificate` says.
    pub(super) fn of(path: &Path, certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let (_, certificate) = X509Certificate::from_der(certificate)
            .map_err(|error| content(path, format!("contains no X.509 certificate ({error})")))?;
        let names = certificate
            .subject_alternative_name()
            .map_err(|error| content(path, format!("contains unreadable names ({error})")))?;
        let names = names
            .map(|names| names.value.general_names.as_slice())
            .unwrap_or_default();
        let validity = certificate.validity();
        Ok(Self {
            not_before: from_unix(validity.not_before.timestamp()),
            not_after: from_unix(validity.not_after.timestamp()),
            names: Names::from_texts(names.iter().filter_map(name_text)),
        })
    }

    /// Whether it is valid at `now`; else what a message says after "the certificate".
    pub(super) fn check(&self, now: SystemTime) -> Result<(), String> {
        if now > self.not_after {
            let day = humantime::format_rfc3339_seconds(self.not_after);
            return Err(format!("expired at {day}"));
        }
        if now < self.not_before {
            let day = humantime::format_rfc3339_seconds(self.not_before);
            return Err(format!(
                "is not valid before {day} (is this machine's clock right?)"
            ));
        }
        Ok(())
    }
}

/// Whether `authority` signed `certificate`.
pub(super) fn is_signed_by(
    certificate: &CertificateDer<'_>,
    authority: &CertificateDer<'_>,
) -> bool {
    let (Ok((_, certificate)), Ok((_, authority))) = (
        X509Certificate::from_der(certificate),
        X509Certificate::from_der(authority),
    ) else {
        return false;
    };
    certificate
        .verify_signature(Some(authority.public_key()))
        .is_ok()
}

/// Verifies the certificates of clients against the authorities in `path`.
pub(super) fn client_verifier(
    vfs: &dyn Vfs,
    path: &Path,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, &read(vfs, path)?)? {
        roots.add(certificate).map_err(|error| {
            content(
                path,
                format!("contains a certificate that cannot be an authority: {error}"),
            )
        })?;
    }
    if roots.is_empty() {
        return Err(content(path, "contains no certificate in PEM form"));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
        .allow_unauthenticated()
        .build()
        .map_err(|error| content(path, format!("cannot be used: {error}")))
}

pub(super) fn certificates(
    path: &Path,
    bytes: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| content(path, format!("is no readable PEM file: {error}")))
}

pub(super) fn read(vfs: &dyn Vfs, path: &Path) -> Result<Vec<u8>, TlsError> {
    vfs.read(path).map_err(|source| TlsError::File {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn read_text(vfs: &dyn Vfs, path: &Path) -> Result<String, TlsError> {
    String::from_utf8(read(vfs, path)?).map_err(|_| content(path, "is no PEM file: it is not text"))
}

pub(super) fn content(path: &Path, reason: impl Into<String>) -> TlsError {
    TlsError::Content {
        path: path.to_owned(),
        reason: reason.into(),
    }
}

fn name_text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let address = <[u8; 4]>::try_from(*bytes)
                .map(IpAddr::from)
                .or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| address.to_string())
        }
        _ => None,
    }
}

/// A time before 1970 is 1970 here: such a certificate has expired anyway.
fn from_unix(seconds: i64) -> SystemTime {
    let seconds = u64::try_from(seconds).unwrap_or_default();
    let since = Duration::from_secs(seconds.min(253_402_300_799));
    SystemTime::UNIX_EPOCH + since
}
