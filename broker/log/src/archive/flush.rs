//! A flush: everything that was taken in goes into segments and checkpoints, and a manifest
//! joins them. Until that manifest is durable, nothing of it counts.

use std::sync::PoisonError;
use std::time::Duration;

use weir_wire::id::{EntryIndex, TopicPartition};

use super::collect::Wanted;
use super::{Archiver, Home};
use crate::checkpoint::{self, CheckpointId, checkpoints_dir};
use crate::config::Bug;
use crate::error::LogError;
use crate::format::name::SectionName;
use crate::ids::SegmentId;
use crate::index::Place;
use crate::manifest::{Manifest, SectionRef, SegmentRef};
use crate::page_buf::PAGE_BYTES;
use crate::segment::{FrameRef, SegmentMeta, SegmentWriter, segment_path, segments_dir};

/// Bytes of batches in memory on their way into a segment.
const COLLECT_BYTES: usize = 16 << 20;
/// With time, segments are written in pieces of that size with pauses, which leaves the disk to
/// the log.
const PACED_BYTES: usize = 256 << 10;
const PAUSE: Duration = Duration::from_millis(2);

/// What a segment takes at most besides its frames and runs, which is whole pages.
const SEGMENT_BYTES: u64 = 4 * PAGE_BYTES as u64;
/// What a batch takes in a segment besides itself, with its share of a run's part in the footer;
/// rather more than less.
const FRAME_BYTES: u64 = 160;

/// What a partition and its segment take in a manifest; rather more than less.
const ADDED_BYTES: u64 = 80;

/// What a batch takes in a segment, about.
fn room_for(place: &Place) -> u64 {
    FRAME_BYTES + u64::from(place.columns) + u64::from(place.length)
}

/// What a flush has to move into segments.
#[derive(Debug, Default)]
struct Plan {
    /// Partitions that get a segment of their own.
    own: Vec<TopicPartition>,
    /// Those that share.
    shared: Vec<TopicPartition>,
    /// What the segments take, about.
    bytes: u64,
}

/// The segments of a flush.
#[derive(Debug, Default)]
struct Written {
    done: Vec<SegmentMeta>,
    /// The one that is being written.
    open: Option<SegmentWriter>,
    run: Option<TopicPartition>,
    next: SegmentId,
    paused_at: u64,
}

impl Archiver {
    /// Writes everything that was taken in, if there is room for all of it.
    pub(super) fn write_all(&mut self) -> Result<(), LogError> {
        self.take_sections();
        let plan = self.plan();
        self.find_room(plan.bytes + self.bytes_to_join(&plan))?;
        let first = self.next_segment;
        let done = self.write_planned(plan, first);
        if done.as_ref().is_err_and(LogError::is_disk_full) {
            // Nothing of it counts, and its room may be what is missing.
            self.remove_segments_from(first);
            for (id, _) in self.sections_to_write() {
                let _ = self.home.vfs.remove(&id.path(&self.home.dir));
            }
        }
        done
    }

    fn write_planned(&mut self, plan: Plan, first: SegmentId) -> Result<(), LogError> {
        let segments = self.write_segments(plan, first)?;
        if self.config.plants(Bug::FreedTooEarly) {
            self.free_too_early()?;
        }
        self.join(&segments)
    }

