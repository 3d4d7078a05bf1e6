//! Reading the files block by block.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_wire::id::EntryIndex;

use super::window::Window;
use super::{Cut, RecoveredEntry, RecoveredOp, Tail, io_error};
use crate::config::LogConfig;
use crate::error::OpenError;
use crate::format::block::BlockHeader;
use crate::format::entry::{DecodedEntry, DecodedOp, decode_entry, extent_bytes};
use crate::format::fields::Fields;
use crate::format::file_header::{self, FileHeader};
use crate::ids::{FileSequence, Lsn, NodeId, Nonce};
use crate::index::{Added, Index, Place};
use crate::machine::StateMachine;
use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs};
use crate::wal::files::file_path;

pub(super) struct Scan<'a, M> {
    vfs: &'a Arc<dyn Vfs>,
    config: &'a LogConfig,
    node: NodeId,
    machine: &'a mut M,
    end: End,
    /// Where the blocks stopped making sense, and why.
    bad: Option<Bad>,
}

/// What a scan found.
pub(super) struct End {
    pub(super) blocks: u64,
    pub(super) last: Lsn,
    pub(super) durable: Lsn,
    pub(super) previous: u32,
    pub(super) next_index: EntryIndex,
    pub(super) tail: Option<Tail>,
    pub(super) cut: Option<Cut>,
    pub(super) index: Index,
    /// The files that hold blocks, taken together.
    pub(super) file_bytes: u64,
}

struct Bad {
    path: PathBuf,
    offset: u64,
    what: &'static str,
    partitions: String,
    /// There are only zeros: nothing was ever written here.
    blank: bool,
}

/// A file that is being read.
struct Source {
    window: Window,
    path: PathBuf,
    header: FileHeader,
    bytes: u64,
}

/// A block that makes sense.
struct Good {
    header: BlockHeader,
    crc: u32,
    entries: Vec<DecodedEntry>,
}

impl<'a, M: StateMachine> Scan<'a, M> {
    pub(super) fn new(
        vfs: &'a Arc<dyn Vfs>,
        config: &'a LogConfig,
        node: NodeId,
        machine: &'a mut M,
    ) -> Self {
        let end = End {
            blocks: 0,
            last: Lsn::new(0),
            durable: Lsn::new(0),
            previous: 0,
            next_index: EntryIndex::new(1),
            tail: None,
            cut: None,
            index: Index::new(config.cache_bytes),
            file_bytes: 0,
        };
        Self {
            vfs,
            config,
            node,
            machine,
            end,
            bad: None,
        }
    }

    /// Reads the next file.
    pub(super) fn file(&mut self, sequence: FileSequence) -> Result<(), OpenError<M::Error>> {
        let path = file_path(&self.config.dir, sequence);
        let mut source = self.open(sequence, path.clone())?;
        let mut position = PAGE_BYTES as u64;
        if self.bad.is_some() {
            // The blocks before made no sense up to the end of their file. If the one that comes
            // next begins here, the rest of that file was not used, or held a write that was cut.
            if self.block(&mut source, position)?.is_err() {
                let nonce = source.header.nonce;
                return self.search(&mut source.window, &path, nonce, position);
            }
            self.bad = None;
        }
        while position < source.bytes {
            match self.block(&mut source, position)? {
                Ok(good) => {
                    let bytes = good.header.bytes() as u64;
                    self.take(&mut source, position, good)?;
                    position += bytes;
                }
                Err(bad) => {
                    self.bad = Some(bad);
                    let (nonce, next) = (source.header.nonce, position + PAGE_BYTES as u64);
                    return self.search(&mut source.window, &path, nonce, next);
                }
            }
        }
        Ok(())
    }

    /// Decides about what made no sense.
    pub(super) fn finish(mut self) -> Result<End, OpenError<M::Error>> {
        if let Some(bad) = self.bad.take() {
            if self.end.last < self.end.durable {
                return Err(bad.corrupt());
            }
            if !bad.blank {
                tracing::warn!(
                    path = %bad.path.display(), offset = bad.offset, what = bad.what,
                    "a write that was under way when the log ended is cut off"
                );
                let Bad {
                    path, offset, what, ..
                } = bad;
                self.end.cut = Some(Cut { path, offset, what });
            }
        }
        Ok(self.end)
    }

