//! Batches that lie, over a real produce stream: each is refused with its code, consumes its
//! sequence, and leaves nothing behind.

use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord};
use weir_wire::frame::{FrameMessage, Kind};
use weir_wire::id::{PartitionId, Sequence, Timestamp};
use weir_wire::limits::{BATCH_BYTES_MAX, BATCH_INFLATED_MAX};
use weir_wire::message::Message;
use weir_wire::produce::{OpenProducer, Produce, Produced, ProducerOpened, ProducerSession};
use weir_wire::subscribe::Credit;

use crate::raw::{Raw, Talk, frame, prefix, with_payload, word};
use crate::stage::Stage;

/// Where fields of a batch are (PROTOCOL.md, "Record batches").
const LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const LAST_DELTA: usize = 23;
const COUNT: usize = 57;

/// A sound batch of these values.
pub fn batch_of(values: &[&[u8]], compression: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for value in values {
        let record = NewRecord {
            value: Some(value),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(1_700_000_000_000), &record);
    }
    builder.finish(compression).unwrap()
}

pub fn batch() -> Vec<u8> {
    batch_of(&[b"one", b"two", b"three"], Compression::None)
}

/// The batch with other bytes at `at`, and a CRC that agrees with them.
pub fn with(mut batch: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    sealed(batch)
}

/// Gives a batch the CRC and the length that it ought to have.
pub fn sealed(mut batch: Vec<u8>) -> Vec<u8> {
    let length = (batch.len() - LENGTH - 4) as i32;
    batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
    let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
    batch
}

pub fn produce(sequence: u64) -> Produce {
    Produce {
        sequence: Sequence::new(sequence),
        ack: 0,
        partition: Some(PartitionId::new(0)),
        all_or_nothing: false,
    }
}

/// A produce stream to that topic, perhaps of an old session.
pub async fn open(
    raw: &Raw,
    topic: &str,
    session: Option<ProducerSession>,
) -> (Talk, ProducerOpened) {
    let mut talk = raw.talk().await;
    let topic = topic.parse().unwrap();
    talk.say(&OpenProducer { topic, session }.to_frame(0)).await;
    let opened = talk.reply().await;
    (talk, opened)
}

/// The word for what became of a request.
pub fn became(produced: &Produced) -> &'static str {
    match (&produced.outcome, &produced.error) {
        (Some(_), None) => "stored",
        (None, Some(error)) => word(error),
        other => panic!("neither, or both: {other:?}"),
    }
}

/// Bytes that unfold to more than a thousand times as many.
fn bomb(compression: Compression) -> Vec<u8> {
    let zeros = vec![0; BATCH_INFLATED_MAX];
    let bomb = batch_of(&[&zeros, b"and one more"], compression);
    assert!(bomb.len() < BATCH_BYTES_MAX);
    bomb
}

