//! Whose newest records may be gone together with blocks of the WAL.

use std::collections::BTreeSet;

use weir_wire::id::TopicPartition;

/// Partitions that may have ended further on than what is left of them. One that goes on behind
/// what is gone has a gap instead, whose offsets are known.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// Those that damaged blocks name.
    named: BTreeSet<TopicPartition>,
    /// Something is gone that names no partitions; these went on since.
    unnamed: Option<BTreeSet<TopicPartition>>,
}

impl Losses {
    /// Blocks of these partitions are gone.
    pub(super) fn lost(&mut self, partitions: impl IntoIterator<Item = TopicPartition>) {
        self.named.extend(partitions);
    }

    /// Blocks are gone, and nobody knows of which partitions.
    pub(super) fn lost_unnamed(&mut self) {
        self.unnamed = Some(BTreeSet::new());
    }

    /// A batch of it is there again.
    pub(super) fn goes_on(&mut self, at: TopicPartition) {
        self.named.remove(&at);
        if let Some(since) = &mut self.unnamed {
            since.insert(at);
        }
    }

    /// Whether its newest records may be gone.
    pub(super) fn has_open_end(&self, at: TopicPartition) -> bool {
        let since = self.unnamed.as_ref();
        self.named.contains(&at) || since.is_some_and(|since| !since.contains(&at))
    }

    /// Whether that may be true of partitions, too, that nothing else tells of.
    pub(super) fn is_anybodys(&self) -> bool {
        self.unnamed.is_some()
    }

    /// Those that damaged blocks name.
    pub(super) fn named(&self) -> impl Iterator<Item = TopicPartition> {
        self.named.iter().copied()
    }
}
