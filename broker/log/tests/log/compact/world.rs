//! A partition that is compacted, what was ever written to it, and what has to be there.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::SmallRng;
use weir_log::offline::{RescueReport, Verification, rescue, verify};
use weir_log::{
    BatchKeys, Columns, CommitSink, CommittedBlock, Committer, CompactionJob, KeyedRecord,
    KeysError, LogConfig, LogError, LogReader, Op, Rebuilt, SimVfs, StoredBatch, Submission, Vfs,
    recover,
};
use weir_wire::id::{Offset, Timestamp, TopicPartition};

use crate::history::History;
use crate::support::{append, config, entry, partition};

const RECORD: usize = 8;

/// A record in these tests: delta, key (0: none), whether it is a tombstone, and something.
pub(crate) type Record = (u8, u8, bool, u32);

pub(crate) fn encode(records: &[Record]) -> Bytes {
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
pub(crate) struct Plain;

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

pub(super) fn small(keys_max: usize) -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 64 << 10;
    config.cache_bytes = 4 << 10;
    config.segment_own_bytes = 3 << 10;
    config.segment_bytes = 64 << 10;
    config.batch_keys = Some(Arc::new(Plain));
    config.compaction_bytes = keys_max * 48;
    config
}

pub(super) fn at() -> TopicPartition {
    partition(1, 0)
}

pub(super) struct World {
    pub(super) sim: SimVfs,
    pub(super) config: LogConfig,
    pub(super) committer: Committer<u64>,
    /// Every record that was ever written.
    pub(super) written: BTreeMap<u64, Record>,
    /// Batch by batch: the first offset, the one after the last.
    pub(super) batches: Vec<(u64, u64)>,
    pub(super) next: u64,
    /// The highest bounds of what may have been compacted.
    pub(super) up_to: u64,
    pub(super) tombstones_before: i64,
}

impl World {
    pub(super) fn new(config: LogConfig) -> Self {
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

    pub(super) fn commit(&mut self, op: Op) {
        let submission = Submission {
            entry: entry(vec![op]),
            token: 0,
        };
        self.committer.commit(vec![submission]).unwrap();
    }

    /// Records of keys 1 to `keys`, some without a key, some tombstones.
    pub(super) fn append(&mut self, random: &mut SmallRng, keys: u8) {
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
    pub(super) fn compact(&mut self, up_to: u64, tombstones_before: i64) {
        self.up_to = self.up_to.max(up_to);
        self.tombstones_before = self.tombstones_before.max(tombstones_before);
        assert!(self.committer.compact(CompactionJob {
            partition: at(),
            up_to: Offset::new(up_to),
            tombstones_before: Timestamp::new(tombstones_before),
        }));
    }

    pub(super) fn settle(&mut self) {
        while self.committer.archive().unwrap() {}
    }

    pub(super) fn reader(&self) -> LogReader {
        self.committer.reader()
    }

    /// What is there, and that it is what it has to be.
    pub(super) fn check(&self) -> Vec<(u64, Record)> {
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

    pub(super) fn batch_of(&self, offset: u64) -> (u64, u64) {
        let at = self.batches.partition_point(|(base, _)| *base <= offset);
        self.batches[at - 1]
    }

    /// Reading at any offset that there ever was goes on at the next record that is there.
    pub(super) fn check_every_offset(&self) {
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

    pub(super) fn verified(&self) -> Verification {
        let vfs: Arc<dyn Vfs> = Arc::new(self.sim.clone());
        let machine = History::default();
        verify(&vfs, Path::new("/data"), machine, &mut |_, _| {}).unwrap()
    }

    /// What can be got out without opening it: offsets, and what is missing.
    pub(super) fn rescued(&self) -> (Vec<u64>, RescueReport) {
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

    pub(super) fn reopen(&mut self) {
        self.committer = open(&self.sim, &self.config);
    }

    /// The last value of each key, without those that are gone.
    pub(super) fn latest(records: &[(u64, Record)]) -> BTreeMap<u8, u32> {
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

    pub(super) fn all(&self) -> Vec<(u64, Record)> {
        self.written
            .iter()
            .map(|(at, record)| (*at, *record))
            .collect()
    }
}

/// All batches: there may be none at the end, and then the read goes up to there.
pub(super) fn read_all(reader: &LogReader, at: TopicPartition) -> Vec<StoredBatch> {
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
