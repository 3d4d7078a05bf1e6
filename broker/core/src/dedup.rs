//! One producer session: which request comes next, which are under way, what became of those
//! that are done. The check comes before the hooks, so a repeated request runs none.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_wire::id::Sequence;
use weir_wire::limits::PRODUCER_IN_FLIGHT_MAX;

/// The state of a producer session. `W` is whoever waits for an answer.
#[derive(Debug)]
pub struct ProducerState<W> {
    /// The oldest request whose outcome is remembered.
    oldest_outcome: Sequence,
    /// Outcomes of consecutive requests from `oldest_outcome` on.
    outcomes: VecDeque<Bytes>,
    /// Requests under way, consecutive, the first right behind the outcomes.
    in_flight: VecDeque<Vec<W>>,
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<W> {
    /// It is new: run it. The waiter is answered when it ends.
    New,
    /// It is under way already; the waiter is answered when that flight ends.
    InFlight,
    /// It is done; this was its outcome.
    Known(W, Bytes),
    /// It is done, so long ago that its outcome is forgotten.
    Forgotten(W),
    /// It came too early: that one is awaited.
    OutOfSequence(W, Sequence),
    /// Too many are under way.
    TooMany(W),
}

impl<W> Default for ProducerState<W> {
    fn default() -> Self {
        Self::starting_at(Sequence::new(0))
    }
}

impl<W> ProducerState<W> {
    /// A session whose next request is `next`.
    #[must_use]
    pub const fn starting_at(next: Sequence) -> Self {
        Self {
            oldest_outcome: next,
            outcomes: VecDeque::new(),
            in_flight: VecDeque::new(),
        }
    }

    /// The next request that would be new.
    #[must_use]
    pub fn next(&self) -> Sequence {
        Sequence::new(self.done_before().value() + self.in_flight.len() as u64)
    }

    /// All requests before this one have an outcome.
    #[must_use]
    pub fn done_before(&self) -> Sequence {
        Sequence::new(self.oldest_outcome.value() + self.outcomes.len() as u64)
    }

    /// Whether nothing is under way.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Decides about a request that arrived.
    pub fn admit(&mut self, sequence: Sequence, waiter: W) -> Admission<W> {
        let next = self.next();
        if sequence > next {
            return Admission::OutOfSequence(waiter, next);
        }
        if sequence == next {
            if self.in_flight.len() >= PRODUCER_IN_FLIGHT_MAX {
                return Admission::TooMany(waiter);
            }
            self.in_flight.push_back(vec![waiter]);
            return Admission::New;
        }
        let Some(age) = sequence.value().checked_sub(self.oldest_outcome.value()) else {
            return Admission::Forgotten(waiter);
        };
        let index = age as usize;
        if let Some(outcome) = self.outcomes.get(index) {
            return Admission::Known(waiter, outcome.clone());
        }
        self.in_flight[index - self.outcomes.len()].push(waiter);
        Admission::InFlight
    }

    /// The oldest request under way has this outcome now; answers who waits for it.
    ///
    /// # Panics
    /// If `sequence` is not the oldest one under way: requests end in their order.
    pub fn complete(&mut self, sequence: Sequence, outcome: Bytes) -> Vec<W> {
        assert_eq!(
            sequence,
            self.done_before(),
            "requests of a producer end in their order"
        );
        self.remember(outcome);
        self.in_flight
            .pop_front()
            .expect("a request that ends is under way")
    }

    /// A request failed in a way that a retry may mend: it and everything behind it will have to
    /// be sent again. Answers who waits, oldest first.
    pub fn fail_from(&mut self, sequence: Sequence) -> Vec<(Sequence, Vec<W>)> {
        let first = self.done_before().value();
        let keep = sequence.value().saturating_sub(first) as usize;
        if keep >= self.in_flight.len() {
            return Vec::new();
        }
        let failed = self.in_flight.split_off(keep);
        (first + keep as u64..)
            .map(Sequence::new)
            .zip(failed)
            .collect()
    }

    /// Who waits for a request under way, for an answer before its end.
    pub fn take_waiters(&mut self, sequence: Sequence) -> Vec<W> {
        let index = sequence.value().checked_sub(self.done_before().value());
        let waiters = index.and_then(|index| self.in_flight.get_mut(index as usize));
        waiters.map(std::mem::take).unwrap_or_default()
    }

    /// Whether this request is under way.
    #[must_use]
    pub fn is_in_flight(&self, sequence: Sequence) -> bool {
        (self.done_before()..self.next()).contains(&sequence)
    }

    /// Recovery: the log holds this outcome.
    pub fn replay(&mut self, sequence: Sequence, outcome: Bytes) {
        if sequence != self.done_before() {
            self.outcomes.clear();
            self.oldest_outcome = sequence;
        }
        self.remember(outcome);
    }

    fn remember(&mut self, outcome: Bytes) {
        self.outcomes.push_back(outcome);
        if self.outcomes.len() > PRODUCER_IN_FLIGHT_MAX {
            self.outcomes.pop_front();
            self.oldest_outcome = self.oldest_outcome.next();
        }
    }
}
