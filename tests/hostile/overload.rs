//! More than there is room for: refused with `overloaded` or held back, never buffered without
//! bound, and everything that was acknowledged is there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use quinn::{TransportConfig, VarInt};
use weir_broker::config::ByteSize;
use weir_sdk::{Event, FilterSpec, Record};
use weir_wire::batch::Compression;
use weir_wire::error::ErrorCode;
use weir_wire::frame::FrameMessage;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::produce::Produced;
use weir_wire::request::{Bind, BindingLimits, FetchPlugin, Route, Setting};
use weir_wire::subscribe::Subscribe;

use crate::batches::{batch_of, became, open, produce};
use crate::plugins::{bind, prebuilt, push};
use crate::raw::{Raw, with_payload};
use crate::stage::{PATIENCE, Stage, resident, soon};
use crate::subscriptions::{begin, subscribe};

/// What resident memory may grow by beyond the budgets: allocators, caches, other tests.
const SLACK_MIB: u64 = 384;

async fn bind_slow(stage: &Stage, topic: &str) {
    let admin = stage.client.admin();
    admin
        .push_plugin("slow", prebuilt("hostile/keys-slow"))
        .await
        .unwrap();
    let bind = Bind::new("slow".parse().unwrap(), topic.parse().unwrap(), Hook::Key);
    admin.bind(&bind).await.unwrap();
}

/// Little of everything that a broker may fill, so that what grows beyond is a fault.
fn small_budgets(config: &mut weir_broker::config::Config) {
    config.log.cache_bytes = ByteSize::mib(8);
    config.limits.connection_buffer_bytes = ByteSize::mib(16);
    config.limits.broker_buffer_bytes = ByteSize::mib(16);
    config.limits.request_deadline = Duration::from_millis(50);
}

/// Requests of an impatient producer.
const REQUESTS: u64 = 12;
/// Of those that were refused so many are sent again at once: there is room for these.
const AGAIN: u64 = 1;
/// Records in the first of them, which keep a slow plugin busy, and in those behind it; all have
/// about a mebibyte.
const FIRST: usize = 80_000;
const BEHIND: usize = 1_000;

/// Sends everything without regard to anything, and again from what was refused; how often it
/// heard that there is no room.
async fn impatient(raw: Arc<Raw>, first: Bytes, behind: Bytes) -> u64 {
    let (mut talk, opened) = open(&raw, "crowded", None).await;
    let (mut next, mut window, mut overloaded) = (0, REQUESTS, 0);
    while next < REQUESTS {
        let sent = next..REQUESTS.min(next + window);
        for sequence in sent.clone() {
            let mut request = produce(sequence);
            request.partition = None;
            let batch = if sequence == 0 { &first } else { &behind };
            talk.say(&with_payload(&request, batch)).await;
        }
        for _ in sent {
            let Some(frame) = talk.hear().await else {
                break;
            };
            let Ok(produced) = frame.message::<Produced>() else {
                break;
            };
            match became(&produced) {
                "stored" => next = produced.sequence.value() + 1,
                "overloaded" => {
                    let error = produced.error.unwrap();
                    assert!(error.code.is_retryable());
                    overloaded += 1;
                }
                "out-of-sequence" => {}
                other => panic!("{other}"),
            }
        }
        // A stream that was ended goes on as another one of the session.
        window = AGAIN;
        talk = open(&raw, "crowded", Some(opened.session.clone())).await.0;
    }
    overloaded
}

