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

/// A bound on bytes held.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    free: Arc<Semaphore>,
    units: usize,
}

/// The right to hold some bytes; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct Permit {
    _broker: OwnedSemaphorePermit,
    _connection: OwnedSemaphorePermit,
}

impl Budget {
    pub(crate) fn new(bytes: usize) -> Self {
        let units = (bytes / UNIT_BYTES).clamp(1, Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(units)), units }
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

    /// Waits for room of a connection and of the broker; `None` if there is none in time.
    pub(crate) async fn acquire(
        broker: &Self,
        connection: &Self,
        bytes: usize,
        deadline: Duration,
    ) -> Option<Permit> {
        let both = async {
            let connection = connection.take(bytes).await?;
            let broker = broker.take(bytes).await?;
            Some(Permit { _broker: broker, _connection: connection })
        };
        timeout(deadline, both).await.ok().flatten()
    }

    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        // A request larger than the whole budget waits for all of it, not for ever.
        let units = bytes.div_ceil(UNIT_BYTES).min(self.units);
        self.free.clone().acquire_many_owned(u32::try_from(units).ok()?).await.ok()
    }
}
