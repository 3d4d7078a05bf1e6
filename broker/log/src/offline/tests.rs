//! Segments, sound and damaged, with nothing else around them but their log's name.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use expect_test::expect;
use weir_wire::id::{Offset, PartitionId, ShardId, Timestamp, TopicId, TopicPartition};

use super::places::{Place, Spot, disjoint};
use super::{Inspection, RescueReport, Verification, inspect, rescue, verify};
use crate::entry::Columns;
use crate::ids::{NodeId, SegmentId};
use crate::index::StoredBatch;
use crate::machine::StateMachine;
use crate::segment::{FrameRef, SegmentWriter, segment_path, segments_dir};
use crate::vfs::{SimVfs, Vfs};
use crate::wal::RecoveredEntry;

const SHARD: ShardId = ShardId::new(0);

/// Takes in everything.
#[derive(Debug)]
struct NoState;

impl StateMachine for NoState {
    type Error = &'static str;

    fn restore(&mut self, _section: &str, _bytes: &[u8]) -> Result<(), Self::Error> {
        Ok(())
    }

    fn apply(&mut self, _entry: &RecoveredEntry) -> Result<(), Self::Error> {
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        Vec::new()
    }
}

fn dir() -> &'static Path {
    Path::new("/data")
}

fn partition(topic: u64, number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(topic),
        partition: PartitionId::new(number),
    }
}

fn batch(base: u64) -> StoredBatch {
    let bytes = Bytes::from(vec![u8::try_from(base % 250).unwrap() + 1; 300]);
    StoredBatch {
        base_offset: Offset::new(base),
        count: 2,
        append_time: Timestamp::new(1_000),
        columns: Columns {
            ordering_keys: Some(Bytes::from(vec![7; 16])),
            origin: None,
        },
        crc: crc32c::crc32c(&bytes),
        bytes,
    }
}

/// A log with one segment: ten batches of one partition, then five of another.
fn disk() -> SimVfs {
    let sim = SimVfs::new(1);
    sim.create_dir_all(&segments_dir(dir())).unwrap();
    sim.write_atomic(&dir().join("NODE"), b"weir-log 1 77\n")
        .unwrap();
    segment(
        &sim,
        1,
        &[(partition(1, 0), 0..10), (partition(2, 0), 0..5)],
    );
    sim
}

fn segment(sim: &SimVfs, id: u64, runs: &[(TopicPartition, std::ops::Range<u64>)]) {
    let (id, node) = (SegmentId::new(id), NodeId::new(77));
    let mut writer = SegmentWriter::create(sim, dir(), id, node, SHARD, false).unwrap();
    for (partition, numbers) in runs {
        writer.begin_run(*partition);
        for number in numbers.clone() {
            writer.push(&FrameRef::from(&batch(number * 2))).unwrap();
        }
    }
    writer.finish().unwrap();
}

fn first() -> std::path::PathBuf {
    segment_path(dir(), SegmentId::new(1))
}

fn verified(sim: &SimVfs) -> Verification {
    let mut last = (0, 0);
    let vfs: Arc<dyn Vfs> = Arc::new(sim.clone());
    let verified = verify(&vfs, dir(), NoState, &mut |done, total| {
        last = (done, total)
    });
    let verified = verified.unwrap();
    assert_eq!(last.0, last.1, "in the end all is done");
    verified
}

fn rescued(sim: &SimVfs) -> (RescueReport, Vec<(TopicPartition, u64)>) {
    let mut batches = Vec::new();
    let report = rescue(sim, dir(), &[], &|_| true, &mut |rescued| {
        let (at, found) = (rescued.partition, rescued.batch);
        let base = found.base_offset.value();
        let written = batch(base);
        assert_eq!(
            (found.bytes, found.columns),
            (written.bytes, written.columns)
        );
        batches.push((at, base));
        Ok(())
    });
    (report.unwrap(), batches)
}

/// Where that frame's envelope begins in the first segment. A frame has 50 bytes of envelope, a
/// column of 25 with its checksum of 4, and 300 bytes.
fn frame_at(number: usize) -> usize {
    4096 + number * (50 + 25 + 4 + 300)
}

