//! From the log back to the broker's state.

use weir_core::dedup::ProducerState;
use weir_core::machine::{Machine, MachineError};
use weir_core::shard::{Limits, Session, Shard, Turn};
use weir_log::{LogReader, RecoveredEntry, RecoveredOp, StateMachine};
use weir_wire::plugin::Hook;

use crate::plugins::PluginStore;
use crate::producers::{Producer, Producers};
use crate::topics::Topics;

/// Takes in the entries of the log, in their order: at first all that are there, then, as the
/// log's own copy, each that becomes durable, for the next checkpoint.
#[derive(Debug)]
pub(super) struct Replay(Machine);

/// A part of the log that this broker cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An entry.
    #[error("entry {index} of the log: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// Why.
        source: MachineError,
    },
    /// A section of a checkpoint.
    #[error("the state \"{section}\" in the log's checkpoint: {source}")]
    Section {
        /// Its name.
        section: String,
        /// Why.
        source: MachineError,
    },
    /// An operation.
    #[error(
        "entry {0} of the log holds an operation that this weir does not know; use the one that \
         wrote it, or a newer one"
    )]
    UnknownOperation(u64),
}

impl StateMachine for Replay {
    type Error = ReplayError;

    fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), ReplayError> {
        let restored = self.0.restore(section, bytes);
        restored.map_err(|source| ReplayError::Section {
            section: section.to_owned(),
            source,
        })
    }

    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), ReplayError> {
        let index = entry.index.value();
        for op in &entry.ops {
            match op {
                // What partitions hold, the log knows itself.
                RecoveredOp::Append { .. } | RecoveredOp::Trim { .. } => {}
                RecoveredOp::ProducerSequence {
                    producer,
                    epoch,
                    sequence,
                    outcome,
                } => {
                    let session = Session {
                        producer: *producer,
                        epoch: *epoch,
                    };
                    let turn = Turn {
                        session,
                        sequence: *sequence,
                    };
                    self.0.outcome(turn, outcome.clone());
                }
                RecoveredOp::Metadata(bytes) => {
                    let taken = self.0.metadata(bytes);
                    taken.map_err(|source| ReplayError::Entry { index, source })?;
                }
                _ => return Err(ReplayError::UnknownOperation(index)),
            }
        }
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.0.changed_sections()
    }
}

impl Replay {
    pub(super) fn new(limits: Limits) -> Self {
        Self(Machine::new(limits))
    }

    /// What the broker works with from here on: the shard, with what the log says of its
    /// partitions, and the producers' sessions. Topics that are gone leave the log.
    pub(super) fn state(&self, reader: &LogReader) -> (Shard, Producers) {
        let mut shard = self.0.shard().clone();
        reader.retain(|topic| shard.catalog().topic(topic).is_some());
        for (partition, bounds) in reader.partitions() {
            shard.restore_partition(partition, bounds.high_water_mark, bounds.last_time);
        }
        let producers = Producers::default();
        for (session, topic, state) in self.0.sessions() {
            let (oldest, outcomes) = state.outcomes();
            let state = ProducerState::restored(oldest, outcomes.cloned());
            producers.insert(Producer::with_state(session, topic, state));
        }
        (shard, producers)
    }
}

/// Makes every binding ready again. One that cannot run stays bound and says why: its topic's
/// records are refused, not stored unrouted.
pub(super) async fn bind_all(
    shard: &Shard,
    topics: &Topics,
    plugins: &PluginStore,
    host: &weir_host::Host,
) {
    for (topic, bound) in shard.catalog().bindings() {
        let hook: Hook = bound.hook;
        let routes: Vec<String> = bound
            .routes
            .iter()
            .map(|route| route.value.clone())
            .collect();
        let ready = plugins
            .bind(
                host,
                bound.version,
                hook,
                &bound.config,
                &routes,
                bound.limits.as_ref(),
            )
            .await;
        if let Err(fault) = &ready {
            tracing::error!(binding = %bound.id, topic = %topic.name, %fault, "binding cannot run");
        }
        topics.ready(bound.id, ready.map_err(|fault| fault.message));
    }
    for topic in shard.catalog().topics() {
        topics.refresh(shard.catalog(), topic.id);
    }
}
