//! Bounded memory for requests under way: bytes of one connection, and of all of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Semaphores count in these, so that large budgets fit their 32-bit requests.
const UNIT_BYTES: usize = 1024;
/// From this share on, replies ask producers to slow down.
const THROTTLE_FROM_PERCENT: usize = 80;
const THROTTLE_MAX: Duration = Duration::from_millis(100);
/// One of those that share a budget holds at most this part of it, so that others go on.
const SHARE: usize = 4;

/// A bound on bytes held.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    units: usize,
}

/// The right to hold some bytes; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Permit {
    broker: OwnedSemaphorePermit,
    /// Of whom it is one's own: a connection, or who has a share.
    own: OwnedSemaphorePermit,
}

impl Permit {
    /// Gives back what is held beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        shrink(&mut self.broker, bytes);
        shrink(&mut self.own, bytes);
    }
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(units)),
            units,
        }
    }

    /// How long producers had better wait before they send more.
    pub(crate) fn throttle(&self) -> Duration {
        let used = (self.units - self.free.available_permits().min(self.units)) * 100 / self.units;
        let over = used.saturating_sub(THROTTLE_FROM_PERCENT);
        THROTTLE_MAX * over as u32 / (100 - THROTTLE_FROM_PERCENT) as u32
    }

    /// How many bytes are held.
    pub(crate) fn used_bytes(&self) -> usize {
        (self.units - self.free.available_permits().min(self.units)) * UNIT_BYTES
    }

    /// Whether nothing but this is held.
    pub(crate) fn is_all(&self, permit: &Permit) -> bool {
        let free = self.free.available_permits();
        free + permit.broker.num_permits() >= self.units
    }

    /// Waits for room of a connection and of the broker; `None` if there is none in time.
    pub(crate) async fn acquire(
        broker: &Self,
        connection: &Self,
        bytes: usize,
        deadline: Duration,
    ) -> Option<Permit> {
        let both = async {
            let own = connection.take(bytes).await?;
            let broker = broker.take(bytes).await?;
            Some(Permit { broker, own })
        };
        timeout(deadline, both).await.ok().flatten()
    }

    /// Room for what a batch becomes when it is unfolded for its hooks: first for the most it
    /// may be, then, by [`Held::shrink_to`], for what it is. One holds it while plugins run and
    /// waits for nothing else of this kind, but for the requests of its producer before it, which
    /// have theirs because they asked first: so it comes free.
    pub(crate) async fn hold(&self, bytes: usize) -> Option<Held> {
        self.take(bytes).await.map(Held)
    }

    /// The same for at most `deadline`.
    pub(crate) async fn hold_within(&self, bytes: usize, deadline: Duration) -> Option<Held> {
        timeout(deadline, self.hold(bytes)).await.ok().flatten()
    }

    /// More room for who holds some, if there is any: whoever holds and waited could wait for
    /// another who does the same.
    pub(crate) fn try_grow(&self, held: &mut Held, bytes: usize) -> bool {
        let units = bytes.div_ceil(UNIT_BYTES).min(self.units);
        let more = units.saturating_sub(held.0.num_permits());
        match self.try_take(more * UNIT_BYTES) {
            Some(more) => {
                held.0.merge(more);
                true
            }
            None => false,
        }
    }

    fn try_take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES).min(self.units)).ok()?;
        self.free.clone().try_acquire_many_owned(units).ok()
    }

    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // A request larger than the whole budget waits for all of it, not for ever.
        let units = bytes.div_ceil(UNIT_BYTES).min(self.units);
        self.free
            .clone()
            .acquire_many_owned(u32::try_from(units).ok()?)
            .await
            .ok()
    }
}

/// Bytes of one budget alone.
#[derive(Debug)]
pub(crate) struct Held(OwnedSemaphorePermit);

impl Held {
    /// Gives back what is held beyond `bytes`.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        shrink(&mut self.0, bytes);
    }
}

