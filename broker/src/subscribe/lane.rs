//! A lane: one stream that carries the records of some partitions of a subscription. Reading is in
//! `lane/source.rs`; what is read and not sent yet, in `lane/outgoing.rs`.

mod line;
mod outgoing;
mod source;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn::Connection;
use tokio::time::{sleep, timeout};
use weir_log::ReadError;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::FrameMessage;
use weir_wire::id::{Offset, SubscriptionId, TopicId, TopicPartition};
use weir_wire::subscribe::{LaneOpened, Progress, Records, SubscribedPartition};

use super::credit::Credit;
use super::filters::{Filters, Judging, Kept};
use super::turns::ConnectionTurns;
use crate::budget::Share;
use crate::state::Shared;
use line::Line;
use outgoing::{COMING_MAX, Outgoing};
use source::{LoadError, Loaded, Source};

pub(crate) use source::READS_AT_ONCE;

/// How long a subscriber may keep the broker waiting while batches were read for it. Then they go,
/// but for the one that is being sent, and are read again when it is ready: who reads slowly must
/// not hold memory that others need.
const HOLD_MAX: Duration = Duration::from_secs(1);
/// Stretches that are skipped before others have their turn.
const SKIPS_MAX: usize = 1024;
/// Batches that filters emptied before the subscriber hears how far the lane has looked.
const SILENT_MAX: u32 = 64;

/// How many partitions each topic had that is read whole.
pub(super) type Counts = HashMap<TopicId, u32>;

/// What the lanes of a subscription have in common.
pub(super) struct Subscription {
    pub(super) shared: Arc<Shared>,
    pub(super) id: SubscriptionId,
    pub(super) filters: Arc<Filters>,
    pub(super) credit: Arc<Credit>,
    pub(super) with_keys: bool,
    pub(super) counts: Arc<Counts>,
    pub(super) turns: ConnectionTurns,
    /// Its share of what may be read from disk at one time.
    pub(super) room: Share,
}

pub(super) struct Lane {
    shared: Arc<Shared>,
    subscription: SubscriptionId,
    filters: Arc<Filters>,
    credit: Arc<Credit>,
    with_keys: bool,
    counts: Arc<Counts>,
    turns: ConnectionTurns,
    positions: Vec<Position>,
    source: Source,
    /// How long it has rested, because a plugin could not run, since something was sent.
    rested: Duration,
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
    /// Whether the filters made so much of batches lately that they go through them one round
    /// after the other.
    alone: bool,
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

impl Subscription {
    /// The lane of these partitions.
    pub(super) fn lane<'a>(
        &self,
        partitions: impl Iterator<Item = &'a SubscribedPartition>,
    ) -> Lane {
        let positions = partitions.map(|it| Position {
            at: TopicPartition {
                topic: it.topic,
                partition: it.partition,
            },
            next: it.next,
            told: it.next,
            filtered_out: 0,
            silent: 0,
            alone: false,
        });
        Lane {
            shared: self.shared.clone(),
            subscription: self.id,
            filters: self.filters.clone(),
            credit: self.credit.clone(),
            with_keys: self.with_keys,
            counts: self.counts.clone(),
            turns: self.turns.clone(),
            positions: positions.collect(),
            source: Source::new(self.shared.clone(), self.room.clone()),
            rested: Duration::ZERO,
        }
    }
}

impl Lane {
    /// Sends until the subscription ends; answers why, if the subscriber ought to know.
    pub(super) async fn run(mut self, connection: &Connection) -> Option<Fault> {
        match self.pump(connection).await {
            Ok(()) | Err(Stop::Gone) => None,
            Err(Stop::Fault(fault)) => Some(fault),
        }
    }

    async fn pump(&mut self, connection: &Connection) -> Result<(), Stop> {
        let stream = connection.open_uni().await.map_err(|_| Gone)?;
        let stopped = stream.stopped();
        let mut line = Line::new(stream, connection, self.turns.clone());
        tokio::select! {
            // An idle lane would not learn of it by writing.
            _ = stopped => Err(Stop::Gone),
            ended = self.pump_into(&mut line) => ended,
        }
    }