#[tokio::test]
async fn batches_that_lie_are_refused_and_leave_nothing() {
    let mut stage = Stage::start().await;
    stage.topic("liars", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "liars", None).await;
    let sound = batch();
    let mut flipped = sound.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let mut wrong_crc = sound.clone();
    wrong_crc[CRC] ^= 0x80;
    let length = (sound.len() - LENGTH - 4) as i32;
    let with_length = |length: i32| {
        let mut batch = sound.clone();
        batch[LENGTH..LENGTH + 4].copy_from_slice(&length.to_be_bytes());
        batch
    };
    let mut longer = sound.clone();
    longer.push(0);
    // The second record's offset delta: behind its length, attributes and timestamp delta.
    let first = usize::from(sound[HEADER_LEN]) / 2 + 1;
    let second_delta = HEADER_LEN + first + 3;
    let compressed = batch_of(&[b"one", b"two"], Compression::Zstd);
    let int = |n: i32| n.to_be_bytes();
    let attacks: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing", Vec::new(), "corrupt-batch"),
        ("60 bytes", sound[..60].to_vec(), "corrupt-batch"),
        (
            "a header alone",
            sealed(sound[..HEADER_LEN].to_vec()),
            "corrupt-batch",
        ),
        ("text", vec![b'x'; 500], "corrupt-batch"),
        ("a flipped bit", flipped, "corrupt-batch"),
        ("a wrong CRC", wrong_crc, "corrupt-batch"),
        ("a byte too many", longer.clone(), "corrupt-batch"),
        ("a byte behind the records", sealed(longer), "corrupt-batch"),
        (
            "cut off",
            sound[..sound.len() - 1].to_vec(),
            "corrupt-batch",
        ),
        (
            "cut off and sealed",
            sealed(sound[..sound.len() - 1].to_vec()),
            "corrupt-batch",
        ),
        (
            "a length too small",
            with_length(length - 1),
            "corrupt-batch",
        ),
        ("a length of 0", with_length(0), "corrupt-batch"),
        ("a negative length", with_length(-1), "corrupt-batch"),
        ("2 GiB", with_length(i32::MAX), "corrupt-batch"),
        ("magic 1", with(sound.clone(), MAGIC, &[1]), "corrupt-batch"),
        (
            "transactional",
            with(sound.clone(), ATTRIBUTES, &[0, 0x10]),
            "corrupt-batch",
        ),
        (
            "control",
            with(sound.clone(), ATTRIBUTES, &[0, 0x20]),
            "corrupt-batch",
        ),
        (
            "append time",
            with(sound.clone(), ATTRIBUTES, &[0, 0x08]),
            "corrupt-batch",
        ),
        (
            "compression 7",
            with(sound.clone(), ATTRIBUTES, &[0, 7]),
            "corrupt-batch",
        ),
        (
            "gzip that is none",
            with(sound.clone(), ATTRIBUTES, &[0, 1]),
            "corrupt-batch",
        ),
        (
            "snappy that is none",
            with(sound.clone(), ATTRIBUTES, &[0, 2]),
            "corrupt-batch",
        ),
        (
            "lz4 that is none",
            with(sound.clone(), ATTRIBUTES, &[0, 3]),
            "corrupt-batch",
        ),
        (
            "zstd that is none",
            with(sound.clone(), ATTRIBUTES, &[0, 4]),
            "corrupt-batch",
        ),
        (
            "zstd cut off",
            sealed(compressed[..compressed.len() - 3].to_vec()),
            "corrupt-batch",
        ),
        (
            "a count of 0",
            with(sound.clone(), COUNT, &int(0)),
            "corrupt-batch",
        ),
        (
            "a negative count",
            with(sound.clone(), COUNT, &int(-1)),
            "corrupt-batch",
        ),
        (
            "a count too small",
            with(sound.clone(), COUNT, &int(2)),
            "corrupt-batch",
        ),
        (
            "a count too large",
            with(sound.clone(), COUNT, &int(4)),
            "corrupt-batch",
        ),
        (
            "2 billion records",
            with(sound.clone(), COUNT, &int(i32::MAX)),
            "corrupt-batch",
        ),
        (
            "count and delta lie together",
            with(
                with(sound.clone(), COUNT, &int(1000)),
                LAST_DELTA,
                &int(999),
            ),
            "corrupt-batch",
        ),
        (
            "a last delta too large",
            with(sound.clone(), LAST_DELTA, &int(3)),
            "corrupt-batch",
        ),
        (
            "a last delta too small",
            with(sound.clone(), LAST_DELTA, &int(1)),
            "corrupt-batch",
        ),
        (
            "a negative last delta",
            with(sound.clone(), LAST_DELTA, &int(-1)),
            "corrupt-batch",
        ),
        (
            "a delta twice",
            with(sound.clone(), second_delta, &[0]),
            "corrupt-batch",
        ),
        (
            "a delta with a gap",
            with(sound.clone(), second_delta, &[8]),
            "corrupt-batch",
        ),
        (
            "a negative delta",
            with(sound.clone(), second_delta, &[1]),
            "corrupt-batch",
        ),
        (
            "a record longer than all",
            with(sound.clone(), HEADER_LEN, &[0x7e]),
            "corrupt-batch",
        ),
        (
            "a negative record",
            with(sound.clone(), HEADER_LEN, &[1]),
            "corrupt-batch",
        ),
    ];
    let mut sequence = 0;
    for (what, batch, expected) in attacks {
        talk.say(&with_payload(&produce(sequence), &batch)).await;
        let produced: Produced = talk.reply().await;
        assert_eq!(became(&produced), expected, "{what}: {produced:?}");
        assert_eq!(produced.sequence.value(), sequence);
        sequence += 1;
    }
    // What lies outside the CRC is the broker's to write.
    let mut strange = batch();
    strange[..8].fill(0x7f);
    strange[12..16].fill(0x7f);
    talk.say(&with_payload(&produce(sequence), &strange)).await;
    assert_eq!(became(&talk.reply().await), "stored");
    let expected: [&[u8]; 3] = [b"one", b"two", b"three"];
    assert_eq!(stage.values("liars").await, expected);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn batches_that_inflate_a_thousand_times_are_refused() {
    let mut stage = Stage::start().await;
    stage.topic("bombs", 1).await;
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, _) = open(&raw, "bombs", None).await;
    let codecs = [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let mut sequence = 0;
    for codec in codecs {
        let bomb = bomb(codec);
        println!(
            "{codec}: {} bytes for {BATCH_INFLATED_MAX} and more",
            bomb.len()
        );
        // Several at once, as many as the broker works on in parallel.
        for _ in 0..4 {
            talk.say(&with_payload(&produce(sequence), &bomb)).await;
            sequence += 1;
        }
        for _ in 0..4 {
            let produced: Produced = talk.reply().await;
            assert_eq!(
                became(&produced),
                "batch-too-large",
                "{codec}: {produced:?}"
            );
        }
        stage.is_unharmed().await;
    }
    assert_eq!(stage.records("bombs").await, 0);
    // Right below the limit it is a batch like any other.
    let zeros = vec![0; BATCH_INFLATED_MAX - 100];
    let large = batch_of(&[&zeros], Compression::Zstd);
    talk.say(&with_payload(&produce(sequence), &large)).await;
    assert_eq!(became(&talk.reply().await), "stored");
    let values = stage.values("bombs").await;
    assert_eq!((values.len(), values[0].len()), (1, zeros.len()));
    stage.end().await;
}