    /// A file bears its name only once it is whole, so whatever is wrong with it is damage.
    fn open(&self, sequence: FileSequence, path: PathBuf) -> Result<Source, OpenError<M::Error>> {
        let file = self
            .vfs
            .open(&path, OpenMode::Read)
            .map_err(|e| io_error(&path, e))?;
        let bytes = file.size().map_err(|e| io_error(&path, e))?;
        let partitions = || "unknown".to_owned();
        let bad = |what| {
            let path = path.clone();
            let bad = Bad {
                path,
                offset: 0,
                what,
                partitions: partitions(),
                blank: false,
            };
            Err(bad.corrupt())
        };
        if bytes < PAGE_BYTES as u64 {
            return bad("the file is shorter than its header");
        }
        let mut page = vec![0; PAGE_BYTES];
        file.read_exact_at(&mut page, 0)
            .map_err(|e| io_error(&path, e))?;
        let header = match FileHeader::decode(&page) {
            Ok(header) => header,
            Err(error) if error.what == file_header::OTHER_FORMAT => {
                let what = format!("{}; use the weir that wrote it, or a newer one", error.what);
                return Err(OpenError::Foreign { path, what });
            }
            Err(error) => return bad(error.what),
        };
        if header.node != self.node || header.shard != self.config.shard {
            let what = format!("belongs to node {}, not {}", header.node, self.node);
            return Err(OpenError::Foreign { path, what });
        }
        if header.sequence != sequence {
            let what = format!("says it is file {}; was it renamed?", header.sequence);
            return Err(OpenError::Foreign { path, what });
        }
        if bytes != u64::from(header.pages) * PAGE_BYTES as u64 {
            return bad("the file is not as long as its header says");
        }
        // Past the page cache: it is faster, it leaves the cache to others, and what it shows is
        // what the disk holds.
        let file = self
            .vfs
            .open(&path, OpenMode::Write { direct: true })
            .map_err(|e| io_error(&path, e))?;
        Ok(Source {
            window: Window::new(file, bytes),
            path,
            header,
            bytes,
        })
    }

    /// The block at a position, if it is the one that comes next.
    fn block(
        &self,
        source: &mut Source,
        at: u64,
    ) -> Result<Result<Good, Bad>, OpenError<M::Error>> {
        let Source {
            window,
            path,
            header: file,
            bytes: file_bytes,
        } = source;
        let page = window.get(at, PAGE_BYTES).map_err(|e| io_error(path, e))?;
        let blank = page.iter().all(|byte| *byte == 0);
        let bad = |offset, what, header: Option<&BlockHeader>| Bad {
            path: path.clone(),
            offset,
            what,
            partitions: header.map_or_else(|| "unknown".to_owned(), names),
            blank,
        };
        let (header, crc) = match BlockHeader::decode(page) {
            Ok(decoded) => decoded,
            Err(error) => return Ok(Err(bad(at + error.at as u64, error.what, None))),
        };
        if header.nonce != file.nonce
            || header.lsn != self.end.last.next()
            || header.previous != self.end.previous
        {
            return Ok(Err(bad(
                at,
                "the block that follows the one before is not here",
                None,
            )));
        }
        if at + header.bytes() as u64 > *file_bytes {
            return Ok(Err(bad(
                at,
                "the block reaches beyond its file",
                Some(&header),
            )));
        }
        let block = window
            .get(at, header.bytes())
            .map_err(|e| io_error(path, e))?;
        match check_body(&header, block, self.end.next_index) {
            Ok(entries) => Ok(Ok(Good {
                header,
                crc,
                entries,
            })),
            Err((offset, what)) => Ok(Err(bad(at + offset as u64, what, Some(&header)))),
        }
    }

    fn take(
        &mut self,
        source: &mut Source,
        at: u64,
        good: Good,
    ) -> Result<(), OpenError<M::Error>> {
        let Good {
            header,
            crc,
            entries,
        } = good;
        let end = &mut self.end;
        end.blocks += 1;
        end.last = header.lsn;
        end.previous = crc;
        end.durable = end.durable.max(header.durable);
        let mut last = match end.tail.take() {
            Some(tail) if tail.sequence == source.header.sequence => tail.last,
            _ => {
                end.file_bytes += source.bytes;
                PageBuf::with_len(0)
            }
        };
        // Kept, because no block states yet that this one is durable. The next one will.
        last.clear();
        let block = source
            .window
            .get(at, header.bytes())
            .map_err(|e| io_error(&source.path, e))?;
        last.extend_from_slice(block);
        end.tail = Some(Tail {
            sequence: source.header.sequence,
            nonce: source.header.nonce,
            position: at + header.bytes() as u64,
            file_bytes: source.bytes,
            last,
        });
        let mut extent = at + header.head_region() as u64;
        for entry in entries {
            end.next_index = entry.index.next();
            let mut ops = Vec::with_capacity(entry.ops.len());
            for op in entry.ops {
                if let DecodedOp::Append {
                    envelope,
                    at: within,
                } = &op
                    && !end
                        .index
                        .goes_on_at(envelope.partition, envelope.base_offset)
                {
                    return Err(OpenError::Corrupt {
                        path: source.path.clone(),
                        offset: at + *within as u64,
                        what: "a batch does not follow the one before in its partition".to_owned(),
                        partitions: envelope.partition.to_string(),
                    });
                }
                ops.push(recovered(op, source, at, &mut extent, &mut end.index));
            }
            let entry = RecoveredEntry {
                index: entry.index,
                term: entry.term,
                ops,
            };
            self.machine.apply(&entry).map_err(OpenError::Replay)?;
        }
        Ok(())
    }

