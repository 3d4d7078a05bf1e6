//! The job: topics, plugins, bindings, sending, and the three readings.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_sdk::{Client, FilterSpec, Record, RecordOutcome, Ticket};
use weir_wire::plugin::Hook;
use weir_wire::request::{Bind, Route, Setting};

use super::check::{Checker, LINE_HEADER, Problems};
use super::flights::{Flight, Flights, LATE_MINUTES, ORIGINS, TAGS, TOPICS, TopicIndex};
use crate::exit::Failure;

/// The topic that everything is sent to; the route sends it on.
pub const ADDRESSED: &str = "flights";
/// More than one, so that order is a matter of keys and not of luck.
pub const PARTITIONS: u32 = 4;

macro_rules! prebuilt {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!("../../../../../plugins/prebuilt/", $name, ".wasm")).as_slice(),
        )
    };
}

/// The sample plugins that the program brings along.
const PLUGINS: [(&str, &[u8]); 4] = [
    prebuilt!("json-key"),
    prebuilt!("json-route"),
    prebuilt!("tag-filter"),
    prebuilt!("json-filter"),
];

/// What the demo found.
#[derive(Debug, Default)]
pub struct Findings {
    /// Flights in the input.
    pub flights: usize,
    /// Aircraft in the input.
    pub aircraft: usize,
    /// Flights without a known aircraft.
    pub unordered: usize,
    /// Bytes of the input's lines.
    pub bytes: usize,
    /// How long compiling and uploading the plugins took.
    pub pushed_in: Duration,
    /// How long sending took, to the last acknowledgement.
    pub sent_in: Duration,
    /// What each topic holds, and what it should.
    pub stored: Vec<(&'static str, usize, usize)>,
    /// Pairs of topic and aircraft whose order was checked.
    pub orders: usize,
    /// The readings through filters.
    pub filtered: Vec<Filtered>,
    /// What is wrong.
    pub problems: Problems,
}

/// A reading through a filter.
#[derive(Debug)]
pub struct Filtered {
    /// The plugin.
    pub plugin: &'static str,
    /// Its setting.
    pub setting: String,
    /// Records that came through.
    pub delivered: usize,
    /// Records that had to.
    pub expected: usize,
}

/// A client and what it is to do.
#[derive(Debug)]
pub struct Job<'a> {
    client: &'a Client,
    flights: &'a Flights,
    findings: Findings,
}

impl<'a> Job<'a> {
    /// Nothing is done yet.
    pub fn new(client: &'a Client, flights: &'a Flights) -> Self {
        let all = &flights.flights;
        let findings = Findings {
            flights: all.len(),
            aircraft: flights.aircraft.len(),
            unordered: all
                .iter()
                .filter(|flight| flight.aircraft.is_none())
                .count(),
            bytes: all.iter().map(|flight| flight.line.len()).sum(),
            ..Findings::default()
        };
        Self {
            client,
            flights,
            findings,
        }
    }

    /// Does everything; what is wrong is among the findings.
    pub async fn run(mut self) -> Result<Findings, Failure> {
        self.prepare().await?;
        self.send().await?;
        self.read_all().await?;
        let tags = format!("tags={}", TAGS.join(" || "));
        self.read_filtered("tag-filter", tags, |flight| flight.tagged)
            .await?;
        let late = format!("where=dep_delay > {LATE_MINUTES}");
        self.read_filtered("json-filter", late, |flight| flight.late)
            .await?;
        Ok(self.findings)
    }

    async fn prepare(&mut self) -> Result<(), Failure> {
        let admin = self.client.admin();
        admin.create_topic(ADDRESSED, 1).await?;
        for topic in TOPICS {
            admin.create_topic(topic, PARTITIONS).await?;
        }
        let begin = Instant::now();
        for (name, component) in PLUGINS {
            admin
                .push_plugin(name, Bytes::from_static(component))
                .await?;
        }
        self.findings.pushed_in = begin.elapsed();
        admin
            .bind(&bind("json-key", Hook::Key, "field=tailnum", Vec::new())?)
            .await?;
        let mut routes = Vec::new();
        for (value, topic) in ORIGINS.into_iter().chain(["*"]).zip(TOPICS) {
            routes.push(Route {
                value: value.to_owned(),
                topic: name(topic)?,
                partition: None,
            });
        }
        admin
            .bind(&bind("json-route", Hook::Route, "field=origin", routes)?)
            .await?;
        Ok(())
    }

