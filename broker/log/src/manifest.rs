//! Manifests on the disk: the two newest generations are kept, and either is enough to open the
//! log with, because nothing goes that one of them names.

use std::path::{Path, PathBuf};

use weir_wire::id::ShardId;

use crate::error::OpenError;
pub(crate) use crate::format::manifest::{
    FileStart, Manifest, PartitionState, SectionRef, SegmentRef,
};
use crate::ids::{Generation, NodeId};
use crate::names::{io_error, numbered};
use crate::node;
use crate::segment::SegmentMeta;
use crate::vfs::Vfs;

/// The end of a manifest's name.
const MANIFEST_SUFFIX: &str = ".manifest";

/// The directory of the manifests.
pub(crate) fn manifest_dir(dir: &Path) -> PathBuf {
    dir.join("manifest")
}

/// Where a manifest is.
pub(crate) fn manifest_path(dir: &Path, generation: Generation) -> PathBuf {
    manifest_dir(dir).join(format!("{:016}{MANIFEST_SUFFIX}", generation.value()))
}

impl From<&SegmentMeta> for SegmentRef {
    fn from(meta: &SegmentMeta) -> Self {
        Self {
            id: meta.id,
            bytes: meta.bytes,
            footer_crc: meta.footer_crc,
        }
    }
}

/// A manifest that was not used, because it is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub what: &'static str,
}

/// The manifests of a directory.
#[derive(Debug)]
pub(crate) struct Manifests {
    /// The newest sound one.
    pub(crate) newest: Option<Manifest>,
    /// Newer ones that are damaged.
    pub(crate) passed_over: Vec<PassedOver>,
    /// All that are there, the oldest first.
    pub(crate) generations: Vec<Generation>,
}

/// Writes a manifest; it is durable on return.
pub(crate) fn write(vfs: &dyn Vfs, dir: &Path, manifest: &Manifest) -> std::io::Result<()> {
    vfs.write_atomic(&manifest_path(dir, manifest.generation), &manifest.encode())
}

/// The manifests that are there, the oldest first.
pub(crate) fn generations<E>(vfs: &dyn Vfs, dir: &Path) -> Result<Vec<Generation>, OpenError<E>> {
    let numbers = numbered(vfs, &manifest_dir(dir), MANIFEST_SUFFIX)?;
    Ok(numbers.into_iter().map(Generation::new).collect())
}

/// Reads the newest sound manifest.
pub(crate) fn read<E>(
    vfs: &dyn Vfs,
    dir: &Path,
    node: NodeId,
    shard: ShardId,
) -> Result<Manifests, OpenError<E>> {
    let generations = generations(vfs, dir)?;
    let mut manifests = Manifests {
        newest: None,
        passed_over: Vec::new(),
        generations,
    };
    for generation in manifests.generations.iter().rev() {
        let path = manifest_path(dir, *generation);
        let bytes = vfs.read(&path).map_err(|source| io_error(&path, source))?;
        let foreign = |what: String| {
            let path = path.clone();
            Err(OpenError::Foreign { path, what })
        };
        match Manifest::decode(&bytes) {
            Ok(manifest) if manifest.generation != *generation => {
                let is = manifest.generation;
                return foreign(format!("says it is generation {is}; was it renamed?"));
            }
            Ok(manifest) if (manifest.node, manifest.shard) != (node, shard) => {
                let is = (manifest.node, manifest.shard);
                return foreign(node::of_another(is, (node, shard)));
            }
            Ok(manifest) => {
                manifests.newest = Some(manifest);
                break;
            }
            Err(error) => {
                if let Some(what) = error.other_format() {
                    return foreign(what);
                }
                manifests.passed_over.push(PassedOver {
                    path,
                    offset: error.at as u64,
                    what: error.what,
                });
            }
        }
    }
    if manifests.newest.is_none()
        && let Some(PassedOver { path, offset, what }) = manifests.passed_over.first()
    {
        return Err(OpenError::Corrupt {
            path: path.clone(),
            offset: *offset,
            what: format!("{what}, and there is no older manifest that is sound"),
            partitions: "all".to_owned(),
        });
    }
    Ok(manifests)
}
