//! What is written into a segment is what is read from it, and nothing damaged is.

use std::path::Path;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_assert_eq, proptest};
use proptest::test_runner::Config;
use weir_wire::id::{Offset, PartitionId, ShardId, Timestamp, TopicId, TopicPartition};

use super::{
    Frame, FrameRef, Run, RunReader, SegmentError, SegmentMeta, SegmentWriter, read_footer,
    segment_path, segments_dir,
};
use crate::entry::Columns;
use crate::error::ReadError;
use crate::format::segment::{FRAMES_AT, decode_index};
use crate::ids::{NodeId, SegmentId};
use crate::index::StoredBatch;
use crate::vfs::{SimVfs, Vfs};

const NODE: NodeId = NodeId::new(77);
const SHARD: ShardId = ShardId::new(3);
const ID: SegmentId = SegmentId::new(12);

fn dir() -> &'static Path {
    Path::new("/data")
}

fn disk() -> SimVfs {
    let sim = SimVfs::new(1);
    sim.create_dir_all(&segments_dir(dir())).unwrap();
    sim
}

fn partition(topic: u64, number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(topic),
        partition: PartitionId::new(number),
    }
}

fn batch(base: u64, count: u32, time: i64, bytes: Bytes) -> StoredBatch {
    StoredBatch {
        base_offset: Offset::new(base),
        count,
        append_time: Timestamp::new(time),
        columns: Columns::default(),
        crc: crc32c::crc32c(&bytes),
        bytes,
    }
}

type Content = Vec<(TopicPartition, Vec<StoredBatch>)>;

fn write(sim: &SimVfs, content: &Content, piece: usize) -> SegmentMeta {
    let writer = SegmentWriter::create(sim, dir(), ID, NODE, SHARD, true).unwrap();
    let mut writer = writer.in_pieces_of(piece);
    for (partition, batches) in content {
        writer.begin_run(*partition);
        for batch in batches {
            writer.push(&FrameRef::from(batch)).unwrap();
        }
    }
    writer.finish().unwrap()
}

fn footer(sim: &SimVfs) -> Result<SegmentMeta, SegmentError> {
    read_footer(sim, dir(), ID, NODE, SHARD)
}

fn read_run(sim: &SimVfs, run: &Run) -> Result<Vec<(u64, StoredBatch)>, ReadError> {
    let mut reader = RunReader::open(sim, dir(), run, true)?;
    let mut frames = Vec::new();
    while let Some(Frame { position, batch }) = reader.next()? {
        frames.push((position, batch));
    }
    Ok(frames)
}

fn line(batch: &StoredBatch) -> (u64, u32, i64, Columns, Bytes) {
    (
        batch.base_offset.value(),
        batch.count,
        batch.append_time.value(),
        batch.columns.clone(),
        batch.bytes.clone(),
    )
}

/// Batches of one partition: how far each lies behind the one before, how much later it came, how
/// many offsets it covers, how long it is, and its columns.
fn batches() -> impl Strategy<Value = Vec<StoredBatch>> {
    let column = || proptest::option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from));
    let length = proptest::prop_oneof![
        6 => 0..3_000_usize,
        3 => 3_000..90_000_usize,
        1 => (1 << 20) - 200..(1_usize << 20) + 5_000,
    ];
    let one = (0..3_u64, 0..3_i64, 1..50_u32, length, column(), column());
    vec(one, 1..20).prop_map(|list| {
        let (mut next, mut time) = (7, 100);
        let mut batches = Vec::new();
        for (gap, later, count, length, ordering_keys, origin) in list {
            next += gap;
            time += later;
            let fill = u8::try_from(next % 251).unwrap();
            let mut one = batch(next, count, time, vec![fill; length].into());
            one.columns = Columns {
                ordering_keys,
                origin,
            };
            next += u64::from(count);
            batches.push(one);
        }
        batches
    })
}

proptest! {
    #![proptest_config(Config { cases: 64, failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_is_written_is_what_is_read(
        lists in vec(batches(), 1..5),
        piece in 1..(1_usize << 20),
    ) {
        let sim = disk();
        let content: Content = lists
            .into_iter()
            .zip(0..)
            .map(|(batches, number)| (partition(5, number), batches))
            .collect();
        let meta = write(&sim, &content, piece);
        prop_assert_eq!(&footer(&sim).unwrap(), &meta);
        let file = sim.read(&segment_path(dir(), ID)).unwrap();
        prop_assert_eq!(file.len() as u64, meta.bytes);
        for ((at, batches), run) in content.iter().zip(&meta.runs) {
            let last = batches.last().unwrap();
            prop_assert_eq!(run.partition, *at);
            prop_assert_eq!(run.base, batches[0].base_offset);
            prop_assert_eq!(run.end, last.base_offset.advance(last.count));
            prop_assert_eq!((run.first_time, run.last_time), (batches[0].append_time, last.append_time));
            let records: u64 = batches.iter().map(|batch| u64::from(batch.count)).sum();
            let bytes: u64 = batches.iter().map(|batch| batch.bytes.len() as u64).sum();
            prop_assert_eq!((run.records, run.batch_bytes), (records, bytes));
            let frames = read_run(&sim, run).unwrap();
            let read: Vec<_> = frames.iter().map(|(_, batch)| line(batch)).collect();
            prop_assert_eq!(read, batches.iter().map(line).collect::<Vec<_>>());
            check_index(&file, run, &frames);
        }
    }
}

