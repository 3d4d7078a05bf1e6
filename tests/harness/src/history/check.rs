//! The rules of a history, one function each.

use std::collections::{BTreeMap, HashMap};

use weir_wire::id::{Offset, PartitionId};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;

use super::{Answer, History, Place, Problem, RecordId, RequestId, Stored};

/// What is there, by record.
type Found<'a> = HashMap<RecordId, Vec<&'a Stored>>;

pub(super) fn check(history: &History) -> Vec<Problem> {
    let mut problems = history.noted.clone();
    let mut found = Found::new();
    for stored in &history.stored {
        match stored.id.filter(|id| history.sent.contains_key(id)) {
            Some(id) => found.entry(id).or_default().push(stored),
            None => problems.push(Problem::Unknown {
                place: stored.place.clone(),
            }),
        }
    }
    records(history, &found, &mut problems);
    requests(history, &found, &mut problems);
    gaps(history, &mut problems);
    order(history, &mut problems);
    readers(history, &mut problems);
    problems
}

/// Every record for itself: there, once, where it was said to be, as it was sent.
fn records(history: &History, found: &Found<'_>, problems: &mut Vec<Problem>) {
    for (&id, sent) in &history.sent {
        let there = found.get(&id).map_or(&[][..], Vec::as_slice);
        if let [first, rest @ ..] = there {
            problems.extend(rest.iter().map(|second| Problem::Doubled {
                id,
                first: first.place.clone(),
                second: second.place.clone(),
            }));
        }
        for stored in there {
            let place = stored.place.clone();
            if stored.value != sent.value {
                problems.push(Problem::Changed {
                    id,
                    place: place.clone(),
                });
            }
            let key = sent
                .key
                .as_deref()
                .map(|key| OrderingKey::hash(key.as_bytes()));
            if stored.key != key {
                problems.push(Problem::WrongKey { id, place });
            }
        }
        match history.answers.get(&id) {
            Some(Answer::StoredAt(places)) => acknowledged(id, places, there, problems),
            Some(Answer::NotStored) => {
                problems.extend(there.iter().map(|stored| Problem::RefusedButStored {
                    id,
                    place: stored.place.clone(),
                }));
            }
            None => {}
        }
    }
}

fn acknowledged(id: RecordId, places: &[Place], there: &[&Stored], problems: &mut Vec<Problem>) {
    for place in places {
        match there {
            [] => problems.push(Problem::Lost {
                id,
                place: place.clone(),
            }),
            [first, ..] if there.iter().all(|stored| stored.place != *place) => {
                problems.push(Problem::Moved {
                    id,
                    acknowledged: place.clone(),
                    stored: first.place.clone(),
                });
            }
            _ => {}
        }
    }
}

/// Whole requests, each within one generation.
fn requests(history: &History, found: &Found<'_>, problems: &mut Vec<Problem>) {
    let mut requests: BTreeMap<RequestId, (usize, Vec<&Stored>)> = BTreeMap::new();
    for id in history.sent.keys() {
        let (sent, there) = requests.entry(id.request).or_default();
        *sent += 1;
        there.extend(found.get(id).and_then(|there| there.first()));
    }
    for (request, (sent, there)) in requests {
        let present = there.len();
        if present != 0 && present != sent {
            problems.push(Problem::Torn {
                request,
                present,
                sent,
            });
        }
        let Some((first, rest)) = there.split_first() else {
            continue;
        };
        let one = &first.place.topic;
        let other = rest.iter().map(|stored| &stored.place.topic);
        if let Some(other) = other
            .into_iter()
            .find(|other| generation(other) != generation(one))
        {
            problems.push(Problem::Mixed {
                request,
                one: one.clone(),
                other: other.clone(),
            });
        }
    }
}

/// Topics that belong to one generation of bindings share the first part of their names.
#[must_use]
pub fn generation(topic: &TopicName) -> String {
    let name = topic.to_string();
    name.split_once('-')
        .map_or(name.clone(), |(generation, _)| generation.to_owned())
}

/// Offsets count from 0 without gaps.
fn gaps(history: &History, problems: &mut Vec<Problem>) {
    let mut next: HashMap<(&TopicName, PartitionId), Offset> = HashMap::new();
    for Stored { place, .. } in &history.stored {
        let expected = next.entry((&place.topic, place.partition)).or_default();
        if place.offset != *expected {
            problems.push(Problem::Gap {
                place: place.clone(),
                expected: *expected,
            });
        }
        *expected = place.offset.next();
    }
}

/// Every key: one partition of a topic, in the order of sending.
fn order(history: &History, problems: &mut Vec<Problem>) {
    let mut last: HashMap<(&TopicName, &str), (PartitionId, RecordId)> = HashMap::new();
    for Stored { place, id, .. } in &history.stored {
        let Some((id, sent)) = id.and_then(|id| Some((id, history.sent.get(&id)?))) else {
            continue;
        };
        let Some(key) = sent.key.as_deref() else {
            continue;
        };
        let now = (place.partition, id);
        let Some((partition, before)) = last.insert((&place.topic, key), now) else {
            continue;
        };
        let (topic, key) = (place.topic.clone(), key.to_owned());
        if partition != place.partition {
            let (one, other) = (partition, place.partition);
            problems.push(Problem::Split {
                topic,
                key,
                one,
                other,
            });
        } else if before > id {
            problems.push(Problem::Reordered {
                topic,
                key,
                later: before,
                earlier: id,
            });
        }
    }
}

/// What the readers saw that ran along: only what is there.
fn readers(history: &History, problems: &mut Vec<Problem>) {
    let there = history
        .stored
        .iter()
        .filter_map(|stored| Some((&stored.place, stored.id?)));
    let there: HashMap<&Place, RecordId> = there.collect();
    for ((topic, partition), seen) in &history.seen {
        for (&offset, &read) in &seen.records {
            let place = Place {
                topic: topic.clone(),
                partition: *partition,
                offset,
            };
            match there.get(&place) {
                Some(&stored) if stored == read => {}
                Some(&stored) => problems.push(Problem::Diverged {
                    place,
                    read,
                    stored,
                }),
                None => problems.push(Problem::Vanished { id: read, place }),
            }
        }
    }
}
