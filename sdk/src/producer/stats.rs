//! What a producer has done.

/// Counts since the producer was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerStats {
    /// Records taken from the application.
    pub records: u64,
    /// Requests made of them.
    pub requests: u64,
    /// Bytes of batches sent, repetitions included.
    pub bytes_sent: u64,
    /// Requests sent again, after a lost connection or a temporary refusal.
    pub resent: u64,
    /// Connections found anew.
    pub reconnects: u64,
    /// Bytes that are unsent or unanswered now.
    pub bytes_in_flight: u64,
    /// Requests that are unsent or unanswered now.
    pub requests_in_flight: u64,
    /// What became of the records.
    pub outcomes: Summary,
}

/// What became of the records of a producer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Stored.
    pub stored: u64,
    /// Dropped by a plugin or a policy.
    pub dropped: u64,
    /// Rejected by a plugin.
    pub rejected: u64,
    /// In the dead-letter topic.
    pub dead_lettered: u64,
    /// Refused with their whole request, or never sent: not stored.
    pub failed: u64,
    /// Sent, with an outcome that nobody knows.
    pub unknown: u64,
    /// Sent one way, without a reply to come.
    pub one_way: u64,
    /// Of those sent one way, how many a lost connection may have swallowed, at most.
    pub maybe_lost: u64,
}

impl Summary {
    /// Whether every record was stored, or was dropped, rejected or dead-lettered on purpose.
    #[must_use]
    pub const fn all_known(&self) -> bool {
        self.failed == 0 && self.unknown == 0 && self.maybe_lost == 0
    }
}