/// The sparse index has the first frame, and each that starts 64 KiB or more behind the last.
fn check_index(file: &[u8], run: &Run, frames: &[(u64, StoredBatch)]) {
    let at = usize::try_from(run.index_at).unwrap();
    let entries = decode_index(&file[at..at + run.index_bytes()], run).unwrap();
    let mut expected: Vec<(u64, Offset, Timestamp)> = Vec::new();
    for (position, batch) in frames {
        if expected
            .last()
            .is_none_or(|(last, _, _)| position - last >= 65_536)
        {
            expected.push((*position, batch.base_offset, batch.append_time));
        }
    }
    let entries = entries.iter().map(|e| (e.position, e.offset, e.time));
    assert_eq!(entries.collect::<Vec<_>>(), expected);
}

fn small() -> Content {
    let mut keyed = batch(40, 2, 1_000, Bytes::from_static(b"a batch"));
    keyed.columns.ordering_keys = Some(Bytes::from_static(&[7; 16]));
    let second = batch(44, 1, 1_001, Bytes::from_static(b"another"));
    let third = batch(0, 3, 900, Bytes::from_static(b"of somebody else"));
    vec![
        (partition(7, 0), vec![keyed, second]),
        (partition(7, 1), vec![third]),
    ]
}

#[test]
fn every_flipped_bit_of_a_segment_is_found() {
    let sim = disk();
    let meta = write(&sim, &small(), 1 << 20);
    let path = segment_path(dir(), ID);
    let length = sim.read(&path).unwrap().len();
    for at in 0..length {
        let flip = |bytes: &mut Vec<u8>| bytes[at] ^= 1 << (at % 8);
        sim.damage(&path, flip).unwrap();
        let found = match footer(&sim) {
            Ok(found) => found.runs.iter().any(|run| read_run(&sim, run).is_err()),
            Err(_) => true,
        };
        assert!(found, "a flipped bit at byte {at}");
        sim.damage(&path, flip).unwrap();
    }
    assert_eq!(footer(&sim).unwrap(), meta);
}

#[test]
fn a_segment_cut_off_or_made_longer_is_found_anywhere() {
    let sim = disk();
    write(&sim, &small(), 1 << 20);
    let path = segment_path(dir(), ID);
    let whole = sim.read(&path).unwrap();
    for length in (0..whole.len())
        .step_by(97)
        .chain([whole.len() + 1, whole.len() + 4096])
    {
        sim.damage(&path, |bytes| bytes.resize(length, 0)).unwrap();
        let error = footer(&sim).unwrap_err();
        assert!(matches!(error, SegmentError::Corrupt { .. }), "{error}");
        sim.damage(&path, |bytes| bytes.clone_from(&whole)).unwrap();
    }
}

#[test]
fn a_segment_of_somebody_else_is_refused_by_name() {
    let sim = disk();
    write(&sim, &small(), 1 << 20);
    let other = read_footer(&sim, dir(), ID, NodeId::new(78), SHARD).unwrap_err();
    expect_test::expect![
        "/data/segments/0000000000000012.seg: belongs to node 77; NODE says 78: restore \
         whichever of the two is not of this log"
    ]
    .assert_eq(&other.to_string());
    let wrong = SegmentId::new(13);
    sim.rename(&segment_path(dir(), ID), &segment_path(dir(), wrong))
        .unwrap();
    let renamed = read_footer(&sim, dir(), wrong, NODE, SHARD).unwrap_err();
    expect_test::expect![
        "/data/segments/0000000000000013.seg: says it is segment 12; was it renamed?"
    ]
    .assert_eq(&renamed.to_string());
    let path = segment_path(dir(), wrong);
    sim.damage(&path, |bytes| bytes[8] = 2).unwrap();
    let newer = read_footer(&sim, dir(), wrong, NODE, SHARD).unwrap_err();
    assert!(newer.to_string().contains("a newer one"), "{newer}");
}

#[test]
fn a_run_may_end_behind_its_last_batch_and_have_fewer_records_than_offsets() {
    let sim = disk();
    let mut writer = SegmentWriter::create(&sim, dir(), ID, NODE, SHARD, false).unwrap();
    writer.begin_run(partition(1, 0));
    writer.begin_run(partition(1, 1));
    let one = batch(5, 10, 3, Bytes::from_static(b"compacted"));
    let frame = FrameRef {
        records: 2,
        ..FrameRef::from(&one)
    };
    writer.push(&frame).unwrap();
    writer.end_run(Offset::new(99));
    let meta = writer.finish().unwrap();
    let [run] = footer(&sim).unwrap().runs[..] else {
        panic!("a run without a batch is none: {meta:?}");
    };
    assert_eq!(
        (run.base, run.end, run.records),
        (Offset::new(5), Offset::new(99), 2)
    );
    assert_eq!(run.position, FRAMES_AT);
    assert_eq!(read_run(&sim, &run).unwrap().len(), 1);
}

