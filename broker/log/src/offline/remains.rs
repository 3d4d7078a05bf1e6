//! Whole batches in what is left of damaged blocks: envelopes are found by their checksum, and
//! batches in pages of their own by theirs.

use super::frames::find_envelope;
use super::pages::Pages;
use super::rescue::{head_bytes, wal_envelope};
use crate::format::entry::{Envelope, extent_bytes};
use crate::page_buf::PAGE_BYTES;

/// How far behind its envelope a batch is looked for; few blocks are longer.
const REACH_BYTES: u64 = 16 << 20;

/// Looks through a part of a WAL file.
#[derive(Debug)]
pub(super) struct Remains<'a> {
    pages: &'a mut Pages,
    at: u64,
    to: u64,
    /// Where the next extent is expected.
    extent: u64,
}

impl<'a> Remains<'a> {
    pub(super) fn new(pages: &'a mut Pages, from: u64, to: u64) -> Self {
        let to = to.min(pages.size());
        Self {
            pages,
            at: from,
            to,
            extent: from,
        }
    }

    /// The next batch that is whole: its envelope, where that is, and where the batch is.
    pub(super) fn next(&mut self) -> Option<(Envelope, u64, u64)> {
        while let Some(at) = find_envelope(self.pages, self.at, self.to) {
            self.at = at + 1;
            let Some(envelope) = wal_envelope(self.pages, at).filter(|it| it.count > 0) else {
                continue;
            };
            if let Some(batch_at) = self.batch(&envelope, at) {
                return Some((envelope, at, batch_at));
            }
        }
        None
    }

    fn batch(&mut self, envelope: &Envelope, at: u64) -> Option<u64> {
        if !envelope.extent {
            let batch_at = at + head_bytes(envelope);
            return self.is_batch(envelope, batch_at).then(|| {
                self.at = batch_at + u64::from(envelope.batch_length);
                batch_at
            });
        }
        let page = PAGE_BYTES as u64;
        let first = self.extent.max(at + 1).next_multiple_of(page);
        let last = self.to.min(first + REACH_BYTES);
        let mut pages = (first..last).step_by(PAGE_BYTES);
        let found = pages.find(|at| self.is_batch(envelope, *at))?;
        self.extent = found + extent_bytes(envelope.batch_length) as u64;
        Some(found)
    }

    fn is_batch(&mut self, envelope: &Envelope, at: u64) -> bool {
        let bytes = self.pages.get(at, u64::from(envelope.batch_length));
        bytes.is_ok_and(|bytes| crc32c::crc32c(&bytes) == envelope.batch_crc)
    }
}
