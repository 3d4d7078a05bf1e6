//! Subscribers that ask for what is not there, misuse their credit, or do not read.

use quinn::VarInt;
use weir_sdk::{Client, Record};
use weir_wire::batch::{BatchHeader, Records as RecordsOf};
use weir_wire::error::ErrorCode;
use weir_wire::frame::{FrameMessage, Kind};
use weir_wire::id::{Offset, PartitionId, Timestamp};
use weir_wire::limits::{FILTERS_MAX, SUBSCRIPTIONS_MAX};
use weir_wire::plugin::ErrorPolicy;
use weir_wire::subscribe::{
    Credit, Cursor, FilterSpec, LaneOpened, Progress, Records, START_OFFSET, START_TIME, Subscribe,
    Subscribed,
};

use crate::raw::{Ear, Raw, Talk, frame, word};
use crate::stage::{Stage, soon, until_status};

/// From the start, with some credit.
pub fn subscribe(topic: &str) -> Subscribe {
    Subscribe {
        topics: vec![topic.parse().unwrap()],
        partition: None,
        start: 0,
        start_offset: Offset::ZERO,
        start_time: Timestamp::new(0),
        cursors: Vec::new(),
        filters: Vec::new(),
        credit_bytes: 1 << 20,
        credit_records: 1 << 20,
        ordering_keys: false,
        resumed: false,
        projections: Vec::new(),
    }
}

fn filter(plugin: &str) -> FilterSpec {
    FilterSpec {
        plugin: plugin.parse().unwrap(),
        version: None,
        config: Vec::new(),
        on_error: None,
        limits: None,
    }
}

async fn fill(client: &Client, topic: &str, count: u64) {
    let producer = client.producer(topic).batch_bytes(64).open().await.unwrap();
    for n in 0..count {
        producer.publish(Record::new(format!("{n}"))).await.unwrap();
    }
    producer.close().await.unwrap();
}

pub async fn begin(raw: &Raw, request: &Subscribe) -> (Talk, Subscribed) {
    let mut talk = raw.talk().await;
    talk.say(&request.to_frame(0)).await;
    let subscribed = talk.reply().await;
    (talk, subscribed)
}

/// Reads records from the next lane until there were `count`; their offsets.
async fn read_lane(raw: &Raw, count: usize) -> (quinn::RecvStream, Vec<u64>) {
    let mut lane = soon("a lane", raw.connection.accept_uni()).await.unwrap();
    let mut ear = Ear::new();
    let first = ear.hear(&mut lane).await.unwrap();
    assert!(first.message::<LaneOpened>().is_ok());
    let mut offsets = Vec::new();
    while offsets.len() < count {
        let frame = ear.hear(&mut lane).await.unwrap();
        if frame.kind == Kind::Progress {
            let _: Progress = frame.message().unwrap();
            continue;
        }
        let records: Records = frame.message().unwrap();
        let header = BatchHeader::parse(&frame.payload).unwrap();
        assert_eq!(records.count, header.count);
        let section = &frame.payload[weir_wire::batch::HEADER_LEN..];
        offsets.extend(RecordsOf::new(section, header.count).map(|record| {
            header
                .base_offset
                .advance(record.unwrap().offset_delta)
                .value()
        }));
    }
    (lane, offsets)
}