fn shrink(permit: &mut OwnedSemaphorePermit, bytes: usize) {
    let needed = bytes.div_ceil(UNIT_BYTES);
    drop(permit.split(permit.num_permits().saturating_sub(needed)));
}

/// A budget of which one holds only a part.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    broker: Budget,
    own: Budget,
}

impl Share {
    /// One's own share of a budget.
    pub(crate) fn of(broker: &Budget) -> Self {
        Self {
            broker: broker.clone(),
            own: Budget::new(broker.units.div_ceil(SHARE) * UNIT_BYTES),
        }
    }

    /// Waits for room. Whoever holds some of this share must not.
    pub(crate) async fn hold(&self, bytes: usize) -> Option<Permit> {
        let bytes = self.at_most_all(bytes);
        let own = self.own.take(bytes).await?;
        let broker = self.broker.take(bytes).await?;
        Some(Permit { broker, own })
    }

    /// Room, if there is any now.
    pub(crate) fn try_hold(&self, bytes: usize) -> Option<Permit> {
        let bytes = self.at_most_all(bytes);
        let own = self.own.try_take(bytes)?;
        let broker = self.broker.try_take(bytes)?;
        Some(Permit { broker, own })
    }

    /// More room for who holds some, if there is any.
    pub(crate) fn try_grow(&self, permit: &mut Permit, bytes: usize) -> bool {
        let held = permit.own.num_permits() * UNIT_BYTES;
        let Some(more) = self.try_hold(bytes.saturating_sub(held)) else {
            return false;
        };
        permit.broker.merge(more.broker);
        permit.own.merge(more.own);
        true
    }

    /// A request larger than the share takes all of that, and no more of the broker's.
    fn at_most_all(&self, bytes: usize) -> usize {
        bytes.min(self.own.units * UNIT_BYTES)
    }
}

/// Room for large frames while they come in. It is refused rather than waited for: a frame that
/// waits would keep the bytes of others, already in the connection's window, from being read.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    broker: Budget,
    connection: Budget,
    patience: Duration,
}

impl Intake {
    /// `patience` is how long a frame that has room may stand still.
    pub(crate) const fn new(broker: Budget, connection: Budget, patience: Duration) -> Self {
        Self {
            broker,
            connection,
            patience,
        }
    }

    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn take(&self, bytes: usize) -> Option<Permit> {
        let own = self.connection.try_take(bytes)?;
        let broker = self.broker.try_take(bytes)?;
        Some(Permit { broker, own })
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::{Budget, Share};

    const MIB: usize = 1 << 20;

    #[test]
    fn one_share_never_holds_all_of_a_budget() {
        let budget = Budget::new(16 * MIB);
        let (greedy, other) = (Share::of(&budget), Share::of(&budget));
        let mut held: Vec<_> = std::iter::from_fn(|| greedy.try_hold(MIB)).collect();
        assert_eq!((held.len(), budget.used_bytes()), (4, 4 * MIB));
        assert!(greedy.hold(MIB).now_or_never().is_none(), "it waits");
        assert!(other.hold(4 * MIB).now_or_never().is_some());
        let mut last = held.pop().unwrap();
        last.shrink_to(MIB / 2);
        assert_eq!(budget.used_bytes(), 4 * MIB - MIB / 2);
        assert!(!greedy.try_grow(&mut last, 2 * MIB), "others hold the rest");
        held.clear();
        assert!(greedy.try_grow(&mut last, 2 * MIB));
        assert_eq!(budget.used_bytes(), 2 * MIB);
        drop(last);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn more_than_a_share_is_all_of_it() {
        let budget = Budget::new(16 * MIB);
        let share = Share::of(&budget);
        let all = share.hold(100 * MIB).now_or_never().unwrap().unwrap();
        assert!(share.try_hold(1).is_none());
        assert_eq!(budget.used_bytes(), 4 * MIB, "and not more of the others'");
        drop(all);
        let all = share.try_hold(100 * MIB).unwrap();
        assert_eq!(budget.used_bytes(), 4 * MIB);
        drop(all);
        assert!(share.try_hold(1).is_some());
    }
}
