//! Opening a log: all that it holds is read and checked first; only then is anything changed.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, RwLock};

use weir_wire::id::EntryIndex;

use crate::archive::{Home, Seed, Table, directories};
use crate::checkpoint::{self, checkpoints_dir};
use crate::config::LogConfig;
use crate::error::OpenError;
use crate::ids::{Generation, NodeId, SegmentId};
use crate::index::Index;
use crate::machine::StateMachine;
use crate::manifest::{
    self, FileStart, Manifest, Manifests, PartitionState, SegmentRef, manifest_dir, manifest_path,
};
use crate::names::{self, TEMPORARY_SUFFIX, io_error, list, numbered};
use crate::node;
use crate::offline::frames::partitions_in;
use crate::reader::LogReader;
use crate::reserve::Reserve;
use crate::segment::{SEGMENT_SUFFIX, SegmentError, read_footer, segment_path, segments_dir};
use crate::vfs::Vfs;
use crate::wal::{self, Files, Found, Origin, RecoveryReport, Wal};

/// A sound file, but of something else: what is in it says nothing of what is missing.
const SUBSTITUTE: &str = "it is not the segment that the manifest names";

/// A log that was read, and is to be started: by [`Log::start`](crate::Log::start), or by
/// [`Committer::start`](crate::Committer::start).
#[derive(Debug)]
pub struct Recovered<M> {
    pub(crate) wal: Wal,
    pub(crate) seed: Seed,
    pub(crate) reader: LogReader,
    pub(crate) machine: M,
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
    config.check().map_err(OpenError::Config)?;
    let read = Read::new(&vfs, &config, &mut machine)?;
    // The reserve, the file that is written to and the one after.
    let newest = read.manifests.newest.as_ref();
    let sections = newest.map_or(&[][..], |manifest| &manifest.sections);
    let bytes = config.reserve_bytes(sections) + 2 * config.wal_file_bytes;
    let accepted = read.accept(vfs, config, machine);
    accepted.map_err(|error| match error {
        OpenError::Io { path, source } if wal::is_full(&source) => OpenError::NoRoom {
            path,
            source,
            bytes,
        },
        error => error,
    })
}

/// Reads a log as [`recover`] does, and changes nothing: whether it would be refused.
pub(crate) fn check<M: StateMachine>(
    vfs: &Arc<dyn Vfs>,
    config: &LogConfig,
    machine: &mut M,
) -> Result<(), OpenError<M::Error>> {
    Read::new(vfs, config, machine).map(drop)
}

