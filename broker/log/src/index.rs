//! Where each partition's batches are: in runs of segments, behind them in the WAL, and the newest
//! of them in memory, too. Holds only what is durable: the WAL thread adds a block when its sync
//! is done, the archiver moves what it has written to segments.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

use crate::entry::Columns;
use crate::ids::{FileSequence, SegmentId};
use crate::segment::Run;

mod partition;
#[cfg(test)]
mod tests;

use partition::Partition;

/// What keeping a batch in the cache costs besides its bytes.
const CACHE_OVERHEAD: usize = 192;

/// Where a batch lies in the WAL: 40 bytes each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) base_offset: Offset,
    pub(crate) append_time: Timestamp,
    /// The WAL file's number.
    pub(crate) file: u32,
    /// Where in the file its envelope begins.
    pub(crate) envelope: u32,
    /// Where in the file its extent begins, in pages; 0 if it stands behind its envelope.
    pub(crate) extent_page: u32,
    /// Bytes of the envelope's columns.
    pub(crate) columns: u32,
    /// Bytes of the batch.
    pub(crate) length: u32,
    /// Records in it.
    pub(crate) count: u32,
}

impl Place {
    /// The offset after its last record.
    pub(crate) fn end(&self) -> Offset {
        self.base_offset.advance(self.count)
    }

    pub(crate) fn file(&self) -> FileSequence {
        FileSequence::new(u64::from(self.file))
    }
}

/// What a partition holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset.
    pub start: Offset,
    /// The offset of the next record; everything below is durable.
    pub high_water_mark: Offset,
    /// Bytes of its batches. Where the start lies within a run of a segment, the run's part is
    /// taken in proportion.
    pub bytes: u64,
    /// Records in them; where the start lies within a run, at most that many.
    pub records: u64,
    /// When the first batch was appended, or, where the start lies within a run, the run's first;
    /// `None` if there is none.
    pub oldest: Option<Timestamp>,
    /// When the last batch was appended, whether it is still there or not.
    pub last_time: Timestamp,
}

/// What the partitions of a topic hold together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of their batches.
    pub bytes: u64,
    /// Records in them.
    pub records: u64,
}

/// A batch as it is stored.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// How many offsets it covers.
    pub count: u32,
    /// When it was appended.
    pub append_time: Timestamp,
    /// What hooks said about its records.
    pub columns: Columns,
    /// CRC32C of all of `bytes`.
    pub crc: u32,
    /// The batch (Kafka's format v2).
    pub bytes: Bytes,
}

impl StoredBatch {
    /// The offset after its last record.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base_offset.advance(self.count)
    }
}

/// What a read found.
#[derive(Clone, Debug)]
pub struct Read {
    /// The batches, in their order.
    pub batches: Vec<StoredBatch>,
    /// Where to read on. Below it there was nothing else: where compaction left nothing of the
    /// last records, it is the high-water mark, whether there are batches or not.
    pub next: Offset,
}

/// A batch that became durable.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) partition: TopicPartition,
    pub(crate) place: Place,
    /// For the cache; `None` when the log is replayed.
    pub(crate) batch: Option<(StoredBatch, usize)>,
}

#[derive(Debug)]
pub(crate) struct Index {
    partitions: HashMap<TopicPartition, Partition>,
    /// Kept up with every change, because a topic may have ten thousand partitions.
    topics: HashMap<TopicId, Totals>,
    /// The cached batches' partitions and sizes, the oldest first.
    cached: VecDeque<(TopicPartition, usize)>,
    cached_bytes: usize,
    cache_bytes_max: usize,
}

/// What the index says about a read.
pub(crate) enum Found {
    /// There is nothing from the offset up to this one, the high-water mark.
    Nothing(Offset),
    /// In memory.
    Cached(Vec<StoredBatch>),
    /// In the WAL.
    Places(Vec<Place>),
    /// In a segment, if the run has no gap there; else what comes next is behind the run.
    Run(Run),
    /// Outside of these bounds.
    OutOfRange(Bounds),
}

/// An offset, or the run that has to be asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seek {
    Offset(Offset),
    /// The first batch of the run that was appended at the time asked for or later.
    TimeIn(Run),
    /// The first batch of the run such that it and what follows it in the run have at most that
    /// many bytes; the run's end if there is none.
    BytesIn(Run, u64),
}

