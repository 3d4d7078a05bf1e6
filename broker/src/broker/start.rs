//! Starting: everything in order, each step with an error that says what to do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_core::shard;
use weir_host::{CompilerCommand, Host, HostConfig, HostError, Limits};
use weir_log::{DirLock, DiskReserve, Log, LogConfig, Maintenance, OpenError};
use weir_wire::id::{BindingId, ShardId};

use super::recover::{Replay, ReplayError, bind_all, bind_late, mend};
use super::{Broker, StartOptions};
use crate::activity::Activity;
use crate::auth::{AuthError, Authenticator};
use crate::budget::Budget;
use crate::commit::{Commits, Token};
use crate::compaction::{Compaction, WireKeys};
use crate::config::{Config, ConfigError};
use crate::data_dir::{DataDir, DataDirError};
use crate::metrics::{Metrics, MetricsError, MetricsServer, Readiness, State};
use crate::plugins::PluginStore;
use crate::reset::{ResetError, ResetSecret};
use crate::retention::{Retention, Rounds};
use crate::scrub::{Damages, Scrubbing};
use crate::sequence::{self, Command, Sequencer};
use crate::state::Shared;
use crate::subscribe::{READS_AT_ONCE, Turns, Verdicts};
use crate::tails::Tails;
use crate::tls::{Identity, Renewal, TlsError};
use crate::topics::Topics;
use crate::transport::{self, ListenError};
use crate::{clock, connection, sampler, tls};

/// The hidden verb of `weir` that compiles components.
const COMPILER_VERB: &str = "compile-component";
/// The least wall-clock time after which a compiler is given up that uses no processor time.
const COMPILE_WALL_MIN: Duration = Duration::from_secs(60);
/// How long connections may take to finish when the broker ends.
const DRAIN_MAX: Duration = Duration::from_secs(20);
/// After so many steps of its tasks the network thread looks for packets and timers, and for what
/// other threads say: by default that is 61 and 31, and a step that sends to a subscriber who
/// catches up takes a tenth of a millisecond.
const EVENT_INTERVAL: u32 = 8;
const QUEUE_INTERVAL: u32 = 4;
/// Threads that may block, on the smallest machine, and their priority.
const DISK_THREADS_MIN: usize = 4;
const DISK_NICENESS: i32 = 5;

/// Why a broker does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The secret of connection resets.
    #[error(transparent)]
    Reset(#[from] ResetError),
    /// The log.
    #[error(transparent)]
    Log(#[from] OpenError<ReplayError>),
    /// The plugin host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The listen address.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The metrics address.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A thread or a runtime.
    #[error("cannot start a thread: {0}; check the limit on processes (ulimit -u)")]
    Thread(#[from] std::io::Error),
    /// The broker's thread ended before it was ready.
    #[error("the broker ended before it was ready; its log says why")]
    Ended,
}

/// What is told to whoever started the broker.
struct Started {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    identity: Identity,
    token: Option<String>,
    rounds: Rounds,
    compactions: Rounds,
    scrubs: Rounds,
    maintenance: Maintenance,
    sequencer: mpsc::Sender<Command>,
}

pub(super) async fn start(config: Config, options: StartOptions) -> Result<Broker, StartError> {
    config.validate()?;
    let draining = CancellationToken::new();
    let (ready, started) = oneshot::channel();
    let (to_ended, ended) = watch::channel(false);
    let (to_fatal, fatal) = watch::channel(None);
    let vfs = options.vfs.clone();
    // One thread drives the endpoint and every connection: packets, frames and the sequencer
    // share its cache, and no request changes threads before the log.
    let drain = draining.clone();
    std::thread::Builder::new()
        .name("weir-net".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(EVENT_INTERVAL)
                .global_queue_interval(QUEUE_INTERVAL)
                .thread_name("weir-disk")
                .max_blocking_threads(disk_threads())
                .on_thread_start(yield_to_the_network)
                .build();
            match runtime {
                Ok(runtime) => runtime.block_on(run(config, options, drain, to_fatal, ready)),
                Err(error) => drop(ready.send(Err(StartError::Thread(error)))),
            }
            to_ended.send_replace(true);
        })?;
    let started = started.await.map_err(|_| StartError::Ended)??;
    Ok(Broker {
        address: started.address,
        metrics_address: started.metrics_address,
        ca_file: started.identity.ca_file().to_owned(),
        identity: started.identity,
        token: started.token,
        rounds: started.rounds,
        compactions: started.compactions,
        scrubs: started.scrubs,
        maintenance: started.maintenance,
        sequencer: started.sequencer,
        vfs,
        draining,
        ended,
        fatal,
    })
}

/// How many threads read from disk, or do what else may block: enough to keep a disk busy, and so
/// few that many subscribers that catch up cannot keep the processors from the network thread.
fn disk_threads() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (2 * cores).max(DISK_THREADS_MIN)
}

