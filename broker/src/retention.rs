//! Retention: removes, every few seconds, what is older or more than a topic is to keep. Groups
//! that have not read so far hold it back, or lose it, as the topic says.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use weir_core::catalog::Topic;
use weir_core::cursors::Cursors;
use weir_core::shard::Trim;
use weir_log::{LogReader, ReadError};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::name::{GroupName, TopicName};
use weir_wire::request::TopicSettings;
use weir_wire::topic::WhenUnread;

use crate::clock;
use crate::state::Shared;
use crate::trim::trim;

/// Topics whose held-back records are told of.
const HELD_BACK_MAX: usize = 10;

/// The task.
pub(crate) struct Retention {
    shared: Arc<Shared>,
    turns: Turns,
}

/// A round that somebody waits for.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) now: Timestamp,
    done: oneshot::Sender<()>,
}

impl Asked {
    /// The round is over.
    pub(crate) fn done(self) {
        // Whoever asked may have gone.
        let _ = self.done.send(());
    }
}

/// Asks for rounds.
#[derive(Clone, Debug)]
pub(crate) struct Rounds(mpsc::Sender<Asked>);

impl Rounds {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Asked>) {
        let (rounds, asked) = mpsc::channel(1);
        (Self(rounds), asked)
    }

    /// A round as if it were that time; returns when it is done, or nobody does any more.
    pub(crate) async fn run(&self, now: Timestamp) {
        let (done, waiting) = oneshot::channel();
        if self.0.send(Asked { now, done }).await.is_ok() {
            let _ = waiting.await;
        }
    }
}

/// Records that retention may remove and a group has not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeldBack {
    topic: TopicName,
    group: GroupName,
    records: u64,
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            topic,
            group,
            records,
        } = self;
        write!(
            f,
            "topic \"{topic}\" keeps {records} records beyond its retention, because group \
             \"{group}\" and perhaps others have not read them (let them go: weir topic update \
             {topic} --when-unread delete)"
        )
    }
}

/// When a task that looks for something now and then has its turns: every few seconds, and
/// whenever somebody asks.
#[derive(Debug)]
pub(crate) struct Turns {
    ticks: Interval,
    asked: mpsc::Receiver<Asked>,
    draining: CancellationToken,
}

/// A round that is due.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) now: Timestamp,
    asked: Option<Asked>,
}

impl Turn {
    /// The round is over.
    pub(crate) fn done(self) {
        if let Some(asked) = self.asked {
            asked.done();
        }
    }
}

impl Turns {
    pub(crate) fn new(shared: &Shared) -> (Self, Rounds) {
        let (rounds, asked) = Rounds::new();
        let mut ticks = interval(shared.config.log.retention_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let turns = Self {
            ticks,
            asked,
            draining: shared.draining.clone(),
        };
        (turns, rounds)
    }

    /// The next one; none once the broker drains.
    pub(crate) async fn next(&mut self) -> Option<Turn> {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => None,
            Some(asked) = self.asked.recv() => Some(Turn { now: asked.now, asked: Some(asked) }),
            _ = self.ticks.tick() => Some(Turn { now: clock::now(), asked: None }),
        }
    }
}

impl Retention {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, Rounds) {
        let (turns, rounds) = Turns::new(&shared);
        (Self { shared, turns }, rounds)
    }

    /// Runs until the broker drains.
    pub(crate) async fn run(mut self) {
        while let Some(turn) = self.turns.next().await {
            self.round(turn.now).await;
            turn.done();
        }
    }

    async fn round(&self, now: Timestamp) {
        let shared = &self.shared;
        let limited = {
            let shard = shared.shard.read();
            limited(shard.catalog().topics(), shard.cursors())
        };
        let reader = shared.reader.clone();
        // Looks into the indexes of segments, so off the network's thread.
        let found = tokio::task::spawn_blocking(move || {
            let mut due = Due::default();
            for topic in &limited {
                topic.look(&reader, now, &mut due);
            }
            due
        });
        let Due { trims, held_back } = match found.await {
            Ok(due) => due,
            Err(error) => return tracing::error!(%error, "retention failed"),
        };
        *shared.held_back.write() = held_back;
        if trims.is_empty() {
            return;
        }
        match trim(shared, &trims).await {
            Ok(()) => tracing::debug!(partitions = trims.len(), "retention removed records"),
            // A topic may have been deleted meanwhile; the next round begins anew.
            Err(fault) => tracing::warn!(%fault, "retention could not remove everything"),
        }
    }
}

