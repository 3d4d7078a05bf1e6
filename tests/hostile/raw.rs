//! A client that speaks the protocol by hand, and need not speak it well.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use quinn::{TransportConfig, VarInt};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use weir_broker::testing::TestBroker;
use weir_wire::error::ErrorCode;
use weir_wire::frame::{Assembler, Frame, FrameMessage, Kind};
use weir_wire::request::{Error, Hello, Status, Welcome};

use crate::stage::soon;

pub const ALPN: &[u8] = b"weir/1";

/// A connection, and the socket it runs on.
pub struct Raw {
    pub connection: Connection,
    _endpoint: Endpoint,
}

/// One stream in both directions.
pub struct Talk {
    pub send: SendStream,
    pub receive: RecvStream,
    ear: Ear,
}

/// Puts together what comes on a stream.
pub struct Ear {
    assembler: Assembler<Vec<u8>>,
    chunk: Bytes,
}

/// Trusts the CA in that file, and wants to speak `alpn`.
pub fn tls(ca_pem: &[u8], alpn: &[u8]) -> rustls::ClientConfig {
    let mut roots = RootCertStore::empty();
    for ca in CertificateDer::pem_slice_iter(ca_pem) {
        roots.add(ca.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

pub fn quic(tls: rustls::ClientConfig) -> ClientConfig {
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

fn trusting(broker: &TestBroker) -> ClientConfig {
    quic(tls(&std::fs::read(broker.ca_file()).unwrap(), ALPN))
}

pub async fn dial(config: ClientConfig, broker: &TestBroker) -> Result<Raw, ConnectionError> {
    let endpoint = Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = broker.broker().address();
    let connecting = endpoint.connect_with(config, address, "127.0.0.1").unwrap();
    let connection = soon("a handshake", connecting).await?;
    Ok(Raw {
        connection,
        _endpoint: endpoint,
    })
}

impl Raw {
    /// Connected, and has said nothing yet.
    pub async fn stranger(broker: &TestBroker) -> Self {
        dial(trusting(broker), broker).await.unwrap()
    }

    /// Let in.
    pub async fn client(broker: &TestBroker) -> Self {
        Self::client_with(broker, TransportConfig::default()).await
    }

    /// Let in, with transport settings of its own.
    pub async fn client_with(broker: &TestBroker, transport: TransportConfig) -> Self {
        let mut config = trusting(broker);
        config.transport_config(Arc::new(transport));
        let raw = dial(config, broker).await.unwrap();
        let mut talk = raw.talk().await;
        talk.say(&hello(broker)).await;
        talk.finish();
        let _: Welcome = talk.reply().await;
        raw
    }

    pub async fn talk(&self) -> Talk {
        let opened = soon("a stream", self.connection.open_bi()).await;
        let (send, receive) = opened.unwrap();
        Talk {
            send,
            receive,
            ear: Ear::new(),
        }
    }

    /// Sends these bytes on a stream of their own, and that is all; the broker's answer.
    pub async fn ask(&self, bytes: &[u8]) -> Result<Frame<Vec<u8>>, Error> {
        let mut talk = self.talk().await;
        talk.say(bytes).await;
        talk.finish();
        talk.answer().await
    }

    /// The code of the error that these bytes get, on a connection that is none the worse for it.
    pub async fn refusal(&self, bytes: &[u8]) -> Error {
        let answer = self.ask(bytes).await;
        let error = answer.map(|frame| frame.kind).unwrap_err();
        self.is_alive().await;
        error
    }

    pub async fn is_alive(&self) {
        let reply = self.ask(&Status {}.to_frame(0)).await.unwrap();
        assert_eq!(reply.kind, Kind::BrokerStatus);
    }

    /// The code with which the broker closes the connection, and its reason.
    pub async fn closed(&self) -> (u64, String) {
        match soon("the connection's end", self.connection.closed()).await {
            ConnectionError::ApplicationClosed(close) => {
                let reason = String::from_utf8_lossy(&close.reason).into_owned();
                (close.error_code.into_inner(), reason)
            }
            other => panic!("the connection did not end by the broker's will: {other:?}"),
        }
    }
}

impl Talk {
    /// Writes as much as the broker takes; one that does not listen any more is no surprise.
    pub async fn say(&mut self, bytes: &[u8]) {
        let _ = soon("flow control", self.send.write_all(bytes)).await;
    }

    pub fn finish(&mut self) {
        let _ = self.send.finish();
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn hear(&mut self) -> Option<Frame<Vec<u8>>> {
        self.ear.hear(&mut self.receive).await
    }

    pub async fn answer(&mut self) -> Result<Frame<Vec<u8>>, Error> {
        match self.hear().await {
            Some(frame) if frame.kind == Kind::Error => Err(frame.message().unwrap()),
            Some(frame) => Ok(frame),
            None => panic!("the stream ended without an answer"),
        }
    }

    pub async fn reply<M: FrameMessage>(&mut self) -> M {
        let frame = self.answer().await.unwrap();
        assert_eq!(frame.kind, M::KIND);
        frame.message().unwrap()
    }

    /// The error with which the broker ends the stream.
    pub async fn last_words(&mut self) -> Error {
        let error = self.answer().await.map(|frame| frame.kind).unwrap_err();
        let more = self.hear().await.map(|frame| frame.kind);
        assert_eq!(more, None, "nothing follows an error");
        error
    }

    pub async fn stop(&mut self) {
        let _ = self.receive.stop(VarInt::from_u32(7));
    }
}

impl Ear {
    pub fn new() -> Self {
        Self {
            assembler: Assembler::default(),
            chunk: Bytes::new(),
        }
    }

    pub async fn hear(&mut self, stream: &mut RecvStream) -> Option<Frame<Vec<u8>>> {
        loop {
            if !self.chunk.is_empty()
                && let Some(frame) = self.assembler.feed(&mut self.chunk).unwrap()
            {
                return Some(frame);
            }
            if self.chunk.is_empty() {
                match soon("an answer", stream.read_chunk(1 << 20, true)).await {
                    Ok(Some(chunk)) => self.chunk = chunk.bytes,
                    Ok(None) => {
                        assert!(!self.assembler.is_midway(), "the broker cut a frame off");
                        return None;
                    }
                    Err(_) => return None,
                }
            }
        }
    }
}

pub fn hello(broker: &TestBroker) -> Vec<u8> {
    hello_of(1, Some(broker.token()))
}

pub fn hello_of(version: u32, token: Option<&str>) -> Vec<u8> {
    let hello = Hello {
        version,
        token: token.map(str::to_owned),
        client: "hostile".to_owned(),
    };
    hello.to_frame(0)
}

/// A frame of any kind whatever, with lengths that are true.
pub fn frame(kind: u8, version: u8, header: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut bytes = prefix(
        8 + header.len() + payload.len(),
        kind,
        version,
        header.len(),
    );
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(payload);
    bytes
}

/// The first twelve bytes of a frame, with lengths that need not be true.
pub fn prefix(length: usize, kind: u8, version: u8, header_len: usize) -> Vec<u8> {
    let mut bytes = (length as u32).to_be_bytes().to_vec();
    bytes.extend_from_slice(&[kind, version, 0, 0]);
    bytes.extend_from_slice(&(header_len as u32).to_be_bytes());
    bytes
}

/// A message as a frame with that payload.
pub fn with_payload(message: &impl FrameMessage, payload: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_frame(payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// What a table of attacks got, in the words of the protocol.
pub fn word(error: &Error) -> &'static str {
    ErrorCode::word(error.code)
}