    /// Checkpoints and manifest; then readers are led to the segments.
    fn join(&mut self, segments: &[SegmentMeta]) -> Result<(), LogError> {
        let sections = self.write_sections()?;
        let index = self.index.clone();
        self.table.retain(|at| {
            let index = index.read().unwrap_or_else(PoisonError::into_inner);
            index.bounds(at).is_some()
        });
        let table = &self.table;
        self.compactions.retain(|at| table.end(at).is_some());
        let too_high = self.config.plants(Bug::CheckpointTooHigh);
        let mut next = Manifest {
            checkpoint: EntryIndex::new(self.applied.value() + u64::from(too_high)),
            wal: self.current,
            sections,
            partitions: self.table.states(),
            segments: self.living_segments(),
            ..self.manifest.clone()
        };
        for meta in segments {
            next.next_segment = next.next_segment.max(meta.id.next());
            next.segments.push(SegmentRef::from(meta));
        }
        self.next_segment = self.next_segment.max(next.next_segment);
        let ids: Vec<_> = next.sections.iter().map(CheckpointId::from).collect();
        self.install(next)?;
        self.present.checkpoints.extend(ids);
        let runs: Vec<_> = segments.iter().flat_map(|meta| meta.runs.clone()).collect();
        self.index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .archived(&runs, self.current.file);
        for meta in segments {
            self.present.segments.insert(meta.id, meta.bytes);
            self.files.add(meta.bytes);
        }
        self.table.flushed();
        self.unsaved.clear();
        self.due = false;
        self.may_rewrite = true;
        Ok(())
    }