fn yield_to_the_network() {
    if let Err(error) = rustix::process::nice(DISK_NICENESS) {
        tracing::debug!("threads that read from disk keep the normal priority: {error}");
    }
}

/// The life of the broker's thread.
async fn run(
    config: Config,
    options: StartOptions,
    draining: CancellationToken,
    fatal: watch::Sender<Option<String>>,
    ready: oneshot::Sender<Result<Started, StartError>>,
) {
    match Running::start(config, options, draining, fatal).await {
        Ok((running, started)) => {
            if ready.send(Ok(started)).is_ok() {
                running.until_drained().await;
            }
        }
        Err(error) => drop(ready.send(Err(error))),
    }
}

struct Running {
    shared: Arc<Shared>,
    endpoint: quinn::Endpoint,
    readiness: Readiness,
    sequencer: tokio::task::JoinHandle<Log<Token>>,
    stop_sequencer: CancellationToken,
    /// Ends the metrics, last of all: they tell that the broker drains.
    closing: CancellationToken,
    _lock: DirLock,
}

impl Running {
    async fn start(
        config: Config,
        options: StartOptions,
        draining: CancellationToken,
        fatal: watch::Sender<Option<String>>,
    ) -> Result<(Self, Started), StartError> {
        let begun = Instant::now();
        let vfs = options.vfs.clone();
        let data_dir = DataDir::new(&config.data_dir);
        data_dir.check(&*vfs)?;
        // A broker that has the directory is named first; an address that is taken leaves no new
        // directory behind.
        let lock = data_dir.lock_existing(&*vfs)?;
        let metrics = Metrics::new();
        let readiness = Readiness::starting();
        let metrics_server = match config.metrics {
            None => None,
            Some(address) => {
                Some(MetricsServer::bind(address, metrics.clone(), readiness.watch()).await?)
            }
        };
        let socket = transport::bind(config.listen)?;
        data_dir.create(&*vfs)?;
        let lock = lock.map_or_else(|| data_dir.lock(&*vfs), Ok)?;
        let identity = tls::prepare(&*vfs, &config, clock::system_time())?;
        let auth = if config.no_auth {
            Authenticator::open()
        } else {
            Authenticator::with_token_file(&*vfs, &data_dir.token())?
        };
        let token = auth.token().map(str::to_owned);
        let metrics_address = metrics_server.as_ref().map(MetricsServer::address);
        let reset = ResetSecret::with_file(&*vfs, &data_dir.reset_key())?;
        let endpoint = transport::listen(socket, identity.server_crypto(), &reset)?;
        let address = endpoint.local_addr()?;
        let (shared, sequencer, late) = assemble(
            config,
            &options,
            &data_dir,
            auth,
            metrics.clone(),
            draining,
            fatal,
        )
        .await?;
        if let Err(error) = data_dir.mark_log(&*vfs) {
            // On a full disk there is better to do than to end for that.
            let path = data_dir.log_mark();
            tracing::warn!(path = %path.display(), %error, "a missing log will not be missed");
        }
        sampler::install(&shared);
        shared.tasks.spawn(bind_late(shared.clone(), late));
        shared.tasks.spawn(mend(shared.clone()));
        let stop_sequencer = CancellationToken::new();
        let sequencer = tokio::spawn(sequencer.run(stop_sequencer.clone()));
        let closing = CancellationToken::new();
        if let Some(server) = metrics_server {
            tokio::spawn(server.run(closing.clone()));
        }
        let renewal = Renewal::new(identity.clone(), vfs, metrics, shared.draining.clone());
        shared.tasks.spawn(renewal.run());
        let (retention, rounds) = Retention::new(shared.clone());
        shared.tasks.spawn(retention.run());
        let (compaction, compactions) = Compaction::new(shared.clone());
        shared.tasks.spawn(compaction.run());
        let (scrubbing, scrubs) = Scrubbing::new(shared.clone());
        shared.tasks.spawn(scrubbing.run());
        shared
            .tasks
            .spawn(connection::accept(shared.clone(), endpoint.clone()));
        readiness.set(State::Ready);
        tracing::info!(%address, took = ?begun.elapsed(), "ready");
        let started = Started {
            address,
            metrics_address,
            identity,
            token,
            rounds,
            compactions,
            scrubs,
            maintenance: shared.maintenance.clone(),
            sequencer: shared.sequencer.clone(),
        };
        let running = Self {
            shared,
            endpoint,
            readiness,
            sequencer,
            stop_sequencer,
            closing,
            _lock: lock,
        };
        Ok((running, started))
    }

