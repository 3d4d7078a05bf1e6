//! What files a log's directory has, and what they are for.

use std::io;
use std::path::{Path, PathBuf};

use weir_wire::id::{Offset, TopicPartition};

use super::pages::Pages;
use super::walk::WalStart;
use super::{Damage, OfflineError};
use crate::format::FORMAT_VERSION;
use crate::ids::{FileSequence, NodeId, SegmentId};
use crate::node::{NODE_FILE, NODE_MAGIC};
use crate::segment::{SEGMENT_SUFFIX, segment_path, segments_dir};
use crate::vfs::Vfs;
use crate::wal::{file_path, wal_dir};

pub(super) const RESTORE: &str = "restore it from a copy, or rescue what can be read";
pub(super) const NEWER: &str = "use the weir that wrote it, or a newer one";
const FOREIGN: &str = "move it away if it is not weir's";

/// The files of a log.
#[derive(Debug)]
pub(super) struct Survey<'a> {
    pub(super) vfs: &'a dyn Vfs,
    pub(super) dir: &'a Path,
    pub(super) node: Option<NodeId>,
    pub(super) wal: Vec<FileSequence>,
    pub(super) segments: Vec<SegmentId>,
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

    /// Whether a segment is a part of the log, as far as is known.
    pub(super) fn names(&self, id: SegmentId) -> bool {
        self.segments.contains(&id)
    }

    /// Where the WAL is read from.
    pub(super) fn wal_start(&self) -> WalStart {
        WalStart::default()
    }

    /// Below which offset a partition holds nothing any more.
    pub(super) fn partition_start(&self, _at: TopicPartition) -> Offset {
        Offset::ZERO
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        let wal = self.wal.iter().map(|number| file_path(self.dir, *number));
        let segments = self.segments.iter().map(|id| segment_path(self.dir, *id));
        wal.chain(segments)
            .filter_map(|path| Pages::open(self.vfs, &path).ok())
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
