//! Who is who: tokens, certificates of both sides, protocols that are not ours. Nobody comes in
//! by mistake, and everybody is told why not.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use quinn::ConnectionError;
use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use weir_broker::testing::TestBroker;
use weir_broker::tls::TlsError;
use weir_broker::{StartError, StartOptions};
use weir_sdk::{Client, ClientBuilder, ConnectError};
use weir_wire::error::ErrorCode;

use crate::raw::{ALPN, Raw, dial, hello_of, quic, tls, word};
use crate::stage::{PATIENCE, Stage, soon};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The number of QUIC's first crypto error; the TLS alert is added to it (RFC 9001, 4.8).
const CRYPTO: u64 = 0x100;
const NO_APPLICATION_PROTOCOL: u64 = 120;

/// An authority of a test's own.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, as PEM.
struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { issuer, pem }
    }

    fn pair(&self, name: &str, usage: ExtendedKeyUsagePurpose, until: SystemTime) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = (SystemTime::now() - 30 * DAY).into();
        params.not_after = until.into();
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        let key = key.serialize_pem();
        Pair { certificate, key }
    }

    fn server(&self, name: &str, until: SystemTime) -> Pair {
        self.pair(name, ExtendedKeyUsagePurpose::ServerAuth, until)
    }

    fn client(&self, until: SystemTime) -> Pair {
        self.pair("someone", ExtendedKeyUsagePurpose::ClientAuth, until)
    }
}

/// A broker with a certificate that was given to it.
async fn broker_with(pair: &Pair) -> Result<(TestBroker, TempDir), StartError> {
    let directory = tempfile::tempdir().unwrap();
    let (cert, key) = (
        directory.path().join("cert.pem"),
        directory.path().join("key.pem"),
    );
    std::fs::write(&cert, &pair.certificate).unwrap();
    std::fs::write(&key, &pair.key).unwrap();
    let configure = |config: &mut weir_broker::config::Config| {
        config.log.wal_file_bytes = weir_broker::config::ByteSize::mib(16);
        (config.tls.cert, config.tls.key) = (Some(cert), Some(key));
    };
    let broker = TestBroker::start_with(configure, StartOptions::default()).await?;
    Ok((broker, directory))
}

fn builder(broker: &TestBroker) -> ClientBuilder {
    Client::builder(broker.address())
        .ca_file(broker.ca_file())
        .connect_timeout(PATIENCE)
}

async fn refused(builder: ClientBuilder) -> ConnectError {
    soon("a refusal", builder.connect())
        .await
        .map(drop)
        .unwrap_err()
}

async fn let_in(builder: ClientBuilder) {
    let client = soon("a connection", builder.connect()).await.unwrap();
    client.admin().status().await.unwrap();
    client.close().await;
}

