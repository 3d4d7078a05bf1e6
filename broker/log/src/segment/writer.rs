//! Writing a segment: frames are copied into one large buffer, and that goes to the disk piece by
//! piece, past the page cache. No batch's checksum is computed anew.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_wire::id::{Offset, ShardId, Timestamp, TopicPartition};

use super::{IndexEntry, Run, SegmentMeta, segment_path};
use crate::entry::Columns;
use crate::format::entry::EnvelopeFields;
use crate::format::segment::{INDEX_STEP, SegmentHeader, encode_end, encode_frame_head};
use crate::ids::{NodeId, SegmentId};
use crate::index::StoredBatch;
use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs, VfsFile};

/// What is written at once, unless somebody asks for less.
const PIECE_BYTES: usize = 1 << 20;

/// A batch on its way into a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameRef<'a> {
    pub(crate) base_offset: Offset,
    /// How many offsets it covers.
    pub(crate) count: u32,
    /// How many records are in it: fewer than offsets once it was compacted.
    pub(crate) records: u32,
    pub(crate) append_time: Timestamp,
    pub(crate) columns: &'a Columns,
    pub(crate) batch: &'a [u8],
    /// CRC32C of all of `batch`.
    pub(crate) crc: u32,
}

impl<'a> From<&'a StoredBatch> for FrameRef<'a> {
    /// A batch with a record for every offset.
    fn from(batch: &'a StoredBatch) -> Self {
        Self {
            base_offset: batch.base_offset,
            count: batch.count,
            records: batch.count,
            append_time: batch.append_time,
            columns: &batch.columns,
            batch: &batch.bytes,
            crc: batch.crc,
        }
    }
}

/// Writes a segment: a run is begun, its batches are pushed, the next run is begun, and so on.
/// One that is dropped before [`SegmentWriter::finish`] leaves half a file behind for whoever
/// made it to remove.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    file: Arc<dyn VfsFile>,
    path: PathBuf,
    id: SegmentId,
    /// What is not written yet. Never longer than a piece.
    buffer: PageBuf,
    piece: usize,
    /// Whether it is made durable in the end; only a planted bug leaves that out.
    synced: bool,
    /// Bytes in the file: whole pieces.
    written: u64,
    runs: Vec<Run>,
    entries: Vec<IndexEntry>,
    /// The run that batches go to.
    open: Option<OpenRun>,
    /// An envelope on its way into the buffer; kept for its memory.
    head: Vec<u8>,
}

#[derive(Debug)]
struct OpenRun {
    run: Run,
    /// Where the last frame begins that is in the sparse index.
    indexed: u64,
}

impl SegmentWriter {
    /// Makes the file. `direct`: past the page cache.
    pub(crate) fn create(
        vfs: &dyn Vfs,
        dir: &Path,
        id: SegmentId,
        node: NodeId,
        shard: ShardId,
        direct: bool,
    ) -> io::Result<Self> {
        let path = segment_path(dir, id);
        let file = vfs.open(&path, OpenMode::Create { direct })?;
        let mut buffer = PageBuf::with_capacity(PIECE_BYTES);
        buffer.extend_from_slice(&SegmentHeader { id, node, shard }.encode());
        Ok(Self {
            file,
            path,
            id,
            buffer,
            piece: PIECE_BYTES,
            synced: true,
            written: 0,
            runs: Vec::new(),
            entries: Vec::new(),
            open: None,
            head: Vec::new(),
        })
    }