    /// The batches that are in no segment: large partitions get one of their own, the others
    /// share.
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for at in self.table.touched() {
            let places = self.pending(at);
            let bytes: u64 = places.iter().map(|place| u64::from(place.length)).sum();
            plan.bytes += places.iter().map(room_for).sum::<u64>();
            match places.is_empty() {
                true => {}
                false if bytes >= self.config.segment_own_bytes => {
                    plan.bytes += SEGMENT_BYTES;
                    plan.own.push(at);
                }
                false => plan.shared.push(at),
            }
        }
        if !plan.shared.is_empty() {
            plan.bytes += SEGMENT_BYTES;
        }
        plan
    }

    /// What the checkpoints and the manifest take that make segments count.
    fn bytes_to_join(&self, plan: &Plan) -> u64 {
        let sections = self.sections_to_write();
        let sections = sections.map(|(_, bytes)| checkpoint::room_for(bytes.len() as u64));
        let manifest = self.manifest.encode().len() as u64;
        let added = (plan.own.len() + plan.shared.len() + 1) as u64 * ADDED_BYTES;
        sections.sum::<u64>() + checkpoint::room_for(manifest + added)
    }

    fn write_segments(
        &mut self,
        plan: Plan,
        first: SegmentId,
    ) -> Result<Vec<SegmentMeta>, LogError> {
        let mut written = Written {
            next: first,
            ..Written::default()
        };
        for at in plan.own {
            self.copy(&[at], &mut written)?;
            self.finish(&mut written)?;
        }
        self.copy(&plan.shared, &mut written)?;
        self.finish(&mut written)?;
        if !written.done.is_empty() {
            self.sync_dir(&segments_dir(&self.home.dir))?;
        }
        Ok(written.done)
    }

    /// A partition's batches that are in no segment, as far as they were taken in.
    fn pending(&self, at: TopicPartition) -> Vec<Place> {
        let Some(end) = self.table.end(at) else {
            return Vec::new();
        };
        let mut places = self.read_index(|index| index.pending(at, self.current.file));
        places.truncate(places.partition_point(|place| place.base_offset < end));
        if self.config.plants(Bug::BoundaryBatchLost) {
            places.pop();
        }
        places
    }

    /// Copies these partitions' batches, a bounded part at a time.
    fn copy(&self, partitions: &[TopicPartition], to: &mut Written) -> Result<(), LogError> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut bytes = 0;
        for at in partitions {
            for place in self.pending(*at) {
                bytes += place.length as usize;
                wanted.push((*at, place));
                if bytes >= COLLECT_BYTES {
                    self.copy_part(&wanted, to)?;
                    wanted.clear();
                    bytes = 0;
                }
            }
        }
        self.copy_part(&wanted, to)
    }

    fn copy_part(&self, wanted: &[Wanted], to: &mut Written) -> Result<(), LogError> {
        let batches = self.collect(wanted)?;
        for ((at, _), batch) in wanted.iter().zip(&batches) {
            let begins = to.run != Some(*at);
            let full = |open: &SegmentWriter| open.bytes() >= self.config.segment_bytes;
            if begins && to.open.as_ref().is_some_and(full) {
                self.finish(to)?;
            }
            let writer = match &mut to.open {
                Some(writer) => writer,
                none => none.insert(self.begin(&mut to.next)?),
            };
            if begins {
                writer.begin_run(*at);
                to.run = Some(*at);
            }
            let pushed = writer.push(&FrameRef::from(batch));
            pushed.map_err(|error| LogError::io("writing", writer.path(), &error))?;
            if self.paced && writer.bytes_written() >= to.paused_at + PACED_BYTES as u64 {
                to.paused_at = writer.bytes_written();
                self.feed.pause(PAUSE);
            }
        }
        Ok(())
    }

    fn begin(&self, next: &mut SegmentId) -> Result<SegmentWriter, LogError> {
        let id = *next;
        *next = id.next();
        self.create_segment(id)
    }

    pub(super) fn create_segment(&self, id: SegmentId) -> Result<SegmentWriter, LogError> {
        let Home {
            vfs,
            dir,
            node,
            shard,
        } = &self.home;
        let writer = SegmentWriter::create(&**vfs, dir, id, *node, *shard, true)
            .map_err(Self::failed_at("creating", &segment_path(dir, id)))?;
        let writer = if self.config.plants(Bug::SegmentsUnsynced) {
            writer.unsynced()
        } else {
            writer
        };
        Ok(if self.paced && self.feed.is_calm() {
            writer.in_pieces_of(PACED_BYTES)
        } else {
            writer
        })
    }

    fn finish(&self, written: &mut Written) -> Result<(), LogError> {
        written.run = None;
        written.paused_at = 0;
        let Some(writer) = written.open.take() else {
            return Ok(());
        };
        let path = writer.path().to_owned();
        let meta = writer.finish().map_err(Self::failed_at("writing", &path))?;
        written.done.push(meta);
        Ok(())
    }

    /// The sections that changed, as of now.
    fn take_sections(&mut self) {
        for (name, bytes) in self.machine.changed_sections() {
            let name = SectionName::from_bytes(name.as_bytes())
                .expect("a state machine's sections are called by lower-case words");
            self.unsaved.insert(name, bytes);
        }
    }

    /// Those that are not on the disk yet. The state of an entry is always the same, and what a
    /// manifest names is never written again.
    fn sections_to_write(&self) -> impl Iterator<Item = (CheckpointId, &[u8])> {
        let ids = self.unsaved.iter().map(|(name, bytes)| {
            let id = CheckpointId {
                name: name.clone(),
                index: self.applied,
            };
            (id, bytes.as_slice())
        });
        ids.filter(|(id, _)| {
            let mut named = self.manifest.sections.iter().map(CheckpointId::from);
            !named.any(|named| named == *id)
        })
    }

    /// The sections as of now: those that changed are written.
    fn write_sections(&self) -> Result<Vec<SectionRef>, LogError> {
        let Home {
            vfs,
            dir,
            node,
            shard,
        } = &self.home;
        let mut sections = self.manifest.sections.clone();
        let mut wrote = false;
        for (id, bytes) in self.sections_to_write() {
            let written = checkpoint::write(&**vfs, dir, (*node, *shard), &id, bytes);
            let section = written.map_err(Self::failed_at("writing", &id.path(dir)))?;
            wrote = true;
            sections.retain(|section| section.name != id.name);
            sections.push(section);
        }
        if wrote {
            self.sync_dir(&checkpoints_dir(dir))?;
        }
        Ok(sections)
    }

    /// Removes the segments of a flush that came to nothing.
    fn remove_segments_from(&self, first: SegmentId) {
        let mut id = first;
        // They were made one after the other.
        while self
            .home
            .vfs
            .remove(&segment_path(&self.home.dir, id))
            .is_ok()
        {
            id = id.next();
        }
    }
}
