//! Rewriting segments: what still lives in a few of them is copied to new ones, a manifest joins
//! these, and the old ones go. So the room of what was trimmed or deleted comes back, runs grow
//! and files stay few. It is done a piece at a time, and a flush never waits for more than a
//! piece.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::time::Duration;

use weir_wire::id::{Offset, TopicPartition};

use super::compact::{Cleaning, Outcome};
use super::{Archiver, Home};
use crate::error::{LogError, ReadError};
use crate::ids::SegmentId;
use crate::manifest::{Manifest, SegmentRef};
use crate::segment::{
    Frame, FrameRef, Run, RunReader, SegmentMeta, SegmentWriter, segment_path, segments_dir,
};

mod plan;

pub(super) use plan::{Part, Plan};

/// Bytes copied by one step: at full speed, and with time.
const STEP_BYTES: u64 = 4 << 20;
const PACED_STEP_BYTES: u64 = 256 << 10;
const PAUSE: Duration = Duration::from_millis(2);

/// A rewrite that is under way. Until its manifest is durable, nothing of it counts.
#[derive(Debug)]
pub(super) struct Rewrite {
    plan: Plan,
    reading: Option<Reading>,
    writer: Option<SegmentWriter>,
    /// What the open segment holds the newest run of.
    run: Option<TopicPartition>,
    made: Vec<SegmentId>,
    done: Vec<SegmentMeta>,
    /// What goes from one partition's batches besides.
    cleaning: Option<Cleaning>,
}

/// A part that is being copied.
#[derive(Debug)]
struct Reading {
    partition: TopicPartition,
    own: bool,
    /// Where the part's last run ends.
    end: Offset,
    runs: VecDeque<Run>,
    open: Option<(Run, RunReader, Copied)>,
}

/// What was copied of a run.
#[derive(Clone, Copy, Debug, Default)]
struct Copied {
    /// Records, if there was one for every offset.
    full: u64,
    /// Something was left out, or counted one by one.
    inexact: bool,
}

/// Why a rewrite goes no further.
#[derive(Debug)]
enum Stop {
    /// A segment that is read is damaged or cannot be read.
    Source(SegmentId, ReadError),
    Failed(LogError),
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        Self::Failed(error)
    }
}

impl Rewrite {
    pub(super) fn new(plan: Plan, cleaning: Option<Cleaning>) -> Self {
        Self {
            plan,
            reading: None,
            writer: None,
            run: None,
            made: Vec::new(),
            done: Vec::new(),
            cleaning,
        }
    }
}

impl Archiver {
    /// Goes on with the rewrite that is under way, or begins one; answers whether there was
    /// anything to do.
    pub(super) fn rewrite_step(&mut self) -> Result<bool, LogError> {
        let Some(mut rewrite) = self.rewrite.take() else {
            let compacts = self.mapping_step() || self.begin_compaction();
            return Ok(compacts || self.begin_rewrite());
        };
        let done = self.copy_piece(&mut rewrite);
        let done = match done {
            Ok(true) => {
                self.rewrite = Some(rewrite);
                return Ok(true);
            }
            Ok(false) => self.replace(&mut rewrite),
            Err(stop) => Err(stop),
        };
        let Err(stop) = done else {
            return Ok(true);
        };
        match stop {
            Stop::Source(segment, error) => {
                self.remove_made(&rewrite);
                tracing::error!(%segment, %error, "a segment is left as it is");
                self.spared.insert(segment);
                Ok(true)
            }
            // Nobody waits for a rewrite: it is tried again after the next flush.
            Stop::Failed(error) if error.is_disk_full() => {
                self.remove_made(&rewrite);
                tracing::warn!(%error, "no room to rewrite segments");
                Ok(true)
            }
            // A manifest may name them by now. The next start removes what none names.
            Stop::Failed(error) => Err(error),
        }
    }

    /// Removes the segments of a rewrite that came to nothing, which no manifest names.
    fn remove_made(&self, rewrite: &Rewrite) {
        for id in &rewrite.made {
            let _ = self.home.vfs.remove(&segment_path(&self.home.dir, *id));
        }
    }

