//! Compaction by key, against a model: the latest value of every key is what it was, what nobody
//! may lose is there, offsets are what they were, whatever happens in between.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_log::offline::{SegmentInfo, inspect};
use weir_log::{CompactionJob, CrashPolicy, Snapshot, Vfs};
use weir_wire::id::{Offset, Timestamp};

use crate::support::{append, partition};

mod world;

pub(crate) use world::{Plain, encode};
use world::{Record, World, at, read_all, small};

#[test]
fn only_the_latest_record_of_a_key_stays() {
    let mut random = SmallRng::seed_from_u64(1);
    let mut world = World::new(small(1_000));
    for _ in 0..300 {
        world.append(&mut random, 20);
    }
    world.committer.flush().unwrap();
    world.settle();
    let next = world.next;
    world.compact(next, 0);
    world.settle();
    let found = world.check();
    let keyed: Vec<u8> = found
        .iter()
        .map(|(_, record)| record.1)
        .filter(|key| *key > 0)
        .collect();
    assert_eq!(keyed.len(), 20, "one of each key: {keyed:?}");
    assert_eq!(World::latest(&found), World::latest(&world.all()));
    let without: usize = world
        .written
        .values()
        .filter(|record| record.1 == 0)
        .count();
    assert_eq!(found.len() - keyed.len(), without);
    world.check_every_offset();
    world.reopen();
    assert_eq!(world.check(), found);
}

#[test]
fn tombstones_go_when_they_are_old_and_not_before() {
    let mut random = SmallRng::seed_from_u64(2);
    let mut world = World::new(small(1_000));
    for _ in 0..100 {
        world.append(&mut random, 30);
    }
    world.committer.flush().unwrap();
    world.compact(world.next, 0);
    world.settle();
    let tombstones = |found: &[(u64, Record)]| {
        found
            .iter()
            .filter(|(_, record)| record.2 && record.1 > 0)
            .count()
    };
    let young = world.check();
    assert!(tombstones(&young) > 0);
    // What is new makes the old compacted once more.
    world.append(&mut random, 30);
    world.committer.flush().unwrap();
    world.compact(world.next, i64::MAX);
    world.settle();
    let found = world.check();
    assert_eq!(tombstones(&found), 0);
    assert_eq!(World::latest(&found), World::latest(&world.all()));
}

#[test]
fn what_somebody_has_not_read_stays() {
    let mut random = SmallRng::seed_from_u64(3);
    let mut world = World::new(small(1_000));
    for _ in 0..200 {
        world.append(&mut random, 5);
    }
    world.committer.flush().unwrap();
    let cursor = world.next / 2;
    world.compact(cursor, 0);
    world.settle();
    let found = world.check();
    let above = |records: &[(u64, Record)]| records.iter().filter(|it| it.0 >= cursor).count();
    assert_eq!(above(&found), above(&world.all()));
    assert!(found.len() < world.written.len());
}

#[test]
fn with_little_memory_it_takes_more_than_one_time() {
    let mut random = SmallRng::seed_from_u64(4);
    let mut world = World::new(small(10));
    for _ in 0..200 {
        world.append(&mut random, 60);
    }
    world.committer.flush().unwrap();
    let mut lengths = Vec::new();
    for _ in 0..60 {
        world.compact(world.next, 0);
        world.settle();
        lengths.push(world.check().len());
    }
    assert!(lengths[0] > lengths[5], "{lengths:?}");
    let keyed = world
        .check()
        .iter()
        .filter(|(_, record)| record.1 > 0)
        .count();
    assert!(keyed < 4 * 60, "{keyed} records of 60 keys");
}

#[test]
fn a_batch_that_nobody_can_look_into_stays_as_it_is() {
    let mut random = SmallRng::seed_from_u64(5);
    let mut world = World::new(small(1_000));
    for _ in 0..50 {
        world.append(&mut random, 4);
    }
    let odd = Bytes::from_static(b"not a batch of these");
    world.commit(append(at(), world.next, 1, odd.clone()));
    world.committer.flush().unwrap();
    assert!(world.committer.compact(CompactionJob {
        partition: at(),
        up_to: Offset::new(world.next + 1),
        tombstones_before: Timestamp::new(0),
    }));
    world.settle();
    let batches = read_all(&world.reader(), at());
    assert_eq!(batches.last().map(|batch| &batch.bytes), Some(&odd));
    assert!(batches.len() < 45);
}

#[test]
fn where_nothing_is_left_at_the_end_a_read_goes_up_to_there() {
    let mut world = World::new(small(1_000));
    for (key, tombstone) in [(1, false), (2, false), (2, true), (3, true)] {
        let record = (0, key, tombstone, 7);
        world.written.insert(world.next, record);
        world.commit(append(at(), world.next, 1, encode(&[record])));
        world.batches.push((world.next, world.next + 1));
        world.next += 1;
    }
    world.committer.flush().unwrap();
    world.compact(world.next, i64::MAX);
    world.settle();
    assert_eq!(world.check(), [(0, (0, 1, false, 7))]);
    for from in 0..=4 {
        let read = world.reader().read(at(), Offset::new(from), 1 << 20, 100);
        let read = read.unwrap();
        let expected = (usize::from(from == 0), Offset::new(4));
        assert_eq!((read.batches.len(), read.next), expected, "from {from}");
    }
}