    /// Writes smaller pieces, whole pages each, so that the disk is never busy for long.
    pub(crate) fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.piece = bytes
            .next_multiple_of(PAGE_BYTES)
            .clamp(2 * PAGE_BYTES, PIECE_BYTES);
        self
    }

    /// A planted bug: the file is not made durable.
    pub(crate) fn unsynced(mut self) -> Self {
        self.synced = false;
        self
    }

    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes that were handed to the disk so far.
    pub(crate) fn bytes_written(&self) -> u64 {
        self.written
    }

    /// Bytes of the file as it is now, written or not.
    pub(crate) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Ends the run before, where its last batch ends, and begins one of that partition.
    pub(crate) fn begin_run(&mut self, partition: TopicPartition) {
        self.close_run(None);
        let position = self.bytes();
        let run = Run {
            partition,
            segment: self.id,
            base: Offset::ZERO,
            end: Offset::ZERO,
            records: 0,
            batches: 0,
            batch_bytes: 0,
            first_time: Timestamp::default(),
            last_time: Timestamp::default(),
            position,
            length: 0,
            index_at: 0,
            index_entries: 0,
            index_crc: 0,
        };
        self.open = Some(OpenRun {
            run,
            indexed: position,
        });
    }

    /// Ends the run that was begun, further on than where its last batch ends: offsets behind it
    /// are gone for good.
    pub(crate) fn end_run(&mut self, end: Offset) {
        self.close_run(Some(end));
    }

    /// So many records fewer are in the run that was begun than its batches had when they were
    /// pushed: some of them were compacted, and only who copies the run knows how many they lost.
    pub(crate) fn lacks_records(&mut self, records: u64) {
        if let Some(OpenRun { run, .. }) = &mut self.open {
            run.records = run.records.saturating_sub(records);
        }
    }

    fn close_run(&mut self, end: Option<Offset>) {
        let Some(OpenRun { mut run, .. }) = self.open.take() else {
            return;
        };
        if run.batches == 0 {
            return;
        }
        if let Some(end) = end {
            assert!(run.end <= end, "a run does not end before its last batch");
            run.end = end;
        }
        run.length = self.bytes() - run.position;
        self.runs.push(run);
    }

    /// Appends a batch to the run that was begun.
    ///
    /// # Panics
    /// When no run was begun, or the batch begins before the last one ends.
    pub(crate) fn push(&mut self, frame: &FrameRef<'_>) -> io::Result<()> {
        let position = self.bytes();
        let OpenRun { run, indexed } = self.open.as_mut().expect("a run was begun");
        assert!(
            frame.count > 0 && (run.batches == 0 || run.end <= frame.base_offset),
            "the batches of {} go up in offsets: {} after {}",
            run.partition,
            frame.base_offset,
            run.end
        );
        if run.batches == 0 {
            run.base = frame.base_offset;
            run.first_time = frame.append_time;
        }
        if run.batches == 0 || position - *indexed >= INDEX_STEP {
            *indexed = position;
            run.index_entries += 1;
            self.entries.push(IndexEntry {
                offset: frame.base_offset,
                time: frame.append_time,
                position,
            });
        }
        run.end = frame.base_offset.advance(frame.count);
        run.last_time = frame.append_time;
        run.batches += 1;
        run.records += u64::from(frame.records);
        run.batch_bytes += frame.batch.len() as u64;
        let fields = EnvelopeFields {
            partition: run.partition,
            base_offset: frame.base_offset,
            count: frame.count,
            append_time: frame.append_time,
            batch_length: u32::try_from(frame.batch.len()).expect("a batch is below 4 GiB"),
            batch_crc: frame.crc,
            extent: false,
        };
        let mut head = std::mem::take(&mut self.head);
        encode_frame_head(&fields, frame.columns, &mut head);
        self.put(&head)?;
        head.clear();
        self.head = head;
        self.put(frame.batch)
    }

    /// Writes what says what is in it, and makes the file durable. Its name is not: whoever calls
    /// syncs the directory.
    ///
    /// # Panics
    /// When it holds no batch.
    pub(crate) fn finish(mut self) -> io::Result<SegmentMeta> {
        self.close_run(None);
        assert!(!self.runs.is_empty(), "a segment holds batches");
        let mut runs = std::mem::take(&mut self.runs);
        let (end, footer_crc) = encode_end(self.id, self.bytes(), &mut runs, &self.entries);
        self.put(&end)?;
        self.write_piece()?;
        if self.synced {
            self.file.sync_all()?;
        }
        Ok(SegmentMeta {
            id: self.id,
            bytes: self.written,
            footer_crc,
            runs,
        })
    }

    fn put(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.piece - self.buffer.len();
            let (some, rest) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(some);
            bytes = rest;
            if self.buffer.len() == self.piece {
                self.write_piece()?;
            }
        }
        Ok(())
    }

    fn write_piece(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        debug_assert!(
            self.buffer.len().is_multiple_of(PAGE_BYTES),
            "a piece is whole pages"
        );
        self.file
            .write_vectored_at(&[IoSlice::new(self.buffer.as_slice())], self.written)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
