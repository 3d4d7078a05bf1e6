//! What each partition holds, as far as the log was followed: entry by entry, so that it can be
//! said for the moment of a checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use weir_wire::id::{Offset, TopicPartition};

use crate::manifest::PartitionState;
use crate::wal::RecoveredOp;

/// The partitions, and which of them have batches that are in no segment.
#[derive(Debug, Default)]
pub(crate) struct Table {
    partitions: BTreeMap<TopicPartition, PartitionState>,
    touched: BTreeSet<TopicPartition>,
}

impl Table {
    /// What a manifest says.
    pub(crate) fn new(partitions: &[PartitionState]) -> Self {
        let states = partitions.iter().map(|state| (state.partition, *state));
        Self {
            partitions: states.collect(),
            touched: BTreeSet::new(),
        }
    }

    /// Whether a batch with that offset is the partition's next one.
    pub(crate) fn goes_on_at(&self, at: TopicPartition, offset: Offset) -> bool {
        self.end(at).is_none_or(|end| end == offset)
    }

    /// Where the partition's next batch begins.
    pub(crate) fn end(&self, at: TopicPartition) -> Option<Offset> {
        self.partitions.get(&at).map(|state| state.end)
    }

    pub(crate) fn apply(&mut self, op: &RecoveredOp) {
        match *op {
            RecoveredOp::Append {
                partition,
                base_offset,
                count,
                append_time,
            } => {
                let state = self
                    .partitions
                    .entry(partition)
                    .or_insert_with(|| PartitionState {
                        partition,
                        start: base_offset,
                        end: base_offset,
                        last_time: append_time,
                        compacted_to: Offset::ZERO,
                    });
                state.end = base_offset.advance(count);
                state.last_time = append_time;
                self.touched.insert(partition);
            }
            RecoveredOp::Trim { partition, start } => {
                if let Some(state) = self.partitions.get_mut(&partition) {
                    state.start = state.start.max(start.min(state.end));
                }
            }
            RecoveredOp::ProducerSequence { .. } | RecoveredOp::Metadata(_) => {}
        }
    }

    /// Below that offset a partition was compacted; answers whether it is still there.
    pub(crate) fn compacted(&mut self, at: TopicPartition, up_to: Offset) -> bool {
        let Some(state) = self.partitions.get_mut(&at) else {
            return false;
        };
        state.compacted_to = state.compacted_to.max(up_to);
        true
    }

    /// The partitions that have batches in no segment.
    pub(crate) fn touched(&self) -> impl Iterator<Item = TopicPartition> {
        self.touched.iter().copied()
    }

    /// All batches are in segments.
    pub(crate) fn flushed(&mut self) {
        self.touched.clear();
    }

    /// Forgets partitions that are gone.
    pub(crate) fn retain(&mut self, keep: impl Fn(TopicPartition) -> bool) {
        self.partitions.retain(|at, _| keep(*at));
        self.touched.retain(|at| keep(*at));
    }

    pub(crate) fn states(&self) -> Vec<PartitionState> {
        self.partitions.values().copied().collect()
    }
}
