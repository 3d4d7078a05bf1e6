//! Filters on delivery at scale: what they said is remembered and shared, never wrongly; however
//! little they keep, the subscriber hears how far they have looked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_broker::StartOptions;
use weir_broker::config::ByteSize;
use weir_broker::testing::TestBroker;
use weir_harness::plugins::{filter, prebuilt, push, push_as};
use weir_harness::report::{deep, say};
use weir_sdk::wire::batch::{BatchBuilder, Compression, NewRecord};
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::{Offset, Timestamp};
use weir_sdk::wire::plugin::ErrorPolicy;
use weir_sdk::wire::request::{BindingLimits, Setting};
use weir_sdk::{Client, Event, FilterSpec, Start, SubscribeError};

pub const TOPIC: &str = "filtered";
/// How long a subscriber may hear nothing: far more than a busy machine needs for anything.
pub const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A broker with a topic of one partition, and the plugins that are tried on it.
pub struct Scene {
    broker: TestBroker,
    pub client: Client,
    metrics: SocketAddr,
}

/// What came of a subscription up to the end that the topic had when it began.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    offsets: Vec<u64>,
    filtered_out: u64,
    progress: usize,
}

impl Scene {
    pub async fn start(cache_bytes: ByteSize) -> Self {
        let configure = |config: &mut weir_broker::config::Config| {
            config.plugins.compiler = Some(PathBuf::from(env!("CARGO_BIN_EXE_weir")));
            config.plugins.verdict_cache_bytes = cache_bytes;
            config.metrics = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        };
        let broker = TestBroker::start_with(configure, StartOptions::default()).await;
        let broker = broker.unwrap();
        let client = Client::builder(broker.address())
            .ca_file(broker.ca_file())
            .token(broker.token())
            .connect()
            .await
            .unwrap();
        client.admin().create_topic(TOPIC, 1).await.unwrap();
        push(&client.admin(), "tag-filter").await;
        let metrics = broker.broker().metrics_address().unwrap();
        Self {
            broker,
            client,
            metrics,
        }
    }

    pub async fn push_hostile(&self, name: &str) {
        let component = prebuilt(&format!("hostile/{name}"));
        self.client
            .admin()
            .push_plugin(name, component)
            .await
            .unwrap();
    }

    pub async fn send(&self, batches: impl IntoIterator<Item = Bytes>) {
        let producer = self.client.producer(TOPIC).open().await.unwrap();
        for batch in batches {
            drop(producer.send_batch(batch).await.unwrap());
        }
        producer.close().await.unwrap();
    }

    async fn read(&self, filters: &[FilterSpec]) -> Result<Read, SubscribeError> {
        self.read_from(Start::Earliest, filters).await
    }

    async fn read_from(&self, from: Start, filters: &[FilterSpec]) -> Result<Read, SubscribeError> {
        let mut builder = self.client.subscribe([TOPIC]).from(from);
        for filter in filters {
            builder = builder.filter(filter.clone());
        }
        let mut subscriber = builder.open().await?;
        let mut read = Read::default();
        while !subscriber.is_caught_up() {
            let event = timeout(SILENCE_MAX, subscriber.next_event()).await;
            match event.expect("it hears of the end").unwrap()? {
                Event::Records(batch) => {
                    for record in batch {
                        read.offsets.push(record?.offset.value());
                    }
                }
                Event::Progress(progress) => {
                    read.filtered_out += progress.filtered_out;
                    read.progress += 1;
                }
                other => panic!("{other:?}"),
            }
        }
        Ok(read)
    }

    /// A number of the broker's metrics.
    pub async fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.metrics).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(' '));
        let (_, value) = lines.find(|(found, _)| *found == name).unwrap();
        value.parse().unwrap()
    }

    async fn hits(&self) -> u64 {
        self.metric("weir_verdict_hits_total").await
    }

    async fn misses(&self) -> u64 {
        self.metric("weir_verdict_misses_total").await
    }

    pub async fn end(self) {
        self.client.close().await;
        self.broker.shutdown().await;
    }
}

