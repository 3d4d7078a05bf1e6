//! The task that renews the broker's certificate while the broker runs.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use weir_log::Vfs;

use super::{Identity, TlsError};
use crate::clock;
use crate::metrics::Metrics;

/// Often against the two months that a renewal may take.
const LOOK_EVERY: Duration = Duration::from_secs(6 * 60 * 60);

/// Looks every few hours whether the certificate is to be renewed.
#[derive(Debug)]
pub struct Renewal {
    identity: Identity,
    vfs: Arc<dyn Vfs>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
}

impl Renewal {
    /// The task for this identity.
    #[must_use]
    pub fn new(
        identity: Identity,
        vfs: Arc<dyn Vfs>,
        metrics: Arc<Metrics>,
        shutdown: CancellationToken,
    ) -> Self {
        Self {
            identity,
            vfs,
            metrics,
            shutdown,
        }
    }

    /// Runs until `shutdown`.
    pub async fn run(self) {
        self.show();
        let mut looks = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return,
                _ = looks.tick() => self.look().await,
            }
        }
    }

    pub(super) async fn look(&self) {
        let (identity, vfs) = (self.identity.clone(), Arc::clone(&self.vfs));
        let looked =
            tokio::task::spawn_blocking(move || identity.renew_if_due(&*vfs, clock::system_time()));
        match looked.await {
            Ok(Ok(true)) => tracing::info!("the broker's certificate was renewed"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => warn(&error),
            // The runtime is ending.
            Err(_) => return,
        }
        self.show();
    }

    fn show(&self) {
        let expires = self
            .identity
            .expires()
            .duration_since(SystemTime::UNIX_EPOCH);
        let seconds = i64::try_from(expires.unwrap_or_default().as_secs()).unwrap_or(i64::MAX);
        self.metrics.certificate_expiry_seconds.set(seconds);
    }
}

fn warn(error: &TlsError) {
    tracing::error!(%error, "the broker's certificate could not be renewed; trying again later");
}
