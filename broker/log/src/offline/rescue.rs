//! Getting batches out of a log, damaged or not.
//!
//! First everything is looked at and only places are kept; then each partition's places are put
//! in order and read again. What the log goes by comes first: segments that the manifest names,
//! then the WAL. What is left over from before (segments that were replaced, remains of damaged
//! blocks) only fills what is missing then.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use weir_wire::id::{EntryIndex, Offset, TopicPartition};

use super::frames::{Frames, Piece};
use super::losses::Losses;
use super::pages::Pages;
use super::places::{Place, Spot, Stretches, disjoint};
use super::survey::{RESTORE, Survey};
use super::verify::footer;
use super::walk::{Visit, walk};
use super::{Damage, OfflineError, RescueReport, RescuedBatch, StatePart};
use crate::checkpoint::CheckpointId;
use crate::format::checkpoint::CheckpointHeader;
use crate::format::entry::{DecodedEntry, DecodedOp, ENVELOPE_FIXED, Envelope, extent_bytes};
use crate::format::fields::Fields;
use crate::format::segment::FRAMES_AT;
use crate::ids::{FileSequence, SegmentId};
use crate::index::StoredBatch;
use crate::manifest::PartitionState;
use crate::segment::segment_path;
use crate::vfs::Vfs;
use crate::wal::{RecoveredEntry, RecoveredOp, file_path};

type Wanted<'a> = &'a dyn Fn(TopicPartition) -> bool;
type Each<'a> = &'a mut dyn FnMut(RescuedBatch) -> io::Result<()>;

/// Places are used in this order, behind those of segments that the manifest names: 0.
const WAL_RANK: u8 = 1;
const REPLACED_RANK: u8 = 2;
const REMAINS_RANK: u8 = 3;

pub(super) fn rescue(
    vfs: &dyn Vfs,
    dir: &Path,
    known: &[TopicPartition],
    wanted: Wanted<'_>,
    each: Each<'_>,
) -> Result<RescueReport, OfflineError> {
    let survey = Survey::new(vfs, dir)?;
    let mut found = Found {
        survey: &survey,
        wanted,
        places: BTreeMap::new(),
        starts: BTreeMap::new(),
        losses: Losses::default(),
        lacks_segments: survey.lacks_segments(),
        spoilt: BTreeMap::new(),
        damages: survey.damages.clone(),
    };
    for id in &survey.segments {
        found.segment(*id);
    }
    found.wal();
    let mut report = RescueReport {
        damages: std::mem::take(&mut found.damages),
        unknown: found.losses.is_anybodys(),
        ..RescueReport::default()
    };
    let states = survey.partitions().iter();
    let states: BTreeMap<_, _> = states.map(|state| (state.partition, *state)).collect();
    let mut partitions: BTreeSet<TopicPartition> = found.places.keys().copied().collect();
    let others = states.keys().copied().chain(found.losses.named());
    partitions.extend(others.chain(known.iter().copied()).filter(|at| wanted(*at)));
    for partition in partitions {
        let state = states.get(&partition).copied();
        found.partition(partition, state, &mut report, each)?;
    }
    Ok(report)
}

/// What was found of the wanted partitions.
struct Found<'a> {
    survey: &'a Survey<'a>,
    wanted: Wanted<'a>,
    places: BTreeMap<TopicPartition, Vec<Place>>,
    /// Where partitions were trimmed to.
    starts: BTreeMap<TopicPartition, Offset>,
    losses: Losses,
    /// Segments are missing, or do not say what they hold.
    lacks_segments: bool,
    /// The offsets of runs with something damaged in them.
    spoilt: BTreeMap<TopicPartition, BTreeSet<(Offset, Offset)>>,
    damages: Vec<Damage>,
}