    /// Looks for a valid block behind a bad one. If there is one, what is bad is not the end.
    fn search(
        &mut self,
        window: &mut Window,
        path: &Path,
        nonce: Nonce,
        from: u64,
    ) -> Result<(), OpenError<M::Error>> {
        let expected = self.end.last.next();
        let mut position = from;
        while position < window.size() {
            let page = window
                .get(position, PAGE_BYTES)
                .map_err(|e| io_error(path, e))?;
            let is_later = BlockHeader::decode(page)
                .is_ok_and(|(header, _)| header.nonce == nonce && header.lsn > expected);
            if is_later {
                return Err(self
                    .bad
                    .take()
                    .expect("a search follows something bad")
                    .corrupt());
            }
            position += PAGE_BYTES as u64;
        }
        Ok(())
    }
}

impl Bad {
    fn corrupt<E>(self) -> OpenError<E> {
        let Self {
            path,
            offset,
            what,
            partitions,
            blank,
        } = self;
        let what = if blank {
            "there are only zeros where a block was"
        } else {
            what
        };
        OpenError::Corrupt {
            path,
            offset,
            what: what.to_owned(),
            partitions,
        }
    }
}

fn names(header: &BlockHeader) -> String {
    let mut names: Vec<String> = header.partitions.iter().map(ToString::to_string).collect();
    if header.more_partitions {
        names.push("and others".to_owned());
    }
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

/// Checks what a block's header promises about the rest of it.
pub(crate) fn check_body(
    header: &BlockHeader,
    block: &[u8],
    first: EntryIndex,
) -> Result<Vec<DecodedEntry>, (usize, &'static str)> {
    let head_end = header.length() + header.head_length as usize;
    let wrong = (header.length(), "the block's checksum is wrong");
    let head = block.get(header.length()..head_end).ok_or(wrong)?;
    let mut crc = crc32c::crc32c(head);
    let mut fields = Fields::new(block.get(..head_end).ok_or(wrong)?);
    fields
        .take(header.length())
        .map_err(|error| (error.at, error.what))?;
    let mut entries = Vec::new();
    let mut extent = header.head_region();
    let mut index = first;
    for _ in 0..header.entries {
        let entry = decode_entry(&mut fields).map_err(|error| (error.at, error.what))?;
        if entry.index != index || entry.shard != header.shard {
            return Err((fields.at(), "an entry is not the one that comes next"));
        }
        index = index.next();
        for op in &entry.ops {
            if let DecodedOp::Append { envelope, .. } = op
                && envelope.extent
            {
                let end = extent + envelope.batch_length as usize;
                let batch = block.get(extent..end).ok_or(wrong)?;
                crc = crc32c::crc32c_append(crc, batch);
                extent += extent_bytes(envelope.batch_length);
            }
        }
        entries.push(entry);
    }
    if crc != header.body_crc || fields.left() > 0 || extent != header.bytes() {
        return Err(wrong);
    }
    Ok(entries)
}

/// What an operation means to whoever replays; batches get their place in the index.
fn recovered(
    op: DecodedOp,
    source: &Source,
    block: u64,
    extent: &mut u64,
    index: &mut Index,
) -> RecoveredOp {
    match op {
        DecodedOp::Append { envelope, at } => {
            let narrow = |number: u64| u32::try_from(number).expect("a WAL file is below 4 GiB");
            let mut place = Place {
                base_offset: envelope.base_offset,
                append_time: envelope.append_time,
                file: narrow(source.header.sequence.value()),
                envelope: narrow(block + at as u64),
                extent_page: 0,
                columns: envelope.columns_length,
                length: envelope.batch_length,
                count: envelope.count,
            };
            if envelope.extent {
                place.extent_page = narrow(*extent / PAGE_BYTES as u64);
                *extent += extent_bytes(envelope.batch_length) as u64;
            }
            let partition = envelope.partition;
            index.add(Added {
                partition,
                place,
                batch: None,
            });
            RecoveredOp::Append {
                partition,
                base_offset: envelope.base_offset,
                count: envelope.count,
                append_time: envelope.append_time,
            }
        }
        DecodedOp::ProducerSequence {
            producer,
            epoch,
            sequence,
            outcome,
        } => RecoveredOp::ProducerSequence {
            producer,
            epoch,
            sequence,
            outcome,
        },
        DecodedOp::Metadata(bytes) => RecoveredOp::Metadata(bytes),
        DecodedOp::Trim { partition, start } => RecoveredOp::Trim { partition, start },
    }
}
