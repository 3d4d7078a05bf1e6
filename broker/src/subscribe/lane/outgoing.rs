//! What a lane has read of a partition, on its way through the filters and out.

use std::collections::VecDeque;
use std::iter::Peekable;
use std::vec::IntoIter;

use bytes::Bytes;
use weir_log::{Read, StoredBatch};
use weir_wire::error::Fault;
use weir_wire::id::Offset;

use super::super::filters::{Judged, Judging, Kept, Wanted};
use super::source::Loaded;
use crate::budget::Permit;

/// Batches that go through the filters together: so many bytes that the way to the plugins' threads
/// and back does not count, and so few that the next ones can go while these are sent.
const TOGETHER_BYTES: usize = 256 << 10;
const TOGETHER_BATCHES: usize = 64;
/// How many such rounds may be on their way. The threads of plugins have the lower priority: on a
/// busy machine an answer takes a while, and more than two must be under way meanwhile.
pub(super) const COMING_MAX: usize = 4;
/// Readings in a row of one partition before others have their turn.
const REFILLS_MAX: usize = 16;

/// See the top of this file.
pub(super) struct Outgoing {
    batches: Peekable<IntoIter<StoredBatch>>,
    /// How far the subscriber has looked when it comes to the next of them.
    from: Offset,
    /// On their way through the filters.
    pub(super) coming: VecDeque<Judging>,
    /// Through the filters.
    kept: IntoIter<Kept>,
    /// What stopped the filters behind these.
    fault: Option<Fault>,
    room: Option<Permit>,
    /// The right to hold what filters made, until it is sent.
    held: Option<Permit>,
    /// Whether the first reading had all there was.
    at_the_end: bool,
    /// Bytes of batches that came through the filters so far.
    size: usize,
    /// Readings that followed the first.
    refills: usize,
    /// Whether it was let go of.
    gone: bool,
}

impl Outgoing {
    /// What was read, for who has looked up to `from`.
    pub(super) fn new(loaded: Loaded, from: Offset, at_the_end: bool) -> Self {
        Self {
            size: 0,
            at_the_end,
            batches: loaded.read.batches.into_iter().peekable(),
            from,
            coming: VecDeque::new(),
            kept: Vec::new().into_iter(),
            fault: None,
            room: loaded.room,
            held: None,
            refills: 0,
            gone: false,
        }
    }

    /// Bytes that were sent of this reading and are to be sent by and by.
    pub(super) const fn size(&self) -> usize {
        self.size
    }

    /// Whether that is all there is.
    pub(super) const fn is_at_the_end(&self) -> bool {
        self.at_the_end
    }

    /// As many of the batches as go through the filters together.
    pub(super) fn together(&mut self) -> Vec<Wanted> {
        let (mut wanted, mut bytes) = (Vec::new(), 0);
        while let Some(batch) = self.batches.next_if(|_| bytes < TOGETHER_BYTES) {
            bytes += batch.bytes.len();
            let end = batch.end();
            wanted.push(Wanted {
                batch,
                from: self.from,
            });
            self.from = end;
            if wanted.len() == TOGETHER_BATCHES {
                break;
            }
        }
        wanted
    }

    /// Goes on with what is behind these, if that is in memory as these are.
    pub(super) fn refill(&mut self, more: impl FnOnce(Offset) -> Option<Read>) {
        if self.batches.len() > 0 || self.room.is_some() || self.refills == REFILLS_MAX {
            return;
        }
        self.refills += 1;
        if let Some(read) = more(self.from) {
            self.batches = read.batches.into_iter().peekable();
        }
    }

    /// Leaves the next batch alone of them all.
    pub(super) fn only_one(&mut self) {
        let first: Vec<StoredBatch> = self.batches.next().into_iter().collect();
        self.batches = first.into_iter().peekable();
        self.refills = REFILLS_MAX;
    }

    /// What came of batches.
    pub(super) fn came(&mut self, judged: Judged) {
        let batches = judged.kept.iter().filter_map(|kept| kept.batch.as_ref());
        self.size += batches.map(Bytes::len).sum::<usize>();
        self.kept = judged.kept.into_iter();
        self.fault = judged.fault;
        self.held = judged.held;
    }

    /// The next batch to be sent.
    pub(super) fn next_kept(&mut self) -> Option<Kept> {
        let next = self.kept.next();
        if next.is_none() {
            // Before others wait for the same room.
            self.held = None;
        }
        next
    }

    /// What ends it here, once everything before was sent.
    pub(super) const fn take_fault(&mut self) -> Option<Fault> {
        self.fault.take()
    }

    /// Gives everything back that is not sent yet: it is read again. Whether it came from disk.
    pub(super) fn let_go(&mut self) -> bool {
        self.batches = Vec::new().into_iter().peekable();
        self.coming.clear();
        self.kept = Vec::new().into_iter();
        self.fault = None;
        self.held = None;
        self.gone = true;
        self.room.take().is_some()
    }

    pub(super) const fn is_gone(&self) -> bool {
        self.gone
    }
}
