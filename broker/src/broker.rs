//! A broker from start to end: opens the log, replays it, starts the rooms, drains them.

pub(crate) mod recover;
mod start;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use weir_core::shard::ChangeRequest;
use weir_log::{LogError, Maintenance, RealVfs, Vfs};
use weir_wire::error::Fault;
use weir_wire::id::Timestamp;

pub use start::StartError;

use crate::clock;
use crate::config::Config;
use crate::retention::Rounds;
use crate::sequence::{self, Command};
use crate::state::TestHooks;
use crate::tls::{Identity, TlsError};

/// How a broker is started, besides its configuration.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Where files are.
    pub vfs: Arc<dyn Vfs>,
    /// What tests may do to it.
    pub tests: TestHooks,
    /// A bug planted in the log, to see that a harness finds it.
    #[cfg(debug_assertions)]
    pub planted: Option<weir_log::Bug>,
}

impl Default for StartOptions {
    fn default() -> Self {
        Self {
            vfs: Arc::new(RealVfs::new()),
            tests: TestHooks::default(),
            #[cfg(debug_assertions)]
            planted: None,
        }
    }
}

/// A running broker. Dropping it ends it at once, as a crash would; see [`Broker::shutdown`].
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    ca_file: PathBuf,
    identity: Identity,
    token: Option<String>,
    rounds: Rounds,
    compactions: Rounds,
    scrubs: Rounds,
    maintenance: Maintenance,
    sequencer: mpsc::Sender<Command>,
    vfs: Arc<dyn Vfs>,
    draining: CancellationToken,
    ended: watch::Receiver<bool>,
    fatal: watch::Receiver<Option<String>>,
}

/// The log failed: nothing may be acknowledged any more, and the process has to end.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "the log failed and nothing more is written: {0}; start the broker again once the disk is well"
)]
pub struct Fatal(String);

impl Broker {
    /// Starts a broker; it serves when this returns.
    pub async fn start(config: Config, options: StartOptions) -> Result<Self, StartError> {
        start::start(config, options).await
    }

    /// The address that it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics are served.
    #[must_use]
    pub const fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// The certificate that clients are to trust.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// The certificate that clients are to trust, as PEM.
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.identity.ca_pem()
    }

    /// The admin token.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Reads the certificates again.
    pub fn reload_certificates(&self) -> Result<(), TlsError> {
        self.identity.reload(&*self.vfs, clock::system_time())
    }

    /// Removes now what retention is to remove, as if it were that time.
    pub(crate) async fn retain(&self, now: Timestamp) {
        self.rounds.run(now).await;
    }

    /// Compacts now what is due, as if it were that time; returns when it is done.
    pub(crate) async fn compact(&self, now: Timestamp) -> Result<(), LogError> {
        self.flush().await?;
        self.compactions.run(now).await;
        // The archiver may be waiting when the first of these comes, and answers it at once; the
        // second only after it has done whatever there was to do.
        self.flush().await?;
        self.flush().await
    }

    /// Reads all segments once, at once.
    pub(crate) async fn scrub(&self) {
        self.scrubs.run(clock::now()).await;
    }

    /// Moves what is durable into segments.
    pub(crate) async fn flush(&self) -> Result<(), LogError> {
        let maintenance = self.maintenance.clone();
        let flushed = tokio::task::spawn_blocking(move || maintenance.flush());
        // The runtime of whoever asked may end first, and takes the task away.
        flushed.await.unwrap_or_else(|_| Err(LogError::ended()))
    }

    /// Asks for a change, without a connection.
    pub(crate) async fn change(&self, request: ChangeRequest) -> Result<(), Fault> {
        let changed = sequence::change_by(&self.sequencer, request, None).await;
        changed.map(drop)
    }

    /// Waits until the broker cannot go on.
    pub async fn fatal(&self) -> Fatal {
        let mut fatal = self.fatal.clone();
        let reason = match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The log ended with the broker, in good order.
            Err(_) => return std::future::pending().await,
        };
        Fatal(reason)
    }

    /// Finishes what is under way, then ends.
    pub async fn shutdown(&self) {
        self.draining.cancel();
        let mut ended = self.ended.clone();
        // An error means that the broker's thread is gone, which is an end too.
        let _ = ended.wait_for(|ended| *ended).await;
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.draining.cancel();
    }
}
