//! What filters cost a subscription, and what it saves to remember what they said: a broker in this
//! process, a topic of one partition in its memory, the sample `tag-filter`, and a subscriber that
//! reads everything. Time is counted per stored record, whether it is kept or not.
//!
//! `cargo build --release --workspace --example filters --bin weir`, then
//! `target/release/examples/filters target/release/weir [RECORDS_PER_BATCH…]`: `weir` compiles the
//! plugin.

#![expect(clippy::print_stdout, reason = "an example's report")]

use std::error::Error;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_broker::StartOptions;
use weir_broker::config::ByteSize;
use weir_broker::testing::TestBroker;
use weir_sdk::wire::batch::{BatchBuilder, Compression, NewRecord};
use weir_sdk::wire::id::Timestamp;
use weir_sdk::wire::request::Setting;
use weir_sdk::{Client, FilterSpec};

/// Less than the broker's cache holds.
const STORED_BYTES: usize = 96 << 20;
const VALUE_BYTES: usize = 100;
const ROUNDS: usize = 5;
/// What each keeps, in percent, by a tag expression; `{}` is a tag that no record has.
const FILTERS: [(&str, &str); 4] = [
    ("100", "one || even || odd || {}"),
    ("50", "odd || {}"),
    ("1", "one || {}"),
    ("0", "{}"),
];

type Result<T> = std::result::Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let weir = PathBuf::from(arguments.next().ok_or("name the program weir")?);
    let batches: Vec<usize> = arguments
        .map(|n| n.parse())
        .collect::<std::result::Result<_, _>>()?;
    let batches = if batches.is_empty() {
        vec![1000, 10]
    } else {
        batches
    };
    let columns = [
        "batch",
        "kept",
        "first, ns",
        "of unfiltered",
        "again, ns",
        "of unfiltered",
    ];
    println!("| {} |", columns.join(" | "));
    println!("|---|---|---|---|---|---|");
    for records in batches {
        measure(weir.clone(), records).await?;
    }
    Ok(())
}

async fn measure(weir: PathBuf, records: usize) -> Result<()> {
    let configure = |config: &mut weir_broker::config::Config| {
        config.plugins.compiler = Some(weir);
        config.log.cache_bytes = ByteSize::mib(512);
        config.log.wal_bytes = ByteSize::mib(1024);
    };
    let broker = TestBroker::start_with(configure, StartOptions::default()).await?;
    let client = Client::builder(broker.address())
        .ca_file(broker.ca_file())
        .token(broker.token())
        .connect()
        .await?;
    client.admin().create_topic("flights", 1).await?;
    let component = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../plugins/prebuilt/tag-filter.wasm"
    );
    client
        .admin()
        .push_plugin("tag-filter", std::fs::read(component)?)
        .await?;
    // So that one record in a hundred is one in a hundred of small batches too.
    let different = 100_usize.div_ceil(records);
    let batches = (0..different).map(|n| batch(n * records, records));
    let batches = batches.collect::<Result<Vec<_>>>()?;
    let count = STORED_BYTES / batches[0].len();
    let total = count * records;
    let producer = client.producer("flights").open().await?;
    for batch in batches.iter().cycle().take(count) {
        drop(producer.send_batch(batch.clone()).await?);
    }
    producer.close().await?;
    let per_record = |took: Duration| took.as_nanos() as f64 / total as f64;
    let mut plain = Vec::new();
    let mut times = vec![(Vec::new(), Vec::new()); FILTERS.len()];
    for round in 0..ROUNDS {
        plain.push(read(&client, None).await?);
        for ((_, tags), (first, again)) in FILTERS.iter().zip(&mut times) {
            // Another tag is another filter: nothing of it is remembered.
            let tags = tags.replace("{}", &format!("none-{round}"));
            first.push(read(&client, Some(&tags)).await?);
            again.push(read(&client, Some(&tags)).await?);
        }
    }
    let plain = per_record(median(plain));
    println!("| {records} | unfiltered | {plain:.1} | | | |");
    for ((kept, _), (first, again)) in FILTERS.iter().zip(times) {
        let (first, again) = (per_record(median(first)), per_record(median(again)));
        println!(
            "| {records} | {kept} % | {first:.1} | {:.0} % | {again:.1} | {:.0} % |",
            plain / first * 100.0,
            plain / again * 100.0
        );
    }
    client.close().await;
    broker.shutdown().await;
    Ok(())
}

fn batch(first: usize, records: usize) -> Result<Bytes> {
    let mut builder = BatchBuilder::default();
    for n in first..first + records {
        let tag = match n {
            n if n % 100 == 50 => "one",
            n if n % 2 == 0 => "even",
            _ => "odd",
        };
        let record = NewRecord {
            key: Some(b"a key of 16 byte"),
            value: Some(&[b'v'; VALUE_BYTES]),
            headers: &[("tag", tag.as_bytes())],
        };
        builder.push(Timestamp::new(1_700_000_000_000), &record);
    }
    Ok(Bytes::from(builder.finish(Compression::None)?))
}

/// Reads everything that there is.
async fn read(client: &Client, tags: Option<&str>) -> Result<Duration> {
    let begun = Instant::now();
    let mut builder = client.subscribe(["flights"]);
    if let Some(tags) = tags {
        builder = builder.filter(FilterSpec {
            plugin: "tag-filter".parse()?,
            version: None,
            config: vec![Setting {
                name: "tags".to_owned(),
                value: tags.to_owned(),
            }],
            on_error: None,
            limits: None,
        });
    }
    let mut subscriber = builder.open().await?;
    while !subscriber.is_caught_up() {
        subscriber
            .next_event()
            .await
            .ok_or("the subscription ended")??;
    }
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
