//! QUIC's settings: the library's defaults but for what the design measured.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quinn::{EndpointConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};
use weir_wire::limits::{SUBSCRIPTION_STREAMS_MAX, SUBSCRIPTIONS_MAX};

/// The largest packet worth looking for: ten of them fit one segmented send of 64 KiB.
const UDP_PAYLOAD_MAX: u16 = 6500;
/// Bytes of one stream on their way to us.
const STREAM_WINDOW: u32 = 4 << 20;
/// Bytes of all streams on their way to the broker: several batches.
const SEND_WINDOW: u64 = 8 << 20;
/// The kernel's buffers, so that a short pause loses no packets.
const SOCKET_BUFFER: usize = 2 << 20;
/// Lanes that a broker may open: those of the subscriptions a connection may have.
const LANES_MAX: u32 = (SUBSCRIPTION_STREAMS_MAX * SUBSCRIPTIONS_MAX) as u32;
const KEEP_ALIVE: Duration = Duration::from_secs(3);
/// After that silence a connection counts as lost: three keep-alives were not answered.
const IDLE_TIMEOUT_MS: u32 = 10_000;

pub(super) fn transport() -> Arc<TransportConfig> {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(UDP_PAYLOAD_MAX);
    config
        .mtu_discovery_config(Some(discovery))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .send_window(SEND_WINDOW)
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(LANES_MAX))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))));
    Arc::new(config)
}

pub(super) fn endpoint() -> EndpointConfig {
    let mut config = EndpointConfig::default();
    config
        .max_udp_payload_size(UDP_PAYLOAD_MAX)
        .expect("the size is within what QUIC allows");
    config
}

/// An unbound-to-anyone socket of the family of `peer`.
pub(super) fn socket(peer: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let domain = socket2::Domain::for_address(any);
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    // The system may cap them; then they are as large as it allows.
    socket.set_send_buffer_size(SOCKET_BUFFER)?;
    socket.set_recv_buffer_size(SOCKET_BUFFER)?;
    socket.set_nonblocking(true)?;
    socket.bind(&any.into())?;
    Ok(socket.into())
}
