//! Views of batches with gaps, through projections that fail on some records.

use bytes::Bytes;
use weir_host::{Input, RecordFailure, Transformed};
use weir_log::{Columns, StoredBatch};
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, NewRecord, Records};
use weir_wire::id::{Offset, Timestamp};

use super::View;

/// Records at those offset deltas, each with its delta as its value and its time.
fn batch(deltas: &[u32]) -> (StoredBatch, BatchHeader, Bytes) {
    let mut builder = BatchBuilder::default();
    for delta in deltas {
        let time = Timestamp::new(i64::from(*delta) * 7);
        builder.push_body_at(time, *delta, &body(&delta.to_string()));
    }
    builder.extend_to(50);
    let bytes = Bytes::from(builder.finish(Compression::None).unwrap());
    let header = BatchHeader::parse(&bytes).unwrap();
    let records = bytes.slice(HEADER_LEN..);
    let stored = StoredBatch {
        base_offset: Offset::new(1000),
        count: 51,
        append_time: Timestamp::new(0),
        columns: Columns::default(),
        crc: 0,
        bytes,
    };
    (stored, header, records)
}

/// A record of that value alone.
fn body(value: &str) -> Vec<u8> {
    let mut one = BatchBuilder::default();
    let record = NewRecord {
        value: Some(value.as_bytes()),
        ..NewRecord::default()
    };
    one.push(Timestamp::new(0), &record);
    let one = one.finish(Compression::None).unwrap();
    let record = Records::new(&one[HEADER_LEN..], 1).next().unwrap();
    record.unwrap().body().to_vec()
}

/// The answer of a projection that puts a mark before each value and fails at these positions.
fn marked(input: &Input, mark: &str, failing: &[u32]) -> Transformed {
    // A builder counts times from its first record; this one, which is cut off again, makes it
    // count from what the input counts from.
    let mut builder = BatchBuilder::default();
    builder.push_body_at(Timestamp::new(0), 0, &[1, 1, 0]);
    let first = HEADER_LEN..builder.bytes_len();
    let mut sources = Vec::new();
    for (position, record) in (0..).zip(Records::new(&input.records, input.count)) {
        let record = record.unwrap();
        if failing.contains(&position) {
            continue;
        }
        let value = std::str::from_utf8(record.value.unwrap()).unwrap();
        let delta = Timestamp::new(record.timestamp_delta);
        let body = body(&format!("{mark}{value}"));
        builder.push_body_at(delta, record.offset_delta, &body);
        sources.push(position);
    }
    let bytes = Bytes::from(builder.finish(Compression::None).unwrap());
    let failure = |index: &u32| RecordFailure {
        index: *index,
        message: "no".to_owned(),
        backtrace: None,
    };
    Transformed {
        records: bytes.slice(first.end..),
        count: sources.len() as u32,
        sources,
        failures: failing.iter().map(failure).collect(),
        ..Transformed::default()
    }
}

/// Offset delta, time and value of each record of a batch.
fn contents(batch: &Bytes) -> Vec<(u32, i64, String)> {
    let header = BatchHeader::parse(batch).unwrap();
    assert_eq!(header.base_offset, Offset::new(1000));
    assert_eq!(header.last_offset_delta, 50);
    let records = Records::new(&batch[HEADER_LEN..], header.count);
    let each = records.map(|record| {
        let record = record.unwrap();
        let time = record.timestamp(header.base_timestamp).value();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        (record.offset_delta, time, value)
    });
    each.collect()
}

fn expected(deltas: &[(u32, &str)]) -> Vec<(u32, i64, String)> {
    let each = deltas.iter();
    each.map(|(delta, mark)| (*delta, i64::from(*delta) * 7, format!("{mark}{delta}")))
        .collect()
}

#[test]
fn what_is_shown_stands_where_it_is_stored() {
    let (stored, header, records) = batch(&[2, 5, 6, 9, 30]);
    let keep = [true, false, true, true, true];
    let mut view = View::new(&records, &header, &keep).unwrap();
    assert_eq!((view.count(), view.sources()), (4, &[0, 2, 3, 4][..]));
    view.take(marked(&view.input(), "a", &[]), false).unwrap();
    // The second one fails on the record at 6, which stays as the first has left it, and the
    // third on that at 2, which goes.
    view.take(marked(&view.input(), "b", &[1]), true).unwrap();
    view.take(marked(&view.input(), "c", &[0]), false).unwrap();
    assert_eq!(view.sources(), [2, 3, 4]);
    assert!(!view.is_as_stored());
    let shown = view.batch(&stored, &header).unwrap();
    let shown = contents(&shown);
    assert_eq!(shown, expected(&[(6, "ca"), (9, "cba"), (30, "cba")]));
}

#[test]
fn what_nobody_changes_is_what_is_stored() {
    let (_, header, records) = batch(&[0, 1, 2]);
    let mut view = View::new(&records, &header, &[true; 3]).unwrap();
    let same = Transformed {
        records: records.clone(),
        count: 3,
        sources: vec![0, 1, 2],
        unchanged: true,
        ..Transformed::default()
    };
    view.take(same, false).unwrap();
    assert!(view.is_as_stored());
    let view = View::new(&records, &header, &[true, false, true]).unwrap();
    assert!(!view.is_as_stored());
}

#[test]
fn a_view_may_end_empty() {
    let (_, header, records) = batch(&[0, 4]);
    let mut view = View::new(&records, &header, &[true, true]).unwrap();
    view.take(marked(&view.input(), "a", &[0, 1]), false)
        .unwrap();
    assert_eq!(view.count(), 0);
}
