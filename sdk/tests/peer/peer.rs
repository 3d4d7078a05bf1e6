//! A broker of paper: real QUIC, real TLS, and answers that a test writes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, RecvStream, SendStream, ServerConfig, VarInt};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use weir_sdk::wire::error::{ErrorCode, Fault};
use weir_sdk::wire::frame::{Assembler, Frame, FrameMessage};
use weir_sdk::wire::id::{
    Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, SubscriptionId, TopicId,
};
use weir_sdk::wire::produce::{
    Destination, OpenProducer, Outcome, Produce, Produced, ProducerOpened, ProducerSession,
};
use weir_sdk::wire::request::{self, Hello, Welcome};
use weir_sdk::wire::subscribe::LaneOpened;
use weir_sdk::{Client, ClientBuilder};

/// Far more than anything here takes, far less than for ever.
const PATIENCE: Duration = Duration::from_secs(60);

pub const TOKEN: &str = "open sesame";
pub const TOPIC: &str = "orders";

/// Waits for what must come.
pub async fn soon<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    let came = tokio::time::timeout(PATIENCE, future).await;
    came.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// How the peer's certificate is made.
pub struct Identity {
    pub names: Vec<String>,
    pub expired: bool,
    pub alpn: &'static [u8],
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            names: vec!["127.0.0.1".to_owned()],
            expired: false,
            alpn: b"weir/1",
        }
    }
}

pub struct Peer {
    endpoint: Endpoint,
    connections: Mutex<Vec<Connection>>,
    pub address: SocketAddr,
    pub ca: String,
}

pub struct Stream {
    pub send: SendStream,
    receive: RecvStream,
    assembler: Assembler<Vec<u8>>,
    rest: Bytes,
}

impl Peer {
    pub fn start() -> Self {
        Self::start_as(Identity::default())
    }

    pub fn start_as(identity: Identity) -> Self {
        let (ca, chain, key) = certificates(&identity);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![identity.alpn.to_vec()];
        let tls = QuicServerConfig::try_from(tls).unwrap();
        let config = ServerConfig::with_crypto(Arc::new(tls));
        let endpoint = Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap();
        Self {
            address: endpoint.local_addr().unwrap(),
            endpoint,
            connections: Mutex::default(),
            ca,
        }
    }

    /// A client that knows this peer's CA and token.
    pub fn client(&self) -> ClientBuilder {
        Client::builder(format!("weir://{}", self.address))
            .ca_pem(self.ca.as_str())
            .token(TOKEN)
            .connect_timeout(Duration::from_secs(10))
    }

    /// A connection behind a hello that is answered kindly.
    pub async fn welcome(&self) -> Connection {
        let (connection, mut stream, hello) = self.hello().await;
        assert_eq!(hello.token.as_deref(), Some(TOKEN));
        let welcome = Welcome {
            version: 1,
            broker: "paper 1".to_owned(),
            node_id: 42,
        };
        stream.reply(&welcome).await;
        let _ = stream.send.finish();
        connection
    }

    /// A connection and its hello.
    pub async fn hello(&self) -> (Connection, Stream, Hello) {
        let incoming = soon("a connection", self.endpoint.accept()).await.unwrap();
        let connection = soon("the handshake's end", incoming).await.unwrap();
        self.connections.lock().unwrap().push(connection.clone());
        let mut stream = accept(&connection).await;
        let hello = stream.take().await;
        (connection, stream, hello)
    }

    /// Lets a handshake fail or succeed, whatever comes of it.
    pub async fn shake_hands(&self) {
        let incoming = soon("a connection", self.endpoint.accept()).await.unwrap();
        if let Ok(connection) = soon("the handshake's end", incoming).await {
            soon("the connection's end", connection.closed()).await;
        }
    }

    /// Shuts down and comes back: every connection is lost, the address stays.
    pub fn restart(&self) {
        for connection in self.connections.lock().unwrap().drain(..) {
            connection.close(VarInt::from_u32(3), b"shutting down");
        }
    }
}

fn certificates(
    identity: &Identity,
) -> (String, Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let ca_key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_cert = ca.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(ca, ca_key);
    let key = KeyPair::generate().unwrap();
    let mut leaf = CertificateParams::new(identity.names.clone()).unwrap();
    if identity.expired {
        leaf.not_before = rcgen::date_time_ymd(2001, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2002, 1, 1);
    }
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    let key = PrivatePkcs8KeyDer::from(key.serialize_der());
    (ca_cert.pem(), vec![leaf.der().clone()], key.into())
}

