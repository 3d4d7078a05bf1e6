//! What a log holds, and whether all of it is sound.

use std::path::Path;

use weir_wire::id::{Offset, TopicPartition};

use super::frames::{BadPiece, FoundFrame, Frames, Piece};
use super::pages::Pages;
use super::survey::{NEWER, RESTORE, Survey};
use super::walk::{Visit, walk};
use super::{Damage, Inspection, OfflineError, RunInfo, SegmentInfo, Verification};
use crate::format::entry::DecodedOp;
use crate::format::segment::{FRAMES_AT, OTHER_FORMAT, Run, SegmentHeader};
use crate::ids::SegmentId;
use crate::index::StoredBatch;
use crate::page_buf::PAGE_BYTES;
use crate::segment::{SegmentError, SegmentMeta, read_footer, segment_path};
use crate::vfs::Vfs;

pub(super) fn inspect(vfs: &dyn Vfs, dir: &Path) -> Result<Inspection, OfflineError> {
    let mut survey = Survey::new(vfs, dir)?;
    let segments = survey.segments.clone();
    let segments = segments
        .into_iter()
        .map(|id| {
            let (bytes, runs) = match footer(&survey, id) {
                Ok(meta) => (meta.bytes, meta.runs),
                Err((bytes, damage)) => {
                    survey.damages.push(damage);
                    (bytes, Vec::new())
                }
            };
            SegmentInfo {
                id,
                path: segment_path(dir, id),
                bytes,
                named: survey.names(id),
                runs: runs.iter().map(RunInfo::from).collect(),
            }
        })
        .collect();
    let walked = walk(&survey, survey.wal_start(), &mut |_| {});
    let mut damages = survey.damages;
    damages.extend(walked.damages);
    Ok(Inspection {
        node: survey.node,
        manifests: Vec::new(),
        segments,
        wal: walked.files,
        end: walked.end,
        leftovers: survey.leftovers,
        damages,
    })
}

impl From<&Run> for RunInfo {
    fn from(run: &Run) -> Self {
        Self {
            partition: run.partition,
            base: run.base,
            end: run.end,
            records: run.records,
            batches: run.batches,
            bytes: run.batch_bytes,
            first_time: run.first_time,
            last_time: run.last_time,
        }
    }
}

/// What a segment's own footer says; else how long the file is, and what is wrong.
pub(super) fn footer(survey: &Survey<'_>, id: SegmentId) -> Result<SegmentMeta, (u64, Damage)> {
    let path = segment_path(survey.dir, id);
    let pages = Pages::open(survey.vfs, &path);
    let damage = |offset, what: String, advice| Damage {
        path: path.clone(),
        offset,
        what,
        partitions: Vec::new(),
        advice,
    };
    let mut pages =
        pages.map_err(|error| (0, damage(0, format!("cannot be opened: {error}"), RESTORE)))?;
    let bytes = pages.size();
    let wrong = |offset, what: String, advice| (bytes, damage(offset, what, advice));
    let page = pages
        .get(0, PAGE_BYTES as u64)
        .map_err(|error| wrong(0, format!("its header cannot be read: {error}"), RESTORE))?;
    let header = SegmentHeader::decode(&page).map_err(|error| {
        let advice = if error.what == OTHER_FORMAT {
            NEWER
        } else {
            RESTORE
        };
        wrong(error.at as u64, error.what.to_owned(), advice)
    })?;
    let node = survey.node.unwrap_or(header.node);
    read_footer(survey.vfs, survey.dir, id, node, header.shard).map_err(|error| match error {
        SegmentError::Io { source, .. } => {
            wrong(0, format!("the disk cannot read it: {source}"), RESTORE)
        }
        SegmentError::Corrupt { offset, what, .. } => wrong(offset, what.to_owned(), RESTORE),
        SegmentError::Foreign { what, .. } => wrong(0, what, RESTORE),
    })
}

