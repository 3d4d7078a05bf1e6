//! All flights through `json-key` and `json-route`, read back through filters, compared with
//! answers that no broker computed.

use std::collections::{BTreeMap, VecDeque};

use weir_harness::client::connect;
use weir_harness::flights::{Flight, Generator, LATE_MINUTES, check_published, per_origin, real};
use weir_harness::history::{History, Place, RecordId, RequestId, Sent, Stored, summary};
use weir_harness::plugins::{filter, key, push, route};
use weir_harness::process::Process;
use weir_harness::reading::to_the_end;
use weir_harness::report::{say, seed};
use weir_sdk::{Client, Received, Record, Ticket};

use crate::setup;

const ADDRESSED: &str = "flights";
const ROUTES: [(&str, &str); 3] = [
    ("EWR", "flights-ewr"),
    ("JFK", "flights-jfk"),
    ("LGA", "flights-lga"),
];
const TOPICS: [&str; 3] = ["flights-ewr", "flights-jfk", "flights-lga"];
const PARTITIONS: u32 = 4;
const GENERATED: usize = 30_000;
const ID_HEADER: &str = "id";
/// Records that one history holds; the whole of the flights is a few of them.
const TICKETS_MAX: usize = 50_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_flights_of_a_year() {
    let input = real();
    if input.is_whole {
        check_published(&input.flights);
    }
    run("flights of 2013", &input.flights).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn generated_flights() {
    let mut generator = Generator::new(seed("generated flights"), "N", 800);
    let flights: Vec<_> = (0..GENERATED).map(|_| generator.flight()).collect();
    run("generated flights", &flights).await;
}

async fn run(name: &str, flights: &[Flight]) {
    let process = Process::start(setup());
    let client = connect(&process).await;
    prepare(&client).await;
    let mut history = History::default();
    send(&client, flights, &mut history).await;
    let expected = per_origin(flights, |_| true);
    let mut stored = BTreeMap::new();
    let read = to_the_end(&client, &TOPICS, None, |record| {
        *stored.entry(origin(&record)).or_default() += 1;
        history.stored(found(record));
    });
    read.await.expect("everything can be read");
    assert_eq!(stored, expected, "{name}: records per topic");
    let problems = history.check();
    assert!(problems.is_empty(), "{name}: {}", summary(&problems));
    for carriers in [&["UA"][..], &["B6", "OO"]] {
        let setting = carriers.join(" || ");
        let wanted = |flight: &Flight| {
            flight
                .carrier
                .as_deref()
                .is_some_and(|carrier| carriers.contains(&carrier))
        };
        filtered(&client, flights, "tag-filter", ("tags", &setting), wanted).await;
    }
    let late = format!("dep_delay > {LATE_MINUTES}");
    filtered(
        &client,
        flights,
        "json-filter",
        ("where", &late),
        Flight::is_late,
    )
    .await;
    say(&format!(
        "{name}: {} flights stored as {stored:?}, all answers right",
        flights.len()
    ));
    client.close().await;
}

async fn prepare(client: &Client) {
    let admin = client.admin();
    admin
        .create_topic(ADDRESSED, 1)
        .await
        .expect("a topic can be made");
    for topic in TOPICS {
        admin
            .create_topic(topic, PARTITIONS)
            .await
            .expect("a topic can be made");
    }
    for plugin in ["json-key", "json-route", "tag-filter", "json-filter"] {
        push(&admin, plugin).await;
    }
    let key = key(ADDRESSED, "json-key", ("field", "tailnum"));
    admin
        .bind(&key)
        .await
        .expect("a sample plugin can be bound");
    let route = route(ADDRESSED, "json-route", ("field", "origin"), &ROUTES);
    admin
        .bind(&route)
        .await
        .expect("a sample plugin can be bound");
}

fn id(index: usize) -> RecordId {
    let number = u32::try_from(index).expect("no input has billions of flights");
    RecordId {
        request: RequestId {
            producer: 0,
            number,
        },
        index: 0,
    }
}

async fn send(client: &Client, flights: &[Flight], history: &mut History) {
    let producer = client
        .producer(ADDRESSED)
        .open()
        .await
        .expect("a producer opens");
    let mut waiting = VecDeque::new();
    for (index, flight) in flights.iter().enumerate() {
        let id = id(index);
        history.sent(
            id,
            Sent {
                key: flight.tailnum.clone(),
                value: flight.line.clone(),
            },
        );
        let mut record = Record::new(flight.line.clone()).header(ID_HEADER, id.to_string());
        if let Some(carrier) = &flight.carrier {
            record = record.tag(carrier.clone());
        }
        waiting.push_back((
            id,
            producer
                .send(record)
                .await
                .expect("a producer takes records"),
        ));
        if waiting.len() == TICKETS_MAX {
            settle(&mut waiting, history).await;
        }
    }
    producer.flush().await;
    while !waiting.is_empty() {
        settle(&mut waiting, history).await;
    }
    producer.close().await.expect("a producer ends in order");
}

async fn settle(waiting: &mut VecDeque<(RecordId, Ticket)>, history: &mut History) {
    let Some((id, ticket)) = waiting.pop_front() else {
        return;
    };
    let outcome = ticket
        .await
        .unwrap_or_else(|error| panic!("record {id}: {error}"));
    let stored = outcome
        .stored()
        .unwrap_or_else(|| panic!("record {id}: {outcome:?}"));
    let places = stored.places().map(|place| Place {
        topic: place.topic.clone(),
        partition: place.partition,
        offset: place.offset,
    });
    history.acknowledged(id, places.collect());
}

fn found(record: Received) -> Stored {
    let id = record
        .header(ID_HEADER)
        .map(|id| String::from_utf8_lossy(id));
    Stored {
        id: id.and_then(|id| id.parse().ok()),
        place: Place {
            topic: (*record.topic).clone(),
            partition: record.partition,
            offset: record.offset,
        },
        key: record.ordering_key,
        value: record.value.unwrap_or_default(),
    }
}

/// The origin whose topic a record is in.
fn origin(record: &Received) -> String {
    let topic = record.topic.to_string();
    let known = ROUTES.iter().find(|(_, name)| *name == topic);
    known.map_or(topic.clone(), |(origin, _)| (*origin).to_owned())
}

/// Exactly those flights come through that the input says.
async fn filtered(
    client: &Client,
    flights: &[Flight],
    plugin: &str,
    setting: (&str, &str),
    wanted: impl Fn(&Flight) -> bool,
) {
    let mut counts = BTreeMap::new();
    let mut came = vec![false; flights.len()];
    let read = to_the_end(client, &TOPICS, Some(filter(plugin, setting)), |record| {
        *counts.entry(origin(&record)).or_default() += 1;
        let id = found(record)
            .id
            .expect("every record of this test has an id");
        let first = !std::mem::replace(&mut came[id.request.number as usize], true);
        assert!(first, "{plugin} {setting:?}: record {id} came twice");
    });
    read.await
        .expect("a filtered subscription reads to the end");
    assert_eq!(
        counts,
        per_origin(flights, &wanted),
        "{plugin} {setting:?}: records per topic"
    );
    for (flight, came) in flights.iter().zip(came) {
        assert_eq!(wanted(flight), came, "{plugin} {setting:?}: {flight:?}");
    }
}
