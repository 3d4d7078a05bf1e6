//! Giving files back: what neither the newest manifest nor the one before it names. One at a
//! time, so that a full file does not hold up what comes next.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use super::{Archiver, Home, Present};
use crate::checkpoint::CheckpointId;
use crate::error::LogError;
use crate::ids::{FileSequence, Generation, SegmentId};
use crate::manifest::{Manifest, SegmentRef, manifest_path};
use crate::segment::segment_path;
use crate::vfs::OpenMode;
use crate::wal::{Spare, file_path};

/// A file that nobody needs.
#[derive(Clone, Debug)]
pub(super) enum Garbage {
    Manifest(Generation),
    Wal(FileSequence),
    Segment(SegmentId),
    Checkpoint(CheckpointId),
}

/// What manifests need.
#[derive(Debug)]
struct Needs {
    generation: Generation,
    wal: FileSequence,
    segments: BTreeSet<SegmentId>,
    checkpoints: BTreeSet<CheckpointId>,
}

impl Needs {
    fn of(manifest: &Manifest) -> Self {
        Self {
            generation: manifest.generation,
            wal: manifest.wal.file,
            segments: manifest.segments.iter().map(|segment| segment.id).collect(),
            checkpoints: manifest.sections.iter().map(CheckpointId::from).collect(),
        }
    }

    fn needs(&self, file: &Garbage) -> bool {
        match file {
            Garbage::Manifest(generation) => *generation >= self.generation,
            Garbage::Wal(sequence) => *sequence >= self.wal,
            Garbage::Segment(id) => self.segments.contains(id),
            Garbage::Checkpoint(id) => self.checkpoints.contains(id),
        }
    }
}

impl Archiver {
    /// Looks for what neither manifest names, and whether a third one would make more of it.
    pub(super) fn find_garbage(&mut self) {
        let newest = Needs::of(&self.manifest);
        let previous = self.previous.as_ref().map(Needs::of);
        self.garbage.clear();
        self.gains = false;
        let Present {
            generations,
            wal,
            segments,
            checkpoints,
        } = &self.present;
        let all = (generations.iter().copied().map(Garbage::Manifest))
            .chain(wal.iter().copied().map(Garbage::Wal))
            .chain(segments.keys().copied().map(Garbage::Segment))
            .chain(checkpoints.iter().cloned().map(Garbage::Checkpoint));
        for file in all.filter(|file| !newest.needs(file)) {
            if previous
                .as_ref()
                .is_none_or(|previous| !previous.needs(&file))
            {
                self.garbage.push_back(file);
            } else {
                self.gains |= !matches!(file, Garbage::Manifest(_));
            }
        }
    }

    /// Gives one file back; answers whether there was one.
    pub(super) fn release_one(&mut self) -> Result<bool, LogError> {
        let Some(file) = self.garbage.front().cloned() else {
            return Ok(false);
        };
        let dir = &self.home.dir;
        match &file {
            Garbage::Manifest(generation) => {
                self.remove(&manifest_path(dir, *generation))?;
                self.present.generations.remove(generation);
            }
            Garbage::Wal(sequence) => {
                self.give_back(*sequence)?;
                self.reader.close(sequence.next(), &[]);
                self.present.wal.remove(sequence);
            }
            Garbage::Segment(id) => {
                self.remove(&segment_path(dir, *id))?;
                // As long as somebody has it open, its room is not free.
                self.reader.close(FileSequence::default(), &[*id]);
                let bytes = self.present.segments.remove(id).unwrap_or(0);
                self.files.subtract(bytes);
            }
            Garbage::Checkpoint(id) => {
                self.remove(&id.path(dir))?;
                self.present.checkpoints.remove(id);
            }
        }
        self.garbage.pop_front();
        Ok(true)
    }

    /// A planted bug: what will be in no manifest any more goes before there is one.
    pub(super) fn free_too_early(&mut self) -> Result<(), LogError> {
        while let Some(&oldest) = self.present.wal.first()
            && oldest < self.current.file
        {
            self.remove(&file_path(&self.home.dir, oldest))?;
            self.present.wal.remove(&oldest);
        }
        Ok(())
    }

    /// The segments in which something lives.
    pub(super) fn living_segments(&self) -> Vec<SegmentRef> {
        let live = self.read_index(|index| index.live_runs());
        let segments = self.manifest.segments.iter();
        segments
            .filter(|segment| live.contains_key(&segment.id))
            .copied()
            .collect()
    }

