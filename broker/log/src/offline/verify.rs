//! What a log holds, and whether all of it is sound.

use std::io;
use std::path::Path;
use std::sync::Arc;

use weir_wire::id::ShardId;

use super::check::RunCheck;
use super::frames::Frames;
use super::pages::Pages;
use super::survey::{NEWER, RESTORE, Survey};
use super::walk::{Visit, walk};
use super::{
    Damage, Inspection, ManifestInfo, OfflineError, RunInfo, SectionInfo, SegmentInfo, Verification,
};
use crate::checkpoint::CheckpointId;
use crate::config::LogConfig;
use crate::error::OpenError;
use crate::format::checkpoint::CheckpointHeader;
use crate::format::entry::DecodedOp;
use crate::format::fields::OTHER_FORMAT;
use crate::format::segment::{FRAMES_AT, Run, SegmentHeader};
use crate::ids::{NodeId, SegmentId};
use crate::machine::StateMachine;
use crate::manifest::{Manifest, SectionRef, SegmentRef, manifest_path};
use crate::open;
use crate::page_buf::PAGE_BYTES;
use crate::segment::{SegmentError, SegmentMeta, read_footer, segment_path};
use crate::vfs::Vfs;
use crate::wal::wal_dir;

const REFUSED: &str = "a broker does not start with this";

