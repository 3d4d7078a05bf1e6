//! Compaction by key, against a model: the latest value of every key is what it was, what nobody
//! may lose is there, offsets are what they were, whatever happens in between.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_log::offline::{RescueReport, SegmentInfo, Verification, inspect, rescue, verify};
use weir_log::{
    BatchKeys, Columns, CommitSink, CommittedBlock, Committer, CompactionJob, CrashPolicy,
    KeyedRecord, KeysError, LogConfig, LogError, LogReader, Op, Rebuilt, SimVfs, Snapshot,
    StoredBatch, Submission, Vfs, recover,
};
use weir_wire::id::{Offset, Timestamp, TopicPartition};

use crate::history::History;
use crate::support::{append, config, entry, partition};

const RECORD: usize = 8;

/// A record in these tests: delta, key (0: none), whether it is a tombstone, and something.
type Record = (u8, u8, bool, u32);

fn encode(records: &[Record]) -> Bytes {
    let mut bytes = Vec::new();
    for (delta, key, tombstone, value) in records {
        bytes.extend_from_slice(&[*delta, *key, u8::from(*tombstone), 0]);
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.into()
}

fn decode(batch: &StoredBatch) -> Vec<(u64, Record)> {
    batch
        .bytes
        .chunks_exact(RECORD)
        .map(|bytes| {
            let value = u32::from_le_bytes(bytes[4..].try_into().unwrap());
            let record = (bytes[0], bytes[1], bytes[2] == 1, value);
            (batch.base_offset.value() + u64::from(bytes[0]), record)
        })
        .collect()
}

#[derive(Debug)]
struct Plain;

impl BatchKeys for Plain {
    fn records(
        &self,
        batch: &StoredBatch,
        each: &mut dyn FnMut(KeyedRecord<'_>),
    ) -> Result<(), KeysError> {
        if !batch.bytes.len().is_multiple_of(RECORD) {
            return Err(KeysError("it is no batch of these tests".to_owned()));
        }
        for (offset, (_, key, tombstone, _)) in decode(batch) {
            each(KeyedRecord {
                offset: Offset::new(offset),
                key: (key > 0).then_some(&[key]),
                tombstone,
            });
        }
        Ok(())
    }

    fn rebuild(
        &self,
        batch: &StoredBatch,
        keep: &dyn Fn(Offset) -> bool,
    ) -> Result<Rebuilt, KeysError> {
        let all = decode(batch);
        let kept: Vec<Record> = all
            .iter()
            .filter(|(offset, _)| keep(Offset::new(*offset)))
            .map(|(_, record)| *record)
            .collect();
        Ok(Rebuilt {
            bytes: encode(&kept),
            columns: Columns {
                ordering_keys: None,
                ..batch.columns.clone()
            },
            records: u32::try_from(kept.len()).unwrap(),
        })
    }
}

struct Nobody;

impl CommitSink<u64> for Nobody {
    fn committed(&mut self, _block: CommittedBlock<'_, u64>) {}

    fn failed(&mut self, error: &LogError, _tokens: Vec<u64>) {
        panic!("{error}");
    }
}

fn small(keys_max: usize) -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 64 << 10;
    config.cache_bytes = 4 << 10;
    config.segment_own_bytes = 3 << 10;
    config.segment_bytes = 64 << 10;
    config.batch_keys = Some(Arc::new(Plain));
    config.compaction_bytes = keys_max * 48;
    config
}

fn at() -> TopicPartition {
    partition(1, 0)
}

struct World {
    sim: SimVfs,
    config: LogConfig,
    committer: Committer<u64>,
    /// Every record that was ever written.
    written: BTreeMap<u64, Record>,
    /// Batch by batch: the first offset, the one after the last.
    batches: Vec<(u64, u64)>,
    next: u64,
    /// The highest bounds of what may have been compacted.
    up_to: u64,
    tombstones_before: i64,
}

impl World {
    fn new(config: LogConfig) -> Self {
        let sim = SimVfs::new(9);
        Self {
            committer: open(&sim, &config),
            sim,
            config,
            written: BTreeMap::new(),
            batches: Vec::new(),
            next: 0,
            up_to: 0,
            tombstones_before: 0,
        }
    }

    fn commit(&mut self, op: Op) {
        let submission = Submission {
            entry: entry(vec![op]),
            token: 0,
        };
        self.committer.commit(vec![submission]).unwrap();
    }

    /// Records of keys 1 to `keys`, some without a key, some tombstones.
    fn append(&mut self, random: &mut SmallRng, keys: u8) {
        let count = random.random_range(1..8_u8);
        let records: Vec<Record> = (0..count)
            .map(|delta| {
                let key = random.random_range(0..=keys);
                (delta, key, random.random_ratio(1, 8), random.random())
            })
            .collect();
        for record in &records {
            self.written
                .insert(self.next + u64::from(record.0), *record);
        }
        self.commit(append(at(), self.next, count.into(), encode(&records)));
        self.batches.push((self.next, self.next + u64::from(count)));
        self.next += u64::from(count);
    }

    /// Append times in these tests are 1,000 and the first offset.
    fn compact(&mut self, up_to: u64, tombstones_before: i64) {
        self.up_to = self.up_to.max(up_to);
        self.tombstones_before = self.tombstones_before.max(tombstones_before);
        assert!(self.committer.compact(CompactionJob {
            partition: at(),
            up_to: Offset::new(up_to),
            tombstones_before: Timestamp::new(tombstones_before),
        }));
    }

    fn settle(&mut self) {
        while self.committer.archive().unwrap() {}
    }

    fn reader(&self) -> LogReader {
        self.committer.reader()
    }

    /// What is there, and that it is what it has to be.
    fn check(&self) -> Vec<(u64, Record)> {
        let reader = self.reader();
        let batches = read_all(&reader, at());
        let found: Vec<(u64, Record)> = batches.iter().flat_map(decode).collect();
        assert!(found.is_sorted_by(|a, b| a.0 < b.0), "in order, each once");
        for (offset, record) in &found {
            assert_eq!(self.written.get(offset), Some(record), "offset {offset}");
        }
        let is_there = |offset: u64| found.binary_search_by_key(&offset, |it| it.0).is_ok();
        let mut later: BTreeMap<u8, u64> = BTreeMap::new();
        for (offset, (_, key, tombstone, _)) in self.written.iter().rev() {
            let newer = later.get(key).copied();
            if *key > 0 && *offset < self.up_to {
                later.entry(*key).or_insert(*offset);
            }
            let (_, batch_end) = self.batch_of(*offset);
            let time = 1_000 + i64::try_from(self.batch_of(*offset).0).unwrap();
            let expired = *tombstone && time < self.tombstones_before;
            let may_go = *key > 0 && batch_end <= self.up_to && (newer.is_some() || expired);
            assert!(
                may_go || is_there(*offset),
                "offset {offset} of key {key} is gone"
            );
        }
        let bounds = reader.bounds(at()).unwrap();
        assert_eq!(
            (bounds.start.value(), bounds.high_water_mark.value()),
            (0, self.next)
        );
        assert_eq!(bounds.records, found.len() as u64);
        found
    }

    fn batch_of(&self, offset: u64) -> (u64, u64) {
        let at = self.batches.partition_point(|(base, _)| *base <= offset);
        self.batches[at - 1]
    }

    /// Reading at any offset that there ever was goes on at the next record that is there.
    fn check_every_offset(&self) {
        let found = self.check();
        let reader = self.reader();
        for from in 0..self.next {
            let read = reader.read(at(), Offset::new(from), 1, 1).unwrap();
            let first = read
                .batches
                .iter()
                .flat_map(decode)
                .find(|(offset, _)| *offset >= from);
            let all = read_from(&reader, from);
            let expected = found.iter().find(|(offset, _)| *offset >= from);
            assert_eq!(first.or(all).as_ref(), expected, "from {from}");
        }
    }

    fn verified(&self) -> Verification {
        let vfs: Arc<dyn Vfs> = Arc::new(self.sim.clone());
        let machine = History::default();
        verify(&vfs, Path::new("/data"), machine, &mut |_, _| {}).unwrap()
    }

    /// What can be got out without opening it: offsets, and what is missing.
    fn rescued(&self) -> (Vec<u64>, RescueReport) {
        let mut offsets = Vec::new();
        let all = |_| true;
        let report = rescue(&self.sim, Path::new("/data"), &[at()], &all, &mut |part| {
            let inside = part.from.value()..part.to.value();
            let records = decode(&part.batch).into_iter();
            offsets.extend(records.map(|it| it.0).filter(|at| inside.contains(at)));
            Ok(())
        });
        (offsets, report.unwrap())
    }

    fn reopen(&mut self) {
        self.committer = open(&self.sim, &self.config);
    }

    /// The last value of each key, without those that are gone.
    fn latest(records: &[(u64, Record)]) -> BTreeMap<u8, u32> {
        let mut latest = BTreeMap::new();
        for (_, (_, key, tombstone, value)) in records {
            if *tombstone {
                latest.remove(key);
            } else if *key > 0 {
                latest.insert(*key, *value);
            }
        }
        latest
    }

    fn all(&self) -> Vec<(u64, Record)> {
        self.written
            .iter()
            .map(|(at, record)| (*at, *record))
            .collect()
    }
}

/// All batches: there may be none at the end, and then the read goes up to there.
fn read_all(reader: &LogReader, at: TopicPartition) -> Vec<StoredBatch> {
    let mut batches: Vec<StoredBatch> = Vec::new();
    let mut from = Offset::ZERO;
    loop {
        let read = reader.read(at, from, 64 << 10, 5).unwrap();
        if read.batches.is_empty() {
            assert_eq!(read.next, reader.bounds(at).unwrap().high_water_mark);
            return batches;
        }
        from = read.next;
        batches.extend(read.batches);
    }
}

fn read_from(reader: &LogReader, from: u64) -> Option<(u64, Record)> {
    let read = reader.read(at(), Offset::new(from), 1 << 20, 1_000);
    let batches = read.unwrap().batches;
    batches
        .iter()
        .flat_map(decode)
        .find(|(offset, _)| *offset >= from)
}

fn open(sim: &SimVfs, config: &LogConfig) -> Committer<u64> {
    let recovered = recover(Arc::new(sim.clone()), config.clone(), History::default()).unwrap();
    Committer::start(recovered, Box::new(Nobody))
}

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
    world.compact(world.next, 0);
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
