//! What the disk gives without a broker to the writes and syncs of a steady load: every byte goes
//! once into a log of recycled files, synced block by block, and once more into a segment.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Instant;

use weir_log::vfs::{OpenMode, VfsFile};
use weir_log::{PAGE_BYTES, PageBuf, RealVfs, Vfs};

use crate::exit::Failure;
use crate::output;

/// A block of the log under load, where the broker's own cannot be known.
pub const BLOCK_BYTES: u64 = 2 << 20;
/// A file of the log, and how many there are: what may wait for its segments, one that is being
/// written and some to spare.
const WAL_FILE_BYTES: u64 = 64 << 20;
const WAL_FILES: usize = 12;
const WAITING_MAX: usize = 8;
/// Segments are written in pieces of this size.
const PIECE_BYTES: usize = 1 << 20;
const MANIFEST: [u8; PAGE_BYTES] = [0x57; PAGE_BYTES];

/// Writes `bytes` in that way, and returns 10^6 bytes (counted once) per second. Everything is
/// removed again.
pub async fn twice(directory: &Path, bytes: u64, block: u64) -> Result<f64, Failure> {
    output::note("giving the disk the same writes and syncs without a broker");
    let directory = directory.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        let folder = tempfile::Builder::new()
            .prefix("weir-bench-disk-")
            .tempdir_in(directory)?;
        Disk::prepare(folder.path())?.run(bytes, block)
    });
    let rate = work
        .await
        .map_err(|error| Failure::failed(format!("measuring the disk ended early: {error}")))?;
    rate.map_err(|error| Failure::failed(format!("the disk cannot be measured: {error}")))
}

struct Disk {
    directory: PathBuf,
    wal: Vec<Arc<dyn VfsFile>>,
}

impl Disk {
    /// Makes the files of the log: allocated and written, as recycled ones are.
    fn prepare(directory: &Path) -> io::Result<Self> {
        let vfs = RealVfs::new();
        let zeros = PageBuf::with_len(PIECE_BYTES);
        let mut wal = Vec::with_capacity(WAL_FILES);
        for number in 0..WAL_FILES {
            let path = directory.join(format!("{number}.wal"));
            let file = vfs.open(&path, OpenMode::Create { direct: true })?;
            file.allocate(WAL_FILE_BYTES)?;
            for offset in (0..WAL_FILE_BYTES).step_by(PIECE_BYTES) {
                file.write_vectored_at(&[IoSlice::new(zeros.as_slice())], offset)?;
            }
            file.sync_all()?;
            wal.push(file);
        }
        vfs.sync_dir(directory)?;
        let directory = directory.to_owned();
        Ok(Self { directory, wal })
    }

    fn run(self, bytes: u64, block: u64) -> io::Result<f64> {
        let (filled, waiting) = sync_channel(WAITING_MAX);
        thread::scope(|scope| {
            let segments = scope.spawn({
                let directory = &self.directory;
                move || write_segments(directory, waiting)
            });
            let begin = Instant::now();
            let written =
                self.write_log(bytes, block, |file_bytes| filled.send(file_bytes).is_ok());
            let took = begin.elapsed();
            drop(filled);
            let behind = segments
                .join()
                .map_err(|_| io::Error::other("the thread that writes segments ended"))?;
            // If segments failed, the log stopped for it: their error is the cause.
            behind
                .and(written)
                .map(|written| written as f64 / 1e6 / took.as_secs_f64())
        })
    }

    /// Writes blocks, each synced, and says when a file is full.
    fn write_log(
        &self,
        bytes: u64,
        block: u64,
        mut filled: impl FnMut(u64) -> bool,
    ) -> io::Result<u64> {
        let block = (block as usize)
            .next_multiple_of(PAGE_BYTES)
            .clamp(PAGE_BYTES, WAL_FILE_BYTES as usize);
        let buffer = PageBuf::from_slice(&vec![0x57; block]);
        let mut written = 0;
        for file in self.wal.iter().cycle() {
            let mut at = 0;
            while at + block as u64 <= WAL_FILE_BYTES {
                if written >= bytes {
                    return Ok(written);
                }
                file.write_vectored_at(&[IoSlice::new(buffer.as_slice())], at)?;
                file.sync_data()?;
                at += block as u64;
                written += block as u64;
            }
            if !filled(at) {
                break;
            }
        }
        Ok(written)
    }
}

/// Writes a segment of as many bytes for each file of the log that is full.
fn write_segments(directory: &Path, filled: Receiver<u64>) -> io::Result<()> {
    let vfs = RealVfs::new();
    let piece = PageBuf::from_slice(&[0x57; PIECE_BYTES]);
    for (number, bytes) in filled.into_iter().enumerate() {
        let path = directory.join(format!("{number}.seg"));
        let file = vfs.open(&path, OpenMode::Create { direct: true })?;
        for at in (0..bytes).step_by(PIECE_BYTES) {
            // The last piece is as long as the others, as whole pages are.
            file.write_vectored_at(&[IoSlice::new(piece.as_slice())], at)?;
        }
        file.sync_all()?;
        vfs.sync_dir(directory)?;
        vfs.write_atomic(&directory.join("manifest"), &MANIFEST)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_written_twice() {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::prepare(folder.path()).unwrap();
        // Three files are filled, a fourth is begun.
        let rate = disk.run(3 * WAL_FILE_BYTES + 1, 16 << 20).unwrap();
        assert!(rate > 0.0, "{rate}");
        let vfs = RealVfs::new();
        let size = |name: &str| {
            let file = vfs.open(&folder.path().join(name), OpenMode::Read).unwrap();
            file.size().unwrap()
        };
        for name in ["0.seg", "1.seg", "2.seg"] {
            assert_eq!(size(name), WAL_FILE_BYTES);
        }
        assert_eq!(size("manifest"), PAGE_BYTES as u64);
        assert_eq!(vfs.list(folder.path()).unwrap().len(), WAL_FILES + 4);
    }
}
