//! What was sent, what was answered, what anybody read, and what is there in the end: written
//! down while a run goes on, judged at its end. It knows neither broker nor log.
//!
//! The rules: what was acknowledged is there, where it was said to be, once, until somebody
//! drops it; what was dropped never comes back; an offset holds one record, the same for every
//! reader, for ever; a key's records stay in the order of sending, in one partition from fence
//! to fence; a request is there as a whole or not at all; append times never decrease.

mod check;
mod problem;

use std::collections::{BTreeMap, BTreeSet};

use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

pub use crate::record::{Content, Found, RecordId, RequestId};
pub use problem::{Place, Problem};

/// What a client was told of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A place for each record.
    Stored(Vec<Place>),
    /// It is not stored, for certain.
    Refused,
}

/// What a partition said of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its first offset.
    pub start: Offset,
    /// Its high-water mark.
    pub end: Offset,
}

/// A request as it was sent.
#[derive(Debug)]
struct Sent {
    topic: TopicId,
    records: Vec<Content>,
}

/// A record at a place, as somebody saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    id: RecordId,
    time: Timestamp,
}

#[derive(Debug, Default)]
struct Partition {
    seen: BTreeMap<Offset, Seen>,
    /// The furthest end anybody saw, or was told of by an acknowledgement.
    end: Offset,
    /// Everything below was asked to be dropped.
    drop_asked: Offset,
    /// Everything below is dropped for good.
    dropped: Offset,
    /// Offsets that compaction took.
    gone: BTreeSet<Offset>,
    searches: Vec<Search>,
}

#[derive(Clone, Copy, Debug)]
struct Search {
    time: Timestamp,
    answer: Offset,
    extent: Extent,
}

/// Partitions were added: a key's records may be elsewhere from here on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// How many there were.
    pub before: u32,
    /// Where each of them ended.
    pub ends: Vec<Offset>,
}

#[derive(Debug, Default)]
struct Topic {
    fences: Vec<Fence>,
    compacted: bool,
    created: bool,
    delete_asked: bool,
    deleted: bool,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub struct History {
    requests: BTreeMap<RequestId, Sent>,
    answers: BTreeMap<RequestId, Answer>,
    topics: BTreeMap<TopicId, Topic>,
    partitions: BTreeMap<TopicPartition, Partition>,
    /// What is there in the end.
    stored: BTreeMap<TopicPartition, (Extent, BTreeMap<Offset, RecordId>)>,
    problems: Vec<Problem>,
}

impl History {
    /// A request is about to be sent.
    pub fn sent(&mut self, id: RequestId, topic: TopicId, records: Vec<Content>) {
        let before = self.requests.insert(id, Sent { topic, records });
        assert!(before.is_none(), "request {id} is sent once");
    }

    /// A client got an answer.
    pub fn answered(&mut self, id: RequestId, answer: Answer) {
        if let Answer::Stored(places) = &answer {
            for place in places {
                let partition = self.partitions.entry(place.at).or_default();
                partition.end = partition.end.max(place.offset.next());
            }
        }
        match self.answers.insert(id, answer.clone()) {
            Some(before) if before != answer => self.note(Problem::AnswerChanged(id)),
            _ => {}
        }
    }

    /// Something is wrong that only the run could see.
    pub fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A partition said what it holds.
    pub fn extent(&mut self, at: TopicPartition, extent: Extent) {
        let partition = self.partitions.entry(at).or_default();
        let (seen, asked, dropped) = (partition.end, partition.drop_asked, partition.dropped);
        partition.end = partition.end.max(extent.end);
        let topic = self.topics.entry(at.topic).or_default();
        let Extent { start, end } = extent;
        if topic.delete_asked {
            if topic.deleted && end > start {
                self.note(Problem::TopicReturned(at.topic));
            }
            return;
        }
        if end < seen {
            self.note(Problem::Receded { at, end, seen });
        }
        if start > asked {
            self.note(Problem::DroppedTooMuch { at, start, asked });
        }
        if start < dropped {
            let place = Place { at, offset: start };
            let why = "although it was dropped";
            self.note(Problem::Resurrected { place, why });
        }
    }

    /// Nothing at all is there of a partition: as good as empty.
    pub fn absent(&mut self, at: TopicPartition) {
        let topic = self.topics.entry(at.topic).or_default();
        let seen = self.partitions.entry(at).or_default().end;
        if seen > Offset::ZERO && !topic.delete_asked {
            let end = Offset::ZERO;
            self.note(Problem::Receded { at, end, seen });
        }
    }

    /// Somebody read on from `from`, and got these records, in this order; the batches covered
    /// all offsets before `to`.
    pub fn read(&mut self, at: TopicPartition, from: Offset, to: Offset, records: &[Found]) {
        let topic = self.topics.entry(at.topic).or_default();
        let (deleted, compacted) = (topic.deleted, topic.compacted);
        let partition = self.partitions.entry(at).or_default();
        let mut problems = Vec::new();
        partition.end = partition.end.max(to);
        let mut expected = from;
        for found in records.iter().filter(|found| found.offset >= from) {
            let place = Place {
                at,
                offset: found.offset,
            };
            if deleted {
                problems.push(Problem::TopicReturned(at.topic));
            }
            if found.offset < partition.dropped {
                let why = "although it was dropped";
                problems.push(Problem::Resurrected { place, why });
            }
            if found.offset != expected && !compacted {
                problems.push(Problem::Gap {
                    at,
                    expected,
                    found: found.offset,
                });
            }
            expected = found.offset.next();
        }
        if expected < to && !compacted {
            problems.push(Problem::Gap {
                at,
                expected,
                found: to,
            });
        }
        for found in records {
            partition.observe(at, found, &mut problems);
        }
        if compacted {
            partition.note_gone(from, to, records);
        }
        self.check_contents(at, records, &mut problems);
        self.problems.append(&mut problems);
    }