#[test]
fn a_sound_segment_is_told_and_verified() {
    let sim = disk();
    let Inspection { node, segments, .. } = inspect(&sim, dir()).unwrap();
    assert_eq!(node, Some(NodeId::new(77)));
    let runs: Vec<_> = segments[0]
        .runs
        .iter()
        .map(|run| (run.partition, run.batches))
        .collect();
    assert_eq!(runs, [(partition(1, 0), 10), (partition(2, 0), 5)]);
    let verified = verified(&sim);
    assert_eq!((verified.batches, verified.records), (15, 30));
    assert!(segments[0].bytes <= verified.bytes);
    let (report, batches) = rescued(&sim);
    assert_eq!(
        (report.batches, batches.len(), report.holes),
        (15, 15, vec![])
    );
}

#[test]
fn a_damaged_batch_costs_its_own_offsets_and_no_others() {
    let sim = disk();
    // One in its bytes, one in its envelope.
    sim.damage(&first(), |bytes| bytes[frame_at(3) + 200] ^= 1)
        .unwrap();
    sim.damage(&first(), |bytes| bytes[frame_at(11) + 4] ^= 1)
        .unwrap();
    let lines: Vec<String> = verified(&sim)
        .damages
        .iter()
        .filter(|damage| damage.path == first())
        .map(ToString::to_string)
        .collect();
    expect![[r#"
        /data/segments/0000000000000001.seg at byte 5312: a batch's checksum is wrong: offsets 6 to 8 of topic id 1 partition 0 cannot be read (partitions topic id 1 partition 0); restore it from a copy, or rescue what can be read
        /data/segments/0000000000000001.seg at byte 8265: an envelope's checksum is wrong: offsets 2 to 4 of topic id 2 partition 0 cannot be read (partitions topic id 2 partition 0); restore it from a copy, or rescue what can be read"#]]
    .assert_eq(&lines.join("\n"));
    let (report, batches) = rescued(&sim);
    let gone = |at, base| !batches.contains(&(at, base));
    assert!(gone(partition(1, 0), 6) && gone(partition(2, 0), 2));
    assert_eq!(batches.len(), 13);
    let offset = Offset::new;
    assert_eq!(
        report.holes,
        [
            (partition(1, 0), offset(6), offset(8)),
            (partition(2, 0), offset(2), offset(4)),
        ]
    );
}

#[test]
fn a_segment_without_its_footer_is_rescued_whole() {
    let sim = disk();
    sim.damage(&first(), |bytes| bytes.truncate(frame_at(15) + 10))
        .unwrap();
    let found = verified(&sim);
    assert!(found.damages.iter().any(|damage| damage.path == first()));
    let (report, batches) = rescued(&sim);
    assert_eq!((batches.len(), report.holes), (15, vec![]));
}

#[test]
fn batches_that_are_there_twice_are_handed_on_once() {
    let sim = disk();
    segment(&sim, 2, &[(partition(1, 0), 4..14)]);
    sim.damage(&first(), |bytes| bytes[frame_at(6) + 100] ^= 1)
        .unwrap();
    let (report, batches) = rescued(&sim);
    let of_first: Vec<u64> = batches
        .iter()
        .filter(|(at, _)| *at == partition(1, 0))
        .map(|(_, base)| *base)
        .collect();
    assert_eq!(
        of_first,
        (0..14).map(|number| number * 2).collect::<Vec<_>>()
    );
    assert_eq!(report.holes, []);
}

#[test]
fn places_are_taken_by_rank_and_without_overlap() {
    let place = |rank, from, to| Place {
        rank,
        from: Offset::new(from),
        to: Offset::new(to),
        spot: Spot::Segment {
            id: SegmentId::new(u64::from(rank)),
            from: 0,
            to: 1,
        },
    };
    let places = vec![
        place(3, 0, 100),
        place(0, 10, 20),
        place(1, 15, 30),
        place(0, 40, 50),
        place(2, 45, 60),
        place(2, 5, 12),
    ];
    let taken: Vec<_> = disjoint(places, Offset::new(8))
        .iter()
        .map(|place| (place.rank, place.from.value(), place.to.value()))
        .collect();
    assert_eq!(
        taken,
        [
            (2, 8, 10),
            (0, 10, 20),
            (1, 20, 30),
            (3, 30, 40),
            (0, 40, 50),
            (2, 50, 60),
            (3, 60, 100),
        ]
    );
}
