//! The archiver: moves batches from the WAL to segments, writes the state down in checkpoints,
//! joins both by a manifest, and gives back the files that nobody needs any longer.
//!
//! It follows the log block by block and keeps a state machine of its own, so that writing the
//! state down never stops whoever sequences. It does its work in steps: a thread takes them in
//! `thread.rs`, simulations take them directly.

mod collect;
mod compact;
mod feed;
mod flush;
mod release;
mod rewrite;
mod table;
mod thread;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use weir_wire::id::{EntryIndex, ShardId};

use crate::checkpoint::CheckpointId;
use crate::config::{Bug, LogConfig};
use crate::error::LogError;
use crate::format::name::SectionName;
use crate::ids::{FileSequence, Generation, Lsn, NodeId, SegmentId};
use crate::index::Index;
use crate::machine::StateMachine;
use crate::manifest::{self, FileStart, Manifest, manifest_dir, manifest_path};
use crate::reader::LogReader;
use crate::vfs::{OpenMode, Vfs};
use crate::wal::{Files, RecoveredEntry, RecoveredOp};
pub(crate) use compact::Compactions;
pub use compact::{BatchKeys, CompactionJob, KeyedRecord, KeysError, Rebuilt};
pub(crate) use feed::{Feed, Noted};
use release::Garbage;
use rewrite::Rewrite;
pub(crate) use table::Table;
pub(crate) use thread::ArchiveThread;
pub use thread::Maintenance;

/// Blocks taken in by one step.
const BLOCKS_PER_STEP: usize = 256;

/// Where a log lives, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
}

/// What opening a log leaves to the archiver.
#[derive(Debug)]
pub(crate) struct Seed {
    pub(crate) home: Home,
    pub(crate) config: LogConfig,
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) files: Arc<Files>,
    pub(crate) reader: LogReader,
    /// The manifest that was written when the log was opened, and the one before.
    pub(crate) manifest: Manifest,
    pub(crate) previous: Option<Manifest>,
    /// What the WAL added to the manifest.
    pub(crate) table: Table,
    pub(crate) applied: EntryIndex,
    /// What comes before the file that is being written.
    pub(crate) start: FileStart,
    /// The manifests that are there, the oldest first.
    pub(crate) generations: Vec<Generation>,
}

/// The state machine, whatever its errors are.
trait Follower: Debug + Send {
    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), String>;
    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)>;
}

#[derive(Debug)]
struct Following<M>(M);

impl<M: StateMachine> Follower for Following<M> {
    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), String> {
        self.0.apply(entry).map_err(|error| error.to_string())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.0.changed_sections()
    }
}

/// See the top of this file.
#[derive(Debug)]
pub(crate) struct Archiver {
    home: Home,
    config: LogConfig,
    index: Arc<RwLock<Index>>,
    files: Arc<Files>,
    /// Has files open, which are to be closed when they are gone.
    reader: LogReader,
    feed: Arc<Feed>,
    machine: Box<dyn Follower>,
    /// What was taken in: partitions, the last entry, the last block and the file it is in.
    table: Table,
    applied: EntryIndex,
    lsn: Lsn,
    lsn_file: FileSequence,
    current: FileStart,
    /// There is a WAL file that is full and not in segments.
    due: bool,
    /// Something was trimmed or deleted, so that a segment may hold nothing that lives.
    may_have_dead: bool,
    /// Sections that changed and are not on the disk yet.
    unsaved: BTreeMap<SectionName, Vec<u8>>,
    manifest: Manifest,
    previous: Option<Manifest>,
    /// What is on the disk, needed or not.
    present: Present,
    /// What neither manifest names.
    garbage: VecDeque<Garbage>,
    /// Another manifest would make more garbage.
    gains: bool,
    /// Segments are written slowly.
    paced: bool,
    /// The number of the next segment, also of those that no manifest names yet.
    next_segment: SegmentId,
    rewrite: Option<Rewrite>,
    /// Segments changed, so that it may be worth rewriting some.
    may_rewrite: bool,
    /// Damaged ones: they are left as they are.
    spared: BTreeSet<SegmentId>,
    mapping: Option<compact::Mapping>,
    compactions: Arc<Compactions>,
    failed: Option<LogError>,
}

