//! `--rate`: records are sent on a schedule; a record that is late does not make the next one
//! early by more than a breath.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// How far sending may lag behind its schedule and still catch up.
const CATCH_UP: Duration = Duration::from_millis(100);
/// A wait shorter than this is left to the next record: a timer is no more exact.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// When the next record may go.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    interval: Option<Duration>,
    next: Option<Instant>,
}

impl Pace {
    /// So many records per second; without a number, as fast as possible.
    pub fn new(rate: Option<f64>) -> Self {
        Self {
            interval: rate.map(|rate| Duration::from_secs_f64(1.0 / rate)),
            next: None,
        }
    }

    /// Waits for the next record's turn.
    pub async fn turn(&mut self) {
        let Some(interval) = self.interval else {
            return;
        };
        let now = Instant::now();
        let due = self.next.unwrap_or(now).max(now - CATCH_UP);
        if due > now + SHORTEST_WAIT {
            sleep_until(due).await;
        }
        self.next = Some(due + interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn records_go_at_the_rate() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(1000.0));
        for _ in 0..2000 {
            pace.turn().await;
        }
        let took = start.elapsed();
        assert!((1.9..2.1).contains(&took.as_secs_f64()), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_rate_nobody_waits() {
        let start = Instant::now();
        let mut pace = Pace::new(None);
        for _ in 0..2000 {
            pace.turn().await;
        }
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
