//! The columns against the records they were made from, and against sections that lie.

use super::{Chunk, Chunks, Input, Malformed, Projection, WireBatch};
use crate::contract::ABSENT;
use bytes::Bytes;
use weir_wire::batch::Compression;
use weir_wire::batch::{BatchBuilder, HEADER_LEN, NewRecord};
use weir_wire::id::Timestamp;

fn input(records: &[NewRecord<'_>]) -> Input {
    let mut builder = BatchBuilder::default();
    for (index, record) in records.iter().enumerate() {
        builder.push(Timestamp::new(1_000 + index as i64), record);
    }
    let batch = builder.finish(Compression::None).unwrap();
    Input {
        base_timestamp: Timestamp::new(1_000),
        count: records.len() as u32,
        records: Bytes::from(batch).slice(HEADER_LEN..),
    }
}

fn read<'a>(batch: &WireBatch<'a>, column: usize) -> Vec<Option<&'a [u8]>> {
    let count = batch.count as usize;
    let spans = batch.spans[2 * column * count..][..2 * count].chunks_exact(2);
    spans
        .map(|span| {
            (span[1] != ABSENT).then(|| &batch.arena[span[0] as usize..][..span[1] as usize])
        })
        .collect()
}

fn projection(key: bool, value: bool, timestamp: bool, headers: &[&str]) -> Projection {
    let headers = headers.iter().map(|name| (*name).to_owned()).collect();
    Projection {
        key,
        value,
        timestamp,
        headers,
    }
}

const RECORDS: [NewRecord<'_>; 3] = [
    NewRecord {
        key: Some(b"k0"),
        value: Some(b"v0"),
        headers: &[("tag", b"a"), ("x", b"1")],
    },
    NewRecord {
        key: None,
        value: None,
        headers: &[("tag", b"b"), ("tag", b"c")],
    },
    NewRecord {
        key: Some(b""),
        value: Some(b"v2"),
        headers: &[],
    },
];

#[test]
fn columns_hold_what_was_asked_for_compact_or_in_place() {
    let input = input(&RECORDS);
    for (projection, arena_len) in [
        (projection(true, false, true, &["x", "tag"]), 2 + 1 + 1 + 1),
        (
            projection(true, true, true, &["x", "tag"]),
            input.records.len(),
        ),
    ] {
        let mut chunk = Chunk::default();
        let mut chunks = Chunks::new(&input, &projection);
        assert_eq!(chunks.fill(&mut chunk, 100), Ok(true));
        let batch = chunk.whole(&input);
        assert_eq!((batch.count, batch.arena.len()), (3, arena_len));
        assert_eq!(read(&batch, 0), [Some(&b"k0"[..]), None, Some(b"")]);
        let headers = usize::from(projection.value) + 1;
        if projection.value {
            assert_eq!(read(&batch, 1), [Some(&b"v0"[..]), None, Some(b"v2")]);
        }
        assert_eq!(read(&batch, headers), [Some(&b"1"[..]), None, None]);
        assert_eq!(
            read(&batch, headers + 1),
            [Some(&b"a"[..]), Some(b"c"), None]
        );
        assert_eq!(batch.timestamps, Some(&[1_000, 1_001, 1_002][..]));

        let part = chunk.part(&(1..3));
        let batch = part.batch(&chunk, &(1..3), &input);
        assert_eq!(batch.count, 2);
        assert_eq!(read(&batch, 0), [None, Some(&b""[..])]);
        assert_eq!(read(&batch, headers + 1), [Some(&b"c"[..]), None]);
        assert_eq!(batch.timestamps, Some(&[1_001, 1_002][..]));
        assert_eq!(chunks.fill(&mut chunk, 100), Ok(false));
    }
}

#[test]
fn large_batches_are_cut_and_nothing_is_lost() {
    let values: Vec<Vec<u8>> = (0..2_000)
        .map(|n| format!("{n:0>500}").into_bytes())
        .collect();
    let record = |value: &'static [u8]| NewRecord {
        key: None,
        value: Some(value),
        headers: &[],
    };
    let leaked: Vec<&'static [u8]> = values.iter().map(|v| &*v.clone().leak()).collect();
    let input = input(&leaked.iter().map(|value| record(value)).collect::<Vec<_>>());
    for records_max in [1, 7, 100_000] {
        let projection = projection(false, true, false, &[]);
        let mut chunks = Chunks::new(&input, &projection);
        let (mut chunk, mut seen) = (Chunk::default(), Vec::new());
        while chunks.fill(&mut chunk, records_max).unwrap() {
            let batch = chunk.whole(&input);
            assert_eq!(chunk.first() as usize, seen.len());
            assert!(batch.arena.len() < 256 << 10 && batch.count <= records_max);
            seen.extend(
                read(&batch, 0)
                    .into_iter()
                    .map(|value| value.unwrap().to_vec()),
            );
        }
        assert_eq!(seen, values);
    }
}

#[test]
fn sections_that_lie_are_errors() {
    let good = input(&RECORDS);
    let projection = projection(true, true, true, &["tag"]);
    for count in [4, 100, u32::MAX] {
        let lying = Input {
            count,
            ..good.clone()
        };
        let result = Chunks::new(&lying, &projection).fill(&mut Chunk::default(), u32::MAX);
        assert_eq!(result, Err(Malformed { index: 3 }));
    }
    for end in 0..good.records.len() {
        let cut = Input {
            records: good.records.slice(..end),
            ..good.clone()
        };
        let result = Chunks::new(&cut, &projection).fill(&mut Chunk::default(), u32::MAX);
        assert!(result.is_err(), "{end}");
    }
}