/// The files of a log, but for those of the WAL that are not full.
#[derive(Debug, Default)]
struct Present {
    generations: BTreeSet<Generation>,
    wal: BTreeSet<FileSequence>,
    segments: BTreeMap<SegmentId, u64>,
    checkpoints: BTreeSet<CheckpointId>,
}

impl Archiver {
    pub(crate) fn new<M: StateMachine>(seed: Seed, machine: M, feed: Arc<Feed>) -> Self {
        let Seed {
            home,
            config,
            index,
            files,
            reader,
            manifest,
            previous,
            table,
            applied,
            start,
            generations,
        } = seed;
        let known = [Some(&manifest), previous.as_ref()];
        let known = || known.into_iter().flatten();
        let oldest = known()
            .map(|manifest| manifest.wal.file)
            .min()
            .unwrap_or(start.file);
        let present = Present {
            generations: generations.into_iter().collect(),
            wal: (oldest.value()..=start.file.value())
                .map(FileSequence::new)
                .collect(),
            segments: known()
                .flat_map(|manifest| &manifest.segments)
                .map(|segment| (segment.id, segment.bytes))
                .collect(),
            checkpoints: known()
                .flat_map(|manifest| &manifest.sections)
                .map(CheckpointId::from)
                .collect(),
        };
        let compactions = Compactions::new(&manifest.partitions);
        let next_segment = manifest.next_segment;
        let mut archiver = Self {
            due: manifest.wal.file < start.file,
            lsn: manifest.durable,
            lsn_file: manifest.durable_file,
            home,
            index,
            files,
            reader,
            feed,
            machine: Box::new(Following(machine)),
            table,
            applied,
            current: start,
            may_have_dead: true,
            unsaved: BTreeMap::new(),
            manifest,
            previous,
            present,
            garbage: VecDeque::new(),
            gains: false,
            paced: false,
            next_segment,
            rewrite: None,
            may_rewrite: true,
            spared: BTreeSet::new(),
            mapping: None,
            compactions: Arc::new(compactions),
            failed: None,
            config,
        };
        archiver.find_garbage();
        archiver
    }

    /// Does one thing; answers whether there was one to do. `idle`: nothing else is going on, so
    /// that a manifest may be written only to get files back.
    ///
    /// # Errors
    /// When there is no room for a segment: then it may be tried again. Any other failure stays.
    pub(crate) fn step(&mut self, idle: bool) -> Result<bool, LogError> {
        self.check()?;
        let done = self.try_step(idle);
        self.settle(done)
    }

    /// Everything that is durable goes into segments and checkpoints.
    ///
    /// # Errors
    /// As those of [`Archiver::step`].
    pub(crate) fn flush(&mut self) -> Result<(), LogError> {
        self.check()?;
        while self.take_in()? {}
        let done = self.write_all();
        self.settle(done)
    }

    /// The log ends: what is durable is stated for good.
    ///
    /// # Errors
    /// As those of [`Archiver::step`].
    pub(crate) fn end(&mut self) -> Result<(), LogError> {
        self.check()?;
        while self.take_in()? {}
        if self.lsn == self.manifest.durable {
            return Ok(());
        }
        let again = self.manifest.clone();
        let done = self.install(again);
        self.settle(done)
    }

    pub(crate) fn compactions(&self) -> Arc<Compactions> {
        self.compactions.clone()
    }

    pub(crate) fn feed(&self) -> Arc<Feed> {
        self.feed.clone()
    }

    fn check(&self) -> Result<(), LogError> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    /// A failure stays, unless it is one of room.
    fn settle<R>(&mut self, done: Result<R, LogError>) -> Result<R, LogError> {
        match &done {
            Ok(_) if self.due => {}
            Ok(_) => {
                self.files.archiver_lacks_room(false);
            }
            Err(error) if error.is_disk_full() => {
                if self.files.archiver_lacks_room(true) {
                    tracing::error!(%error, "no room for a segment: producing is refused");
                }
            }
            Err(error) => self.failed = Some(error.clone()),
        }
        done
    }

