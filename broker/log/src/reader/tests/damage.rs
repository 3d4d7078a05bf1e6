//! What is damaged, or not what it should be, is not served.

use std::path::Path;
use std::sync::Arc;

use weir_wire::id::{Offset, Timestamp};

use super::counting::CountingVfs;
use super::world::{dir, partition};
use super::{lines, two_segments, uncached};
use crate::error::ReadError;
use crate::segment::segment_path;
use crate::vfs::{SimVfs, Vfs};

#[test]
fn what_is_damaged_in_a_segment_is_not_served_and_what_is_before_it_is() {
    let sim = SimVfs::new(1);
    let mut world = uncached(Arc::new(sim.clone()), 64 << 10);
    let at = partition(1, 0);
    for _ in 0..3 {
        world.append(&[(at, 1, 500, 1)]);
    }
    let meta = world.archive(world.last_file()).unwrap();
    let path = segment_path(dir(), meta.id);
    let model = world.model[&at].clone();
    let run = meta.runs[0];
    let frames = usize::try_from(run.position).unwrap()..usize::try_from(run.frames_end()).unwrap();
    let second = frames.start + 50 + 21 + 500;
    for byte in frames {
        sim.damage(&path, |bytes| bytes[byte] ^= 4).unwrap();
        let mut served = 0;
        for (number, right) in model.batches.iter().enumerate() {
            match world.reader.read(at, Offset::new(number as u64), 1, 1) {
                Ok(read) => {
                    assert_eq!(lines(&read.batches), lines([right]), "byte {byte}");
                    served += 1;
                }
                Err(ReadError::Corrupt {
                    path: named,
                    offset,
                    ..
                }) => {
                    assert_eq!(named, path);
                    assert!(offset.abs_diff(byte as u64) < 600, "{offset} for {byte}");
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(served < 3, "byte {byte} was not noticed");
        let all = world.reader.read(at, Offset::ZERO, 10_000, 10);
        if byte >= second {
            let sound = all.unwrap().batches;
            assert!(!sound.is_empty(), "the first batch is sound");
        }
        sim.damage(&path, |bytes| bytes[byte] ^= 4).unwrap();
    }
    let run_index = usize::try_from(run.position).unwrap();
    sim.damage(&path, |bytes| bytes.truncate(run_index + 10))
        .unwrap();
    let cut = world.reader.read(at, Offset::ZERO, 1, 1).unwrap_err();
    assert!(cut.to_string().contains("is damaged at byte"), "{cut}");
}

#[test]
fn a_damaged_sparse_index_is_an_error_and_not_a_wrong_answer() {
    let sim = SimVfs::new(1);
    let mut world = uncached(Arc::new(sim.clone()), 1 << 20);
    let at = partition(1, 0);
    for _ in 0..12 {
        world.append(&[(at, 1, 30_000, 5)]);
    }
    let meta = world.archive(world.last_file()).unwrap();
    let run = meta.runs[0];
    assert!(run.index_entries > 2);
    let path = segment_path(dir(), meta.id);
    for byte in 0..run.index_bytes() {
        let position = usize::try_from(run.index_at).unwrap() + byte;
        sim.damage(&path, |bytes| bytes[position] ^= 1).unwrap();
        let error = world.reader.offset_at(at, Timestamp::new(31)).unwrap_err();
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
        sim.damage(&path, |bytes| bytes[position] ^= 1).unwrap();
    }
    assert_eq!(
        world.reader.offset_at(at, Timestamp::new(31)).unwrap(),
        Offset::new(6)
    );
}

#[test]
fn a_place_that_holds_another_batch_is_not_served() {
    let sim = SimVfs::new(1);
    let mut world = uncached(Arc::new(sim.clone()), 64 << 10);
    // Twins but for their offsets and times.
    let at = partition(1, 0);
    for _ in 0..2 {
        world.append(&[(at, 3, 900, 1)]);
    }
    let meta = world.archive(world.last_file()).unwrap();
    let frame = 50 + 37 + 900;
    sim.damage(&segment_path(dir(), meta.id), |bytes| {
        let first = bytes[4_096..4_096 + frame].to_vec();
        bytes[4_096 + frame..4_096 + 2 * frame].copy_from_slice(&first);
    })
    .unwrap();
    let first = world.reader.read(at, Offset::ZERO, 1, 1).unwrap();
    assert_eq!(first.batches.len(), 1);
    let error = world.reader.read(at, Offset::new(3), 1, 1).unwrap_err();
    assert!(
        error.to_string().contains("another batch stands there"),
        "{error}"
    );
}

#[test]
fn a_batch_that_stands_where_another_should_is_not_served() {
    let vfs = SimVfs::new(1);
    let (world, reader, at) = two_segments(CountingVfs::new(vfs.clone()));
    let run = world.lock().unwrap().index.read().unwrap().runs(at)[0];
    let frame = 50 + 20_000;
    let last = usize::try_from(run.frames_end()).unwrap() - frame;
    // Offset 1 has no ordering keys, nor has 29: their frames are of the same length.
    let second = usize::try_from(run.position).unwrap() + frame + 9 + 8 + 4;
    let fifth = second + 3 * frame + 9 + 8 + 4;
    for place in [second, fifth] {
        vfs.damage(&segment_path(dir(), run.segment), |bytes| {
            bytes.copy_within(last..last + frame, place);
        })
        .unwrap();
    }
    for from in [1, 4] {
        let error = reader.read(at, Offset::new(from), 1, 1).unwrap_err();
        assert!(
            error.to_string().contains("another batch stands there"),
            "{error}"
        );
    }
}

#[test]
fn a_file_that_is_gone_is_an_error_only_if_it_should_be_there() {
    let sim = SimVfs::new(1);
    let mut world = uncached(Arc::new(sim.clone()), 64 << 10);
    let at = partition(1, 0);
    world.append(&[(at, 1, 500, 1)]);
    let meta = world.archive(world.last_file()).unwrap();
    sim.remove(&segment_path(dir(), meta.id)).unwrap();
    let error = world.reader.read(at, Offset::ZERO, 1, 1).unwrap_err();
    let named = Path::new("/data/segments/0000000000000001.seg");
    assert!(
        matches!(&error, ReadError::Io { path, .. } if path == named),
        "{error}"
    );
}
