//! Making a connection: every address at once, the first that lets us in counts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{ClientConfig, ConnectionError, Endpoint, TokioRuntime};
use tokio::time::timeout;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::request::{Hello, Welcome};

use super::error::{ConnectError, StreamError, alert_of};
use super::link::{self, Link};
use super::tls::{Credentials, refused};
use super::transport;
use crate::address::BrokerAddress;

const PROTOCOL_VERSION: u32 = 1;
/// Addresses that are tried; a name that stands for more has a problem of its own.
const ADDRESSES_MAX: usize = 16;
const ALERT_NO_APPLICATION_PROTOCOL: u8 = 120;

/// All it takes to connect, again and again.
#[derive(Debug)]
pub(crate) struct Dialer {
    pub(crate) address: BrokerAddress,
    pub(crate) credentials: Credentials,
    pub(crate) connect_timeout: Duration,
    pub(crate) retry_timeout: Duration,
    pub(crate) name: String,
}

impl Dialer {
    /// Connects once.
    pub(crate) async fn dial(&self) -> Result<Link, ConnectError> {
        let addresses = timeout(self.connect_timeout, self.resolve())
            .await
            .map_err(|_| self.unresolved("it took too long"))??;
        let mut attempts: FuturesUnordered<_> = addresses
            .into_iter()
            .map(|address| self.attempt(address))
            .collect();
        let mut worst: Option<ConnectError> = None;
        while let Some(attempt) = attempts.next().await {
            match attempt {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::debug!(%error, "an address of the broker did not work");
                    if worst.as_ref().is_none_or(|w| w.weight() < error.weight()) {
                        worst = Some(error);
                    }
                }
            }
        }
        Err(worst.unwrap_or_else(|| self.unresolved("it stands for no address")))
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, ConnectError> {
        let found = tokio::net::lookup_host((self.address.host(), self.address.port())).await;
        let found = found.map_err(|error| self.unresolved(&error.to_string()))?;
        Ok(found.take(ADDRESSES_MAX).collect())
    }

    fn unresolved(&self, reason: &str) -> ConnectError {
        ConnectError::Resolve {
            host: self.address.host().to_owned(),
            reason: reason.to_owned(),
        }
    }

    async fn attempt(&self, address: SocketAddr) -> Result<Link, ConnectError> {
        let (tls, refusal) = self.credentials.client_config()?;
        let mut config = ClientConfig::new(Arc::new(tls));
        config.transport_config(transport::transport());
        let socket_error = |error: std::io::Error| ConnectError::Socket {
            reason: error.to_string(),
        };
        let socket = transport::socket(address).map_err(socket_error)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint =
            Endpoint::new(transport::endpoint(), None, socket, runtime).map_err(socket_error)?;
        let host = self.address.host();
        let connecting = endpoint
            .connect_with(config, address, host)
            .map_err(|error| ConnectError::Lost {
                address: self.address.to_string(),
                reason: error.to_string(),
            })?;
        let connect = async {
            match connecting.await {
                Ok(connection) => self.greet(endpoint, connection).await,
                Err(error) => {
                    let certificate = refusal.lock().ok().and_then(|mut refusal| refusal.take());
                    Err(match certificate {
                        Some(error) => refused(error, self.address.to_string(), host),
                        None => self.not_connected(&error),
                    })
                }
            }
        };
        timeout(self.connect_timeout, connect)
            .await
            .unwrap_or_else(|_| Err(self.no_answer()))
    }

    /// The first stream of a connection: who we are.
    async fn greet(
        &self,
        endpoint: Endpoint,
        connection: quinn::Connection,
    ) -> Result<Link, ConnectError> {
        let hello = Hello {
            version: PROTOCOL_VERSION,
            token: self.credentials.token().map(str::to_owned),
            client: self.name.clone(),
        };
        match link::request::<Hello, Welcome>(&connection, &hello, Bytes::new()).await {
            Ok(welcome) if welcome.version == PROTOCOL_VERSION => {
                Ok(Link::new(endpoint, connection, welcome))
            }
            Ok(welcome) => Err(ConnectError::Refused(Fault::new(
                ErrorCode::UnsupportedVersion,
                format!(
                    "the broker wants to speak protocol version {}, this client speaks \
                     {PROTOCOL_VERSION}; update the client",
                    welcome.version
                ),
            ))),
            Err(StreamError::Fault(fault)) => Err(fault.into()),
            Err(StreamError::Violation(reason)) => Err(ConnectError::NotWeir {
                address: self.address.to_string(),
                reason,
            }),
            Err(StreamError::Lost(reason)) => Err(match connection.close_reason() {
                Some(error) => self.not_connected(&error),
                None => ConnectError::Lost {
                    address: self.address.to_string(),
                    reason,
                },
            }),
        }
    }

    fn not_connected(&self, error: &ConnectionError) -> ConnectError {
        let address = self.address.to_string();
        match (error, alert_of(error)) {
            (ConnectionError::TimedOut, _) => self.no_answer(),
            (_, Some(ALERT_NO_APPLICATION_PROTOCOL)) | (ConnectionError::VersionMismatch, _) => {
                ConnectError::NotWeir {
                    address,
                    reason: "it does not speak weir/1".to_owned(),
                }
            }
            (ConnectionError::ConnectionClosed(_), Some(_)) => {
                ConnectError::NotAuthorised(Fault::new(
                    ErrorCode::NotAuthorised,
                    "the broker does not accept this client's certificate; use one that its \
                     client CA has signed",
                ))
            }
            _ => ConnectError::Lost {
                address,
                reason: error.to_string(),
            },
        }
    }

    fn no_answer(&self) -> ConnectError {
        ConnectError::NoAnswer {
            address: self.address.to_string(),
        }
    }
}
