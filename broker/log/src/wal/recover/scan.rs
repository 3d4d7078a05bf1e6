//! Reading the files block by block.

use std::path::PathBuf;
use std::sync::Arc;

use weir_wire::id::EntryIndex;

use super::window::Window;
use super::{Cut, Origin, RecoveredEntry, RecoveredOp, Tail};
use crate::archive::Table;
use crate::config::LogConfig;
use crate::error::OpenError;
use crate::format::block::BlockHeader;
use crate::format::entry::{DecodedEntry, DecodedOp, Envelope, decode_entry, extent_bytes};
use crate::format::fields::Fields;
use crate::format::file_header::FileHeader;
use crate::ids::{FileSequence, Lsn, NodeId};
use crate::index::{Added, Index, Place};
use crate::machine::StateMachine;
use crate::manifest::FileStart;
use crate::names::{io_error, partitions};
use crate::node;
use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs};
use crate::wal::files::file_path;

pub(super) struct Scan<'a, M> {
    vfs: &'a Arc<dyn Vfs>,
    config: &'a LogConfig,
    node: NodeId,
    origin: &'a Origin,
    machine: &'a mut M,
    end: End,
    /// Where the blocks stopped making sense, and why.
    bad: Option<Bad>,
}

/// What a scan found.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) blocks: u64,
    pub(crate) last: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) previous: u32,
    pub(crate) next_index: EntryIndex,
    /// What comes before the file that the last block is in.
    pub(crate) start: FileStart,
    pub(super) tail: Option<Tail>,
    pub(crate) cut: Option<Cut>,
    pub(crate) index: Index,
    pub(crate) table: Table,
    /// The files that hold blocks, taken together.
    pub(super) file_bytes: u64,
}

struct Bad {
    path: PathBuf,
    offset: u64,
    what: &'static str,
    partitions: String,
    /// Nothing here looks like a block of this file: it was never written to, or only as another
    /// file.
    unused: bool,
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
        origin: &'a Origin,
        (index, table, machine): (Index, Table, &'a mut M),
    ) -> Self {
        let start = origin.start;
        let end = End {
            blocks: 0,
            last: Lsn::new(start.first.value() - 1),
            durable: origin.durable,
            previous: start.previous,
            next_index: start.entry,
            start,
            tail: None,
            cut: None,
            index,
            table,
            file_bytes: 0,
        };
        Self {
            vfs,
            config,
            node,
            origin,
            machine,
            end,
            bad: None,
        }
    }

