//! Connecting: who is let in, and what it is called when nobody is.

use std::time::Duration;

use weir_sdk::wire::error::ErrorCode;
use weir_sdk::{Client, ConnectError};

use crate::peer::{Identity, Peer, soon};

async fn refusal(peer: &Peer) -> ConnectError {
    let (client, ()) = tokio::join!(peer.client().connect(), peer.shake_hands());
    client.expect_err("nobody may be let in here")
}

#[tokio::test]
async fn a_client_says_who_it_is_and_learns_who_answers() {
    let peer = Peer::start();
    let (client, _connection) = tokio::join!(
        peer.client().client_name("test 1").connect(),
        peer.welcome()
    );
    let broker = client.unwrap().broker().await.unwrap();
    assert_eq!(broker.version, "paper 1");
    assert_eq!(broker.node_id, 42);
}

#[tokio::test]
async fn a_wrong_token_is_not_authorised() {
    let peer = Peer::start();
    let refuse = async {
        let (connection, mut stream, hello) = peer.hello().await;
        assert_eq!(hello.client, "test 1");
        stream
            .fail(ErrorCode::NotAuthorised, "the token is wrong")
            .await;
        soon("the connection's end", connection.closed()).await;
    };
    let connect = peer.client().client_name("test 1").connect();
    let (client, ()) = tokio::join!(connect, refuse);
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::NotAuthorised(_)), "{error:?}");
    assert_eq!(error.to_string(), "not authorised: the token is wrong");
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn a_connection_closed_as_not_authorised_says_so() {
    let peer = Peer::start();
    let refuse = async {
        let (connection, _stream, _) = peer.hello().await;
        connection.close(1_u32.into(), b"no token, no entry");
    };
    let (client, ()) = tokio::join!(peer.client().connect(), refuse);
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::NotAuthorised(_)), "{error:?}");
    assert!(error.to_string().contains("no token, no entry"), "{error}");
}

#[tokio::test]
async fn another_brokers_ca_is_told_apart() {
    let (peer, other) = (Peer::start(), Peer::start());
    let connect = peer.client().ca_pem(other.ca.as_str()).connect();
    let (client, ()) = tokio::join!(connect, peer.shake_hands());
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::Untrusted { .. }), "{error:?}");
    assert!(
        error.to_string().contains("another broker's CA?"),
        "{error}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_told_apart() {
    let error = refusal(&Peer::start_as(Identity {
        expired: true,
        ..Identity::default()
    }))
    .await;
    assert!(
        matches!(error, ConnectError::CertificateExpired { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_certificate_for_other_names_is_told_apart() {
    let error = refusal(&Peer::start_as(Identity {
        names: vec!["broker.example".to_owned()],
        ..Identity::default()
    }))
    .await;
    assert!(
        matches!(error, ConnectError::CertificateName { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn another_protocol_is_no_weir_broker() {
    let error = refusal(&Peer::start_as(Identity {
        alpn: b"h3",
        ..Identity::default()
    }))
    .await;
    assert!(matches!(error, ConnectError::NotWeir { .. }), "{error:?}");
}

#[tokio::test]
async fn a_dead_port_is_noticed_in_time() {
    // Bound, so that nobody else answers there, and never read.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let error = Client::builder(format!("weir://{address}"))
        .ca_pem(Peer::start().ca)
        .connect_timeout(Duration::from_millis(50))
        .connect()
        .await
        .unwrap_err();
    let expected = format!("no broker answers at {address} (is it running? weir serve)");
    assert_eq!(error.to_string(), expected);
    assert!(error.is_retryable());
}

#[tokio::test]
async fn without_a_ca_nobody_is_trusted() {
    let error = Client::builder("weir://127.0.0.1:1").connect().await;
    assert_eq!(error.unwrap_err(), ConnectError::NoCa);
    let error = Client::builder("weir://127.0.0.1:1")
        .ca_pem("no PEM at all")
        .connect()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::Credentials { .. }),
        "{error:?}"
    );
    let error = Client::builder("weir://127.0.0.1:1")
        .ca_file("/nowhere/ca.pem")
        .connect()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("/nowhere/ca.pem cannot be read"),
        "{error}"
    );
}
