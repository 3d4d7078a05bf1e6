//! Checkpoint files: the sections of the state as of an entry.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use weir_wire::id::{EntryIndex, ShardId};

use crate::error::OpenError;
use crate::format::checkpoint::CheckpointHeader;
use crate::format::name::SectionName;
use crate::ids::NodeId;
use crate::manifest::SectionRef;
use crate::names::{TEMPORARY_SUFFIX, foreign, io_error, list, number};
use crate::node;
use crate::page_buf::PAGE_BYTES;
use crate::vfs::{OpenMode, Vfs};

/// The end of a checkpoint's name.
const CHECKPOINT_SUFFIX: &str = ".ckpt";

/// The directory of the checkpoints.
pub(crate) fn checkpoints_dir(dir: &Path) -> PathBuf {
    dir.join("checkpoints")
}

/// Which checkpoint a file is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CheckpointId {
    pub(crate) name: SectionName,
    pub(crate) index: EntryIndex,
}

impl CheckpointId {
    pub(crate) fn path(&self, dir: &Path) -> PathBuf {
        let number = self.index.value();
        checkpoints_dir(dir).join(format!("{}-{number:016}{CHECKPOINT_SUFFIX}", self.name))
    }
}

impl From<&SectionRef> for CheckpointId {
    fn from(section: &SectionRef) -> Self {
        Self {
            name: section.name.clone(),
            index: section.index,
        }
    }
}

/// What a section of that length takes on the disk at most, with its header and its name.
pub(crate) const fn room_for(length: u64) -> u64 {
    let page = PAGE_BYTES as u64;
    length.next_multiple_of(page) + 2 * page
}

/// Writes a section and makes its bytes durable; whoever calls syncs the directory.
pub(crate) fn write(
    vfs: &dyn Vfs,
    dir: &Path,
    (node, shard): (NodeId, ShardId),
    id: &CheckpointId,
    bytes: &[u8],
) -> io::Result<SectionRef> {
    let section = SectionRef {
        name: id.name.clone(),
        index: id.index,
        length: bytes.len() as u64,
        crc: crc32c::crc32c(bytes),
    };
    let header = CheckpointHeader {
        node,
        shard,
        index: id.index,
        length: section.length,
        crc: section.crc,
        name: id.name.clone(),
    };
    let header = header.encode();
    let file = vfs.open(&id.path(dir), OpenMode::Create { direct: false })?;
    file.write_vectored_at(&[IoSlice::new(&header), IoSlice::new(bytes)], 0)?;
    file.sync_all()?;
    Ok(section)
}

/// Reads a section that a manifest names.
pub(crate) fn read<E>(
    vfs: &dyn Vfs,
    dir: &Path,
    owner: (NodeId, ShardId),
    section: &SectionRef,
) -> Result<Vec<u8>, OpenError<E>> {
    let path = CheckpointId::from(section).path(dir);
    let corrupt = |offset: u64, what: &str| OpenError::Corrupt {
        path: path.clone(),
        offset,
        what: what.to_owned(),
        partitions: "all".to_owned(),
    };
    let bytes = match vfs.read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(corrupt(
                0,
                "the file is missing, though a manifest names it",
            ));
        }
        Err(source) => return Err(io_error(&path, source)),
    };
    let (header, section_bytes) = CheckpointHeader::decode(&bytes).map_err(|error| {
        let path = path.clone();
        match error.other_format() {
            Some(what) => OpenError::Foreign { path, what },
            None => corrupt(error.at as u64, error.what),
        }
    })?;
    let found = (header.node, header.shard);
    if found != owner {
        let what = node::of_another(found, owner);
        return Err(OpenError::Foreign { path, what });
    }
    let is_it = header.name == section.name
        && header.index == section.index
        && header.length == section.length
        && header.crc == section.crc;
    if !is_it {
        return Err(corrupt(
            0,
            "it is not the checkpoint that the manifest names",
        ));
    }
    Ok(section_bytes.to_vec())
}

/// The checkpoints that are there.
pub(crate) fn all<E>(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<CheckpointId>, OpenError<E>> {
    let dir = checkpoints_dir(dir);
    let names = list(vfs, &dir)?;
    let whole = names
        .iter()
        .filter(|name| !name.ends_with(TEMPORARY_SUFFIX));
    whole
        .map(|file| {
            let parsed = file.strip_suffix(CHECKPOINT_SUFFIX).and_then(|stem| {
                let (name, digits) = stem.rsplit_once('-')?;
                Some(CheckpointId {
                    name: SectionName::from_bytes(name.as_bytes())?,
                    index: EntryIndex::new(number(digits)?),
                })
            });
            parsed.ok_or_else(|| foreign(&dir, file))
        })
        .collect()
}
