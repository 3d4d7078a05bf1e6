//! Compaction by key, as far as the broker goes: what a batch says about keys, and when a
//! partition is due.

use std::collections::HashMap;
use std::sync::Arc;

use weir_log::{BatchKeys, Columns, CompactionJob, KeyedRecord, KeysError, Rebuilt, StoredBatch};
use weir_wire::batch::{BatchHeader, Records};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};

use crate::retention::{Rounds, Turns, lowest};
use crate::selection::{self, Unreadable};
use crate::state::Shared;

/// How long a tombstone stays, so that whoever reads from the start meets it.
const TOMBSTONE_MS: i64 = 24 * 3_600_000;

/// Reads the keys of the broker's batches.
#[derive(Debug)]
pub(crate) struct WireKeys;

impl BatchKeys for WireKeys {
    fn records(
        &self,
        batch: &StoredBatch,
        each: &mut dyn FnMut(KeyedRecord<'_>),
    ) -> Result<(), KeysError> {
        let header =
            BatchHeader::parse(&batch.bytes).map_err(|e| unreadable(Unreadable::new(e)))?;
        let records = selection::inflate(batch, &header).map_err(unreadable)?;
        for record in Records::new(&records, header.count) {
            let record = record.map_err(|e| unreadable(Unreadable::new(e)))?;
            each(KeyedRecord {
                offset: batch.base_offset.advance(record.offset_delta),
                key: record.key,
                tombstone: record.value.is_none(),
            });
        }
        Ok(())
    }

    fn rebuild(
        &self,
        batch: &StoredBatch,
        keep: &dyn Fn(Offset) -> bool,
    ) -> Result<Rebuilt, KeysError> {
        let header =
            BatchHeader::parse(&batch.bytes).map_err(|e| unreadable(Unreadable::new(e)))?;
        let records = selection::inflate(batch, &header).map_err(unreadable)?;
        let kept = Records::new(&records, header.count).map(|record| {
            record.map(|record| keep(batch.base_offset.advance(record.offset_delta)))
        });
        let kept = kept
            .collect::<Result<Vec<bool>, _>>()
            .map_err(|e| unreadable(Unreadable::new(e)))?;
        let bytes = selection::rebuild(batch, &header, &records, &kept).map_err(unreadable)?;
        let ordering_keys = batch.columns.ordering_keys.as_ref();
        Ok(Rebuilt {
            bytes,
            columns: Columns {
                ordering_keys: ordering_keys.map(|keys| selection::select_keys(keys, &kept)),
                ..batch.columns.clone()
            },
            records: kept.iter().filter(|kept| **kept).count() as u32,
        })
    }
}

fn unreadable(error: Unreadable) -> KeysError {
    KeysError(error.to_string())
}

/// The task.
pub(crate) struct Compaction {
    shared: Arc<Shared>,
    turns: Turns,
}

/// A topic that keeps the latest record of each key.
struct Compacted {
    id: TopicId,
    partitions: u32,
    /// What some group has not read yet begins here.
    unread: HashMap<PartitionId, Offset>,
}

impl Compaction {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, Rounds) {
        let (turns, rounds) = Turns::new(&shared);
        (Self { shared, turns }, rounds)
    }

    /// Runs until the broker drains.
    pub(crate) async fn run(mut self) {
        while let Some(turn) = self.turns.next().await {
            self.round(turn.now);
            turn.done();
        }
    }

    /// Asks for what is due. Only looks at memory, so it may run on the network's thread.
    fn round(&self, now: Timestamp) {
        let before = Timestamp::new(now.value().saturating_sub(TOMBSTONE_MS));
        for topic in self.topics() {
            for partition in (0..topic.partitions).map(PartitionId::new) {
                let at = TopicPartition {
                    topic: topic.id,
                    partition,
                };
                let Some(up_to) = self.due(at, topic.unread.get(&partition)) else {
                    continue;
                };
                let job = CompactionJob {
                    partition: at,
                    up_to,
                    tombstones_before: before,
                };
                if !self.shared.maintenance.compact(job) {
                    // Too many wait; the next round asks again.
                    return;
                }
            }
        }
    }

    fn topics(&self) -> Vec<Compacted> {
        let shard = self.shared.shard.read();
        let topics = shard
            .catalog()
            .topics()
            .filter(|topic| topic.settings.compact);
        let topics = topics.map(|topic| Compacted {
            id: topic.id,
            partitions: topic.partitions,
            unread: lowest(shard.cursors(), topic.id)
                .into_iter()
                .map(|(partition, (_, offset))| (partition, offset))
                .collect(),
        });
        topics.collect()
    }

    /// Up to where the partition is to be compacted, if at least half of what its segments hold
    /// up to there was not compacted yet.
    fn due(&self, at: TopicPartition, unread: Option<&Offset>) -> Option<Offset> {
        let end = self.shared.reader.bounds(at)?.high_water_mark;
        let up_to = unread.map_or(end, |unread| end.min(*unread));
        let compacted_to = self.shared.maintenance.compacted_to(at);
        if up_to <= compacted_to {
            return None;
        }
        let (all, above) = self.shared.reader.segment_bytes(at, compacted_to);
        // What somebody has not read yet stays, however much of it there is.
        let (_, unread) = self.shared.reader.segment_bytes(at, up_to);
        let dirty = above.saturating_sub(unread);
        (dirty > 0 && dirty >= all - above).then_some(up_to)
    }
}
