//! How long a restart takes: the WAL that is not archived yet is read again, so its size bounds
//! it, and the footer of every segment is. Five seconds are enough for all of it, also for debug
//! builds on machines that do other things besides, and for the full size (`WEIR_DEEP=32`).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tempfile::TempDir;
use weir_harness::client::connect;
use weir_harness::directory::files;
use weir_harness::plugins::{filter, prebuilt, push_as};
use weir_harness::process::{Process, Setup};
use weir_harness::report::{deep, say};
use weir_sdk::wire::batch::Compression;
use weir_sdk::wire::id::PartitionId;
use weir_sdk::wire::plugin::Hook;
use weir_sdk::wire::request::Bind;
use weir_sdk::{Client, Producer, Record};

use crate::setup;

/// Partitions of the topic.
const PARTITIONS: u32 = 1000;
/// What the WAL holds, by default; `WEIR_DEEP` multiplies, and 32 makes it 512 MiB.
const WAL_MIB: usize = 16;
/// A file is larger than all that, so nothing of it is in segments.
const FILE_MIB: usize = 2 * WAL_MIB;
const RECORD_BYTES: usize = 64 << 10;
/// Longer no restart may take.
const READY_MAX: Duration = Duration::from_secs(5);
/// Requests of one small record each.
const SMALL: usize = 4_000;
/// Segments are not made into larger ones.
const MANY_SEGMENTS: &str = "[log]\nwal_file_bytes = \"1MiB\"\nwal_bytes = \"4MiB\"\n\
                             segment_own_bytes = \"64KiB\"\nsegment_bytes = \"64KiB\"\n";
/// How many there are at least.
const SEGMENTS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_wal_is_read_again() {
    let mebibytes = deep(WAL_MIB);
    let mut process = Process::start(config());
    let client = connect(&process).await;
    let admin = client.admin();
    admin.create_topic("wide", PARTITIONS).await.unwrap();
    let sent = fill(&client, mebibytes << 20).await;
    client.close().await;
    process.kill();
    let segments = files(&process.data().join("log/segments"));
    assert!(segments.is_empty(), "the WAL was archived: {segments:?}");

    let held = format!("{mebibytes} MiB of WAL and {PARTITIONS} partitions");
    restart(&mut process, &held);
    assert_eq!(check_held(&process, sent).await, PARTITIONS as usize);
}

/// Many small entries take longer than a few large ones of as many bytes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wal_of_small_entries_is_read_again() {
    let mut process = Process::start(config());
    let client = connect(&process).await;
    client.admin().create_topic("wide", 1).await.unwrap();
    // Each record fills a request of its own.
    let opened = client.producer("wide").batch_bytes(1);
    let producer = opened.open().await.unwrap();
    let records = deep(SMALL);
    let mut tickets = Vec::new();
    for record in 0..records {
        let sent = producer.send(Record::new(format!("{record}"))).await;
        tickets.push(sent.unwrap());
    }
    for ticket in tickets {
        ticket.await.unwrap();
    }
    let requests = producer.stats().requests;
    assert_eq!(requests, records as u64, "not one request per record");
    producer.close().await.unwrap();
    client.close().await;
    process.kill();
    restart(&mut process, &format!("{records} entries of one record"));
    check_held(&process, records as u64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_segments_are_opened_again() {
    let mut process = Process::start(setup().configured(MANY_SEGMENTS));
    let client = connect(&process).await;
    client.admin().create_topic("wide", 8).await.unwrap();
    let mut producers = Vec::new();
    for partition in (0..8).map(PartitionId::new) {
        let opened = client.producer("wide").compression(Compression::None);
        producers.push(opened.partition(partition).open().await.unwrap());
    }
    let value = noise();
    let (mut sent, mut segments) = (0, 0);
    while segments < deep(SEGMENTS) {
        assert!(sent < 1_000_000, "nothing goes to segments");
        for producer in &producers {
            producer.publish(Record::new(value.clone())).await.unwrap();
            sent += 1;
        }
        segments = files(&process.data().join("log/segments")).len();
    }
    drop(producers);
    client.close().await;
    process.kill();
    restart(&mut process, &format!("{segments} segments"));
    check_held(&process, sent).await;
}

fn restart(process: &mut Process, held: &str) {
    let begun = Instant::now();
    process.restart();
    let took = begun.elapsed();
    say(&format!(
        "restart: ready {} ms after the start, with {held}",
        took.as_millis()
    ));
    assert!(took <= READY_MAX, "ready after {took:?}");
}

/// What was acknowledged is there; answers in how many partitions.
async fn check_held(process: &Process, sent: u64) -> usize {
    let client = connect(process).await;
    let subscriber = client.subscribe(["wide"]).open().await.unwrap();
    let ends = subscriber.partitions();
    let held: u64 = ends.iter().map(|at| at.end.value()).sum();
    assert_eq!(held, sent);
    let partitions = ends.len();
    drop(subscriber);
    client.close().await;
    partitions
}

/// A value that nothing makes smaller.
fn noise() -> Vec<u8> {
    let mut value = vec![0; RECORD_BYTES];
    StdRng::seed_from_u64(15).fill_bytes(&mut value);
    value
}

/// After an upgrade all components have to be compiled again: the broker serves meanwhile, and
/// producers of the topics that wait for one of them are told to come again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_are_compiled_again_while_the_broker_serves() {
    let directory = TempDir::new().unwrap();
    let compiler = directory.path().join("compiler");
    let gate = directory.path().join("gate");
    let made = Command::new("mkfifo").arg(&gate).status().unwrap();
    assert!(made.success());
    let weir = env!("CARGO_BIN_EXE_weir");
    script(&compiler, &format!("exec {weir} \"$@\""));
    let (mut process, client) = with_key(&compiler, "plain").await;
    client.close().await;
    process.kill();

    // What is compiled is of another engine, and the compiler waits at the gate.
    for file in files(&process.data().join("plugins")) {
        if file.extension().is_some_and(|kind| kind == "cwasm") {
            let mut artifact = fs::read(&file).unwrap();
            artifact[8] ^= 1;
            fs::write(&file, artifact).unwrap();
        }
    }
    let gated = format!("read -r go < {}; exec {weir} \"$@\"", gate.display());
    script(&compiler, &gated);
    process.restart();
    let client = connect(&process).await;
    let plain = client.producer("plain").open().await.unwrap();
    plain.publish(Record::new("at once")).await.unwrap();
    let described = client.admin().describe_topic("keyed").await.unwrap();
    let error = described.bindings[0].counters.last_error.clone().unwrap();
    assert!(error.contains("is compiled again"), "{error}");
    let keyed = client.producer("keyed").open().await.unwrap();
    let waits = keyed.send(Record::new("later").key("k")).await.unwrap();
    let opened = tokio::task::spawn_blocking(move || fs::write(gate, "go\n"));
    opened.await.unwrap().unwrap();
    waits.await.unwrap();
    let described = client.admin().describe_topic("keyed").await.unwrap();
    let counters = &described.bindings[0].counters;
    assert_eq!((counters.records, &counters.last_error), (1, &None));
    client.close().await;
}

