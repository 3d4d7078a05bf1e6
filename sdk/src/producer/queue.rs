//! What a producer holds, and what it is to do next. No I/O, no clock: `now` is an argument.
//!
//! Records gather in the open batch; a sealed one is a request and waits in `requests` until it
//! is answered. The first `sent` of them have been written on the current stream. A request gets
//! its sequence when it is first written and keeps it through every repetition, so that the
//! broker recognises it; one that was never written has none, and may go out in another session.

mod reply;
mod request;
mod resume;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_wire::batch::{BatchBuilder, Compression, NewRecord};
use weir_wire::error::Fault;
use weir_wire::id::{PartitionId, Sequence, Timestamp, TopicId};
use weir_wire::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, PRODUCER_IN_FLIGHT_MAX};
use weir_wire::produce::{Ack, Produce, ProducerSession};

use super::completion::Completion;
use super::error::{EndReason, PublishError, SendError};
use super::stall::Stall;
use super::stats::ProducerStats;
use crate::backoff::Backoff;
use crate::record::Record;
pub(super) use reply::Reply;
pub(super) use request::{Payload, Request, Resolved};
pub(super) use resume::Resume;

/// How a producer works; constant while it lives.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub(super) batch_bytes: usize,
    pub(super) byte_budget: usize,
    pub(super) linger: Duration,
    pub(super) compression: Compression,
    pub(super) ack: Ack,
    pub(super) partition: Option<PartitionId>,
    pub(super) all_or_nothing: bool,
    pub(super) retry_timeout: Duration,
}

#[derive(Debug)]
pub(super) struct Queue {
    options: Options,
    open: Option<OpenBatch>,
    requests: VecDeque<Request>,
    /// How many of `requests` were written on the current stream.
    sent: usize,
    /// Requests written on the current stream whose reply has not come, stale ones included.
    unreplied: usize,
    /// Bytes of `open` and `requests`: what the budget bounds.
    bytes: usize,
    next_ordinal: u64,
    next_sequence: Sequence,
    session: Option<ProducerSession>,
    topic: Option<TopicId>,
    /// Before that time nothing is to be written: the broker asked for patience.
    pause_until: Option<Instant>,
    /// Why the oldest request was refused for now, until it is written again.
    refused: Option<Fault>,
    /// Why the broker does not know what became of the oldest request.
    doubt: Option<String>,
    /// Why there is no connection.
    away: Option<String>,
    /// Why the oldest request, or a stream, was last refused for now, also while it is tried again.
    held_up: Option<String>,
    /// Since when the oldest request has been the oldest without an outcome.
    stalled_since: Option<Instant>,
    capacity_hint: usize,
    backoff: Backoff,
    flush: bool,
    closing: bool,
    ended: Option<EndReason>,
    /// One-way requests that may not have arrived: bounded by what a broker takes in one stride.
    one_way: VecDeque<(Sequence, u32)>,
    pub(super) stats: ProducerStats,
}

#[derive(Debug)]
struct OpenBatch {
    builder: BatchBuilder,
    completion: Arc<Completion>,
    since: Instant,
    bytes: usize,
}

impl OpenBatch {
    const fn is_full(&self, options: &Options) -> bool {
        self.bytes >= options.batch_bytes || self.builder.count() == BATCH_RECORDS_MAX
    }
}

/// A batch that was taken out of the queue to be encoded; its place is kept.
#[derive(Debug)]
pub(super) struct Sealed {
    pub(super) ordinal: u64,
    pub(super) builder: BatchBuilder,
}

/// A record was taken.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) completion: Arc<Completion>,
    pub(super) index: u32,
    /// A batch that is full now.
    pub(super) sealed: Option<Sealed>,
    /// Whether the session has something new to do.
    pub(super) wake: bool,
}

/// What the session is to do next.
#[derive(Debug)]
pub(super) enum Step {
    /// Encode this batch and put it back.
    Encode(Sealed),
    /// Write this frame.
    Write { head: Bytes, payload: Bytes },
    /// Nothing before that time, unless something changes.
    WaitUntil(Instant),
    /// Nothing, unless something changes.
    Wait,
    /// The oldest request has waited too long.
    GiveUp,
    /// Everything is answered and the producer is to end.
    Finish,
}