    fn begin_rewrite(&mut self) -> bool {
        if !std::mem::take(&mut self.may_rewrite) {
            return false;
        }
        let plan = self.read_index(|index| {
            plan::plan(&self.manifest.segments, &self.spared, index, &self.config)
        });
        let Some(plan) = plan.filter(|plan| self.has_room_for(plan.bytes)) else {
            return false;
        };
        self.rewrite = Some(Rewrite::new(plan, None));
        true
    }

    /// Whether that much may be written without touching the reserve.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        let Ok(mut space) = self.home.vfs.free_space(&self.home.dir) else {
            return true;
        };
        space.free = space.free.saturating_sub(bytes);
        !self.config.disk_reserve.is_touched(space)
    }

    /// Copies about as much as a step may; answers whether something is left.
    fn copy_piece(&mut self, rewrite: &mut Rewrite) -> Result<bool, Stop> {
        let step = if self.paced {
            PACED_STEP_BYTES
        } else {
            STEP_BYTES
        };
        let mut copied = 0;
        while copied < step {
            let Some(mut reading) = rewrite.reading.take() else {
                match rewrite.plan.parts.pop_front() {
                    Some(part) => rewrite.reading = Some(Reading::new(part)),
                    None => return Ok(false),
                }
                continue;
            };
            match self.next_frame(rewrite, &mut reading)? {
                Some(frame) => {
                    copied += frame.batch.bytes.len() as u64;
                    self.copy_frame(rewrite, &mut reading, &frame)?;
                    rewrite.reading = Some(reading);
                }
                None => self.end_part(rewrite, &reading)?,
            }
        }
        if self.paced {
            self.feed.pause(PAUSE);
        }
        Ok(true)
    }

    fn next_frame(
        &self,
        rewrite: &mut Rewrite,
        reading: &mut Reading,
    ) -> Result<Option<Frame>, Stop> {
        loop {
            if let Some((run, reader, copied)) = &mut reading.open {
                let frame = reader.next();
                if let Some(frame) = frame.map_err(|error| Stop::Source(run.segment, error))? {
                    return Ok(Some(frame));
                }
                if let Some(writer) = &mut rewrite.writer
                    && rewrite.run == Some(reading.partition)
                {
                    // What batches lack that were compacted, only their run knows.
                    let lacking = copied.full.saturating_sub(run.records);
                    writer.lacks_records(if copied.inexact { 0 } else { lacking });
                }
                reading.open = None;
            }
            let Some(run) = reading.runs.pop_front() else {
                return Ok(None);
            };
            // What was trimmed or deleted meanwhile may even be gone from the disk.
            if !self.read_index(|index| index.is_live(&run)) {
                continue;
            }
            let Home { vfs, dir, .. } = &self.home;
            let reader = RunReader::open(&**vfs, dir, &run, true)
                .map_err(|error| Stop::Source(run.segment, error))?;
            reading.open = Some((run, reader, Copied::default()));
        }
    }

    fn copy_frame(
        &mut self,
        rewrite: &mut Rewrite,
        reading: &mut Reading,
        frame: &Frame,
    ) -> Result<(), Stop> {
        let batch = &frame.batch;
        let partition = reading.partition;
        let Some((_, _, copied)) = &mut reading.open else {
            return Ok(());
        };
        let bounds = self.read_index(|index| index.bounds(partition));
        if bounds.is_none_or(|bounds| batch.end() <= bounds.start) {
            copied.inexact = true;
            return Ok(());
        }
        copied.full += u64::from(batch.count);
        let cleaning = rewrite.cleaning.as_mut();
        let cleaning = cleaning.filter(|cleaning| cleaning.concerns(partition, batch));
        let outcome = cleaning.map_or(Outcome::Whole(batch.count), |it| it.clean(batch));
        let (frame, records) = match &outcome {
            Outcome::Nothing => {
                copied.inexact = true;
                return Ok(());
            }
            Outcome::Whole(records) => (FrameRef::from(batch), *records),
            Outcome::Less(less, records) => (FrameRef::from(less), *records),
        };
        copied.inexact |= records != batch.count;
        let frame = FrameRef { records, ..frame };
        self.write_frame(rewrite, (partition, reading.own), &frame)
    }

    fn write_frame(
        &mut self,
        rewrite: &mut Rewrite,
        (partition, own): (TopicPartition, bool),
        frame: &FrameRef<'_>,
    ) -> Result<(), Stop> {
        let begins = rewrite.run != Some(partition);
        let is_full = |writer: &SegmentWriter| writer.bytes() >= self.config.segment_bytes;
        if rewrite.writer.as_ref().is_some_and(is_full) && (begins || own) {
            self.finish_segment(rewrite)?;
        }
        let writer = match &mut rewrite.writer {
            Some(writer) => writer,
            none => {
                let id = self.next_segment;
                self.next_segment = id.next();
                rewrite.made.push(id);
                none.insert(self.create_segment(id)?)
            }
        };
        if rewrite.run != Some(partition) {
            writer.begin_run(partition);
            rewrite.run = Some(partition);
        }
        let pushed = writer.push(frame);
        pushed.map_err(|error| LogError::io("writing", writer.path(), &error))?;
        Ok(())
    }

    /// A part's runs are copied.
    fn end_part(&self, rewrite: &mut Rewrite, reading: &Reading) -> Result<(), Stop> {
        if rewrite.run == Some(reading.partition)
            && let Some(writer) = &mut rewrite.writer
        {
            writer.end_run(reading.end);
        }
        rewrite.run = None;
        if reading.own {
            self.finish_segment(rewrite)?;
        }
        Ok(())
    }

    fn finish_segment(&self, rewrite: &mut Rewrite) -> Result<(), Stop> {
        rewrite.run = None;
        let Some(writer) = rewrite.writer.take() else {
            return Ok(());
        };
        let path = writer.path().to_owned();
        let meta = writer.finish().map_err(Self::failed_at("writing", &path))?;
        rewrite.done.push(meta);
        Ok(())
    }

    /// Everything is copied: the new segments take the place of the old ones.
    fn replace(&mut self, rewrite: &mut Rewrite) -> Result<(), Stop> {
        self.finish_segment(rewrite)?;
        if !rewrite.done.is_empty() {
            self.sync_dir(&segments_dir(&self.home.dir))?;
        }
        let dropped = &rewrite.plan.dropped;
        let mut segments = self.living_segments();
        segments.retain(|segment| !dropped.contains(&segment.id));
        segments.extend(rewrite.done.iter().map(SegmentRef::from));
        let mut next = Manifest {
            next_segment: self.next_segment.max(self.manifest.next_segment),
            segments,
            ..self.manifest.clone()
        };
        if let Some(cleaning) = &rewrite.cleaning {
            cleaning.note(&mut next.partitions);
        }
        self.install(next)?;
        let runs: Vec<Run> = rewrite
            .done
            .iter()
            .flat_map(|meta| meta.runs.clone())
            .collect();
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        index.replace(dropped, runs);
        drop(index);
        for meta in &rewrite.done {
            self.present.segments.insert(meta.id, meta.bytes);
            self.files.add(meta.bytes);
        }
        if let Some(cleaning) = &rewrite.cleaning {
            self.compacted(cleaning.partition(), cleaning.up_to());
        }
        tracing::debug!(
            replaced = dropped.len(),
            by = rewrite.done.len(),
            "segments were rewritten"
        );
        self.find_garbage();
        self.may_rewrite = true;
        Ok(())
    }
}

impl Reading {
    fn new(part: Part) -> Self {
        let Part {
            partition,
            runs,
            own,
        } = part;
        Self {
            partition,
            own,
            end: runs.back().map_or(Offset::ZERO, |run| run.end),
            runs,
            open: None,
        }
    }
}