impl Found<'_> {
    fn add(&mut self, partition: TopicPartition, place: Place) {
        if (self.wanted)(partition) {
            self.places.entry(partition).or_default().push(place);
        }
    }

    fn segment(&mut self, id: SegmentId) {
        let path = segment_path(self.survey.dir, id);
        let runs = match footer(self.survey.vfs, self.survey.dir, self.survey.node, id) {
            Ok(meta) => meta.runs,
            Err((_, damage)) => {
                self.damages.push(damage);
                self.lacks_segments |= self.survey.names(id);
                Vec::new()
            }
        };
        let Ok(mut pages) = Pages::open(self.survey.vfs, &path, false) else {
            return;
        };
        let size = pages.size();
        let rank = if self.survey.names(id) {
            0
        } else {
            REPLACED_RANK
        };
        if runs.is_empty() {
            self.frames(&mut pages, (FRAMES_AT, size), Stretches::new(id, rank));
        }
        for run in runs.iter().filter(|run| (self.wanted)(run.partition)) {
            let stretches = Stretches::of_run(run, rank);
            self.frames(&mut pages, (run.position, run.frames_end()), stretches);
        }
    }

    /// Looks at the frames of a part of a segment.
    fn frames(&mut self, pages: &mut Pages, (from, to): (u64, u64), mut stretches: Stretches) {
        let path = pages.path().to_owned();
        let mut frames = Frames::new(pages, from, to);
        while let Some(piece) = frames.next() {
            match piece {
                Piece::Frame(frame) => stretches.frame(&frame),
                Piece::Bad(bad) => {
                    // Without a footer nobody knows where the frames end.
                    if let Some(run) = stretches.run() {
                        if self.survey.names(run.segment) {
                            let spoilt = self.spoilt.entry(run.partition).or_default();
                            spoilt.insert((run.base, run.end));
                        }
                        self.damages.push(Damage {
                            path: path.clone(),
                            offset: bad.offset,
                            what: bad.what.to_owned(),
                            partitions: vec![run.partition],
                            advice: "what is around it is rescued",
                        });
                    }
                    stretches.bad();
                }
            }
        }
        for (partition, place) in stretches.finish() {
            self.add(partition, place);
        }
    }

    fn wal(&mut self) {
        let survey = self.survey;
        let walked = walk(survey, survey.wal_start(), &mut |visit| match visit {
            Visit::Block(file, block) => {
                let mut extent = block.at + block.extents_at();
                for op in block.entries.iter().flat_map(|entry| &entry.ops) {
                    match op {
                        DecodedOp::Append { envelope, at } => {
                            let envelope_at = block.at + *at as u64;
                            let mut batch_at = envelope_at + head_bytes(envelope);
                            if envelope.extent {
                                batch_at = extent;
                                extent += extent_bytes(envelope.batch_length) as u64;
                            }
                            let place = place(envelope, (file, envelope_at, batch_at), WAL_RANK);
                            self.add(envelope.partition, place);
                        }
                        DecodedOp::Trim { partition, start } => {
                            let known = self.starts.entry(*partition).or_default();
                            *known = (*known).max(*start);
                        }
                        _ => {}
                    }
                }
            }
            Visit::Remains { file, from, to } => self.remains(file, from, to),
        });
        self.damages.extend(walked.damages);
        self.losses = walked.losses;
    }

    /// Hands on what there is of a partition, and notes what is missing.
    fn partition(
        &mut self,
        partition: TopicPartition,
        state: Option<PartitionState>,
        report: &mut RescueReport,
        each: Each<'_>,
    ) -> Result<(), OfflineError> {
        let trimmed = self.starts.get(&partition).copied().unwrap_or_default();
        let start = state.map_or(trimmed, |state| trimmed.max(state.start));
        let kept = self.kept(partition, state);
        let holes = |from, to| {
            let parts = kept
                .iter()
                .map(move |part| (part.0.max(from), part.1.min(to)));
            let parts = parts.filter(|part| part.0 < part.1);
            parts.map(move |(from, to)| (partition, from, to))
        };
        let mut reader = Reader {
            survey: self.survey,
            partition,
            open: None,
            next: start,
            missed: None,
        };
        let places = self.places.remove(&partition).unwrap_or_default();
        // What the manifest's segments do not hold of the rest was taken away.
        let places = places.into_iter().flat_map(|place| match place.rank {
            0 => vec![place],
            _ => place.within(&kept),
        });
        for place in disjoint(places.collect(), start) {
            report.holes.extend(holes(reader.next, place.from));
            reader.next = reader.next.max(place.from);
            reader.read(&place, report, each)?;
        }
        if let Some(state) = state {
            report.holes.extend(holes(reader.next, state.end));
            reader.next = reader.next.max(state.end);
        }
        if self.losses.has_open_end(partition) {
            report.open_ends.push((partition, reader.next));
        }
        Ok(())
    }

    /// Which offsets nothing may be missing of. Where a partition was compacted, what no run holds
    /// was taken away, if all segments that hold something say so.
    fn kept(
        &self,
        partition: TopicPartition,
        state: Option<PartitionState>,
    ) -> Vec<(Offset, Offset)> {
        let all = (Offset::ZERO, Offset::new(u64::MAX));
        match state.map(|state| state.compacted_to) {
            Some(compacted) if compacted > Offset::ZERO && !self.lacks_segments => {
                let spoilt = self.spoilt.get(&partition).into_iter().flatten();
                let below = spoilt.filter(|part| part.0 < compacted);
                let below = below.map(|part| (part.0, part.1.min(compacted)));
                below.chain([(compacted, all.1)]).collect()
            }
            _ => vec![all],
        }
    }

    /// Looks for whole batches in what is left of damaged blocks.
    fn remains(&mut self, file: FileSequence, from: u64, to: u64) {
        let path = file_path(self.survey.dir, file);
        let Ok(mut pages) = Pages::open(self.survey.vfs, &path, false) else {
            return;
        };
        let mut remains = super::remains::Remains::new(&mut pages, from, to);
        while let Some((envelope, envelope_at, batch_at)) = remains.next() {
            let place = place(&envelope, (file, envelope_at, batch_at), REMAINS_RANK);
            self.add(envelope.partition, place);
        }
    }
}

