//! What can be wrong with a history.

use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

use crate::record::{RecordId, RequestId};

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The partition.
    pub at: TopicPartition,
    /// The offset.
    pub offset: Offset,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (topic, partition) = (self.at.topic, self.at.partition);
        write!(f, "{topic}/{partition}@{}", self.offset)
    }
}

/// Something that breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Acknowledged or read, and not there in the end.
    #[error("lost: record {id} was {how} at {place} and is not there")]
    Lost {
        /// The record.
        id: RecordId,
        /// Where it was.
        place: Place,
        /// "acknowledged" or "read".
        how: &'static str,
    },
    /// Stored twice.
    #[error("doubled: record {id} is at {first} and at {second}")]
    Doubled {
        /// The record.
        id: RecordId,
        /// One place.
        first: Place,
        /// The other.
        second: Place,
    },
    /// Two views of one offset.
    #[error("diverged: at {place} there was record {one}, and record {other}")]
    Diverged {
        /// The place.
        place: Place,
        /// What was there first.
        one: RecordId,
        /// What was there then.
        other: RecordId,
    },
    /// A record that nobody sent, or that was changed.
    #[error("phantom: {place} holds record {id}, which was not sent like that")]
    Phantom {
        /// What it says it is.
        id: RecordId,
        /// Where.
        place: Place,
    },
    /// The records of a key are not in the order of sending.
    #[error(
        "reordered: of key {key:?}, record {later} at {late} comes before {earlier} at {early}"
    )]
    Reordered {
        /// The key.
        key: String,
        /// Sent first.
        earlier: RecordId,
        /// Its place.
        early: Place,
        /// Sent later.
        later: RecordId,
        /// Its place.
        late: Place,
    },
    /// The records of a key are in two partitions without a fence between them.
    #[error("split: of key {key:?}, record {one} is at {first} and {other} at {second}")]
    Split {
        /// The key.
        key: String,
        /// Sent first.
        one: RecordId,
        /// Its place.
        first: Place,
        /// Sent later.
        other: RecordId,
        /// Its place.
        second: Place,
    },
    /// Something that was gone for good came back.
    #[error("resurrected: {place} is served again, {why}")]
    Resurrected {
        /// Where.
        place: Place,
        /// Why it must not be.
        why: &'static str,
    },
    /// A topic that was deleted for good came back.
    #[error("resurrected: topic id {0} was deleted, and is there")]
    TopicReturned(TopicId),
    /// More was dropped than was asked for.
    #[error("dropped: {at} begins at {start}, but nobody dropped more than up to {asked}")]
    DroppedTooMuch {
        /// The partition.
        at: TopicPartition,
        /// Where it begins.
        start: Offset,
        /// What was asked for.
        asked: Offset,
    },
    /// A partition ends before what was seen of it.
    #[error("receded: {at} ends at {end}, after it had reached {seen}")]
    Receded {
        /// The partition.
        at: TopicPartition,
        /// Where it ends.
        end: Offset,
        /// Where it ended before.
        seen: Offset,
    },
    /// Offsets without records, where nothing was compacted.
    #[error("gap: {at} goes on at {found} where {expected} was expected")]
    Gap {
        /// The partition.
        at: TopicPartition,
        /// The offset that should have come.
        expected: Offset,
        /// The one that came.
        found: Offset,
    },
    /// Append times decrease, or change.
    #[error("time: {place} was appended at {time}, but {other} is known for {what}")]
    Time {
        /// Where.
        place: Place,
        /// Its time.
        time: Timestamp,
        /// The other.
        other: Timestamp,
        /// Whose time that is.
        what: &'static str,
    },
    /// A retry was answered something else.
    #[error("request {0} was answered twice, and not the same")]
    AnswerChanged(RequestId),
    /// Refused for certain, and there.
    #[error("refused: record {id} was refused and is at {place}")]
    RefusedButStored {
        /// The record.
        id: RecordId,
        /// Where.
        place: Place,
    },
    /// A request is there in part.
    #[error("torn: request {request} has {sent} records, and {present} are there")]
    Torn {
        /// The request.
        request: RequestId,
        /// Its records.
        sent: usize,
        /// Those that are there.
        present: usize,
    },
    /// A search by time found the wrong offset.
    #[error("time: {at} was searched for {time} and led to {answer}, but {place} has {found}")]
    Sought {
        /// The partition.
        at: TopicPartition,
        /// The time searched for.
        time: Timestamp,
        /// The answer.
        answer: Offset,
        /// A record on the wrong side.
        place: Place,
        /// Its time.
        found: Timestamp,
    },
    /// What a partition says of itself is not what it holds.
    #[error("{at} says it holds {said} {what}, and holds {held}")]
    Miscounted {
        /// The partition.
        at: TopicPartition,
        /// Of what.
        what: &'static str,
        /// What it says.
        said: u64,
        /// What it holds.
        held: u64,
    },
    /// Something did not work that has to.
    #[error("{0}")]
    Broken(String),
}
