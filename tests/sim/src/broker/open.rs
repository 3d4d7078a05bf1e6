//! From a disk back to a broker.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::Rng;
use rand::rngs::SmallRng;
use weir_core::dedup::ProducerState;
use weir_core::machine::Machine;
use weir_core::shard::{Limits, Session, Shard, Turn};
use weir_log::{
    Committer, LogConfig, LogReader, PAGE_BYTES, RecoveredEntry, RecoveredOp, SimVfs, StateMachine,
    recover,
};
use weir_wire::id::{ProducerId, ShardId};

use super::{Broker, Commits, Planted, Row, Told};

/// Where the log lies on the simulated disk.
pub(crate) const DIR: &str = "/data/log";

/// How a broker of a run is set up: everything small, so that every boundary is met.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    wal_file_bytes: u64,
    wal_bytes: u64,
    cache_bytes: usize,
    segment_own_bytes: u64,
    segment_bytes: u64,
    index_bytes: usize,
    open_files: usize,
    dedup_bytes: u64,
    pub(crate) planted: Option<Planted>,
}

impl Settings {
    pub(crate) fn draw(random: &mut SmallRng, planted: Option<Planted>) -> Self {
        let few = random.random_ratio(1, 5);
        let wal_file_bytes = random.random_range(16..24) * PAGE_BYTES as u64;
        Self {
            wal_file_bytes,
            wal_bytes: random.random_range(4..12) * wal_file_bytes,
            segment_own_bytes: random.random_range(2 << 10..40 << 10),
            segment_bytes: random.random_range(16 << 10..400 << 10),
            index_bytes: random.random_range(0..8 << 10),
            open_files: random.random_range(1..20),
            cache_bytes: random.random_range(0..64 << 10),
            // With little of it, idle sessions are forgotten.
            dedup_bytes: if few { 20 << 10 } else { 1 << 20 },
            planted,
        }
    }

    fn log(&self) -> LogConfig {
        let mut config = LogConfig::new(DIR, ShardId::new(0));
        config.wal_file_bytes = self.wal_file_bytes;
        config.wal_bytes = self.wal_bytes;
        config.cache_bytes = self.cache_bytes;
        config.segment_own_bytes = self.segment_own_bytes;
        config.segment_bytes = self.segment_bytes;
        config.index_bytes = self.index_bytes;
        config.open_files = self.open_files;
        config.prepare_ahead = false;
        plant(&mut config, self.planted);
        config
    }

    fn limits(&self) -> Limits {
        Limits {
            dedup_bytes: self.dedup_bytes,
        }
    }
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
#[derive(Debug)]
struct Replay {
    machine: Machine,
    planted: Option<Planted>,
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
                // What partitions hold, the log knows itself.
                RecoveredOp::Append { .. } | RecoveredOp::Trim { .. } => {}
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
                other => return Err(format!("entry {} holds {other:?}", entry.index)),
            }
        }
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let mut sections = self.machine.changed_sections();
        if self.planted == Some(Planted::OutcomesNotSaved) {
            sections.retain(|(name, _)| *name != "producers");
        }
        sections
    }
}

impl Replay {
    /// The shard, as it goes on from here.
    fn shard(&self, reader: &LogReader) -> Shard {
        let mut shard = self.machine.shard().clone();
        for (at, bounds) in reader.partitions() {
            shard.restore_partition(at, bounds.high_water_mark, bounds.last_time);
        }
        shard
    }

    fn rows(&self) -> BTreeMap<ProducerId, Row> {
        let rows = self.machine.sessions().map(|(session, topic, state)| {
            let mut row = Row::new(session, topic);
            let (oldest, outcomes) = state.outcomes();
            if self.planted != Some(Planted::OutcomesForgotten) {
                row.state = ProducerState::restored(oldest, outcomes.cloned());
            }
            (session.producer, row)
        });
        rows.collect()
    }
}

/// Opens the log of a disk.
pub(crate) fn open(disk: &SimVfs, settings: &Settings) -> Result<Broker, String> {
    let replay = Replay {
        machine: Machine::new(settings.limits()),
        planted: settings.planted,
    };
    let recovered = recover(Arc::new(disk.clone()), settings.log(), replay);
    let recovered = recovered.map_err(|error| error.to_string())?;
    let (machine, reader) = (recovered.machine(), recovered.reader());
    reader.retain(|topic| machine.machine.shard().catalog().topic(topic).is_some());
    let (shard, rows) = (machine.shard(&reader), machine.rows());
    let commits = Commits::default();
    Ok(Broker {
        shard,
        committer: Committer::start(recovered, Box::new(commits.clone())),
        reader,
        commits,
        rows,
        waiting: VecDeque::new(),
        told: Told::default(),
        planted: settings.planted,
    })
}
