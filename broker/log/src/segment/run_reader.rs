//! Reading a run from front to back: for whoever copies, compacts or checks it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use weir_wire::id::{Offset, Timestamp};

use super::frame::FrameHead;
use super::{Run, segment_path};
use crate::error::ReadError;
use crate::format::entry::ENVELOPE_FIXED;
use crate::format::fields::DecodeError;
use crate::format::segment::frame_length;
use crate::index::StoredBatch;
use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// Bytes read at once, unless a frame is longer.
const WINDOW_BYTES: u64 = 4 << 20;

/// A batch as it stands in a segment.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Where its envelope begins.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests compare it with the sparse index")
    )]
    pub(crate) position: u64,
    pub(crate) batch: StoredBatch,
}

/// Reads the frames of a run in their order and checks every byte of them.
#[derive(Debug)]
pub(crate) struct RunReader {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    run: Run,
    /// Where the next frame begins.
    at: u64,
    /// A part of the file, and where it begins.
    window: Bytes,
    window_at: u64,
    /// What came so far.
    batches: u32,
    batch_bytes: u64,
    end: Offset,
    time: Timestamp,
}

impl RunReader {
    /// Opens the run's segment. `direct`: past the page cache, which is left to others.
    pub(crate) fn open(
        vfs: &dyn Vfs,
        dir: &Path,
        run: &Run,
        direct: bool,
    ) -> Result<Self, ReadError> {
        let path = segment_path(dir, run.segment);
        let mode = if direct {
            OpenMode::Write { direct }
        } else {
            OpenMode::Read
        };
        let file = vfs.open(&path, mode).map_err(|source| ReadError::Io {
            path: path.clone(),
            source,
        })?;
        Ok(Self {
            file,
            path,
            run: *run,
            at: run.position,
            window: Bytes::new(),
            window_at: 0,
            batches: 0,
            batch_bytes: 0,
            end: run.base,
            time: run.first_time,
        })
    }

    /// The next frame; `None` once all were there that the run says it has.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, ReadError> {
        let position = self.at;
        let left = self.run.frames_end() - position;
        if left == 0 {
            return self.check_totals().map(|()| None);
        }
        if left < ENVELOPE_FIXED as u64 {
            return Err(self.corrupt(position, "a run ends within a batch"));
        }
        let head = self.bytes(position, ENVELOPE_FIXED as u64)?;
        let length = frame_length(&head)
            .map_err(|error| self.corrupt(position + error.at as u64, error.what))?;
        if length as u64 > left {
            return Err(self.corrupt(position, "a run ends within a batch"));
        }
        let bytes = self.bytes(position, length as u64)?;
        let batch = self.decode(position, &bytes)?;
        self.batches += 1;
        self.batch_bytes += batch.bytes.len() as u64;
        self.end = batch.end();
        self.time = batch.append_time;
        self.at += length as u64;
        Ok(Some(Frame { position, batch }))
    }

    fn decode(&self, position: u64, frame: &Bytes) -> Result<StoredBatch, ReadError> {
        let damaged = |error: DecodeError| self.corrupt(position + error.at as u64, error.what);
        let head = FrameHead::decode(frame).map_err(damaged)?;
        let follows = head.envelope.partition == self.run.partition
            && head.envelope.base_offset >= self.end
            && head.envelope.append_time >= self.time;
        if !follows {
            return Err(self.corrupt(position, "another batch stands there"));
        }
        head.batch(frame).map_err(damaged)
    }

    fn check_totals(&self) -> Result<(), ReadError> {
        let run = &self.run;
        let all = self.batches == run.batches
            && self.batch_bytes == run.batch_bytes
            && self.end <= run.end
            && self.time == run.last_time;
        if all {
            return Ok(());
        }
        Err(self.corrupt(run.position, "a run does not hold what its segment says"))
    }

    /// That part of the file; `length` bytes are known to be there.
    fn bytes(&mut self, at: u64, length: u64) -> Result<Bytes, ReadError> {
        let held = self.window_at..self.window_at + self.window.len() as u64;
        if at < held.start || at + length > held.end {
            let page = PAGE_BYTES as u64;
            let start = at - at % page;
            let end = (at + length)
                .max((start + WINDOW_BYTES).min(self.run.frames_end()))
                .next_multiple_of(page);
            // What it held is of no use any longer, and its memory may be.
            self.window = Bytes::new();
            let mut window = PageBuf::to_overwrite(narrow(end - start));
            self.file
                .read_exact_at(window.as_mut_slice(), start)
                .map_err(|source| self.failed(at, source))?;
            (self.window, self.window_at) = (window.freeze(), start);
        }
        let from = narrow(at - self.window_at);
        Ok(self.window.slice(from..from + narrow(length)))
    }

    fn failed(&self, at: u64, source: io::Error) -> ReadError {
        match source.kind() {
            io::ErrorKind::UnexpectedEof => self.corrupt(at, "the file ends before the batch does"),
            _ => ReadError::Io {
                path: self.path.clone(),
                source,
            },
        }
    }

    fn corrupt(&self, offset: u64, what: &'static str) -> ReadError {
        ReadError::Corrupt {
            path: self.path.clone(),
            offset,
            what,
        }
    }
}

fn narrow(length: u64) -> usize {
    usize::try_from(length).expect("a frame and a window fit memory")
}
