//! The WAL from its first file to its end: which blocks are sound, which are gone, and whether
//! the last write was cut short. The rule is that of the recovery, but for one thing: a block
//! that is gone does not end the walk.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};

use weir_wire::id::{EntryIndex, Offset, TopicPartition};

use super::blocks::{Blocks, Other, SoundBlock, Stretch};
use super::losses::Losses;
use super::pages::Pages;
use super::survey::{NEWER, RESTORE, Survey};
use super::{Damage, LogEnd, WalFileInfo};
use crate::format::entry::DecodedOp;
use crate::format::fields::OTHER_FORMAT;
use crate::format::file_header::FileHeader;
use crate::ids::{FileSequence, Lsn, Nonce};
use crate::page_buf::PAGE_BYTES;
use crate::wal::{Cut, file_path};

/// Where a walk begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct WalStart {
    pub(super) file: FileSequence,
    pub(super) lsn: Lsn,
    /// The header CRC of the block before.
    pub(super) previous: u32,
    /// The index of the first entry.
    pub(super) index: EntryIndex,
    /// A block that is known to be durable from elsewhere.
    pub(super) durable: Lsn,
    /// Whether this is known at all, and not only the file.
    pub(super) known: bool,
}

impl Default for WalStart {
    fn default() -> Self {
        Self {
            file: FileSequence::new(1),
            lsn: Lsn::new(1),
            previous: 0,
            index: EntryIndex::new(1),
            durable: Lsn::new(0),
            known: true,
        }
    }
}

/// What the walk comes by.
#[derive(Debug)]
pub(super) enum Visit<'a> {
    /// A sound block.
    Block(FileSequence, &'a SoundBlock),
    /// A part of a file that may hold what is left of blocks.
    Remains {
        file: FileSequence,
        from: u64,
        to: u64,
    },
}

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) files: Vec<WalFileInfo>,
    pub(super) end: LogEnd,
    pub(super) damages: Vec<Damage>,
    pub(super) losses: Losses,
}

/// Walks through the WAL.
pub(super) fn walk(
    survey: &Survey<'_>,
    start: WalStart,
    each: &mut dyn FnMut(Visit<'_>),
) -> Walked {
    let mut walk = Walk {
        survey,
        each,
        expected: start.known.then_some(start),
        index: start.known.then_some(start.index),
        doubtful: Vec::new(),
        reached: (file_path(survey.dir, start.file), PAGE_BYTES as u64),
        short: false,
        ends: HashMap::new(),
        found: Walked {
            end: LogEnd {
                last: Lsn::new(start.lsn.value() - 1),
                durable: start.durable,
                index: EntryIndex::new(start.index.value() - 1),
                cut: None,
            },
            ..Walked::default()
        },
    };
    if !start.known || survey.newest().is_none() && !survey.segments.is_empty() {
        walk.found.losses.lost_unnamed();
    }
    let last = survey.wal.last().copied().unwrap_or_default();
    let mut next = start.file;
    for &sequence in &survey.wal {
        if sequence < start.file {
            walk.freed(sequence);
            continue;
        }
        for missing in next.value()..sequence.value() {
            walk.missing(FileSequence::new(missing));
        }
        walk.file(sequence);
        next = sequence.next();
    }
    // A log has its first WAL file before its first manifest.
    if last < start.file && !(survey.manifests.is_empty() && survey.segments.is_empty()) {
        walk.missing(start.file);
    }
    walk.finish()
}

/// A place without a sound block.
struct Doubtful {
    path: PathBuf,
    file: FileSequence,
    other: Other,
}

struct Walk<'a, 'b> {
    survey: &'a Survey<'b>,
    each: &'a mut dyn FnMut(Visit<'_>),
    /// The block that comes next; `None` behind something that is known to be gone.
    expected: Option<WalStart>,
    /// The index of the next entry; `None` behind something that is gone, until an entry shows it.
    index: Option<EntryIndex>,
    /// Where no sound block was, until it is known whether one should be there.
    doubtful: Vec<Doubtful>,
    /// Where the last sound block ended.
    reached: (PathBuf, u64),
    /// The file before what comes next is cut off: blocks may be gone without a trace.
    short: bool,
    /// Where each partition goes on, as long as nothing is gone.
    ends: HashMap<TopicPartition, Offset>,
    found: Walked,
}