    /// Serves until the broker is told to drain; then connections finish, then the log.
    async fn until_drained(self) {
        self.shared.draining.cancelled().await;
        self.readiness.set(State::Draining);
        self.shared.tasks.close();
        if timeout(DRAIN_MAX, self.shared.tasks.wait()).await.is_err() {
            tracing::warn!("connections did not finish in time; they are cut");
        }
        self.endpoint
            .close(3_u32.into(), b"the broker is shutting down");
        self.stop_sequencer.cancel();
        match self.sequencer.await {
            Ok(log) => log.shutdown(),
            Err(error) => tracing::error!(%error, "the sequencer failed"),
        }
        self.closing.cancel();
        // The last packets tell clients that the connection is closed.
        let _ = timeout(Duration::from_millis(200), self.endpoint.wait_idle()).await;
    }
}

/// Opens the log, replays it, and puts the shared state together; also the bindings that are not
/// ready yet.
async fn assemble(
    config: Config,
    options: &StartOptions,
    data_dir: &DataDir,
    auth: Authenticator,
    metrics: Arc<Metrics>,
    draining: CancellationToken,
    fatal: watch::Sender<Option<String>>,
) -> Result<(Arc<Shared>, Sequencer, Vec<BindingId>), StartError> {
    let tails = Arc::new(Tails::default());
    let sink = Commits {
        metrics: metrics.clone(),
        tails: tails.clone(),
        fatal,
    };
    let log_config = log_config(&config, options, data_dir);
    let replay = Replay::new(shard::Limits {
        dedup_bytes: config.limits.dedup_bytes.as_u64(),
    });
    let recovered = weir_log::recover(options.vfs.clone(), log_config, replay)?;
    let reader = recovered.reader();
    let (shard, producers) = recovered.machine().state(&reader);
    let report = recovered.report().clone();
    let log = Log::start(recovered, Box::new(sink))?;
    tracing::info!(node = %report.node, blocks = report.blocks, "log replayed");
    let host = Host::new(host_config(&config))?;
    let limits = Limits {
        cpu: config.plugins.cpu_time,
        wall: config.plugins.wall_time,
        memory: config.plugins.memory_bytes.as_usize(),
        output_min: config.plugins.output_bytes.as_usize(),
        log_lines_per_second: config.plugins.log_lines_per_second,
        ..Limits::default()
    };
    let plugins = PluginStore::new(options.vfs.clone(), data_dir, limits);
    let files = plugins.files().await;
    let catalog = shard.catalog();
    files
        .remove_unknown(|version| catalog.has_version(version))
        .await;
    drop(files);
    let topics = Topics::default();
    let late = bind_all(&shard, &topics, &plugins, &host).await;
    let (to_sequencer, commands) = mpsc::channel(sequence::QUEUE_MAX);
    let verdict_bytes = config.plugins.verdict_cache_bytes.as_usize();
    let budget = || Budget::new(config.limits.broker_buffer_bytes.as_usize());
    let shared = Arc::new(Shared {
        turns: Turns::default(),
        reads: Arc::new(Semaphore::new(READS_AT_ONCE)),
        verdicts: Verdicts::new(verdict_bytes, metrics.clone()),
        watch: Arc::default(),
        vfs: options.vfs.clone(),
        data_dir: absolute(data_dir.root()),
        node: report.node.value(),
        started: clock::now(),
        auth,
        metrics,
        host,
        plugins,
        shard: Arc::new(RwLock::new(shard)),
        topics: Arc::new(topics),
        producers: Arc::new(producers),
        reader,
        maintenance: log.maintenance(),
        request_bytes_max: log.entry_bytes_max() as u64,
        tails,
        budget: budget(),
        intake: budget(),
        unfolded: budget(),
        filtered: budget(),
        loaded: budget(),
        fetched: budget(),
        sequencer: to_sequencer,
        activity: Activity::new(Instant::now()),
        connections: AtomicUsize::new(0),
        subscriptions: AtomicUsize::new(0),
        last_subscription: AtomicU64::new(0),
        tests: options.tests.clone(),
        draining,
        held_back: RwLock::default(),
        damages: Damages::default(),
        tasks: TaskTracker::new(),
        config,
    });
    let sequencer = Sequencer::new(shared.clone(), log, commands);
    Ok((shared, sequencer, late))
}

