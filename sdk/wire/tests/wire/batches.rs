//! Batches by properties: what is built is read, whole or filtered, and a changed byte is found.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::{prop_assert, prop_assert_eq, proptest};
use weir_wire::batch::{
    BatchBuilder, BatchError, BatchHeader, Compression, NewRecord, Records, stamp, verify,
};
use weir_wire::id::{LeaderEpoch, Offset, Timestamp};

type Owned = (
    i64,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Vec<(String, Vec<u8>)>,
);

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = || option::of(vec(any::<u8>(), 0..80));
    let headers = vec(("[a-z]{0,9}|tag|é", vec(any::<u8>(), 0..9)), 0..4);
    vec((any::<i64>(), bytes(), bytes(), headers), 1..40)
}

fn codec() -> impl Strategy<Value = Compression> {
    prop_oneof![
        Just(Compression::None),
        Just(Compression::Gzip),
        Just(Compression::Snappy),
        Just(Compression::Lz4),
        Just(Compression::Zstd),
    ]
}

fn build(records: &[Owned], codec: Compression) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for (timestamp, key, value, headers) in records {
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_slice()))
            .collect();
        let record = NewRecord {
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        };
        builder.push(Timestamp::new(*timestamp), &record);
    }
    builder.finish(codec).unwrap()
}

fn read(section: &[u8], header: &BatchHeader) -> Vec<(u32, Owned)> {
    Records::new(section, header.count)
        .map(|record| {
            let record = record.unwrap();
            let headers = record.headers().map(|(name, value)| {
                let name = String::from_utf8(name.to_vec()).unwrap();
                (name, value.unwrap().to_vec())
            });
            let owned = (
                record.timestamp(header.base_timestamp).value(),
                record.key.map(<[u8]>::to_vec),
                record.value.map(<[u8]>::to_vec),
                headers.collect(),
            );
            (record.offset_delta, owned)
        })
        .collect()
}

proptest! {
    #[test]
    fn built_batches_are_read_back(records in records(), codec in codec()) {
        let batch = build(&records, codec);
        let verified = verify(&batch).unwrap();
        let numbered: Vec<(u32, Owned)> = (0..).zip(records.iter().cloned()).collect();
        prop_assert_eq!(read(&verified.records, &verified.header), numbered);
        let latest = records.iter().map(|record| record.0).max().unwrap();
        prop_assert_eq!(verified.header.max_timestamp.value(), latest);
        prop_assert_eq!(verified.header.compression, codec);
    }

    #[test]
    fn a_filtered_batch_keeps_deltas_and_bytes(
        records in records(), codec in codec(), keep in any::<u64>(), base in 0..u64::MAX / 2,
    ) {
        let mut batch = build(&records, codec);
        let _ = stamp(&mut batch, Offset::new(base), LeaderEpoch::new(3));
        let verified = verify(&batch).unwrap();
        let mut builder = BatchBuilder::default();
        let kept = |delta: u32| keep >> (delta % 64) & 1 == 1;
        for record in Records::new(&verified.records, verified.header.count) {
            let record = record.unwrap();
            if kept(record.offset_delta) {
                let timestamp = record.timestamp(verified.header.base_timestamp);
                builder.push_body_at(timestamp, record.offset_delta, record.body());
            }
        }
        builder.extend_to(verified.header.last_offset_delta);
        let filtered = builder.finish(codec).unwrap();
        let header = BatchHeader::parse(&filtered).unwrap();
        let section = header.compression.inflate(&filtered[61..], 1 << 25).unwrap();
        let expected: Vec<(u32, Owned)> =
            (0..).zip(records.iter().cloned()).filter(|(delta, _)| kept(*delta)).collect();
        prop_assert_eq!(read(&section, &header), expected);
        prop_assert_eq!(header.last_offset_delta, verified.header.last_offset_delta);
    }

    #[test]
    fn a_stamped_batch_is_still_whole(
        records in records(), offset in any::<u64>(), epoch in any::<u32>(),
    ) {
        let mut batch = build(&records, Compression::None);
        let whole = stamp(&mut batch, Offset::new(offset), LeaderEpoch::new(epoch));
        prop_assert_eq!(whole, crc32c::crc32c(&batch));
        prop_assert_eq!(verify(&batch).unwrap().header.base_offset, Offset::new(offset));
    }

    #[test]
    fn a_changed_byte_is_found(
        records in records(), codec in codec(), at in any::<usize>(), by in 1..=255_u8,
    ) {
        let mut batch = build(&records, codec);
        // Base offset and leader epoch are the broker's to change.
        let at = 16 + at % (batch.len() - 16);
        batch[at] ^= by;
        prop_assert!(verify(&batch).is_err());
    }

    #[test]
    fn a_cut_batch_is_found(records in records(), at in any::<usize>()) {
        let batch = build(&records, Compression::None);
        prop_assert!(verify(&batch[..at % batch.len()]).is_err());
    }
}

#[test]
fn the_last_header_of_a_name_counts() {
    let headers: [(&str, &[u8]); 3] = [("tag", b"UA"), ("trace", b"1"), ("tag", b"DL")];
    let record = NewRecord {
        headers: &headers,
        ..NewRecord::default()
    };
    let mut builder = BatchBuilder::default();
    builder.push(Timestamp::new(0), &record);
    let batch = builder.finish(Compression::None).unwrap();
    let verified = verify(&batch).unwrap();
    let first = Records::new(&verified.records, 1).next().unwrap().unwrap();
    assert_eq!(first.header("tag"), Some(b"DL".as_slice()));
    assert_eq!(first.header("colour"), None);
}

#[test]
fn a_batch_without_records_is_refused() {
    let empty = BatchBuilder::default().finish(Compression::None).unwrap();
    assert!(matches!(verify(&empty), Err(BatchError::Count(0))));
}
