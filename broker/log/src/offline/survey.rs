//! What files a log's directory has, and what they are for.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::pages::Pages;
use super::walk::WalStart;
use super::{Damage, OfflineError};
use crate::checkpoint::CheckpointId;
use crate::format::FORMAT_VERSION;
use crate::format::fields::OTHER_FORMAT;
use crate::ids::{FileSequence, Generation, NodeId, SegmentId};
use crate::manifest::{Manifest, PartitionState, SegmentRef, manifest_dir, manifest_path};
use crate::node::{NODE_FILE, NODE_MAGIC};
use crate::segment::{SEGMENT_SUFFIX, segment_path, segments_dir};
use crate::vfs::{OpenMode, Vfs};
use crate::wal::{file_path, wal_dir};

pub(super) const RESTORE: &str = "restore it from a copy, or rescue what can be read";
pub(super) const NEWER: &str = "use the weir that wrote it, or a newer one";
const OLDER: &str =
    "nothing is to be done if an older manifest is sound: the next start goes by that one";
const FOREIGN: &str = "move it away if it is not weir's";

/// The files of a log.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) vfs: &'a dyn Vfs,
    pub(super) dir: &'a Path,
    pub(super) node: Option<NodeId>,
    pub(super) wal: Vec<FileSequence>,
    pub(super) segments: Vec<SegmentId>,
    /// The sound manifests, the newest first.
    pub(super) manifests: Vec<Manifest>,
    /// Files that the next start removes.
    pub(super) leftovers: Vec<PathBuf>,
    pub(super) damages: Vec<Damage>,
}

impl<'a> Survey<'a> {
    pub(super) fn new(vfs: &'a dyn Vfs, dir: &'a Path) -> Result<Self, OfflineError> {
        let mut survey = Self {
            vfs,
            dir,
            node: None,
            wal: Vec::new(),
            segments: Vec::new(),
            manifests: Vec::new(),
            leftovers: Vec::new(),
            damages: Vec::new(),
        };
        let wal = survey.numbers(&wal_dir(dir), ".wal")?;
        survey.wal = wal.into_iter().map(FileSequence::new).collect();
        let segments = survey.numbers(&segments_dir(dir), SEGMENT_SUFFIX)?;
        survey.segments = segments.into_iter().map(SegmentId::new).collect();
        let is_there = survey.read_node()?;
        if !is_there && survey.wal.is_empty() && survey.segments.is_empty() {
            let path = dir.to_owned();
            return Err(OfflineError::NoLog { path });
        }
        survey.read_manifests()?;
        let kept = survey.kept_segments();
        let unnamed = survey.segments.iter().filter(|id| !kept.contains(id));
        let unnamed: Vec<PathBuf> = unnamed.map(|id| segment_path(dir, *id)).collect();
        survey.leftovers.extend(unnamed);
        Ok(survey)
    }

    /// Notes something that is wrong.
    pub(super) fn damage(
        &mut self,
        path: &Path,
        offset: u64,
        what: impl Into<String>,
        advice: &'static str,
    ) {
        self.damages.push(Damage {
            path: path.to_owned(),
            offset,
            what: what.into(),
            partitions: Vec::new(),
            advice,
        });
    }

