//! A broker inside a test: on a free loopback port, in a directory of its own, gone afterwards.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::timeout;
use weir_core::shard::ChangeRequest;
use weir_log::LogError;
use weir_wire::error::Fault;
use weir_wire::id::{Offset, PartitionId, Timestamp};
use weir_wire::name::{GroupName, TopicName};

use crate::config::Config;
use crate::{Broker, StartError, StartOptions};

/// Far more than anything in a test takes, far less than for ever.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what must come.
///
/// # Panics
/// When it does not come; says what.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let came = timeout(PATIENCE, future).await;
    came.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// A broker for tests, with real certificates, a real token and real files.
#[derive(Debug)]
pub struct TestBroker {
    broker: Broker,
    directory: tempfile::TempDir,
}

impl TestBroker {
    /// Starts a broker with the defaults.
    pub async fn start() -> Result<Self, StartError> {
        Self::start_with(|_| (), StartOptions::default()).await
    }

    /// Starts a broker whose configuration `change` has changed.
    pub async fn start_with(
        change: impl FnOnce(&mut Config),
        options: StartOptions,
    ) -> Result<Self, StartError> {
        let directory = tempfile::tempdir()?;
        let mut config = Config {
            data_dir: directory.path().join("data"),
            listen: ([127, 0, 0, 1], 0).into(),
            ..Config::default()
        };
        change(&mut config);
        let broker = Broker::start(config, options).await?;
        Ok(Self { broker, directory })
    }

    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> String {
        format!("weir://{}", self.broker.address())
    }

    /// The certificate that clients are to trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.broker.ca_file().to_owned()
    }

    /// The admin token; empty without authentication.
    #[must_use]
    pub fn token(&self) -> &str {
        self.broker.token().unwrap_or_default()
    }

    /// Its directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Removes now what retention is to remove, as if it were that time.
    pub async fn retain(&self, now: Timestamp) {
        self.broker.retain(now).await;
    }

    /// Compacts now, as if it were that time, the topics that are to be and are due.
    ///
    /// # Errors
    /// When the log fails.
    pub async fn compact(&self, now: Timestamp) -> Result<(), LogError> {
        self.broker.compact(now).await
    }

    /// Moves what is durable into segments.
    ///
    /// # Errors
    /// When the log fails.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.broker.flush().await
    }

    /// Reads all segments once, at once, and remembers what is damaged.
    pub async fn scrub(&self) {
        self.broker.scrub().await;
    }

    /// Says where a consumer group stands.
    ///
    /// # Errors
    /// When there is no such place.
    pub async fn set_cursor(
        &self,
        group: GroupName,
        topic: TopicName,
        partition: PartitionId,
        offset: Offset,
    ) -> Result<(), Fault> {
        let request = ChangeRequest::SetCursor {
            group,
            topic,
            partition,
            offset,
        };
        self.broker.change(request).await
    }

    /// The broker itself.
    #[must_use]
    pub const fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Ends it in good order.
    pub async fn shutdown(self) {
        self.broker.shutdown().await;
    }
}
