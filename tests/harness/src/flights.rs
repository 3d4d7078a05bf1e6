//! Flights: the real ones, and generated ones with everything that JSON allows. What has to become
//! of each is computed here, by code that knows neither broker nor plugins.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Deserialize;

use crate::report::say;

/// A flight is late above so many minutes.
pub const LATE_MINUTES: f64 = 15.0;
/// Flights of the whole file, as its README says.
const WHOLE: usize = 336_776;

/// A flight, and the fields that its way depends on.
#[derive(Clone, Debug)]
pub struct Flight {
    /// The line, without its newline.
    pub line: Bytes,
    /// Where it goes to.
    pub origin: String,
    /// What its order is kept by.
    pub tailnum: Option<String>,
    /// Its tag.
    pub carrier: Option<String>,
    /// Minutes.
    pub dep_delay: Option<f64>,
}

impl Flight {
    /// Whether the filter on the delay lets it through.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.dep_delay.is_some_and(|minutes| minutes > LATE_MINUTES)
    }
}

#[derive(Deserialize)]
struct Fields {
    origin: String,
    tailnum: Option<String>,
    carrier: Option<String>,
    dep_delay: Option<f64>,
}

/// The input there is.
#[derive(Debug)]
pub struct Input {
    /// The flights in their order.
    pub flights: Vec<Flight>,
    /// Whether it is all of 2013, so that the published answers hold.
    pub is_whole: bool,
}

/// The whole file if it is there (`WEIR_FLIGHTS`, or beside the repository), else the sample.
#[must_use]
pub fn real() -> Input {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let named = std::env::var_os("WEIR_FLIGHTS").map(PathBuf::from);
    let whole = named.unwrap_or_else(|| root.join("../shared/data/flights.ndjson.gz"));
    if whole.exists() {
        let flights = read(&whole);
        let is_whole = flights.len() == WHOLE;
        return Input { flights, is_whole };
    }
    say(&format!(
        "NOT ALL FLIGHTS: {} is missing (name it by WEIR_FLIGHTS); this runs on the sample only",
        whole.display()
    ));
    let flights = read(&root.join("examples/data/flights-sample.ndjson.gz"));
    Input {
        flights,
        is_whole: false,
    }
}

fn read(path: &Path) -> Vec<Flight> {
    let file = std::fs::File::open(path);
    let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut text = Vec::new();
    let read = MultiGzDecoder::new(file).read_to_end(&mut text);
    read.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let text = Bytes::from(text);
    let lines = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty());
    lines.map(|line| parse(text.slice_ref(line))).collect()
}

fn parse(line: Bytes) -> Flight {
    let fields: Fields = serde_json::from_slice(&line)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&line)));
    let Fields {
        origin,
        tailnum,
        carrier,
        dep_delay,
    } = fields;
    Flight {
        line,
        origin,
        tailnum,
        carrier,
        dep_delay,
    }
}

/// Makes flights up. What it says of a flight it knows from making it, not from reading it.
#[derive(Debug)]
pub struct Generator {
    rng: StdRng,
    fleet: String,
    aircraft: u32,
}

