//! Quantity: 100,000 frames of noise through real connections (P18 at its CI count), hundreds of
//! streams that are opened and left, large frames that never end.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use quinn::VarInt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_wire::batch::Compression;
use weir_wire::frame::{FrameMessage, Kind, PREFIX_LEN};
use weir_wire::limits::{BATCH_BYTES_MAX, COMPONENT_BYTES_MAX};
use weir_wire::message::Message;
use weir_wire::plugin::Hook;
use weir_wire::produce::OpenProducer;
use weir_wire::request::{
    Bind, CreateTopic, DeleteTopic, DescribePlugin, DescribeTopic, ListPlugins, ListTopics,
    PushPlugin, RemovePlugin, Status, Unbind,
};
use weir_wire::subscribe::{Credit, Subscribe};

use crate::batches::{batch, batch_of, open, produce};
use crate::raw::{Raw, frame, prefix, with_payload, word};
use crate::stage::{Stage, resident, until_status};
use crate::subscriptions::subscribe;

const SEED: u64 = 0x5eed_0f00_d5ea_0001;
/// Frames that have a stream to themselves.
const ALONE: u64 = 20_000;
/// Produce requests that the broker has to answer.
const TOGETHER: u64 = 80_000;
/// Sent on one stream.
const BURST: u64 = 120;
/// Streams at the same time.
const AT_ONCE: usize = 48;

/// Frames that a client may send, to be damaged.
fn templates() -> Vec<Vec<u8>> {
    let topic = || "flooded".parse().unwrap();
    let plugin = || "flooded".parse().unwrap();
    let bind = Bind {
        version: Some("00".to_owned()),
        ..Bind::new(plugin(), topic(), Hook::Key)
    };
    let subscribe = Subscribe {
        partition: Some(weir_wire::id::PartitionId::new(0)),
        credit_bytes: 1000,
        credit_records: 1000,
        ordering_keys: true,
        ..subscribe("flooded")
    };
    let credit = Credit {
        bytes: 1 << 40,
        records: 1 << 40,
    };
    let unbind = Unbind {
        binding: weir_wire::id::BindingId::new(3),
    };
    let remove = RemovePlugin {
        name: plugin(),
        version: None,
    };
    let session = None;
    vec![
        Status {}.to_frame(0),
        ListPlugins { after: None }.to_frame(0),
        ListTopics { after: None }.to_frame(0),
        DescribeTopic { name: topic() }.to_frame(0),
        DescribePlugin {
            name: plugin(),
            after: None,
        }
        .to_frame(0),
        DeleteTopic {
            name: "nothing".parse().unwrap(),
        }
        .to_frame(0),
        CreateTopic {
            name: "more".parse().unwrap(),
            partitions: 3,
            settings: None,
        }
        .to_frame(0),
        OpenProducer {
            topic: topic(),
            session,
        }
        .to_frame(0),
        bind.to_frame(0),
        subscribe.to_frame(0),
        credit.to_frame(0),
        unbind.to_frame(0),
        remove.to_frame(0),
        with_payload(&produce(0), &batch()),
    ]
}

/// Flips, overwrites, inserts, removes.
fn damage(random: &mut StdRng, bytes: &mut Vec<u8>) {
    for _ in 0..random.random_range(1..4) {
        let at = random.random_range(0..=bytes.len().saturating_sub(1));
        match random.random_range(0..5) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.random_range(0..8),
            1 if !bytes.is_empty() => bytes[at] = random.random(),
            2 if !bytes.is_empty() => drop(bytes.remove(at)),
            3 => bytes.insert(at, random.random()),
            _ => bytes.truncate(at + 1),
        }
    }
}

