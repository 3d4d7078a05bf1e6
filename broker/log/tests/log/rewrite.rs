//! Segments are rewritten: room comes back, runs grow, files stay few, and nobody who reads sees
//! any of it.

use std::path::Path;
use std::sync::Arc;

use weir_log::offline::{Inspection, inspect, verify};
use weir_log::{LogConfig, Op, SimVfs, Submission, Vfs};
use weir_wire::id::{Offset, TopicPartition};

use crate::history::History;
use crate::support::{Driven, append, config, drive, entry, line, partition, payload, read_all};

fn dir() -> &'static Path {
    Path::new("/data")
}

fn small() -> LogConfig {
    let mut config = config(dir());
    config.wal_file_bytes = 256 << 10;
    config.cache_bytes = 0;
    config.segment_own_bytes = 64 << 10;
    config.segment_bytes = 512 << 10;
    config
}

struct World {
    sim: SimVfs,
    driven: Driven,
    next: [u64; 4],
}

const PARTITIONS: usize = 4;

fn at(number: usize) -> TopicPartition {
    partition(1, u32::try_from(number).unwrap())
}

impl World {
    fn new() -> Self {
        let sim = SimVfs::new(3);
        let driven = drive(Arc::new(sim.clone()), small()).unwrap();
        Self {
            sim,
            driven,
            next: [0; PARTITIONS],
        }
    }

    fn commit(&mut self, ops: Vec<Op>) {
        let submission = Submission {
            entry: entry(ops),
            token: 0,
        };
        self.driven.committer.commit(vec![submission]).unwrap();
    }

    fn append(&mut self, to: usize, batches: u64, bytes: usize) {
        for _ in 0..batches {
            let base = self.next[to];
            self.next[to] += 3;
            let seed = base * 10 + to as u64;
            self.commit(vec![append(at(to), base, 3, payload(seed, bytes))]);
        }
    }

    fn trim(&mut self, of: usize, start: u64) {
        self.commit(vec![Op::Trim {
            partition: at(of),
            start: Offset::new(start),
        }]);
    }

    fn settle(&mut self) {
        let mut steps = 0;
        while self.driven.committer.archive().unwrap() {
            steps += 1;
            assert!(steps < 10_000, "the archiver finds no end");
        }
    }

    /// What readers see from the starts on.
    fn check(&self) {
        let reader = self.driven.committer.reader();
        for (number, next) in self.next.iter().enumerate() {
            let Some(bounds) = reader.bounds(at(number)) else {
                continue;
            };
            let found = read_all(&reader, at(number));
            let first = found
                .first()
                .map_or(*next, |batch| batch.base_offset.value());
            assert!(
                first <= bounds.start.value() || found.is_empty(),
                "{bounds:?}"
            );
            for (batch, base) in found.iter().zip((first..*next).step_by(3)) {
                let bytes = payload(base * 10 + number as u64, batch.bytes.len());
                assert_eq!((line(batch).0, &batch.bytes), (base, &bytes));
            }
            assert_eq!(
                found.last().map_or(*next, |batch| batch.end().value()),
                *next
            );
            let records: u64 = found.iter().map(|batch| u64::from(batch.count)).sum();
            assert!(bounds.records <= records, "{bounds:?}");
        }
    }

    fn reopen(&mut self) {
        self.driven.committer.end().unwrap();
        self.driven = drive(Arc::new(self.sim.clone()), small()).unwrap();
        self.check();
    }

    fn inspect(&self) -> Inspection {
        let inspection = inspect(&self.sim, dir()).unwrap();
        assert_eq!(inspection.damages, []);
        let vfs: Arc<dyn Vfs> = Arc::new(self.sim.clone());
        let verified = verify(&vfs, dir(), History::default(), &mut |_, _| {}).unwrap();
        assert_eq!(verified.damages, []);
        inspection
    }
}

#[test]
fn what_a_manifest_may_name_stays_though_its_name_could_not_be_made_durable() {
    let mut world = World::new();
    for _ in 0..8 {
        for to in 0..PARTITIONS {
            world.append(to, 3, 700);
        }
        world.driven.committer.flush().unwrap();
    }
    let manifests = dir().join("manifest");
    world.sim.fail_names_of(Some(&manifests));
    let mut steps = 0..10_000;
    while world.driven.committer.archive().is_ok() {
        steps.next().expect("a rewrite writes a manifest");
    }
    world.sim.fail_names_of(None);
    // The next start finds the manifest by its name.
    world.driven = drive(Arc::new(world.sim.clone()), small()).unwrap();
    world.check();
    assert!(world.inspect().segments.len() < 8);
}