impl Queue {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            open: None,
            requests: VecDeque::new(),
            sent: 0,
            unreplied: 0,
            bytes: 0,
            next_ordinal: 0,
            next_sequence: Sequence::new(0),
            session: None,
            topic: None,
            pause_until: None,
            refused: None,
            doubt: None,
            away: None,
            held_up: None,
            stalled_since: None,
            capacity_hint: 0,
            backoff: Backoff::default(),
            flush: false,
            closing: false,
            ended: None,
            one_way: VecDeque::new(),
            stats: ProducerStats::default(),
        }
    }

    pub(super) const fn options(&self) -> &Options {
        &self.options
    }

    /// Adds a record to the open batch.
    pub(super) fn push(
        &mut self,
        record: &Record,
        timestamp: Timestamp,
        now: Instant,
    ) -> Result<Pushed, SendError> {
        let bytes = record.encoded_len_max();
        self.admit(bytes, weir_wire::batch::HEADER_LEN)?;
        // A record that does not fit any more starts a batch of its own.
        let sealed = match &self.open {
            Some(open) if open.bytes + bytes > self.options.batch_bytes => self.seal(now),
            _ => None,
        };
        let first = self.open.is_none();
        let capacity = self.capacity_hint.max(bytes);
        let open = self.open.get_or_insert_with(|| OpenBatch {
            builder: BatchBuilder::with_capacity(capacity),
            completion: Arc::default(),
            since: now,
            bytes: 0,
        });
        let index = open.builder.count();
        push_record(&mut open.builder, timestamp, record);
        open.bytes += bytes;
        let full = open.is_full(&self.options);
        let completion = Arc::clone(&open.completion);
        self.bytes += bytes;
        self.stats.records += 1;
        // One caller encodes one batch; a second one that is full is left to the session.
        let sealed = match sealed {
            None if full => self.seal(now),
            other => other,
        };
        Ok(Pushed {
            completion,
            index,
            wake: first && sealed.is_none(),
            sealed,
        })
    }

    /// Adds a batch that the application prepared, behind everything it sent before.
    pub(super) fn push_batch(
        &mut self,
        batch: Bytes,
        count: u32,
        now: Instant,
    ) -> Result<(Arc<Completion>, Option<Sealed>), SendError> {
        self.admit(batch.len(), 0)?;
        let sealed = self.seal(now);
        let completion = Arc::<Completion>::default();
        self.bytes += batch.len();
        self.stats.records += u64::from(count);
        let bytes = batch.len();
        let payload = Payload::Ready(batch);
        self.enqueue(payload, count, bytes, Arc::clone(&completion), now);
        Ok((completion, sealed))
    }

    fn admit(&self, bytes: usize, overhead: usize) -> Result<(), SendError> {
        if let Some(reason) = &self.ended {
            return Err(SendError::Ended(reason.clone()));
        }
        if self.closing {
            return Err(SendError::Ended(EndReason::Closed));
        }
        if bytes + overhead > BATCH_BYTES_MAX {
            return Err(SendError::TooLarge {
                bytes,
                max: BATCH_BYTES_MAX,
            });
        }
        // A record larger than the whole budget goes out alone.
        if self.bytes > 0 && self.bytes + bytes > self.options.byte_budget {
            return Err(SendError::Full { bytes: self.bytes });
        }
        Ok(())
    }

    /// Closes the open batch: it is a request from now on, its bytes come by [`Self::fill`].
    fn seal(&mut self, now: Instant) -> Option<Sealed> {
        let open = self.open.take()?;
        self.flush = false;
        // The next one is likely to be about as large.
        self.capacity_hint = (open.bytes + open.bytes / 8).min(self.options.batch_bytes);
        let count = open.builder.count();
        let ordinal = self.next_ordinal;
        self.enqueue(Payload::Encoding, count, open.bytes, open.completion, now);
        Some(Sealed {
            ordinal,
            builder: open.builder,
        })
    }

    fn enqueue(
        &mut self,
        payload: Payload,
        count: u32,
        bytes: usize,
        completion: Arc<Completion>,
        now: Instant,
    ) {
        self.stalled_since.get_or_insert(now);
        self.stats.requests += 1;
        self.requests.push_back(Request {
            ordinal: self.next_ordinal,
            sequence: None,
            payload,
            count,
            bytes,
            completion,
        });
        self.next_ordinal += 1;
    }

    /// The bytes of a sealed batch.
    pub(super) fn fill(&mut self, ordinal: u64, payload: Payload) {
        let place = self.requests.binary_search_by_key(&ordinal, |r| r.ordinal);
        // It is gone if everything failed meanwhile.
        if let Some(request) = place.ok().and_then(|at| self.requests.get_mut(at)) {
            request.payload = payload;
        }
    }

    /// What to do next while a stream is open.
    pub(super) fn next_step(&mut self, now: Instant, resolved: &mut Vec<Resolved>) -> Step {
        self.drop_unencodable(resolved);
        if self.open.is_some()
            && (self.requests.is_empty() || self.flush || self.closing || self.is_due(now))
            && let Some(sealed) = self.seal(now)
        {
            return Step::Encode(sealed);
        }
        if self.requests.is_empty() && self.open.is_none() {
            self.flush = false;
            if self.closing {
                return Step::Finish;
            }
        }
        if self.gives_up_at().is_some_and(|at| at <= now) {
            return Step::GiveUp;
        }
        if self.pause_until.is_none_or(|until| until <= now) {
            self.pause_until = None;
            if let Some(step) = self.write() {
                return step;
            }
        }
        let linger = self.open.as_ref().map(|o| o.since + self.options.linger);
        let next = [linger, self.pause_until, self.gives_up_at()];
        match next.into_iter().flatten().min() {
            Some(at) => Step::WaitUntil(at),
            None => Step::Wait,
        }
    }

    fn write(&mut self) -> Option<Step> {
        if self.unreplied >= PRODUCER_IN_FLIGHT_MAX {
            return None;
        }
        let one_way = self.options.ack == Ack::None;
        let request = self.requests.get_mut(self.sent)?;
        let Payload::Ready(payload) = &request.payload else {
            return None;
        };
        let payload = payload.clone();
        let sequence = match request.sequence {
            Some(sequence) => {
                self.stats.resent += 1;
                sequence
            }
            None => {
                let sequence = self.next_sequence;
                request.sequence = Some(sequence);
                self.next_sequence = sequence.next();
                sequence
            }
        };
        // A one-way request leaves by `written()`; others stay for their reply.
        if !one_way {
            self.sent += 1;
            self.unreplied += 1;
            self.refused = None;
        }
        self.stats.bytes_sent += payload.len() as u64;
        let head = weir_wire::frame::FrameMessage::to_frame(
            &Produce {
                sequence,
                ack: self.options.ack as u32,
                partition: self.options.partition,
                all_or_nothing: self.options.all_or_nothing,
            },
            payload.len(),
        );
        Some(Step::Write {
            head: Bytes::from(head),
            payload,
        })
    }

    /// When the oldest request will have waited too long.
    pub(super) fn gives_up_at(&self) -> Option<Instant> {
        self.stalled_since
            .map(|since| since + self.options.retry_timeout)
    }

    fn is_due(&self, now: Instant) -> bool {
        self.open.as_ref().is_some_and(|open| {
            open.since + self.options.linger <= now || open.is_full(&self.options)
        })
    }

    /// Everything sent so far is to go out without delay; answers the ordinal to wait for.
    pub(super) const fn flush(&mut self) -> u64 {
        self.flush = true;
        self.next_ordinal + if self.open.is_some() { 1 } else { 0 }
    }

    /// Every request before that ordinal is done.
    pub(super) fn done_to(&self) -> u64 {
        self.requests
            .front()
            .map_or(self.next_ordinal, |request| request.ordinal)
    }

    /// No more records will come.
    pub(super) const fn close(&mut self) {
        self.closing = true;
    }

    /// Whether the producer is to end and holds nothing.
    pub(super) fn is_finished(&self) -> bool {
        self.closing && self.requests.is_empty() && self.open.is_none()
    }

    /// What keeps the producer from going on.
    pub(super) fn stall(&self, now: Instant) -> Option<Stall> {
        let reason = self.away.as_ref().or(self.held_up.as_ref())?;
        Some(Stall {
            away: self.away.is_some(),
            reason: reason.clone(),
            left: self
                .gives_up_at()
                .map(|at| at.saturating_duration_since(now)),
        })
    }

    /// Records that are unsent or unanswered.
    pub(super) fn unanswered(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |open| open.builder.count());
        let requests = self.requests.iter().map(|request| request.count);
        requests.chain([open]).map(u64::from).sum()
    }

    pub(super) fn stats(&self) -> ProducerStats {
        ProducerStats {
            bytes_in_flight: self.bytes as u64,
            requests_in_flight: self.requests.len() as u64,
            ..self.stats
        }
    }

    fn drop_unencodable(&mut self, resolved: &mut Vec<Resolved>) {
        while let Some(request) = self.requests.get(self.sent)
            && let Payload::Failed(reason) = &request.payload
        {
            let error = PublishError::Compression {
                reason: reason.clone(),
            };
            let request = self.requests.remove(self.sent);
            let request = request.expect("it was there just now");
            self.settle(request, Err(error), resolved);
        }
    }
}

fn push_record(builder: &mut BatchBuilder, timestamp: Timestamp, record: &Record) {
    let timestamp = record.timestamp.unwrap_or(timestamp);
    // Without headers this allocates nothing.
    let headers: Vec<(&str, &[u8])> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_ref()))
        .collect();
    let record = NewRecord {
        key: record.key.as_deref(),
        value: record.value.as_deref(),
        headers: &headers,
    };
    builder.push(timestamp, &record);
}

#[cfg(test)]
mod tests;
