//! Records of a topic, by an ordinary subscription: nobody notices.

use std::collections::HashMap;

use bytes::{Buf, Bytes};
use weir_sdk::{Event, ReceivedBatch, Subscriber};
use weir_wire::batch::Records;
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId};

use super::{Assembly, Batch, Place};
use crate::exit::Failure;

type Partition = (TopicId, PartitionId);

/// Where a range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Before that offset, in each partition.
    Offset(Offset),
    /// Before the first batch that was appended then or later.
    Time(Timestamp),
}

/// The records of a range.
#[derive(Debug)]
pub struct TopicRecords {
    subscriber: Subscriber,
    /// Where each partition ends: where it ended at the start, or earlier.
    ends: HashMap<Partition, Offset>,
    /// The next offset of each partition that is wanted.
    next: HashMap<Partition, Offset>,
    before: Option<Timestamp>,
    open: Option<Open>,
    total: u64,
    assembly: Assembly,
}

/// A batch whose records are being taken.
#[derive(Debug)]
struct Open {
    batch: ReceivedBatch,
    /// The records section behind those that were taken.
    rest: Bytes,
    left: u32,
}

impl TopicRecords {
    /// The range from where the subscription began.
    pub fn new(subscriber: Subscriber, end: Option<End>, limit: Option<u64>) -> Self {
        let mut ends = HashMap::new();
        let mut next = HashMap::new();
        let mut total = 0;
        for partition in subscriber.partitions() {
            let at = (partition.topic_id, partition.partition);
            let last = match end {
                Some(End::Offset(offset)) => partition.end.min(offset),
                Some(End::Time(_)) | None => partition.end,
            };
            total += last.max(partition.start).since(partition.start);
            ends.insert(at, last);
            next.insert(at, partition.start);
        }
        Self {
            subscriber,
            ends,
            next,
            before: match end {
                Some(End::Time(time)) => Some(time),
                Some(End::Offset(_)) | None => None,
            },
            open: None,
            total: limit.map_or(total, |limit| limit.min(total)),
            assembly: Assembly::new(limit),
        }
    }

    /// How many records there are at most.
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The next batch; none at the end.
    pub async fn next(&mut self) -> Result<Option<Batch>, Failure> {
        while !self.assembly.is_full() {
            if self.open.is_some() {
                self.take_records()?;
                continue;
            }
            if self.subscriber.is_caught_up_to(&self.ends) {
                break;
            }
            match self.subscriber.next_event().await {
                None => break,
                Some(Err(error)) => return Err(error.into()),
                Some(Ok(Event::Records(batch))) => self.open(batch),
                Some(Ok(_)) => {}
            }
        }
        self.assembly.take()
    }

    fn open(&mut self, batch: ReceivedBatch) {
        let at = (batch.topic_id(), batch.partition());
        if self.before.is_some_and(|time| batch.append_time() >= time) {
            // Nothing behind it was appended earlier.
            let reached = self.next.get(&at).copied().unwrap_or_default();
            self.ends.insert(at, reached);
            return;
        }
        self.open = Some(Open {
            rest: batch.records_section().clone(),
            left: batch.count(),
            batch,
        });
    }

    /// Takes records of the open batch until it ends or the assembly is full.
    fn take_records(&mut self) -> Result<(), Failure> {
        let Some(mut open) = self.open.take() else {
            return Ok(());
        };
        let partition = open.batch.partition();
        let at = (open.batch.topic_id(), partition);
        let wanted = self.next.get(&at).copied().unwrap_or_default();
        let end = self.ends.get(&at).copied().unwrap_or_default();
        let header = *open.batch.header();
        let mut records = Records::new(&open.rest, open.left);
        while !self.assembly.is_full() && open.left > 0 {
            let record = records.next().and_then(Result::ok).ok_or_else(|| {
                let topic = open.batch.topic();
                let base = header.base_offset;
                Failure::failed(format!(
                    "a batch of topic {topic}, partition {partition}, offset {base} is malformed"
                ))
            })?;
            open.left -= 1;
            let offset = header.base_offset.advance(record.offset_delta);
            if offset < wanted || offset >= end {
                continue;
            }
            let timestamp = record.timestamp(header.base_timestamp);
            self.assembly.builder.push_body(timestamp, record.body());
            self.assembly.added(Place::Offset(partition, offset));
        }
        let read = open.rest.len() - records.rest().len();
        if open.left == 0 {
            self.next.insert(at, open.batch.next());
        } else {
            open.rest.advance(read);
            self.open = Some(open);
        }
        Ok(())
    }
}
