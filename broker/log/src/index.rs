//! Where each partition's batches are, and the newest of them in memory. Holds only what is
//! durable: the WAL thread adds a block when its sync is done.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

use crate::entry::Columns;

/// What keeping a batch in the cache costs besides its bytes.
const CACHE_OVERHEAD: usize = 192;

/// Where a batch lies: 40 bytes each.
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

/// What a partition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first offset.
    pub start: Offset,
    /// The offset of the next record; everything below is durable.
    pub high_water_mark: Offset,
    /// Bytes of its batches.
    pub bytes: u64,
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
    /// The cached batches' partitions and sizes, the oldest first.
    cached: VecDeque<(TopicPartition, usize)>,
    cached_bytes: usize,
    cache_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Partition {
    places: Vec<Place>,
    bytes: u64,
    cache: VecDeque<StoredBatch>,
}

impl Partition {
    fn high_water_mark(&self) -> Offset {
        self.places
            .last()
            .map_or(Offset::ZERO, |last| last.base_offset.advance(last.count))
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            start: self
                .places
                .first()
                .map_or(Offset::ZERO, |first| first.base_offset),
            high_water_mark: self.high_water_mark(),
            bytes: self.bytes,
        }
    }
}

/// What the index says about a read.
pub(crate) enum Found {
    /// There is nothing at or above the offset yet.
    Nothing,
    /// In memory.
    Cached(Vec<StoredBatch>),
    /// On disk.
    Places(Vec<Place>),
    /// Outside of these bounds.
    OutOfRange(Bounds),
}

impl Index {
    pub(crate) fn new(cache_bytes_max: usize) -> Self {
        Self {
            partitions: HashMap::new(),
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
        let partition = self.partitions.entry(at).or_default();
        partition.places.push(place);
        partition.bytes += u64::from(place.length);
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
        self.partitions.get(&at).is_none_or(|partition| {
            partition.places.is_empty() || partition.high_water_mark() == offset
        })
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

    /// Looks for the batches from the one that contains `from` on, up to the limits but at least
    /// one.
    pub(crate) fn find(
        &self,
        at: TopicPartition,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Found {
        let Some(partition) = self.partitions.get(&at) else {
            let empty = Bounds {
                start: Offset::ZERO,
                high_water_mark: Offset::ZERO,
                bytes: 0,
            };
            return if from == Offset::ZERO {
                Found::Nothing
            } else {
                Found::OutOfRange(empty)
            };
        };
        let bounds = partition.bounds();
        if from == bounds.high_water_mark {
            return Found::Nothing;
        }
        if from < bounds.start || from > bounds.high_water_mark {
            return Found::OutOfRange(bounds);
        }
        let cached_from = partition.cache.front().map(|batch| batch.base_offset);
        if cached_from.is_some_and(|cached_from| cached_from <= from) {
            let first = partition
                .cache
                .partition_point(|b| b.base_offset.advance(b.count) <= from);
            let batches = partition.cache.iter().skip(first);
            return Found::Cached(limit(batches, bytes_max, batches_max, |b| b.bytes.len()));
        }
        let first = partition
            .places
            .partition_point(|p| p.base_offset.advance(p.count) <= from);
        let places = partition.places.iter().skip(first);
        Found::Places(limit(places, bytes_max, batches_max, |place| {
            place.length as usize
        }))
    }

    /// The first offset appended at that time or later; the high-water mark if there is none.
    pub(crate) fn offset_at(&self, at: TopicPartition, time: Timestamp) -> Offset {
        let Some(partition) = self.partitions.get(&at) else {
            return Offset::ZERO;
        };
        let first = partition
            .places
            .partition_point(|place| place.append_time < time);
        partition
            .places
            .get(first)
            .map_or_else(|| partition.high_water_mark(), |place| place.base_offset)
    }

    /// Forgets topics that are gone.
    pub(crate) fn retain(&mut self, keep: impl Fn(TopicId) -> bool) {
        self.partitions.retain(|at, _| keep(at.topic));
        let partitions = &self.partitions;
        let mut freed = 0;
        self.cached.retain(|(at, footprint)| {
            let kept = partitions.contains_key(at);
            freed += if kept { 0 } else { *footprint };
            kept
        });
        self.cached_bytes -= freed;
    }
}

fn limit<'a, T: Clone + 'a>(
    items: impl Iterator<Item = &'a T>,
    bytes_max: usize,
    items_max: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<T> {
    let mut taken = Vec::new();
    let mut total = 0;
    for item in items.take(items_max.max(1)) {
        total += bytes(item);
        if !taken.is_empty() && total > bytes_max {
            break;
        }
        taken.push(item.clone());
    }
    taken
}
