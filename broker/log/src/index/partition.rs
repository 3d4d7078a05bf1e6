//! One partition: its runs, then its places in the WAL, both in the order of their offsets, and
//! the newest batches in memory.

use std::collections::VecDeque;

use weir_wire::id::{Offset, Timestamp};

use super::{Bounds, Found, Place, Seek, StoredBatch, Totals};
use crate::ids::FileSequence;
use crate::segment::Run;

#[derive(Debug)]
pub(super) struct Partition {
    start: Offset,
    end: Offset,
    last_time: Timestamp,
    runs: Vec<Run>,
    /// What the runs hold from the start on.
    in_runs: Totals,
    places: VecDeque<Place>,
    place_bytes: u64,
    /// The newest batches: the index says when one goes, the oldest first.
    pub(super) cache: VecDeque<StoredBatch>,
    /// Below it, they are no longer what the partition holds.
    cache_from: Offset,
}

impl Partition {
    /// One whose first batch has that offset.
    pub(super) fn new(start: Offset) -> Self {
        Self::restored(start, start, Timestamp::default())
    }

    pub(super) fn restored(start: Offset, end: Offset, last_time: Timestamp) -> Self {
        Self {
            start,
            end,
            last_time,
            runs: Vec::new(),
            in_runs: Totals::default(),
            places: VecDeque::new(),
            place_bytes: 0,
            cache: VecDeque::new(),
            cache_from: Offset::ZERO,
        }
    }

    pub(super) fn end(&self) -> Offset {
        self.end
    }

    pub(super) fn runs(&self) -> &[Run] {
        &self.runs
    }

    pub(super) fn totals(&self) -> Totals {
        let in_places = self
            .places
            .front()
            .map_or(0, |first| self.end.since(first.base_offset.max(self.start)));
        Totals {
            bytes: self.in_runs.bytes + self.place_bytes,
            records: self.in_runs.records + in_places,
        }
    }

    pub(super) fn bounds(&self) -> Bounds {
        let Totals { bytes, records } = self.totals();
        let in_runs = self.runs.first().map(|run| run.first_time);
        let in_places = || self.places.front().map(|place| place.append_time);
        Bounds {
            start: self.start,
            high_water_mark: self.end,
            bytes,
            records,
            oldest: in_runs.or_else(in_places),
            last_time: self.last_time,
        }
    }

    pub(super) fn add(&mut self, place: Place) {
        self.end = place.end();
        self.last_time = place.append_time;
        self.place_bytes += u64::from(place.length);
        self.places.push_back(place);
    }

    pub(super) fn find(&self, from: Offset, bytes_max: usize, batches_max: usize) -> Found {
        if from == self.end {
            return Found::Nothing(self.end);
        }
        if from < self.start || from > self.end {
            return Found::OutOfRange(self.bounds());
        }
        let cached_from = self.cache.front().map(|batch| batch.base_offset);
        if cached_from.is_some_and(|cached_from| cached_from.max(self.cache_from) <= from) {
            let first = self.cache.partition_point(|batch| batch.end() <= from);
            let batches = self.cache.iter().skip(first);
            return Found::Cached(limit(batches, bytes_max, batches_max, |b| b.bytes.len()));
        }
        if let Some(run) = self.runs.get(self.runs.partition_point(|r| r.end <= from)) {
            return Found::Run(*run);
        }
        let first = self.places.partition_point(|place| place.end() <= from);
        let places = self.places.range(first..);
        match limit(places, bytes_max, batches_max, |p| p.length as usize) {
            // Compaction left nothing of the last records.
            places if places.is_empty() => Found::Nothing(self.end),
            places => Found::Places(places),
        }
    }

    pub(super) fn offset_at(&self, time: Timestamp) -> Seek {
        let run = self.runs.partition_point(|run| run.last_time < time);
        let offset = match self.runs.get(run) {
            Some(run) if run.first_time < time => return Seek::TimeIn(*run),
            Some(run) => run.base,
            None => {
                let first = self.places.partition_point(|p| p.append_time < time);
                let place = self.places.get(first);
                place.map_or(self.end, |place| place.base_offset)
            }
        };
        Seek::Offset(offset.max(self.start))
    }

