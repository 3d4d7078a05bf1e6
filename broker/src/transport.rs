//! QUIC as the broker sets it up: the settings, each with its measured reason.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::{NoInitialCipherSuite, QuicServerConfig};
use quinn::{Connection, Endpoint, IdleTimeout, MtuDiscoveryConfig, ServerConfig};
use quinn::{TransportConfig, VarInt};
use socket2::{Domain, Protocol, Socket, Type};
use weir_wire::limits::HELLO_FRAME_MAX;

use crate::config::LimitsSection;
use crate::reset::ResetSecret;

/// Ten segments of that size fit one send of 65,507 bytes; larger packets make discovery see
/// black holes.
const PACKET_MAX: u16 = 6500;
/// A batch of 1 MiB flows without waiting for the reader.
const STREAM_WINDOW: u32 = 4 << 20;
/// What one connection may have on its way to the broker.
const CONNECTION_WINDOW: u32 = 16 << 20;
const SEND_WINDOW: u64 = 8 << 20;
/// Larger ones lose packets: 1.4 % with windows of 16 MiB.
const SOCKET_BUFFER: usize = 2 << 20;
/// A lost connection is noticed within seconds, a silent one lives on.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
const KEEP_ALIVE: Duration = Duration::from_secs(3);

/// Why the broker cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address (--listen ADDR)")]
    Address {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// TLS without the cipher suite that QUIC starts with.
    #[error("cannot set up QUIC: {0}")]
    Crypto(#[from] NoInitialCipherSuite),
}

/// A socket with its address.
pub(crate) struct Bound {
    address: SocketAddr,
    socket: std::net::UdpSocket,
}

/// Takes the address.
pub(crate) fn bind(address: SocketAddr) -> Result<Bound, ListenError> {
    match socket(address) {
        Ok(socket) => Ok(Bound { address, socket }),
        Err(source) => Err(ListenError::Address { address, source }),
    }
}

/// Listens. Must be called on the runtime that is to drive the endpoint.
pub(crate) fn listen(
    Bound { address, socket }: Bound,
    tls: Arc<rustls::ServerConfig>,
    reset: &ResetSecret,
) -> Result<Endpoint, ListenError> {
    let crypto = QuicServerConfig::try_from(tls)?;
    let mut server = ServerConfig::with_crypto(Arc::new(crypto));
    server.transport_config(Arc::new(transport()));
    let mut endpoint = reset.endpoint();
    endpoint
        .max_udp_payload_size(PACKET_MAX)
        .expect("it is within QUIC's bounds");
    Endpoint::new(
        endpoint,
        Some(server),
        socket,
        Arc::new(quinn::TokioRuntime),
    )
    .map_err(|source| ListenError::Address { address, source })
}

/// The client has authenticated: it gets room to work.
pub(crate) fn open_up(connection: &Connection, limits: &LimitsSection) {
    connection.set_receive_window(VarInt::from_u32(CONNECTION_WINDOW));
    connection.set_max_concurrent_bi_streams(VarInt::from_u32(limits.streams_per_connection));
}

fn transport() -> TransportConfig {
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(PACKET_MAX);
    let mut transport = TransportConfig::default();
    transport
        .mtu_discovery_config(Some(discovery))
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(HELLO_FRAME_MAX as u32))
        // The protocol has no datagrams: a stranger's would be kept in memory, and never read.
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(
            IdleTimeout::try_from(IDLE_TIMEOUT).expect("ten seconds fit a timeout"),
        ));
    transport
}

fn socket(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    // The system may grant less; that costs speed, nothing else.
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}