impl Index {
    pub(crate) fn new(cache_bytes_max: usize) -> Self {
        Self {
            partitions: HashMap::new(),
            topics: HashMap::new(),
            cached: VecDeque::new(),
            cached_bytes: 0,
            cache_bytes_max,
        }
    }

    pub(crate) fn add(&mut self, added: Added) {
        let Added {
            partition: at,
            place,
            batch,
        } = added;
        debug_assert!(
            self.goes_on_at(at, place.base_offset),
            "offsets of {at} leave no gap"
        );
        let partition = self
            .partitions
            .entry(at)
            .or_insert_with(|| Partition::new(place.base_offset));
        partition.add(place);
        let totals = self.topics.entry(at.topic).or_default();
        totals.bytes += u64::from(place.length);
        totals.records += u64::from(place.count);
        if let Some((batch, footprint)) = batch {
            let footprint = footprint + CACHE_OVERHEAD;
            partition.cache.push_back(batch);
            self.cached.push_back((at, footprint));
            self.cached_bytes += footprint;
            self.evict();
        }
    }

    /// Whether a batch with that offset is the partition's next one.
    pub(crate) fn goes_on_at(&self, at: TopicPartition, offset: Offset) -> bool {
        self.partitions
            .get(&at)
            .is_none_or(|partition| partition.end() == offset)
    }

    /// Whether a batch with that offset is one that the partition held already.
    #[cfg(test)]
    pub(crate) fn is_past(&self, at: TopicPartition, offset: Offset) -> bool {
        self.partitions
            .get(&at)
            .is_some_and(|partition| offset < partition.end())
    }

    fn evict(&mut self) {
        while self.cached_bytes > self.cache_bytes_max {
            let Some((at, footprint)) = self.cached.pop_front() else {
                return;
            };
            self.cached_bytes -= footprint;
            if let Some(partition) = self.partitions.get_mut(&at) {
                partition.cache.pop_front();
            }
        }
    }

    pub(crate) fn bounds(&self, at: TopicPartition) -> Option<Bounds> {
        self.partitions.get(&at).map(Partition::bounds)
    }

