//! What projections make of the records that the filters keep.

use bytes::Bytes;
use weir_core::shard::LEADER_EPOCH;
use weir_host::{Input, Transformed};
use weir_log::StoredBatch;
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, Records, stamp};
use weir_wire::error::Fault;
use weir_wire::id::Timestamp;

use super::damaged;

/// Records as they are shown so far.
#[derive(Debug)]
pub(super) struct View {
    base_timestamp: Timestamp,
    /// Uncompressed, at the offset deltas that they have in the stored batch.
    records: Bytes,
    /// The position of each in the stored batch.
    sources: Vec<u32>,
    /// Whether any differs from what is stored.
    changed: bool,
}

impl View {
    /// The records of a batch that are kept, as they are stored.
    pub(super) fn new(records: &Bytes, header: &BatchHeader, keep: &[bool]) -> Result<Self, Fault> {
        let positions = (0_u32..).zip(keep).filter(|(_, keep)| **keep);
        let sources: Vec<u32> = positions.map(|(position, _)| position).collect();
        if sources.len() == keep.len() {
            return Ok(Self {
                base_timestamp: header.base_timestamp,
                records: records.clone(),
                sources,
                changed: false,
            });
        }
        let mut builder = BatchBuilder::with_capacity(records.len());
        for (record, keep) in Records::new(records, header.count).zip(keep) {
            let record = record.map_err(damaged)?;
            if *keep {
                let timestamp = record.timestamp(header.base_timestamp);
                builder.push_body_at(timestamp, record.offset_delta, record.body());
            }
        }
        let (base_timestamp, records) = section(builder)?;
        Ok(Self {
            base_timestamp,
            records,
            sources,
            changed: true,
        })
    }

    /// How many records are shown.
    pub(super) fn count(&self) -> u32 {
        // A batch has no more, and they are some of it.
        self.sources.len() as u32
    }

    /// Bytes of what is shown.
    pub(super) fn bytes_len(&self) -> usize {
        self.records.len()
    }

    /// Whether it is what is stored, byte for byte.
    pub(super) const fn is_as_stored(&self) -> bool {
        !self.changed
    }

    pub(super) fn sources(&self) -> &[u32] {
        &self.sources
    }

    pub(super) fn input(&self) -> Input {
        Input {
            base_timestamp: self.base_timestamp,
            count: self.count(),
            records: self.records.clone(),
        }
    }

    /// Takes a projection's answer. The records on which it failed stay as they were, or go.
    pub(super) fn take(&mut self, answer: Transformed, keep_failed: bool) -> Result<(), Fault> {
        if answer.failures.is_empty() {
            self.changed |= !answer.unchanged;
            self.records = answer.records;
            return Ok(());
        }
        let mut builder = BatchBuilder::with_capacity(self.records.len());
        let mut sources = Vec::with_capacity(self.sources.len());
        let mut shown = Records::new(&answer.records, answer.count);
        let mut shown_of = answer.sources.iter().peekable();
        let before = Records::new(&self.records, self.count());
        for ((record, position), source) in before.zip(0_u32..).zip(&self.sources) {
            let record = record.map_err(damaged)?;
            let record = if shown_of.next_if_eq(&&position).is_some() {
                let shown = shown.next().expect("there is one for each source");
                shown.map_err(damaged)?
            } else if keep_failed {
                record
            } else {
                continue;
            };
            let timestamp = record.timestamp(self.base_timestamp);
            builder.push_body_at(timestamp, record.offset_delta, record.body());
            sources.push(*source);
        }
        let (base_timestamp, records) = section(builder)?;
        *self = Self {
            base_timestamp,
            records,
            sources,
            changed: true,
        };
        Ok(())
    }

    /// The records as a batch in the place of the stored one.
    pub(super) fn batch(&self, stored: &StoredBatch, header: &BatchHeader) -> Result<Bytes, Fault> {
        let mut builder = BatchBuilder::with_capacity(self.records.len());
        for record in Records::new(&self.records, self.count()) {
            let record = record.map_err(damaged)?;
            let timestamp = record.timestamp(self.base_timestamp);
            builder.push_body_at(timestamp, record.offset_delta, record.body());
        }
        builder.extend_to(header.last_offset_delta);
        let mut batch = builder.finish(header.compression).map_err(damaged)?;
        let _ = stamp(&mut batch, stored.base_offset, LEADER_EPOCH);
        Ok(Bytes::from(batch))
    }
}

/// The records of a builder, and what their timestamps count from.
fn section(builder: BatchBuilder) -> Result<(Timestamp, Bytes), Fault> {
    let batch = Bytes::from(builder.finish(Compression::None).map_err(damaged)?);
    let header = BatchHeader::parse(&batch).map_err(damaged)?;
    Ok((header.base_timestamp, batch.slice(HEADER_LEN..)))
}

#[cfg(test)]
mod tests;