    /// Sends every flight, tagged with its carrier, and counts where each is stored.
    async fn send(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        let producer = self.client.producer(ADDRESSED).open().await?;
        let mut counts = [0; TOPICS.len()];
        let mut waiting = VecDeque::new();
        for (index, flight) in self.flights.flights.iter().enumerate() {
            let mut record = Record::new(flight.line.clone());
            if let Some(carrier) = &flight.carrier {
                record = record.tag(carrier.clone());
            }
            let record = record.header(LINE_HEADER, (index + 1).to_string());
            let ticket = producer
                .send(record)
                .await
                .map_err(weir_sdk::PublishError::from)?;
            waiting.push_back((index, ticket));
            while waiting
                .front()
                .is_some_and(|(_, ticket)| ticket.outcome().is_some())
            {
                self.settle(&mut waiting, &mut counts).await?;
            }
        }
        producer.flush().await;
        while !waiting.is_empty() {
            self.settle(&mut waiting, &mut counts).await?;
        }
        self.findings.sent_in = begin.elapsed();
        producer
            .close()
            .await
            .map_err(|error| Failure::of(crate::exit::Exit::Failed, &error))?;
        for (index, topic) in TOPICS.into_iter().enumerate() {
            let expected = self.flights.count(TopicIndex(index), |_| true);
            let what = format!("acknowledged into {topic}");
            self.findings
                .problems
                .compare(&what, counts[index], expected);
        }
        Ok(())
    }

    async fn settle(
        &mut self,
        waiting: &mut VecDeque<(usize, Ticket)>,
        counts: &mut [usize; TOPICS.len()],
    ) -> Result<(), Failure> {
        let Some((index, ticket)) = waiting.pop_front() else {
            return Ok(());
        };
        match ticket.await? {
            RecordOutcome::Stored(stored) => {
                for place in stored.places() {
                    let topic = place.topic.to_string();
                    if let Some(found) = TOPICS.iter().position(|known| *known == topic) {
                        counts[found] += 1;
                    }
                }
            }
            other => {
                let problem = format!("line {} was not stored: {other:?}", index + 1);
                self.findings.problems.add(problem);
            }
        }
        Ok(())
    }

    async fn read_all(&mut self) -> Result<(), Failure> {
        let mut checker = Checker::new(self.flights, true);
        self.read(None, &mut checker).await?;
        checker.finish(|_| true, &mut self.findings.problems);
        self.findings.orders = checker.orders();
        for (index, topic) in TOPICS.into_iter().enumerate() {
            let expected = self.flights.count(TopicIndex(index), |_| true);
            let found = checker.counts()[index];
            self.findings
                .problems
                .compare(&format!("stored in {topic}"), found, expected);
            self.findings.stored.push((topic, found, expected));
        }
        Ok(())
    }

    async fn read_filtered(
        &mut self,
        plugin: &'static str,
        setting: String,
        wanted: impl Fn(&Flight) -> bool,
    ) -> Result<(), Failure> {
        let mut checker = Checker::new(self.flights, false);
        let filter = FilterSpec {
            plugin: plugin_name(plugin)?,
            version: None,
            config: vec![split(&setting)?],
            on_error: None,
            limits: None,
        };
        self.read(Some(filter), &mut checker).await?;
        let problems = &mut self.findings.problems;
        checker.finish(&wanted, problems);
        let delivered = checker.counts().iter().sum();
        let expected = self
            .flights
            .flights
            .iter()
            .filter(|flight| wanted(flight))
            .count();
        problems.compare(&format!("through {plugin} {setting}"), delivered, expected);
        self.findings.filtered.push(Filtered {
            plugin,
            setting,
            delivered,
            expected,
        });
        Ok(())
    }

    /// Reads all topics to their ends.
    async fn read(
        &mut self,
        filter: Option<FilterSpec>,
        checker: &mut Checker<'_>,
    ) -> Result<(), Failure> {
        let with_keys = filter.is_none();
        let mut builder = self.client.subscribe(TOPICS).ordering_keys(with_keys);
        if let Some(filter) = filter {
            builder = builder.filter(filter);
        }
        let mut subscriber = builder.open().await?;
        while !subscriber.is_caught_up() {
            let Some(event) = subscriber.next_event().await else {
                return Err(Failure::failed("the subscription ended too early"));
            };
            if let weir_sdk::Event::Records(batch) = event? {
                for record in batch {
                    checker.record(&record?, &mut self.findings.problems);
                }
            }
        }
        Ok(())
    }
}

fn bind(plugin: &str, hook: Hook, setting: &str, routes: Vec<Route>) -> Result<Bind, Failure> {
    Ok(Bind {
        config: vec![split(setting)?],
        routes,
        ..Bind::new(plugin_name(plugin)?, name(ADDRESSED)?, hook)
    })
}

fn split(setting: &str) -> Result<Setting, Failure> {
    crate::verb::plugin::setting(setting).map_err(Failure::failed)
}

fn name(topic: &str) -> Result<weir_wire::name::TopicName, Failure> {
    topic
        .parse()
        .map_err(|error: weir_wire::name::NameError| Failure::failed(error.to_string()))
}

fn plugin_name(plugin: &str) -> Result<weir_wire::name::PluginName, Failure> {
    plugin
        .parse()
        .map_err(|error: weir_wire::name::NameError| Failure::failed(error.to_string()))
}
