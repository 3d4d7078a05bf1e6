//! The whole of the hooks on produce over the flights: a transform that sets keys, masks and
//! rejects, routes that fan out, and the key that the transform set as ordering key. The answers
//! are computed here, and those of the whole file are published with it.

use std::collections::{BTreeMap, HashMap, VecDeque};

use bytes::Bytes;
use weir_harness::client::connect;
use weir_harness::flights::{Flight, check_published, real};
use weir_harness::plugins::push;
use weir_harness::process::Process;
use weir_harness::reading::to_the_end;
use weir_harness::report::say;
use weir_sdk::wire::id::{BindingId, Offset, PartitionId};
use weir_sdk::wire::name::TopicName;
use weir_sdk::wire::placement::OrderingKey;
use weir_sdk::wire::plugin::Hook;
use weir_sdk::wire::request::{Bind, Route, Setting};
use weir_sdk::{Client, Received, Record, RecordOutcome, Ticket};

use crate::setup;

const ADDRESSED: &str = "flights";
const LATE: &str = "flights-late";
const ROUTES: [(&str, &str); 4] = [
    ("EWR", "flights-ewr"),
    ("JFK", "flights-jfk"),
    ("LGA", "flights-lga"),
    ("late", LATE),
];
const TOPICS: [&str; 4] = ["flights-ewr", "flights-jfk", "flights-lga", LATE];
const PARTITIONS: u32 = 4;
const MASK: &str = "***";
const WAITING_MAX: usize = 50_000;
/// A header with the number of the flight in the input.
const NUMBER: &str = "number";

/// Where a record is: topic, partition, offset.
type Place = (String, PartitionId, Offset);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flights_are_keyed_masked_rejected_routed_and_fanned_out() {
    let input = real();
    let flights = &input.flights;
    if input.is_whole {
        check_published(flights);
    }
    let process = Process::start(setup());
    let client = connect(&process).await;
    let transform = prepare(&client).await;
    let places = send(&client, flights, transform).await;
    let stored = read(&client, flights, &places).await;
    let expected = expected(flights);
    assert_eq!(stored, expected, "records per topic");
    if input.is_whole {
        // In the order of names: EWR, JFK, late, LGA.
        let published = [117_596, 109_416, 70_774, 101_509];
        assert!(stored.values().eq(&published), "{stored:?}");
    }
    let rejected = flights.iter().filter(|flight| is_cancelled(flight)).count();
    say(&format!(
        "pipeline: {} flights, {rejected} rejected, stored as {stored:?}",
        flights.len()
    ));
    client.close().await;
}

fn is_cancelled(flight: &Flight) -> bool {
    flight.dep_delay.is_none()
}

/// Topics and bindings; answers the transform's.
async fn prepare(client: &Client) -> BindingId {
    let admin = client.admin();
    admin
        .create_topic(ADDRESSED, 1)
        .await
        .expect("a topic can be made");
    for topic in TOPICS {
        let made = admin.create_topic(topic, PARTITIONS).await;
        made.expect("a topic can be made");
    }
    for plugin in ["json-transform", "fan-out-route", "record-key"] {
        push(&admin, plugin).await;
    }
    let bind = |plugin: &str, hook, config: &[(&str, &str)]| Bind {
        config: config.iter().map(|pair| setting(*pair)).collect(),
        ..Bind::new(
            plugin.parse().expect("a plugin's name"),
            ADDRESSED.parse().expect("a topic's name"),
            hook,
        )
    };
    let transform = [
        ("key_from", "tailnum"),
        ("mask", "tailnum"),
        ("reject_if_null", "dep_delay"),
    ];
    let route = [("field", "origin"), ("also", "late:dep_delay > 15")];
    let routes = ROUTES.map(|(value, topic)| Route {
        value: value.to_owned(),
        topic: topic.parse().expect("a topic's name"),
        partition: None,
    });
    let binds = [
        bind("json-transform", Hook::Transform, &transform),
        Bind {
            routes: routes.into(),
            ..bind("fan-out-route", Hook::Route, &route)
        },
        bind("record-key", Hook::Key, &[]),
    ];
    let mut made = Vec::new();
    for bind in binds {
        let bound = admin.bind(&bind).await;
        made.push(bound.expect("a sample plugin can be bound").0.id);
    }
    made[0]
}