/// A topic that does not keep everything.
struct Limited {
    id: TopicId,
    name: TopicName,
    partitions: u32,
    settings: TopicSettings,
    /// The group that is least far in a partition, where there is one and it counts.
    lowest: HashMap<PartitionId, (GroupName, Offset)>,
}

fn limited<'a>(topics: impl Iterator<Item = &'a Topic>, cursors: &Cursors) -> Vec<Limited> {
    let topics = topics.filter(|topic| {
        topic.settings.retention_ms.is_some() || topic.settings.retention_bytes.is_some()
    });
    let topics = topics.map(|topic| Limited {
        id: topic.id,
        name: topic.name.clone(),
        partitions: topic.partitions,
        settings: topic.settings.clone(),
        lowest: match topic.settings.when_unread {
            WhenUnread::Keep => lowest(cursors, topic.id),
            _ => HashMap::new(),
        },
    });
    topics.collect()
}

/// One walk over the groups' cursors, however many partitions there are.
pub(crate) fn lowest(
    cursors: &Cursors,
    topic: TopicId,
) -> HashMap<PartitionId, (GroupName, Offset)> {
    let mut lowest: HashMap<PartitionId, (GroupName, Offset)> = HashMap::new();
    for (name, group) in cursors.groups(topic) {
        for (partition, offset) in &group.offsets {
            match lowest.get_mut(partition) {
                Some(known) if known.1 <= *offset => {}
                Some(known) => *known = (name.clone(), *offset),
                None => drop(lowest.insert(*partition, (name.clone(), *offset))),
            }
        }
    }
    lowest
}

/// What a round found.
#[derive(Default)]
struct Due {
    trims: Vec<Trim>,
    held_back: Vec<HeldBack>,
}

impl Limited {
    fn look(&self, reader: &LogReader, now: Timestamp, due: &mut Due) {
        let mut held: Option<HeldBack> = None;
        for partition in (0..self.partitions).map(PartitionId::new) {
            let at = TopicPartition {
                topic: self.id,
                partition,
            };
            let trim = match self.due(reader, at, now) {
                Ok(Some(trim)) => trim,
                Ok(None) => continue,
                Err(error) => {
                    let topic = &self.name;
                    tracing::warn!(%topic, %partition, %error, "retention cannot look");
                    continue;
                }
            };
            let (trim, kept) = self.unread_stays(trim);
            if let Some((group, records)) = kept {
                let sum = held.get_or_insert_with(|| HeldBack {
                    topic: self.name.clone(),
                    group: group.clone(),
                    records: 0,
                });
                sum.records += records;
            }
            due.trims.extend(trim);
        }
        if due.held_back.len() < HELD_BACK_MAX {
            due.held_back.extend(held);
        }
    }

    /// Where the partition is to begin by age and by bytes, if that is further on.
    fn due(
        &self,
        reader: &LogReader,
        at: TopicPartition,
        now: Timestamp,
    ) -> Result<Option<Trim>, ReadError> {
        let Some(bounds) = reader.bounds(at) else {
            return Ok(None);
        };
        let mut start = bounds.start;
        if let (Some(limit), Some(oldest)) = (self.settings.retention_ms, bounds.oldest) {
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let from = Timestamp::new(now.value().saturating_sub(limit));
            if oldest < from {
                start = start.max(reader.offset_at(at, from)?);
            }
        }
        if let Some(limit) = self.settings.retention_bytes
            && bounds.bytes > limit
        {
            start = start.max(reader.offset_keeping(at, limit)?);
        }
        Ok((start > bounds.start).then_some(Trim {
            partition: at,
            held: bounds.start,
            start,
        }))
    }

    /// The part of it that every group has read, and how much some group has not.
    fn unread_stays(&self, trim: Trim) -> (Option<Trim>, Option<(&GroupName, u64)>) {
        match self.lowest.get(&trim.partition.partition) {
            Some((group, offset)) if *offset < trim.start => {
                let start = trim.held.max(*offset);
                let kept = trim.start.since(start);
                let trim = (start > trim.held).then_some(Trim { start, ..trim });
                (trim, Some((group, kept)))
            }
            _ => (Some(trim), None),
        }
    }
}
