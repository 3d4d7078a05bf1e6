//! Replies: the outcome of the oldest request, or why it has none yet.

use std::time::Duration;

use tokio::time::Instant;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::produce::Produced;

use super::{Queue, Resolved};
use crate::producer::error::PublishError;
use crate::producer::outcome::Outcomes;

/// The longest pause that a broker may ask for: more would be an outage.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// What a reply meant.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::producer) enum Reply {
    /// It is dealt with.
    Taken,
    /// The session is over, and why; nothing is said of what was sent in it.
    SessionOver(Fault),
    /// The broker must not send this.
    Violation(String),
}

impl Queue {
    pub(in crate::producer) fn on_reply(
        &mut self,
        produced: Produced,
        now: Instant,
        resolved: &mut Vec<Resolved>,
    ) -> Reply {
        if self.unreplied == 0 {
            return Reply::Violation("a reply to nothing".to_owned());
        }
        self.unreplied -= 1;
        if produced.throttle_ms > 0 {
            self.pause(now, Duration::from_millis(produced.throttle_ms));
        }
        if let (None, Some(error)) = (&produced.outcome, &produced.error)
            && ends_session(error.code)
        {
            return Reply::SessionOver(error.clone().into());
        }
        let expected = self.requests.front().and_then(|r| r.sequence);
        if expected != Some(produced.sequence) {
            // When the oldest was refused for now, those behind it were refused too.
            return match produced.error {
                Some(error) if error.code == ErrorCode::OutOfSequence => Reply::Taken,
                _ => Reply::Violation(format!(
                    "a reply to request {} came out of order",
                    produced.sequence
                )),
            };
        }
        match (produced.outcome, produced.error) {
            (Some(outcome), None) => {
                let count = self.requests.front().map_or(0, |r| r.count);
                match Outcomes::new(outcome, count) {
                    Ok(outcomes) => {
                        self.settle_front(Ok(outcomes), now, resolved);
                        self.backoff.reset();
                    }
                    Err(error) => return Reply::Violation(error.to_string()),
                }
            }
            (None, Some(error)) => self.on_fault(error.into(), now, resolved),
            _ => return Reply::Violation("a reply needs an outcome or an error".to_owned()),
        }
        Reply::Taken
    }

    fn on_fault(&mut self, fault: Fault, now: Instant, resolved: &mut Vec<Resolved>) {
        if fault.is_retryable() {
            tracing::debug!(code = %fault.code, "a request is refused for now: {fault}");
            // The broker waits for this one: it and all behind it are to be written again.
            self.sent = 0;
            if fault.code == ErrorCode::OutcomeUnknown {
                // It may be stored all the same, whatever is said of it from now on.
                self.doubt = Some(fault.message.clone());
            }
            let wait = self.backoff.next_wait();
            self.pause(now, fault.retry_after.unwrap_or(wait));
            self.held_up = Some(fault.message.clone());
            self.refused = Some(fault);
        } else {
            self.settle_front(Err(PublishError::Refused(fault)), now, resolved);
            self.backoff.reset();
        }
    }

    fn pause(&mut self, now: Instant, wait: Duration) {
        let until = now + wait.min(PAUSE_MAX);
        self.pause_until = Some(self.pause_until.map_or(until, |known| known.max(until)));
    }
}

/// Whether no request of the session can be answered any more: not only the one that is refused.
const fn ends_session(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::UnknownProducer | ErrorCode::ProducerFenced)
}
