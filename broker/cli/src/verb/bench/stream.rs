//! A stream of prepared batches from one producer, several on their way at any time.

use std::cell::Cell;
use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use weir_sdk::{BatchTicket, Producer, PublishError};

use super::Load;
use super::load::Latencies;
use crate::exit::Failure;

/// Bytes on their way per producer: enough that neither network nor disk waits for the other.
const IN_FLIGHT_BYTES: usize = 8 << 20;
const IN_FLIGHT_MIN: usize = 2;
const IN_FLIGHT_MAX: usize = 100;

/// When sending ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// At that time; answers count that come before it.
    Time(Instant),
    /// Once that many bytes of values were sent; all answers count.
    Bytes(u64),
    /// At that time, but not before so many bytes were sent, except at the last of all times.
    Steady {
        /// Not before this time.
        time: Instant,
        /// Nor before so many bytes.
        bytes: u64,
        /// At this time in any case.
        at_last: Instant,
    },
}

/// When answers count; shared by all producers of a measurement.
#[derive(Debug)]
pub struct Window {
    from: Instant,
    until: Until,
    batch_bytes: u64,
    sent: Cell<u64>,
    closed: Cell<Option<Instant>>,
}

impl Window {
    /// A window that opens at that time.
    pub fn new(from: Instant, until: Until, load: Load) -> Self {
        Self {
            from,
            until,
            batch_bytes: load.batch_bytes(),
            sent: Cell::new(0),
            closed: Cell::new(None),
        }
    }

    /// How long it was open; so far, if it still is.
    pub fn took(&self) -> Duration {
        let end = self.closed.get().unwrap_or_else(Instant::now);
        end.saturating_duration_since(self.from)
    }

    /// Whether nothing more is to be sent: for all producers, as soon as one of them finds it.
    fn is_over(&self, now: Instant) -> bool {
        if self.closed.get().is_some() {
            return true;
        }
        let is_over = match self.until {
            Until::Time(time) => now >= time,
            Until::Bytes(bytes) => self.sent.get() >= bytes,
            Until::Steady {
                time,
                bytes,
                at_last,
            } => now >= at_last || (now >= time && self.sent.get() >= bytes),
        };
        if is_over && !matches!(self.until, Until::Bytes(_)) {
            self.closed.set(Some(now));
        }
        is_over
    }

    fn counts(&self, now: Instant) -> bool {
        now >= self.from && self.closed.get().is_none_or(|closed| now < closed)
    }
}

/// What was answered within the window.
#[derive(Debug)]
pub struct Counted {
    /// Batches.
    pub batches: u64,
    /// From sending one to its answer.
    pub latencies: Latencies,
}

/// The stream.
#[derive(Debug)]
pub struct Stream<'a> {
    producer: &'a Producer,
    batches: &'a [Bytes],
    next: usize,
    window: &'a Window,
    in_flight_max: usize,
    waiting: VecDeque<(Instant, BatchTicket)>,
    counted: Counted,
}

impl<'a> Stream<'a> {
    /// A stream that begins with the batch of that number.
    pub fn new(
        producer: &'a Producer,
        batches: &'a [Bytes],
        next: usize,
        window: &'a Window,
    ) -> Self {
        let bytes = batches.first().map_or(1, Bytes::len);
        Self {
            producer,
            batches,
            next,
            window,
            in_flight_max: (IN_FLIGHT_BYTES / bytes).clamp(IN_FLIGHT_MIN, IN_FLIGHT_MAX),
            waiting: VecDeque::new(),
            counted: Counted {
                batches: 0,
                latencies: Latencies::new(),
            },
        }
    }

    /// Sends until the window says that it is enough, and waits for all answers.
    pub async fn run(mut self) -> Result<Counted, Failure> {
        while !self.window.is_over(Instant::now()) {
            if self.waiting.len() >= self.in_flight_max {
                self.answer().await?;
            }
            let batch = &self.batches[self.next % self.batches.len()];
            self.next += 1;
            let sent = self.producer.send_batch(batch.clone()).await;
            let ticket = sent.map_err(PublishError::from)?;
            self.waiting.push_back((Instant::now(), ticket));
            let sent = &self.window.sent;
            sent.set(sent.get() + self.window.batch_bytes);
        }
        while !self.waiting.is_empty() {
            self.answer().await?;
        }
        Ok(self.counted)
    }

    /// Waits for the oldest batch's outcome.
    async fn answer(&mut self) -> Result<(), Failure> {
        let Some((sent, ticket)) = self.waiting.pop_front() else {
            return Ok(());
        };
        ticket.await?;
        let now = Instant::now();
        if self.window.counts(now) {
            self.counted.batches += 1;
            self.counted.latencies.add(now - sent);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOAD: Load = Load {
        size: 100,
        batch: 10,
        time: Duration::ZERO,
    };

    fn window(until: impl FnOnce(Instant) -> Until) -> (Instant, Window) {
        let begin = Instant::now();
        (begin, Window::new(begin, until(begin), LOAD))
    }

    #[test]
    fn a_window_of_time_closes_for_all() {
        let (begin, window) = window(|begin| Until::Time(begin + Duration::from_secs(1)));
        assert!(!window.is_over(begin));
        assert!(window.counts(begin + Duration::from_millis(999)));
        let end = begin + Duration::from_millis(1001);
        assert!(window.is_over(end));
        assert!(!window.counts(end));
        assert_eq!(window.took(), Duration::from_millis(1001));
    }

    #[test]
    fn a_window_of_bytes_counts_every_answer() {
        let (begin, window) = window(|_| Until::Bytes(2000));
        window.sent.set(1000);
        assert!(!window.is_over(begin));
        window.sent.set(2000);
        assert!(window.is_over(begin));
        assert!(window.counts(begin + Duration::from_secs(9)));
    }

    #[test]
    fn a_steady_window_waits_for_its_bytes_and_not_for_ever() {
        let second = Duration::from_secs(1);
        let until = |begin| Until::Steady {
            time: begin + second,
            bytes: 1000,
            at_last: begin + 3 * second,
        };
        let (begin, few) = window(until);
        assert!(!few.is_over(begin + 2 * second));
        assert!(few.is_over(begin + 3 * second));
        let (begin, enough) = window(until);
        enough.sent.set(1000);
        assert!(!enough.is_over(begin));
        assert!(enough.is_over(begin + second));
    }
}
