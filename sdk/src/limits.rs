//! The limit of QUIC on this machine: the library alone, with its defaults, one stream, 1 MiB
//! writes, loopback, encrypted. `weir bench` prints it beside its own figures.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Endpoint, ServerConfig, VarInt};
use rustls::pki_types::PrivatePkcs8KeyDer;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::connection::provider;

const WRITE: usize = 1 << 20;
/// Until congestion control and packet size have settled.
const WARM_UP: Duration = Duration::from_millis(300);
const NAME: &str = "localhost";

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// Bytes per second, in megabytes (10^6), over that time. Blocks the thread; client and server run
/// on threads of their own, each with a runtime of one thread.
pub fn quinn_mb_per_s(direction: Direction, time: Duration) -> io::Result<f64> {
    let (server_config, client_config) = configs().map_err(io::Error::other)?;
    let (bound, address) = oneshot::channel();
    // Held until the measurement is over: the client's farewell may get lost in the flood.
    let (measuring, over) = oneshot::channel::<()>();
    let server = thread::Builder::new()
        .name("quinn-baseline".to_owned())
        .spawn(move || {
            runtime()?.block_on(async {
                tokio::select! {
                    served = serve(server_config, direction, bound) => served,
                    _ = over => Ok(()),
                }
            })
        })?;
    // Not on this thread: it may be one of a runtime, and there nobody may block on another.
    let client = thread::Builder::new()
        .name("quinn-baseline-client".to_owned())
        .spawn(move || {
            runtime()?.block_on(async {
                let address = address
                    .await
                    .map_err(|_| io::Error::other("the baseline's server did not start"))?;
                measure(client_config, address, direction, time).await
            })
        })?;
    let measured = client
        .join()
        .map_err(|_| io::Error::other("the baseline's client panicked"))?;
    drop(measuring);
    let served = server
        .join()
        .map_err(|_| io::Error::other("the baseline's server panicked"))?;
    measured.and_then(|rate| served.map(|()| rate))
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

fn configs() -> Result<(ServerConfig, ClientConfig), Box<dyn std::error::Error + Send + Sync>> {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()])?;
    let certificate = made.cert.der().clone();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let versions = &[&rustls::version::TLS13];
    let server = rustls::ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.into())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(certificate)?;
    let client = rustls::ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok((
        ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(server)?)),
        ClientConfig::new(Arc::new(QuicClientConfig::try_from(client)?)),
    ))
}

async fn serve(
    config: ServerConfig,
    direction: Direction,
    bound: oneshot::Sender<SocketAddr>,
) -> io::Result<()> {
    let endpoint = Endpoint::server(config, (Ipv4Addr::LOCALHOST, 0).into())?;
    // Fails only if the client is gone already.
    let _ = bound.send(endpoint.local_addr()?);
    let incoming = endpoint.accept().await;
    let connection = incoming
        .ok_or_else(|| io::Error::other("the endpoint closed"))?
        .await?;
    let (mut send, mut receive) = connection.accept_bi().await?;
    match direction {
        // Both end when the client closes the connection.
        Direction::Up => {
            let mut chunks = vec![Bytes::new(); 64];
            while let Ok(Some(_)) = receive.read_chunks(&mut chunks).await {}
        }
        Direction::Down => {
            let block = Bytes::from(vec![0x57; WRITE]);
            while send.write_chunk(block.clone()).await.is_ok() {}
        }
    }
    Ok(())
}

async fn measure(
    config: ClientConfig,
    address: SocketAddr,
    direction: Direction,
    time: Duration,
) -> io::Result<f64> {
    let endpoint = Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
    let connecting = endpoint.connect_with(config, address, NAME);
    let connection = connecting.map_err(io::Error::other)?.await?;
    let (mut send, mut receive) = connection.open_bi().await?;
    send.write_all(&[0]).await?;
    let begin = Instant::now();
    let mut from = None;
    let mut bytes = 0_u64;
    let block = Bytes::from(vec![0x57; WRITE]);
    let mut chunks = vec![Bytes::new(); 64];
    let rate = loop {
        bytes += match direction {
            Direction::Up => {
                send.write_chunk(block.clone()).await?;
                WRITE as u64
            }
            Direction::Down => {
                let count = receive.read_chunks(&mut chunks).await?.unwrap_or(0);
                let taken = chunks.iter().take(count);
                taken.map(|chunk| chunk.len() as u64).sum()
            }
        };
        match from {
            None if begin.elapsed() >= WARM_UP => {
                from = Some(Instant::now());
                bytes = 0;
            }
            Some(from) if from.elapsed() >= time => {
                break bytes as f64 / 1e6 / from.elapsed().as_secs_f64();
            }
            _ => {}
        }
    };
    connection.close(VarInt::from_u32(0), b"done");
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Direction, quinn_mb_per_s};

    #[test]
    fn bytes_flow_both_ways() {
        for direction in [Direction::Up, Direction::Down] {
            let rate = quinn_mb_per_s(direction, Duration::from_millis(100)).unwrap();
            assert!(rate > 1.0, "{direction:?}: {rate} MB/s");
        }
    }
}
