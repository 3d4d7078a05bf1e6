//! A request in the queue, and how it leaves it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;
use weir_wire::id::Sequence;

use super::Queue;
use crate::producer::completion::Completion;
use crate::producer::error::{EndReason, PublishError};
use crate::producer::outcome::Outcomes;

#[derive(Debug)]
pub(in crate::producer) struct Request {
    /// Counts requests for ever, across sessions.
    pub(super) ordinal: u64,
    /// Its number in the session, from its first writing on.
    pub(super) sequence: Option<Sequence>,
    pub(super) payload: Payload,
    pub(super) count: u32,
    pub(super) bytes: usize,
    pub(super) completion: Arc<Completion>,
}

/// The batch of a request.
#[derive(Debug)]
pub(in crate::producer) enum Payload {
    /// Someone is at it.
    Encoding,
    Ready(Bytes),
    /// It could not be compressed.
    Failed(String),
}

/// A completion and its outcome, to be brought together outside of the lock.
pub(in crate::producer) type Resolved = (Arc<Completion>, Result<Outcomes, PublishError>);

impl Queue {
    /// Counts a request that left the queue, and notes its outcome.
    pub(super) fn settle(
        &mut self,
        request: Request,
        result: Result<Outcomes, PublishError>,
        resolved: &mut Vec<Resolved>,
    ) {
        let count = u64::from(request.count);
        let summary = &mut self.stats.outcomes;
        match &result {
            Ok(outcomes) => {
                let tally = outcomes.tally();
                summary.stored += tally.stored;
                summary.dropped += tally.dropped;
                summary.rejected += tally.rejected;
                summary.dead_lettered += tally.dead_lettered;
            }
            Err(PublishError::OutcomeUnknown { .. }) => summary.unknown += count,
            Err(_) => summary.failed += count,
        }
        (self.refused, self.doubt, self.held_up) = (None, None, None);
        self.bytes -= request.bytes;
        if self.requests.is_empty() {
            self.stalled_since = None;
        }
        resolved.push((request.completion, result));
    }

    /// The oldest request has its outcome; the next one's time begins.
    pub(super) fn settle_front(
        &mut self,
        result: Result<Outcomes, PublishError>,
        now: Instant,
        resolved: &mut Vec<Resolved>,
    ) {
        if let Some(request) = self.requests.pop_front() {
            self.sent = self.sent.saturating_sub(1);
            self.stalled_since = Some(now);
            self.settle(request, result, resolved);
        }
    }

    /// A one-way request has been handed to the connection: that is all there will be.
    pub(in crate::producer) fn written(&mut self, now: Instant) {
        const REMEMBERED: usize = 4096;
        let Some(request) = self.requests.pop_front() else {
            return;
        };
        if let Some(sequence) = request.sequence {
            if self.one_way.len() == REMEMBERED {
                self.one_way.pop_front();
            }
            self.one_way.push_back((sequence, request.count));
        }
        self.stats.outcomes.one_way += u64::from(request.count);
        self.bytes -= request.bytes;
        self.stalled_since = (!self.requests.is_empty()).then_some(now);
    }

    /// Fails what was written: nobody will ever tell what became of it.
    pub(super) fn fail_written(&mut self, reason: &str, resolved: &mut Vec<Resolved>) {
        while self.requests.front().is_some_and(|r| r.sequence.is_some()) {
            let request = self.requests.pop_front();
            let request = request.expect("it was there just now");
            let error = PublishError::OutcomeUnknown {
                reason: reason.to_owned(),
            };
            self.settle(request, Err(error), resolved);
        }
        (self.sent, self.unreplied) = (0, 0);
    }

    /// Fails everything that is a request: written or not.
    fn fail_requests(&mut self, reason: &str, resolved: &mut Vec<Resolved>) {
        self.fail_written(reason, resolved);
        while let Some(request) = self.requests.pop_front() {
            let error = PublishError::NotSent {
                reason: reason.to_owned(),
            };
            self.settle(request, Err(error), resolved);
        }
    }

    /// The retry timeout of the oldest request is over. What comes after this starts afresh, in
    /// a session of its own: the old one has a gap now. What the broker refused until now fails
    /// with its reason.
    pub(in crate::producer) fn give_up(&mut self, resolved: &mut Vec<Resolved>) {
        let doubt = self.doubt.take();
        if let Some(fault) = self.refused.take().filter(|_| doubt.is_none()) {
            // Refused and not written again since: it is known that nothing of it is stored, nor
            // of what was refused behind it.
            while self.requests.front().is_some_and(|r| r.sequence.is_some()) {
                let request = self.requests.pop_front().expect("it was there just now");
                let error = PublishError::Refused(fault.clone());
                self.settle(request, Err(error), resolved);
            }
            (self.sent, self.unreplied) = (0, 0);
        }
        let seconds = self.options.retry_timeout.as_secs_f32();
        let reason = format!("the broker gave no outcome within {seconds} s");
        self.fail_requests(&doubt.unwrap_or(reason), resolved);
        self.session = None;
        self.pause_until = None;
        self.backoff.reset();
    }

    /// The producer is over: everything that it holds fails, nothing more is taken.
    pub(in crate::producer) fn end(&mut self, reason: EndReason, resolved: &mut Vec<Resolved>) {
        let text = reason.to_string();
        if let EndReason::Refused(_) | EndReason::TopicRecreated | EndReason::Protocol { .. } =
            reason
        {
            // The broker said so: it is there.
            self.away = None;
        }
        self.fail_requests(&text, resolved);
        if let Some(open) = self.open.take() {
            self.bytes -= open.bytes;
            self.stats.outcomes.failed += u64::from(open.builder.count());
            let error = PublishError::NotSent { reason: text };
            resolved.push((open.completion, Err(error)));
        }
        self.ended.get_or_insert(reason);
    }

    /// Why the producer has ended, if it has.
    pub(in crate::producer) const fn end_reason(&self) -> Option<&EndReason> {
        self.ended.as_ref()
    }
}