/// The client's next stream.
pub async fn accept(connection: &Connection) -> Stream {
    let (send, receive) = soon("a stream", connection.accept_bi()).await.unwrap();
    Stream {
        send,
        receive,
        assembler: Assembler::default(),
        rest: Bytes::new(),
    }
}

impl Stream {
    /// The next frame; `None` when the client is done.
    pub async fn frame(&mut self) -> Option<Frame<Vec<u8>>> {
        loop {
            if !self.rest.is_empty()
                && let Some(frame) = self.assembler.feed(&mut self.rest).unwrap()
            {
                return Some(frame);
            }
            let chunk = soon("a frame", self.receive.read_chunk(1 << 20, true)).await;
            self.rest = chunk.ok()??.bytes;
        }
    }

    pub async fn take<M: FrameMessage>(&mut self) -> M {
        let frame = self.frame().await.expect("a frame was to come");
        assert_eq!(frame.kind, M::KIND);
        frame.message().unwrap()
    }

    pub async fn reply<M: FrameMessage>(&mut self, message: &M) {
        self.send.write_all(&message.to_frame(0)).await.unwrap();
    }

    pub async fn fail(&mut self, code: ErrorCode, message: &str) {
        let error = request::Error::from(&Fault::new(code, message));
        self.reply(&error).await;
        let _ = self.send.finish();
    }

    /// A request of a producer: what it says, and its batch.
    pub async fn produce(&mut self) -> (Produce, Vec<u8>) {
        let frame = self.frame().await.expect("a request was to come");
        (frame.message().unwrap(), frame.payload)
    }

    /// Answers a request: all its records are stored from `offset` on.
    pub async fn stored(&mut self, sequence: Sequence, offset: u64, count: u32) {
        let outcome = Outcome::stored(destination(offset), count);
        self.outcome(sequence, outcome).await;
    }

    pub async fn outcome(&mut self, sequence: Sequence, outcome: Outcome) {
        self.reply(&Produced {
            sequence,
            outcome: Some(outcome),
            error: None,
            throttle_ms: 0,
        })
        .await;
    }

    pub async fn refused(&mut self, sequence: Sequence, code: ErrorCode) {
        let fault = Fault::new(code, format!("refused: {code}"));
        self.reply(&Produced {
            sequence,
            outcome: None,
            error: Some((&fault).into()),
            throttle_ms: 0,
        })
        .await;
    }
}

pub fn destination(offset: u64) -> Destination {
    Destination {
        topic: TopicId::new(7),
        name: TOPIC.parse().unwrap(),
        partition: PartitionId::new(0),
        base_offset: Offset::new(offset),
    }
}

pub fn session(id: u64) -> ProducerSession {
    ProducerSession {
        id: ProducerId::new(id),
        epoch: ProducerEpoch::new(0),
    }
}

pub fn opened(id: u64, next_sequence: u64) -> ProducerOpened {
    ProducerOpened {
        session: session(id),
        next_sequence: Sequence::new(next_sequence),
        topic: TopicId::new(7),
        partitions: 1,
        placement_by_plugin: false,
        request_bytes_max: 0,
    }
}

/// Takes a producer's stream in, on a connection that is made for it.
pub async fn open_producer(connection: &Connection, id: u64) -> Stream {
    let mut stream = accept(connection).await;
    let open: OpenProducer = stream.take().await;
    assert_eq!(open.topic.to_string(), TOPIC);
    assert_eq!(open.session, None);
    stream.reply(&opened(id, 0)).await;
    stream
}

/// Takes in a producer that comes back.
pub async fn reopen_producer(connection: &Connection, id: u64, next_sequence: u64) -> Stream {
    let mut stream = accept(connection).await;
    let open: OpenProducer = stream.take().await;
    assert_eq!(open.session, Some(session(id)), "it asks for its session");
    stream.reply(&opened(id, next_sequence)).await;
    stream
}

/// Opens a lane of a subscription.
pub async fn open_lane(connection: &Connection, id: u64) -> SendStream {
    let mut lane = connection.open_uni().await.unwrap();
    let opened = LaneOpened {
        subscription: SubscriptionId::new(id),
    };
    lane.write_all(&opened.to_frame(0)).await.unwrap();
    lane
}

/// The values of a batch's records.
pub fn values(batch: &[u8]) -> Vec<String> {
    let verified = weir_sdk::wire::batch::verify(batch).unwrap();
    let count = verified.header.count;
    weir_sdk::wire::batch::Records::new(&verified.records, count)
        .map(|record| String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap())
        .collect()
}
