//! Error codes: what a broker answers instead of a reply, with numbers that are never reused.

use std::fmt;
use std::time::Duration;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $word:literal, $retryable:literal;)*) => {
        /// What went wrong, for programs; the message beside it is for people.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(u16)]
        pub enum ErrorCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl ErrorCode {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code of that number; an unknown one reads as [`ErrorCode::Internal`].
            #[must_use]
            pub fn from_number(number: u64) -> Self {
                match number {
                    $($number => Self::$name,)*
                    _ => Self::Internal,
                }
            }

            /// The word for it, as metrics and JSON output show it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word,)*
                }
            }

            /// Whether the same request may succeed later, unchanged.
            #[must_use]
            pub const fn is_retryable(self) -> bool {
                match self {
                    $(Self::$name => $retryable,)*
                }
            }
        }
    };
}

codes! {
    /// A defect of the broker; its log says more.
    Internal = 1, "internal", false;
    /// Bytes that are no frame, or a message that cannot be read.
    MalformedFrame = 2, "malformed-frame", false;
    /// A frame kind that this broker does not know.
    UnknownKind = 3, "unknown-kind", false;
    /// A protocol version that this broker does not speak.
    UnsupportedVersion = 4, "unsupported-version", false;
    /// A frame larger than its kind may be.
    FrameTooLarge = 5, "frame-too-large", false;
    /// No token, a wrong one, or no valid client certificate.
    NotAuthorised = 6, "not-authorised", false;
    /// No topic of that name.
    UnknownTopic = 7, "unknown-topic", false;
    /// A topic of that name exists already.
    TopicExists = 8, "topic-exists", false;
    /// A name outside the grammar.
    InvalidName = 9, "invalid-name", false;
    /// An argument out of its range.
    InvalidArgument = 10, "invalid-argument", false;
    /// A batch whose bytes do not agree with its header, or do not match its CRC.
    CorruptBatch = 11, "corrupt-batch", false;
    /// A batch, or what it became, is larger than a limit.
    BatchTooLarge = 12, "batch-too-large", false;
    /// A request came before one that the broker still waits for; send from that one again.
    OutOfSequence = 13, "out-of-sequence", true;
    /// A newer session of this producer exists.
    ProducerFenced = 14, "producer-fenced", false;
    /// A repeated request is so old that its outcome is forgotten.
    OutcomeForgotten = 15, "outcome-forgotten", false;
    /// The broker has as much work as it may hold; wait `retry_after`.
    Overloaded = 16, "overloaded", true;
    /// The broker is ending; it, or another, will be there again.
    ShuttingDown = 17, "shutting-down", true;
    /// The log failed while the request was under way: it may or may not have been stored.
    OutcomeUnknown = 18, "outcome-unknown", true;
    /// No space for new records; reading goes on.
    DiskFull = 19, "disk-full", true;
    /// No plugin of that name.
    UnknownPlugin = 20, "unknown-plugin", false;
    /// No such version of that plugin, or more than one fits.
    UnknownVersion = 21, "unknown-version", false;
    /// A component that cannot be used as a plugin.
    InvalidPlugin = 22, "invalid-plugin", false;
    /// A plugin that bindings or subscriptions use.
    PluginInUse = 23, "plugin-in-use", false;
    /// A partition was named on a topic whose placement is a plugin's.
    PlacementByPlugin = 24, "placement-by-plugin", false;
    /// The topic has no such partition.
    UnknownPartition = 25, "unknown-partition", false;
    /// A plugin failed and its policy is to refuse the request.
    PluginFailed = 26, "plugin-failed", false;
    /// No binding of that id.
    UnknownBinding = 27, "unknown-binding", false;
    /// An offset outside what the partition holds.
    OffsetOutOfRange = 28, "offset-out-of-range", false;
    /// Stored data is damaged; it is not served.
    CorruptLog = 29, "corrupt-log", false;
    /// A count that has reached its limit.
    LimitReached = 30, "limit-reached", false;
    /// The broker has no compiler for plugins.
    CompilerUnavailable = 31, "compiler-unavailable", false;
    /// The broker does not know this producer session; open a new one.
    UnknownProducer = 32, "unknown-producer", false;
    /// Some records of an all-or-nothing request were refused, so none is stored.
    RecordsRefused = 33, "records-refused", false;
    /// A topic that the subscription reads has more partitions now; subscribe again.
    PartitionsAdded = 34, "partitions-added", true;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// An error as it travels: a code for programs, a sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What went wrong.
    pub code: ErrorCode,
    /// The sentence: cause and next step.
    pub message: String,
    /// When the broker thinks that it could work.
    pub retry_after: Option<Duration>,
    /// The record of the request that it is about, from 0.
    pub record: Option<u32>,
}

impl Fault {
    /// An error without a hint when to come back.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            retry_after: None,
            record: None,
        }
    }

    /// Whether the same request may succeed later, unchanged.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        self.code.is_retryable()
    }
}
