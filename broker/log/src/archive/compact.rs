//! Compaction by key: of the records of a key only the latest stays, and after a while not even
//! that, if it says that the key is gone (a tombstone).
//!
//! As Kafka does it: first the offsets of the latest records of the part that was not compacted
//! yet are collected, as many keys as memory allows; then everything up to there is copied, but
//! for what a later record stands for. Offsets stay what they are. What has a key and what is a
//! tombstone, somebody else knows: the log does not look into batches.

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use weir_wire::id::{Offset, Timestamp, TopicPartition};
use xxhash_rust::xxh3::xxh3_128;

use super::rewrite::{Plan, Rewrite};
use super::{Archiver, Home};
use crate::entry::Columns;
use crate::error::ReadError;
use crate::index::StoredBatch;
use crate::manifest::PartitionState;
use crate::segment::{Run, RunReader};

/// Partitions that may wait to be compacted.
const JOBS_MAX: usize = 1024;
/// What a key costs in the map: 16 bytes of hash, 8 of offset, and the map's own share.
const KEY_BYTES: usize = 48;
/// Bytes looked at by one step.
const STEP_BYTES: u64 = 4 << 20;

/// A record of a batch, as far as compaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRecord<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its key; one without is kept.
    pub key: Option<&'a [u8]>,
    /// It says that the key is gone.
    pub tombstone: bool,
}

/// A batch without some of its records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rebuilt {
    /// The batch: base offset and last offset are what they were.
    pub bytes: Bytes,
    /// The columns of the records that are left.
    pub columns: Columns,
    /// How many are left.
    pub records: u32,
}

/// Why a batch cannot be looked into. It is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch cannot be compacted: {0}")]
pub struct KeysError(pub String);

/// Knows what is in a batch.
pub trait BatchKeys: Debug + Send + Sync + 'static {
    /// Tells of each record, in their order.
    ///
    /// # Errors
    /// When the batch cannot be read.
    fn records(
        &self,
        batch: &StoredBatch,
        each: &mut dyn FnMut(KeyedRecord<'_>),
    ) -> Result<(), KeysError>;

    /// The batch with only those records, at least one.
    ///
    /// # Errors
    /// When the batch cannot be read.
    fn rebuild(
        &self,
        batch: &StoredBatch,
        keep: &dyn Fn(Offset) -> bool,
    ) -> Result<Rebuilt, KeysError>;
}

/// A partition to be compacted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionJob {
    /// The partition.
    pub partition: TopicPartition,
    /// Records from here on stay: somebody may not have read what is there.
    pub up_to: Offset,
    /// Tombstones that were appended before then go.
    pub tombstones_before: Timestamp,
}

/// What waits to be compacted, and what was.
#[derive(Debug, Default)]
pub(crate) struct Compactions {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: VecDeque<CompactionJob>,
    /// Up to where each partition was compacted.
    done: HashMap<TopicPartition, Offset>,
}

impl Compactions {
    pub(super) fn new(partitions: &[PartitionState]) -> Self {
        let compacted = partitions
            .iter()
            .filter(|state| state.compacted_to > Offset::ZERO);
        let done = compacted
            .map(|state| (state.partition, state.compacted_to))
            .collect();
        Self {
            state: Mutex::new(State {
                jobs: VecDeque::new(),
                done,
            }),
        }
    }

    /// Adds a job; refuses when too many wait. One for the same partition is replaced.
    pub(crate) fn add(&self, job: CompactionJob) -> bool {
        let mut state = self.lock();
        let same = |other: &&mut CompactionJob| other.partition == job.partition;
        if let Some(waiting) = state.jobs.iter_mut().find(same) {
            *waiting = job;
            return true;
        }
        if state.jobs.len() >= JOBS_MAX {
            return false;
        }
        state.jobs.push_back(job);
        true
    }

