//! What becomes of batches beside one that cannot be read.

use bytes::Bytes;
use weir_log::{Columns, StoredBatch};
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, NewRecord};
use weir_wire::error::ErrorCode;
use weir_wire::id::{Offset, Timestamp};

use super::super::super::verdicts::Verdict;
use super::super::Item;
use super::{Open, look};

/// Two records, of which the first is the subscriber's business.
fn open(base: u64) -> Open {
    let mut builder = BatchBuilder::default();
    for _ in 0..2 {
        builder.push(Timestamp::new(5), &NewRecord::default());
    }
    let bytes = Bytes::from(builder.finish(Compression::None).unwrap());
    let item = Item {
        header: BatchHeader::parse(&bytes).unwrap(),
        from: Offset::new(base),
        stored: StoredBatch {
            base_offset: Offset::new(base),
            count: 2,
            append_time: Timestamp::new(9),
            columns: Columns::default(),
            crc: 0,
            bytes: bytes.clone(),
        },
        verdict: Some(Verdict::All),
        check: false,
    };
    Open::new(item, bytes.slice(HEADER_LEN..), vec![true, false])
}

#[test]
fn what_projections_cannot_see_does_not_go_out_nor_does_what_is_behind_it() {
    let mut opened = vec![open(10), open(20), open(30)];
    opened[1].records = Bytes::from_static(&[0xff; 9]);
    let fault = look(&mut opened).unwrap_err();
    assert_eq!(fault.code, ErrorCode::CorruptLog, "{fault}");
    let left: Vec<_> = opened
        .iter()
        .map(|open| {
            let shown = open.view.as_ref().map(|view| view.count());
            (open.item.stored.base_offset.value(), shown)
        })
        .collect();
    assert_eq!(left, [(10, Some(1))]);
}
