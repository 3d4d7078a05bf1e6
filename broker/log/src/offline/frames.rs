//! The frames of a segment, and what stands between them where it is damaged. Needs no footer:
//! every frame begins with an envelope, and an envelope has a checksum.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use weir_wire::id::TopicPartition;

use super::pages::Pages;
use crate::format::entry::{ENVELOPE_FIXED, envelope_lengths};
use crate::format::fields::Fields;
use crate::format::segment::{FRAMES_AT, decode_frame_head, frame_length};
use crate::index::StoredBatch;
use crate::page_buf::PAGE_BYTES;
use crate::vfs::Vfs;

/// Bytes that are searched at once.
const SEARCH_BYTES: u64 = 1 << 20;
/// Where in an envelope stands where its batch is: 0 or 1.
const PLACE_AT: usize = 40;

/// What stands in a segment next.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A sound frame.
    Frame(FoundFrame),
    /// Bytes that are none.
    Bad(BadPiece),
}

#[derive(Debug)]
pub(crate) struct FoundFrame {
    pub(crate) at: u64,
    pub(crate) length: u64,
    pub(crate) partition: TopicPartition,
    pub(crate) batch: StoredBatch,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct BadPiece {
    /// Where in the file.
    pub(crate) offset: u64,
    pub(crate) what: &'static str,
}

/// Reads a part of a segment, frame by frame.
#[derive(Debug)]
pub(crate) struct Frames<'a> {
    pages: &'a mut Pages,
    at: u64,
    to: u64,
}

impl<'a> Frames<'a> {
    pub(crate) fn new(pages: &'a mut Pages, from: u64, to: u64) -> Self {
        let to = to.min(pages.size());
        Self {
            pages,
            at: from,
            to,
        }
    }

    /// Where what comes next begins.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    pub(crate) fn next(&mut self) -> Option<Piece> {
        let at = self.at;
        if at >= self.to {
            return None;
        }
        match self.frame(at) {
            Ok(frame) => {
                self.at = at + frame.length;
                Some(Piece::Frame(frame))
            }
            Err(Bad { length, bad }) => {
                // A sound envelope tells where the next one stands; else it has to be looked for.
                let known = length.filter(|length| at + length <= self.to);
                self.at = known
                    .map(|length| at + length)
                    .or_else(|| find_envelope(self.pages, at + 1, self.to))
                    .unwrap_or(self.to);
                Some(Piece::Bad(bad))
            }
        }
    }

    fn frame(&mut self, at: u64) -> Result<FoundFrame, Bad> {
        let bad = |offset, what, length| Bad {
            length,
            bad: BadPiece { offset, what },
        };
        let failed = |error: io::Error, length| match error.kind() {
            io::ErrorKind::UnexpectedEof => bad(at, "the file ends within a batch", length),
            _ => bad(at, "the disk cannot read it", length),
        };
        let head = self.pages.get(at, ENVELOPE_FIXED as u64);
        let head = head.map_err(|error| failed(error, None))?;
        let length = frame_length(&head)
            .map_err(|error| bad(at + error.at as u64, error.what, None))?
            as u64;
        let bytes = self.pages.get(at, length);
        let bytes = bytes.map_err(|error| failed(error, Some(length)))?;
        let mut fields = Fields::new(&bytes);
        let envelope = decode_frame_head(&mut fields)
            .map_err(|error| bad(at + error.at as u64, error.what, Some(length)))?;
        let begins = fields.at();
        let batch = bytes.slice(begins..);
        if crc32c::crc32c(&batch) != envelope.batch_crc {
            let offset = at + begins as u64;
            return Err(bad(offset, "a batch's checksum is wrong", Some(length)));
        }
        Ok(FoundFrame {
            at,
            length,
            partition: envelope.partition,
            batch: StoredBatch {
                base_offset: envelope.base_offset,
                count: envelope.count,
                append_time: envelope.append_time,
                columns: envelope.columns,
                crc: envelope.batch_crc,
                bytes: batch,
            },
        })
    }
}

/// The partitions of a segment's frames, as far as it can be read.
pub(crate) fn partitions_in(vfs: &dyn Vfs, segment: &Path) -> BTreeSet<TopicPartition> {
    let mut found = BTreeSet::new();
    let Ok(mut pages) = Pages::open(vfs, segment, false) else {
        return found;
    };
    let to = pages.size();
    let mut frames = Frames::new(&mut pages, FRAMES_AT, to);
    while let Some(piece) = frames.next() {
        if let Piece::Frame(frame) = piece {
            found.insert(frame.partition);
        }
    }
    found
}

struct Bad {
    /// How long the frame is, if its envelope can be trusted.
    length: Option<u64>,
    bad: BadPiece,
}

/// Where the next sound envelope begins.
pub(crate) fn find_envelope(pages: &mut Pages, from: u64, to: u64) -> Option<u64> {
    let envelope = ENVELOPE_FIXED as u64;
    let mut at = from;
    while at + envelope <= to {
        let length = SEARCH_BYTES.min(to - at);
        let Ok(bytes) = pages.get(at, length) else {
            // One page of these cannot be read; the others may be.
            let page = PAGE_BYTES as u64;
            at = if length > page {
                match find_in_pages(pages, at, at + length) {
                    Some(found) => return Some(found),
                    None => at + length - envelope + 1,
                }
            } else {
                at + page
            };
            continue;
        };
        if let Some(found) = position_of_envelope(&bytes) {
            return Some(at + found as u64);
        }
        at += length - envelope + 1;
    }
    None
}

/// The same, a page at a time.
fn find_in_pages(pages: &mut Pages, from: u64, to: u64) -> Option<u64> {
    let step = PAGE_BYTES as u64;
    let overlap = ENVELOPE_FIXED as u64 - 1;
    let mut at = from;
    while at < to {
        if let Ok(bytes) = pages.get(at, (step + overlap).min(to - at))
            && let Some(found) = position_of_envelope(&bytes)
        {
            return Some(at + found as u64);
        }
        at += step;
    }
    None
}

fn position_of_envelope(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(ENVELOPE_FIXED)
        .position(|window| window.get(PLACE_AT).is_some_and(|p| *p < 2) && is_envelope(window))
}

fn is_envelope(bytes: &[u8]) -> bool {
    envelope_lengths(bytes).is_ok()
}