    /// The numbers of the files in a directory that have such names; other files are noted.
    pub(super) fn numbers(&mut self, dir: &Path, suffix: &str) -> Result<Vec<u64>, OfflineError> {
        let names = match self.vfs.list(dir) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                let path = dir.to_owned();
                return Err(OfflineError::Io { path, source });
            }
        };
        let mut numbers = Vec::new();
        for name in names {
            let path = dir.join(&name);
            if name.ends_with(".tmp") || name.ends_with(".making") {
                self.leftovers.push(path);
                continue;
            }
            match name.strip_suffix(suffix).and_then(|stem| stem.parse().ok()) {
                Some(number) => numbers.push(number),
                None => self.damage(&path, 0, "is no file of a log", FOREIGN),
            }
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Whether a segment that the newest sound manifest names is not there.
    pub(super) fn lacks_segments(&self) -> bool {
        let named = self.newest().map_or(&[][..], |newest| &newest.segments);
        let is_there = |segment: &SegmentRef| self.segments.contains(&segment.id);
        !named.iter().all(is_there)
    }

    /// Whether a segment is a part of the log: the newest sound manifest names it.
    pub(super) fn names(&self, id: SegmentId) -> bool {
        let names = |manifest: &Manifest| manifest.segments.iter().any(|named| named.id == id);
        self.newest().is_none_or(names)
    }

    /// The segments that a sound manifest names, or all if there is none: others are left from
    /// something that did not come to its end.
    pub(super) fn kept_segments(&self) -> Vec<SegmentId> {
        let named = |id: &SegmentId| {
            let mut manifests = self.manifests.iter();
            manifests.any(|manifest| manifest.segments.iter().any(|named| named.id == *id))
        };
        let all = self.segments.iter().copied();
        all.filter(|id| self.manifests.is_empty() || named(id))
            .collect()
    }

    /// The newest sound manifest.
    pub(super) fn newest(&self) -> Option<&Manifest> {
        self.manifests.first()
    }

    /// Where the WAL is read from.
    pub(super) fn wal_start(&self) -> WalStart {
        if let Some(manifest) = self.newest() {
            return WalStart {
                file: manifest.wal.file,
                lsn: manifest.wal.first,
                previous: manifest.wal.previous,
                index: manifest.wal.entry,
                durable: manifest.durable,
                known: true,
            };
        }
        let first = self.wal.first().copied().unwrap_or(FileSequence::new(1));
        WalStart {
            file: first,
            known: first == FileSequence::new(1),
            ..WalStart::default()
        }
    }

    /// What segments hold of the partitions.
    pub(super) fn partitions(&self) -> &[PartitionState] {
        self.newest()
            .map_or(&[][..], |manifest| &manifest.partitions)
    }

    /// Reads the manifests, and looks whether what they name is there.
    fn read_manifests(&mut self) -> Result<(), OfflineError> {
        let dir = manifest_dir(self.dir);
        let generations = self.numbers(&dir, ".manifest")?;
        for generation in generations.iter().rev() {
            let path = manifest_path(self.dir, Generation::new(*generation));
            let bytes = match self.vfs.read(&path) {
                Ok(bytes) => bytes,
                Err(error) => {
                    self.damage(&path, 0, format!("cannot be read: {error}"), OLDER);
                    continue;
                }
            };
            match Manifest::decode(&bytes) {
                Ok(manifest) if self.node.is_some_and(|node| node != manifest.node) => {
                    let what = format!("it belongs to node {}", manifest.node);
                    self.damage(&path, 0, what, "put back the file that was here");
                }
                Ok(manifest) => self.manifests.push(manifest),
                Err(error) if error.what == OTHER_FORMAT => {
                    self.damage(&path, error.at as u64, error.what, NEWER);
                }
                Err(error) => self.damage(&path, error.at as u64, error.what, OLDER),
            }
        }
        if self.manifests.is_empty() && !self.segments.is_empty() {
            let what = "no manifest is sound, while there are segments";
            self.damage(&dir, 0, what, RESTORE);
        }
        self.check_named();
        Ok(())
    }

    fn check_named(&mut self) {
        let Some(manifest) = self.newest() else {
            return;
        };
        let segments: Vec<_> = manifest.segments.clone();
        let checkpoints: Vec<_> = manifest.sections.iter().map(CheckpointId::from).collect();
        let missing = "is missing, while the newest manifest names it";
        for segment in segments {
            if !self.segments.contains(&segment.id) {
                let path = segment_path(self.dir, segment.id);
                self.damage(&path, 0, missing, RESTORE);
            }
        }
        for checkpoint in checkpoints {
            let path = checkpoint.path(self.dir);
            if let Err(error) = self.vfs.open(&path, OpenMode::Read) {
                let what = match error.kind() {
                    io::ErrorKind::NotFound => missing.to_owned(),
                    _ => format!("cannot be opened: {error}"),
                };
                self.damage(&path, 0, what, RESTORE);
            }
        }
    }

    /// The checkpoints that sound manifests name and that are there.
    pub(super) fn checkpoints(&self) -> Vec<(CheckpointId, PathBuf)> {
        let sections = self
            .manifests
            .iter()
            .flat_map(|manifest| &manifest.sections);
        let ids: BTreeSet<CheckpointId> = sections.map(CheckpointId::from).collect();
        let paths = ids.into_iter().map(|id| {
            let path = id.path(self.dir);
            (id, path)
        });
        paths
            .filter(|(_, path)| self.vfs.open(path, OpenMode::Read).is_ok())
            .collect()
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let wal = self.wal.iter().map(|number| file_path(self.dir, *number));
        let segments = self.kept_segments();
        let segments = segments.iter().map(|id| segment_path(self.dir, *id));
        let checkpoints = self.checkpoints().into_iter().map(|(_, path)| path);
        wal.chain(segments)
            .chain(checkpoints)
            .filter_map(|path| Pages::open(self.vfs, &path, false).ok())
            .map(|pages| pages.size())
            .sum()
    }

    /// Reads whose log it is; answers whether the file is there.
    fn read_node(&mut self) -> Result<bool, OfflineError> {
        let path = self.dir.join(NODE_FILE);
        let bytes = match self.vfs.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.damage(&path, 0, "is missing", RESTORE);
                return Ok(false);
            }
            Err(source) => return Err(OfflineError::Io { path, source }),
        };
        let text = String::from_utf8_lossy(&bytes);
        let words: Vec<&str> = text.split_whitespace().collect();
        let version = FORMAT_VERSION.to_string();
        match words[..] {
            [NODE_MAGIC, found, node] if found == version => match node.parse() {
                Ok(node) => self.node = Some(NodeId::new(node)),
                Err(_) => self.damage(&path, 0, "names no node", RESTORE),
            },
            [NODE_MAGIC, found, ..] if found.parse::<u16>().is_ok() => {
                let what = format!("states log format {found}; this weir reads {version}");
                self.damage(&path, 0, what, NEWER);
            }
            _ => self.damage(&path, 0, "is not the node file of a weir log", RESTORE),
        }
        Ok(true)
    }
}