    pub(super) fn offset_keeping(&self, bytes: u64) -> Seek {
        if self.totals().bytes <= bytes {
            return Seek::Offset(self.start);
        }
        let mut left = bytes;
        for place in self.places.iter().rev() {
            match left.checked_sub(place.length.into()) {
                Some(rest) => left = rest,
                None => return Seek::Offset(place.end()),
            }
        }
        for run in self.runs.iter().rev() {
            match left.checked_sub(run.batch_bytes) {
                Some(rest) => left = rest,
                None => return Seek::BytesIn(*run, left),
            }
        }
        Seek::Offset(self.start)
    }

    #[cfg(test)]
    pub(super) fn is_pending(&self, up_to: FileSequence) -> bool {
        self.places
            .front()
            .is_some_and(|first| first.file() <= up_to)
    }

    pub(super) fn pending(&self, up_to: FileSequence) -> Vec<Place> {
        let count = self.places.partition_point(|place| place.file() <= up_to);
        self.places.range(..count).copied().collect()
    }

    /// Places in files up to that one, and below that offset, are no longer needed.
    pub(super) fn forget_places(&mut self, below: Offset, up_to: FileSequence) {
        self.pop_places(|place| place.file() <= up_to && place.end() <= below);
    }

    fn pop_places(&mut self, goes: impl Fn(&Place) -> bool) {
        while let Some(place) = self.places.pop_front_if(|place| goes(place)) {
            self.place_bytes -= u64::from(place.length);
        }
        // Ten thousand partitions do not keep the memory of their busiest times.
        if self.places.capacity() > 64 && self.places.capacity() / 4 > self.places.len() {
            self.places.shrink_to_fit();
        }
    }

    /// Takes in a run, unless all of it lies below the start.
    pub(super) fn insert_run(&mut self, run: Run) -> Result<(), &'static str> {
        if run.end <= self.start {
            return Ok(());
        }
        let at = self.runs.partition_point(|other| other.base < run.base);
        let before = at.checked_sub(1).and_then(|before| self.runs.get(before));
        if before.is_some_and(|before| before.end > run.base)
            || self.runs.get(at).is_some_and(|after| after.base < run.end)
            || self
                .places
                .front()
                .is_some_and(|first| first.base_offset < run.end)
        {
            return Err("two runs hold the same offsets of a partition");
        }
        self.runs.insert(at, run);
        self.recount_runs();
        Ok(())
    }

    /// Runs go that others will stand for. What was compacted away from them may still be in
    /// memory, and must not be served from there.
    pub(super) fn drop_runs(&mut self, goes: impl Fn(&Run) -> bool) {
        let last = self.runs.iter().rfind(|run| goes(run));
        self.cache_from = self
            .cache_from
            .max(last.map_or(Offset::ZERO, |run| run.end));
        self.runs.retain(|run| !goes(run));
        self.recount_runs();
    }

    pub(super) fn trim(&mut self, start: Offset) {
        let start = start.min(self.end);
        if start <= self.start {
            return;
        }
        self.start = start;
        let gone = self.runs.partition_point(|run| run.end <= start);
        self.runs.drain(..gone);
        self.recount_runs();
        self.pop_places(|place| place.end() <= start);
    }

    fn recount_runs(&mut self) {
        let start = self.start;
        self.in_runs = Totals::default();
        for run in &self.runs {
            let (bytes, records) = (run.batch_bytes, run.records);
            let live = run.end.since(start.max(run.base));
            let all = run.end.since(run.base);
            // Only the first run can lie below the start in part. Nobody knows which of its
            // batches do without reading it.
            let part = u128::from(bytes) * u128::from(live) / u128::from(all.max(1));
            self.in_runs.bytes += u64::try_from(part).unwrap_or(bytes);
            self.in_runs.records += records.min(live);
        }
    }
}

/// As many as fit the limits, but at least one.
fn limit<'a, T: Clone + 'a>(
    items: impl Iterator<Item = &'a T>,
    bytes_max: usize,
    items_max: usize,
    bytes: impl Fn(&T) -> usize,
) -> Vec<T> {
    let mut taken = Vec::new();
    let mut total = 0_usize;
    for item in items.take(items_max.max(1)) {
        total = total.saturating_add(bytes(item));
        if !taken.is_empty() && total > bytes_max {
            break;
        }
        taken.push(item.clone());
    }
    taken
}