    /// Reads the next file.
    pub(super) fn file(&mut self, sequence: FileSequence) -> Result<(), OpenError<M::Error>> {
        let path = file_path(&self.config.dir, sequence);
        let mut source = self.open(sequence, path)?;
        let mut position = PAGE_BYTES as u64;
        if self.bad.is_some() {
            // The blocks before made no sense up to the end of their file. If the one that comes
            // next begins here, the rest of that file was not used, or held a write that was cut.
            if let Err(here) = self.block(&mut source, position)? {
                return self.nothing_may_follow(&mut source, position, Some(here));
            }
            self.bad = None;
        }
        if sequence == self.origin.start.file {
            self.begin(&source);
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
                    let next = position + PAGE_BYTES as u64;
                    return self.nothing_may_follow(&mut source, next, None);
                }
            }
        }
        Ok(())
    }

    /// Writing goes on in the first file, should no block be found.
    fn begin(&mut self, source: &Source) {
        self.end.file_bytes += source.bytes;
        self.end.tail = Some(Tail {
            sequence: source.header.sequence,
            nonce: source.header.nonce,
            position: PAGE_BYTES as u64,
            file_bytes: source.bytes,
            last: PageBuf::with_len(0),
        });
    }

    /// Decides about what made no sense.
    pub(super) fn finish(mut self) -> Result<End, OpenError<M::Error>> {
        if self.end.last < self.end.durable {
            return Err(self.ends_too_early());
        }
        if let Some(bad) = self.bad.take()
            && !bad.unused
        {
            tracing::warn!(
                path = %bad.path.display(), offset = bad.offset, what = bad.what,
                "a write that was under way when the log ended is cut off"
            );
            let Bad {
                path, offset, what, ..
            } = bad;
            self.end.cut = Some(Cut { path, offset, what });
        }
        Ok(self.end)
    }

    /// Blocks that a manifest states to be durable are not there.
    fn ends_too_early(&mut self) -> OpenError<M::Error> {
        let (last, durable) = (self.end.last, self.end.durable);
        let reached = self.end.tail.as_ref().map(|tail| tail.sequence);
        match self.bad.take() {
            Some(bad) if reached >= Some(self.origin.durable_file) => bad.corrupt(),
            _ => {
                let missing = reached.map_or(self.origin.start.file, FileSequence::next);
                OpenError::Corrupt {
                    path: file_path(&self.config.dir, missing),
                    offset: PAGE_BYTES as u64,
                    what: format!(
                        "blocks {} to {durable} are missing here, which were durable; the file \
                         before ends with block {last}",
                        last.next()
                    ),
                    partitions: "unknown".to_owned(),
                }
            }
        }
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
                unused: false,
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
            Err(error) => match error.other_format() {
                Some(what) => return Err(OpenError::Foreign { path, what }),
                None => return bad(error.what),
            },
        };
        let (found, own) = ((header.node, header.shard), (self.node, self.config.shard));
        if found != own {
            let what = node::of_another(found, own);
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
        let unused = !BlockHeader::is_of(page, file.nonce);
        let bad = |offset, what, header: Option<&BlockHeader>| Bad {
            path: path.clone(),
            offset,
            what,
            partitions: header.map_or_else(|| "unknown".to_owned(), named),
            unused,
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
        if end
            .tail
            .as_ref()
            .is_none_or(|tail| tail.sequence != source.header.sequence)
        {
            end.file_bytes += source.bytes;
            end.start = FileStart {
                file: source.header.sequence,
                first: header.lsn,
                previous: header.previous,
                entry: end.next_index,
            };
        }
        end.blocks += 1;
        end.last = header.lsn;
        end.previous = crc;
        end.durable = end.durable.max(header.durable);
        // Kept, because no block states yet that this one is durable. The next one will.
        let mut last = end
            .tail
            .take()
            .map_or_else(|| PageBuf::with_len(0), |tail| tail.last);
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
            self.take_entry(source, at, &mut extent, entry)?;
        }
        Ok(())
    }

    fn take_entry(
        &mut self,
        source: &Source,
        block: u64,
        extent: &mut u64,
        entry: DecodedEntry,
    ) -> Result<(), OpenError<M::Error>> {
        let end = &mut self.end;
        end.next_index = entry.index.next();
        // What is in segments and sections already only takes up room here.
        let is_new = entry.index > self.origin.checkpoint;
        let mut ops = Vec::with_capacity(entry.ops.len());
        for op in entry.ops {
            if let DecodedOp::Append { envelope, at } = &op {
                let place = place(envelope, source, block + *at as u64, extent);
                let partition = envelope.partition;
                if !is_new {
                    continue;
                }
                if !end.table.goes_on_at(partition, envelope.base_offset) {
                    return Err(OpenError::Corrupt {
                        path: source.path.clone(),
                        offset: block + *at as u64,
                        what: "a batch does not follow the one before in its partition".to_owned(),
                        partitions: partition.to_string(),
                    });
                }
                end.index.add(Added {
                    partition,
                    place,
                    batch: None,
                });
            }
            if let DecodedOp::Trim { partition, start } = op
                && is_new
            {
                end.index.trim(partition, start);
            }
            let op = RecoveredOp::from(&op);
            if is_new {
                end.table.apply(&op);
            }
            ops.push(op);
        }
        if !is_new {
            return Ok(());
        }
        let entry = RecoveredEntry {
            index: entry.index,
            term: entry.term,
            ops,
        };
        self.machine.apply(&entry).map_err(OpenError::Replay)
    }

    /// Looks for a valid block behind a bad one. If there is one, what is bad is not the end.
    /// `here` is what is wrong with the beginning of this file, if the bad one is in a file
    /// before.
    fn nothing_may_follow(
        &mut self,
        source: &mut Source,
        from: u64,
        here: Option<Bad>,
    ) -> Result<(), OpenError<M::Error>> {
        let Source {
            window,
            path,
            header: file,
            ..
        } = source;
        let expected = self.end.last.next();
        let mut position = from;
        while position < window.size() {
            let page = window
                .get(position, PAGE_BYTES)
                .map_err(|e| io_error(path, e))?;
            let is_later = BlockHeader::decode(page)
                .is_ok_and(|(header, _)| header.nonce == file.nonce && header.lsn > expected);
            if is_later {
                let bad = self.bad.take().expect("a search follows something bad");
                // A file with blocks has one at its beginning. If that is damaged, it is the one
                // to name, unless the end of the file before is so obviously.
                return Err(match here {
                    Some(here) if bad.unused && position > from => here.corrupt(),
                    _ => bad.corrupt(),
                });
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
            unused,
        } = self;
        let what = if unused {
            "no block is here, where one was"
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

fn named(header: &BlockHeader) -> String {
    if header.partitions.is_empty() {
        return "none".to_owned();
    }
    partitions(header.partitions.iter().copied(), header.more_partitions)
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

/// Where a batch lies; moves on to the next extent if it is in one.
fn place(envelope: &Envelope, source: &Source, at: u64, extent: &mut u64) -> Place {
    let narrow = |number: u64| u32::try_from(number).expect("a WAL file is below 4 GiB");
    let mut place = Place {
        base_offset: envelope.base_offset,
        append_time: envelope.append_time,
        file: narrow(source.header.sequence.value()),
        envelope: narrow(at),
        extent_page: 0,
        columns: envelope.columns_length,
        length: envelope.batch_length,
        count: envelope.count,
    };
    if envelope.extent {
        place.extent_page = narrow(*extent / PAGE_BYTES as u64);
        *extent += extent_bytes(envelope.batch_length) as u64;
    }
    place
}