fn setting((name, value): (&str, &str)) -> Setting {
    Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// Sends the flights; answers of each where the broker says that it is.
async fn send(client: &Client, flights: &[Flight], transform: BindingId) -> Vec<Vec<Place>> {
    let producer = client.producer(ADDRESSED).open().await;
    let producer = producer.expect("a producer opens");
    let mut waiting = VecDeque::new();
    let mut places = Vec::with_capacity(flights.len());
    for (index, flight) in flights.iter().enumerate() {
        let record = Record::new(flight.line.clone()).header(NUMBER, index.to_string());
        let ticket = producer.send(record).await;
        waiting.push_back(ticket.expect("a producer takes records"));
        if waiting.len() == WAITING_MAX {
            places.push(settle(&mut waiting, &flights[places.len()], transform).await);
        }
    }
    producer.flush().await;
    while !waiting.is_empty() {
        places.push(settle(&mut waiting, &flights[places.len()], transform).await);
    }
    producer.close().await.expect("a producer ends in order");
    places
}

async fn settle(
    waiting: &mut VecDeque<Ticket>,
    flight: &Flight,
    transform: BindingId,
) -> Vec<Place> {
    let ticket = waiting.pop_front().expect("somebody waits");
    match ticket.await.expect("every flight has an outcome") {
        RecordOutcome::Stored(stored) => stored
            .places()
            .map(|at| (at.topic.to_string(), at.partition, at.offset))
            .collect(),
        RecordOutcome::Rejected(refused) => {
            assert!(is_cancelled(flight), "{refused:?}: {flight:?}");
            assert_eq!(refused.binding, transform);
            assert_eq!(&*refused.reason, "dep_delay is null or missing");
            Vec::new()
        }
        other => panic!("{other:?}: {flight:?}"),
    }
}

/// Reads everything back and checks every record; answers how many each topic has.
async fn read(
    client: &Client,
    flights: &[Flight],
    places: &[Vec<Place>],
) -> BTreeMap<String, usize> {
    let mut stored = BTreeMap::new();
    let mut found: Vec<Vec<Place>> = vec![Vec::new(); flights.len()];
    // The last flight of an aircraft in each topic.
    let mut last: HashMap<(TopicName, Bytes), (PartitionId, usize)> = HashMap::new();
    let reading = to_the_end(client, &TOPICS, None, |record| {
        let number = record.header(NUMBER).expect("it has its number");
        let number: usize = String::from_utf8_lossy(number).parse().expect("a number");
        check(&flights[number], &record);
        if let Some(key) = record.key.clone() {
            let aircraft = ((*record.topic).clone(), key);
            if let Some((partition, before)) = last.insert(aircraft, (record.partition, number)) {
                assert_eq!(partition, record.partition, "one aircraft, one partition");
                assert!(before < number, "flight {number} behind flight {before}");
            }
        }
        *stored.entry(record.topic.to_string()).or_default() += 1;
        let place = (record.topic.to_string(), record.partition, record.offset);
        found[number].push(place);
    });
    reading.await.expect("everything can be read");
    for ((found, said), flight) in found.iter_mut().zip(places).zip(flights) {
        let mut said = said.clone();
        found.sort();
        said.sort();
        assert_eq!(*found, said, "{flight:?}");
    }
    stored
}

/// The record is the flight, with its key, and without its tail number.
fn check(flight: &Flight, record: &Received) {
    let key = flight.tailnum.as_deref().map(str::as_bytes);
    assert_eq!(record.key.as_deref(), key, "{flight:?}");
    let ordering_key = key.map_or(OrderingKey::NONE, OrderingKey::hash);
    assert_eq!(record.ordering_key, Some(ordering_key), "{flight:?}");
    let parse = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes);
    let mut expected = parse(&flight.line).expect("a flight is JSON");
    if flight.tailnum.is_some() {
        expected["tailnum"] = MASK.into();
    }
    let value = record.value.as_deref().expect("a flight has a body");
    assert_eq!(parse(value).expect("it stays JSON"), expected);
}

fn expected(flights: &[Flight]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for flight in flights.iter().filter(|flight| !is_cancelled(flight)) {
        let origin = ROUTES.iter().find(|(value, _)| *value == flight.origin);
        let (_, topic) = origin.expect("flights leave from three airports");
        *counts.entry((*topic).to_owned()).or_default() += 1;
        if flight.is_late() {
            *counts.entry(LATE.to_owned()).or_default() += 1;
        }
    }
    counts
}