/// A frame with a stream to itself: noise, a random message of a random kind, or a damaged one.
fn hostile(random: &mut StdRng, templates: &[Vec<u8>]) -> Vec<u8> {
    match random.random_range(0..400) {
        // A child process compiles what looks like a component: only now and then.
        0 => {
            let name = "noise".parse().unwrap();
            let mut component = b"\0asm\x0d\0\x01\0".to_vec();
            component.extend((0..random.random_range(0..100)).map(|_| random.random::<u8>()));
            with_payload(&PushPlugin { name }, &component)
        }
        1..100 => {
            let mut noise = vec![0; random.random_range(1..300)];
            random.fill(&mut noise[..]);
            noise
        }
        100..200 => {
            let mut header = vec![0; random.random_range(0..60)];
            random.fill(&mut header[..]);
            let kinds: Vec<Kind> = Kind::ALL
                .iter()
                .copied()
                .filter(|kind| *kind != Kind::PushPlugin)
                .collect();
            let kind = kinds[random.random_range(0..kinds.len())];
            frame(kind as u8, 1, &header, b"")
        }
        200..300 => {
            // The lengths are true, the message is not.
            let whole = &templates[random.random_range(0..templates.len())];
            let mut header = whole[PREFIX_LEN..].to_vec();
            damage(random, &mut header);
            frame(whole[4], 1, &header, b"")
        }
        _ => {
            let mut whole = templates[random.random_range(0..templates.len())].clone();
            damage(random, &mut whole);
            // A stream without a single byte has nothing to be answered.
            whole.push(0);
            whole
        }
    }
}

/// A produce request whose frame is sound and whose content is not, mostly.
fn hostile_request(random: &mut StdRng, sequence: u64) -> Vec<u8> {
    let codecs = [
        Compression::None,
        Compression::Lz4,
        Compression::Zstd,
        Compression::Snappy,
    ];
    let codec = codecs[random.random_range(0..codecs.len())];
    let mut payload = batch_of(&[b"one", b"two", &[b'3'; 50]], codec);
    damage(random, &mut payload);
    let mut header = produce(sequence).to_vec();
    if random.random_range(0..200) == 0 {
        damage(random, &mut header);
    }
    frame(Kind::Produce as u8, 1, &header, &payload)
}

#[tokio::test]
async fn a_hundred_thousand_frames_of_noise() {
    println!("seed {SEED:#x}: {ALONE} frames alone, {TOGETHER} produce requests");
    let mut stage = Stage::alone_with(|_| ()).await;
    stage.topic("flooded", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let before = resident();
    let (answered, errors) = (AtomicU64::new(0), AtomicU64::new(0));
    let templates = templates();
    let alone = futures_util::stream::iter(0..ALONE).for_each_concurrent(AT_ONCE, async |n| {
        let mut random = StdRng::seed_from_u64(SEED ^ n);
        let bytes = hostile(&mut random, &templates);
        let mut talk = raw.talk().await;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (piece, left) = rest.split_at(random.random_range(1..=rest.len()));
            talk.say(piece).await;
            rest = left;
        }
        talk.finish();
        while let Some(frame) = talk.hear().await {
            answered.fetch_add(1, Ordering::Relaxed);
            errors.fetch_add(u64::from(frame.kind == Kind::Error), Ordering::Relaxed);
        }
    });
    alone.await;
    let (answered, errors) = (answered.into_inner(), errors.into_inner());
    println!("{answered} answers, {errors} of them errors");
    assert!(answered >= ALONE, "some frames were not answered");
    assert!(
        errors > ALONE / 2 && errors < ALONE,
        "{errors} errors: hardly noise"
    );
    stage.is_unharmed().await;

    // As many bursts as it takes: some end early, with a frame that nobody could read.
    let (sent, outcomes) = (AtomicU64::new(0), AtomicU64::new(0));
    let bursts = futures_util::stream::iter(0..TOGETHER);
    let together = bursts.for_each_concurrent(8, async |n| {
        if outcomes.load(Ordering::Relaxed) >= TOGETHER {
            return;
        }
        let mut random = StdRng::seed_from_u64(SEED.rotate_left(32) ^ n);
        let (mut talk, _) = open(&raw, "flooded", None).await;
        for sequence in 0..BURST {
            talk.say(&hostile_request(&mut random, sequence)).await;
        }
        talk.finish();
        sent.fetch_add(BURST, Ordering::Relaxed);
        while talk.hear().await.is_some() {
            outcomes.fetch_add(1, Ordering::Relaxed);
        }
    });
    together.await;
    let (sent, outcomes) = (sent.into_inner(), outcomes.into_inner());
    println!("{outcomes} outcomes of {sent} requests");
    assert!(outcomes >= TOGETHER);
    stage.is_unharmed().await;
    // What was stored by luck can be read: nothing that lies got through.
    let stored = stage.values("flooded").await.len();
    let grown = resident().saturating_sub(before) >> 20;
    println!("{stored} records got through, {grown} MiB more memory");
    assert!(grown < 512, "{grown} MiB more than before");
    raw.is_alive().await;
    stage.end().await;
}

