//! Opening a log: what it holds is read first, then it is started.

use std::sync::{Arc, RwLock};

use crate::config::LogConfig;
use crate::error::OpenError;
use crate::index::Index;
use crate::machine::StateMachine;
use crate::reader::LogReader;
use crate::vfs::Vfs;
use crate::wal::{self, Files, RecoveryReport, Wal};

/// A log that was read, and is to be started: by [`Log::start`](crate::Log::start), or by
/// [`Committer::start`](crate::Committer::start).
#[derive(Debug)]
pub struct Recovered<M> {
    pub(crate) wal: Wal,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) files: Arc<Files>,
    pub(crate) reader: LogReader,
    machine: M,
    report: RecoveryReport,
}

/// Reads the log of a directory, or makes an empty one. `machine` takes in what it holds.
///
/// Whoever calls holds the lock of the data directory.
///
/// # Errors
/// When the log is damaged, foreign or cannot be used, or when the machine refuses something.
pub fn recover<M: StateMachine>(
    vfs: Arc<dyn Vfs>,
    config: LogConfig,
    mut machine: M,
) -> Result<Recovered<M>, OpenError<M::Error>> {
    let found = wal::recover(&vfs, config.clone(), &mut machine)?;
    let index = Arc::new(RwLock::new(found.index));
    let reader = LogReader::new(vfs, &config, index.clone(), found.files.clone());
    Ok(Recovered {
        wal: found.wal,
        index,
        files: found.files,
        reader,
        machine,
        report: found.report,
    })
}

impl<M> Recovered<M> {
    /// The state that the log's entries made.
    pub const fn machine(&self) -> &M {
        &self.machine
    }

    /// The same, for whoever takes a part of it over.
    pub const fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// Reads what is in the log.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// What was found.
    #[must_use]
    pub const fn report(&self) -> &RecoveryReport {
        &self.report
    }
}
