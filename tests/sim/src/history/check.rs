//! The rules that can be judged only when everything was said, one function each.

use std::collections::BTreeMap;

use weir_wire::id::{Offset, TopicId, TopicPartition};

use super::{Answer, Content, Fence, History, Partition, Place, Problem, RecordId, Seen};

/// Where each record was seen.
type Places = BTreeMap<RecordId, Vec<Place>>;

pub(super) fn check(history: &History, problems: &mut Vec<Problem>) {
    let places = places(history);
    once(&places, problems);
    kept(history, problems);
    answers(history, &places, problems);
    whole(history, &places, problems);
    order(history, &places, problems);
    for (at, partition) in &history.partitions {
        times(*at, partition, problems);
        searches(*at, partition, problems);
    }
}

fn places(history: &History) -> Places {
    let mut places = Places::new();
    for (&at, partition) in &history.partitions {
        for (&offset, seen) in &partition.seen {
            places
                .entry(seen.id)
                .or_default()
                .push(Place { at, offset });
        }
    }
    places
}

/// A record has one place.
fn once(places: &Places, problems: &mut Vec<Problem>) {
    for (&id, places) in places {
        if let [first, second, ..] = places.as_slice() {
            problems.push(Problem::Doubled {
                id,
                first: *first,
                second: *second,
            });
        }
    }
}

/// What anybody saw, and what was acknowledged, is there in the end.
fn kept(history: &History, problems: &mut Vec<Problem>) {
    for (&at, partition) in &history.partitions {
        for (&offset, Seen { id, .. }) in &partition.seen {
            let place = Place { at, offset };
            still_there(history, *id, place, "read", problems);
        }
    }
    for (request, answer) in &history.answers {
        let Answer::Stored(places) = answer else {
            continue;
        };
        for (index, &place) in (0..).zip(places) {
            let id = RecordId {
                request: *request,
                index,
            };
            still_there(history, id, place, "acknowledged", problems);
        }
    }
}

fn still_there(
    history: &History,
    id: RecordId,
    place: Place,
    how: &'static str,
    problems: &mut Vec<Problem>,
) {
    let topic = history.topics.get(&place.at.topic);
    if topic.is_some_and(|topic| topic.delete_asked) {
        return;
    }
    let stored = history.stored.get(&place.at);
    if stored.is_some_and(|(extent, _)| place.offset < extent.start) {
        return;
    }
    match stored.and_then(|(_, records)| records.get(&place.offset)) {
        Some(there) if *there == id => {}
        Some(there) => problems.push(Problem::Diverged {
            place,
            one: id,
            other: *there,
        }),
        None if compacted_away(history, id, place) => {}
        None => problems.push(Problem::Lost { id, place, how }),
    }
}

/// Whether compaction may have taken a record: its key has a later one, or it is a tombstone.
fn compacted_away(history: &History, id: RecordId, place: Place) -> bool {
    let compacted = history.topics.get(&place.at.topic);
    let content = content(history, id);
    let (Some(partition), Some(Content { key, size })) =
        (history.partitions.get(&place.at), content)
    else {
        return false;
    };
    let later = |(_, seen): (&Offset, &Seen)| {
        key.is_some() && self::content(history, seen.id).is_some_and(|c| c.key == *key)
    };
    compacted.is_some_and(|topic| topic.compacted)
        && (size.is_none() || partition.seen.range(place.offset.next()..).any(later))
}

fn content(history: &History, id: RecordId) -> Option<&Content> {
    let sent = history.requests.get(&id.request)?;
    sent.records.get(id.index as usize)
}

/// Refused means not stored; acknowledged means nowhere else.
fn answers(history: &History, places: &Places, problems: &mut Vec<Problem>) {
    for (request, answer) in &history.answers {
        let Some(sent) = history.requests.get(request) else {
            continue;
        };
        for index in (0..).take(sent.records.len()) {
            let id = RecordId {
                request: *request,
                index,
            };
            let seen = places.get(&id).and_then(|places| places.first());
            match (answer, seen) {
                (Answer::Refused, Some(&place)) => {
                    problems.push(Problem::RefusedButStored { id, place });
                }
                (Answer::Stored(told), Some(&seen)) => {
                    let told = told.get(index as usize).copied();
                    if let Some(told) = told.filter(|told| *told != seen) {
                        problems.push(Problem::Doubled {
                            id,
                            first: told,
                            second: seen,
                        });
                    }
                }
                _ => {}
            }
        }
    }
}