    /// Below this offset the partition was compacted.
    pub(crate) fn compacted_to(&self, at: TopicPartition) -> Offset {
        self.lock().done.get(&at).copied().unwrap_or_default()
    }

    /// Forgets partitions that are gone.
    pub(super) fn retain(&self, keep: impl Fn(TopicPartition) -> bool) {
        let mut state = self.lock();
        state.jobs.retain(|job| keep(job.partition));
        state.done.retain(|at, _| keep(*at));
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The latest offset of each key of a part of a partition, as they are collected.
#[derive(Debug)]
pub(super) struct Mapping {
    job: CompactionJob,
    keys: Arc<dyn BatchKeys>,
    runs: VecDeque<Run>,
    open: Option<RunReader>,
    /// By the hashes of the keys.
    latest: HashMap<u128, Offset>,
    keys_max: usize,
    /// Where the part begins, and how far it was looked at.
    from: Offset,
    reached: Offset,
}

/// What goes from a partition.
#[derive(Debug)]
pub(super) struct Cleaning {
    job: CompactionJob,
    keys: Arc<dyn BatchKeys>,
    latest: HashMap<u128, Offset>,
    up_to: Offset,
}

/// What is left of a batch.
#[derive(Debug)]
pub(super) enum Outcome {
    /// All of it: so many records.
    Whole(u32),
    /// So many records.
    Less(StoredBatch, u32),
    Nothing,
}

impl Archiver {
    /// Takes up the next partition that waits; answers whether there was one.
    pub(super) fn begin_compaction(&mut self) -> bool {
        let Some(job) = self.compactions.lock().jobs.pop_front() else {
            return false;
        };
        let Some(keys) = self.config.batch_keys.clone() else {
            return true;
        };
        let from = self.compactions.compacted_to(job.partition);
        let runs: Vec<Run> = self.read_index(|index| index.runs(job.partition).to_vec());
        let spared = |run: &Run| run.base < job.up_to && self.spared.contains(&run.segment);
        if let Some(run) = runs.iter().find(|run| spared(run)) {
            let (partition, segment) = (job.partition, run.segment);
            tracing::warn!(%partition, %segment, "not compacted: a segment of it is damaged");
            return true;
        }
        let runs: VecDeque<Run> = runs
            .into_iter()
            .filter(|run| run.base < job.up_to && run.end > from)
            .collect();
        if !runs.is_empty() {
            self.mapping = Some(Mapping {
                job,
                keys,
                runs,
                open: None,
                latest: HashMap::new(),
                keys_max: (self.config.compaction_bytes / KEY_BYTES).max(1),
                from,
                reached: from,
            });
        }
        true
    }

    /// Looks at more of the partition that is to be compacted; answers whether there is one.
    pub(super) fn mapping_step(&mut self) -> bool {
        let Some(mut mapping) = self.mapping.take() else {
            return false;
        };
        match mapping.step(&self.home) {
            Ok(true) => self.mapping = Some(mapping),
            Ok(false) => self.begin_cleaning(mapping),
            Err(error) => {
                let partition = mapping.job.partition;
                tracing::error!(%partition, %error, "a partition is not compacted");
            }
        }
        true
    }

    /// Everything that is to go is known.
    fn begin_cleaning(&mut self, mapping: Mapping) {
        let Mapping {
            job,
            keys,
            latest,
            from,
            reached,
            ..
        } = mapping;
        if reached <= from {
            return;
        }
        let plan = self.read_index(|index| {
            let runs = index.runs(job.partition);
            let mut dropped: Vec<_> = runs
                .iter()
                .filter(|run| run.base < reached)
                .map(|run| run.segment)
                .collect();
            dropped.sort_unstable();
            dropped.dedup();
            Plan::new(&dropped, &index.live_runs(), index, &self.config)
        });
        if !self.has_room_for(plan.bytes) {
            tracing::warn!(partition = %job.partition, "no room to compact");
            return;
        }
        let cleaning = Cleaning {
            job,
            keys,
            latest,
            up_to: reached,
        };
        self.rewrite = Some(Rewrite::new(plan, Some(cleaning)));
    }

    /// A partition was compacted, if it is still there.
    pub(super) fn compacted(&mut self, partition: TopicPartition, up_to: Offset) {
        if self.table.compacted(partition, up_to) {
            self.compactions.lock().done.insert(partition, up_to);
        }
    }
}

impl Mapping {
    /// Takes in about as much as a step may; answers whether something is left.
    fn step(&mut self, home: &Home) -> Result<bool, ReadError> {
        let mut bytes = 0;
        while bytes < STEP_BYTES {
            let reader = match &mut self.open {
                Some(reader) => reader,
                none => {
                    let Some(run) = self.runs.pop_front() else {
                        return Ok(false);
                    };
                    none.insert(RunReader::open(&*home.vfs, &home.dir, &run, true)?)
                }
            };
            let Some(frame) = reader.next()? else {
                self.open = None;
                continue;
            };
            let batch = frame.batch;
            bytes += batch.bytes.len() as u64;
            if batch.end() <= self.from {
                continue;
            }
            if batch.end() > self.job.up_to {
                return Ok(false);
            }
            self.take_in(&batch);
            self.reached = batch.end();
            if self.latest.len() >= self.keys_max {
                // The rest is for the next time.
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn take_in(&mut self, batch: &StoredBatch) {
        let latest = &mut self.latest;
        let told = self.keys.records(batch, &mut |record| {
            if let Some(key) = record.key {
                latest.insert(xxh3_128(key), record.offset);
            }
        });
        if let Err(error) = told {
            let (partition, offset) = (self.job.partition, batch.base_offset);
            tracing::warn!(%partition, %offset, %error, "a batch is kept as it is");
        }
    }
}

impl Cleaning {
    pub(super) fn partition(&self) -> TopicPartition {
        self.job.partition
    }

    pub(super) fn up_to(&self) -> Offset {
        self.up_to
    }

    /// Notes it in what a manifest says about partitions.
    pub(super) fn note(&self, partitions: &mut [PartitionState]) {
        let of = |state: &&mut PartitionState| state.partition == self.job.partition;
        if let Some(state) = partitions.iter_mut().find(of) {
            state.compacted_to = state.compacted_to.max(self.up_to);
        }
    }

    /// Whether records may go from this batch.
    pub(super) fn concerns(&self, partition: TopicPartition, batch: &StoredBatch) -> bool {
        partition == self.job.partition && batch.end() <= self.up_to
    }

    /// What is left of a batch.
    pub(super) fn clean(&self, batch: &StoredBatch) -> Outcome {
        let old = batch.append_time < self.job.tombstones_before;
        let (mut gone, mut kept) = (Vec::new(), 0);
        let told = self.keys.records(batch, &mut |record| {
            let later = record.key.and_then(|key| self.latest.get(&xxh3_128(key)));
            let replaced = later.is_some_and(|later| *later > record.offset);
            let expired = old && record.tombstone && record.key.is_some();
            if replaced || expired {
                gone.push(record.offset);
            } else {
                kept += 1;
            }
        });
        match told {
            Err(_) => Outcome::Whole(batch.count),
            Ok(()) if gone.is_empty() => Outcome::Whole(kept),
            Ok(()) if kept == 0 => Outcome::Nothing,
            Ok(()) => {
                let keep = |offset: Offset| gone.binary_search(&offset).is_err();
                let rebuilt = self.keys.rebuild(batch, &keep);
                rebuilt.map_or(Outcome::Whole(batch.count), |rebuilt| {
                    let less = StoredBatch {
                        crc: crc32c::crc32c(&rebuilt.bytes),
                        bytes: rebuilt.bytes,
                        columns: rebuilt.columns,
                        ..batch.clone()
                    };
                    Outcome::Less(less, rebuilt.records)
                })
            }
        }
    }
}
