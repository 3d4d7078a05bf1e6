//! Golden vectors: batches of the crate `kafka-protocol`, an implementation that shares no code
//! with ours, read here, and ours read there; partitions as Kafka's own tests state them.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as kafka;
use weir_wire::batch::{BatchBuilder, Compression, NewRecord, Records, stamp, verify};
use weir_wire::id::{LeaderEpoch, Offset, Timestamp};
use weir_wire::placement::partition_of_key;

const CODECS: [(Compression, kafka::Compression); 5] = [
    (Compression::None, kafka::Compression::None),
    (Compression::Gzip, kafka::Compression::Gzip),
    (Compression::Snappy, kafka::Compression::Snappy),
    (Compression::Lz4, kafka::Compression::Lz4),
    (Compression::Zstd, kafka::Compression::Zstd),
];

/// One record, in neither implementation's words.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Vec<u8>)>,
}

fn plain(timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[&str]) -> Plain {
    Plain {
        timestamp,
        key: key.map(<[u8]>::to_vec),
        value: value.map(<[u8]>::to_vec),
        headers: headers
            .iter()
            .map(|name| ((*name).to_owned(), format!("<{name}>").into_bytes()))
            .collect(),
    }
}

fn samples() -> Vec<Vec<Plain>> {
    let long: Vec<u8> = (0..100_000_u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    vec![
        vec![plain(1_700_000_000_000, Some(b"key"), Some(b"value"), &[])],
        vec![
            plain(1_700_000_000_000, None, Some(b""), &["tag", "trace"]),
            plain(1_699_999_999_000, Some(b""), None, &[]),
            plain(1_700_000_005_000, None, None, &["tag", "ключ"]),
        ],
        vec![
            plain(-2, Some(b"before 1970"), Some(&long), &[]),
            plain(-86_400_000, None, None, &[]),
        ],
        (0..3000)
            .map(|n| {
                plain(
                    n,
                    Some(n.to_string().as_bytes()),
                    Some(&long[..50]),
                    &["tag"],
                )
            })
            .collect(),
    ]
}

fn to_kafka(records: &[Plain], codec: kafka::Compression) -> Vec<u8> {
    let records: Vec<kafka::Record> = records
        .iter()
        .zip(0..)
        .map(|(record, offset)| kafka::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 0,
            producer_id: kafka::NO_PRODUCER_ID,
            producer_epoch: kafka::NO_PRODUCER_EPOCH,
            timestamp_type: kafka::TimestampType::Creation,
            offset,
            sequence: offset as i32,
            timestamp: record.timestamp,
            key: record.key.clone().map(Bytes::from),
            value: record.value.clone().map(Bytes::from),
            headers: record
                .headers
                .iter()
                .map(|(name, value)| {
                    let name = StrBytes::from_string(name.clone());
                    (name, Some(Bytes::from(value.clone())))
                })
                .collect(),
        })
        .collect();
    let options = kafka::RecordEncodeOptions {
        version: 2,
        compression: codec,
    };
    let mut out = BytesMut::new();
    kafka::RecordBatchEncoder::encode(&mut out, &records, &options).unwrap();
    out.to_vec()
}

fn from_kafka(batch: &[u8]) -> Vec<kafka::Record> {
    let mut bytes = Bytes::copy_from_slice(batch);
    kafka::RecordBatchDecoder::decode(&mut bytes)
        .unwrap()
        .records
}

fn to_weir(records: &[Plain], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for record in records {
        let headers: Vec<(&str, &[u8])> = record
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        let new = NewRecord {
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            headers: &headers,
        };
        builder.push(Timestamp::new(record.timestamp), &new);
    }
    builder.finish(codec).unwrap()
}

fn from_weir(batch: &[u8]) -> Vec<Plain> {
    let verified = verify(batch).unwrap();
    Records::new(&verified.records, verified.header.count)
        .map(|record| {
            let record = record.unwrap();
            Plain {
                timestamp: record.timestamp(verified.header.base_timestamp).value(),
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record
                    .headers()
                    .map(|(name, value)| {
                        let name = String::from_utf8(name.to_vec()).unwrap();
                        (name, value.unwrap().to_vec())
                    })
                    .collect(),
            }
        })
        .collect()
}

#[test]
fn what_kafka_encodes_is_read_here() {
    for records in samples() {
        for (_, codec) in CODECS {
            assert_eq!(from_weir(&to_kafka(&records, codec)), records, "{codec:?}");
        }
    }
}

#[test]
fn what_is_encoded_here_is_read_by_kafka() {
    for records in samples() {
        for (codec, _) in CODECS {
            let mut batch = to_weir(&records, codec);
            let _ = stamp(&mut batch, Offset::new(5_000_000_000), LeaderEpoch::new(7));
            let read = from_kafka(&batch);
            assert_eq!(read.len(), records.len(), "{codec}");
            for ((theirs, mine), offset) in read.iter().zip(&records).zip(5_000_000_000..) {
                assert_eq!(theirs.offset, offset);
                assert_eq!(theirs.partition_leader_epoch, 7);
                assert_eq!(theirs.timestamp, mine.timestamp);
                assert_eq!(theirs.key.as_deref(), mine.key.as_deref());
                assert_eq!(theirs.value.as_deref(), mine.value.as_deref());
                let headers: Vec<(String, Vec<u8>)> = theirs
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_string(), value.clone().unwrap().to_vec()))
                    .collect();
                assert_eq!(headers, mine.headers);
            }
        }
    }
}

#[test]
fn uncompressed_bytes_agree_but_for_producer_and_epoch() {
    for records in samples() {
        let theirs = to_kafka(&records, kafka::Compression::None);
        let mine = to_weir(&records, Compression::None);
        assert_eq!(mine.len(), theirs.len());
        // Bytes 12..16 are the leader epoch, 17..21 the CRC, 43..57 producer and base sequence;
        // 27..43 the two timestamps, where theirs takes the least one as base and ours the first.
        assert_eq!(
            (&mine[..12], &mine[16..17]),
            (&theirs[..12], &theirs[16..17])
        );
        assert_eq!(&mine[21..27], &theirs[21..27]);
        assert_eq!(&mine[57..61], &theirs[57..61]);
    }
}

/// The values stand in `UtilsTest.testMurmur2` of Apache Kafka, as signed numbers.
#[test]
fn keys_hash_as_kafkas_default_partitioner_does() {
    let known: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        (
            "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
            -58_897_971,
        ),
        ("abc", 479_470_107),
    ];
    for (key, hash) in known {
        let positive = (hash & 0x7fff_ffff) as u32;
        for partitions in [1, 3, 12, 1000, 1 << 31] {
            let partition = partition_of_key(key.as_bytes(), partitions).value();
            assert_eq!(partition, positive % partitions, "{key} of {partitions}");
        }
    }
}
