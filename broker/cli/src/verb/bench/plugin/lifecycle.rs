//! What plugins cost a broker besides their calls: from the upload to the first record, a restart
//! with many of them, the memory of bindings that rest and of filters that run.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use weir_sdk::{Client, FilterSpec, Record, Subscriber};
use weir_wire::plugin::Hook;
use weir_wire::request::{Bind, Route, Setting};

use super::super::report::{Measurement, Report};
use super::super::{Load, load, median};
use crate::embedded::Embedded;
use crate::exit::{Exit, Failure};
use crate::output;

/// About 100 KB.
const ROUTE: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/fan-out-route.wasm");
const KEY: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/record-key.wasm");
const FILTER: &[u8] = include_bytes!("../../../../../../plugins/prebuilt/tag-filter.wasm");

const UPLOADS: u32 = 5;
/// Plugins that a broker restarts with, each bound to a topic.
const PLUGINS: u32 = 100;
const RESTARTS: u32 = 5;
/// Filters that run at once.
const FILTERS: u32 = 50;
/// A binding rests when it had no call for 30 s; some time more to see that.
const RESTING: Duration = Duration::from_secs(35);
/// What filters get.
const RECORDS: Load = Load {
    size: 100,
    batch: 1000,
    time: Duration::ZERO,
};

/// Measures all of it, with brokers whose data is in a new folder of that directory.
pub async fn measure(directory: &Path, report: &mut Report) -> Result<(), Failure> {
    let unusable = |error: std::io::Error| {
        Failure::failed(format!("cannot use {}: {error}", directory.display()))
    };
    std::fs::create_dir_all(directory).map_err(unusable)?;
    let folder = tempfile::Builder::new()
        .prefix("weir-bench-")
        .tempdir_in(directory)
        .map_err(unusable)?;
    let (with, without) = (folder.path().join("with"), folder.path().join("without"));
    upload(&with).await?;
    let broker = Embedded::start(&with).await?;
    let client = broker.connect().await?;
    let measured = async {
        // Before anything is loaded.
        report.add(resting(&client).await?)?;
        report.add(first_use(&client).await?)?;
        report.add(running(&client).await?)
    }
    .await;
    client.close().await;
    broker.stop().await;
    measured?;
    report.add(restart(&with, &without).await?)?;
    folder.close().map_err(unusable)
}

