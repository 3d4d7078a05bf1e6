//! Why there is no connection, and why a stream of one ended.

use std::path::PathBuf;

use quinn::{ConnectionError, ReadError, TransportErrorCode, WriteError};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::{FrameError, Kind};
use weir_wire::message::MessageError;

use super::link::{CLOSE_LIMIT, CLOSE_NOT_AUTHORISED, CLOSE_SHUTTING_DOWN, CLOSE_VIOLATION};
use crate::address::AddressError;

/// Why a connection could not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address makes no sense.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The host name leads nowhere.
    #[error("the host name {host:?} cannot be resolved: {reason}; check its spelling")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Nothing answered in time.
    #[error("no broker answers at {address} (is it running? weir serve)")]
    NoAnswer {
        /// Where.
        address: String,
    },
    /// The broker's certificate is signed by a CA that this client does not trust.
    #[error(
        "the certificate of the broker at {address} is not signed by the CA given; \
         another broker's CA? give this broker's own"
    )]
    Untrusted {
        /// Where.
        address: String,
    },
    /// The broker's certificate is no longer, or not yet, valid.
    #[error(
        "the certificate of the broker at {address} is not valid today; renew it (a broker with \
         its own CA does when it starts), or set the clock"
    )]
    CertificateExpired {
        /// Where.
        address: String,
    },
    /// The broker's certificate is for other names.
    #[error(
        "the certificate of the broker at {address} is for other names; connect by one of them, \
         or start the broker with --name {host}"
    )]
    CertificateName {
        /// Where.
        address: String,
        /// The name that was asked for.
        host: String,
    },
    /// The broker's certificate is wrong in another way.
    #[error("the certificate of the broker at {address} is not acceptable: {reason}")]
    Certificate {
        /// Where.
        address: String,
        /// In which way.
        reason: String,
    },
    /// No CA to trust was given.
    #[error("no CA was given, so no broker can be trusted; give the broker's ca.pem")]
    NoCa,
    /// A file with a CA, token, certificate or key cannot be read.
    #[error("{} cannot be read: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A CA, token, certificate or key cannot be used.
    #[error("{what} cannot be used: {reason}")]
    Credentials {
        /// Which of them.
        what: &'static str,
        /// Why not.
        reason: String,
    },
    /// The broker did not accept token or certificate.
    #[error("not authorised: {0}")]
    NotAuthorised(Fault),
    /// The broker refused the client for another reason.
    #[error("the broker refused the connection: {0}")]
    Refused(Fault),
    /// What answers speaks another protocol.
    #[error("what answers at {address} is no Weir broker: {reason}")]
    NotWeir {
        /// Where.
        address: String,
        /// How it showed.
        reason: String,
    },
    /// The connection broke while it was being made.
    #[error("the connection to {address} broke: {reason}; try again")]
    Lost {
        /// Where.
        address: String,
        /// How.
        reason: String,
    },
    /// No UDP socket could be had.
    #[error("no UDP socket could be opened: {reason}")]
    Socket {
        /// What the system said.
        reason: String,
    },
}

impl ConnectError {
    /// Whether the same attempt may succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Resolve { .. }
            | Self::NoAnswer { .. }
            | Self::Lost { .. }
            | Self::Socket { .. } => true,
            Self::Refused(fault) => fault.is_retryable(),
            _ => false,
        }
    }

    /// What the broker said, where it was the broker.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::NotAuthorised(fault) | Self::Refused(fault) => Some(fault),
            _ => None,
        }
    }

    /// How much it tells: of several addresses' errors the one that tells most is shown.
    pub(super) const fn weight(&self) -> u8 {
        match self {
            Self::NoAnswer { .. } => 0,
            Self::Socket { .. } | Self::Lost { .. } => 1,
            Self::NotWeir { .. } => 2,
            _ => 3,
        }
    }
}

/// Why a stream ended, or did not carry what it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StreamError {
    /// The connection, or the stream, is gone; a new one may do better.
    #[error("the connection to the broker was lost: {0}")]
    Lost(String),
    /// The broker answered with an error.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The broker sent what it must not.
    #[error("the broker breaks the protocol: {0}")]
    Violation(String),
}

impl StreamError {
    pub(crate) fn unexpected(kind: Kind) -> Self {
        Self::Violation(format!("a frame of kind {} is out of place", kind as u8))
    }
}

impl From<FrameError> for StreamError {
    fn from(error: FrameError) -> Self {
        Self::Violation(error.to_string())
    }
}

impl From<MessageError> for StreamError {
    fn from(error: MessageError) -> Self {
        Self::Violation(error.to_string())
    }
}

impl From<ConnectionError> for StreamError {
    fn from(error: ConnectionError) -> Self {
        if let ConnectionError::ApplicationClosed(close) = &error {
            let said = String::from_utf8_lossy(&close.reason).into_owned();
            let fault = |code, otherwise: &str| {
                let message = if said.is_empty() { otherwise } else { &said };
                Self::Fault(Fault::new(code, message))
            };
            match close.error_code {
                CLOSE_NOT_AUTHORISED => {
                    return fault(
                        ErrorCode::NotAuthorised,
                        "the broker closed the connection: give a valid token or certificate",
                    );
                }
                CLOSE_VIOLATION => {
                    return fault(
                        ErrorCode::MalformedFrame,
                        "the broker closed the connection: it did not understand this client",
                    );
                }
                CLOSE_SHUTTING_DOWN => return Self::Lost("the broker is shutting down".to_owned()),
                CLOSE_LIMIT => return Self::Lost(format!("the broker is at a limit: {said}")),
                _ => {}
            }
        }
        Self::Lost(error.to_string())
    }
}

impl From<ReadError> for StreamError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::ConnectionLost(error) => error.into(),
            error => Self::Lost(error.to_string()),
        }
    }
}

impl From<WriteError> for StreamError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::ConnectionLost(error) => error.into(),
            error => Self::Lost(error.to_string()),
        }
    }
}

/// The TLS alert with which the broker ended the connection.
pub(super) fn alert_of(error: &ConnectionError) -> Option<u8> {
    let code = match error {
        ConnectionError::ConnectionClosed(close) => close.error_code,
        ConnectionError::TransportError(error) => error.code,
        _ => return None,
    };
    let range =
        u64::from(TransportErrorCode::crypto(0))..=u64::from(TransportErrorCode::crypto(255));
    let code = u64::from(code);
    range.contains(&code).then_some(code as u8)
}
