//! Coming back to a broker that was lost: short attempts first, since a broker that restarts
//! answers within milliseconds and a packet to a dead port is not answered at all; longer ones,
//! with pauses, when it stays away.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::backoff::Backoff;
use crate::connection::{ConnectError, Link};

const FIRST_PATIENCE: Duration = Duration::from_millis(300);
const LONGEST_PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Redial {
    backoff: Backoff,
    patience: Duration,
}

impl Default for Redial {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            patience: FIRST_PATIENCE,
        }
    }
}

impl Redial {
    /// One attempt to connect, and the pause behind it if it failed; an error that no repetition
    /// mends is answered as it is.
    pub(crate) async fn attempt(
        &mut self,
        connect: impl Future<Output = Result<Link, ConnectError>>,
    ) -> Result<Option<Link>, ConnectError> {
        match timeout(self.patience, connect).await {
            Ok(Ok(link)) => return Ok(Some(link)),
            Ok(Err(error)) if !error.is_retryable() => return Err(error),
            Ok(Err(error)) => tracing::debug!(%error, "the broker is not back yet"),
            Err(_) => self.patience = (self.patience * 2).min(LONGEST_PATIENCE),
        }
        self.failed(None).await;
        Ok(None)
    }

    /// Waits before the next attempt, as long as the broker asked for if it did.
    pub(crate) async fn failed(&mut self, retry_after: Option<Duration>) {
        let wait = self.backoff.next_wait();
        sleep(retry_after.map_or(wait, |asked| asked.clamp(wait, LONGEST_PATIENCE.max(wait))))
            .await;
    }
}
