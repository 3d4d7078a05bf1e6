//! Reading batches from the WAL: those that lie close together in one go.

use std::ops::Range;

use bytes::Bytes;
use weir_wire::id::TopicPartition;

use super::Disk;
use super::open_files::FileKey;
use crate::error::ReadError;
use crate::format::entry::{ENVELOPE_FIXED, Envelope};
use crate::format::fields::Fields;
use crate::index::{Place, StoredBatch};
use crate::page_buf::PAGE_BYTES;

/// Reading what nobody asked for costs less than asking the disk again, up to that many bytes.
const GAP_BYTES: u64 = 64 << 10;
/// What is read at once at most, unless a batch is larger.
const STRETCH_BYTES: u64 = 4 << 20;

impl Disk {
    /// The batches at these places, as far as they are in the same file and sound: at least the
    /// first, or why not.
    pub(super) fn read_places(
        &self,
        at: TopicPartition,
        places: &[Place],
    ) -> Result<Vec<StoredBatch>, ReadError> {
        let [first, ..] = places else {
            return Ok(Vec::new());
        };
        let others = places.iter().position(|place| place.file != first.file);
        let places = places
            .get(..others.unwrap_or(places.len()))
            .unwrap_or(places);
        match self.read_file_places(at, places) {
            Err(_) if places.len() > 1 => {
                self.read_file_places(at, places.get(..1).unwrap_or(places))
            }
            other => other,
        }
    }

    fn read_file_places(
        &self,
        at: TopicPartition,
        places: &[Place],
    ) -> Result<Vec<StoredBatch>, ReadError> {
        let mut batches = Vec::with_capacity(places.len());
        let stretches = Stretches::read(self, places)?;
        for place in places {
            match self.decode_place(at, place, &stretches) {
                Ok(batch) => batches.push(batch),
                Err(error) if batches.is_empty() => return Err(error),
                // What is sound is served; the next read comes upon this one first.
                Err(_) => break,
            }
        }
        Ok(batches)
    }

    fn decode_place(
        &self,
        at: TopicPartition,
        place: &Place,
        stretches: &Stretches,
    ) -> Result<StoredBatch, ReadError> {
        let key = FileKey::Wal(place.file());
        let corrupt = |offset, what| self.open.corrupt(key, offset, what);
        let envelope_at = u64::from(place.envelope);
        let head = stretches.slice(envelope_range(place));
        let mut fields = Fields::new(&head);
        let envelope = Envelope::decode(&mut fields)
            .map_err(|error| corrupt(envelope_at + error.at as u64, error.what))?;
        let is_it = envelope.partition == at
            && envelope.base_offset == place.base_offset
            && envelope.count == place.count
            && envelope.batch_length == place.length;
        if !is_it {
            return Err(corrupt(envelope_at, "another batch stands there"));
        }
        let batch = batch_range(place);
        let (offset, bytes) = (batch.start, stretches.slice(batch));
        if crc32c::crc32c(&bytes) != envelope.batch_crc {
            return Err(corrupt(offset, "a batch's checksum is wrong"));
        }
        Ok(StoredBatch {
            base_offset: place.base_offset,
            count: place.count,
            append_time: place.append_time,
            columns: envelope.columns,
            crc: envelope.batch_crc,
            bytes,
        })
    }
}

/// Where an envelope and its columns lie.
fn envelope_range(place: &Place) -> Range<u64> {
    let start = u64::from(place.envelope);
    start..start + ENVELOPE_FIXED as u64 + u64::from(place.columns)
}

/// Where a batch lies.
fn batch_range(place: &Place) -> Range<u64> {
    let start = match place.extent_page {
        0 => envelope_range(place).end,
        page => u64::from(page) * PAGE_BYTES as u64,
    };
    start..start + u64::from(place.length)
}

/// Parts of a file, in order, that together hold everything that was asked for.
#[derive(Debug)]
struct Stretches(Vec<(u64, Bytes)>);

impl Stretches {
    /// Reads what these places take up; they are in one file.
    fn read(disk: &Disk, places: &[Place]) -> Result<Self, ReadError> {
        let mut stretches = Vec::new();
        let Some(first) = places.first() else {
            return Ok(Self(stretches));
        };
        let key = FileKey::Wal(first.file());
        for range in merge(places) {
            let length = narrow(range.end - range.start);
            stretches.push((range.start, disk.open.read(key, range.start, length)?));
        }
        Ok(Self(stretches))
    }

    /// A part of what was asked for.
    fn slice(&self, range: Range<u64>) -> Bytes {
        let behind = self.0.partition_point(|(start, _)| *start <= range.start);
        let (start, bytes) = behind
            .checked_sub(1)
            .and_then(|at| self.0.get(at))
            .expect("it was asked for");
        bytes.slice(narrow(range.start - start)..narrow(range.end - start))
    }
}

/// What these places take up, with small gaps filled.
fn merge(places: &[Place]) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = places
        .iter()
        .flat_map(|place| [envelope_range(place), batch_range(place)])
        .collect();
    ranges.sort_unstable_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last)
                if range.start <= last.end + GAP_BYTES
                    && (range.end - last.start <= STRETCH_BYTES || range.start <= last.end) =>
            {
                last.end = last.end.max(range.end);
            }
            _ => merged.push(range),
        }
    }
    merged
}

fn narrow(length: u64) -> usize {
    usize::try_from(length).expect("what is read at once fits memory")
}