pub(super) fn inspect(vfs: &dyn Vfs, dir: &Path) -> Result<Inspection, OfflineError> {
    let mut survey = Survey::new(vfs, dir)?;
    let segments = survey.segments.clone();
    let segments = segments
        .into_iter()
        .map(|id| {
            let (bytes, runs) = match footer(vfs, dir, survey.node, id) {
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
    let manifests = survey
        .manifests
        .iter()
        .map(|manifest| manifest_info(dir, manifest))
        .collect();
    let mut damages = survey.damages;
    damages.extend(walked.damages);
    Ok(Inspection {
        node: survey.node,
        manifests,
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
pub(crate) fn footer(
    vfs: &dyn Vfs,
    dir: &Path,
    node: Option<NodeId>,
    id: SegmentId,
) -> Result<SegmentMeta, (u64, Damage)> {
    let path = segment_path(dir, id);
    let pages = Pages::open(vfs, &path, false);
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
    let node = node.unwrap_or(header.node);
    read_footer(vfs, dir, id, node, header.shard).map_err(|error| match error {
        SegmentError::Io { source, .. } => {
            wrong(0, format!("the disk cannot read it: {source}"), RESTORE)
        }
        SegmentError::Corrupt { offset, what, .. } => wrong(offset, what.to_owned(), RESTORE),
        SegmentError::Foreign { what, .. } => wrong(0, what, RESTORE),
    })
}

pub(super) fn verify<M: StateMachine>(
    vfs: &Arc<dyn Vfs>,
    dir: &Path,
    machine: M,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verification, OfflineError> {
    let survey = Survey::new(&**vfs, dir)?;
    let total = survey.bytes();
    let mut found = Verification {
        damages: survey.damages.clone(),
        ..Verification::default()
    };
    for id in survey.kept_segments() {
        check_segment(&survey, id, &mut found);
        found.files += 1;
        progress(found.bytes, total);
    }
    for (id, path) in survey.checkpoints() {
        check_checkpoint(&survey, &id, &path, &mut found);
        found.files += 1;
        progress(found.bytes, total);
    }
    found.files += survey.manifests.len() as u64;
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
    check_start(&survey, vfs, machine, &mut found.damages);
    progress(found.bytes, total);
    Ok(found)
}

/// Reads the log once more, as a start does: what that refuses is damage, too, unless it was found
/// already.
fn check_start<M: StateMachine>(
    survey: &Survey<'_>,
    vfs: &Arc<dyn Vfs>,
    mut machine: M,
    damages: &mut Vec<Damage>,
) {
    let shard = survey.newest().map_or(ShardId::new(0), |it| it.shard);
    let config = LogConfig::new(survey.dir, shard);
    let Err(error) = open::check(vfs, &config, &mut machine) else {
        return;
    };
    let (path, offset, what) = match error {
        OpenError::Foreign { path, what } => (path, 0, what),
        OpenError::Corrupt {
            path, offset, what, ..
        } => (path, offset, what),
        // A copy that cannot be written cannot be started either, and is none the worse for it.
        OpenError::Io { source, .. }
            if matches!(
                source.kind(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
            ) =>
        {
            return;
        }
        OpenError::Io { path, source } | OpenError::NoRoom { path, source, .. } => {
            (path, 0, source.to_string())
        }
        OpenError::Config(what) => (survey.dir.to_owned(), 0, what.to_owned()),
        OpenError::Replay(error) => (survey.dir.to_owned(), 0, error.to_string()),
    };
    // Where a WAL file ends in something damaged, a start may name the file behind it.
    let wal = wal_dir(survey.dir);
    let is_known = |known: &Damage| {
        known.path == path || known.path.starts_with(&wal) && path.starts_with(&wal)
    };
    if !damages.iter().any(is_known) {
        damages.push(Damage {
            path,
            offset,
            what,
            partitions: Vec::new(),
            advice: REFUSED,
        });
    }
}

fn manifest_info(dir: &Path, manifest: &Manifest) -> ManifestInfo {
    let sections = manifest.sections.iter().map(|section| SectionInfo {
        name: section.name.to_string(),
        index: section.index,
        bytes: section.length,
    });
    ManifestInfo {
        path: manifest_path(dir, manifest.generation),
        generation: manifest.generation.value(),
        durable: manifest.durable,
        checkpoint: manifest.checkpoint,
        wal_start: manifest.wal.file,
        sections: sections.collect(),
        segments: manifest.segments.len(),
        partitions: manifest.partitions.len(),
    }
}

/// Reads all of a checkpoint.
fn check_checkpoint(survey: &Survey<'_>, id: &CheckpointId, path: &Path, found: &mut Verification) {
    let mut damage = |offset, what: String| {
        found.damages.push(Damage {
            path: path.to_owned(),
            offset,
            what,
            partitions: Vec::new(),
            advice: RESTORE,
        });
    };
    let bytes = match survey.vfs.read(path) {
        Ok(bytes) => bytes,
        Err(error) => return damage(0, format!("cannot be read: {error}")),
    };
    match CheckpointHeader::decode(&bytes) {
        Err(error) => damage(error.at as u64, error.what.to_owned()),
        Ok((header, _)) => {
            let named = (survey.manifests.iter().flat_map(|it| &it.sections))
                .filter(|section| CheckpointId::from(*section) == *id);
            let is_it =
                |section: &SectionRef| (section.length, section.crc) == (header.length, header.crc);
            let foreign = survey.node.is_some_and(|node| node != header.node);
            if foreign || !named.into_iter().all(is_it) || header.name != id.name {
                damage(
                    0,
                    "it is not the checkpoint that the manifest names".to_owned(),
                );
            }
        }
    }
    found.bytes += bytes.len() as u64;
}

/// Reads all of a segment.
fn check_segment(survey: &Survey<'_>, id: SegmentId, found: &mut Verification) {
    let path = segment_path(survey.dir, id);
    let (bytes, runs) = match footer(survey.vfs, survey.dir, survey.node, id) {
        Ok(meta) => {
            let named = survey.manifests.iter().flat_map(|it| &it.segments);
            let named = named.filter(|segment| segment.id == id).copied();
            if named
                .into_iter()
                .any(|named| named != SegmentRef::from(&meta))
            {
                found.damages.push(Damage {
                    path: path.clone(),
                    offset: 0,
                    what: "it is not the segment that the manifest names".to_owned(),
                    partitions: Vec::new(),
                    advice: "put back the file that was here",
                });
            }
            (meta.bytes, Some(meta.runs))
        }
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
    let Ok(mut pages) = Pages::open(survey.vfs, &path, false) else {
        return;
    };
    for run in parts {
        let (from, to) = run.map_or((FRAMES_AT, bytes), |run| (run.position, run.frames_end()));
        let mut check = RunCheck::new(&path, run);
        let mut frames = Frames::new(&mut pages, from, to);
        while let Some(piece) = frames.next() {
            check.piece(piece);
        }
        let checked = check.finish();
        found.batches += checked.batches;
        found.records += checked.records;
        found.damages.extend(checked.damages);
    }
}