#[tokio::test]
async fn producers_that_are_too_fast_are_told_so_and_lose_nothing() {
    const CONNECTIONS: u64 = 2;
    const STREAMS: u64 = 8;
    let mut stage = Stage::alone_with(|config| {
        small_budgets(config);
        config.limits.request_deadline = Duration::from_millis(100);
    })
    .await;
    stage.topic("crowded", 1).await;
    bind_slow(&stage, "crowded").await;
    let first = batch_of(&vec![&b"five!"[..]; FIRST], Compression::None);
    let behind = batch_of(&vec![&[b'v'; 1 << 10][..]; BEHIND], Compression::None);
    let each = first.len() + behind.len() * (REQUESTS as usize - 1);
    let offered = each as u64 * CONNECTIONS * STREAMS;
    let (first, behind) = (Bytes::from(first), Bytes::from(behind));
    let before = resident();
    let mut producers = Vec::new();
    for _ in 0..CONNECTIONS {
        // What waits on the client's side is not what is measured.
        let mut transport = TransportConfig::default();
        transport.send_window(1 << 20);
        let raw = Arc::new(Raw::client_with(&stage.broker, transport).await);
        for _ in 0..STREAMS {
            let impatient = impatient(raw.clone(), first.clone(), behind.clone());
            producers.push(tokio::spawn(impatient));
        }
    }
    let (mut overloaded, mut peak) = (0, before);
    let all = async {
        for mut producer in producers {
            overloaded += loop {
                tokio::select! {
                    biased;
                    ended = &mut producer => break ended.unwrap(),
                    () = stage.is_unharmed() => peak = peak.max(resident()),
                }
            };
        }
    };
    soon("the impatient producers", all).await;
    let grown = peak.saturating_sub(before) >> 20;
    let stored = stage.records("crowded").await;
    println!(
        "{} MiB on offer, {stored} records stored, {overloaded} times overloaded, {grown} MiB more \
         memory at most",
        offered >> 20
    );
    assert!(overloaded > 0, "all of them fitted into 16 MiB");
    assert!(grown < 256, "{grown} MiB more than before");
    let each = FIRST as u64 + BEHIND as u64 * (REQUESTS - 1);
    assert_eq!(stored, CONNECTIONS * STREAMS * each);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn the_client_rides_out_overload_by_itself() {
    const RECORDS: u64 = 120;
    let mut stage = Stage::start_with(small_budgets).await;
    stage.topic("patient", 2).await;
    bind_slow(&stage, "patient").await;
    let value = vec![b'p'; 100_000];
    let mut producers = Vec::new();
    for _ in 0..4 {
        let (client, value) = (stage.client.dedicated(), value.clone());
        producers.push(tokio::spawn(async move {
            let producer = client.producer("patient").open().await.unwrap();
            let mut tickets = Vec::new();
            for _ in 0..RECORDS {
                tickets.push(producer.send(Record::new(value.clone())).await.unwrap());
            }
            for ticket in tickets {
                assert!(ticket.await.unwrap().stored().is_some());
            }
            producer.close().await.unwrap();
        }));
    }
    for producer in producers {
        soon("a patient producer", producer).await.unwrap();
    }
    assert_eq!(stage.records("patient").await, 4 * RECORDS);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn batches_that_unfold_while_plugins_run_share_one_budget() {
    const REQUESTS: u64 = 16;
    let mut stage = Stage::alone_with(|config| {
        config.limits.connection_buffer_bytes = ByteSize::mib(16);
        config.limits.broker_buffer_bytes = ByteSize::mib(32);
    })
    .await;
    stage.topic("balloons", 1).await;
    bind_slow(&stage, "balloons").await;
    // Thirty mebibytes in a few kilobytes: within the limits, and sixteen of them at once on each
    // of eight streams would be 4 GiB.
    let balloon = batch_of(&[&vec![0; 30 << 20]], Compression::Zstd);
    println!("a balloon has {} bytes", balloon.len());
    let before = resident();
    let raw = Raw::client(&stage.broker).await;
    let mut talks = Vec::new();
    for _ in 0..8 {
        let (mut talk, _) = open(&raw, "balloons", None).await;
        for sequence in 0..REQUESTS {
            let mut request = produce(sequence);
            request.partition = None;
            talk.say(&with_payload(&request, &balloon)).await;
        }
        talks.push(talk);
    }
    stage.is_unharmed().await;
    let (mut stored, mut peak) = (0, 0);
    for talk in &mut talks {
        for _ in 0..REQUESTS {
            let produced: Produced = talk.reply().await;
            peak = peak.max(resident());
            match became(&produced) {
                "stored" => stored += 1,
                "overloaded" | "out-of-sequence" => {}
                other => panic!("{other}: {produced:?}"),
            }
        }
    }
    let grown = peak.saturating_sub(before) >> 20;
    println!("{stored} stored, {grown} MiB more memory at most");
    assert!(stored > 0);
    assert!(grown < 2 * SLACK_MIB, "{grown} MiB more than before");
    assert_eq!(stage.records("balloons").await, stored);
    stage.is_unharmed().await;
    stage.end().await;
}

/// Binds plugins that send every record to all of these topics, slowly.
async fn bind_copies(stage: &Stage, topic: &str, copies: &[String]) {
    let admin = stage.client.admin();
    let fan_out = prebuilt("fan-out-route");
    admin.push_plugin("fan-out", fan_out).await.unwrap();
    let setting = |name: &str, value: String| Setting {
        name: name.to_owned(),
        value,
    };
    let also = copies
        .iter()
        .map(|copy| setting("also", format!("{copy}:n >= 0")));
    let bind = Bind {
        config: std::iter::once(setting("field", "to".to_owned()))
            .chain(also)
            .collect(),
        routes: copies
            .iter()
            .map(|copy| Route {
                value: copy.clone(),
                topic: copy.parse().unwrap(),
                partition: None,
            })
            .collect(),
        ..Bind::new(
            "fan-out".parse().unwrap(),
            topic.parse().unwrap(),
            Hook::Route,
        )
    };
    admin.bind(&bind).await.unwrap();
    bind_slow(stage, topic).await;
}

#[tokio::test]
async fn copies_for_which_there_is_no_room_wait_for_the_requests_before_them() {
    const COPIES: usize = 12;
    const REQUESTS: u64 = 12;
    let mut stage = Stage::alone_with(|config| {
        config.log.wal_file_bytes = ByteSize::mib(32);
        config.log.cache_bytes = ByteSize::mib(8);
        config.limits.connection_buffer_bytes = ByteSize::mib(16);
        config.limits.broker_buffer_bytes = ByteSize::mib(16);
        config.limits.request_deadline = PATIENCE;
    })
    .await;
    stage.topic("many", 1).await;
    let copies: Vec<String> = (0..COPIES).map(|n| format!("copy-{n}")).collect();
    for copy in &copies {
        stage.topic(copy, 1).await;
    }
    bind_copies(&stage, "many", &copies).await;
    // The first keeps the slow plugin busy for several calls, those behind it for one each, and
    // each of these becomes more than half of what there is room for.
    let small = br#"{"to":"copy-0","n":-1}"#;
    let first = batch_of(&vec![&small[..]; 40_000], Compression::Zstd);
    let padding = "x".repeat(900_000);
    let behind = |n: u64| format!(r#"{{"to":"copy-0","n":{n},"padding":"{padding}"}}"#);
    let before = resident();
    let raw = Raw::client(&stage.broker).await;
    let mut talks = Vec::new();
    for _ in 0..2 {
        talks.push(open(&raw, "many", None).await.0);
    }
    for sequence in 0..REQUESTS {
        let batch = match sequence {
            0 => first.clone(),
            n => batch_of(&[behind(n).as_bytes()], Compression::None),
        };
        let mut request = produce(sequence);
        request.partition = None;
        for talk in &mut talks {
            talk.say(&with_payload(&request, &batch)).await;
        }
    }
    let mut peak = 0;
    for talk in &mut talks {
        for sequence in 0..REQUESTS {
            let produced: Produced = talk.reply().await;
            peak = peak.max(resident());
            assert_eq!(
                became(&produced),
                "stored",
                "{sequence}: {:?}",
                produced.error
            );
            assert_eq!(produced.sequence.value(), sequence);
            let places = produced.outcome.unwrap().destinations.len();
            assert_eq!(places, if sequence == 0 { 1 } else { COPIES });
        }
    }
    let grown = peak.saturating_sub(before) >> 20;
    println!("{grown} MiB more memory at most");
    assert!(grown < SLACK_MIB, "{grown} MiB more than before");
    let large = 2 * (REQUESTS - 1);
    assert_eq!(stage.records("copy-0").await, 2 * 40_000 + large);
    assert_eq!(stage.records("copy-11").await, large);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn subscribers_that_do_not_read_cost_little_and_miss_nothing() {
    const BATCHES: u64 = 64;
    let mut stage = Stage::alone_with(small_budgets).await;
    stage.topic("unread", 4).await;
    let producer = stage.client.producer("unread").open().await.unwrap();
    for n in 0..BATCHES {
        let value = vec![n as u8; 1 << 20];
        producer
            .publish(Record::new(value).key(format!("{n}")))
            .await
            .unwrap();
    }
    producer.close().await.unwrap();
    stage.is_unharmed().await;
    let before = resident();
    let (mut held, mut inside) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        // Unread bytes wait in the client, too: as many as the windows of its streams let in.
        let mut transport = TransportConfig::default();
        transport.stream_receive_window(VarInt::from_u32(64 << 10));
        let raw = Raw::client_with(&stage.broker, transport).await;
        for credit in [
            0,
            u64::MAX,
            u64::MAX,
            1 << 20,
            u64::MAX,
            0,
            u64::MAX,
            u64::MAX,
        ] {
            let request = Subscribe {
                credit_bytes: credit,
                credit_records: credit,
                ..subscribe("unread")
            };
            let (talk, subscribed) = begin(&raw, &request).await;
            assert_eq!(subscribed.partitions.len(), 4);
            held.push(talk);
        }
        stage.is_unharmed().await;
        raw.is_alive().await;
        inside.push(raw);
    }
    // Somebody who reads gets everything, beside all those who do not.
    let mut subscriber = stage.client.subscribe(["unread"]).open().await.unwrap();
    let mut seen = vec![false; BATCHES as usize];
    while seen.contains(&false) {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        let value = record.value.unwrap();
        assert_eq!(value.len(), 1 << 20);
        let n = usize::from(value[0]);
        assert!(
            value.iter().all(|byte| usize::from(*byte) == n),
            "record {n} is damaged"
        );
        assert!(
            !std::mem::replace(&mut seen[n], true),
            "record {n} came twice"
        );
    }
    let grown = resident().saturating_sub(before) >> 20;
    println!("{grown} MiB more memory beside 16 subscribers that do not read");
    assert!(grown < SLACK_MIB, "{grown} MiB more than before");
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn lanes_that_nobody_reads_hold_little_and_let_others_read() {
    const PARTITIONS: u32 = 64;
    const RECORDS: u64 = 2048;
    let mut stage = Stage::alone_with(|config| {
        config.log.cache_bytes = ByteSize::mib(4);
        config.limits.connection_buffer_bytes = ByteSize::mib(16);
        config.limits.broker_buffer_bytes = ByteSize::mib(16);
    })
    .await;
    stage.topic("shelves", PARTITIONS).await;
    let producer = stage.client.producer("shelves").open().await.unwrap();
    let mut tickets = Vec::new();
    for n in 0..RECORDS {
        let record = Record::new(vec![n as u8; 64 << 10]).key(format!("{n}"));
        tickets.push(producer.send(record).await.unwrap());
    }
    for ticket in tickets {
        assert!(ticket.await.unwrap().stored().is_some());
    }
    producer.close().await.unwrap();
    let before = resident();
    // What may be sent is taken from a lane only as far as a window goes that nobody moves on.
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(32 << 10));
    let raw = Raw::client_with(&stage.broker, transport).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let request = Subscribe {
            credit_bytes: u64::MAX,
            credit_records: u64::MAX,
            ..subscribe("shelves")
        };
        let (talk, _) = begin(&raw, &request).await;
        held.push(talk);
    }
    // 256 lanes with two reads of 2 MiB each would be a gibibyte.
    let mut subscriber = stage.client.subscribe(["shelves"]).open().await.unwrap();
    let (mut count, mut peak) = (0, 0);
    while count < RECORDS {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert_eq!(record.value.unwrap().len(), 64 << 10);
        peak = peak.max(resident());
        count += 1;
    }
    let grown = peak.saturating_sub(before) >> 20;
    println!("{grown} MiB more memory beside 256 lanes that nobody reads");
    assert!(grown < 256, "{grown} MiB more than before");
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn filters_that_take_long_leave_producers_their_room() {
    let mut stage = Stage::start_with(|config| {
        config.limits.connection_buffer_bytes = ByteSize::mib(16);
        config.limits.broker_buffer_bytes = ByteSize::mib(32);
        config.limits.request_deadline = Duration::from_secs(4);
    })
    .await;
    stage.topic("balloon", 1).await;
    stage.topic("hooked", 1).await;
    let hook = (Hook::Key, "keys-trap-on-poison");
    bind(&stage, "hooked", hook, ErrorPolicy::Drop, 0).await;
    push(&stage, "loops").await.unwrap();
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "balloon", None).await;
    let balloon = batch_of(&[&vec![0; 30 << 20]], Compression::Zstd);
    talk.say(&with_payload(&produce(0), &balloon)).await;
    assert_eq!(became(&talk.reply().await), "stored");
    // Each unfolds it, and loops for longer than a request waits for room.
    let mut looking = Vec::new();
    for _ in 0..2 {
        let filter = FilterSpec {
            plugin: "loops".parse().unwrap(),
            version: None,
            config: Vec::new(),
            on_error: Some(ErrorPolicy::Skip),
            limits: Some(BindingLimits {
                cpu_ms: Some(6_000),
                ..BindingLimits::default()
            }),
        };
        let subscriber = stage.client.subscribe(["balloon"]).filter(filter);
        let mut subscriber = soon("a subscription", subscriber.open()).await.unwrap();
        looking.push(tokio::spawn(async move { subscriber.next().await }));
    }
    let (mut talk, _) = open(&raw, "hooked", None).await;
    let (small, mut sequence) = (batch_of(&[b"small"], Compression::None), 0);
    while looking.iter().any(|one| !one.is_finished()) {
        let mut request = produce(sequence);
        request.partition = None;
        talk.say(&with_payload(&request, &small)).await;
        assert_eq!(became(&talk.reply().await), "stored");
        sequence += 1;
    }
    println!("{sequence} requests beside two filters that loop");
    assert!(sequence > 3, "{sequence} requests");
    for one in looking {
        let record = one.await.unwrap().unwrap().unwrap();
        assert_eq!(record.value.unwrap().len(), 30 << 20);
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_component_that_is_not_taken_is_not_held_for_ever() {
    let mut stage = Stage::start_with(|config| {
        config.limits.request_deadline = Duration::from_millis(500);
    })
    .await;
    push(&stage, "slow").await.unwrap();
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(1 << 10));
    let raw = Raw::client_with(&stage.broker, transport).await;
    let fetch = FetchPlugin {
        name: "slow".parse().unwrap(),
        version: None,
    };
    let mut talk = raw.talk().await;
    talk.say(&fetch.to_frame(0)).await;
    let reset = soon("the broker's reset", talk.receive.received_reset()).await;
    let overloaded = VarInt::from_u32(ErrorCode::Overloaded as u32);
    assert_eq!(reset.unwrap(), Some(overloaded));
    raw.is_alive().await;
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_client_that_stops_reading_gets_no_more_than_it_allows() {
    let stage = Stage::start().await;
    stage.topic("tap", 1).await;
    let producer = stage
        .client
        .producer("tap")
        .batch_bytes(1000)
        .open()
        .await
        .unwrap();
    for n in 0..50 {
        producer.publish(Record::new(format!("{n}"))).await.unwrap();
    }
    let builder = stage
        .client
        .subscribe(["tap"])
        .credit_records(5)
        .credit_bytes(1 << 20);
    let mut subscriber = builder.open().await.unwrap();
    let mut count = 0;
    while count < 50 {
        match soon("an event", subscriber.next_event())
            .await
            .unwrap()
            .unwrap()
        {
            Event::Records(batch) => {
                for record in batch {
                    assert_eq!(record.unwrap().offset.value(), count);
                    count += 1;
                }
            }
            Event::Progress(_) => {}
            other => panic!("{other:?}"),
        }
    }
    let gone = stage
        .client
        .admin()
        .describe_topic("no-such")
        .await
        .unwrap_err();
    assert_eq!(gone.fault().unwrap().code, ErrorCode::UnknownTopic);
    producer.close().await.unwrap();
    stage.end().await;
}
