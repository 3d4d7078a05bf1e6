//! Whose turn it is to send much. One thread serves all connections, and each that has much to
//! send takes its slice of every round of that thread: beside many subscribers that catch up, a
//! record at the tail would wait for all their slices at each step of its way. So only a few of
//! them send at a time, one after the other; who has little to send goes ahead.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::Instant;

/// From so many bytes on it is much.
pub(super) const MUCH: usize = 64 << 10;
/// How many send much at a time: while one waits for its subscriber, another keeps the thread busy.
const AT_ONCE: usize = 2;
/// What is sent in one turn, about.
const TURN_BYTES: usize = 1 << 20;
/// How long a turn lasts at most once it has gone out or is held up. What a connection sends may be
/// anything, so that it goes on sending says nothing for certain about what was written.
const TURN_TIME: Duration = Duration::from_millis(10);

/// Gives turns to connections. Whoever has all there is to send stands in another line than those
/// who catch up: behind them even more would come together meanwhile.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    at_the_end: Arc<Queue>,
    behind: Arc<Queue>,
}

/// Gives turns in the order in which they are asked for.
#[derive(Debug)]
struct Queue {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// The turns of one connection, which stands in line no more often than one can have a turn: else
/// its many lanes would keep the few of others waiting.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionTurns {
    at_the_end: Place,
    behind: Place,
}

/// The place of a connection in a line.
#[derive(Clone, Debug)]
struct Place {
    queue: Arc<Queue>,
    own: Arc<Semaphore>,
}

/// The right to send much, for a while.
#[derive(Debug)]
pub(super) struct Turn {
    queue: Arc<Queue>,
    _own: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
    /// What the connection had sent when the turn began.
    begun: u64,
    /// When it is over at the latest, whatever the connection sends.
    ends: Instant,
    /// What was written since.
    written: usize,
}

/// Counts one that waits.
struct Waits<'a>(&'a AtomicUsize);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            places: Arc::new(Semaphore::new(AT_ONCE)),
            waiting: AtomicUsize::new(0),
        }
    }
}

impl Turns {
    /// Those of another connection.
    pub(crate) fn of_connection(&self) -> ConnectionTurns {
        let place = |queue: &Arc<Queue>| Place {
            queue: queue.clone(),
            own: Arc::new(Semaphore::new(AT_ONCE)),
        };
        ConnectionTurns {
            at_the_end: place(&self.at_the_end),
            behind: place(&self.behind),
        }
    }
}

impl ConnectionTurns {
    /// Waits for a turn, of those who have all there is or of the others. `sent` is what the
    /// connection has sent so far.
    pub(super) async fn take(&self, at_the_end: bool, sent: impl Fn() -> u64) -> Turn {
        let Place { queue, own } = match at_the_end {
            true => &self.at_the_end,
            false => &self.behind,
        };
        let own = own.clone().acquire_owned().await;
        queue.waiting.fetch_add(1, Ordering::Relaxed);
        let waits = Waits(&queue.waiting);
        let place = queue.places.clone().acquire_owned().await;
        drop(waits);
        Turn {
            queue: queue.clone(),
            _own: own.expect("nobody closes it"),
            _place: place.expect("nobody closes it"),
            begun: sent(),
            ends: Instant::now() + TURN_TIME,
            written: 0,
        }
    }
}

impl Turn {
    /// So much more was written; whether the turn is over if others wait for theirs.
    pub(super) const fn wrote(&mut self, bytes: usize) -> bool {
        self.written += bytes;
        self.written >= TURN_BYTES
    }

    /// Whether others wait for their turns, who do not stand behind this connection's own.
    pub(super) fn others_wait(&self) -> bool {
        self.queue.waiting.load(Ordering::Relaxed) > 0
    }

    /// Returns when all that was written has been sent, or no more is to be waited for.
    pub(super) async fn has_gone_out(&self, sent: impl Fn() -> u64) {
        self.sending(sent, self.begun.saturating_add(self.written as u64))
            .await;
    }

    /// Returns when no more is to be waited for.
    pub(super) async fn is_held_up(&self, sent: impl Fn() -> u64) {
        self.sending(sent, u64::MAX).await;
    }

