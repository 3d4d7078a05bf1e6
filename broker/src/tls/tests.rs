//! Certificates as a client sees them: real handshakes, in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    CertificateError, CipherSuite, ClientConfig, ClientConnection, Error, ProtocolVersion,
    RootCertStore, ServerConnection,
};
use tokio_util::sync::CancellationToken;
use weir_log::{RealVfs, Vfs};

use super::{ALPN, Identity, Renewal, TlsError, prepare};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::metrics::Metrics;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A data directory of its own.
struct Place {
    _directory: tempfile::TempDir,
    config: Config,
    vfs: RealVfs,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: directory.path().join("data"),
            ..Config::default()
        };
        Self {
            _directory: directory,
            config,
            vfs: RealVfs::new(),
        }
    }

    fn prepare(&self, now: SystemTime) -> Result<Identity, TlsError> {
        prepare(&self.vfs, &self.config, now)
    }

    fn files(&self) -> DataDir {
        DataDir::new(&self.config.data_dir)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.config.data_dir.join(name);
        self.vfs.create_dir_all(&self.config.data_dir).unwrap();
        self.vfs.write_atomic(&path, text.as_bytes()).unwrap();
        path
    }
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// What a client ends up with.
#[derive(Debug)]
struct Met {
    suite: CipherSuite,
    version: ProtocolVersion,
    tickets: u32,
    broker_saw_certificate: bool,
}

/// A client's own certificate.
type Presented = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn meet(identity: &Identity, trust: &str, name: &str) -> Result<Met, Error> {
    meet_with(identity, trust, name, None)
}