    fn try_step(&mut self, idle: bool) -> Result<bool, LogError> {
        // Before anything else: under load there is always something else to do, and the WAL
        // would make new files while old ones lie there.
        if self.release_one()? {
            return Ok(true);
        }
        if self.due {
            let done = self.write_all();
            if done.as_ref().is_err_and(LogError::is_disk_full) {
                // The log goes on with what needs no new room.
                while self.take_in()? {}
                if self.make_room()? {
                    return Ok(true);
                }
            }
            return done.map(|()| true);
        }
        if self.take_in()? {
            return Ok(true);
        }
        if self.may_have_dead {
            let dropped = self.drop_dead();
            let full = dropped.as_ref().is_err_and(LogError::is_disk_full);
            if (full && self.drop_spares()?) || dropped? {
                return Ok(true);
            }
        }
        // Where room is scarce, what comes back without taking any comes before what takes some.
        if self.gains && self.files.refuses_records() {
            return self.install_again();
        }
        if self.rewrite_step()? {
            return Ok(true);
        }
        if idle && self.gains {
            return self.install_again();
        }
        Ok(idle && self.tend_reserve()?)
    }

    /// The same manifest once more, so that the one before names less.
    fn install_again(&mut self) -> Result<bool, LogError> {
        let again = self.manifest.clone();
        self.install(again)?;
        Ok(true)
    }

    /// Takes in what the log noted, up to the end of a file; answers whether there was anything.
    fn take_in(&mut self) -> Result<bool, LogError> {
        for taken in 0..BLOCKS_PER_STEP {
            let Some(noted) = self.feed.take() else {
                return Ok(taken > 0);
            };
            if let Some(start) = noted.file_start
                && start.file > self.current.file
            {
                self.current = start;
                self.present.wal.insert(start.file);
                self.due = true;
                // The files before are full, and this is the moment between them and what
                // follows.
                self.feed.put_back(Noted {
                    file_start: None,
                    ..noted
                });
                return Ok(true);
            }
            self.take_block(noted)?;
        }
        Ok(true)
    }

    fn take_block(&mut self, noted: Noted) -> Result<(), LogError> {
        for entry in &noted.entries {
            let applied = self.machine.apply(entry);
            if let Err(reason) = applied {
                let error = LogError {
                    what: "following the log",
                    path: self.home.dir.clone(),
                    reason,
                    full: false,
                };
                self.failed = Some(error.clone());
                return Err(error);
            }
            for op in &entry.ops {
                let is_trim = matches!(op, RecoveredOp::Trim { .. });
                if !(is_trim && self.config.plants(Bug::TrimsNotSaved)) {
                    self.table.apply(op);
                }
                self.may_have_dead |=
                    matches!(op, RecoveredOp::Trim { .. } | RecoveredOp::Metadata(_));
            }
            self.applied = entry.index;
        }
        self.lsn = noted.lsn;
        self.lsn_file = noted.file;
        Ok(())
    }

    /// Makes this the manifest that counts.
    fn install(&mut self, mut next: Manifest) -> Result<(), LogError> {
        let newest = self.present.generations.last();
        next.generation = newest.map_or(Generation::new(1), |newest| newest.next());
        next.durable = self.lsn;
        next.durable_file = self.lsn_file;
        let path = manifest_path(&self.home.dir, next.generation);
        let Home { vfs, dir, .. } = &self.home;
        let written = self
            .files
            .with_reserve(|| manifest::write(&**vfs, dir, &next));
        if let Err(error) = written {
            let mut error = LogError::io("writing", &path, &error);
            // Once it bears its name it may be what the next start finds, so nothing that it
            // names may go.
            let opened = self.home.vfs.open(&path, OpenMode::Read);
            let is_gone = opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            error.full &= is_gone;
            return Err(error);
        }
        self.present.generations.insert(next.generation);
        self.files.archived_up_to(next.wal.file);
        self.previous = Some(std::mem::replace(&mut self.manifest, next));
        self.find_garbage();
        Ok(())
    }

    fn read_index<R>(&self, look: impl FnOnce(&Index) -> R) -> R {
        look(&self.index.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn sync_dir(&self, dir: &Path) -> Result<(), LogError> {
        let synced = self.home.vfs.sync_dir(dir);
        synced.map_err(|error| LogError::io("syncing", dir, &error))
    }

    fn failed_at(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LogError {
        move |error| LogError::io(what, path, &error)
    }
}

/// The directories of everything but the WAL.
pub(crate) fn directories(dir: &Path) -> [PathBuf; 3] {
    [
        crate::segment::segments_dir(dir),
        crate::checkpoint::checkpoints_dir(dir),
        manifest_dir(dir),
    ]
}
