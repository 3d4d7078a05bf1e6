//! What keeps a producer from going on, for people who wonder.

use std::time::Duration;

/// Why a producer does not go on for now; it tries again by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stall {
    /// Whether there is no connection; else the broker refuses the oldest request for now.
    pub away: bool,
    /// What happened.
    pub reason: String,
    /// After which time the oldest request is given up, if one waits.
    pub left: Option<Duration>,
}