    /// Writes a manifest without the segments in which nothing lives, if there are any.
    pub(super) fn drop_dead(&mut self) -> Result<bool, LogError> {
        let segments = self.living_segments();
        let any = segments.len() < self.manifest.segments.len();
        if any {
            let next = Manifest {
                segments,
                ..self.manifest.clone()
            };
            self.install(next)?;
        }
        // Not before it is done: without room for a manifest it is tried again.
        self.may_have_dead = false;
        self.may_rewrite = true;
        Ok(any)
    }

    /// Where there is no room for a segment: gives back what takes no more than a manifest to
    /// give back. Answers whether there was anything.
    pub(super) fn make_room(&mut self) -> Result<bool, LogError> {
        if self.drop_spares()? || self.drop_dead()? {
            return Ok(true);
        }
        if self.gains {
            return self.install_again();
        }
        Ok(false)
    }

    /// Whether there is room for so many bytes, before some of them are written in vain; with the
    /// reserve's room if that is what makes the difference.
    pub(super) fn find_room(&self, bytes: u64) -> Result<(), LogError> {
        // A disk that does not tell is found to be full when it is.
        let Ok(space) = self.home.vfs.free_space(&self.home.dir) else {
            return Ok(());
        };
        if bytes <= space.free {
            return Ok(());
        }
        let failed = Self::failed_at("finding room in", &self.home.dir);
        let enough = bytes <= space.free.saturating_add(self.files.reserve().bytes());
        match enough.then(|| self.files.give_up_reserve()) {
            Some(Ok(true)) => Ok(()),
            Some(Err(error)) => Err(failed(error)),
            None | Some(Ok(false)) => Err(failed(io::ErrorKind::StorageFull.into())),
        }
    }

    /// Makes the reserve anew, or as long as the newest sections ask for, once there is room for
    /// that and nobody waits for it; answers whether it did.
    pub(super) fn tend_reserve(&self) -> Result<bool, LogError> {
        let reserve = self.files.reserve();
        if self.files.is_stuck() || self.files.archiver_is_stuck() {
            return Ok(false);
        }
        let (was_whole, before) = (reserve.is_whole(), reserve.bytes());
        let bytes = self.config.reserve_bytes(&self.manifest.sections);
        let room = reserve.room_for(bytes);
        let Home { vfs, dir, .. } = &self.home;
        let free = vfs.free_space(dir).map_or(u64::MAX, |space| space.free);
        let with_spares = free.saturating_add(self.files.spare_bytes_but_one());
        if room > free && room <= with_spares {
            self.drop_spares()?;
        }
        let whole = reserve.hold(bytes);
        let whole = whole.map_err(Self::failed_at("making", &reserve.path()))?;
        match (was_whole, whole) {
            (false, true) => tracing::info!("there is room for the log's reserve again"),
            (true, false) => tracing::error!(
                needed = room,
                free,
                "the log's reserve has to grow with the log's state, and there is no room: no \
                 record is stored until there is"
            ),
            _ => {}
        }
        Ok(reserve.bytes() > before)
    }

    /// Removes the files that are kept for later, but for one: the log may need that, to hear of
    /// what is deleted.
    pub(super) fn drop_spares(&self) -> Result<bool, LogError> {
        let mut any = false;
        while let Some(spare) = self.files.take_spare_but_one() {
            self.remove(&file_path(&self.home.dir, spare.sequence))?;
            self.files.subtract(spare.bytes);
            any = true;
        }
        Ok(any)
    }

    /// The file is used again under another number, or removed if there are enough of them.
    fn give_back(&self, sequence: FileSequence) -> Result<(), LogError> {
        let path = file_path(&self.home.dir, sequence);
        let file = self.home.vfs.open(&path, OpenMode::Read);
        let bytes = file
            .and_then(|file| file.size())
            .map_err(Self::failed_at("reading", &path))?;
        let spare = Spare { sequence, bytes };
        let fits = bytes == self.config.wal_file_bytes;
        if fits && self.files.give_spare(spare).is_none() {
            return Ok(());
        }
        self.remove(&path)?;
        self.files.subtract(bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> Result<(), LogError> {
        let removed = self.home.vfs.remove(path);
        removed.map_err(Self::failed_at("removing", path))
    }
}