fn meet_with(
    identity: &Identity,
    trust: &str,
    name: &str,
    presented: Option<Presented>,
) -> Result<Met, Error> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trust.as_bytes()) {
        roots.add(certificate.unwrap()).unwrap();
    }
    // As a client that likes ChaCha20 best would come.
    let mut provider = super::provider();
    provider.cipher_suites.reverse();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots);
    let mut config = match presented {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name)?;
    let mut server = ServerConnection::new(identity.server_crypto())?;
    // The broker's first answer needs one turn, the client's certificate another.
    for _ in 0..4 {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.read_tls(&mut bytes.as_slice()).unwrap();
        server.process_new_packets()?;
        bytes.clear();
        server.write_tls(&mut bytes).unwrap();
        client.read_tls(&mut bytes.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    assert_eq!(client.alpn_protocol(), Some(ALPN));
    Ok(Met {
        suite: client.negotiated_cipher_suite().unwrap().suite(),
        version: client.protocol_version().unwrap(),
        tickets: client.tls13_tickets_received(),
        broker_saw_certificate: server.peer_certificates().is_some(),
    })
}

fn mode(path: &Path) -> u32 {
    rustix::fs::stat(path).unwrap().st_mode & 0o777
}

#[test]
fn a_client_that_trusts_the_authority_gets_in() {
    let place = Place::new();
    let identity = place.prepare(now()).unwrap();
    for name in ["localhost", "127.0.0.1", "::1"] {
        let met = meet(&identity, identity.ca_pem(), name).unwrap();
        assert_eq!(
            met.suite,
            CipherSuite::TLS13_AES_128_GCM_SHA256,
            "the broker's order counts"
        );
        assert_eq!(met.version, ProtocolVersion::TLSv1_3);
        assert_eq!(met.tickets, 0, "nothing to resume with");
    }
    let handed_out = place.vfs.read(identity.ca_file()).unwrap();
    assert_eq!(handed_out, identity.ca_pem().as_bytes());
}

#[test]
fn another_brokers_authority_is_refused() {
    let (one, two) = (Place::new(), Place::new());
    let (one, two) = (one.prepare(now()).unwrap(), two.prepare(now()).unwrap());
    let error = meet(&one, two.ca_pem(), "localhost").unwrap_err();
    // Both authorities bear the same name, so the client gets as far as the signature.
    let Error::InvalidCertificate(reason) = error else {
        panic!("{error}");
    };
    assert!(
        matches!(
            reason,
            CertificateError::BadSignature | CertificateError::UnknownIssuer
        ),
        "{reason:?}"
    );
}

#[test]
fn an_expired_certificate_is_refused_and_the_next_start_renews_it() {
    let place = Place::new();
    let old = place.prepare(now() - 400 * DAY).unwrap();
    let trust = old.ca_pem().to_owned();
    let error = meet(&old, &trust, "localhost").unwrap_err();
    let expired = matches!(
        error,
        Error::InvalidCertificate(CertificateError::ExpiredContext { .. })
    );
    assert!(expired, "{error:?}");

    let renewed = place.prepare(now()).unwrap();
    assert_eq!(renewed.ca_pem(), trust, "the authority stays");
    meet(&renewed, &trust, "localhost").unwrap();
}

#[test]
fn a_running_broker_renews_in_time() {
    let place = Place::new();
    let identity = place.prepare(now() - 310 * DAY).unwrap();
    let trust = identity.ca_pem().to_owned();
    // With 65 days left there is nothing to do yet.
    let first = identity.expires();
    assert!(!identity.renew_if_due(&place.vfs, now() - 10 * DAY).unwrap());
    assert_eq!(identity.expires(), first);

    let later = now();
    assert!(identity.renew_if_due(&place.vfs, later).unwrap());
    assert!(identity.expires() > later + 364 * DAY);
    meet(&identity, &trust, "localhost").unwrap();
    assert!(
        !identity.renew_if_due(&place.vfs, later).unwrap(),
        "once is enough"
    );
    // What is served is what lies on the disk.
    assert_eq!(place.prepare(later).unwrap().expires(), identity.expires());
}

#[tokio::test]
async fn the_renewing_task_renews_and_shows_when_the_certificate_ends() {
    let place = Place::new();
    let identity = place.prepare(now() - 310 * DAY).unwrap();
    let metrics = Metrics::new();
    let shutdown = CancellationToken::new();
    let renewal = |vfs: Arc<dyn Vfs>| {
        Renewal::new(
            identity.clone(),
            vfs,
            Arc::clone(&metrics),
            shutdown.clone(),
        )
    };
    let days_left = || {
        let shown = u64::try_from(metrics.certificate_expiry_seconds.get()).unwrap();
        (SystemTime::UNIX_EPOCH + Duration::from_secs(shown))
            .duration_since(now())
            .unwrap()
    };

    // A disk that has lost the authority: nothing is renewed, and what there was goes on.
    let ca = place.vfs.read(&place.files().ca_key()).unwrap();
    place
        .vfs
        .write_atomic(&place.files().ca_key(), b"lost")
        .unwrap();
    renewal(Arc::new(RealVfs::new())).look().await;
    assert!(days_left() < 60 * DAY);

    place
        .vfs
        .write_atomic(&place.files().ca_key(), &ca)
        .unwrap();
    renewal(Arc::new(RealVfs::new())).look().await;
    assert!(days_left() > 364 * DAY);

    shutdown.cancel();
    renewal(Arc::new(RealVfs::new())).run().await;
}

#[test]
fn a_restart_keeps_the_certificate() {
    let place = Place::new();
    let first = place.prepare(now()).unwrap();
    let key = place.vfs.read(&place.files().broker_key()).unwrap();
    let again = place.prepare(now() + 30 * DAY).unwrap();
    assert_eq!(again.expires(), first.expires());
    assert_eq!(place.vfs.read(&place.files().broker_key()).unwrap(), key);
}

#[test]
fn a_new_name_makes_a_new_certificate() {
    let mut place = Place::new();
    let before = place.prepare(now()).unwrap();
    let trust = before.ca_pem().to_owned();
    for name in ["broker.example", "192.0.2.7"] {
        let error = meet(&before, &trust, name).unwrap_err();
        assert!(matches!(error, Error::InvalidCertificate(_)), "{error:?}");
    }
    place.config.tls.names = vec!["Broker.Example.".to_owned(), "192.0.2.7".to_owned()];
    let after = place.prepare(now()).unwrap();
    for name in ["broker.example", "192.0.2.7", "localhost"] {
        meet(&after, &trust, name).unwrap();
    }

    place.config.tls.names = vec!["not a name".to_owned()];
    let error = place.prepare(now()).unwrap_err();
    assert!(matches!(error, TlsError::Name { .. }), "{error}");
}

#[test]
fn keys_are_for_their_owner_only() {
    let place = Place::new();
    place.files().create(&place.vfs).unwrap();
    place.prepare(now()).unwrap();
    let files = place.files();
    for path in [files.ca_key(), files.broker_key()] {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    for path in [
        files.root().to_owned(),
        files.tls(),
        files.log(),
        files.plugins(),
    ] {
        assert_eq!(mode(&path), 0o700, "{}", path.display());
    }
}

#[test]
fn damage_is_repaired_where_nothing_is_lost_and_named_where_it_is() {
    let place = Place::new();
    let identity = place.prepare(now()).unwrap();
    let trust = identity.ca_pem().to_owned();
    let files = place.files();

    place.vfs.remove(&files.ca_certificate()).unwrap();
    place
        .vfs
        .write_atomic(&files.broker_key(), b"-----BEGIN NOTHING")
        .unwrap();
    let repaired = place.prepare(now()).unwrap();
    meet(&repaired, &trust, "localhost").unwrap();
    assert_eq!(
        place.vfs.read(&files.ca_certificate()).unwrap(),
        trust.as_bytes()
    );

    for text in ["", "-----BEGIN NOTHING", trust.as_str()] {
        place
            .vfs
            .write_atomic(&files.ca_key(), text.as_bytes())
            .unwrap();
        let error = place.prepare(now()).unwrap_err().to_string();
        assert!(
            error.contains("ca.key") && error.contains("restore it"),
            "{error}"
        );
    }
}

#[test]
fn a_new_authority_signs_a_new_certificate() {
    let place = Place::new();
    let first = place.prepare(now()).unwrap();
    place.vfs.remove(&place.files().ca_key()).unwrap();
    let second = place.prepare(now()).unwrap();
    assert_ne!(first.ca_pem(), second.ca_pem());
    meet(&second, second.ca_pem(), "localhost").unwrap();
    meet(&second, first.ca_pem(), "localhost").unwrap_err();
}

#[test]
fn an_authority_that_expired_says_what_to_do() {
    let place = Place::new();
    place.prepare(now()).unwrap();
    let error = place.prepare(now() + 4000 * DAY).unwrap_err();
    assert!(
        matches!(error, TlsError::AuthorityExpired { .. }),
        "{error}"
    );
    // Shortly before, its certificates end with it, and it does not make new ones for ever.
    let late = place.prepare(now() + 3640 * DAY).unwrap();
    assert!(late.expires() < now() + 3653 * DAY);
    assert!(!late.renew_if_due(&place.vfs, now() + 3640 * DAY).unwrap());
}

#[test]
fn certificates_of_ones_own() {
    let own = Place::new();
    let made = own.prepare(now()).unwrap();
    let text = String::from_utf8(own.vfs.read(&own.files().broker_key()).unwrap()).unwrap();
    let split = text.find("-----BEGIN CERTIFICATE").unwrap();
    let trust = made.ca_pem();

    let mut place = Place::new();
    let cert = place.write("cert.pem", &text[split..]);
    let key = place.write("key.pem", &text[..split]);
    place.config.tls.cert = Some(cert.clone());
    place.config.tls.key = Some(key.clone());
    let identity = place.prepare(now()).unwrap();
    meet(&identity, trust, "localhost").unwrap();
    assert_eq!(identity.ca_file(), cert);
    assert!(
        !place.files().ca_key().exists(),
        "no authority is made beside them"
    );
    assert!(
        !identity
            .renew_if_due(&place.vfs, now() + 350 * DAY)
            .unwrap()
    );

    let error = place.prepare(now() + 400 * DAY).unwrap_err();
    assert!(matches!(error, TlsError::Validity { .. }), "{error}");
    assert!(error.to_string().contains("expired at 20"), "{error}");

    let other = KeyPair::generate().unwrap().serialize_pem();
    for (path, text, part) in [
        (&key, other.as_str(), "is not the key of the certificate"),
        (&key, "", "contains no private key"),
        (&cert, "", "contains no certificate"),
    ] {
        let before = place.vfs.read(path).unwrap();
        place.vfs.write_atomic(path, text.as_bytes()).unwrap();
        let error = place.prepare(now()).unwrap_err().to_string();
        assert!(
            error.contains(part) && error.contains(path.to_str().unwrap()),
            "{error}"
        );
        // A reload of such files leaves the broker as it was.
        identity.reload(&place.vfs, now()).unwrap_err();
        meet(&identity, trust, "localhost").unwrap();
        place.vfs.write_atomic(path, &before).unwrap();
    }

    place.vfs.remove(&key).unwrap();
    let error = place.prepare(now()).unwrap_err();
    assert!(matches!(error, TlsError::File { .. }), "{error}");
}

#[test]
fn a_reload_serves_the_new_files() {
    let own = Place::new();
    own.prepare(now()).unwrap();
    let first = String::from_utf8(own.vfs.read(&own.files().broker_key()).unwrap()).unwrap();
    let other = Place::new();
    let other_identity = other.prepare(now()).unwrap();
    let second = String::from_utf8(other.vfs.read(&other.files().broker_key()).unwrap()).unwrap();

    let mut place = Place::new();
    // One file for both is fine.
    let path = place.write("both.pem", &first);
    place.config.tls.cert = Some(path.clone());
    place.config.tls.key = Some(path.clone());
    let identity = place.prepare(now()).unwrap();
    let trust = other_identity.ca_pem();
    meet(&identity, trust, "localhost").unwrap_err();
    place.vfs.write_atomic(&path, second.as_bytes()).unwrap();
    identity.reload(&place.vfs, now()).unwrap();
    meet(&identity, trust, "localhost").unwrap();
}

/// An authority for client certificates.
struct ClientAuthority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl ClientAuthority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    fn issue(&self, until: SystemTime) -> Presented {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = until.into();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (certificate.der().clone(), key)
    }
}

#[test]
fn client_certificates_count_when_their_authority_does() {
    let (good, bad) = (ClientAuthority::new(), ClientAuthority::new());
    let mut place = Place::new();
    let file = place.write("clients.pem", &good.pem);
    place.config.tls.client_ca = Some(file.clone());
    let identity = place.prepare(now()).unwrap();
    let trust = identity.ca_pem().to_owned();
    let meet = |presented| meet_with(&identity, &trust, "localhost", presented);

    assert!(
        meet(Some(good.issue(now() + DAY)))
            .unwrap()
            .broker_saw_certificate
    );
    assert!(
        !meet(None).unwrap().broker_saw_certificate,
        "a token may still do"
    );
    meet(Some(bad.issue(now() + DAY))).unwrap_err();
    meet(Some(good.issue(now() - DAY))).unwrap_err();

    place.vfs.write_atomic(&file, bad.pem.as_bytes()).unwrap();
    identity.reload(&place.vfs, now()).unwrap();
    assert!(
        meet(Some(bad.issue(now() + DAY)))
            .unwrap()
            .broker_saw_certificate
    );
    meet(Some(good.issue(now() + DAY))).unwrap_err();

    place.vfs.write_atomic(&file, b"").unwrap();
    let error = place.prepare(now()).unwrap_err().to_string();
    assert!(
        error.contains("clients.pem contains no certificate"),
        "{error}"
    );
}

#[test]
fn without_a_client_authority_none_is_asked_for() {
    let place = Place::new();
    let identity = place.prepare(now()).unwrap();
    let presented = ClientAuthority::new().issue(now() + DAY);
    let trust = identity.ca_pem();
    let met = meet_with(&identity, trust, "localhost", Some(presented)).unwrap();
    assert!(!met.broker_saw_certificate);
}

#[test]
fn quic_takes_the_configuration() {
    let place = Place::new();
    let crypto = place.prepare(now()).unwrap().server_crypto();
    assert_eq!(crypto.max_early_data_size, 0, "no 0-RTT");
    quinn::crypto::rustls::QuicServerConfig::try_from(crypto).unwrap();
}
