//! What is left of a batch with gaps, as compaction leaves it.

use weir_log::{Columns, StoredBatch};
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, NewRecord, Records};
use weir_wire::id::{Offset, Timestamp};

use super::Filters;
use crate::budget::Budget;

/// Records at 100, 103 and 107 of a batch that covers 100 to 109.
fn compacted(compression: Compression) -> StoredBatch {
    let mut whole = BatchBuilder::default();
    for _ in 0..8 {
        let record = NewRecord {
            key: Some(b"k"),
            ..NewRecord::default()
        };
        whole.push(Timestamp::new(5), &record);
    }
    let whole = whole.finish(Compression::None).unwrap();
    let header = BatchHeader::parse(&whole).unwrap();
    let mut builder = BatchBuilder::default();
    for record in Records::new(&whole[HEADER_LEN..], header.count) {
        let record = record.unwrap();
        if [0, 3, 7].contains(&record.offset_delta) {
            builder.push_body_at(Timestamp::new(5), record.offset_delta, record.body());
        }
    }
    builder.extend_to(9);
    let mut batch = builder.finish(compression).unwrap();
    let epoch = weir_core::shard::LEADER_EPOCH;
    let crc = weir_wire::batch::stamp(&mut batch, Offset::new(100), epoch);
    StoredBatch {
        base_offset: Offset::new(100),
        count: 10,
        append_time: Timestamp::new(9),
        columns: Columns {
            ordering_keys: Some(
                [1_u64, 2, 3]
                    .into_iter()
                    .flat_map(u64::to_le_bytes)
                    .collect(),
            ),
            origin: None,
        },
        bytes: batch.into(),
        crc,
    }
}

/// The offset deltas and ordering keys that are left from that delta on.
async fn check(compression: Compression, skip: u32, deltas: &[u32], keys: &[u64]) {
    let stored = compacted(compression);
    let budget = Budget::new(1 << 20);
    let kept = Filters(Vec::new())
        .apply(&budget, &stored, skip)
        .await
        .unwrap();
    assert_eq!((kept.count as usize, kept.filtered_out), (deltas.len(), 0));
    let found = kept.batch.map_or_else(Vec::new, |batch| {
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(
            header.last_offset_delta, 9,
            "the batch covers what it covered"
        );
        let section = header.compression.inflate(&batch[HEADER_LEN..], 1 << 20);
        let section = section.unwrap();
        let records = Records::new(&section, header.count);
        records.map(|record| record.unwrap().offset_delta).collect()
    });
    assert_eq!(found, deltas, "from {skip} on");
    let expected: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    assert_eq!(kept.ordering_keys, expected);
}

#[tokio::test]
async fn records_before_the_offset_asked_for_are_left_out_by_offset() {
    for compression in [Compression::None, Compression::Lz4] {
        check(compression, 0, &[0, 3, 7], &[1, 2, 3]).await;
        check(compression, 1, &[3, 7], &[2, 3]).await;
        check(compression, 3, &[3, 7], &[2, 3]).await;
        check(compression, 4, &[7], &[3]).await;
        check(compression, 7, &[7], &[3]).await;
        check(compression, 8, &[], &[]).await;
    }
}