    /// All partitions, in no order.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = (TopicPartition, Bounds)> {
        self.partitions
            .iter()
            .map(|(at, partition)| (*at, partition.bounds()))
    }

    pub(crate) fn totals(&self, topic: TopicId) -> Totals {
        self.topics.get(&topic).copied().unwrap_or_default()
    }

    /// Looks for the batches from the one that contains `from` on, or, where a gap is, from the
    /// next one on: up to the limits but at least one. Answers with what is in one place.
    pub(crate) fn find(
        &self,
        at: TopicPartition,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Found {
        let Some(partition) = self.partitions.get(&at) else {
            return if from == Offset::ZERO {
                Found::Nothing(from)
            } else {
                Found::OutOfRange(Bounds::default())
            };
        };
        partition.find(from, bytes_max, batches_max)
    }

    /// The first offset appended at that time or later; the high-water mark if there is none.
    pub(crate) fn offset_at(&self, at: TopicPartition, time: Timestamp) -> Seek {
        self.partitions
            .get(&at)
            .map_or(Seek::Offset(Offset::ZERO), |partition| {
                partition.offset_at(time)
            })
    }

    /// The smallest offset where a batch begins such that at most about `bytes` lie at it and
    /// above.
    pub(crate) fn offset_keeping(&self, at: TopicPartition, bytes: u64) -> Seek {
        self.partitions
            .get(&at)
            .map_or(Seek::Offset(Offset::ZERO), |partition| {
                partition.offset_keeping(bytes)
            })
    }

    /// The partitions that have batches in WAL files up to that one.
    #[cfg(test)]
    pub(crate) fn pending_partitions(&self, up_to: FileSequence) -> Vec<TopicPartition> {
        let mut pending: Vec<TopicPartition> = self
            .partitions
            .iter()
            .filter(|(_, partition)| partition.is_pending(up_to))
            .map(|(at, _)| *at)
            .collect();
        pending.sort_unstable();
        pending
    }

    /// The partition's batches in WAL files up to that one, in order.
    pub(crate) fn pending(&self, at: TopicPartition, up_to: FileSequence) -> Vec<Place> {
        self.partitions
            .get(&at)
            .map(|partition| partition.pending(up_to))
            .unwrap_or_default()
    }

    /// A batch of the WAL, if it is in memory.
    pub(crate) fn cached(&self, at: TopicPartition, base: Offset) -> Option<StoredBatch> {
        let cache = &self.partitions.get(&at)?.cache;
        let found = cache.binary_search_by_key(&base, |batch| batch.base_offset);
        cache.get(found.ok()?).cloned()
    }

    /// The batches of these runs' partitions in WAL files up to that one are in these runs now. A
    /// partition's runs come in the order of their offsets. What was trimmed meanwhile stays
    /// gone, and so do partitions.
    pub(crate) fn archived(&mut self, runs: &[Run], up_to: FileSequence) {
        for run in runs {
            self.change(run.partition, |partition| {
                partition.forget_places(run.end, up_to);
                partition
                    .insert_run(*run)
                    .expect("a run goes on where the last one ended");
            });
        }
    }

    /// What was live in the dropped segments is in these runs now.
    pub(crate) fn replace(&mut self, dropped: &[SegmentId], runs: Vec<Run>) {
        let is_dropped = |run: &Run| dropped.contains(&run.segment);
        let touched: Vec<TopicPartition> = self
            .partitions
            .iter()
            .filter(|(_, partition)| partition.runs().iter().any(is_dropped))
            .map(|(at, _)| *at)
            .collect();
        for at in touched {
            self.change(at, |partition| partition.drop_runs(is_dropped));
        }
        for run in runs {
            self.change(run.partition, |partition| {
                partition
                    .insert_run(run)
                    .expect("it stands for a run that is gone");
            });
        }
    }

    /// Records below `start` are gone; with a smaller start than there is, nothing changes.
    pub(crate) fn trim(&mut self, at: TopicPartition, start: Offset) {
        self.change(at, |partition| partition.trim(start));
    }

    /// A partition as a manifest describes it. Its runs follow.
    pub(crate) fn restore(
        &mut self,
        at: TopicPartition,
        start: Offset,
        end: Offset,
        last_time: Timestamp,
    ) {
        let partition = Partition::restored(start, end, last_time);
        self.partitions.insert(at, partition);
    }

    /// A run of a segment that a manifest names. One of a partition that is gone, or below its
    /// start, is not live and not kept.
    ///
    /// # Errors
    /// When it cannot be, beside what is there: says why.
    pub(crate) fn restore_run(&mut self, run: Run) -> Result<(), &'static str> {
        self.change(run.partition, |partition| {
            if run.end > partition.end() {
                return Err("a run reaches beyond the end of its partition");
            }
            partition.insert_run(run)
        })
        .unwrap_or(Ok(()))
    }

    /// Whether readers may be led to this run.
    pub(crate) fn is_live(&self, run: &Run) -> bool {
        self.partitions
            .get(&run.partition)
            .is_some_and(|partition| partition.runs().contains(run))
    }

    /// The runs that readers may be led to, by segment.
    pub(crate) fn live_runs(&self) -> HashMap<SegmentId, Vec<Run>> {
        let mut live: HashMap<SegmentId, Vec<Run>> = HashMap::new();
        for run in self.partitions.values().flat_map(Partition::runs) {
            live.entry(run.segment).or_default().push(*run);
        }
        for runs in live.values_mut() {
            runs.sort_unstable_by_key(|run| run.position);
        }
        live
    }

    /// The live runs of a partition, in order.
    pub(crate) fn runs(&self, at: TopicPartition) -> &[Run] {
        self.partitions.get(&at).map_or(&[], Partition::runs)
    }

    /// Forgets topics that are gone.
    pub(crate) fn retain(&mut self, keep: impl Fn(TopicId) -> bool) {
        self.partitions.retain(|at, _| keep(at.topic));
        self.topics.retain(|topic, _| keep(*topic));
        let partitions = &self.partitions;
        let mut freed = 0;
        self.cached.retain(|(at, footprint)| {
            let kept = partitions.contains_key(at);
            freed += if kept { 0 } else { *footprint };
            kept
        });
        self.cached_bytes -= freed;
    }

    /// Changes a partition, if it is there, and what its topic holds with it.
    fn change<R>(
        &mut self,
        at: TopicPartition,
        change: impl FnOnce(&mut Partition) -> R,
    ) -> Option<R> {
        let partition = self.partitions.get_mut(&at)?;
        let before = partition.totals();
        let answer = change(partition);
        let after = partition.totals();
        let totals = self.topics.entry(at.topic).or_default();
        totals.bytes = totals.bytes + after.bytes - before.bytes;
        totals.records = totals.records + after.records - before.records;
        Some(answer)
    }
}
