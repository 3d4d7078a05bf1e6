//! What all rooms of the broker share.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};

use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_core::shard::Shard;
use weir_host::Host;
use weir_log::{LogReader, Maintenance, Vfs};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::Timestamp;

use crate::activity::Activity;
use crate::auth::Authenticator;
use crate::budget::Budget;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::plugins::PluginStore;
use crate::producers::Producers;
use crate::retention::HeldBack;
use crate::scrub::Damages;
use crate::sequence::Command;
use crate::subscribe::{Turns, Verdicts, Watch};
use crate::tails::Tails;
use crate::topics::Topics;

/// What all rooms share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) data_dir: PathBuf,
    pub(crate) node: u64,
    pub(crate) started: Timestamp,
    pub(crate) auth: Authenticator,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) host: Host,
    pub(crate) plugins: PluginStore,
    /// Written by the sequencer alone; read everywhere, never across an await.
    pub(crate) shard: Arc<RwLock<Shard>>,
    pub(crate) topics: Arc<Topics>,
    pub(crate) producers: Arc<Producers>,
    pub(crate) reader: LogReader,
    pub(crate) maintenance: Maintenance,
    /// What the log takes as one entry.
    pub(crate) request_bytes_max: u64,
    pub(crate) tails: Arc<Tails>,
    /// Requests under way.
    pub(crate) budget: Budget,
    /// Large frames on their way in.
    pub(crate) intake: Budget,
    /// Batches unfolded for their hooks.
    pub(crate) unfolded: Budget,
    /// Batches unfolded for the filters of subscriptions: producers do not wait for these.
    pub(crate) filtered: Budget,
    /// Batches read from disk for subscriptions.
    pub(crate) loaded: Budget,
    /// Who reads from disk for a subscription at the moment.
    pub(crate) reads: Arc<Semaphore>,
    /// Components on their way out.
    pub(crate) fetched: Budget,
    /// Who sends much to a subscriber at the moment.
    pub(crate) turns: Turns,
    /// What filters said about stored batches.
    pub(crate) verdicts: Verdicts,
    /// The filters and projections of subscriptions.
    pub(crate) watch: Arc<Watch>,
    pub(crate) sequencer: mpsc::Sender<Command>,
    pub(crate) activity: Activity,
    pub(crate) connections: AtomicUsize,
    pub(crate) subscriptions: AtomicUsize,
    pub(crate) last_subscription: AtomicU64,
    pub(crate) tests: TestHooks,
    /// No new work from here on; what is under way ends.
    pub(crate) draining: CancellationToken,
    /// What the last round of retention left because groups had not read it.
    pub(crate) held_back: RwLock<Vec<HeldBack>>,
    /// What the scrub found to be damaged.
    pub(crate) damages: Damages,
    /// Every task of a connection.
    pub(crate) tasks: TaskTracker,
}

impl Shared {
    /// Counts a frame that was not taken.
    pub(crate) fn frame_refused(&self, fault: &Fault) {
        if fault.code == ErrorCode::Overloaded {
            self.metrics.overloaded.inc();
        } else {
            self.metrics.malformed_frames.inc();
        }
    }
}

/// What tests may do to a broker; nothing in release builds.
#[derive(Clone, Debug, Default)]
pub struct TestHooks {
    /// The share of produce replies (in percent) that get lost together with their connection.
    pub drop_replies_percent: u8,
    /// Plants the bug that a repeated request runs its hooks before it is recognised.
    pub dedup_after_hooks: bool,
}

impl TestHooks {
    /// Whether this reply is to be lost.
    pub(crate) fn drops_reply(&self) -> bool {
        cfg!(debug_assertions)
            && self.drop_replies_percent > 0
            && rand::random_range(0..100) < self.drop_replies_percent
    }

    pub(crate) const fn dedups_after_hooks(&self) -> bool {
        cfg!(debug_assertions) && self.dedup_after_hooks
    }
}
