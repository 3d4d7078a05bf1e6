//! The broker's own authority, made at the first start, and the certificates it signs.
//!
//! A key and its certificate share a file, written in one step, so that a crash cannot leave one
//! without the other. `ca.pem`, which is handed to clients, is only a copy.

use std::io;
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::CryptoProvider;
use weir_log::Vfs;

use super::names::{Names, host_name};
use super::pem::{Chain, Facts, certificates, content, read_text};
use super::{TlsError, is_due};
use crate::data_dir::DataDir;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const AUTHORITY_LIFETIME: Duration = Duration::from_secs(3652 * 24 * 60 * 60);
const LEAF_LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// An authority that ends sooner is worth a warning: every client has to get the next one.
const WARN_BEFORE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The authority, with its key.
#[derive(Debug)]
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate_pem: String,
    facts: Facts,
}

/// Loads the authority from the data directory, or makes it.
pub(super) fn load_or_make(
    vfs: &dyn Vfs,
    data_dir: &DataDir,
    now: SystemTime,
) -> Result<Authority, TlsError> {
    let path = data_dir.ca_key();
    let text = match read_text(vfs, &path) {
        Ok(text) => text,
        Err(TlsError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            let text = make(now)?;
            vfs.create_dir_all(&data_dir.tls())
                .map_err(|source| TlsError::File {
                    path: data_dir.tls(),
                    source,
                })?;
            write(vfs, &path, &text)?;
            text
        }
        Err(error) => return Err(error),
    };
    let authority = parse(data_dir, &text)?;
    authority.check(data_dir, now)?;
    let copy = data_dir.ca_certificate();
    if !vfs
        .read(&copy)
        .is_ok_and(|bytes| bytes == authority.certificate_pem.as_bytes())
    {
        write(vfs, &copy, &authority.certificate_pem)?;
    }
    Ok(authority)
}

impl Authority {
    /// What clients trust.
    pub(super) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The certificate in the data directory, or a new one where that is missing, damaged, of
    /// another authority, for other names, or soon to expire.
    pub(super) fn current_leaf(
        &self,
        vfs: &dyn Vfs,
        data_dir: &DataDir,
        names: &Names,
        provider: &CryptoProvider,
        now: SystemTime,
    ) -> Result<Chain, TlsError> {
        let path = data_dir.broker_key();
        if let Ok(text) = read_text(vfs, &path) {
            match Chain::parse(&path, text.as_bytes(), &path, text.as_bytes(), provider) {
                Ok(chain) if self.is_good(&chain, names, now) => return Ok(chain),
                Ok(_) => tracing::info!("making a new certificate for the broker"),
                Err(error) => tracing::warn!(%error, "making a new certificate for the broker"),
            }
        }
        let text = self.sign(names, now)?;
        write(vfs, &path, &text)?;
        Chain::parse(&path, text.as_bytes(), &path, text.as_bytes(), provider)
    }

    fn is_good(&self, chain: &Chain, names: &Names, now: SystemTime) -> bool {
        let latest = (now + LEAF_LIFETIME).min(self.facts.not_after);
        chain.facts.names == *names
            && chain.facts.check(now).is_ok()
            && !is_due(&chain.facts, now, latest)
            && self.has_signed(chain)
    }

    fn has_signed(&self, chain: &Chain) -> bool {
        let own = certificates("ca.pem".as_ref(), self.certificate_pem.as_bytes());
        let (Some(own), Some(leaf)) = (
            own.ok().and_then(|own| own.into_iter().next()),
            chain.key.cert.first(),
        ) else {
            return false;
        };
        super::pem::is_signed_by(leaf, &own)
    }

    fn sign(&self, names: &Names, now: SystemTime) -> Result<String, TlsError> {
        let mut params = CertificateParams::new(names.to_vec()).map_err(TlsError::Make)?;
        params.distinguished_name = named("weir");
        params.not_before = (now - DAY).into();
        params.not_after = (now + LEAF_LIFETIME).min(self.facts.not_after).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .map_err(TlsError::Make)?;
        Ok(key.serialize_pem() + &certificate.pem())
    }

    fn check(&self, data_dir: &DataDir, now: SystemTime) -> Result<(), TlsError> {
        self.facts
            .check(now)
            .map_err(|problem| TlsError::AuthorityExpired {
                key: data_dir.ca_key(),
                certificate: data_dir.ca_certificate(),
                problem,
            })?;
        let left = self.facts.not_after.duration_since(now).unwrap_or_default();
        if left < WARN_BEFORE {
            tracing::warn!(
                days_left = left.as_secs() / DAY.as_secs(),
                "the broker's authority expires: remove {} to have a new one made, and give it to \
                 every client",
                data_dir.ca_key().display()
            );
        }
        Ok(())
    }
}

fn make(now: SystemTime) -> Result<String, TlsError> {
    let mut params = CertificateParams::new(Vec::new()).map_err(TlsError::Make)?;
    let host = host_name().unwrap_or_else(|| "this machine".to_owned());
    params.distinguished_name = named(&format!("Weir authority of {host}"));
    params.not_before = (now - DAY).into();
    params.not_after = (now + AUTHORITY_LIFETIME).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let certificate = params.self_signed(&key).map_err(TlsError::Make)?;
    Ok(key.serialize_pem() + &certificate.pem())
}

fn parse(data_dir: &DataDir, text: &str) -> Result<Authority, TlsError> {
    let path = data_dir.ca_key();
    let damaged = |what: &str| {
        content(
            &path,
            format!(
                "{what}; restore it, or remove it to have a new authority made and then give \
                 every client the new {}",
                data_dir.ca_certificate().display()
            ),
        )
    };
    let key = KeyPair::from_pem(text).map_err(|_| damaged("contains no usable key"))?;
    let start = text.find("-----BEGIN CERTIFICATE-----");
    let certificate_pem = start
        .and_then(|start| text.get(start..))
        .unwrap_or_default()
        .to_owned();
    let found = certificates(&path, certificate_pem.as_bytes())?;
    let certificate = found
        .first()
        .ok_or_else(|| damaged("contains no certificate"))?;
    let facts = Facts::of(&path, certificate)?;
    let issuer = Issuer::from_ca_cert_der(certificate, key)
        .map_err(|_| damaged("contains a certificate that is no authority's"))?;
    Ok(Authority {
        issuer,
        certificate_pem,
        facts,
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::OrganizationName, "Weir");
    distinguished.push(DnType::CommonName, name);
    distinguished
}

fn write(vfs: &dyn Vfs, path: &std::path::Path, text: &str) -> Result<(), TlsError> {
    vfs.write_atomic(path, text.as_bytes())
        .map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })
}
