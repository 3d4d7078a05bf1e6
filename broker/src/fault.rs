//! The one map from errors to what travels: a code for programs, a sentence for people.

use weir_core::shard::{ChangeError, SequenceError, TrimError};
use weir_wire::batch::{BatchError, CompressionError};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::FrameError;
use weir_wire::message::MessageError;

/// An error that can be told to a client.
pub(crate) trait IntoFault {
    /// The error as it travels.
    fn into_fault(self) -> Fault;
}

impl IntoFault for ChangeError {
    fn into_fault(self) -> Fault {
        let code = match &self {
            Self::TopicExists(_) => ErrorCode::TopicExists,
            Self::UnknownTopic(_) => ErrorCode::UnknownTopic,
            Self::UnknownPlugin(_) => ErrorCode::UnknownPlugin,
            Self::UnknownVersion { .. } => ErrorCode::UnknownVersion,
            Self::UnknownBinding(_) => ErrorCode::UnknownBinding,
            Self::PluginInUse { .. } => ErrorCode::PluginInUse,
            Self::Limit(_) => ErrorCode::LimitReached,
            _ => ErrorCode::InvalidArgument,
        };
        Fault::new(code, self.to_string())
    }
}

impl IntoFault for SequenceError {
    fn into_fault(self) -> Fault {
        let code = match &self {
            Self::Stale | Self::OutOfSequence { .. } => ErrorCode::OutOfSequence,
            Self::Fenced => ErrorCode::ProducerFenced,
            Self::UnknownTopic(_) => ErrorCode::UnknownTopic,
            Self::UnknownPartition { .. } => ErrorCode::UnknownPartition,
            _ => ErrorCode::UnknownProducer,
        };
        Fault::new(code, self.to_string())
    }
}

impl IntoFault for TrimError {
    fn into_fault(self) -> Fault {
        let code = match &self {
            Self::UnknownTopic(_) => ErrorCode::UnknownTopic,
            Self::UnknownPartition { .. } => ErrorCode::UnknownPartition,
            _ => ErrorCode::OffsetOutOfRange,
        };
        Fault::new(code, self.to_string())
    }
}

impl IntoFault for BatchError {
    fn into_fault(self) -> Fault {
        let code = match &self {
            Self::TooLarge(_) | Self::Compression(CompressionError::TooLarge(_)) => {
                ErrorCode::BatchTooLarge
            }
            _ => ErrorCode::CorruptBatch,
        };
        Fault::new(code, self.to_string())
    }
}

impl IntoFault for FrameError {
    fn into_fault(self) -> Fault {
        let code = match &self {
            Self::Kind(_) => ErrorCode::UnknownKind,
            Self::Version { .. } => ErrorCode::UnsupportedVersion,
            Self::TooLarge { .. } => ErrorCode::FrameTooLarge,
            _ => ErrorCode::MalformedFrame,
        };
        Fault::new(code, self.to_string())
    }
}

impl IntoFault for MessageError {
    fn into_fault(self) -> Fault {
        let code = match &self {
            Self::Name { .. } => ErrorCode::InvalidName,
            _ => ErrorCode::MalformedFrame,
        };
        Fault::new(code, self.to_string())
    }
}
