//! From a disk back to a broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_core::dedup::ProducerState;
use weir_core::machine::Machine;
use weir_core::shard::{Session, Shard, Turn};
use weir_log::{Committer, LogConfig, RecoveredEntry, RecoveredOp, SimVfs, StateMachine, recover};
use weir_wire::id::{Offset, ProducerId, ShardId, Timestamp, TopicPartition};

use super::{Broker, Commits, Planted, Row, Told};

/// Where the log lies on the simulated disk.
const DIR: &str = "/data/log";

/// The settings of the log: everything as small as it may be, so that every boundary is met.
fn config(planted: Option<Planted>) -> LogConfig {
    let mut config = LogConfig::new(DIR, ShardId::new(0));
    config.wal_file_bytes = 64 << 10;
    config.cache_bytes = 24 << 10;
    config.prepare_ahead = false;
    plant(&mut config, planted);
    config
}

fn plant(config: &mut LogConfig, planted: Option<Planted>) {
    let Some(Planted::Log(bug)) = planted else {
        return;
    };
    #[cfg(debug_assertions)]
    {
        config.planted = Some(bug);
    }
    #[cfg(not(debug_assertions))]
    panic!("{bug:?} can be planted in debug builds only, not in {config:?}");
}

/// The state that the log's entries make.
#[derive(Debug, Default)]
struct Replay {
    machine: Machine,
    /// Where each partition goes on, and when it was appended to last.
    partitions: BTreeMap<TopicPartition, (Offset, Timestamp)>,
}

impl StateMachine for Replay {
    type Error = String;

    fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), String> {
        let restored = self.machine.restore(section, bytes);
        restored.map_err(|error| error.to_string())
    }

    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), String> {
        for op in &entry.ops {
            match op {
                RecoveredOp::Append {
                    partition,
                    base_offset,
                    count,
                    append_time,
                } => {
                    let end = (base_offset.advance(*count), *append_time);
                    self.partitions.insert(*partition, end);
                }
                RecoveredOp::ProducerSequence {
                    producer,
                    epoch,
                    sequence,
                    outcome,
                } => {
                    let (producer, epoch) = (*producer, *epoch);
                    let turn = Turn {
                        session: Session { producer, epoch },
                        sequence: *sequence,
                    };
                    self.machine.outcome(turn, outcome.clone());
                }
                RecoveredOp::Metadata(bytes) => {
                    let taken = self.machine.metadata(bytes);
                    taken.map_err(|error| error.to_string())?;
                }
                // Where a partition begins, the log knows itself.
                RecoveredOp::Trim { .. } => {}
                other => return Err(format!("entry {} holds {other:?}", entry.index)),
            }
        }
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.machine.changed_sections()
    }
}

impl Replay {
    /// The shard, as it goes on from here.
    fn shard(&self) -> Shard {
        let mut shard = self.machine.shard().clone();
        for (&at, &(next, time)) in &self.partitions {
            if shard.catalog().topic(at.topic).is_some() {
                shard.restore_partition(at, next, time);
            }
        }
        shard
    }

    fn rows(&self, planted: Option<Planted>) -> BTreeMap<ProducerId, Row> {
        let rows = self.machine.sessions().map(|(session, topic, state)| {
            let mut row = Row::new(session, topic);
            let (oldest, outcomes) = state.outcomes();
            if planted != Some(Planted::OutcomesForgotten) {
                row.state = ProducerState::restored(oldest, outcomes.cloned());
            }
            (session.producer, row)
        });
        rows.collect()
    }
}

/// Opens the log of a disk.
pub(crate) fn open(disk: &SimVfs, planted: Option<Planted>) -> Result<Broker, String> {
    let recovered = recover(Arc::new(disk.clone()), config(planted), Replay::default());
    let recovered = recovered.map_err(|error| error.to_string())?;
    let (shard, rows) = (
        recovered.machine().shard(),
        recovered.machine().rows(planted),
    );
    let reader = recovered.reader();
    reader.retain(|topic| shard.catalog().topic(topic).is_some());
    let commits = Commits::default();
    Ok(Broker {
        shard,
        committer: Committer::start(recovered, Box::new(commits.clone())),
        reader,
        commits,
        rows,
        waiting: VecDeque::new(),
        told: Told::default(),
        planted,
    })
}
