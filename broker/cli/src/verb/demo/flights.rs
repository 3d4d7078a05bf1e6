//! The input and its answers, computed without a broker.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;

use crate::exit::{Exit, Failure};
use crate::input::{Format, Item, Line, LineNumber, LineRules, Source, read_in_background};

/// The topics that records end in; the last one takes what has no topic of its own.
pub const TOPICS: [&str; 4] = ["flights-ewr", "flights-jfk", "flights-lga", "flights-other"];
/// The origins of the first three.
pub const ORIGINS: [&str; 3] = ["EWR", "JFK", "LGA"];
/// What the tag filter lets through.
pub const TAGS: [&str; 2] = ["UA", "DL"];
/// A flight is late above so many minutes.
pub const LATE_MINUTES: f64 = 15.0;

/// An index into [`TOPICS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicIndex(pub usize);

/// An aircraft, by the order in which the input names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Aircraft(u32);

/// A flight, and what has to become of it.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The line as it stands in the input.
    pub line: Bytes,
    /// Its tag.
    pub carrier: Option<String>,
    /// Where it has to be stored.
    pub topic: TopicIndex,
    /// What order is kept by; none without a known number.
    pub aircraft: Option<Aircraft>,
    /// Whether the tag filter has to let it through.
    pub tagged: bool,
    /// Whether the delay filter has to let it through.
    pub late: bool,
}

/// The input, in its order.
#[derive(Debug, Default)]
pub struct Flights {
    /// Flight `n` stands in line `n + 1`, blank lines not counted.
    pub flights: Vec<Flight>,
    /// How many aircraft there are.
    pub aircraft: HashMap<String, Aircraft>,
}

/// The fields that the answers depend on.
#[derive(Deserialize)]
struct Fields {
    origin: Option<String>,
    tailnum: Option<String>,
    carrier: Option<String>,
    dep_delay: Option<f64>,
}

impl Flights {
    /// Reads the input into memory: the answers need all of it.
    pub async fn read(source: Source) -> Result<Self, Failure> {
        let rules = LineRules {
            format: Format::Ndjson,
            key_field: None,
            tag_field: None,
            key_separator: None,
        };
        let mut chunks = read_in_background(source, rules, LineNumber::default());
        let mut flights = Self::default();
        while let Some(chunk) = chunks.recv().await {
            for line in chunk.map_err(|error| Failure::of(Exit::Failed, &error))? {
                flights.add(line)?;
            }
        }
        if flights.flights.is_empty() {
            return Err(Failure::failed("the input holds no flights"));
        }
        Ok(flights)
    }

    fn add(&mut self, line: Line) -> Result<(), Failure> {
        let number = line.number;
        let bad = |reason: String| Failure::failed(format!("line {number} is no flight: {reason}"));
        let value = match line.item {
            Item::Record(record) => record.value.unwrap_or_default(),
            Item::Blank => return Ok(()),
            Item::Bad { reason, .. } => return Err(bad(reason)),
        };
        let fields: Fields =
            serde_json::from_slice(&value).map_err(|error| bad(error.to_string()))?;
        let origin = fields
            .origin
            .ok_or_else(|| bad("it has no origin".to_owned()))?;
        let known = ORIGINS.iter().position(|known| *known == origin);
        let aircraft = fields.tailnum.map(|number| {
            let next = Aircraft(self.aircraft.len() as u32);
            *self.aircraft.entry(number).or_insert(next)
        });
        let carrier = fields.carrier;
        self.flights.push(Flight {
            line: value,
            topic: TopicIndex(known.unwrap_or(ORIGINS.len())),
            aircraft,
            tagged: carrier
                .as_deref()
                .is_some_and(|carrier| TAGS.contains(&carrier)),
            late: fields
                .dep_delay
                .is_some_and(|minutes| minutes > LATE_MINUTES),
            carrier,
        });
        Ok(())
    }

    /// How many flights belong to a topic, all or those of a kind.
    pub fn count(&self, topic: TopicIndex, of: impl Fn(&Flight) -> bool) -> usize {
        let flights = self.flights.iter();
        flights
            .filter(|flight| flight.topic == topic && of(flight))
            .count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(text: &'static str) -> Result<Flights, Failure> {
        Flights::read(Source::from_bytes(text.as_bytes()).unwrap()).await
    }

    #[tokio::test]
    async fn answers_come_from_the_input() {
        let flights = read(concat!(
            r#"{"origin":"JFK","tailnum":"N1","carrier":"UA","dep_delay":15}"#,
            "\n",
            r#"{"origin":"LGA","tailnum":null,"carrier":"B6","dep_delay":15.5}"#,
            "\n\n",
            r#"{"origin":"SFO","tailnum":"N1","carrier":"DL","dep_delay":null}"#,
        ))
        .await
        .unwrap();
        let found: Vec<_> = flights
            .flights
            .iter()
            .map(|flight| {
                (
                    TOPICS[flight.topic.0],
                    flight.aircraft,
                    flight.tagged,
                    flight.late,
                )
            })
            .collect();
        let first = Some(Aircraft(0));
        assert_eq!(
            found,
            [
                ("flights-jfk", first, true, false),
                ("flights-lga", None, false, true),
                ("flights-other", first, true, false),
            ]
        );
    }

    #[tokio::test]
    async fn what_is_no_flight_is_named() {
        for (text, expected) in [
            ("{}", "line 1 is no flight: it has no origin"),
            ("x", "line 1 is no flight: not JSON"),
            ("\n", "the input holds no flights"),
        ] {
            let message = read(text).await.unwrap_err().to_string();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