#[tokio::test]
async fn what_cannot_be_subscribed_to() {
    let mut stage = Stage::start().await;
    stage.topic("shelf", 2).await;
    fill(&stage.client, "shelf", 5).await;
    let raw = Raw::client(&stage.broker).await;
    let topic = stage
        .client
        .admin()
        .describe_topic("shelf")
        .await
        .unwrap()
        .topic
        .id;
    let change = |change: &dyn Fn(&mut Subscribe)| {
        let mut request = subscribe("shelf");
        change(&mut request);
        request.to_frame(0)
    };
    let cursor = |partition: u32, offset: u64| Cursor {
        topic,
        partition: PartitionId::new(partition),
        offset: Offset::new(offset),
    };
    let dead_letter = FilterSpec {
        on_error: Some(ErrorPolicy::DeadLetter),
        ..filter("key")
    };
    let admin = stage.client.admin();
    admin
        .push_plugin("key", crate::plugins::prebuilt("json-key"))
        .await
        .unwrap();
    admin
        .push_plugin("tags", crate::plugins::prebuilt("tag-filter"))
        .await
        .unwrap();
    let attacks: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", change(&|r| r.topics.clear()), "invalid-argument"),
        (
            "no such topic",
            change(&|r| r.topics.push("gone".parse().unwrap())),
            "unknown-topic",
        ),
        (
            "a topic twice",
            change(&|r| r.topics.push("shelf".parse().unwrap())),
            "invalid-argument",
        ),
        (
            "a topic 200,000 times",
            change(&|r| r.topics = vec!["shelf".parse().unwrap(); 200_000]),
            "invalid-argument",
        ),
        (
            "partition 2",
            change(&|r| r.partition = Some(PartitionId::new(2))),
            "unknown-partition",
        ),
        (
            "partition 4 billion",
            change(&|r| r.partition = Some(PartitionId::new(u32::MAX))),
            "unknown-partition",
        ),
        (
            "start 4",
            change(&|r| r.start = START_TIME + 1),
            "invalid-argument",
        ),
        (
            "start 4 billion",
            change(&|r| r.start = u32::MAX),
            "invalid-argument",
        ),
        (
            "offset 6",
            change(&|r| (r.start, r.start_offset) = (START_OFFSET, Offset::new(6))),
            "offset-out-of-range",
        ),
        (
            "the largest offset",
            change(&|r| (r.start, r.start_offset) = (START_OFFSET, Offset::new(u64::MAX))),
            "offset-out-of-range",
        ),
        (
            "a cursor too far",
            change(&|r| r.cursors.push(cursor(0, 6))),
            "offset-out-of-range",
        ),
        (
            "17 filters",
            change(&|r| r.filters = vec![filter("tags"); FILTERS_MAX + 1]),
            "invalid-argument",
        ),
        (
            "no such plugin",
            change(&|r| r.filters.push(filter("gone"))),
            "unknown-plugin",
        ),
        (
            "a plugin that filters nothing",
            change(&|r| r.filters.push(filter("key"))),
            "invalid-argument",
        ),
        (
            "a filter without settings",
            change(&|r| r.filters.push(filter("tags"))),
            "invalid-argument",
        ),
        (
            "a policy of the future",
            change(&|r| r.filters.push(dead_letter.clone())),
            "invalid-argument",
        ),
        (
            "no message",
            frame(Kind::Subscribe as u8, 1, &[0xff; 9], b""),
            "malformed-frame",
        ),
    ];
    for (what, bytes, expected) in attacks {
        let error = raw.refusal(&bytes).await;
        assert_eq!(word(&error), expected, "{what}: {}", error.message);
    }
    // A cursor of a partition that is not there concerns nobody.
    let (mut talk, subscribed) = begin(&raw, &{
        let mut request = subscribe("shelf");
        request.cursors = vec![cursor(77, u64::MAX); 100_000];
        request
    })
    .await;
    assert_eq!(subscribed.partitions.len(), 2);
    talk.finish();
    assert!(talk.hear().await.is_none());
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn credit_is_obeyed_however_it_is_given() {
    let mut stage = Stage::start().await;
    stage.topic("metered", 1).await;
    fill(&stage.client, "metered", 20).await;
    let raw = Raw::client(&stage.broker).await;
    let mut request = subscribe("metered");
    (request.credit_bytes, request.credit_records) = (0, 0);
    let (mut talk, _) = begin(&raw, &request).await;
    let credit = |bytes: u64, records: u64| Credit { bytes, records }.to_frame(0);
    // Bytes without records are worth nothing, however many.
    for _ in 0..100 {
        talk.say(&credit(u64::MAX, 0)).await;
    }
    stage.is_unharmed().await;
    talk.say(&credit(0, 3)).await;
    let (mut lane, offsets) = read_lane(&raw, 3).await;
    assert_eq!(offsets, [0, 1, 2]);
    stage.is_unharmed().await;
    let more = tokio::time::timeout(std::time::Duration::ZERO, lane.read_chunk(1, true)).await;
    assert!(more.is_err(), "more than its credit came: {more:?}");
    // As much as there is, again and again: it does not overflow into debt.
    for _ in 0..100 {
        talk.say(&credit(u64::MAX, u64::MAX)).await;
    }
    let mut ear = Ear::new();
    let mut last = 2;
    while last < 19 {
        let frame = ear.hear(&mut lane).await.unwrap();
        if frame.kind == Kind::Records {
            last = BatchHeader::parse(&frame.payload)
                .unwrap()
                .next_offset()
                .value()
                - 1;
        }
    }
    // Anything but credit ends it.
    talk.say(&subscribe("metered").to_frame(0)).await;
    assert_eq!(word(&talk.last_words().await), "malformed-frame");
    for (what, bytes) in [
        ("no message", frame(Kind::Credit as u8, 1, &[0xff; 9], b"")),
        ("cut off", credit(1, 1)[..9].to_vec()),
    ] {
        let (mut talk, _) = begin(&raw, &request).await;
        talk.say(&bytes).await;
        talk.finish();
        assert_eq!(word(&talk.last_words().await), "malformed-frame", "{what}");
    }
    stage.end().await;
}

