//! From the log's entries back to the broker's state.

use weir_core::change::Change;
use weir_core::shard::{Session, Shard, Turn};
use weir_log::{RecoveredEntry, RecoveredOp, StateMachine};
use weir_wire::message::Message;
use weir_wire::plugin::Hook;

use crate::plugins::PluginStore;
use crate::producers::{Producer, Producers};
use crate::topics::Topics;

/// Takes in the entries of the log, in their order.
#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) shard: Shard,
    pub(super) producers: Producers,
    pub(super) entries: u64,
}

/// An entry that this broker cannot read.
#[derive(Debug, thiserror::Error)]
#[error("entry {index} of the log cannot be read: {reason}; was it written by a newer weir?")]
pub struct ReplayError {
    index: u64,
    reason: String,
}

impl StateMachine for Replay {
    type Error = ReplayError;

    fn restore(&mut self, section: &str, _bytes: &[u8]) -> Result<(), ReplayError> {
        let reason = format!("it is preceded by state called {section:?}, which is not known");
        Err(ReplayError { index: 0, reason })
    }

    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), ReplayError> {
        self.entries += 1;
        let index = entry.index.value();
        for op in &entry.ops {
            match *op {
                RecoveredOp::Append {
                    partition,
                    base_offset,
                    count,
                    append_time,
                } => {
                    // A topic deleted since then has no state.
                    if self.shard.catalog().topic(partition.topic).is_some() {
                        self.shard
                            .replay_append(partition, base_offset, count, append_time);
                    }
                }
                RecoveredOp::ProducerSequence {
                    producer,
                    epoch,
                    sequence,
                    ref outcome,
                } => {
                    let session = Session { producer, epoch };
                    let turn = Turn { session, sequence };
                    let forgotten = self.shard.replay_sequence(turn, outcome.len());
                    if let Some(known) = self.producers.find(session) {
                        known.state.lock().replay(sequence, outcome.clone());
                    }
                    self.producers.forget(&forgotten);
                }
                RecoveredOp::Metadata(ref bytes) => {
                    let change = Change::decode(bytes);
                    let change = change.map_err(|error| ReplayError {
                        index,
                        reason: error.to_string(),
                    })?;
                    self.change(&change);
                }
                // Where a partition begins, the log knows itself.
                RecoveredOp::Trim { .. } => {}
                _ => {
                    let reason = "it holds an operation that this version does not know".to_owned();
                    return Err(ReplayError { index, reason });
                }
            }
        }
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        Vec::new()
    }
}

impl Replay {
    fn change(&mut self, change: &Change) {
        let forgotten = self.shard.commit_change(change);
        self.producers.forget(&forgotten);
        if let Some(opened) = &change.producer_opened {
            let session = Session {
                producer: opened.id,
                epoch: opened.epoch,
            };
            self.producers.insert(Producer::new(session, opened.topic));
        }
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
            .bind(host, bound.version, hook, &bound.config, &routes)
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