#[tokio::test]
async fn hundreds_of_streams_that_are_opened_and_left() {
    let mut stage = Stage::start().await;
    stage.topic("parked", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let mut left = Vec::new();
    for n in 0..500 {
        let mut talk = raw.talk().await;
        match n % 5 {
            // A byte, or the stream would not exist.
            0 => talk.say(b"\0").await,
            1 => {
                talk.say(&prefix(1000, Kind::CreateTopic as u8, 1, 992))
                    .await
            }
            2 => talk.say(&Status {}.to_frame(0)).await,
            3 => {
                let topic = "parked".parse().unwrap();
                talk.say(
                    &OpenProducer {
                        topic,
                        session: None,
                    }
                    .to_frame(0),
                )
                .await;
            }
            _ => {
                talk.say(&Status {}.to_frame(0)[..6]).await;
                talk.send.reset(VarInt::from_u32(1)).unwrap();
            }
        }
        left.push(talk);
    }
    stage.is_unharmed().await;
    // One connection has taken all its streams; another has its own.
    Raw::client(&stage.broker).await.is_alive().await;
    let before = stage.client.admin().status().await.unwrap().connections;
    drop(left);
    raw.is_alive().await;
    raw.connection.close(VarInt::from_u32(1), b"gone");
    let client = stage.client.clone();
    until_status(&client, "the connection's end", |status| {
        status.connections < before
    })
    .await;
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn large_frames_that_never_end_find_no_room() {
    let mut stage = Stage::alone_with(|config| {
        config.limits.connection_buffer_bytes = weir_broker::config::ByteSize::mib(16);
        config.limits.broker_buffer_bytes = weir_broker::config::ByteSize::mib(32);
        config.limits.request_deadline = std::time::Duration::from_secs(5);
        // The largest batch must fit half of a file.
        config.log.wal_file_bytes = weir_broker::config::ByteSize::mib(32);
    })
    .await;
    stage.topic("halves", 1).await;
    let before = resident();
    let zeros = vec![0; 1 << 20];
    let connections = [
        Raw::client(&stage.broker).await,
        Raw::client(&stage.broker).await,
    ];
    // Two batches of 8 MiB are all that a connection has room for, but for their last byte.
    let mut held = Vec::new();
    for raw in &connections {
        for _ in 0..2 {
            let (mut talk, _) = open(raw, "halves", None).await;
            talk.say(&prefix(8 + BATCH_BYTES_MAX - 1, Kind::Produce as u8, 1, 0))
                .await;
            talk.say(&zeros).await;
            held.push(talk);
        }
    }
    let push_header = PushPlugin {
        name: "huge".parse().unwrap(),
    }
    .to_vec();
    let push = prefix(
        8 + push_header.len() + COMPONENT_BYTES_MAX,
        Kind::PushPlugin as u8,
        1,
        push_header.len(),
    );
    for raw in &connections {
        for _ in 0..5 {
            let mut talk = raw.talk().await;
            talk.say(&push).await;
            talk.say(&push_header).await;
            let error = talk.last_words().await;
            assert_eq!(word(&error), "overloaded", "{}", error.message);
            assert!(error.retry_after_ms.is_some());
        }
    }
    // Whoever stands still loses the room.
    for talk in &mut held {
        assert_eq!(word(&talk.last_words().await), "overloaded");
    }
    let (mut talk, _) = open(&connections[0], "halves", None).await;
    let large = batch_of(&[&vec![7; BATCH_BYTES_MAX - 1000]], Compression::None);
    talk.say(&with_payload(&produce(0), &large)).await;
    let produced: weir_wire::produce::Produced = talk.reply().await;
    assert_eq!(crate::batches::became(&produced), "stored");
    let grown = resident().saturating_sub(before) >> 20;
    println!("{grown} MiB more memory");
    assert!(grown < 400, "{grown} MiB more than before");
    stage.is_unharmed().await;
    stage.end().await;
}