#[test]
fn what_was_compacted_of_a_deleted_topic_is_forgotten() {
    let mut random = SmallRng::seed_from_u64(6);
    let mut world = World::new(small(1_000));
    for _ in 0..50 {
        world.append(&mut random, 4);
    }
    world.committer.flush().unwrap();
    world.compact(world.next, 0);
    world.settle();
    assert_eq!(world.committer.compacted_to(at()), Offset::new(world.next));
    world.reader().forget(at().topic);
    world.commit(append(partition(2, 0), 0, 1, encode(&[(0, 1, false, 7)])));
    world.committer.flush().unwrap();
    assert_eq!(world.committer.compacted_to(at()), Offset::ZERO);
}

/// Everything at once, with crashes: whatever is interrupted, nothing that has to be there is
/// gone, and nothing comes back wrong.
#[test]
fn the_model_holds_whatever_comes_between() {
    for seed in 0..12 {
        let mut random = SmallRng::seed_from_u64(100 + seed);
        let mut world = World::new(small(random.random_range(5..60)));
        for _ in 0..150 {
            match random.random_range(0..20) {
                0..=11 => world.append(&mut random, 25),
                12 => world.committer.flush().unwrap(),
                13..=15 => {
                    for _ in 0..random.random_range(1..6) {
                        world.committer.archive().unwrap();
                    }
                }
                16 => {
                    let up_to = random.random_range(0..=world.next);
                    let before = random.random_range(0..=1_000 + up_to.cast_signed());
                    world.compact(up_to, before);
                }
                17 => {
                    world.committer.seal().unwrap();
                    let policy = CrashPolicy::RandomSubset;
                    world.sim = world.sim.snapshot().crash(policy, random.random());
                    world.reopen();
                }
                18 => {
                    world.committer.end().unwrap();
                    world.reopen();
                }
                _ => world.settle(),
            }
            if world.next > 0 && random.random_ratio(1, 4) {
                world.check();
            }
        }
        world.settle();
        world.check_every_offset();
        let verified = world.verified();
        assert_eq!(verified.damages, [], "seed {seed}");
    }
}

/// The power fails at every step of a compaction, and at those of the manifests that give the old
/// segments back: what has to be there is, and the next compaction gets to where this one would
/// have.
#[test]
fn a_compaction_survives_every_power_cut() {
    let mut random = SmallRng::seed_from_u64(77);
    let mut world = World::new(small(20));
    for _ in 0..60 {
        world.append(&mut random, 12);
    }
    world.committer.flush().unwrap();
    let cuts: Arc<Mutex<Vec<Snapshot>>> = Arc::default();
    let keep = cuts.clone();
    world
        .sim
        .watch(move |_, snapshot| keep.lock().unwrap().push(snapshot));
    let up_to = world.next;
    world.compact(up_to, 1_000);
    world.settle();
    // Two manifests later nobody needs the segments from before.
    world.committer.seal().unwrap();
    world.committer.flush().unwrap();
    world.settle();
    world.sim.unwatch();
    let compacted = world.check();
    assert!(compacted.len() < world.written.len());

    let cuts = std::mem::take(&mut *cuts.lock().unwrap());
    assert!(cuts.len() > 30, "the power failed {} times", cuts.len());
    let policies = [
        CrashPolicy::DropUnsynced,
        CrashPolicy::RandomSubset,
        CrashPolicy::TornWrite,
    ];
    for (number, cut) in cuts.iter().enumerate() {
        for policy in policies {
            world.sim = cut.crash(policy, number as u64);
            world.reopen();
            world.check();
            world.compact(up_to, 1_000);
            world.settle();
            assert_eq!(world.check(), compacted, "{policy:?} at step {number}");
            let verified = world.verified();
            assert_eq!(verified.damages, [], "{policy:?} at step {number}");
        }
    }
}

/// What compaction took away is not missing; what is in a segment that is gone may be.
#[test]
fn a_compacted_partition_is_rescued_without_gaps() {
    rescued_without_gaps(300);
    // In the middle of a run, of which the segments from before hold more.
    rescued_without_gaps(150);
}

fn rescued_without_gaps(up_to: u64) {
    let mut random = SmallRng::seed_from_u64(5);
    let mut world = World::new(small(1_000));
    // Only keys, and a few of them: their latest records are all at the end.
    for _ in 0..300 {
        let value = random.random();
        let key = random.random_range(1..5);
        let record = (0, key, false, value);
        world.written.insert(world.next, record);
        world.commit(append(at(), world.next, 1, encode(&[record])));
        world.batches.push((world.next, world.next + 1));
        world.next += 1;
    }
    world.committer.flush().unwrap();
    world.settle();
    world.compact(up_to, 0);
    // Once with the segments from before still there, once without.
    for round in 0..2 {
        world.settle();
        let found: Vec<u64> = world.check().iter().map(|it| it.0).collect();
        assert!(found.first().is_some_and(|first| *first > 100), "{found:?}");
        let (offsets, report) = world.rescued();
        assert_eq!(offsets, found, "round {round}");
        assert_eq!((report.holes, report.open_ends), (vec![], vec![]));
        world.committer.seal().unwrap();
        world.committer.flush().unwrap();
    }
    let inspection = inspect(&world.sim, Path::new("/data")).unwrap();
    let holds = |it: &&SegmentInfo| it.named && it.runs.iter().any(|run| run.partition == at());
    let segment = inspection.segments.iter().find(holds).unwrap();
    world.sim.remove(&segment.path).unwrap();
    assert!(!world.rescued().1.holes.is_empty());
}
