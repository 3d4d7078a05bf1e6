//! What can be wrong with a history.

use std::fmt::Write;

use weir_wire::id::{Offset, PartitionId};
use weir_wire::name::TopicName;

use super::{Place, RecordId, RequestId};

/// Problems that are told in full.
const TOLD_MAX: usize = 12;

/// Something that breaks the rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Acknowledged, and not there.
    #[error("lost: record {id} was acknowledged at {place}, and is not there")]
    Lost { id: RecordId, place: Place },
    /// Acknowledged somewhere else than it is.
    #[error("moved: record {id} was acknowledged at {acknowledged}, and is at {stored}")]
    Moved {
        id: RecordId,
        acknowledged: Place,
        stored: Place,
    },
    /// There more than once.
    #[error("doubled: record {id} is at {first} and at {second}")]
    Doubled {
        id: RecordId,
        first: Place,
        second: Place,
    },
    /// Said not to be there.
    #[error("refused, yet stored: record {id} is at {place}")]
    RefusedButStored { id: RecordId, place: Place },
    /// A key's records are not in the order of sending.
    #[error("reordered: in {topic}, key {key:?}: record {later} lies before {earlier}")]
    Reordered {
        topic: TopicName,
        key: String,
        later: RecordId,
        earlier: RecordId,
    },
    /// A key's records are in several partitions of a topic.
    #[error("split: in {topic}, key {key:?} is in partitions {one} and {other}")]
    Split {
        topic: TopicName,
        key: String,
        one: PartitionId,
        other: PartitionId,
    },
    /// The record has another ordering key than it should.
    #[error("wrong ordering key: record {id} at {place}")]
    WrongKey { id: RecordId, place: Place },
    /// Only a part of a request is there.
    #[error("torn: of request {request}, {present} of {sent} records are there")]
    Torn {
        request: RequestId,
        present: usize,
        sent: usize,
    },
    /// A request's records went by more than one generation of bindings.
    #[error("mixed: request {request} is in {one} and in {other}")]
    Mixed {
        request: RequestId,
        one: TopicName,
        other: TopicName,
    },
    /// Nobody sent it.
    #[error("unknown: what is at {place} was never sent")]
    Unknown { place: Place },
    /// Its bytes are not those that were sent.
    #[error("changed: the value of record {id} at {place}")]
    Changed { id: RecordId, place: Place },
    /// Offsets of a partition leave one out.
    #[error("gap: {place} comes where offset {expected} should")]
    Gap { place: Place, expected: Offset },
    /// A reader saw what is not there.
    #[error("vanished: record {id} was read at {place}, where nothing is now")]
    Vanished { id: RecordId, place: Place },
    /// A reader saw something else than what is there.
    #[error("diverged: at {place} record {read} was read, and {stored} is there")]
    Diverged {
        place: Place,
        read: RecordId,
        stored: RecordId,
    },
    /// Two readers saw different records at one place.
    #[error("disagreed: at {place} record {before} was read, and {id} by somebody else")]
    Disagreed {
        place: Place,
        before: RecordId,
        id: RecordId,
    },
    /// A reader did not get a partition's records one after the other.
    #[error("skipped or repeated: the reader got {place} where offset {expected} should come")]
    Skipped { place: Place, expected: Offset },
    /// A partition holds less than was read of it.
    #[error("receded: {topic}/{partition} was read up to offset {read}, and ends at {end}")]
    Receded {
        topic: TopicName,
        partition: PartitionId,
        read: Offset,
        end: Offset,
    },
    /// A reader was told that what it has read is not there.
    #[error("the reader cannot go on: {reason}")]
    ReaderEnded { reason: String },
    /// A request without an outcome, or a producer that ended.
    #[error("a producer failed: {reason}")]
    ProducerFailed { reason: String },
    /// There is no broker any more, before the run was over.
    #[error("the broker {what}; its log:\n{log}")]
    Down { what: &'static str, log: String },
    /// The topics could not be read in the end.
    #[error("what is there cannot be read: {reason}")]
    Unreadable { reason: String },
}

/// The first problems, for the message of a failed test.
#[must_use]
pub fn summary(problems: &[Problem]) -> String {
    let mut text = format!("{} problems", problems.len());
    for problem in problems.iter().take(TOLD_MAX) {
        write!(text, "\n  {problem}").expect("a string takes everything");
    }
    if problems.len() > TOLD_MAX {
        text.push_str("\n  …");
    }
    text
}
