//! Why a subscription does not begin, or ends.

use weir_wire::error::Fault;
use weir_wire::id::{Offset, PartitionId};
use weir_wire::name::{NameError, TopicName};

use crate::connection::ConnectError;

/// Why a subscription could not begin, or has ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// A name outside the grammar.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An option is outside its range.
    #[error("{option} must be {range}")]
    Option {
        /// Which one.
        option: &'static str,
        /// The range.
        range: String,
    },
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The broker said no, or ended the subscription.
    #[error(transparent)]
    Refused(Fault),
    /// The connection broke and could not be made again within the retry timeout.
    #[error("{reason}; subscribe again to go on")]
    Lost {
        /// How.
        reason: String,
    },
    /// The topic was deleted and created anew: its offsets count from the beginning.
    #[error("{topic} was deleted and created anew; subscribe again if the new one is meant")]
    TopicRecreated {
        /// The topic.
        topic: TopicName,
    },
    /// A batch that came is damaged.
    #[error("{topic} partition {partition} offset {offset}: {reason}; the batch is damaged")]
    Corrupt {
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// Where the damage begins.
        offset: Offset,
        /// What is wrong.
        reason: String,
    },
    /// The broker sent what it must not.
    #[error("{reason}; do client and broker have the same version?")]
    Protocol {
        /// In which way.
        reason: String,
    },
}

impl SubscribeError {
    /// Whether the same subscription may succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Connect(error) => error.is_retryable(),
            Self::Refused(fault) => fault.is_retryable(),
            Self::Lost { .. } => true,
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
