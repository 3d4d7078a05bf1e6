//! Segments: files that hold batches by partition, written once and read for as long as they
//! live. FORMAT.md says what is in them; who writes them, and when, is the archiver's business.

use std::io;
use std::path::{Path, PathBuf};

use weir_wire::id::ShardId;

use crate::format::fields::DecodeError;
pub(crate) use crate::format::segment::{IndexEntry, Run};
use crate::format::segment::{SegmentHeader, TRAILER_BYTES, Trailer, decode_footer};
use crate::ids::{NodeId, SegmentId};
use crate::node;
use crate::page_buf::PAGE_BYTES;
use crate::vfs::{OpenMode, Vfs};

mod frame;
mod run_reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use frame::{FrameHead, Frames};
pub(crate) use run_reader::{Frame, RunReader};
pub(crate) use writer::{FrameRef, SegmentWriter};

/// The end of a segment's name.
pub(crate) const SEGMENT_SUFFIX: &str = ".seg";

/// The directory of the segments.
pub(crate) fn segments_dir(dir: &Path) -> PathBuf {
    dir.join("segments")
}

/// Where a segment is.
pub(crate) fn segment_path(dir: &Path, id: SegmentId) -> PathBuf {
    segments_dir(dir).join(format!("{:016}{SEGMENT_SUFFIX}", id.value()))
}

/// What is known about a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentMeta {
    pub(crate) id: SegmentId,
    /// Bytes of its file.
    pub(crate) bytes: u64,
    /// What its footer's checksum is: the manifest names it, so that no other file can stand in.
    pub(crate) footer_crc: u32,
    pub(crate) runs: Vec<Run>,
}

/// Why a segment cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SegmentError {
    /// The file system refuses something.
    #[error("cannot read {}: {source}; check the disk and the permissions", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is damaged.
    #[error("{} is damaged at byte {offset}: {what}; restore it from a copy", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It is another log's, or of another version.
    #[error("{}: {what}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
}

/// Reads what a segment says is in it, and checks all of it but the frames.
pub(crate) fn read_footer(
    vfs: &dyn Vfs,
    dir: &Path,
    id: SegmentId,
    node: NodeId,
    shard: ShardId,
) -> Result<SegmentMeta, SegmentError> {
    let path = segment_path(dir, id);
    let io = |source| SegmentError::Io {
        path: path.clone(),
        source,
    };
    let corrupt = |offset, what| SegmentError::Corrupt {
        path: path.clone(),
        offset,
        what,
    };
    let file = vfs.open(&path, OpenMode::Read).map_err(io)?;
    let bytes = file.size().map_err(io)?;
    if bytes < 2 * PAGE_BYTES as u64 {
        return Err(corrupt(bytes, "the file is shorter than a segment can be"));
    }
    let mut page = vec![0; PAGE_BYTES];
    file.read_exact_at(&mut page, 0).map_err(io)?;
    let header = SegmentHeader::decode(&page).map_err(|error| {
        let path = path.clone();
        match error.other_format() {
            Some(what) => SegmentError::Foreign { path, what },
            None => corrupt(error.at as u64, error.what),
        }
    })?;
    check_owner(&path, header, SegmentHeader { id, node, shard })?;
    let trailer_at = bytes - TRAILER_BYTES as u64;
    let mut tail = [0; TRAILER_BYTES];
    file.read_exact_at(&mut tail, trailer_at).map_err(io)?;
    let at = |start: u64| move |error: DecodeError| (start + error.at as u64, error.what);
    let trailer = Trailer::decode(&tail, bytes)
        .map_err(at(trailer_at))
        .map_err(|(offset, what)| corrupt(offset, what))?;
    if trailer.id != id {
        return Err(corrupt(trailer_at, "its end is that of another segment"));
    }
    let length = usize::try_from(bytes - trailer.footer_position)
        .map_err(|error| io(io::Error::other(error)))?;
    let mut footer = vec![0; length];
    file.read_exact_at(&mut footer, trailer.footer_position)
        .map_err(io)?;
    let runs = decode_footer(&footer, &trailer)
        .map_err(at(trailer.footer_position))
        .map_err(|(offset, what)| corrupt(offset, what))?;
    Ok(SegmentMeta {
        id,
        bytes,
        footer_crc: trailer.crc,
        runs,
    })
}

fn check_owner(
    path: &Path,
    found: SegmentHeader,
    expected: SegmentHeader,
) -> Result<(), SegmentError> {
    let foreign = |what| {
        Err(SegmentError::Foreign {
            path: path.to_owned(),
            what,
        })
    };
    let (owner, own) = ((found.node, found.shard), (expected.node, expected.shard));
    if owner != own {
        return foreign(node::of_another(owner, own));
    }
    if found.id != expected.id {
        return foreign(format!("says it is segment {}; was it renamed?", found.id));
    }
    Ok(())
}