impl Generator {
    /// A generator for a fleet of that many aircraft; fleets of different names share none.
    #[must_use]
    pub fn new(seed: u64, fleet: impl Into<String>, aircraft: u32) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            fleet: fleet.into(),
            aircraft,
        }
    }

    /// The next flight.
    pub fn flight(&mut self) -> Flight {
        let rng = &mut self.rng;
        let origin = ["EWR", "JFK", "LGA"][rng.random_range(0..3)].to_owned();
        let number = rng.random_range(0..self.aircraft);
        let known = rng.random_bool(0.97);
        let tailnum = known.then(|| format!("{}é\"{number}", self.fleet));
        let carrier = ["UA", "B6", "EV", "DL", "OO"][rng.random_range(0..5)].to_owned();
        let minutes = rng.random_bool(0.95).then(|| rng.random_range(-60..120));
        let dep_delay = minutes.map(f64::from);
        let mut fields = vec![
            format!("\"origin\":\"{origin}\""),
            format!("\"carrier\" : \"{carrier}\""),
            format!("\"other\":{{\"tailnum\":\"no\",\"origin\":[\"XXX\",{number}]}}"),
            format!(
                "\"note\":\"{}\"",
                "\\\"tailnum\\\":1 ".repeat(rng.random_range(0..6))
            ),
        ];
        match &tailnum {
            Some(tailnum) => fields.push(format!("\"tailnum\":{}", escaped(tailnum, rng))),
            None if rng.random_bool(0.5) => fields.push("\"tailnum\":null".to_owned()),
            None => {}
        }
        if let Some(minutes) = minutes {
            fields.push(match rng.random_range(0..3) {
                0 => format!("\"dep_delay\":{minutes}"),
                1 => format!("\"dep_delay\": {minutes}.0"),
                _ => format!("\"dep_delay\":{minutes}.00E+0"),
            });
        }
        for at in (1..fields.len()).rev() {
            fields.swap(at, rng.random_range(0..=at));
        }
        let line = Bytes::from(format!("{{{}}}", fields.join(",")));
        Flight {
            line,
            origin,
            tailnum,
            carrier: Some(carrier),
            dep_delay,
        }
    }
}

/// A JSON string with some of its characters as escapes.
fn escaped(text: &str, rng: &mut StdRng) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        if character == '"' && rng.random_bool(0.5) {
            json.push_str("\\\"");
        } else if character == '"' || rng.random_bool(0.1) {
            write!(json, "\\u{:04x}", u32::from(character)).expect("a string takes everything");
        } else {
            json.push(character);
        }
    }
    json.push('"');
    json
}

/// Flights per origin that meet a condition.
#[must_use]
pub fn per_origin(flights: &[Flight], wanted: impl Fn(&Flight) -> bool) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for flight in flights.iter().filter(|flight| wanted(flight)) {
        *counts.entry(flight.origin.clone()).or_default() += 1;
    }
    counts
}

/// Compares the computed answers with those that the data's README states.
pub fn check_published(flights: &[Flight]) {
    let counts = |wanted: &dyn Fn(&Flight) -> bool| -> Vec<usize> {
        per_origin(flights, wanted).into_values().collect()
    };
    assert_eq!(
        counts(&|_| true),
        [120_835, 111_279, 104_662],
        "records per origin"
    );
    assert_eq!(
        counts(&Flight::is_late),
        [28_942, 22_650, 19_182],
        "late flights per origin"
    );
    let unknown = counts(&|flight| flight.tailnum.is_none());
    assert_eq!(
        unknown,
        [606, 909, 997],
        "flights without a known aircraft per origin"
    );
    let carriers = ["UA", "B6", "EV", "DL", "OO"].map(|carrier| {
        let of = |flight: &&Flight| flight.carrier.as_deref() == Some(carrier);
        flights.iter().filter(of).count()
    });
    assert_eq!(
        carriers,
        [58_665, 54_635, 54_173, 48_110, 32],
        "flights per carrier"
    );
    let aircraft: HashSet<_> = flights
        .iter()
        .filter_map(|flight| flight.tailnum.as_ref())
        .collect();
    assert_eq!(aircraft.len(), 4_043, "aircraft");
}

#[cfg(test)]
mod tests {
    use super::{Generator, parse};

    #[test]
    fn a_generated_flight_says_what_its_line_says() {
        let mut generator = Generator::new(1, "N", 50);
        for _ in 0..2_000 {
            let made = generator.flight();
            let read = parse(made.line.clone());
            assert_eq!(made.origin, read.origin);
            assert_eq!(made.tailnum, read.tailnum);
            assert_eq!(made.carrier, read.carrier);
            assert_eq!(made.dep_delay, read.dep_delay);
        }
    }
}
