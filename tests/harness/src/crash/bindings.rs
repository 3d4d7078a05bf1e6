//! The topics and bindings of a run, in three generations. A generation's topics begin with its
//! own word, so that a record's topic tells under which binding its hooks ran.

use rand::Rng;
use weir_sdk::Client;
use weir_wire::plugin::Hook;
use weir_wire::request::Bind;

use super::ADDRESSED;
use crate::plugins::{another_version, key, prebuilt, push_as, route};

const PARTITIONS: u32 = 3;
/// By `json-route`, by another version of it, and by `hash-route` under the name of both.
const TOPICS: [[&str; 3]; 3] = [
    ["first-jfk", "first-ewr", "first-lga"],
    ["second-jfk", "second-ewr", "second-lga"],
    ["third-0", "third-1", "third-2"],
];
const VALUES: [&str; 3] = ["JFK", "EWR", "LGA"];

/// The bindings that a run changes between.
#[derive(Debug)]
pub(super) struct Bindings {
    routes: Vec<Bind>,
    keys: Vec<Bind>,
    generation: usize,
}

impl Bindings {
    /// Makes the topics, pushes the plugins, binds the first generation.
    pub(super) async fn prepare(client: &Client) -> Self {
        let admin = client.admin();
        let made = admin.create_topic(ADDRESSED, 1).await;
        made.unwrap_or_else(|error| panic!("topic {ADDRESSED} is made: {error}"));
        for topic in TOPICS.into_iter().flatten() {
            let made = admin.create_topic(topic, PARTITIONS).await;
            made.unwrap_or_else(|error| panic!("topic {topic} is made: {error}"));
        }
        let mut keys = Vec::new();
        for number in 0..2 {
            let component = another_version(&prebuilt("json-key"), number);
            let version = push_as(&admin, "json-key", component).await;
            let bind = key(ADDRESSED, "json-key", ("field", "tailnum"));
            keys.push(Bind {
                version: Some(version),
                ..bind
            });
        }
        let mut routes = Vec::new();
        let json = prebuilt("json-route");
        let components = [
            (json.clone(), ("field", "origin")),
            (another_version(&json, 0), ("field", "origin")),
            (prebuilt("hash-route"), ("field", "tailnum")),
        ];
        for (topics, (component, setting)) in TOPICS.into_iter().zip(components) {
            let version = push_as(&admin, "json-route", component).await;
            let pairs: Vec<_> = VALUES.into_iter().zip(topics).collect();
            let bind = route(ADDRESSED, "json-route", setting, &pairs);
            routes.push(Bind {
                version: Some(version),
                ..bind
            });
        }
        for bind in [&keys[0], &routes[0]] {
            let bound = admin.bind(bind).await;
            bound.unwrap_or_else(|error| panic!("the first bindings are made: {error}"));
        }
        Self {
            routes,
            keys,
            generation: 0,
        }
    }

    /// All topics that records may end in.
    pub(super) fn topics(&self) -> Vec<&'static str> {
        TOPICS.into_iter().flatten().collect()
    }

    /// The route binding of the next generation.
    pub(super) fn next_route(&mut self) -> Bind {
        self.generation = (self.generation + 1) % self.routes.len();
        self.routes[self.generation].clone()
    }

    /// Changes the route binding, and the version of the key plugin sometimes.
    pub(super) async fn change(&mut self, client: &Client, rng: &mut impl Rng) {
        let mut binds = vec![self.next_route()];
        if rng.random_bool(0.5) {
            let key = &self.keys[rng.random_range(0..self.keys.len())];
            binds.insert(rng.random_range(0..=1), key.clone());
        }
        for bind in binds {
            let hook = if bind.hook == Hook::Key {
                "key"
            } else {
                "route"
            };
            let bound = client.admin().bind(&bind).await;
            bound.unwrap_or_else(|error| panic!("another {hook} plugin is bound: {error}"));
        }
    }
}