#[test]
fn eight_shared_segments_become_one_and_their_runs_grow() {
    let mut world = World::new();
    for _ in 0..8 {
        for to in 0..PARTITIONS {
            world.append(to, 3, 700);
        }
        world.driven.committer.flush().unwrap();
    }
    world.check();
    let before: usize = world.inspect().segments.iter().map(|s| s.runs.len()).sum();
    assert_eq!(before, 8 * PARTITIONS);
    world.settle();
    world.check();
    let after = world.inspect();
    let runs: Vec<_> = after
        .segments
        .iter()
        .flat_map(|segment| &segment.runs)
        .collect();
    assert_eq!(runs.len(), PARTITIONS, "{runs:?}");
    assert!(
        runs.iter()
            .all(|run| run.batches == 24 && run.records == 72)
    );
    assert_eq!(after.segments.len(), 1);
    world.reopen();
}

#[test]
fn partitions_that_became_large_get_segments_of_their_own() {
    let mut world = World::new();
    for _ in 0..8 {
        world.append(0, 10, 1_500);
        world.append(1, 2, 300);
        world.driven.committer.flush().unwrap();
    }
    world.settle();
    world.check();
    let mut partitions: Vec<Vec<TopicPartition>> = world
        .inspect()
        .segments
        .iter()
        .map(|segment| segment.runs.iter().map(|run| run.partition).collect())
        .collect();
    partitions.sort();
    assert_eq!(partitions, [vec![at(0)], vec![at(1)]]);
    world.reopen();
}

#[test]
fn the_room_of_what_was_trimmed_comes_back() {
    let mut world = World::new();
    world.append(0, 100, 2_000);
    world.append(1, 10, 2_000);
    world.driven.committer.flush().unwrap();
    world.settle();
    let bytes = |world: &World| -> u64 {
        world
            .inspect()
            .segments
            .iter()
            .map(|segment| segment.bytes)
            .sum()
    };
    let full = bytes(&world);
    world.trim(0, 240);
    world.settle();
    world.check();
    let trimmed = bytes(&world);
    assert!(trimmed < full / 2, "{trimmed} of {full}");
    let reader = world.driven.committer.reader();
    let bounds = reader.bounds(at(0)).unwrap();
    assert_eq!((bounds.start.value(), bounds.records), (240, 60));
    assert_eq!(bounds.bytes, 20 * 2_000);
    world.reopen();
    world.trim(0, 300);
    world.trim(1, 30);
    world.settle();
    assert_eq!(bytes(&world), 0);
    world.reopen();
}

#[test]
fn writing_goes_on_while_segments_are_rewritten() {
    let mut world = World::new();
    for round in 0..40 {
        for to in 0..PARTITIONS {
            world.append(to, 2 + (round + to as u64) % 3, 400 + 300 * to);
        }
        world.driven.committer.flush().unwrap();
        // In the middle of whatever it is at.
        for _ in 0..round % 5 {
            world.driven.committer.archive().unwrap();
        }
        if round % 7 == 3 {
            let to = (round % 4) as usize;
            world.trim(to, world.next[to] / 2);
        }
        if round % 11 == 10 {
            world.reopen();
        }
        world.check();
    }
    world.settle();
    world.check();
    let segments = world.inspect().segments.len();
    assert!(segments < 20, "{segments} segments are left of 40 and more");
    world.reopen();
}

#[test]
fn a_damaged_segment_is_left_as_it_is_and_the_rest_goes_on() {
    let mut world = World::new();
    world.append(0, 20, 900);
    world.driven.committer.flush().unwrap();
    let path = world.inspect().segments[0].path.clone();
    world
        .sim
        .damage(&path, |bytes| bytes[4_096 + 18 * 1_000] ^= 1)
        .unwrap();
    let damaged = world.sim.read(&path).unwrap();
    world.trim(0, 45);
    world.settle();
    assert_eq!(world.sim.read(&path).unwrap(), damaged);
    world.append(1, 5, 900);
    world.driven.committer.flush().unwrap();
    world.settle();
    let reader = world.driven.committer.reader();
    assert_eq!(read_all(&reader, at(1)).len(), 5);
    assert!(
        !reader
            .read(at(0), Offset::new(45), 1, 1)
            .unwrap()
            .batches
            .is_empty()
    );
}

#[test]
fn without_room_segments_stay_and_the_log_goes_on() {
    let mut world = World::new();
    world.append(0, 100, 1_000);
    world.driven.committer.flush().unwrap();
    world.settle();
    world.sim.set_capacity(Some(600 << 10));
    let before = world.inspect().segments;
    world.trim(0, 200);
    world.settle();
    world.append(0, 1, 1_000);
    world.check();
    assert!(!world.inspect().segments.is_empty() && !before.is_empty());
    world.sim.set_capacity(None);
    world.append(0, 10, 1_000);
    world.driven.committer.flush().unwrap();
    world.settle();
    let after = world.inspect().segments;
    assert!(
        !after.iter().any(|segment| segment.id == before[0].id),
        "{after:?}"
    );
    world.reopen();
}