    /// A search by time was answered.
    pub fn sought(&mut self, at: TopicPartition, time: Timestamp, answer: Offset, extent: Extent) {
        let partition = self.partitions.entry(at).or_default();
        partition.searches.push(Search {
            time,
            answer,
            extent,
        });
    }

    /// Somebody asked for everything below an offset to be dropped; from here on it may be gone.
    pub fn drop_asked(&mut self, at: TopicPartition, start: Offset) {
        let partition = self.partitions.entry(at).or_default();
        partition.drop_asked = partition.drop_asked.max(start);
    }

    /// Everything below an offset is gone for good.
    pub fn dropped(&mut self, at: TopicPartition, start: Offset) {
        self.drop_asked(at, start);
        let partition = self.partitions.entry(at).or_default();
        partition.dropped = partition.dropped.max(start);
    }

    /// After a restart it is certain where a partition begins.
    pub fn begins(&mut self, at: TopicPartition, start: Offset) {
        let partition = self.partitions.entry(at).or_default();
        partition.dropped = partition.dropped.max(start);
        partition.drop_asked = partition.dropped;
    }

    /// From here on, only the last record of a key has to stay.
    pub fn compacted(&mut self, topic: TopicId) {
        self.topics.entry(topic).or_default().compacted = true;
    }

    /// All fences of a topic.
    pub fn fences(&mut self, topic: TopicId, fences: Vec<Fence>) {
        self.topics.entry(topic).or_default().fences = fences;
    }

    /// Somebody asked for a topic to be deleted; from here on it may be gone.
    pub fn delete_asked(&mut self, topic: TopicId) {
        self.topics.entry(topic).or_default().delete_asked = true;
    }

    /// A topic is gone for good.
    pub fn deleted(&mut self, topic: TopicId) {
        let topic = self.topics.entry(topic).or_default();
        (topic.delete_asked, topic.deleted) = (true, true);
    }

    /// A topic was made for good.
    pub fn created(&mut self, topic: TopicId) {
        self.topics.entry(topic).or_default().created = true;
    }

    /// After a restart it is certain which topics there are.
    pub fn restarted(&mut self, there: &BTreeSet<TopicId>) {
        // What was not durable never was, and its id is given away again.
        self.topics
            .retain(|id, topic| topic.created || there.contains(id));
        for &id in there {
            let topic = self.topics.entry(id).or_default();
            topic.created = true;
            topic.delete_asked = topic.deleted;
            if topic.deleted {
                self.note(Problem::TopicReturned(id));
            }
        }
        let missing: Vec<TopicId> = self.topics.keys().copied().collect();
        for id in missing.into_iter().filter(|id| !there.contains(id)) {
            let topic = self.topics.entry(id).or_default();
            if !topic.delete_asked {
                let text = format!("topic id {id} is gone, and nobody deleted it");
                self.note(Problem::Broken(text));
            }
            let topic = self.topics.entry(id).or_default();
            (topic.delete_asked, topic.deleted) = (true, true);
        }
    }

    /// Partitions that somebody saw something of.
    #[must_use]
    pub fn partitions(&self) -> Vec<TopicPartition> {
        self.partitions.keys().copied().collect()
    }

    /// All of a partition in the end.
    pub fn stored(&mut self, at: TopicPartition, extent: Extent, records: &[Found]) {
        self.extent(at, extent);
        self.read(at, extent.start, extent.end, records);
        let records = records.iter().map(|found| (found.offset, found.id));
        self.stored.insert(at, (extent, records.collect()));
    }

    /// What breaks the rules, so far.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// What breaks the rules, now that everything was said.
    #[must_use]
    pub fn check(&self) -> Vec<Problem> {
        let mut problems = self.problems.clone();
        check::check(self, &mut problems);
        problems
    }

    /// What is read is what was sent.
    fn check_contents(&self, at: TopicPartition, records: &[Found], problems: &mut Vec<Problem>) {
        for found in records {
            let RecordId { request, index } = found.id;
            let sent = self.requests.get(&request);
            let as_sent = sent.is_some_and(|sent| {
                sent.topic == at.topic && sent.records.get(index as usize) == Some(&found.content)
            });
            if !as_sent {
                problems.push(Problem::Phantom {
                    id: found.id,
                    place: Place {
                        at,
                        offset: found.offset,
                    },
                });
            }
        }
    }
}

impl Partition {
    fn observe(&mut self, at: TopicPartition, found: &Found, problems: &mut Vec<Problem>) {
        let Found {
            id, offset, time, ..
        } = *found;
        let place = Place { at, offset };
        if self.gone.contains(&offset) {
            let why = "although it was compacted away";
            problems.push(Problem::Resurrected { place, why });
        }
        let seen = *self.seen.entry(offset).or_insert(Seen { id, time });
        if seen.id != id {
            problems.push(Problem::Diverged {
                place,
                one: seen.id,
                other: id,
            });
        } else if seen.time != time {
            problems.push(Problem::Time {
                place,
                time,
                other: seen.time,
                what: "it from an earlier read",
            });
        }
    }

    /// What was there once and did not come between `from` and `to` is gone.
    fn note_gone(&mut self, from: Offset, to: Offset, records: &[Found]) {
        let there: BTreeSet<Offset> = records.iter().map(|found| found.offset).collect();
        let known = self
            .seen
            .range(from..to.max(from))
            .map(|(offset, _)| *offset);
        let gone: Vec<Offset> = known.filter(|offset| !there.contains(offset)).collect();
        self.gone.extend(gone);
    }
}