#[tokio::test]
async fn subscribers_that_leave_are_forgotten() {
    let mut stage = Stage::start().await;
    stage.topic("left", 300).await;
    fill(&stage.client, "left", 10).await;
    let raw = Raw::client(&stage.broker).await;
    let request = subscribe("left");
    // The bystander's own subscription stays.
    let others = |expected: u64| {
        let client = stage.client.clone();
        async move {
            let what = format!("{expected} subscriptions besides the bystander's");
            until_status(&client, &what, |status| {
                status.subscriptions == 1 + expected
            })
            .await;
        }
    };
    let (mut talk, _) = begin(&raw, &request).await;
    others(1).await;
    talk.send.reset(VarInt::from_u32(1)).unwrap();
    others(0).await;
    let (mut talk, _) = begin(&raw, &request).await;
    others(1).await;
    talk.finish();
    others(0).await;
    // STOP_SENDING on all of its lanes, idle or not: there is nobody left to read.
    let single = Subscribe {
        partition: Some(PartitionId::new(0)),
        ..request.clone()
    };
    let fresh = Raw::client(&stage.broker).await;
    let (mut talk, _) = begin(&fresh, &single).await;
    let mut lane = soon("a lane", fresh.connection.accept_uni()).await.unwrap();
    lane.stop(VarInt::from_u32(1)).unwrap();
    assert!(talk.hear().await.is_none());
    others(0).await;
    // Lanes that nobody accepts, then a connection that is gone.
    let (_first, _) = begin(&raw, &request).await;
    let (_second, _) = begin(&raw, &request).await;
    others(2).await;
    raw.connection.close(VarInt::from_u32(1), b"gone");
    others(0).await;
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn subscriptions_of_a_connection_are_counted() {
    let mut stage = Stage::start().await;
    stage.topic("popular", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let request = subscribe("popular");
    let mut held = Vec::new();
    for _ in 0..SUBSCRIPTIONS_MAX {
        held.push(begin(&raw, &request).await.0);
    }
    let error = raw.refusal(&request.to_frame(0)).await;
    assert_eq!(error.code, ErrorCode::LimitReached, "{}", error.message);
    let mut left = held.pop().unwrap();
    left.finish();
    assert!(left.hear().await.is_none());
    drop(left);
    let again = async {
        loop {
            let mut talk = raw.talk().await;
            talk.say(&request.to_frame(0)).await;
            if talk.answer().await.is_ok() {
                return talk;
            }
        }
    };
    soon("the place that came free", again).await;
    stage.is_unharmed().await;
    stage.end().await;
}