/// Batches of so many records, each tagged with what `tag` says of its number.
fn tagged(batches: usize, records: usize, tag: impl Fn(usize) -> &'static str) -> Vec<Bytes> {
    let batch = |n: usize| {
        let mut builder = BatchBuilder::default();
        for record in n * records..(n + 1) * records {
            let record = NewRecord {
                key: None,
                value: Some(b"value"),
                headers: &[("tag", tag(record).as_bytes())],
            };
            builder.push(Timestamp::new(1_700_000_000_000), &record);
        }
        Bytes::from(builder.finish(Compression::None).unwrap())
    };
    (0..batches).map(batch).collect()
}

fn tags(tags: &str) -> Vec<FilterSpec> {
    vec![filter("tag-filter", ("tags", tags))]
}

fn with_settings(plugin: &str, settings: &[(&str, &str)]) -> Vec<FilterSpec> {
    let mut spec = filter(plugin, ("", ""));
    let setting = |(name, value): &(&str, &str)| Setting {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    spec.config = settings.iter().map(setting).collect();
    vec![spec]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_filter_said_is_not_asked_for_again() {
    const BATCHES: usize = 600;
    const RECORDS: usize = 50;
    let total = (BATCHES * RECORDS) as u64;
    let scene = Scene::start(ByteSize::mib(64)).await;
    // One in a hundred is rare, and those of the last third are nowhere else.
    scene
        .send(tagged(BATCHES, RECORDS, |n| match n {
            n if n % 100 == 7 => "rare",
            n if n >= BATCHES * RECORDS / 3 * 2 => "late",
            _ => "plain",
        }))
        .await;
    for (expression, wanted) in [("rare", 300), ("late", 9900), ("none", 0), ("*", 30_000)] {
        let (hits, misses) = (scene.hits().await, scene.misses().await);
        let first = scene.read(&tags(expression)).await.unwrap();
        assert_eq!(first.offsets.len(), wanted, "{expression}");
        assert_eq!(scene.hits().await, hits, "{expression}: shared with others");
        assert_eq!(scene.misses().await, misses + total, "{expression}");
        let second = scene.read(&tags(expression)).await.unwrap();
        assert_eq!(second.offsets, first.offsets, "{expression}");
        // The first of what is remembered is asked for again, and one in 256 of the rest.
        let asked = scene.misses().await - misses - total;
        assert!((1..total / 50).contains(&asked), "{expression}: {asked}");
        assert_eq!(scene.hits().await - hits + asked, total, "{expression}");
    }
    // From the middle of a stretch of which nothing is kept, and from the middle of a batch.
    for start in [3_333, 12_345, 29_999] {
        let read = scene
            .read_from(Start::Offset(Offset::new(start)), &tags("rare"))
            .await
            .unwrap();
        let expected: Vec<u64> = (start..total).filter(|n| n % 100 == 7).collect();
        assert_eq!(read.offsets, expected, "from {start}");
    }
    // New records are looked at, whatever is known of those before them.
    let known = scene.read(&tags("none")).await.unwrap();
    assert_eq!((known.offsets.len(), known.filtered_out), (0, total));
    scene.send(tagged(1, 3, |_| "none")).await;
    let more = scene.read(&tags("none")).await.unwrap();
    assert_eq!(more.offsets, [total, total + 1, total + 2]);
    assert!(scene.metric("weir_verdict_bytes").await > 0);
    // What belongs to a topic goes with it.
    scene.client.admin().delete_topic(TOPIC).await.unwrap();
    assert_eq!(scene.metric("weir_verdict_bytes").await, 0);
    scene.end().await;
}

/// What is stored can be looked at again as an earlier version saw it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_version_says_what_it_said() {
    let scene = Scene::start(ByteSize::mib(64)).await;
    scene.send(tagged(20, 10, |n| ["even", "odd"][n % 2])).await;
    let admin = scene.client.admin();
    let old = push_as(&admin, "chooser", prebuilt("tag-filter")).await;
    let with = |version: Option<&str>| {
        let mut specs = with_settings("chooser", &[("tags", "odd")]);
        specs[0].version = version.map(str::to_owned);
        specs
    };
    let odd: Vec<u64> = (0..200).filter(|n| n % 2 == 1).collect();
    assert_eq!(scene.read(&with(None)).await.unwrap().offsets, odd);
    // The new one keeps everything.
    let keeps_all = prebuilt("hostile/traps-on-poison");
    let new = push_as(&admin, "chooser", keeps_all).await;
    let all: Vec<u64> = (0..200).collect();
    for (version, expected) in [
        (None, &all),
        (Some(&old[..]), &odd),
        (Some(&new[..8]), &all),
        (Some(&old[..8]), &odd),
    ] {
        let read = scene.read(&with(version)).await.unwrap();
        assert_eq!(read.offsets, *expected, "{version:?}");
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_tell_filters_apart_and_their_order_does_not() {
    let scene = Scene::start(ByteSize::mib(64)).await;
    // It keeps whatever is not poisoned, with any settings.
    scene.push_hostile("traps-on-poison").await;
    scene.send(tagged(20, 10, |_| "any")).await;
    let mut hits = Vec::new();
    for settings in [
        &[("a", "1"), ("b", "2")][..],
        &[("b", "2"), ("a", "1")],
        &[("a", "2"), ("b", "1")],
        &[("a", "1")],
    ] {
        let before = scene.hits().await;
        let read = scene
            .read(&with_settings("traps-on-poison", settings))
            .await;
        assert_eq!(read.unwrap().offsets.len(), 200);
        hits.push(scene.hits().await - before);
    }
    // But for the first batch, which is asked about again.
    assert_eq!(hits, [0, 190, 0, 0]);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cache_filters_are_asked_each_time() {
    let scene = Scene::start(ByteSize::bytes(0)).await;
    scene.send(tagged(20, 10, |_| "any")).await;
    for round in 1..=2 {
        assert_eq!(scene.read(&tags("other")).await.unwrap().offsets.len(), 0);
        let seen = (scene.hits().await, scene.misses().await);
        assert_eq!(seen, (0, round * 200));
    }
    assert_eq!(scene.metric("weir_verdict_bytes").await, 0);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_impure_plugin_says_is_not_remembered() {
    let scene = Scene::start(ByteSize::mib(64)).await;
    scene.push_hostile("counts-calls").await;
    let impure = with_settings("counts-calls", &[]);
    // A batch of several calls, and the second of them answers as no fresh instance does.
    scene.send(tagged(4, 20_000, |_| "any")).await;
    for round in 1..=2 {
        scene.read(&impure).await.unwrap();
        assert_eq!(scene.metric("weir_verdict_bytes").await, 0, "round {round}");
    }
    assert_eq!(scene.hits().await, 0);
    // A pure one beside it is remembered, but not both in a chain.
    scene.read(&tags("none")).await.unwrap();
    let bytes = scene.metric("weir_verdict_bytes").await;
    assert!(bytes > 0);
    scene.read(&[tags("any"), impure].concat()).await.unwrap();
    assert_eq!(scene.metric("weir_verdict_bytes").await, bytes);
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guilty_record_is_nobodys_business_who_starts_behind_it() {
    let scene = Scene::start(ByteSize::mib(64)).await;
    scene.push_hostile("traps-on-poison").await;
    let mut builder = BatchBuilder::default();
    for n in 0..30 {
        let value = if n == 9 { "evil" } else { "good" };
        let record = NewRecord {
            value: Some(value.as_bytes()),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(0), &record);
    }
    scene
        .send([Bytes::from(builder.finish(Compression::Lz4).unwrap())])
        .await;
    let strict = with_settings("traps-on-poison", &[]);
    let error = scene.read(&strict).await.unwrap_err();
    assert!(error.to_string().contains("record at offset 9"), "{error}");
    let behind = Start::Offset(Offset::new(10));
    let read = scene.read_from(behind, &strict).await.unwrap();
    assert_eq!(read.offsets, (10..30).collect::<Vec<u64>>());
    // Nor if a filter before it drops the record. Nothing of this may be remembered.
    let dropping = FilterSpec {
        on_error: Some(ErrorPolicy::Drop),
        ..strict[0].clone()
    };
    let both = [dropping, strict[0].clone()];
    for _ in 0..2 {
        let read = scene.read(&both).await.unwrap();
        assert_eq!(read.offsets.len(), 29);
        assert!(!read.offsets.contains(&9));
    }
    assert_eq!(scene.metric("weir_verdict_bytes").await, 0);
    scene.end().await;
}

/// It needs too much memory for more than one record, and time to start: one call does not find out
/// which records are to blame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_is_asked_again_about_fewer_records_at_a_time() {
    let scene = Scene::start(ByteSize::mib(64)).await;
    scene.push_hostile("configure-works-hard").await;
    scene.send(tagged(1, 700, |_| "any")).await;
    let filters = with_settings("configure-works-hard", &[]);
    let read = scene.read(&filters).await.unwrap();
    assert_eq!(read.offsets, (0..700).collect::<Vec<u64>>());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_loops_on_many_records_ends_its_subscription_whatever_its_policy() {
    let scene = Scene::start(ByteSize::mib(64)).await;
    scene.push_hostile("loops-on-poison").await;
    let mut builder = BatchBuilder::default();
    for _ in 0..100 {
        let record = NewRecord {
            value: Some(b"evil"),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(0), &record);
    }
    scene
        .send([Bytes::from(builder.finish(Compression::None).unwrap())])
        .await;
    let mut dropping = with_settings("loops-on-poison", &[]);
    dropping[0].on_error = Some(ErrorPolicy::Drop);
    dropping[0].limits = Some(BindingLimits {
        cpu_ms: Some(5),
        ..BindingLimits::default()
    });
    let error = scene.read(&dropping).await.unwrap_err();
    let fault = error.fault().unwrap();
    assert_eq!(fault.code, ErrorCode::PluginFailed, "{fault}");
    let expected = "more than 8 records of one batch failed";
    assert!(fault.message.contains(expected), "{fault}");
    let limit = "more than its 5ms of processor time";
    assert!(fault.message.contains(limit), "{fault}");
    scene.end().await;
}

/// Ten million records, none of which is wanted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_that_matches_nothing_says_how_far_it_has_looked() {
    const RECORDS: usize = 10_000;
    let batches = deep(1000);
    let total = (batches * RECORDS) as u64;
    let scene = Scene::start(ByteSize::mib(64)).await;
    let batch = tagged(1, RECORDS, |_| "plain").remove(0);
    let begun = Instant::now();
    scene.send(std::iter::repeat_n(batch, batches)).await;
    let sent = begun.elapsed();
    let mut took = Vec::new();
    for _ in 0..2 {
        let begun = Instant::now();
        let read = scene.read(&tags("other")).await.unwrap();
        took.push(begun.elapsed());
        assert_eq!((read.offsets.len(), read.filtered_out), (0, total));
        if took.len() == 1 {
            // The second time it is known that there is nothing.
            assert!(read.progress >= 10, "{} reports", read.progress);
        }
    }
    let per_record = |took: Duration| took.as_nanos() as f64 / total as f64;
    say(&format!(
        "{total} records sent in {sent:?}; a filter that matches none: {:?} ({:.1} ns per \
         record), and once more {:?} ({:.2} ns per record)",
        took[0],
        per_record(took[0]),
        took[1],
        per_record(took[1]),
    ));
    scene.end().await;
}
