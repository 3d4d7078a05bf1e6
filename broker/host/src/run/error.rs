//! Why a call has no answers.

use crate::RecordFailure;
use std::time::Duration;

/// Why a call has no answers at all. Records that fail by themselves are not an error: they are
/// in [`crate::Verdicts::failures`] and [`crate::Transformed::failures`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// More records failed than are looked for; the binding is quarantined.
    #[error(
        "more than {} records of one batch failed, the first at position {}: {}; correct the \
         plugin or its config and bind it again",
        failures.len().saturating_sub(1),
        failures.first().map_or(0, |failure| failure.index),
        failures.first().map_or("", |failure| failure.message.as_str())
    )]
    TooManyFailures {
        /// Those that were found.
        failures: Vec<RecordFailure>,
        /// Whether the plugin was stopped at a limit on any of them.
        at_limit: bool,
    },
    /// The binding failed lately and is not tried until some time has passed.
    #[error("the binding is quarantined for {retry_after:?} because: {message}")]
    Quarantined {
        /// When it will be tried again.
        retry_after: Duration,
        /// What it failed of.
        message: String,
    },
    /// The plugin fails on records together, but on none of them alone, twice: it is not a
    /// function of the record.
    #[error(
        "the plugin fails on records {first} to {last} together but on none of them alone: \
         {message}; a plugin must judge each record by itself"
    )]
    Impure {
        /// The first record's position in the batch.
        first: u32,
        /// The last record's.
        last: u32,
        /// What the failure said.
        message: String,
    },
    /// The batch as a whole took too much processor time.
    #[error(
        "the plugin took {cpu:?} of processor time for {records} records; make it faster, or send \
         smaller batches"
    )]
    TooSlow {
        /// What it took.
        cpu: Duration,
        /// How many records the batch has.
        records: u32,
    },
    /// Guilty records were looked for in more parts of the batch than may be.
    #[error(
        "the plugin fails on many parts of {records} records, and after {parts} of them it is not \
         known which records are to blame: {message}; send smaller batches, or let the plugin need \
         less for many records at once"
    )]
    TooManyParts {
        /// How many were tried.
        parts: u32,
        /// How many records the batch has.
        records: u32,
        /// What the last of them failed of.
        message: String,
    },
    /// A new instance of the plugin could not be made or configured.
    #[error("the plugin cannot be started: {message}")]
    Instance {
        /// Why.
        message: String,
    },
    /// The plugin makes more of the batch than a batch holds.
    #[error(
        "the plugin makes more of {records} records than a batch can hold ({} bytes, {} records); \
         send smaller batches",
        weir_wire::limits::BATCH_INFLATED_MAX,
        weir_wire::limits::BATCH_RECORDS_MAX
    )]
    TooLarge {
        /// How many records the batch has.
        records: u32,
    },
    /// The plugin makes more of the batch than there is room for.
    #[error("there is no room for what the plugin makes of {records} records; try again")]
    NoRoom {
        /// How many records the batch has.
        records: u32,
    },
    /// There is no memory for the plugin now, because of others.
    #[error("{message}")]
    Crowded {
        /// How much there is.
        message: String,
    },
    /// A retry policy was not told of each record how it failed.
    #[error("{records} records failed, but {attempts} failures were given")]
    Attempts {
        /// How many records there are.
        records: u32,
        /// How many failures were given.
        attempts: usize,
    },
    /// The records section is not what it should be.
    #[error("record {index} of the batch is malformed")]
    Malformed {
        /// The record's position.
        index: u32,
    },
    /// The binding was made for another hook.
    #[error("the binding is for the hook {bound}, not for {called}")]
    OtherHook {
        /// The binding's hook.
        bound: weir_wire::plugin::Hook,
        /// The one called.
        called: weir_wire::plugin::Hook,
    },
    /// The host is shutting down.
    #[error("the plugin host is shutting down")]
    Shutdown,
}

impl CallError {
    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Quarantined { .. }
                | Self::TooSlow { .. }
                | Self::TooManyParts { .. }
                | Self::NoRoom { .. }
                | Self::Crowded { .. }
                | Self::Shutdown
        )
    }

    /// Whether all records count as such that the plugin failed on.
    pub(crate) const fn is_of_the_plugin(&self) -> bool {
        self.quarantines() || matches!(self, Self::TooLarge { .. })
    }

    /// Whether the plugin is at fault, so that the binding should rest.
    pub(crate) const fn quarantines(&self) -> bool {
        match self {
            Self::TooManyFailures { .. }
            | Self::Impure { .. }
            | Self::TooSlow { .. }
            | Self::TooManyParts { .. }
            | Self::Instance { .. } => true,
            Self::Quarantined { .. }
            | Self::TooLarge { .. }
            | Self::NoRoom { .. }
            | Self::Crowded { .. }
            | Self::Attempts { .. }
            | Self::Malformed { .. }
            | Self::OtherHook { .. }
            | Self::Shutdown => false,
        }
    }
}