impl<M> Recovered<M> {
    /// The state that the log's entries made.
    pub const fn machine(&self) -> &M {
        &self.machine
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

/// What a directory holds. Nothing was changed to find out.
struct Read {
    node: NodeId,
    /// It is empty, but for what was begun and not finished.
    is_new: bool,
    manifests: Manifests,
    segments: Vec<SegmentId>,
    origin: Origin,
    wal: Found,
}

impl Read {
    fn new<M: StateMachine>(
        vfs: &Arc<dyn Vfs>,
        config: &LogConfig,
        machine: &mut M,
    ) -> Result<Self, OpenError<M::Error>> {
        let dir = &config.dir;
        let segments: Vec<SegmentId> = numbered(&**vfs, &segments_dir(dir), SEGMENT_SUFFIX)?
            .into_iter()
            .map(SegmentId::new)
            .collect();
        let checkpoints = checkpoint::all(&**vfs, dir)?;
        let sequences = wal::file_sequences(&**vfs, dir)?;
        let written = node::read(&**vfs, config)?;
        let is_empty = sequences.is_empty() && segments.is_empty() && checkpoints.is_empty();
        if written.is_none() && !(is_empty && manifest::generations(&**vfs, dir)?.is_empty()) {
            return Err(node::missing(config));
        }
        let node = written.unwrap_or_else(|| NodeId::new(vfs.nonce()));
        let manifests = manifest::read(&**vfs, dir, node, config.shard)?;
        if manifests.newest.is_none() && !(segments.is_empty() && checkpoints.is_empty()) {
            return Err(OpenError::Foreign {
                path: manifest_dir(dir),
                what: "holds no manifest, while there are segments or checkpoints; restore it \
                       from a copy"
                    .to_owned(),
            });
        }
        let origin = origin(manifests.newest.as_ref());
        let mut index = Index::new(config.cache_bytes);
        let mut table = Table::default();
        if let Some(manifest) = &manifests.newest {
            restore(&**vfs, config, manifest, &mut index, machine)?;
            table = Table::new(&manifest.partitions);
        }
        let wal = wal::read(vfs, config, node, &origin, (index, table, machine))?;
        Ok(Self {
            node,
            is_new: written.is_none(),
            manifests,
            segments,
            origin,
            wal,
        })
    }

    /// Gets the log ready for what comes: from here on files change.
    fn accept<M: StateMachine>(
        self,
        vfs: Arc<dyn Vfs>,
        config: LogConfig,
        machine: M,
    ) -> Result<Recovered<M>, OpenError<M::Error>> {
        let Self {
            node,
            is_new,
            manifests,
            segments,
            origin,
            mut wal,
        } = self;
        let dir = config.dir.clone();
        for part in std::iter::once(wal::wal_dir(&dir)).chain(directories(&dir)) {
            vfs.create_dir_all(&part)
                .map_err(|source| io_error(&part, source))?;
        }
        if is_new {
            node::write(&*vfs, &config, node)?;
        }
        let files = Arc::new(files(&vfs, &config)?);
        let accepted = wal::accept(&vfs, &config, node, &origin, &mut wal, &files)?;
        let home = Home {
            vfs: vfs.clone(),
            dir: dir.clone(),
            node,
            shard: config.shard,
        };
        let next = next_manifest(&home, &manifests, &segments, &origin, &wal);
        write_manifest(&*vfs, &config, &files, &next)
            .map_err(|source| io_error(&manifest_path(&dir, next.generation), source))?;
        remove_what_is_left(&home, &manifests, &segments)?;
        wal::remove_before(&*vfs, &config, &wal.sequences, origin.start.file, &files)?;
        hold_reserve(&files, config.reserve_bytes(&next.sections))?;
        let writer = wal::go_on(config.clone(), accepted, &wal)?;
        files.archived_up_to(next.wal.file);
        files.add(next.segments.iter().map(|segment| segment.bytes).sum());
        let report = report(&dir, node, &manifests, &wal);
        let previous = manifests.newest;
        let end = wal.end;
        let generations = previous.iter().map(|manifest| manifest.generation);
        let generations = generations.chain([next.generation]).collect();
        let index = Arc::new(RwLock::new(end.index));
        let reader = LogReader::new(vfs, &config, index.clone(), files.clone());
        let seed = Seed {
            home,
            config,
            index,
            files,
            reader: reader.clone(),
            manifest: next,
            previous,
            table: end.table,
            applied: EntryIndex::new(end.next_index.value() - 1),
            start: end.start,
            generations,
        };
        Ok(Recovered {
            wal: writer,
            seed,
            reader,
            machine,
            report,
        })
    }
}

/// What is known about the files of the log, with its reserve as it was left.
fn files<E>(vfs: &Arc<dyn Vfs>, config: &LogConfig) -> Result<Files, OpenError<E>> {
    let reserve = Reserve::new(vfs.clone(), config);
    let path = reserve.path();
    reserve.find().map_err(|source| io_error(&path, source))?;
    Ok(Files::new(reserve))
}

/// Writes the manifest, with the reserve's room if there is no other, or else with that of the file
/// that was kept for later.
fn write_manifest(
    vfs: &dyn Vfs,
    config: &LogConfig,
    files: &Files,
    next: &Manifest,
) -> io::Result<()> {
    let write = || files.with_reserve(|| manifest::write(vfs, &config.dir, next));
    match write() {
        Err(error) if wal::is_full(&error) => {
            let spare = files.take_spare(config.wal_file_bytes).ok_or(error)?;
            vfs.remove(&wal::file_path(&config.dir, spare.sequence))?;
            vfs.sync_dir(&wal::wal_dir(&config.dir))?;
            files.subtract(spare.bytes);
            write()
        }
        written => written,
    }
}

/// Makes the reserve as long as it is to be, if there is room: without it the log opens, and takes
/// no records.
fn hold_reserve<E>(files: &Files, bytes: u64) -> Result<(), OpenError<E>> {
    let reserve = files.reserve();
    let hold = || {
        // What the log keeps became less, or the size of its files.
        if reserve.bytes() > bytes && reserve.may_be_shorter(bytes) {
            reserve.give_up()?;
        }
        reserve.hold(bytes)
    };
    if !hold().map_err(|source| io_error(&reserve.path(), source))? {
        let needed = reserve.room_for(bytes);
        tracing::error!(needed, "no room for the log's reserve: no record is stored");
    }
    Ok(())
}

fn origin(manifest: Option<&Manifest>) -> Origin {
    match manifest {
        Some(manifest) => Origin {
            start: manifest.wal,
            checkpoint: manifest.checkpoint,
            durable: manifest.durable,
            durable_file: manifest.durable_file,
            from_manifest: true,
        },
        None => Origin {
            start: FileStart::origin(),
            checkpoint: EntryIndex::new(0),
            durable: crate::ids::Lsn::new(0),
            durable_file: FileStart::origin().file,
            from_manifest: false,
        },
    }
}

/// Takes in what a manifest names: partitions, segments, sections.
fn restore<M: StateMachine>(
    vfs: &dyn Vfs,
    config: &LogConfig,
    manifest: &Manifest,
    index: &mut Index,
    machine: &mut M,
) -> Result<(), OpenError<M::Error>> {
    let dir = &config.dir;
    for state in &manifest.partitions {
        index.restore(state.partition, state.start, state.end, state.last_time);
    }
    restore_segments(vfs, dir, manifest, index)?;
    for section in &manifest.sections {
        let owner = (manifest.node, manifest.shard);
        let bytes = checkpoint::read(vfs, dir, owner, section)?;
        let name = section.name.as_str();
        machine.restore(name, &bytes).map_err(OpenError::Replay)?;
    }
    Ok(())
}

/// Takes in what the segments hold. If one of them cannot be used, the others are looked at, too:
/// they tell which partitions lack something.
fn restore_segments<E>(
    vfs: &dyn Vfs,
    dir: &Path,
    manifest: &Manifest,
    index: &mut Index,
) -> Result<(), OpenError<E>> {
    let mut refused = None;
    for segment in &manifest.segments {
        let restored = restore_segment(vfs, dir, manifest, *segment, index);
        refused = refused.or(restored.err());
    }
    Err(match refused {
        None => return Ok(()),
        Some(SegmentError::Io { path, source }) => OpenError::Io { path, source },
        Some(SegmentError::Foreign { path, what }) => OpenError::Foreign { path, what },
        Some(SegmentError::Corrupt { path, offset, what }) => OpenError::Corrupt {
            partitions: touched(vfs, (&path, what), manifest, index),
            path,
            offset,
            what: what.to_owned(),
        },
    })
}

fn restore_segment(
    vfs: &dyn Vfs,
    dir: &Path,
    manifest: &Manifest,
    segment: SegmentRef,
    index: &mut Index,
) -> Result<(), SegmentError> {
    let corrupt = |offset, what| SegmentError::Corrupt {
        path: segment_path(dir, segment.id),
        offset,
        what,
    };
    let meta = match read_footer(vfs, dir, segment.id, manifest.node, manifest.shard) {
        Err(SegmentError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(
                0,
                "the file is missing, though a manifest names it",
            ));
        }
        meta => meta?,
    };
    if SegmentRef::from(&meta) != segment {
        return Err(corrupt(0, SUBSTITUTE));
    }
    for run in meta.runs {
        let restored = index.restore_run(run);
        restored.map_err(|what| corrupt(run.position, what))?;
    }
    Ok(())
}

/// The partitions that a segment has something of which cannot be used: its frames name them. If
/// there are none, or they are another segment's, it is those that lack something which the other
/// segments do not hold.
fn touched(
    vfs: &dyn Vfs,
    (segment, what): (&Path, &str),
    manifest: &Manifest,
    index: &Index,
) -> String {
    let mut partitions = match what {
        SUBSTITUTE => BTreeSet::new(),
        _ => partitions_in(vfs, segment),
    };
    if partitions.is_empty() {
        let lack = |state: &&PartitionState| {
            // Below, compaction may have taken away what is not there.
            let mut next = state.start.max(state.compacted_to);
            for run in index.runs(state.partition) {
                if run.base > next {
                    return true;
                }
                next = next.max(run.end);
            }
            next < state.end
        };
        let lacking = manifest.partitions.iter().filter(lack);
        partitions = lacking.map(|state| state.partition).collect();
    }
    names::partitions(partitions, false)
}

/// The manifest of the log as it was found: it states what is durable by now, and if there was
/// none, it is the first.
fn next_manifest(
    home: &Home,
    manifests: &Manifests,
    segments: &[SegmentId],
    origin: &Origin,
    wal: &Found,
) -> Manifest {
    let newest = manifests.generations.last();
    let after = segments
        .last()
        .map_or(SegmentId::new(1), |last| last.next());
    let base = manifests.newest.clone().unwrap_or_else(|| Manifest {
        generation: Generation::new(0),
        node: home.node,
        shard: home.shard,
        durable: origin.durable,
        durable_file: origin.durable_file,
        checkpoint: origin.checkpoint,
        wal: origin.start,
        next_segment: SegmentId::new(1),
        sections: Vec::new(),
        segments: Vec::new(),
        partitions: Vec::new(),
    });
    Manifest {
        generation: newest.map_or(Generation::new(1), |newest| newest.next()),
        durable: wal.end.last,
        durable_file: wal.end.start.file,
        next_segment: base.next_segment.max(after),
        ..base
    }
}

/// Removes what no kept manifest names: files that were being made, and older or damaged
/// manifests.
fn remove_what_is_left<E>(
    home: &Home,
    manifests: &Manifests,
    segments: &[SegmentId],
) -> Result<(), OpenError<E>> {
    let Home { vfs, dir, .. } = home;
    let mut left = Vec::new();
    let kept = manifests.newest.as_ref();
    for generation in &manifests.generations {
        if kept.is_none_or(|kept| kept.generation != *generation) {
            left.push(manifest_path(dir, *generation));
        }
    }
    for id in segments {
        let is_it = |kept: &Manifest| kept.segments.iter().any(|segment| segment.id == *id);
        if !kept.is_some_and(is_it) {
            left.push(segment_path(dir, *id));
        }
    }
    for id in checkpoint::all(&**vfs, dir)? {
        let is_it = |kept: &Manifest| kept.sections.iter().any(|s| id == s.into());
        if !kept.is_some_and(is_it) {
            left.push(id.path(dir));
        }
    }
    for part in [segments_dir(dir), checkpoints_dir(dir), manifest_dir(dir)] {
        let names = list(&**vfs, &part)?;
        let temporary = names.iter().filter(|name| name.ends_with(TEMPORARY_SUFFIX));
        left.extend(temporary.map(|name| part.join(name)));
    }
    for path in left {
        vfs.remove(&path)
            .map_err(|source| io_error(&path, source))?;
    }
    Ok(())
}

fn report(dir: &Path, node: NodeId, manifests: &Manifests, wal: &Found) -> RecoveryReport {
    for passed in &manifests.passed_over {
        tracing::warn!(
            path = %passed.path.display(), offset = passed.offset, what = passed.what,
            "this manifest is damaged; the one before was used, which is enough"
        );
    }
    let newest = manifests.newest.as_ref();
    RecoveryReport {
        node,
        manifest: newest.map(|manifest| manifest_path(dir, manifest.generation)),
        passed_over: manifests.passed_over.clone(),
        segments: newest.map_or(0, |manifest| manifest.segments.len() as u64),
        blocks: wal.end.blocks,
        last: wal.end.last,
        durable: wal.end.last,
        cut: wal.end.cut.clone(),
    }
}