/// Bytes of an envelope with its columns.
pub(super) fn head_bytes(envelope: &Envelope) -> u64 {
    ENVELOPE_FIXED as u64 + u64::from(envelope.columns_length)
}

fn place(
    envelope: &Envelope,
    (file, envelope_at, batch_at): (FileSequence, u64, u64),
    rank: u8,
) -> Place {
    Place {
        rank,
        from: envelope.base_offset,
        to: envelope.base_offset.advance(envelope.count),
        spot: Spot::Wal {
            file,
            envelope_at,
            batch_at,
        },
    }
}

/// Reads a partition's places, one after the other.
struct Reader<'a> {
    survey: &'a Survey<'a>,
    partition: TopicPartition,
    /// The file that was read last.
    open: Option<Pages>,
    /// Up to here everything was handed on.
    next: Offset,
    /// From here on something was there, and could not be read again.
    missed: Option<Offset>,
}

impl Reader<'_> {
    fn read(
        &mut self,
        place: &Place,
        report: &mut RescueReport,
        each: Each<'_>,
    ) -> Result<(), OfflineError> {
        let path = match place.spot {
            Spot::Segment { id, .. } => segment_path(self.survey.dir, id),
            Spot::Wal { file, .. } => file_path(self.survey.dir, file),
        };
        let open = self.open.take().filter(|open| open.path() == path);
        let open = open.or_else(|| Pages::open(self.survey.vfs, &path, false).ok());
        match (open, place.spot) {
            (None, _) => self.miss(),
            (Some(mut pages), Spot::Segment { from, to, .. }) => {
                let mut frames = Frames::new(&mut pages, from, to);
                while let Some(piece) = frames.next() {
                    match piece {
                        Piece::Frame(frame) => self.take(place, frame.batch, report, each)?,
                        Piece::Bad(_) => self.miss(),
                    }
                }
                self.open = Some(pages);
            }
            (
                Some(mut pages),
                Spot::Wal {
                    envelope_at,
                    batch_at,
                    ..
                },
            ) => {
                match wal_batch(&mut pages, envelope_at, batch_at) {
                    Some(batch) => self.take(place, batch, report, each)?,
                    None => self.miss(),
                }
                self.open = Some(pages);
            }
        }
        self.next = self.next.max(place.to);
        self.note_missed(self.next, report);
        Ok(())
    }

    /// Hands on a batch: of one that the partition's start or another place cuts, a part.
    fn take(
        &mut self,
        place: &Place,
        batch: StoredBatch,
        report: &mut RescueReport,
        each: Each<'_>,
    ) -> Result<(), OfflineError> {
        let (from, to) = (batch.base_offset.max(self.next), batch.end().min(place.to));
        if from >= to {
            return Ok(());
        }
        self.note_missed(from, report);
        self.next = to;
        report.batches += 1;
        report.records += to.since(from);
        report.bytes += batch.bytes.len() as u64;
        let batch = RescuedBatch {
            partition: self.partition,
            from,
            to,
            batch,
        };
        each(batch).map_err(OfflineError::Output)
    }

    fn miss(&mut self) {
        self.missed.get_or_insert(self.next);
    }

    fn note_missed(&mut self, up_to: Offset, report: &mut RescueReport) {
        if let Some(from) = self.missed.take().filter(|from| *from < up_to) {
            report.holes.push((self.partition, from, up_to));
        }
    }
}

