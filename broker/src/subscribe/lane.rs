//! A lane: one stream that carries the records of some partitions of a subscription.

use std::collections::HashMap;
use std::iter::Peekable;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use quinn::{Connection, SendStream};
use tokio::task::JoinHandle;
use weir_log::{ReadError, StoredBatch};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::FrameMessage;
use weir_wire::id::{Offset, SubscriptionId, TopicId, TopicPartition};
use weir_wire::subscribe::{LaneOpened, Progress, Records, SubscribedPartition};

use super::credit::Credit;
use super::filters::{Filters, Judging, Kept, Wanted};
use crate::frames;
use crate::state::Shared;

/// Bytes of batches read at once for one partition.
const READ_BYTES: usize = 2 << 20;
/// Batches read at once for one partition.
const READ_BATCHES: usize = 256;
/// Batches that go through the filters together: so many bytes that the way to the plugins' threads
/// and back does not count, and so few that the next ones can go while these are sent.
const TOGETHER_BYTES: usize = 256 << 10;
const TOGETHER_BATCHES: usize = 64;
/// Stretches that are skipped before others have their turn.
const SKIPS_MAX: usize = 1024;
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
        frames::send(stream, &opened).await.map_err(|_| Gone)?;
        let partitions = self.positions.iter().map(|position| position.at).collect();
        let tail = self.shared.tails.register(partitions);
        loop {
            let mut idle = true;
            for index in 0..self.positions.len() {
                self.credit.available().await;
                let skipped = self.skip(index);
                let batches = self.read(index).await.map_err(Stop::Fault)?;
                idle &= batches.is_empty() && !skipped;
                self.deliver(stream, index, batches).await?;
                self.report(stream, index, SILENT_MAX).await?;
                if skipped {
                    // It took no wait so far, and there may be much more to skip.
                    tokio::task::yield_now().await;
                }
            }
            if idle {
                for index in 0..self.positions.len() {
                    self.report(stream, index, 0).await?;
                }
                tail.changed().await;
            }
        }
    }

    /// Goes past what is known to be of no interest; whether there was any.
    fn skip(&mut self, index: usize) -> bool {
        let Some(position) = self.positions.get_mut(index) else {
            return false;
        };
        let start = self.shared.reader.bounds(position.at);
        if start.is_none_or(|bounds| position.next < bounds.start) {
            // The reader says what that means.
            return false;
        }
        let before = position.next;
        for _ in 0..SKIPS_MAX {
            let Some(skip) = self.filters.skip(&self.shared, position.at, position.next) else {
                break;
            };
            self.filters.skipped(&self.shared, skip);
            position.next = skip.to;
            position.filtered_out += skip.records;
            position.silent = SILENT_MAX;
            self.shared.metrics.records_filtered.inc_by(skip.records);
        }
        position.next > before
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
            let mut from = last.end();
            for _ in 0..SKIPS_MAX {
                let Some(skip) = self.filters.skip(&self.shared, at, from) else {
                    break;
                };
                from = skip.to;
            }
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

    /// Sends what the filters leave of batches. While some are sent, the next ones are judged.
    async fn deliver(
        &mut self,
        stream: &mut SendStream,
        index: usize,
        batches: Vec<StoredBatch>,
    ) -> Result<(), Stop> {
        let mut from = self.positions[index].next;
        let mut batches = batches.into_iter().peekable();
        let mut coming = self.judge(index, together(&mut batches, &mut from));
        while let Some(judging) = coming {
            coming = self.judge(index, together(&mut batches, &mut from));
            let judged = judging.end().await;
            for kept in judged.kept {
                self.credit.available().await;
                self.send(stream, index, kept).await?;
            }
            if let Some(fault) = judged.fault {
                return Err(Stop::Fault(fault));
            }
        }
        Ok(())
    }

    /// Sends batches on their way through the filters, if there are any.
    fn judge(&self, index: usize, wanted: Vec<Wanted>) -> Option<Judging> {
        let at = self.positions[index].at;
        (!wanted.is_empty()).then(|| self.filters.begin(&self.shared, at, wanted))
    }

    async fn send(
        &mut self,
        stream: &mut SendStream,
        index: usize,
        kept: Kept,
    ) -> Result<(), Stop> {
        if !kept.letters.is_empty() {
            let topic = self.positions[index].at.topic;
            let stored = self
                .filters
                .store_letters(&self.shared, topic, &kept.letters);
            stored.await.map_err(Stop::Fault)?;
        }
        let metrics = &self.shared.metrics;
        metrics.records_filtered.inc_by(kept.filtered_out);
        let position = &mut self.positions[index];
        position.next = kept.next;
        position.filtered_out += kept.filtered_out;
        let Kept {
            batch: Some(bytes),
            count,
            ordering_keys,
            append_time,
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
            append_time,
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
        self.shared.activity.delivered(Instant::now());
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
        frames::send(stream, &progress).await.map_err(|_| Gone)?;
        Ok(())
    }
}

/// As many of the batches as go through the filters together.
fn together(
    batches: &mut Peekable<impl Iterator<Item = StoredBatch>>,
    from: &mut Offset,
) -> Vec<Wanted> {
    let (mut wanted, mut bytes) = (Vec::new(), 0);
    while let Some(batch) = batches.next_if(|_| bytes < TOGETHER_BYTES) {
        bytes += batch.bytes.len();
        let end = batch.end();
        wanted.push(Wanted { batch, from: *from });
        *from = end;
        if wanted.len() == TOGETHER_BATCHES {
            break;
        }
    }
    wanted
}

pub(crate) fn read_fault(error: &ReadError) -> Fault {
    let code = match error {
        ReadError::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt { .. } => ErrorCode::CorruptLog,
        _ => ErrorCode::Internal,
    };
    Fault::new(code, error.to_string())
}