    /// Returns when so much has been sent, or nothing is sent any more, because the subscriber or
    /// the way to it is slower, or the turn is over.
    async fn sending(&self, sent: impl Fn() -> u64, until: u64) {
        let mut last = sent();
        while last < until {
            // Everybody else who can do something does so once meanwhile, the connection too.
            yield_now().await;
            let now = sent();
            if now == last || Instant::now() >= self.ends {
                break;
            }
            last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::sync::Arc;
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;
    use tokio_util::task::AbortOnDropHandle;

    use super::{AT_ONCE, TURN_BYTES, Turn, Turns};

    async fn take(turns: &Arc<Turns>) -> Turn {
        turns.of_connection().take(false, || 0).await
    }

    #[tokio::test]
    async fn a_few_have_a_turn_and_the_others_theirs_in_order() {
        let turns = Arc::new(Turns::default());
        let mut first = Vec::new();
        for _ in 0..AT_ONCE {
            first.push(take(&turns).await);
        }
        assert!(!first[0].others_wait());
        let later = [1, 2].map(|_| {
            let turns = turns.clone();
            AbortOnDropHandle::new(tokio::spawn(async move { take(&turns).await }))
        });
        while turns.behind.waiting.load(Ordering::Relaxed) < later.len() {
            yield_now().await;
        }
        assert!(first[0].others_wait());
        let [second, third] = later;
        first.remove(0);
        let second = second.await.unwrap();
        assert!(!third.is_finished());
        // One that gives up waiting is not waited for.
        drop(third);
        while turns.behind.waiting.load(Ordering::Relaxed) > 0 {
            yield_now().await;
        }
        drop((first, second));
        assert_eq!(turns.behind.places.available_permits(), AT_ONCE);
    }

    #[tokio::test]
    async fn the_lanes_of_a_connection_stand_in_line_as_few() {
        let turns = Arc::new(Turns::default());
        let many = turns.of_connection();
        let mut has_turn = Vec::new();
        for _ in 0..AT_ONCE {
            has_turn.push(many.take(false, || 0).await);
        }
        let mut lanes = JoinSet::new();
        for _ in 0..100 {
            let many = many.clone();
            lanes.spawn(async move { drop(many.take(false, || 0).await) });
        }
        let other = AbortOnDropHandle::new(tokio::spawn({
            let turns = turns.clone();
            async move { take(&turns).await }
        }));
        while turns.behind.waiting.load(Ordering::Relaxed) == 0 {
            yield_now().await;
        }
        assert_eq!(
            turns.behind.waiting.load(Ordering::Relaxed),
            1,
            "only the other's"
        );
        // The other one is next, although a hundred have asked before.
        has_turn.pop();
        other.await.unwrap();
        drop(has_turn);
        lanes.join_all().await;
    }

    #[tokio::test]
    async fn whoever_has_all_there_is_does_not_wait_behind_those_who_catch_up() {
        let turns = Turns::default();
        let catch_up = [turns.of_connection(), turns.of_connection()];
        let mut has_turn = Vec::new();
        for one in &catch_up {
            has_turn.push(one.take(false, || 0).await);
        }
        let own = catch_up[0].take(true, || 0).await;
        let other = turns.of_connection().take(true, || 0).await;
        assert!(!own.others_wait());
        drop((own, other, has_turn));
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_ends_when_all_is_sent_or_nothing_is() {
        let turns = Arc::new(Turns::default());
        let mut turn = take(&turns).await;
        assert!(!turn.wrote(1000));
        let (sent, asked) = (Cell::new(0), Cell::new(0));
        let sends = |each: u64, at_most: u64| {
            let (sent, asked) = (&sent, &asked);
            sent.set(0);
            asked.set(0);
            move || {
                asked.set(asked.get() + 1);
                sent.set((sent.get() + each).min(at_most));
                sent.get()
            }
        };
        turn.has_gone_out(sends(100, u64::MAX)).await;
        assert_eq!((sent.get(), asked.get()), (1000, 10));
        turn.has_gone_out(sends(100, 300)).await;
        assert_eq!((sent.get(), asked.get()), (300, 4));
        turn.is_held_up(sends(100, 2000)).await;
        assert_eq!((sent.get(), asked.get()), (2000, 21));
        assert!(turn.wrote(TURN_BYTES - 1000));
    }

    #[tokio::test]
    async fn a_turn_ends_although_its_connection_never_stops_sending() {
        let turns = Arc::new(Turns::default());
        let mut turn = take(&turns).await;
        turn.wrote(TURN_BYTES);
        let packets = Cell::new(0);
        let sent = || {
            packets.set(packets.get() + 1);
            packets.get()
        };
        let step_max = Duration::from_secs(60);
        timeout(step_max, turn.is_held_up(sent)).await.unwrap();
        // One byte at a time: all of it would go out, once.
        packets.set(0);
        timeout(step_max, turn.has_gone_out(sent)).await.unwrap();
        assert!(packets.get() < TURN_BYTES as u64);
    }
}