impl Walk<'_, '_> {
    fn finish(mut self) -> Walked {
        let Walked { end, .. } = &self.found;
        if end.last < end.durable && self.expected.is_some() {
            let what = format!(
                "blocks {} to {} are gone, which are known to be durable",
                end.last.next(),
                end.durable
            );
            let blocks = end.durable.value() - end.last.value();
            self.lost(&what, blocks);
        } else if let Some(at) = self.doubtful.iter().position(|it| it.other.begun) {
            // It was never acknowledged, as far as can be told; but what is whole in it is whole.
            let Doubtful { path, file, other } = self.doubtful.swap_remove(at);
            self.remains(file, &other);
            self.found.end.cut = Some(Cut {
                path,
                offset: other.offset,
                what: other.what,
            });
        }
        if self.short {
            self.found.losses.lost_unnamed();
        }
        self.found
    }

    /// A file that nothing is read from any more.
    fn freed(&mut self, sequence: FileSequence) {
        let path = file_path(self.survey.dir, sequence);
        let size = Pages::open(self.survey.vfs, &path, false).map(|pages| pages.size());
        self.found.files.push(WalFileInfo {
            sequence,
            path,
            bytes: size.unwrap_or_default(),
            freed: true,
            blocks: 0,
            lsns: None,
            entries: 0,
        });
    }

    fn missing(&mut self, sequence: FileSequence) {
        let path = file_path(self.survey.dir, sequence);
        self.damage(&path, 0, "the file is missing", Vec::new(), RESTORE);
        self.lose_file();
    }

    /// Nothing is known of what was in a file.
    fn lose_file(&mut self) {
        self.found.losses.lost_unnamed();
        self.expected = None;
        self.index = None;
    }

    fn file(&mut self, sequence: FileSequence) {
        let path = file_path(self.survey.dir, sequence);
        let mut info = WalFileInfo {
            sequence,
            path: path.clone(),
            bytes: 0,
            freed: false,
            blocks: 0,
            lsns: None,
            entries: 0,
        };
        match Pages::open(self.survey.vfs, &path, false) {
            Ok(pages) => {
                info.bytes = pages.size();
                self.blocks(sequence, pages, &mut info);
            }
            Err(error) => {
                let what = format!("the file cannot be opened: {error}");
                self.damage(&path, 0, what, Vec::new(), RESTORE);
                self.lose_file();
            }
        }
        self.found.files.push(info);
    }

    fn blocks(&mut self, sequence: FileSequence, mut pages: Pages, info: &mut WalFileInfo) {
        let nonce = match self.header(sequence, &mut pages) {
            Ok(nonce) => Some(nonce),
            Err((what, advice)) => {
                self.damage(&info.path, 0, what, Vec::new(), advice);
                None
            }
        };
        let is_short = pages.size() < file_bytes(&mut pages);
        let mut blocks = Blocks::new(pages, nonce);
        while let Some(stretch) = blocks.next(self.found.end.last.next(), self.index) {
            match stretch {
                Stretch::Block(block) => {
                    self.block(&info.path, sequence, &block);
                    info.blocks += 1;
                    info.entries += block.entries.len() as u64;
                    let first = info.lsns.map_or(block.header.lsn, |(first, _)| first);
                    info.lsns = Some((first, block.header.lsn));
                }
                Stretch::Other(other) => self.doubtful.push(Doubtful {
                    path: info.path.clone(),
                    file: sequence,
                    other,
                }),
            }
        }
        self.short |= is_short;
    }