#[tokio::test]
async fn requests_that_are_wrong_in_other_ways() {
    let mut stage = Stage::start().await;
    stage.topic("wrong", 3).await;
    let raw = Raw::client(&stage.broker).await;
    let (mut talk, opened) = open(&raw, "wrong", None).await;
    for (sequence, partition) in [3, u32::MAX].into_iter().enumerate() {
        let mut request = produce(sequence as u64);
        request.partition = Some(PartitionId::new(partition));
        talk.say(&with_payload(&request, &batch())).await;
        assert_eq!(became(&talk.reply().await), "unknown-partition");
    }
    // What ends the stream, and then the session goes on where it was.
    let header = produce(2).to_vec();
    let mut no_ack = produce(2);
    no_ack.ack = 3;
    let mut acks = produce(2);
    acks.ack = u32::MAX;
    let credit = Credit {
        bytes: 2,
        records: 0,
    };
    let endings: Vec<(&str, Vec<u8>, &str)> = vec![
        ("ack 3", with_payload(&no_ack, &batch()), "invalid-argument"),
        (
            "ack 4 billion",
            with_payload(&acks, &batch()),
            "invalid-argument",
        ),
        ("a Credit", credit.to_frame(0), "malformed-frame"),
        (
            "Produce, called Records",
            frame(Kind::Records as u8, 1, &header, &batch()),
            "malformed-frame",
        ),
        (
            "Produce, called PushPlugin",
            frame(Kind::PushPlugin as u8, 1, &header, &batch()),
            "malformed-frame",
        ),
        (
            "8 MiB and a byte",
            prefix(9 + BATCH_BYTES_MAX, 42, 1, 0),
            "frame-too-large",
        ),
        (
            "no message",
            frame(Kind::Produce as u8, 1, &[0xff; 12], &batch()),
            "malformed-frame",
        ),
        (
            "no such kind",
            frame(99, 1, &header, &batch()),
            "unknown-kind",
        ),
        (
            "another version",
            frame(42, 2, &header, &batch()),
            "unsupported-version",
        ),
        (
            "cut off",
            with_payload(&produce(2), &batch())[..40].to_vec(),
            "malformed-frame",
        ),
    ];
    for (what, bytes, expected) in endings {
        let (mut talk, again) = open(&raw, "wrong", Some(opened.session.clone())).await;
        assert_eq!(again.next_sequence.value(), 2, "{what}");
        talk.say(&bytes).await;
        talk.finish();
        assert_eq!(word(&talk.last_words().await), expected, "{what}");
    }
    let (mut talk, _) = open(&raw, "wrong", Some(opened.session)).await;
    talk.say(&with_payload(&produce(2), &batch())).await;
    assert_eq!(became(&talk.reply().await), "stored");
    assert_eq!(stage.records("wrong").await, 3);
    stage.is_unharmed().await;
    stage.end().await;
}
