//! A lane: one stream that carries the records of some partitions of a subscription.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tokio::task::JoinHandle;
use weir_log::{ReadError, StoredBatch};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::FrameMessage;
use weir_wire::id::{Offset, SubscriptionId, TopicId, TopicPartition};
use weir_wire::subscribe::{LaneOpened, Progress, Records, SubscribedPartition};

use super::credit::Credit;
use super::filters::{Filters, Kept};
use crate::frames::send;
use crate::state::Shared;

/// Bytes of batches read at once for one partition.
const READ_BYTES: usize = 2 << 20;
/// Batches read at once for one partition.
const READ_BATCHES: usize = 256;
/// Batches that filters emptied before the subscriber hears how far the lane has looked.
const SILENT_MAX: u32 = 64;

/// How many partitions each topic had that is read whole.
pub(super) type Counts = HashMap<TopicId, u32>;

pub(super) struct Lane {
    shared: Arc<Shared>,
    subscription: SubscriptionId,
    filters: Arc<Filters>,
    credit: Arc<Credit>,
    with_keys: bool,
    counts: Arc<Counts>,
    positions: Vec<Position>,
    ahead: Option<Ahead>,
}

/// A read from disk that runs while the batches before it are sent.
struct Ahead {
    index: usize,
    from: Offset,
    batches: JoinHandle<Result<Vec<StoredBatch>, ReadError>>,
}

/// How far a lane is in one partition.
struct Position {
    at: TopicPartition,
    next: Offset,
    /// What the subscriber was told last.
    told: Offset,
    /// Records left out since then.
    filtered_out: u64,
    /// Batches left out whole since then.
    silent: u32,
}

/// The stream or the connection is gone; nobody is left to tell.
struct Gone;

enum Stop {
    Gone,
    Fault(Fault),
}

impl From<Gone> for Stop {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl Lane {
    pub(super) fn new<'a>(
        shared: Arc<Shared>,
        subscription: SubscriptionId,
        filters: Arc<Filters>,
        credit: Arc<Credit>,
        with_keys: bool,
        counts: Arc<Counts>,
        partitions: impl Iterator<Item = &'a SubscribedPartition>,
    ) -> Self {
        let positions = partitions.map(|it| Position {
            at: TopicPartition {
                topic: it.topic,
                partition: it.partition,
            },
            next: it.next,
            told: it.next,
            filtered_out: 0,
            silent: 0,
        });
        let positions = positions.collect();
        Self {
            shared,
            subscription,
            filters,
            credit,
            with_keys,
            counts,
            positions,
            ahead: None,
        }
    }

    /// Sends until the subscription ends; answers why, if the subscriber ought to know.
    pub(super) async fn run(mut self, connection: &Connection) -> Option<Fault> {
        match self.pump(connection).await {
            Ok(()) | Err(Stop::Gone) => None,
            Err(Stop::Fault(fault)) => Some(fault),
        }
    }

    async fn pump(&mut self, connection: &Connection) -> Result<(), Stop> {
        let mut stream = connection.open_uni().await.map_err(|_| Gone)?;
        let stopped = stream.stopped();
        tokio::select! {
            // An idle lane would not learn of it by writing.
            _ = stopped => Err(Stop::Gone),
            ended = self.pump_into(&mut stream) => ended,
        }
    }

    async fn pump_into(&mut self, stream: &mut SendStream) -> Result<(), Stop> {
        let opened = LaneOpened {
            subscription: self.subscription,
        };
        send(stream, &opened).await.map_err(|_| Gone)?;
        let partitions = self.positions.iter().map(|position| position.at).collect();
        let tail = self.shared.tails.register(partitions);
        loop {
            let mut idle = true;
            for index in 0..self.positions.len() {
                self.credit.available().await;
                let batches = self.read(index).await.map_err(Stop::Fault)?;
                idle &= batches.is_empty();
                for batch in batches {
                    self.credit.available().await;
                    self.deliver(stream, index, &batch).await?;
                }
                self.report(stream, index, SILENT_MAX).await?;
            }
            if idle {
                for index in 0..self.positions.len() {
                    self.report(stream, index, 0).await?;
                }
                tail.changed().await;
            }
        }
    }

    /// The next batches of a partition: from memory where they are there, else from disk, off
    /// this thread and ahead of need.
    async fn read(&mut self, index: usize) -> Result<Vec<StoredBatch>, Fault> {
        let Position { at, next, .. } = self.positions[index];
        self.check(at.topic)?;
        let ahead = self.ahead.take_if(|ahead| ahead.index == index);
        let reading = match ahead.filter(|ahead| ahead.from == next) {
            Some(ahead) => ahead.batches,
            None => match self
                .shared
                .reader
                .read_cached(at, next, READ_BYTES, READ_BATCHES)
            {
                Some(batches) => return Ok(batches),
                None => self.read_from_disk(at, next),
            },
        };
        let read = reading.await;
        let read = read.map_err(|error| Fault::new(ErrorCode::Internal, error.to_string()))?;
        let batches = read.map_err(|error| self.unreadable(&error))?;
        if let (None, Some(last)) = (&self.ahead, batches.last()) {
            let from = last.base_offset.advance(last.count);
            let batches = self.read_from_disk(at, from);
            self.ahead = Some(Ahead {
                index,
                from,
                batches,
            });
        }
        Ok(batches)
    }