/// However many want it at once, a component is compiled once; and runs although its compiled form
/// cannot be stored.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_component_is_compiled_again_once_for_all() {
    let directory = TempDir::new().unwrap();
    let (compiler, count) = (
        directory.path().join("compiler"),
        directory.path().join("count"),
    );
    let weir = env!("CARGO_BIN_EXE_weir");
    let counted = format!("echo one >> {}; exec {weir} \"$@\"", count.display());
    script(&compiler, &counted);
    let (mut process, client) = with_key(&compiler, "watched").await;
    push_as(&client.admin(), "tag-filter", prebuilt("tag-filter")).await;
    client.close().await;
    process.kill();

    for file in files(&process.data().join("plugins")) {
        if file.extension().is_some_and(|kind| kind == "cwasm") {
            fs::remove_file(&file).unwrap();
            // Nothing can be written in its place.
            fs::create_dir(file.with_extension("cwasm.tmp")).unwrap();
        }
    }
    fs::remove_file(&count).unwrap();
    process.restart();
    let client = connect(&process).await;
    let subscribed = (0..8).map(|_| async {
        let builder = client.subscribe(["watched"]);
        let filtered = builder.filter(filter("tag-filter", ("tags", "UA")));
        filtered.open().await.unwrap()
    });
    let subscribers = join_all(subscribed).await;
    let keyed = client.producer("keyed").open().await.unwrap();
    keyed.publish(Record::new("value").key("k")).await.unwrap();
    let compiled = fs::read_to_string(&count).unwrap();
    assert_eq!(compiled.lines().count(), 2, "of two components");
    drop(subscribers);
    client.close().await;
}

/// A broker with that compiler: a topic whose records get keys by a plugin, and another one.
async fn with_key(compiler: &Path, other: &str) -> (Process, Client) {
    let plugins = format!("[plugins]\ncompiler = \"{}\"\n", compiler.display());
    let process = Process::start(setup().configured(plugins));
    let client = connect(&process).await;
    let admin = client.admin();
    for topic in ["keyed", other] {
        admin.create_topic(topic, 1).await.unwrap();
    }
    push_as(&admin, "record-key", prebuilt("record-key")).await;
    let bind = Bind::new(
        "record-key".parse().unwrap(),
        "keyed".parse().unwrap(),
        Hook::Key,
    );
    admin.bind(&bind).await.unwrap();
    (process, client)
}

fn script(file: &Path, body: &str) {
    fs::write(file, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
}

fn config() -> Setup {
    let file = deep(FILE_MIB);
    let config = format!("[log]\nwal_file_bytes = \"{file}MiB\"\nwal_bytes = \"4GiB\"\n");
    setup().configured(config)
}

/// Sends that much, to every partition in turn; answers how many records that were.
async fn fill(client: &Client, bytes: usize) -> u64 {
    let value = noise();
    let records = (bytes / RECORD_BYTES) as u64;
    let mut producers: Vec<Producer> = Vec::new();
    let mut tickets = Vec::new();
    for record in 0..records {
        let partition = u32::try_from(record % u64::from(PARTITIONS)).unwrap();
        // A client has fewer streams than the topic has partitions: they come one by one.
        if record % 64 == 0 {
            finish(&mut producers, &mut tickets).await;
        }
        let opened = client.producer("wide").compression(Compression::None);
        let opened = opened.partition(PartitionId::new(partition));
        let producer = opened.open().await.unwrap();
        tickets.push(producer.send(Record::new(value.clone())).await.unwrap());
        producers.push(producer);
    }
    finish(&mut producers, &mut tickets).await;
    records
}

async fn finish(producers: &mut Vec<Producer>, tickets: &mut Vec<weir_sdk::Ticket>) {
    for ticket in tickets.drain(..) {
        ticket.await.unwrap();
    }
    for producer in producers.drain(..) {
        producer.close().await.unwrap();
    }
}
