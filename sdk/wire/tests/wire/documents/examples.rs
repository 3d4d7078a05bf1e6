//! The hex examples of `PROTOCOL.md`: each block begins with a line `# name: what it shows`.

use std::collections::BTreeMap;
use std::fmt::Write;

use bytes::Bytes;
use weir_wire::batch::{BatchBuilder, Compression, NewRecord, stamp};
use weir_wire::error::ErrorCode;
use weir_wire::frame::FrameMessage;
use weir_wire::id::{
    BindingId, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence,
    SubscriptionId, Timestamp, TopicId,
};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;
use weir_wire::produce::{
    Destination, Fate, OpenProducer, Outcome, Produce, Produced, ProducerOpened, ProducerSession,
    REFUSAL_DROPPED, Refusal, encode_runs,
};
use weir_wire::request::{
    CreateTopic, Error, Hello, TopicCreated, TopicInfo, UpdateTopic, Welcome,
};
use weir_wire::subscribe::{
    Credit, FilterSpec, LaneOpened, Progress, Records, START_OFFSET, Subscribe, Subscribed,
    SubscribedPartition,
};

use super::{PROTOCOL, unhex};

const CREATED: i64 = 1_700_000_000_000;

fn flights() -> TopicName {
    "flights".parse().unwrap()
}

fn frame(message: &impl FrameMessage, payload: &[u8]) -> Vec<u8> {
    let mut bytes = message.to_frame(payload.len());
    bytes.extend_from_slice(payload);
    bytes
}

/// Two records; the second has a null value.
fn batch() -> Vec<u8> {
    let headers: [(&str, &[u8]); 1] = [("tag", b"UA")];
    let mut builder = BatchBuilder::default();
    let first = NewRecord {
        key: Some(b"N14228"),
        value: Some(b"{}"),
        headers: &headers,
    };
    builder.push(Timestamp::new(CREATED), &first);
    let second = NewRecord {
        key: Some(b"N24211"),
        ..NewRecord::default()
    };
    builder.push(Timestamp::new(CREATED + 5), &second);
    builder.finish(Compression::None).unwrap()
}

fn connecting(out: &mut BTreeMap<&'static str, Vec<u8>>) {
    let hello = Hello {
        version: 1,
        token: Some("s3cret".to_owned()),
        client: "doc/1".to_owned(),
    };
    out.insert("hello", frame(&hello, &[]));
    let welcome = Welcome {
        version: 1,
        broker: "0.1.0".to_owned(),
        node_id: 7,
    };
    out.insert("welcome", frame(&welcome, &[]));
    let error = Error {
        code: ErrorCode::Overloaded,
        message: "wait".to_owned(),
        retry_after_ms: Some(250),
        record: None,
    };
    out.insert("error", frame(&error, &[]));
    let create = CreateTopic {
        name: flights(),
        partitions: 12,
        settings: None,
    };
    out.insert("create-topic", frame(&create, &[]));
    let created = TopicCreated {
        topic: TopicInfo {
            id: TopicId::new(3),
            name: flights(),
            partitions: 12,
            created: Timestamp::new(CREATED),
            records: 0,
            bytes: 0,
            placement_by_plugin: false,
        },
    };
    out.insert("topic-created", frame(&created, &[]));
}

fn producing(out: &mut BTreeMap<&'static str, Vec<u8>>) {
    let open = OpenProducer {
        topic: flights(),
        session: None,
    };
    out.insert("open-producer", frame(&open, &[]));
    let opened = ProducerOpened {
        session: ProducerSession {
            id: ProducerId::new(9),
            epoch: ProducerEpoch::new(1),
        },
        next_sequence: Sequence::new(0),
        topic: TopicId::new(3),
        partitions: 12,
        placement_by_plugin: false,
        request_bytes_max: 16 << 20,
    };
    out.insert("producer-opened", frame(&opened, &[]));
    out.insert("batch", batch());
    let produce = Produce {
        sequence: Sequence::new(5),
        ack: 0,
        partition: Some(PartitionId::new(0)),
        all_or_nothing: false,
    };
    out.insert("produce-header", produce.to_frame(batch().len()));
    let destination = |partition, base| Destination {
        topic: TopicId::new(3),
        name: flights(),
        partition: PartitionId::new(partition),
        base_offset: Offset::new(base),
    };
    let outcome = Outcome {
        destinations: vec![destination(4, 100), destination(0, 7)],
        sets: vec![Bytes::from_static(&[0]), Bytes::from_static(&[0, 1])],
        refusals: vec![Refusal {
            kind: REFUSAL_DROPPED,
            binding: BindingId::new(2),
            reason: "no key".to_owned(),
        }],
        runs: encode_runs([(3, Fate::Set(0)), (1, Fate::Refusal(0)), (1, Fate::Set(1))]),
    };
    let produced = Produced {
        sequence: Sequence::new(5),
        outcome: Some(outcome),
        error: None,
        throttle_ms: 0,
    };
    out.insert("produced", frame(&produced, &[]));
}

