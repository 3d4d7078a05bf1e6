//! What `produce` reads: a file or standard input, plain, gzip or zstd, split into lines.
//!
//! What a line means is decided in `input/line.rs`; the thread that reads is in
//! `input/reader.rs`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod args;
mod line;
mod reader;

pub use args::LineArgs;
pub use line::{Format, InputRecord, Item, Line, LineNumber, LineRules};
pub use reader::{Chunks, read_in_background};

/// Bytes read at once: large enough that a system call per read does not count.
const READ_BYTES: usize = 256 << 10;
/// Bytes that tell the compressions apart.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// Buffered bytes that can tell whether reading a line would wait for more of them.
pub trait LineInput: BufRead + Send {
    /// Whether a whole line is in the buffer.
    fn has_line(&self) -> bool;
}

impl<R: Read + Send> LineInput for BufReader<R> {
    fn has_line(&self) -> bool {
        self.buffer().contains(&b'\n')
    }
}

/// An opened input, decompressed as it is read.
pub struct Source {
    /// The decompressed bytes.
    pub bytes: Box<dyn LineInput>,
    /// How far the file itself has been read.
    pub progress: Progress,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source")
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// How far a file has been read, before decompression; shared with the thread that reads.
#[derive(Clone, Debug)]
pub struct Progress {
    read: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// Bytes read so far.
    pub fn read_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes there are, where the input is a file.
    pub const fn total_bytes(&self) -> Option<u64> {
        self.total
    }
}

impl Source {
    /// Opens a file, or standard input for `-`.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Self::new(io::stdin(), None);
        }
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        Self::new(file, metadata.is_file().then_some(metadata.len()))
    }

    /// Takes bytes at hand, compressed or not.
    pub fn from_bytes(bytes: &'static [u8]) -> io::Result<Self> {
        Self::new(Cursor::new(bytes), Some(bytes.len() as u64))
    }

    fn new(raw: impl Read + Send + 'static, total: Option<u64>) -> io::Result<Self> {
        let progress = Progress {
            read: Arc::default(),
            total,
        };
        let mut raw = Counted {
            raw,
            read: Arc::clone(&progress.read),
        };
        let magic = read_magic(&mut raw)?;
        let gzip = magic.starts_with(GZIP);
        let zstd = magic.starts_with(ZSTD);
        let whole = BufReader::with_capacity(READ_BYTES, Cursor::new(magic).chain(raw));
        let bytes: Box<dyn LineInput> = if gzip {
            let decoder = flate2::bufread::MultiGzDecoder::new(whole);
            Box::new(BufReader::with_capacity(READ_BYTES, decoder))
        } else if zstd {
            let decoder = zstd::stream::read::Decoder::with_buffer(whole)?;
            Box::new(BufReader::with_capacity(READ_BYTES, decoder))
        } else {
            Box::new(whole)
        };
        Ok(Self { bytes, progress })
    }
}

/// The first bytes, as few as tell the compressions apart: somebody may be typing them.
fn read_magic(raw: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut magic = Vec::with_capacity(ZSTD.len());
    while !magic.starts_with(GZIP)
        && magic.len() < ZSTD.len()
        && (GZIP.starts_with(&magic) || ZSTD.starts_with(&magic))
        && raw.take(1).read_to_end(&mut magic)? > 0
    {}
    Ok(magic)
}

/// Counts what is read through it.
struct Counted<R> {
    raw: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.raw.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
