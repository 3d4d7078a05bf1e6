//! What is replaced while the broker runs: its certificate, and the authorities of its clients.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::pem::Chain;

/// The certificate of the moment.
#[derive(Debug)]
pub(super) struct Resolver(ArcSwap<Chain>);

impl Resolver {
    pub(super) fn new(chain: Chain) -> Self {
        Self(ArcSwap::from_pointee(chain))
    }

    pub(super) fn current(&self) -> Arc<Chain> {
        self.0.load_full()
    }

    pub(super) fn replace(&self, chain: Chain) {
        self.0.store(Arc::new(chain));
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().key))
    }
}

/// Verifies client certificates with the authorities of the moment.
#[derive(Debug)]
pub(super) struct ClientVerifier(ArcSwap<Arc<dyn ClientCertVerifier>>);

impl ClientVerifier {
    pub(super) fn new(verifier: Arc<dyn ClientCertVerifier>) -> Self {
        Self(ArcSwap::from_pointee(verifier))
    }

    pub(super) fn replace(&self, verifier: Arc<dyn ClientCertVerifier>) {
        self.0.store(Arc::new(verifier));
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        // A token does as well.
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // Hints could not be borrowed from what may be replaced; without them a client offers
        // the certificate it has.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.0
            .load()
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .load()
            .verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0
            .load()
            .verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.load().supported_verify_schemes()
    }
}
