//! Trust: whom the client believes, and how it shows who it is.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::error::ConnectError;

const ALPN: &[u8] = b"weir/1";

/// Whom to trust and who we are, checked once.
pub(crate) struct Credentials {
    roots: Arc<RootCertStore>,
    token: Option<String>,
    certificate: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

/// What the verifier found wrong, for a typed error: the alert alone does not tell.
pub(super) type Refusal = Arc<Mutex<Option<rustls::Error>>>;

/// The algorithms, AES-128-GCM first: the fastest where the processor helps.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

impl Credentials {
    pub(crate) fn new(
        ca: &[u8],
        token: Option<String>,
        certificate: Option<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, ConnectError> {
        let mut roots = RootCertStore::empty();
        for ca in certificates("the CA", ca)? {
            roots.add(ca).map_err(|error| unusable("the CA", &error))?;
        }
        let certificate = match certificate {
            None => None,
            Some((chain, key)) => Some((
                certificates("the client certificate", &chain)?,
                PrivateKeyDer::from_pem_slice(&key)
                    .map_err(|error| unusable("the client certificate's key", &error))?,
            )),
        };
        Ok(Self {
            roots: Arc::new(roots),
            token,
            certificate,
        })
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The TLS settings of one attempt, and where its verifier leaves what it refused.
    pub(super) fn client_config(&self) -> Result<(QuicClientConfig, Refusal), ConnectError> {
        let provider = provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(
            Arc::clone(&self.roots),
            Arc::clone(&provider),
        )
        .build()
        .map_err(|error| unusable("the CA", &error))?;
        let refusal = Refusal::default();
        let verifier = Verifier {
            webpki: verifier,
            refusal: Arc::clone(&refusal),
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| unusable("TLS 1.3", &error))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| unusable("the client certificate", &error))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let config =
            QuicClientConfig::try_from(config).map_err(|error| unusable("TLS 1.3", &error))?;
        Ok((config, refusal))
    }
}

fn certificates(
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConnectError> {
    let found = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(what, &error))?;
    if found.is_empty() {
        return Err(unusable(what, &"it holds no certificate in PEM form"));
    }
    Ok(found)
}

fn unusable(what: &'static str, reason: &dyn fmt::Display) -> ConnectError {
    ConnectError::Credentials {
        what,
        reason: reason.to_string(),
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither token nor key belongs into a log.
        f.debug_struct("Credentials")
            .field("roots", &self.roots.len())
            .field("token", &self.token.is_some())
            .field("certificate", &self.certificate.is_some())
            .finish()
    }
}

/// webpki's verifier, with a memory for what it refused.
#[derive(Debug)]
struct Verifier {
    webpki: Arc<WebPkiServerVerifier>,
    refusal: Refusal,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.webpki.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        if let Err(error) = &verified {
            let mut refusal = self.refusal.lock().unwrap_or_else(PoisonError::into_inner);
            *refusal = Some(error.clone());
        }
        verified
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// A refused certificate as an error that says what to do.
pub(super) fn refused(error: rustls::Error, address: String, host: &str) -> ConnectError {
    match error {
        rustls::Error::InvalidCertificate(error) => match error {
            // A development CA that was made anew has the old one's name and another key.
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                ConnectError::Untrusted { address }
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                ConnectError::CertificateExpired { address }
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                ConnectError::CertificateName {
                    address,
                    host: host.to_owned(),
                }
            }
            other => ConnectError::Certificate {
                address,
                reason: other.to_string(),
            },
        },
        other => ConnectError::Certificate {
            address,
            reason: other.to_string(),
        },
    }
}