fn code(error: &ConnectError) -> ErrorCode {
    match error {
        ConnectError::NotAuthorised(fault) | ConnectError::Refused(fault) => fault.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tokens_that_are_not_the_token() {
    let mut stage = Stage::start().await;
    let token = stage.broker.token().to_owned();
    let error = refused(builder(&stage.broker)).await;
    assert_eq!(code(&error), ErrorCode::NotAuthorised);
    assert!(error.to_string().contains("no token"), "{error}");
    let mut flipped = token.clone().into_bytes();
    flipped[0] = if flipped[0] == b'A' { b'B' } else { b'A' };
    let flipped = String::from_utf8(flipped).unwrap();
    for wrong in [
        "",
        "x",
        &token[..token.len() - 1],
        &format!("{token}x"),
        &token.to_lowercase(),
        &flipped,
        &"x".repeat(10_000),
    ] {
        let error = refused(builder(&stage.broker).token(wrong)).await;
        assert_eq!(code(&error), ErrorCode::NotAuthorised, "{wrong:?}");
        assert!(
            !error.is_retryable() && !error.to_string().contains(&token),
            "{error}"
        );
        // And by hand: the code of the frame, the code of the close.
        let raw = Raw::stranger(&stage.broker).await;
        let answer = raw
            .ask(&hello_of(1, Some(wrong)))
            .await
            .map(|frame| frame.kind);
        assert_eq!(
            answer.map_err(|error| word(&error)),
            Err("not-authorised"),
            "{wrong:?}"
        );
        assert_eq!(raw.closed().await.0, 1);
    }
    let_in(builder(&stage.broker).token(token)).await;
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn another_brokers_authority_is_not_trusted() {
    let stage = Stage::start().await;
    let other = TestBroker::start().await.unwrap();
    let elsewhere = Client::builder(stage.broker.address())
        .ca_file(other.ca_file())
        .token(stage.broker.token())
        .connect_timeout(PATIENCE);
    let error = refused(elsewhere).await;
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
    assert!(!error.is_retryable());
    // Nor is this broker's token worth anything at that one.
    let error = refused(builder(&other).token(stage.broker.token())).await;
    assert_eq!(code(&error), ErrorCode::NotAuthorised);
    stage.end().await;
    other.shutdown().await;
}

#[tokio::test]
async fn a_certificate_that_expires_is_refused_from_then_on() {
    let authority = Authority::new();
    let expired = authority.server("127.0.0.1", SystemTime::now() - DAY);
    let error = broker_with(&expired).await.map(drop).unwrap_err();
    assert!(
        matches!(error, StartError::Tls(TlsError::Validity { .. })),
        "{error:?}"
    );

    // Valid when the broker starts, and soon no more.
    let soon_over = authority.server("127.0.0.1", SystemTime::now() + Duration::from_secs(10));
    let (broker, _files) = broker_with(&soon_over).await.unwrap();
    let client = || {
        Client::builder(broker.address())
            .ca_pem(authority.pem.clone())
            .token(broker.token())
            .connect_timeout(PATIENCE)
    };
    let inside = soon("a connection", client().connect()).await.unwrap();
    let over = async {
        loop {
            match client().connect().await {
                Ok(client) => client.close().await,
                Err(error) => return error,
            }
        }
    };
    let error = soon("the end of the certificate", over).await;
    assert!(
        matches!(error, ConnectError::CertificateExpired { .. }),
        "{error:?}"
    );
    assert!(!error.is_retryable());
    // Whoever is in stays in.
    inside.admin().status().await.unwrap();
    broker.shutdown().await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    let pair = authority.server("elsewhere.example", SystemTime::now() + DAY);
    let (broker, _files) = broker_with(&pair).await.unwrap();
    let client = Client::builder(broker.address())
        .ca_pem(authority.pem.clone())
        .token(broker.token())
        .connect_timeout(PATIENCE);
    let error = refused(client).await;
    assert!(
        matches!(error, ConnectError::CertificateName { .. }),
        "{error:?}"
    );
    broker.shutdown().await;
}

#[tokio::test]
async fn client_certificates_count_if_their_authority_does() {
    let (authority, other) = (Authority::new(), Authority::new());
    let directory = tempfile::tempdir().unwrap();
    let client_ca: PathBuf = directory.path().join("clients.pem");
    std::fs::write(&client_ca, &authority.pem).unwrap();
    let mut stage = Stage::start_with(|config| config.tls.client_ca = Some(client_ca)).await;
    let tomorrow = SystemTime::now() + DAY;
    let with = |pair: &Pair| {
        builder(&stage.broker).client_certificate(pair.certificate.clone(), pair.key.clone())
    };
    let token = stage.broker.token().to_owned();

    let good = authority.client(tomorrow);
    let_in(with(&good)).await;
    let_in(with(&good).token(token.clone())).await;
    let_in(builder(&stage.broker).token(token.clone())).await;
    assert_eq!(
        code(&refused(with(&good).token("wrong")).await),
        ErrorCode::NotAuthorised
    );
    assert_eq!(
        code(&refused(builder(&stage.broker)).await),
        ErrorCode::NotAuthorised
    );

    for (what, bad) in [
        ("another authority's", other.client(tomorrow)),
        ("expired", authority.client(SystemTime::now() - DAY)),
        ("a server's", authority.server("someone", tomorrow)),
    ] {
        let error = refused(with(&bad)).await;
        assert_eq!(code(&error), ErrorCode::NotAuthorised, "{what}: {error:?}");
        // Not even beside a good token: whoever shows one believes that it matters.
        let error = refused(with(&bad).token(token.clone())).await;
        assert_eq!(code(&error), ErrorCode::NotAuthorised, "{what}: {error:?}");
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn other_protocols_end_in_the_handshake() {
    let mut stage = Stage::start().await;
    let ca = std::fs::read(stage.broker.ca_file()).unwrap();
    for alpn in [&b"h3"[..], b"weir/2", b"weir", b"WEIR/1"] {
        let error = dial(quic(tls(&ca, alpn)), &stage.broker)
            .await
            .map(drop)
            .unwrap_err();
        let ConnectionError::ConnectionClosed(close) = error else {
            panic!("{error:?}");
        };
        assert_eq!(
            u64::from(close.error_code),
            CRYPTO + NO_APPLICATION_PROTOCOL
        );
    }
    let mut silent = tls(&ca, ALPN);
    silent.alpn_protocols.clear();
    assert!(
        dial(quic(silent), &stage.broker).await.is_err(),
        "no protocol at all"
    );
    // What is no QUIC at all does not even get an answer.
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for packet in [
        &b"\0"[..],
        b"hello?",
        &[0xff; 1200],
        &[0xc0; 1200],
        &[0x40; 3000],
    ] {
        socket
            .send_to(packet, stage.broker.broker().address())
            .await
            .unwrap();
    }
    stage.is_unharmed().await;
    stage.end().await;
}
