//! What was sent, what was said about it, what readers saw, and what is there in the end: written
//! down by a test, judged by [`History::check`]. It knows no broker.
//!
//! The rules: what was acknowledged is there, where it was said to be, once; what was refused is
//! not; an ordering key's records lie in one partition of a topic, in the order of sending; a
//! request is there as a whole, in one generation of topics; a reader saw each partition without
//! gaps, and nothing else than what is there in the end.

mod check;
mod problem;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use weir_wire::id::{Offset, PartitionId};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;

pub use check::generation;
pub use problem::{Problem, summary};

/// A request: who sent it, and the how many-th of that producer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId {
    /// Counts producers.
    pub producer: u32,
    /// Counts the requests of a producer.
    pub number: u32,
}

/// A record: its request, and its place in it. The order of sending within a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    /// The request.
    pub request: RequestId,
    /// The place in it.
    pub index: u32,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.producer, self.number)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.request, self.index)
    }
}

/// A reader: one subscription, which gets every partition from its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub u32);

/// Text that names no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record's id: three numbers with points between them")]
pub struct InvalidId;

impl FromStr for RecordId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let mut numbers = text
            .splitn(3, '.')
            .map(|number| number.parse().map_err(|_| InvalidId));
        let mut next = || numbers.next().unwrap_or(Err(InvalidId));
        let request = RequestId {
            producer: next()?,
            number: next()?,
        };
        Ok(Self {
            request,
            index: next()?,
        })
    }
}

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The topic.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The offset.
    pub offset: Offset,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

/// A record as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// What its order is kept by.
    pub key: Option<String>,
    /// Its value.
    pub value: Bytes,
}

/// A record as it is there in the end.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where.
    pub place: Place,
    /// Which, by its header; `None` for one that no test wrote.
    pub id: Option<RecordId>,
    /// Its ordering key, if it has one.
    pub key: Option<OrderingKey>,
    /// Its value.
    pub value: Bytes,
}

/// What the broker said of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    StoredAt(Vec<Place>),
    NotStored,
}

/// What readers saw of a partition.
#[derive(Debug, Default)]
struct Seen {
    /// By the first of them that got there.
    records: BTreeMap<Offset, RecordId>,
    /// Where each of them goes on.
    next: HashMap<ReaderId, Offset>,
}

impl Seen {
    /// How far any reader got.
    fn end(&self) -> Offset {
        let last = self.records.last_key_value();
        last.map_or(Offset::ZERO, |(offset, _)| offset.next())
    }
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    sent: BTreeMap<RecordId, Sent>,
    answers: HashMap<RecordId, Answer>,
    /// What readers saw, each record once however many of them saw it.
    seen: HashMap<(TopicName, PartitionId), Seen>,
    /// How many records each reader has got.
    read: HashMap<ReaderId, usize>,
    ended: HashSet<ReaderId>,
    stored: Vec<Stored>,
    noted: Vec<Problem>,
}

impl History {
    /// A record is about to be sent. Records of a producer are told in their order.
    pub fn sent(&mut self, id: RecordId, record: Sent) {
        let before = self.sent.insert(id, record);
        assert!(before.is_none(), "record {id} is sent once");
    }

    /// The broker acknowledged a record.
    pub fn acknowledged(&mut self, id: RecordId, places: Vec<Place>) {
        self.answers.insert(id, Answer::StoredAt(places));
    }

    /// The broker said for certain that it does not have a record.
    pub fn not_stored(&mut self, id: RecordId) {
        self.answers.insert(id, Answer::NotStored);
    }

    /// A reader that runs along got a record. Told in the order of its reading. Answers whether
    /// it is the first one to get that far.
    pub fn read(&mut self, reader: ReaderId, place: Place, id: RecordId) -> bool {
        *self.read.entry(reader).or_default() += 1;
        let partition = (place.topic.clone(), place.partition);
        let seen = self.seen.entry(partition).or_default();
        let first = place.offset >= seen.end();
        let next = seen.next.entry(reader).or_default();
        let expected = std::mem::replace(next, place.offset.next());
        let before = *seen.records.entry(place.offset).or_insert(id);
        if place.offset != expected {
            let place = place.clone();
            self.note(Problem::Skipped { place, expected });
        }
        if before != id {
            self.note(Problem::Disagreed { place, before, id });
        }
        first
    }

    /// The broker says how much a partition holds: never less than a reader has got.
    pub fn holds(&mut self, topic: &TopicName, partition: PartitionId, end: Offset) {
        let seen = self.seen.get(&(topic.clone(), partition));
        let read = seen.map_or(Offset::ZERO, Seen::end);
        if end < read {
            self.note(Problem::Receded {
                topic: topic.clone(),
                partition,
                read,
                end,
            });
        }
    }

    /// A reader was told that it cannot go on.
    pub fn reader_ended(&mut self, reader: ReaderId, reason: String) {
        self.ended.insert(reader);
        self.note(Problem::ReaderEnded { reason });
    }

    /// Whether a reader was told that it cannot go on.
    #[must_use]
    pub fn has_ended(&self, reader: ReaderId) -> bool {
        self.ended.contains(&reader)
    }

    /// How many records a reader has got.
    #[must_use]
    pub fn read_by(&self, reader: ReaderId) -> usize {
        self.read.get(&reader).copied().unwrap_or_default()
    }

    /// A record is there in the end. Told in the order of each partition.
    pub fn stored(&mut self, record: Stored) {
        self.stored.push(record);
    }

    /// Something is wrong that only the test could see.
    pub fn note(&mut self, problem: Problem) {
        self.noted.push(problem);
    }

    /// Records sent, acknowledged, read along, and there in the end.
    #[must_use]
    pub fn counts(&self) -> [usize; 4] {
        let acknowledged = |answer: &&Answer| matches!(answer, Answer::StoredAt(_));
        let acknowledged = self.answers.values().filter(acknowledged).count();
        [
            self.sent.len(),
            acknowledged,
            self.read.values().sum(),
            self.stored.len(),
        ]
    }

    /// What breaks the rules.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        check::check(self)
    }
}

#[cfg(test)]
mod tests;
