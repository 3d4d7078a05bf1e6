//! What every decoder must bear: one function per decoder, run by the tests over a corpus and
//! over mutated bytes, and by any fuzzer that calls `fn(&[u8])`.
//!
//! A function panics where a promise is broken: a decoder that panics, or one whose result does
//! not survive being encoded again.

use std::fmt::Debug;

use bytes::Bytes;

use crate::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, Records, verify};
use crate::frame::{Assembler, Frame, FrameError, FrameMessage, Kind, PREFIX_LEN};
use crate::message::Message;
use crate::name::{GroupName, PluginName, TopicName};
use crate::placement::partition_of_key;
use crate::produce::{
    OpenProducer, Outcome, Produce, Produced, ProducerOpened, RecordOutcome, encode_runs,
};
use crate::subscribe::{Credit, LaneOpened, Progress, Subscribe, Subscribed};
use crate::varint::{Reader, put_unsigned, unsigned_len};
use crate::{request, subscribe};

/// A function and the name of its corpus directory.
pub type Target = (&'static str, fn(&[u8]));

/// Every function.
pub const TARGETS: &[Target] = &[
    ("varint", varint),
    ("frames", frames),
    ("message", message),
    ("batch", batch),
    ("records", records),
    ("inflate", inflate),
    ("outcome", outcome),
    ("name", name),
];

/// What sections may inflate to here: small, so that a run of many inputs stays quick.
const INFLATE_MAX: usize = 1 << 20;

/// Varints: what is read is written back with the same value.
pub fn varint(data: &[u8]) {
    let mut reader = Reader::new(data);
    while let Ok(value) = reader.unsigned() {
        let mut out = Vec::new();
        put_unsigned(&mut out, value);
        assert_eq!(out.len(), unsigned_len(value));
        assert_eq!(Reader::new(&out).unsigned(), Ok(value));
    }
    let mut reader = Reader::new(data);
    while reader.nullable().is_ok() && !reader.is_empty() {}
}

/// A stream of frames: the same frames and the same error, however the bytes are cut.
pub fn frames(data: &[u8]) {
    let whole = assemble(data, data.len().max(1));
    let step = usize::from(data.first().copied().unwrap_or(0) % 13) + 1;
    let pieces = assemble(data, step);
    assert_eq!(whole.1, pieces.1);
    assert_eq!(whole.0.len(), pieces.0.len());
    for (one, other) in whole.0.iter().zip(&pieces.0) {
        assert_eq!(
            (one.kind, &one.header, &one.payload),
            (other.kind, &other.header, &other.payload)
        );
        decode_as(one.kind, &one.header);
        if matches!(one.kind, Kind::Produce | Kind::Records) {
            batch(&one.payload);
        }
    }
}

fn assemble(data: &[u8], step: usize) -> (Vec<Frame<Vec<u8>>>, Option<FrameError>) {
    let mut assembler = Assembler::default();
    let mut frames = Vec::new();
    for piece in data.chunks(step) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            match assembler.feed(&mut piece) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    let whole: usize = frames
        .iter()
        .map(|frame: &Frame<Vec<u8>>| PREFIX_LEN + frame.header.len() + frame.payload.len())
        .sum();
    assert_eq!(assembler.is_midway(), whole < data.len());
    (frames, None)
}

/// The header of a frame; the first byte chooses the kind.
pub fn message(data: &[u8]) {
    if let Some((&number, header)) = data.split_first()
        && let Some(kind) = Kind::from_number(number)
    {
        decode_as(kind, header);
    }
}

macro_rules! decode_as {
    ($($message:ty,)*) => {
        fn decode_as(kind: Kind, header: &[u8]) {
            $(if kind == <$message as FrameMessage>::KIND {
                round_trip::<$message>(header);
            })*
        }

        /// The kinds that [`message`] knows, so that a test finds one forgotten.
        pub const MESSAGE_KINDS: &[Kind] = &[$(<$message as FrameMessage>::KIND,)*];
    };
}

decode_as! {
    request::Hello, request::Welcome, request::Error, request::Done,
    request::CreateTopic, request::TopicCreated, request::DeleteTopic, request::ListTopics,
    request::Topics, request::DescribeTopic, request::TopicDescription,
    request::UpdateTopic, request::TopicUpdated, request::TruncateTopic, request::TopicTruncated,
    request::PushPlugin, request::PluginPushed, request::ListPlugins, request::Plugins,
    request::DescribePlugin, request::PluginDescription, request::RemovePlugin,
    request::Bind, request::Bound, request::Unbind, request::Status, request::BrokerStatus,
    request::Rollback, request::DescribeHistory, request::History, request::Unquarantine,
    request::PluginLogs, request::PluginLogLines, request::FetchPlugin, request::PluginFetched,
    OpenProducer, ProducerOpened, Produce, Produced,
    Subscribe, Subscribed, Credit, LaneOpened, subscribe::Records, Progress,
}

fn round_trip<M: Message + PartialEq + Debug>(header: &[u8]) {
    let Ok(message) = M::decode(header) else {
        return;
    };
    let again = M::decode(&message.to_vec()).expect("what was just encoded can be decoded");
    assert_eq!(message, again);
}

/// A whole batch as it comes from a producer; one that passes is built again, record by record.
pub fn batch(data: &[u8]) {
    let Ok(verified) = verify(data) else {
        return;
    };
    let header = verified.header;
    let mut builder = BatchBuilder::with_capacity(verified.records.len());
    let mut keys = 0_u64;
    for record in Records::new(&verified.records, header.count) {
        let record = record.expect("a verified batch holds sound records");
        builder.push_body(record.timestamp(header.base_timestamp), record.body());
        let partition = record.key.map(|key| partition_of_key(key, 7));
        keys += partition.map_or(0, |partition| u64::from(partition.value()));
        assert!(record.headers().count() <= data.len().max(verified.records.len()));
    }
    assert!(keys <= u64::from(header.count) * 6);
    let rebuilt = builder
        .finish(Compression::None)
        .expect("nothing is compressed, and 32 MiB fit the length field");
    let again = verify_unlimited(&rebuilt);
    let mine = Records::new(&verified.records, header.count).map(|r| r.map(|r| r.body()));
    let theirs = Records::new(again, header.count).map(|r| r.map(|r| r.body()));
    assert!(mine.eq(theirs));
}

/// The records section of a batch that [`verify`] may find too large for the wire.
fn verify_unlimited(batch: &[u8]) -> &[u8] {
    let header = BatchHeader::parse(batch).expect("the builder writes a sound header");
    assert_eq!(header.total_len, batch.len());
    &batch[HEADER_LEN..]
}

/// A batch whose length and CRC are made right first, so that the decoders behind them are
/// reached; then its records section read as it stands.
pub fn records(data: &[u8]) {
    let mut repaired = data.to_vec();
    if repaired.len() >= HEADER_LEN {
        let length = i32::try_from(repaired.len() - 12).unwrap_or(i32::MAX);
        repaired[8..12].copy_from_slice(&length.to_be_bytes());
        repaired[16] = 2;
        let crc = crc32c::crc32c(&repaired[21..]);
        repaired[17..21].copy_from_slice(&crc.to_be_bytes());
        batch(&repaired);
    }
    for record in Records::new(data, u32::MAX).flatten() {
        let _ = (record.headers().count(), record.header("tag"));
    }
}

/// A compressed section; the first byte chooses the codec.
pub fn inflate(data: &[u8]) {
    let Some((&codec, section)) = data.split_first() else {
        return;
    };
    let codecs = [
        Compression::None,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    let codec = codecs[usize::from(codec) % codecs.len()];
    if let Ok(plain) = codec.inflate(section, INFLATE_MAX) {
        assert!(plain.len() <= INFLATE_MAX);
        let mut packed = Vec::new();
        codec
            .deflate(&plain, &mut packed)
            .expect("compressing into memory cannot fail");
        let again = codec.inflate(&packed, INFLATE_MAX);
        assert_eq!(again.expect("what was just compressed inflates"), plain);
    }
}

/// The outcome of a request, asked for each record; the first byte is the number of records.
pub fn outcome(data: &[u8]) {
    let Some((&count, header)) = data.split_first() else {
        return;
    };
    let Ok(outcome) = Outcome::decode(header) else {
        return;
    };
    if let Ok(runs) = outcome.runs() {
        let again = Outcome {
            runs: encode_runs(runs.iter().copied()),
            ..outcome.clone()
        };
        let total = |runs: &[(u32, _)]| runs.iter().map(|run| u64::from(run.0)).sum::<u64>();
        let joined = again.runs().expect("runs that were read can be read again");
        assert_eq!(total(&joined), total(&runs));
    }
    if let Ok(records) = outcome.records(u32::from(count)) {
        assert_eq!(records.len(), usize::from(count));
        for record in records {
            if let RecordOutcome::Stored(places) = record {
                assert!(places.len() <= crate::limits::SET_PLACES_MAX);
            }
        }
    }
}

/// Names: a valid one prints as what parses to the same name.
pub fn name(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(name) = text.parse::<TopicName>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(name) = text.parse::<PluginName>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
    if let Ok(name) = text.parse::<GroupName>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}
