//! The blocks of one WAL file, whatever stands between them.

use std::io;

use weir_wire::id::{EntryIndex, TopicPartition};

use super::pages::Pages;
use crate::format::block::BlockHeader;
use crate::format::entry::DecodedEntry;
use crate::format::fields::Fields;
use crate::ids::{Lsn, Nonce};
use crate::page_buf::PAGE_BYTES;
use crate::wal::check_body;

const PAGE: u64 = PAGE_BYTES as u64;

/// What stands in a WAL file next.
#[derive(Debug)]
pub(super) enum Stretch {
    /// A sound block.
    Block(Box<SoundBlock>),
    /// Bytes that are no sound block.
    Other(Other),
}

#[derive(Debug)]
pub(super) struct SoundBlock {
    pub(super) at: u64,
    pub(super) header: BlockHeader,
    /// The header's checksum, which the next block repeats.
    pub(super) crc: u32,
    pub(super) entries: Vec<DecodedEntry>,
}

impl SoundBlock {
    /// Where the block's extents begin, in it.
    pub(super) fn extents_at(&self) -> u64 {
        self.header.head_region() as u64
    }
}

/// What stands where no sound block does.
#[derive(Clone, Debug)]
pub(super) struct Other {
    pub(super) from: u64,
    pub(super) to: u64,
    /// What is wrong with its beginning.
    pub(super) what: &'static str,
    /// Where exactly.
    pub(super) offset: u64,
    /// Of a block whose header is sound.
    pub(super) partitions: Option<Vec<TopicPartition>>,
    /// It begins like a block of this file: something was written here.
    pub(super) begun: bool,
}

/// Reads a WAL file from its first block on.
#[derive(Debug)]
pub(super) struct Blocks {
    pages: Pages,
    /// That of the file; unknown if its header is damaged, until a block shows it.
    nonce: Option<Nonce>,
    at: u64,
}

impl Blocks {
    pub(super) fn new(pages: Pages, nonce: Option<Nonce>) -> Self {
        Self {
            pages,
            nonce,
            at: PAGE,
        }
    }

    /// What comes next. Blocks of the file are those with its nonce; those before `expected` are
    /// left from an earlier use of the file. `index` is that of its first entry,
    /// if that is known.
    pub(super) fn next(&mut self, expected: Lsn, index: Option<EntryIndex>) -> Option<Stretch> {
        let from = self.at;
        if from + PAGE > self.pages.size() {
            return None;
        }
        let first = match self.block(from, expected, index) {
            Ok(block) => {
                self.at += block.header.bytes() as u64;
                return Some(Stretch::Block(Box::new(block)));
            }
            Err(other) => other,
        };
        self.at += PAGE;
        while self.at + PAGE <= self.pages.size() && self.header(self.at, expected).is_err() {
            self.at += PAGE;
        }
        let to = self.at;
        Some(Stretch::Other(Other { to, ..first }))
    }

    fn header(&mut self, at: u64, expected: Lsn) -> Result<(BlockHeader, u32), Other> {
        let other = |offset, what, begun| Other {
            from: at,
            to: at + PAGE,
            what,
            offset,
            partitions: None,
            begun,
        };
        let page = self.pages.get(at, PAGE);
        let page = page.map_err(|_| other(at, "the disk cannot read it", true))?;
        let (header, crc) = BlockHeader::decode(&page).map_err(|error| {
            let blank = page.iter().all(|byte| *byte == 0);
            let what = if blank {
                "there are only zeros where a block was"
            } else {
                error.what
            };
            other(at + error.at as u64, what, self.is_ours(&page))
        })?;
        if self.nonce.is_some_and(|nonce| nonce != header.nonce) || header.lsn < expected {
            return Err(other(at, "no block of this file starts here", false));
        }
        Ok((header, crc))
    }

    /// Whether these bytes were a block of this file, by the nonce that stands in them.
    fn is_ours(&self, page: &[u8]) -> bool {
        let mut fields = Fields::new(page);
        let nonce = fields.take(NONCE_AT).and_then(|_| fields.u64());
        nonce.is_ok_and(|nonce| Some(Nonce::new(nonce)) == self.nonce)
    }

    fn block(
        &mut self,
        at: u64,
        expected: Lsn,
        index: Option<EntryIndex>,
    ) -> Result<SoundBlock, Other> {
        let (header, crc) = self.header(at, expected)?;
        let other = |offset, what| Other {
            from: at,
            to: at + PAGE,
            what,
            offset,
            partitions: Some(header.partitions.clone()),
            begun: true,
        };
        let bytes = match self.pages.get(at, header.bytes() as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(other(at, "the block reaches beyond its file"));
            }
            Err(_) => return Err(other(at, "the disk cannot read it")),
        };
        let index = index.filter(|_| header.lsn == expected);
        let index = index.unwrap_or_else(|| first_index(&header, &bytes));
        let entries = check_body(&header, &bytes, index)
            .map_err(|(offset, what)| other(at + offset as u64, what))?;
        self.nonce = Some(header.nonce);
        Ok(SoundBlock {
            at,
            header,
            crc,
            entries,
        })
    }
}

/// Where in a block's header the nonce stands.
const NONCE_AT: usize = 32;
/// Where in an entry its index stands.
const INDEX_AT: usize = 16;

/// What the first entry says its index is; which one it should be, the whole log tells.
fn first_index(header: &BlockHeader, block: &[u8]) -> EntryIndex {
    let mut fields = Fields::new(block);
    let index = fields
        .take(header.length() + INDEX_AT)
        .and_then(|_| fields.u64());
    EntryIndex::new(index.unwrap_or_default())
}