/// A request is there as a whole, unless something of its topic was dropped.
fn whole(history: &History, places: &Places, problems: &mut Vec<Problem>) {
    for (&request, sent) in &history.requests {
        let topic = history.topics.get(&sent.topic);
        if topic.is_some_and(|topic| topic.delete_asked || topic.compacted)
            || dropped_any(history, sent.topic)
        {
            continue;
        }
        let ids = (0..).map(|index| RecordId { request, index });
        let ids = ids.take(sent.records.len());
        let present = ids.filter(|id| places.contains_key(id)).count();
        if present != 0 && present != sent.records.len() {
            problems.push(Problem::Torn {
                request,
                sent: sent.records.len(),
                present,
            });
        }
    }
}

fn dropped_any(history: &History, topic: TopicId) -> bool {
    let mut partitions = history.partitions.iter();
    partitions.any(|(at, partition)| at.topic == topic && partition.drop_asked > Offset::ZERO)
}

/// The records of a key and a producer: in one partition from fence to fence, in order.
fn order(history: &History, places: &Places, problems: &mut Vec<Problem>) {
    let mut last: BTreeMap<(TopicId, u32, &str), (RecordId, Place)> = BTreeMap::new();
    for (&id, seen) in places {
        let (Some(&place), Some(content)) = (seen.first(), content(history, id)) else {
            continue;
        };
        let Some(key) = content.key.as_deref() else {
            continue;
        };
        let whose = (place.at.topic, id.request.producer, key);
        let Some((before, first)) = last.insert(whose, (id, place)) else {
            continue;
        };
        if first.at == place.at {
            if first.offset > place.offset {
                problems.push(Problem::Reordered {
                    key: key.to_owned(),
                    earlier: before,
                    early: first,
                    later: id,
                    late: place,
                });
            }
        } else if !fence_between(history, first, place) {
            problems.push(Problem::Split {
                key: key.to_owned(),
                one: before,
                first,
                other: id,
                second: place,
            });
        }
    }
}

fn fence_between(history: &History, first: Place, second: Place) -> bool {
    let fences = history.topics.get(&first.at.topic);
    let mut fences = fences.iter().flat_map(|topic| &topic.fences);
    fences.any(|fence| side(fence, first) < side(fence, second))
}

/// Before a fence (0), or behind it (1).
fn side(fence: &Fence, place: Place) -> u8 {
    let end = fence.ends.get(place.at.partition.value() as usize);
    let is_old = place.at.partition.value() < fence.before;
    u8::from(!is_old || end.is_none_or(|end| place.offset >= *end))
}

/// Append times never decrease.
fn times(at: TopicPartition, partition: &Partition, problems: &mut Vec<Problem>) {
    let mut latest = None;
    for (&offset, Seen { time, .. }) in &partition.seen {
        if let Some(other) = latest.filter(|latest| latest > time) {
            problems.push(Problem::Time {
                place: Place { at, offset },
                time: *time,
                other,
                what: "an earlier offset",
            });
        }
        latest = latest.max(Some(*time));
    }
}

/// A search by time leads to the first record appended then or later.
fn searches(at: TopicPartition, partition: &Partition, problems: &mut Vec<Problem>) {
    for search in &partition.searches {
        let inside = partition.seen.range(search.extent.start..search.extent.end);
        let wrong = inside
            .filter(|(offset, seen)| (seen.time < search.time) != (**offset < search.answer))
            .map(|(offset, seen)| (*offset, seen.time))
            .next();
        if let Some((offset, found)) = wrong {
            problems.push(Problem::Sought {
                at,
                time: search.time,
                answer: search.answer,
                place: Place { at, offset },
                found,
            });
        }
    }
}
