//! Comparing what came out of the broker with the answers.

use std::collections::HashMap;

use weir_sdk::Received;
use weir_wire::id::PartitionId;
use weir_wire::placement::OrderingKey;

use super::flights::{Aircraft, Flight, Flights, TOPICS, TopicIndex};

/// The header that names a record's line of the input, so that a record is known again.
pub const LINE_HEADER: &str = "line";
/// Problems that are told in full; more are only counted.
const TOLD_MAX: usize = 10;

/// What is wrong.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    told: Vec<String>,
    total: usize,
}

impl Problems {
    /// Something is wrong.
    pub fn add(&mut self, problem: String) {
        self.total += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(problem);
        }
    }

    /// Two numbers that have to be the same.
    pub fn compare(&mut self, what: &str, found: usize, expected: usize) {
        if found != expected {
            self.add(format!("{what}: {found}, expected {expected}"));
        }
    }

    /// How many things are wrong.
    pub const fn total(&self) -> usize {
        self.total
    }

    /// The first of them.
    pub fn told(&self) -> &[String] {
        &self.told
    }
}

/// Looks at every record of a reading and remembers what the order says.
#[derive(Debug)]
pub struct Checker<'a> {
    flights: &'a Flights,
    /// Which flights have come.
    seen: Vec<bool>,
    /// Where an aircraft's records are in a topic, and which of them came last.
    last: HashMap<(TopicIndex, Aircraft), (PartitionId, usize)>,
    counts: [usize; TOPICS.len()],
    /// Whether ordering keys were asked for.
    with_keys: bool,
}

impl<'a> Checker<'a> {
    /// Nothing has come yet.
    pub fn new(flights: &'a Flights, with_keys: bool) -> Self {
        Self {
            flights,
            seen: vec![false; flights.flights.len()],
            last: HashMap::new(),
            counts: [0; TOPICS.len()],
            with_keys,
        }
    }

    /// Records per topic.
    pub const fn counts(&self) -> &[usize; TOPICS.len()] {
        &self.counts
    }

    /// Pairs of topic and aircraft whose order was looked at.
    pub fn orders(&self) -> usize {
        self.last.len()
    }

    /// A record that came.
    pub fn record(&mut self, record: &Received, problems: &mut Problems) {
        let place = format!("{}/{}@{}", record.topic, record.partition, record.offset);
        let line = record
            .header(LINE_HEADER)
            .and_then(|line| std::str::from_utf8(line).ok());
        let index = line.and_then(|line| line.parse::<usize>().ok());
        let Some((index, flight)) = index
            .and_then(|line| line.checked_sub(1))
            .and_then(|index| Some((index, self.flights.flights.get(index)?)))
        else {
            problems.add(format!("{place} is no flight of the input"));
            return;
        };
        let line = index + 1;
        if std::mem::replace(&mut self.seen[index], true) {
            problems.add(format!("{place}: line {line} came twice"));
        }
        if record.value.as_ref() != Some(&flight.line) {
            problems.add(format!("{place}: the bytes of line {line} have changed"));
        }
        let topic = record.topic.to_string();
        match TOPICS.iter().position(|known| *known == topic) {
            Some(found) if found == flight.topic.0 => self.counts[found] += 1,
            _ => problems.add(format!(
                "{place}: line {line} belongs into {}",
                TOPICS[flight.topic.0]
            )),
        }
        self.order(record, flight, index, &place, problems);
    }

    fn order(
        &mut self,
        record: &Received,
        flight: &Flight,
        index: usize,
        place: &str,
        problems: &mut Problems,
    ) {
        let has_key = record
            .ordering_key
            .is_some_and(|key| key != OrderingKey::NONE);
        if self.with_keys && has_key != flight.aircraft.is_some() {
            problems.add(format!(
                "{place}: line {} has the wrong ordering key",
                index + 1
            ));
        }
        let Some(aircraft) = flight.aircraft else {
            return;
        };
        let place_of = (record.partition, index);
        if let Some((partition, last)) = self.last.insert((flight.topic, aircraft), place_of) {
            if partition != record.partition {
                problems.add(format!(
                    "{place}: its aircraft is also in partition {partition}"
                ));
            }
            if last >= index {
                problems.add(format!(
                    "{place}: line {} of its aircraft came after line {}",
                    index + 1,
                    last + 1
                ));
            }
        }
    }

    /// Whether exactly those flights came that had to come.
    pub fn finish(&self, wanted: impl Fn(&Flight) -> bool, problems: &mut Problems) {
        for (index, (flight, seen)) in self.flights.flights.iter().zip(&self.seen).enumerate() {
            let wanted = wanted(flight);
            if wanted && !seen {
                problems.add(format!("line {} is missing", index + 1));
            } else if !wanted && *seen {
                problems.add(format!("line {} should not have come", index + 1));
            }
        }
    }
}