/// From the upload of a component to the first record behind it.
async fn first_use(client: &Client) -> Result<Measurement, Failure> {
    let (topic, other) = ("bench-uploaded", "bench-routed");
    client.admin().create_topic(topic, 1).await?;
    client.admin().create_topic(other, 1).await?;
    let mut times = Vec::new();
    for number in 0..UPLOADS {
        let component = variant(ROUTE, number);
        let begin = Instant::now();
        client.admin().push_plugin("bench-route", component).await?;
        let bind = Bind {
            config: vec![setting("field", "origin")],
            routes: vec![Route {
                value: "*".to_owned(),
                topic: parsed(other)?,
                partition: None,
            }],
            ..Bind::new(parsed("bench-route")?, parsed(topic)?, Hook::Route)
        };
        client.admin().bind(&bind).await?;
        let producer = client.producer(topic).open().await?;
        let record = Record::new(r#"{"origin":"JFK"}"#);
        producer.publish(record).await?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        let closed = producer.close().await;
        closed.map_err(|error| Failure::of(Exit::Failed, &error))?;
    }
    let slowest = times.iter().copied().fold(0.0, f64::max);
    Ok(Measurement::new("plugin-first-use", None)
        .with("component_bytes", ROUTE.len())
        .with("rounds", UPLOADS)
        .with("ms", median(times))
        .with("slowest_ms", slowest))
}

/// Memory of filters at work, with what else their subscriptions need on both ends.
async fn running(client: &Client) -> Result<Measurement, Failure> {
    let topic = "bench-filtered";
    client.admin().create_topic(topic, 1).await?;
    let producer = client.producer(topic).open().await?;
    let batch = load::batch(RECORDS, &["a", "b"])?;
    let ticket = producer.send_batch(batch).await;
    ticket.map_err(weir_sdk::PublishError::from)?.await?;
    let component = Bytes::from_static(FILTER);
    client
        .admin()
        .push_plugin("bench-filter", component)
        .await?;
    // What the first one needs is there for all.
    let first = read(client, topic, 0).await?;
    let before = resident(client).await?;
    let mut running = Vec::new();
    for number in 1..=FILTERS {
        running.push(read(client, topic, number).await?);
    }
    let each = resident(client).await?.saturating_sub(before) / u64::from(FILTERS);
    drop((first, running));
    Ok(Measurement::new("plugin-live-filter", None)
        .with("filters", FILTERS)
        .with("kib_each", each as f64 / 1024.0))
}

/// A subscription whose filter has been called.
async fn read(client: &Client, topic: &str, number: u32) -> Result<Subscriber, Failure> {
    let filter = FilterSpec {
        plugin: parsed("bench-filter")?,
        version: None,
        config: vec![setting("tags", &format!("a || never{number}"))],
        on_error: None,
        limits: None,
    };
    let mut subscriber = client.subscribe([topic]).filter(filter).open().await?;
    while !subscriber.is_caught_up() {
        match subscriber.next_event().await {
            Some(event) => drop(event?),
            None => return Err(Failure::failed("a subscription ended too early")),
        }
    }
    Ok(subscriber)
}

/// Topics, and as many plugins, which nobody has bound and no broker has in memory afterwards.
async fn upload(data: &Path) -> Result<(), Failure> {
    output::note(&format!("{PLUGINS} plugins are uploaded"));
    let broker = Embedded::start(data).await?;
    let client = broker.connect().await?;
    let uploaded = async {
        for number in 0..PLUGINS {
            let (admin, component) = (client.admin(), variant(KEY, number));
            admin.create_topic(&topic(number), 1).await?;
            admin.push_plugin(&plugin(number), component).await?;
        }
        Ok(())
    }
    .await;
    client.close().await;
    broker.stop().await;
    uploaded
}

/// Memory of bindings without traffic, each of a plugin of its own, over that of a broker which has
/// none of the plugins loaded.
async fn resting(client: &Client) -> Result<Measurement, Failure> {
    let before = resident(client).await?;
    for number in 0..PLUGINS {
        let at = parsed(&topic(number))?;
        let bind = Bind::new(parsed(&plugin(number))?, at, Hook::Key);
        client.admin().bind(&bind).await?;
    }
    produce_to_all(client).await?;
    tokio::time::sleep(RESTING).await;
    let kept = resident(client).await?.saturating_sub(before);
    Ok(Measurement::new("plugin-idle-bindings", None)
        .with("bindings", PLUGINS)
        .with("component_bytes", KEY.len())
        .with("mib", kept as f64 / f64::from(1 << 20)))
}

async fn produce_to_all(client: &Client) -> Result<(), Failure> {
    let topics: Vec<_> = (0..PLUGINS).map(topic).collect();
    let each = topics.iter().map(async |topic| {
        let producer = client.producer(topic).open().await?;
        let record = Record::new("value").key("key");
        producer.publish(record).await?;
        let closed = producer.close().await;
        closed.map_err(|error| Failure::of(Exit::Failed, &error))?;
        Ok::<_, Failure>(())
    });
    try_join_all(each).await?;
    Ok(())
}

/// How much longer a start takes with bound plugins, with their first record each, than one with
/// as many topics and no plugin.
async fn restart(with: &Path, without: &Path) -> Result<Measurement, Failure> {
    let broker = Embedded::start(without).await?;
    let client = broker.connect().await?;
    for number in 0..PLUGINS {
        client.admin().create_topic(&topic(number), 1).await?;
    }
    produce_to_all(&client).await?;
    client.close().await;
    broker.stop().await;
    let (mut ready, mut used, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..RESTARTS {
        let [bare, bare_used] = start(without).await?;
        let [loaded, loaded_used] = start(with).await?;
        ready.push((loaded - bare) / f64::from(PLUGINS));
        used.push((loaded_used - bare_used) / f64::from(PLUGINS));
        empty.push(bare);
    }
    Ok(Measurement::new("plugin-restart", None)
        .with("plugins", PLUGINS)
        .with("rounds", RESTARTS)
        .with("without_ms", median(empty))
        .with("ms_each", median(ready))
        .with("first_record_ms_each", median(used)))
}

/// Milliseconds until the broker is ready, and until a record went to every topic.
async fn start(data: &Path) -> Result<[f64; 2], Failure> {
    let begin = Instant::now();
    let broker = Embedded::start(data).await?;
    let ready = begin.elapsed();
    let client = broker.connect().await?;
    let produced = produce_to_all(&client).await;
    let used = begin.elapsed();
    client.close().await;
    broker.stop().await;
    produced?;
    Ok([ready, used].map(|time| time.as_secs_f64() * 1e3))
}

fn topic(number: u32) -> String {
    format!("bench-{number}")
}

fn plugin(number: u32) -> String {
    format!("bench-key-{number}")
}

fn parsed<T: std::str::FromStr<Err: std::error::Error>>(name: &str) -> Result<T, Failure> {
    let name = name.parse();
    name.map_err(|error| Failure::of(Exit::Failed, &error))
}

fn setting(name: &str, value: &str) -> Setting {
    Setting {
        name: name.to_owned(),
        value: value.to_owned(),
    }
}

/// The same component with another hash: with a custom section behind it that nobody reads.
fn variant(component: &'static [u8], number: u32) -> Bytes {
    const NAME: &[u8] = b"variant";
    let number = number.to_le_bytes();
    let mut bytes = component.to_vec();
    // Id, length, length of the name; all lengths are so small that a byte holds them.
    bytes.push(0);
    bytes.push((1 + NAME.len() + number.len()) as u8);
    bytes.push(NAME.len() as u8);
    bytes.extend_from_slice(NAME);
    bytes.extend_from_slice(&number);
    bytes.into()
}

/// Bytes of the broker's process, which is this one, that are in memory.
async fn resident(client: &Client) -> Result<u64, Failure> {
    Ok(client.admin().status().await?.memory_bytes)
}