fn subscribing(out: &mut BTreeMap<&'static str, Vec<u8>>) {
    let subscribe = Subscribe {
        topics: vec![flights()],
        partition: None,
        start: START_OFFSET,
        start_offset: Offset::new(100),
        start_time: Timestamp::new(0),
        cursors: Vec::new(),
        filters: vec![FilterSpec {
            plugin: "tag-filter".parse().unwrap(),
            version: None,
            config: Vec::new(),
            on_error: None,
            limits: None,
        }],
        credit_bytes: 1 << 20,
        credit_records: 1000,
        ordering_keys: true,
        resumed: false,
        projections: Vec::new(),
    };
    out.insert("subscribe", frame(&subscribe, &[]));
    let subscribed = Subscribed {
        id: SubscriptionId::new(1),
        partitions: vec![SubscribedPartition {
            topic: TopicId::new(3),
            name: flights(),
            partition: PartitionId::new(4),
            next: Offset::new(100),
            end: Offset::new(103),
        }],
    };
    out.insert("subscribed", frame(&subscribed, &[]));
    let lane = LaneOpened {
        subscription: SubscriptionId::new(1),
    };
    out.insert("lane-opened", frame(&lane, &[]));
    let credit = Credit {
        bytes: 65_536,
        records: 100,
    };
    out.insert("credit", frame(&credit, &[]));
    let mut stored = batch();
    let _ = stamp(&mut stored, Offset::new(100), LeaderEpoch::new(1));
    let keys: Vec<u8> = [b"N14228", b"N24211"]
        .iter()
        .flat_map(|key| OrderingKey::hash(key.as_slice()).value().to_le_bytes())
        .collect();
    let records = Records {
        topic: TopicId::new(3),
        partition: PartitionId::new(4),
        next: Offset::new(102),
        append_time: Timestamp::new(CREATED + 9),
        ordering_keys: Bytes::from(keys),
        filtered_out: 0,
        end: Offset::new(103),
        count: 2,
    };
    out.insert("records", frame(&records, &stored));
    let progress = Progress {
        topic: TopicId::new(3),
        partition: PartitionId::new(4),
        next: Offset::new(103),
        end: Offset::new(103),
        filtered_out: 1,
    };
    out.insert("progress", frame(&progress, &[]));
}

fn managing(out: &mut BTreeMap<&'static str, Vec<u8>>) {
    let update = UpdateTopic {
        name: flights(),
        retention_ms: Some(7 * 86_400_000),
        retention_bytes: Some(0),
        when_unread: None,
        compact: None,
        partitions: Some(12),
    };
    out.insert("update-topic", frame(&update, &[]));
}

fn built() -> BTreeMap<&'static str, Vec<u8>> {
    let mut out = BTreeMap::new();
    connecting(&mut out);
    producing(&mut out);
    subscribing(&mut out);
    managing(&mut out);
    out
}

fn stated() -> BTreeMap<&'static str, Vec<u8>> {
    let blocks = PROTOCOL.split("\n```hex\n").skip(1);
    let mut out = BTreeMap::new();
    for block in blocks {
        let (block, _) = block.split_once("\n```").unwrap();
        let title = block.lines().next().unwrap();
        let (name, _) = title.trim_start_matches("# ").split_once(':').unwrap();
        assert!(
            out.insert(name, unhex(block)).is_none(),
            "two examples {name}"
        );
    }
    out
}

#[test]
fn the_examples_are_what_the_code_writes() {
    let (stated, built) = (stated(), built());
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    };
    let wrong: String = built
        .iter()
        .filter(|(name, bytes)| stated.get(*name) != Some(*bytes))
        .fold(String::new(), |wrong, (name, bytes)| {
            wrong + &format!("{name}: {}\n", hex(bytes))
        });
    assert!(wrong.is_empty(), "these examples ought to be:\n{wrong}");
    assert_eq!(stated.len(), built.len());
}
