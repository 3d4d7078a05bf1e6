//! The session: how the queue goes on after a connection was opened or lost.

use tokio::time::Instant;
use weir_wire::id::Sequence;
use weir_wire::produce::{Ack, ProducerOpened, ProducerSession};

use super::{Queue, Resolved};
use crate::producer::error::EndReason;

/// How a session begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::producer) enum Resume {
    /// The broker knows the session; what is unanswered is sent again.
    Old,
    /// A session of its own: nothing in the queue has been sent before.
    New,
}

impl Queue {
    /// The session to ask for.
    pub(in crate::producer) const fn session(&self) -> Option<ProducerSession> {
        match &self.session {
            Some(session) => Some(ProducerSession {
                id: session.id,
                epoch: session.epoch,
            }),
            None => None,
        }
    }

    /// The stream is gone: nothing counts as sent any more. `lost` says why, where the broker is
    /// gone with it.
    pub(in crate::producer) fn disconnected(&mut self, lost: Option<String>) {
        self.away = lost;
        (self.sent, self.unreplied) = (0, 0);
    }

    /// Nobody answers where the broker was.
    pub(in crate::producer) fn unreachable(&mut self) {
        self.away
            .get_or_insert_with(|| "no broker answers".to_owned());
    }

    /// The broker opens no stream for now.
    pub(in crate::producer) fn held_up(&mut self, reason: String) {
        self.held_up = Some(reason);
    }

    /// The broker has forgotten the session: what was sent in it stays without an outcome, and
    /// must not be sent again under another name.
    pub(in crate::producer) fn session_forgotten(&mut self, resolved: &mut Vec<Resolved>) {
        if self.options.ack == Ack::None {
            self.count_lost_from(Sequence::new(0));
            self.requests.iter_mut().for_each(|r| r.sequence = None);
        }
        self.fail_written("the broker has forgotten this producer's session", resolved);
        self.session = None;
    }

    /// A stream is open: takes over what the broker says of the session.
    pub(in crate::producer) fn opened(
        &mut self,
        opened: ProducerOpened,
        now: Instant,
    ) -> Result<Resume, EndReason> {
        if self.topic.is_some_and(|topic| topic != opened.topic) {
            return Err(EndReason::TopicRecreated);
        }
        let resume = match &self.session {
            Some(session) if *session == opened.session => Resume::Old,
            Some(_) => {
                return Err(EndReason::Protocol {
                    reason: "the broker answered with another session than asked for".to_owned(),
                });
            }
            None => Resume::New,
        };
        let broker = opened.next_sequence;
        match resume {
            Resume::New => self.next_sequence = broker,
            Resume::Old if broker > self.next_sequence => {
                return Err(EndReason::Protocol {
                    reason: "the broker has more requests of this session than were sent"
                        .to_owned(),
                });
            }
            Resume::Old if self.options.ack == Ack::None => self.resume_one_way(broker, now),
            Resume::Old => self.resume_from(broker),
        }
        self.topic = Some(opened.topic);
        self.session = Some(opened.session);
        self.pause_until = None;
        (self.away, self.held_up) = (None, None);
        (self.sent, self.unreplied) = (0, 0);
        // A request grows by its places and by what plugins add.
        let bytes = usize::try_from(opened.request_bytes_max / 2).unwrap_or(usize::MAX);
        if bytes > 0 {
            self.options.batch_bytes = self.options.batch_bytes.min(bytes);
        }
        Ok(resume)
    }

    /// A broker whose next sequence lies before our oldest has lost what it had acknowledged:
    /// with `Ack::Memory` a crash may do that. What is unanswered it cannot have, so it may be
    /// numbered anew, without a gap.
    fn resume_from(&mut self, broker: Sequence) {
        let oldest = self.requests.front().and_then(|r| r.sequence);
        let oldest = oldest.unwrap_or(self.next_sequence);
        if broker >= oldest {
            return;
        }
        let lost = oldest.value() - broker.value();
        if self.options.ack == Ack::Memory {
            tracing::warn!(
                lost,
                "the broker has lost requests acknowledged from memory"
            );
        } else {
            tracing::error!(
                lost,
                "the broker has lost requests that it had acknowledged"
            );
        }
        let mut next = broker;
        for request in &mut self.requests {
            if let Some(sequence) = &mut request.sequence {
                *sequence = next;
                next = next.next();
            }
        }
        self.next_sequence = next;
    }

    /// One-way requests are not sent again; those that the broker has not seen are counted.
    fn resume_one_way(&mut self, broker: Sequence, now: Instant) {
        self.count_lost_from(broker);
        let arrived = |sequence: Option<Sequence>| sequence.is_some_and(|s| s < broker);
        while self.requests.front().is_some_and(|r| arrived(r.sequence)) {
            self.written(now);
        }
        self.one_way.clear();
        self.requests.iter_mut().for_each(|r| r.sequence = None);
        self.next_sequence = broker;
    }

    fn count_lost_from(&mut self, broker: Sequence) {
        let lost = self
            .one_way
            .iter()
            .filter(|(sequence, _)| *sequence >= broker);
        let lost: u64 = lost.map(|(_, count)| u64::from(*count)).sum();
        if lost > 0 {
            tracing::warn!(
                lost,
                "records sent one way may be lost with their connection"
            );
        }
        self.stats.outcomes.maybe_lost += lost;
        self.one_way.clear();
    }
}