    async fn pump_into(&mut self, line: &mut Line<'_>) -> Result<(), Stop> {
        let opened = LaneOpened {
            subscription: self.subscription,
        };
        line.tell(&opened).await?;
        let partitions = self.positions.iter().map(|position| position.at).collect();
        let tail = self.shared.tails.register(partitions);
        loop {
            let mut idle = true;
            for index in 0..self.positions.len() {
                if !self.has_credit_soon(line).await {
                    self.source.let_go();
                    self.credit.available().await;
                }
                let skipped = self.skip(index);
                let (loaded, at_the_end) = self.read(index).await.map_err(Stop::Fault)?;
                idle &= loaded.read.batches.is_empty() && !skipped;
                let delivered = self.deliver(line, index, loaded, at_the_end).await;
                line.give_way().await;
                delivered?;
                self.report(line, index, SILENT_MAX).await?;
                if skipped {
                    // It took no wait so far, and there may be much more to skip.
                    tokio::task::yield_now().await;
                }
            }
            if idle {
                for index in 0..self.positions.len() {
                    self.report(line, index, 0).await?;
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

    /// The next batches of a partition, and whether they are all there is; what is behind them may
    /// be read ahead.
    async fn read(&mut self, index: usize) -> Result<(Loaded, bool), Fault> {
        let Position { at, next, .. } = self.positions[index];
        self.check(at.topic)?;
        // As it is before: what comes meanwhile will have to be read anyway.
        let end = self.shared.reader.bounds(at);
        let loaded = self.source.load(at, next).await;
        let loaded = loaded.map_err(|error| match error {
            LoadError::Read(error) => self.unreadable(&error),
            error @ LoadError::Task(_) => Fault::new(ErrorCode::Internal, error.to_string()),
        })?;
        // What comes from memory will not have to be waited for.
        let from_disk = loaded.room.is_some() && !loaded.read.batches.is_empty();
        if from_disk && self.source.is_free() && self.credit.is_some() {
            let mut from = loaded.read.next;
            for _ in 0..SKIPS_MAX {
                let Some(skip) = self.filters.skip(&self.shared, at, from) else {
                    break;
                };
                from = skip.to;
            }
            self.source.read_ahead(at, from);
        }
        let at_the_end = end.is_some_and(|end| loaded.read.next >= end.high_water_mark);
        Ok((loaded, at_the_end))
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

    /// Sends what the filters leave of batches. While some are sent, the next ones are judged.
    async fn deliver(
        &mut self,
        line: &mut Line<'_>,
        index: usize,
        loaded: Loaded,
        at_the_end: bool,
    ) -> Result<(), Stop> {
        let position = &mut self.positions[index];
        if loaded.read.batches.is_empty() {
            // Compaction left nothing from there on.
            position.next = loaded.read.next;
            return Ok(());
        }
        let mut out = Outgoing::new(loaded, position.next, at_the_end);
        if self.rested > Duration::ZERO {
            // Beside others that a plugin fails on it might be refused again.
            out.only_one();
        }
        loop {
            while out.coming.len() < self.rounds_max(index)
                && let Some(judging) = self.judge(index, &mut out)
            {
                out.coming.push_back(judging);
            }
            let Some(judging) = out.coming.pop_front() else {
                break;
            };
            if judging.is_under_way() {
                line.give_way().await;
            }
            let judged = judging.end().await;
            let too_much = judged.too_much;
            self.positions[index].alone = too_much || !judged.is_light();
            out.came(judged);
            while let Some(kept) = out.next_kept() {
                if !self.has_credit_soon(line).await {
                    // All of it goes with this.
                    self.source.stalled();
                    return Ok(());
                }
                self.send(line, index, kept, &mut out).await?;
            }
            if let Some(fault) = out.take_fault() {
                drop(out);
                line.give_way().await;
                return self.rest(fault).await;
            }
            if too_much {
                // What is behind is read again, and less of it.
                self.source.stalled();
                return Ok(());
            }
        }
        if !out.is_gone() {
            self.source.flowed();
        }
        Ok(())
    }

    /// How many rounds of a partition may be on their way through the filters.
    fn rounds_max(&self, index: usize) -> usize {
        match self.positions[index].alone {
            true => 1,
            false => COMING_MAX,
        }
    }

    /// Whether something may be sent before what was read has been held for too long.
    async fn has_credit_soon(&self, line: &mut Line<'_>) -> bool {
        self.credit.is_some() || {
            line.give_way().await;
            timeout(HOLD_MAX, self.credit.available()).await.is_ok()
        }
    }

    /// Waits, holding nothing, where a plugin cannot run at the moment. Where that lasts, the
    /// subscriber is told to come back.
    async fn rest(&mut self, fault: Fault) -> Result<(), Stop> {
        let patience = self.shared.config.limits.request_deadline;
        let Some(time) = fault.retry_after.filter(|_| fault.is_retryable()) else {
            return Err(Stop::Fault(fault));
        };
        self.rested += time;
        if self.rested > patience {
            return Err(Stop::Fault(fault));
        }
        self.source.let_go();
        sleep(time).await;
        Ok(())
    }

    /// Sends batches on their way through the filters, if there are any. While plugins are at some,
    /// those of the next reading follow: they must not be without work at the end of each.
    fn judge(&self, index: usize, out: &mut Outgoing) -> Option<Judging> {
        let Position { at, alone, .. } = self.positions[index];
        if out.coming.back().is_some_and(Judging::is_under_way) {
            out.refill(|from| self.source.more(at, from));
        }
        let wanted = out.together();
        (!wanted.is_empty()).then(|| self.filters.begin(&self.shared, at, wanted, alone))
    }

    async fn send(
        &mut self,
        line: &mut Line<'_>,
        index: usize,
        kept: Kept,
        out: &mut Outgoing,
    ) -> Result<(), Stop> {
        self.rested = Duration::ZERO;
        if !kept.letters.is_empty() {
            line.give_way().await;
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
        line.take_turn(out.size(), out.is_at_the_end()).await;
        match timeout(HOLD_MAX, line.write(&mut parts)).await {
            Ok(written) => written?,
            Err(_) => {
                if out.let_go() {
                    // What is left of it, else the whole reading that it is a slice of.
                    parts = parts.map(|part| Bytes::copy_from_slice(&part));
                }
                self.source.stalled();
                line.write(&mut parts).await?;
            }
        }
        line.wrote(size).await;
        self.shared.activity.delivered(Instant::now());
        metrics.records_out.inc_by(u64::from(count));
        metrics.bytes_out.inc_by(size as u64);
        Ok(())
    }

    /// Tells how far the lane has looked, if it has looked at more than `silent` batches since
    /// the subscriber heard of it.
    async fn report(&mut self, line: &mut Line<'_>, index: usize, silent: u32) -> Result<(), Stop> {
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
        line.tell(&progress).await?;
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
