//! Why a producer does not open, a record does not go out, or has no outcome.

use weir_wire::error::Fault;
use weir_wire::id::PartitionId;
use weir_wire::name::{NameError, TopicName};

use crate::connection::ConnectError;

/// Why a producer could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenProducerError {
    /// The topic's name is outside the grammar.
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
    /// The broker said no.
    #[error(transparent)]
    Refused(Fault),
    /// A partition was named, but a plugin places this topic's records.
    #[error("a plugin places the records of {topic}; leave the partition out")]
    PlacementByPlugin {
        /// The topic.
        topic: TopicName,
    },
    /// The topic has no such partition.
    #[error("topic \"{topic}\" has no partition {partition}; it has {partitions}, numbered from 0")]
    UnknownPartition {
        /// The topic.
        topic: TopicName,
        /// The partition that was named.
        partition: PartitionId,
        /// How many there are.
        partitions: u32,
    },
    /// The connection broke meanwhile.
    #[error("{reason}; try again")]
    Lost {
        /// How.
        reason: String,
    },
    /// The broker's reply cannot be understood.
    #[error("{reason}; do client and broker have the same version?")]
    Protocol {
        /// In which way.
        reason: String,
    },
}

impl OpenProducerError {
    /// Whether the same attempt may succeed later, unchanged.
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

/// Why a producer has ended for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndReason {
    /// It was closed.
    #[error("the producer was closed")]
    Closed,
    /// It was dropped without being closed.
    #[error("the producer was dropped; close() it to wait for what it still holds")]
    Dropped,
    /// The topic was deleted and created anew: these records were meant for another one.
    #[error("the topic was deleted and created anew; open a new producer if that is meant")]
    TopicRecreated,
    /// The broker refuses this producer.
    #[error(transparent)]
    Refused(Fault),
    /// There is no way back to the broker.
    #[error(transparent)]
    Connect(ConnectError),
    /// The broker sent what it must not.
    #[error("{reason}; do client and broker have the same version?")]
    Protocol {
        /// In which way.
        reason: String,
    },
}

impl EndReason {
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

/// Why a record was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The byte budget is used up (only `try_send`).
    #[error("{bytes} bytes are on their way, as many as the budget allows; wait or use send()")]
    Full {
        /// Bytes that are unsent or unanswered.
        bytes: usize,
    },
    /// A record, or a prepared batch, is larger than a batch may be.
    #[error("{bytes} bytes are more than a batch may have ({max}); split the value")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// A prepared batch is none.
    #[error("these bytes are no record batch: {reason}")]
    InvalidBatch {
        /// Why not.
        reason: String,
    },
    /// A one-way producer has no tickets to give.
    #[error("this producer asks for no replies (Ack::None); use send_one_way()")]
    OneWay,
    /// The producer has ended.
    #[error(transparent)]
    Ended(EndReason),
}

impl SendError {
    /// Whether the same record may be taken later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Why a record, or a batch, has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// It was never taken.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The broker refused the request; nothing of it is stored.
    #[error(transparent)]
    Refused(Fault),
    /// It was sent, and nobody knows what became of it.
    #[error("it is not known whether the record was stored: {reason}; look before sending again")]
    OutcomeUnknown {
        /// Why nobody knows.
        reason: String,
    },
    /// It never left this process; nothing of it is stored.
    #[error("the record was not sent: {reason}; send it again")]
    NotSent {
        /// Why not.
        reason: String,
    },
    /// The batch could not be compressed; nothing of it is stored.
    #[error("the batch could not be compressed: {reason}")]
    Compression {
        /// Why not.
        reason: String,
    },
}

impl PublishError {
    /// Whether the same record may be sent again without being stored twice.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Send(error) => error.is_retryable(),
            Self::Refused(fault) => fault.is_retryable(),
            Self::NotSent { .. } => true,
            _ => false,
        }
    }

    /// What the broker said, where it was the broker.
    #[must_use]
    pub const fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Refused(fault) => Some(fault),
            Self::Send(SendError::Ended(reason)) => reason.fault(),
            _ => None,
        }
    }
}