    /// The topic is there, and has no partitions that the subscriber does not know of.
    fn check(&self, topic: TopicId) -> Result<(), Fault> {
        let Some(view) = self.shared.topics.view(topic) else {
            return Err(Fault::new(ErrorCode::UnknownTopic, "the topic was deleted"));
        };
        match self.counts.get(&topic) {
            Some(known) if view.target.partitions > *known => {
                let text = format!(
                    "topic \"{}\" has {} partitions now; subscribe again to read them all",
                    view.target.name, view.target.partitions
                );
                Err(Fault::new(ErrorCode::PartitionsAdded, text))
            }
            _ => Ok(()),
        }
    }

    /// Why a partition cannot be read on, with the topic's name where a reader fell behind.
    fn unreadable(&self, error: &ReadError) -> Fault {
        match error {
            ReadError::OutOfRange {
                partition: at,
                offset,
                start,
                ..
            } if offset < start
                && let Some(view) = self.shared.topics.view(at.topic) =>
            {
                let (name, partition) = (&view.target.name, at.partition);
                let text = format!(
                    "offset {offset} of topic \"{name}\" partition {partition} was removed \
                     before it was read, by retention or a truncation; go on from {start}"
                );
                Fault::new(ErrorCode::OffsetOutOfRange, text)
            }
            error => read_fault(error),
        }
    }

    fn read_from_disk(
        &self,
        at: TopicPartition,
        from: Offset,
    ) -> JoinHandle<Result<Vec<StoredBatch>, ReadError>> {
        let reader = self.shared.reader.clone();
        tokio::task::spawn_blocking(move || reader.read(at, from, READ_BYTES, READ_BATCHES))
    }

    async fn deliver(
        &mut self,
        stream: &mut SendStream,
        index: usize,
        batch: &StoredBatch,
    ) -> Result<(), Stop> {
        let from = self.positions[index].next;
        let skip = u32::try_from(from.since(batch.base_offset)).unwrap_or(u32::MAX);
        let kept = self
            .filters
            .apply(&self.shared.unfolded, batch, skip)
            .await
            .map_err(Stop::Fault)?;
        let metrics = &self.shared.metrics;
        metrics.records_filtered.inc_by(kept.filtered_out);
        let position = &mut self.positions[index];
        position.next = batch.base_offset.advance(batch.count);
        position.filtered_out += kept.filtered_out;
        let Kept {
            batch: Some(bytes),
            count,
            ordering_keys,
            ..
        } = kept
        else {
            position.silent += 1;
            return Ok(());
        };
        let end = self.shared.reader.bounds(position.at);
        let records = Records {
            topic: position.at.topic,
            partition: position.at.partition,
            next: position.next,
            append_time: batch.append_time,
            ordering_keys: if self.with_keys {
                ordering_keys
            } else {
                Bytes::new()
            },
            filtered_out: std::mem::take(&mut position.filtered_out),
            end: end.map_or(position.next, |bounds| bounds.high_water_mark),
            count,
        };
        (position.told, position.silent) = (position.next, 0);
        let size = bytes.len();
        self.credit.spend(size, count);
        let mut parts = [Bytes::from(records.to_frame(size)), bytes];
        stream
            .write_all_chunks(&mut parts)
            .await
            .map_err(|_| Gone)?;
        metrics.records_out.inc_by(u64::from(count));
        metrics.bytes_out.inc_by(size as u64);
        Ok(())
    }

    /// Tells how far the lane has looked, if it has looked at more than `silent` batches since
    /// the subscriber heard of it.
    async fn report(
        &mut self,
        stream: &mut SendStream,
        index: usize,
        silent: u32,
    ) -> Result<(), Stop> {
        let position = &mut self.positions[index];
        if position.told == position.next || position.silent < silent {
            return Ok(());
        }
        let end = self.shared.reader.bounds(position.at);
        let progress = Progress {
            topic: position.at.topic,
            partition: position.at.partition,
            next: position.next,
            end: end.map_or(position.next, |bounds| bounds.high_water_mark),
            filtered_out: std::mem::take(&mut position.filtered_out),
        };
        (position.told, position.silent) = (position.next, 0);
        send(stream, &progress).await.map_err(|_| Gone)?;
        Ok(())
    }
}

pub(crate) fn read_fault(error: &ReadError) -> Fault {
    let code = match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptLog,
        _ => ErrorCode::Internal,
    };
    Fault::new(code, error.to_string())
}
