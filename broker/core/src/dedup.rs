//! One producer session: which request comes next, which are under way, what became of those
//! that are done. The check comes before the hooks, so a repeated request runs none.

use std::collections::VecDeque;

use bytes::Bytes;
use weir_wire::id::Sequence;
use weir_wire::limits::PRODUCER_IN_FLIGHT_MAX;

/// The state of a producer session. `W` is whoever waits for an answer.
#[derive(Clone, Debug)]
pub struct ProducerState<W> {
    /// The oldest request whose outcome is remembered.
    oldest_outcome: Sequence,
    /// Outcomes of consecutive requests from `oldest_outcome` on.
    outcomes: VecDeque<Bytes>,
    /// Requests under way, consecutive, the first right behind the outcomes.
    in_flight: VecDeque<Row<W>>,
    /// Flights so far.
    flights: u64,
}

#[derive(Clone, Debug)]
struct Row<W> {
    flight: FlightId,
    waiters: Vec<W>,
}

/// One flight of a request. A request that failed and is sent again flies as another one, so
/// that what is left of the failed flight cannot be mistaken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlightId {
    sequence: Sequence,
    number: u64,
}

impl FlightId {
    /// The request.
    #[must_use]
    pub const fn sequence(self) -> Sequence {
        self.sequence
    }
}

/// What to do with a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission<W> {
    /// It is new: run it. The waiter is answered when it ends.
    New(FlightId),
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
            flights: 0,
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
            self.flights += 1;
            let flight = FlightId {
                sequence,
                number: self.flights,
            };
            self.in_flight.push_back(Row {
                flight,
                waiters: vec![waiter],
            });
            return Admission::New(flight);
        }
        let Some(age) = sequence.value().checked_sub(self.oldest_outcome.value()) else {
            return Admission::Forgotten(waiter);
        };
        let index = age as usize;
        if let Some(outcome) = self.outcomes.get(index) {
            return Admission::Known(waiter, outcome.clone());
        }
        self.in_flight[index - self.outcomes.len()]
            .waiters
            .push(waiter);
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
            .waiters
    }

    /// A flight failed in a way that a retry may mend: its request and everything behind it will
    /// have to be sent again. Answers who waits, oldest first; nobody if the flight had failed
    /// before, together with one in front of it.
    pub fn fail_from(&mut self, flight: FlightId) -> Vec<(Sequence, Vec<W>)> {
        let Some(keep) = self.position(flight) else {
            return Vec::new();
        };
        let failed = self.in_flight.split_off(keep);
        failed
            .into_iter()
            .map(|row| (row.flight.sequence, row.waiters))
            .collect()
    }

    /// Whether this flight is still the one that its request waits for.
    #[must_use]
    pub fn is_current(&self, flight: FlightId) -> bool {
        self.position(flight).is_some()
    }

    /// Who waits for a request under way, for an answer before its end.
    pub fn take_waiters(&mut self, sequence: Sequence) -> Vec<W> {
        let index = sequence.value().checked_sub(self.done_before().value());
        let waiters = index.and_then(|index| self.in_flight.get_mut(index as usize));
        waiters
            .map(|row| std::mem::take(&mut row.waiters))
            .unwrap_or_default()
    }

    /// Recovery: the log holds this outcome.
    pub fn replay(&mut self, sequence: Sequence, outcome: Bytes) {
        if sequence != self.done_before() {
            self.outcomes.clear();
            self.oldest_outcome = sequence;
        }
        self.remember(outcome);
    }

    /// Recovery: a session of which these outcomes are known, the first being that of `oldest`.
    #[must_use]
    pub fn restored(oldest: Sequence, outcomes: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            outcomes: outcomes.into_iter().collect(),
            ..Self::starting_at(oldest)
        }
    }

    /// The oldest request whose outcome is remembered, and the outcomes from there on.
    pub fn outcomes(&self) -> (Sequence, impl ExactSizeIterator<Item = &Bytes>) {
        (self.oldest_outcome, self.outcomes.iter())
    }

    /// Where among those under way a flight is.
    fn position(&self, flight: FlightId) -> Option<usize> {
        let index = flight
            .sequence
            .value()
            .checked_sub(self.done_before().value())? as usize;
        let row = self.in_flight.get(index)?;
        (row.flight == flight).then_some(index)
    }

    fn remember(&mut self, outcome: Bytes) {
        self.outcomes.push_back(outcome);
        if self.outcomes.len() > PRODUCER_IN_FLIGHT_MAX {
            self.outcomes.pop_front();
            self.oldest_outcome = self.oldest_outcome.next();
        }
    }
}