pub(super) fn verify(
    vfs: &dyn Vfs,
    dir: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OfflineError> {
    let survey = Survey::new(vfs, dir)?;
    let total = survey.bytes();
    let mut found = Verification {
        damages: survey.damages.clone(),
        ..Verification::default()
    };
    for id in &survey.segments {
        check_segment(&survey, *id, &mut found);
        found.files += 1;
        progress(found.bytes, total);
    }
    let before = found.bytes;
    let (mut batches, mut records, mut done) = (0, 0, before);
    let walked = walk(&survey, survey.wal_start(), &mut |visit| {
        let Visit::Block(_, block) = visit else {
            return;
        };
        for op in block.entries.iter().flat_map(|entry| &entry.ops) {
            if let DecodedOp::Append { envelope, .. } = op {
                batches += 1;
                records += u64::from(envelope.count);
            }
        }
        done += block.header.bytes() as u64;
        progress(done, total);
    });
    found.batches += batches;
    found.records += records;
    found.files += walked.files.len() as u64;
    found.bytes = before + walked.files.iter().map(|file| file.bytes).sum::<u64>();
    found.damages.extend(walked.damages);
    found.cut = walked.end.cut;
    progress(found.bytes, total);
    Ok(found)
}

/// Reads all of a segment.
fn check_segment(survey: &Survey<'_>, id: SegmentId, found: &mut Verification) {
    let path = segment_path(survey.dir, id);
    let (bytes, runs) = match footer(survey, id) {
        Ok(meta) => (meta.bytes, Some(meta.runs)),
        Err((bytes, damage)) => {
            found.damages.push(damage);
            (bytes, None)
        }
    };
    found.bytes += bytes;
    let parts = match &runs {
        Some(runs) => runs.iter().map(Some).collect(),
        None => vec![None],
    };
    let Ok(mut pages) = Pages::open(survey.vfs, &path) else {
        return;
    };
    for run in parts {
        let (from, to) = run.map_or((FRAMES_AT, bytes), |run| (run.position, run.frames_end()));
        let mut check = RunCheck {
            path: &path,
            run,
            bad: None,
            spoilt: false,
            last: None,
            batches: 0,
            bytes: 0,
            found,
        };
        let mut frames = Frames::new(&mut pages, from, to);
        while let Some(piece) = frames.next() {
            match piece {
                Piece::Frame(frame) => check.frame(&frame),
                Piece::Bad(bad) => check.bad(bad),
            }
        }
        check.finish();
    }
}

/// Where a batch ends: what follows in its partition begins there, or later.
pub(super) fn end_of(batch: &StoredBatch) -> Offset {
    batch.base_offset.advance(batch.count)
}

/// Checks the frames of a run, or of a whole segment that does not say what its runs are.
struct RunCheck<'a> {
    path: &'a Path,
    run: Option<&'a Run>,
    /// What was wrong since the last sound frame.
    bad: Option<BadPiece>,
    /// Whether anything was wrong: then the sums are wrong, too.
    spoilt: bool,
    /// Where the last sound frame ended.
    last: Option<(TopicPartition, Offset)>,
    batches: u32,
    bytes: u64,
    found: &'a mut Verification,
}

impl RunCheck<'_> {
    fn bad(&mut self, bad: BadPiece) {
        self.spoilt = true;
        self.bad.get_or_insert(bad);
    }

    fn frame(&mut self, frame: &FoundFrame) {
        let partition = frame.partition;
        let base = frame.batch.base_offset;
        if let Some(bad) = self.bad.take() {
            self.lost(bad, Some((partition, base)));
        }
        let before = self.last.filter(|(last, _)| *last == partition);
        let misplaced = self.run.is_some_and(|run| {
            run.partition != partition || base < run.base || end_of(&frame.batch) > run.end
        }) || before.is_some_and(|(_, end)| base < end);
        if misplaced {
            self.damage(frame.at, "another batch stands there".to_owned(), partition);
        }
        self.last = Some((partition, end_of(&frame.batch)));
        self.batches += 1;
        self.bytes += frame.batch.bytes.len() as u64;
        self.found.batches += 1;
        self.found.records += u64::from(frame.batch.count);
    }

    fn finish(mut self) {
        let Some(run) = self.run else {
            // Behind the last frame stands what is known not to be a footer.
            return;
        };
        if let Some(bad) = self.bad.take() {
            self.lost(bad, Some((run.partition, run.end)));
        } else if !self.spoilt && (self.batches, self.bytes) != (run.batches, run.batch_bytes) {
            let what = format!(
                "a run holds {} batches of {} bytes, and not {} of {}",
                self.batches, self.bytes, run.batches, run.batch_bytes
            );
            self.damage(run.position, what, run.partition);
        }
    }

    /// Something is gone between the last sound frame and this place.
    fn lost(&mut self, bad: BadPiece, until: Option<(TopicPartition, Offset)>) {
        let run = self.run.map(|run| (run.partition, run.base));
        let from = self.last.or(run);
        let mut what = bad.what.to_owned();
        let mut partitions: Vec<_> = [from, until].into_iter().flatten().map(|it| it.0).collect();
        partitions.dedup();
        if let (Some((one, from)), Some((other, to))) = (from, until)
            && one == other
        {
            what = format!("{what}: offsets {from} to {to} of {one} cannot be read");
        }
        self.found.damages.push(Damage {
            path: self.path.to_owned(),
            offset: bad.offset,
            what,
            partitions,
            advice: RESTORE,
        });
    }

    fn damage(&mut self, offset: u64, what: String, partition: TopicPartition) {
        self.found.damages.push(Damage {
            path: self.path.to_owned(),
            offset,
            what,
            partitions: vec![partition],
            advice: RESTORE,
        });
    }
}
