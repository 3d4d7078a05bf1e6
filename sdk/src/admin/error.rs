//! Why a management request failed.

use weir_wire::error::Fault;
use weir_wire::name::NameError;

use crate::connection::ConnectError;

/// Why a management request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// A name outside the grammar; nothing was sent.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A component larger than any broker takes; nothing was sent.
    #[error("the component has {bytes} bytes; at most {max} are allowed: strip its debug data")]
    ComponentTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// There is no connection; nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker said no.
    #[error(transparent)]
    Refused(Fault),
    /// The connection broke before the reply; a change may have happened.
    #[error("{reason}; look whether the change happened before you try again")]
    Lost {
        /// How.
        reason: String,
    },
    /// No reply within the retry timeout; a change may still happen.
    #[error("the broker did not reply within {seconds} s; look at its log (weir status)")]
    TimedOut {
        /// The timeout.
        seconds: u64,
    },
    /// The broker's reply cannot be understood.
    #[error("{reason}; do client and broker have the same version?")]
    Protocol {
        /// In which way.
        reason: String,
    },
}

impl AdminError {
    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::Refused(fault) => fault.is_retryable(),
            Self::Lost { .. } | Self::TimedOut { .. } => true,
            _ => false,
        }
    }

    /// What the broker said, where it was the broker.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Refused(fault) => Some(fault),
            Self::Connect(error) => error.fault(),
            _ => None,
        }
    }
}