#[test]
fn a_run_that_is_not_what_its_segment_says_is_not_read() {
    let sim = disk();
    let meta = write(&sim, &small(), 1 << 20);
    let changes: [fn(&mut Run); 5] = [
        |run| run.partition = partition(7, 9),
        |run| run.batches += 1,
        |run| run.batch_bytes -= 1,
        |run| run.last_time = Timestamp::new(5_000),
        |run| run.length -= 1,
    ];
    for change in changes {
        let mut run = meta.runs[0];
        change(&mut run);
        let error = read_run(&sim, &run).unwrap_err();
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
    }
}

#[test]
fn a_writer_says_how_much_it_wrote_and_stops_where_the_disk_does() {
    let sim = disk();
    let writer = SegmentWriter::create(&sim, dir(), ID, NODE, SHARD, true).unwrap();
    let mut writer = writer.in_pieces_of(64 << 10);
    writer.begin_run(partition(1, 0));
    let large = batch(0, 1, 1, vec![3; 100_000].into());
    writer.push(&FrameRef::from(&large)).unwrap();
    assert_eq!(writer.bytes_written(), 65_536);
    assert_eq!(writer.bytes(), 4_096 + 50 + 100_000);
    assert_eq!(writer.path(), segment_path(dir(), ID));
    sim.fail_write(1);
    let next = batch(1, 1, 1, large.bytes);
    assert!(writer.push(&FrameRef::from(&next)).is_err());
}

const FORMAT: &str = include_str!("../../FORMAT.md");

/// The segment of FORMAT.md's example: two runs, the first with a gap.
fn example() -> SimVfs {
    let sim = disk();
    let id = SegmentId::new(5);
    let node = NodeId::new(10_451_216_379_200_822_465);
    let shard = ShardId::new(0);
    let mut writer = SegmentWriter::create(&sim, dir(), id, node, shard, true).unwrap();
    let mut keyed = batch(40, 2, 1_700_000_000_000, Bytes::from_static(b"a batch"));
    keyed.columns = Columns {
        ordering_keys: Some([5_u64, 0].into_iter().flat_map(u64::to_le_bytes).collect()),
        origin: Some(Bytes::from_static(b"k@1")),
    };
    let compacted = batch(44, 3, 1_700_000_000_001, Bytes::from_static(b"one left"));
    let large = batch(0, 1, 1_700_000_000_002, vec![0xab; 64 << 10].into());
    let small = batch(1, 1, 1_700_000_000_003, Bytes::from_static(b"the end"));
    writer.begin_run(partition(7, 0));
    writer.push(&FrameRef::from(&keyed)).unwrap();
    let compacted = FrameRef {
        records: 1,
        ..FrameRef::from(&compacted)
    };
    writer.push(&compacted).unwrap();
    writer.end_run(Offset::new(50));
    writer.begin_run(partition(7, 1));
    writer.push(&FrameRef::from(&large)).unwrap();
    writer.push(&FrameRef::from(&small)).unwrap();
    writer.finish().unwrap();
    sim
}

#[test]
fn the_example_of_the_format_is_what_is_written() {
    let path = segment_path(dir(), SegmentId::new(5));
    let sim = example();
    let file = sim.read(&path).unwrap();
    let node = NodeId::new(10_451_216_379_200_822_465);
    let meta = read_footer(&sim, dir(), SegmentId::new(5), node, ShardId::new(0)).unwrap();
    let entries: Vec<u32> = meta.runs.iter().map(|run| run.index_entries).collect();
    assert_eq!(entries, [1, 2]);
    let mut explained = vec![false; file.len()];
    let inside = |part: &'static str| part.strip_prefix("hex segment\n");
    let examples: Vec<&str> = FORMAT.split("```").filter_map(inside).collect();
    assert_eq!(examples.len(), 3);
    for line in examples.iter().flat_map(|example| example.trim().lines()) {
        let (position, rest) = line.split_once(": ").unwrap();
        let at = usize::from_str_radix(position, 16).unwrap();
        let hex = rest.split("  ").next().unwrap().split_whitespace();
        let bytes: Vec<u8> = hex
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        assert_eq!(file[at..at + bytes.len()], bytes, "{line}");
        explained[at..at + bytes.len()].fill(true);
    }
    // The large batch is described in words; what else is in no example is zero.
    let large = 0x10ce..0x110ce;
    assert!(file[large.clone()].iter().all(|byte| *byte == 0xab));
    explained[large].fill(true);
    let mut rest = file
        .iter()
        .zip(explained)
        .filter(|(_, explained)| !explained);
    assert!(rest.all(|(byte, _)| *byte == 0), "a byte is not explained");
}