fn log_config(config: &Config, options: &StartOptions, data_dir: &DataDir) -> LogConfig {
    let mut log = LogConfig::new(data_dir.log(), ShardId::new(0));
    log.term = shard::TERM;
    log.batch_keys = Some(Arc::new(WireKeys));
    log.wal_file_bytes = config.log.wal_file_bytes.as_u64();
    log.cache_bytes = config.log.cache_bytes.as_usize();
    log.wal_bytes = config.log.wal_bytes.as_u64();
    log.segment_own_bytes = config.log.segment_own_bytes.as_u64();
    log.segment_bytes = config.log.segment_bytes.as_u64();
    log.index_bytes = config.log.index_bytes.as_usize();
    log.compaction_bytes = config.log.compaction_bytes.as_usize();
    log.open_files = config.log.open_files;
    log.disk_reserve = DiskReserve {
        percent: config.log.reserve_percent,
        bytes: config.log.reserve_bytes.as_u64(),
    };
    #[cfg(debug_assertions)]
    {
        log.planted = options.planted;
    }
    let _ = options;
    log
}

fn host_config(config: &Config) -> HostConfig {
    let compiler = config
        .plugins
        .compiler
        .as_ref()
        .map(|program| CompilerCommand {
            program: program.clone(),
            arguments: vec![COMPILER_VERB.into()],
        });
    HostConfig {
        compiler,
        threads: config.plugins.threads,
        compile_cpu: config.plugins.compile_time,
        // A busy machine gives a compiler less than a core.
        compile_wall: (config.plugins.compile_time * 3).max(COMPILE_WALL_MIN),
        compile_memory: config.plugins.compile_memory_bytes.as_u64(),
        component_bytes_max: config.plugins.component_bytes.as_usize(),
        memory_total: config.plugins.total_memory_bytes.as_u64(),
        ..HostConfig::default()
    }
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