/// A batch of the WAL, if it is sound.
fn wal_batch(pages: &mut Pages, envelope_at: u64, batch_at: u64) -> Option<StoredBatch> {
    let envelope = wal_envelope(pages, envelope_at)?;
    let bytes = pages.get(batch_at, u64::from(envelope.batch_length)).ok()?;
    (crc32c::crc32c(&bytes) == envelope.batch_crc).then(|| StoredBatch {
        base_offset: envelope.base_offset,
        count: envelope.count,
        append_time: envelope.append_time,
        columns: envelope.columns,
        crc: envelope.batch_crc,
        bytes,
    })
}

/// The envelope at a place, with its columns, if it is sound.
pub(super) fn wal_envelope(pages: &mut Pages, at: u64) -> Option<Envelope> {
    let fixed = pages.get(at, ENVELOPE_FIXED as u64).ok()?;
    let (columns, _) = crate::format::entry::envelope_lengths(&fixed).ok()?;
    let whole = pages.get(at, (ENVELOPE_FIXED + columns) as u64).ok()?;
    Envelope::decode(&mut Fields::new(&whole)).ok()
}

pub(super) fn state(
    vfs: &dyn Vfs,
    dir: &Path,
    each: &mut dyn FnMut(StatePart),
) -> Result<Vec<Damage>, OfflineError> {
    let survey = Survey::new(vfs, dir)?;
    let mut damages = survey.damages.clone();
    let mut checkpoint = EntryIndex::new(0);
    if let Some(manifest) = survey.newest() {
        checkpoint = manifest.checkpoint;
        for section in &manifest.sections {
            let path = CheckpointId::from(section).path(dir);
            let bytes = vfs.read(&path).map_err(|error| (0, error.to_string()));
            let sound = bytes.and_then(|bytes| match CheckpointHeader::decode(&bytes) {
                Ok((_, bytes)) => Ok(bytes.to_vec()),
                Err(error) => Err((error.at as u64, error.what.to_owned())),
            });
            match sound {
                Ok(bytes) => each(StatePart::Section {
                    name: section.name.to_string(),
                    index: section.index,
                    bytes,
                }),
                Err((offset, what)) => {
                    let name = section.name.to_string();
                    each(StatePart::Lost { name });
                    damages.push(Damage {
                        path,
                        offset,
                        what,
                        partitions: Vec::new(),
                        advice: RESTORE,
                    });
                }
            }
        }
    }
    let walked = walk(&survey, survey.wal_start(), &mut |visit| {
        let Visit::Block(_, block) = visit else {
            return;
        };
        let new = |entry: &&DecodedEntry| entry.index > checkpoint;
        for entry in block.entries.iter().filter(new) {
            each(StatePart::Entry(RecoveredEntry {
                index: entry.index,
                term: entry.term,
                ops: entry.ops.iter().map(RecoveredOp::from).collect(),
            }));
        }
    });
    damages.extend(walked.damages);
    Ok(damages)
}