    fn header(
        &self,
        sequence: FileSequence,
        pages: &mut Pages,
    ) -> Result<Nonce, (String, &'static str)> {
        let page = match pages.get(0, PAGE_BYTES as u64) {
            Ok(page) => page,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(("the file is shorter than its header".to_owned(), RESTORE));
            }
            Err(error) => return Err((format!("the disk cannot read it: {error}"), RESTORE)),
        };
        let header = FileHeader::decode(&page).map_err(|error| match error.what {
            what @ OTHER_FORMAT => (what.to_owned(), NEWER),
            what => (what.to_owned(), RESTORE),
        })?;
        if self.survey.node.is_some_and(|node| node != header.node) {
            let what = format!("it belongs to node {}", header.node);
            return Err((what, "put back the file that was here"));
        }
        if header.sequence != sequence {
            let what = format!("it says it is file {}; was it renamed?", header.sequence);
            return Err((what, "put back the file that was here"));
        }
        if pages.size() != u64::from(header.pages) * PAGE_BYTES as u64 {
            // Its blocks are still its blocks.
            return Err((
                "the file is not as long as its header says".to_owned(),
                RESTORE,
            ));
        }
        Ok(header.nonce)
    }

    fn block(&mut self, path: &Path, sequence: FileSequence, block: &SoundBlock) {
        let header = &block.header;
        let first = block.entries.first().map(|entry| entry.index);
        if let Some(expected) = self.expected {
            let follows = header.previous == expected.previous
                && first.is_none_or(|first| self.index.is_none_or(|index| first == index));
            if header.lsn > expected.lsn {
                let before = Lsn::new(header.lsn.value() - 1);
                let what = if expected.lsn == before {
                    format!("block {before} is gone")
                } else {
                    format!("blocks {} to {before} are gone", expected.lsn)
                };
                self.lost(&what, header.lsn.value() - expected.lsn.value());
                // Blocks without entries may come before one shows how many are gone.
                self.index = None;
            } else if !follows {
                let what = "the block does not follow the one before";
                self.damage(path, block.at, what, header.partitions.clone(), RESTORE);
            }
        }
        self.doubtful.clear();
        self.short = false;
        self.reached = (path.to_owned(), block.at + header.bytes() as u64);
        let end = &mut self.found.end;
        end.last = header.lsn;
        end.durable = end.durable.max(header.durable);
        if let Some(entry) = block.entries.last() {
            end.index = entry.index;
            self.index = Some(entry.index.next());
        }
        self.expected = Some(WalStart {
            file: sequence,
            lsn: header.lsn.next(),
            previous: block.crc,
            index: end.index.next(),
            durable: end.durable,
            known: true,
        });
        self.offsets(path, block);
        (self.each)(Visit::Block(sequence, block));
    }

    /// Each batch goes on where its partition ended.
    fn offsets(&mut self, path: &Path, block: &SoundBlock) {
        let ops = block.entries.iter().flat_map(|entry| &entry.ops);
        for op in ops {
            let DecodedOp::Append { envelope, at } = op else {
                continue;
            };
            self.found.losses.goes_on(envelope.partition);
            let next = envelope.base_offset.advance(envelope.count);
            let before = self.ends.insert(envelope.partition, next);
            if before.is_some_and(|end| end != envelope.base_offset)
                && self.found.damages.is_empty()
            {
                let what = "a batch does not follow the one before in its partition";
                let partitions = vec![envelope.partition];
                self.damage(path, block.at + *at as u64, what, partitions, RESTORE);
            }
        }
    }

    /// So many blocks are gone that should be behind the last sound one.
    fn lost(&mut self, what: &str, blocks: u64) {
        let doubtful = std::mem::take(&mut self.doubtful);
        let named = doubtful
            .iter()
            .filter_map(|it| it.other.partitions.as_ref());
        if named.clone().count() as u64 == blocks {
            self.found.losses.lost(named.flatten().copied());
        } else {
            self.found.losses.lost_unnamed();
        }
        for it in &doubtful {
            self.remains(it.file, &it.other);
        }
        // The rest of a file that was not used is no block that is gone.
        let begun = doubtful.iter().position(|it| it.other.begun).unwrap_or(0);
        if let Some(Doubtful { path, other, .. }) = doubtful.into_iter().nth(begun) {
            let why = format!("{}: {what}", other.what);
            let partitions = other.partitions.unwrap_or_default();
            self.damage(&path, other.offset, why, partitions, RESTORE);
        } else {
            let (path, at) = self.reached.clone();
            self.damage(&path, at, what, Vec::new(), RESTORE);
        }
    }

    fn remains(&mut self, file: FileSequence, other: &Other) {
        (self.each)(Visit::Remains {
            file,
            from: other.from,
            to: other.to,
        });
    }

    fn damage(
        &mut self,
        path: &Path,
        offset: u64,
        what: impl Into<String>,
        partitions: Vec<TopicPartition>,
        advice: &'static str,
    ) {
        self.found.damages.push(Damage {
            path: path.to_owned(),
            offset,
            what: what.into(),
            partitions,
            advice,
        });
    }
}

/// How long a file has to be, as far as its header tells.
fn file_bytes(pages: &mut Pages) -> u64 {
    let page = pages.get(0, PAGE_BYTES as u64).ok();
    let header = page.and_then(|page| FileHeader::decode(&page).ok());
    header.map_or(1, |header| header.pages.into()) * PAGE_BYTES as u64
}
