//! From the log back to the broker's state.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use weir_core::change;
use weir_core::dedup::ProducerState;
use weir_core::machine::{Machine, MachineError};
use weir_core::shard::{Limits, Session, Shard, Turn};
use weir_host::{Bound, Host};
use weir_log::{LogReader, RecoveredEntry, RecoveredOp, StateMachine};
use weir_wire::id::BindingId;
use weir_wire::name::TopicName;

use crate::plugins::PluginStore;
use crate::producers::{Producer, Producers};
use crate::state::Shared;
use crate::topics::{Topics, Unready};

/// How soon after all that can be made ready was, the rest is tried again; later the longer it
/// takes: compiling what always takes too long must not keep a processor busy for ever.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(300);

/// Takes in the entries of the log, in their order: at first all that are there, then, as the
/// log's own copy, each that becomes durable, for the next checkpoint.
#[derive(Debug)]
pub(crate) struct Replay(Machine);

/// A part of the log that this broker cannot read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// An entry.
    #[error("entry {index} of the log: {source}")]
    Entry {
        /// Its index.
        index: u64,
        /// Why.
        source: MachineError,
    },
    /// A section of a checkpoint.
    #[error("the state \"{section}\" in the log's checkpoint: {source}")]
    Section {
        /// Its name.
        section: String,
        /// Why.
        source: MachineError,
    },
    /// An operation.
    #[error(
        "entry {0} of the log holds an operation that this weir does not know; use the one that \
         wrote it, or a newer one"
    )]
    UnknownOperation(u64),
}

impl StateMachine for Replay {
    type Error = ReplayError;

    fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), ReplayError> {
        let restored = self.0.restore(section, bytes);
        restored.map_err(|source| ReplayError::Section {
            section: section.to_owned(),
            source,
        })
    }

    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), ReplayError> {
        let index = entry.index.value();
        for op in &entry.ops {
            match op {
                // What partitions hold, the log knows itself.
                RecoveredOp::Append { .. } | RecoveredOp::Trim { .. } => {}
                RecoveredOp::ProducerSequence {
                    producer,
                    epoch,
                    sequence,
                    outcome,
                } => {
                    let session = Session {
                        producer: *producer,
                        epoch: *epoch,
                    };
                    let turn = Turn {
                        session,
                        sequence: *sequence,
                    };
                    self.0.outcome(turn, outcome.clone());
                }
                RecoveredOp::Metadata(bytes) => {
                    let taken = self.0.metadata(bytes);
                    taken.map_err(|source| ReplayError::Entry { index, source })?;
                }
                _ => return Err(ReplayError::UnknownOperation(index)),
            }
        }
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        self.0.changed_sections()
    }
}

impl Replay {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Machine::new(limits))
    }

    /// What the broker works with from here on: the shard, with what the log says of its
    /// partitions, and the producers' sessions. Topics that are gone leave the log.
    pub(super) fn state(&self, reader: &LogReader) -> (Shard, Producers) {
        let mut shard = self.0.shard().clone();
        reader.retain(|topic| shard.catalog().topic(topic).is_some());
        for (partition, bounds) in reader.partitions() {
            shard.restore_partition(partition, bounds.high_water_mark, bounds.last_time);
        }
        let producers = Producers::default();
        for (session, topic, state) in self.0.sessions() {
            let (oldest, outcomes) = state.outcomes();
            let state = ProducerState::restored(oldest, outcomes.cloned());
            producers.insert(Producer::with_state(session, topic, state));
        }
        (shard, producers)
    }
}

/// Makes every binding ready again whose component is compiled; answers the others, and those for
/// which there is no room at the moment: their topics' producers have to wait. One that cannot run
/// stays bound and says why: its topic's records are refused, not stored unrouted.
pub(super) async fn bind_all(
    shard: &Shard,
    topics: &Topics,
    plugins: &PluginStore,
    host: &Host,
) -> Vec<BindingId> {
    let (mut late, mut stale) = (Vec::new(), HashSet::new());
    for (topic, bound) in shard.catalog().bindings() {
        let version = bound.version;
        // As long as somebody has it, it is not loaded again.
        let plugin = if stale.contains(&version) {
            None
        } else {
            plugins.compiled(host, version).await
        };
        let ready = if plugin.is_some() {
            ready(plugins, host, &topic.name, bound, Instant::now()).await
        } else {
            stale.insert(version);
            Err(Unready::Compiling)
        };
        if ready.as_ref().is_err_and(Unready::passes) {
            late.push(bound.id);
        }
        topics.ready(bound.id, ready);
    }
    for topic in shard.catalog().topics() {
        topics.refresh(shard.catalog(), topic.id);
    }
    late
}

/// Makes those bindings ready whose components have to be compiled, while the broker serves. What
/// passes by itself (a busy machine, no memory for the moment) is tried until it has.
pub(super) async fn bind_late(shared: Arc<Shared>, late: Vec<BindingId>) {
    let bind = |id, round| bind_one(&shared, id, round);
    until_bound(&shared.draining, late, bind).await;
}

/// Tries those again for which `bind` says so; it is told when the round began.
async fn until_bound<F: Future<Output = bool>>(
    draining: &CancellationToken,
    mut late: Vec<BindingId>,
    mut bind: impl FnMut(BindingId, Instant) -> F,
) {
    let mut pause = AGAIN_AFTER;
    while !late.is_empty() {
        let mut again = Vec::new();
        // Several of them may have a component that cannot be compiled: once a round is enough.
        let round = Instant::now();
        for id in late {
            let passes = tokio::select! {
                () = draining.cancelled() => return,
                passes = bind(id, round) => passes,
            };
            if passes {
                again.push(id);
            }
        }
        late = again;
        if !late.is_empty() {
            tokio::select! {
                () = draining.cancelled() => return,
                () = sleep(pause) => pause = (2 * pause).min(AGAIN_AFTER_MAX),
            }
        }
    }
}

/// Makes one of them ready; whether it is to be tried again.
async fn bind_one(shared: &Shared, id: BindingId, since: Instant) -> bool {
    let found = {
        let shard = shared.shard.read();
        let mut bindings = shard.catalog().bindings();
        let found = bindings.find(|(_, bound)| bound.id == id);
        found.map(|(topic, bound)| (topic.id, topic.name.clone(), bound.clone()))
    };
    // It may have been unbound or replaced meanwhile.
    let Some((topic, name, bound)) = found else {
        return false;
    };
    let ready = ready(&shared.plugins, &shared.host, &name, &bound, since).await;
    let shard = shared.shard.read();
    if !shard.catalog().bindings().any(|(_, bound)| bound.id == id) {
        return false;
    }
    let passes = ready.as_ref().is_err_and(Unready::passes);
    shared.topics.ready(id, ready);
    shared.topics.refresh(shard.catalog(), topic);
    passes
}

/// Compiles again what is found damaged while bindings run.
pub(super) async fn mend(shared: Arc<Shared>) {
    let mended = shared.plugins.mend(&shared.host);
    let _ = shared.draining.run_until_cancelled(mended).await;
}

async fn ready(
    plugins: &PluginStore,
    host: &Host,
    topic: &TopicName,
    bound: &change::Bound,
    since: Instant,
) -> Result<Bound, Unready> {
    let routes: Vec<String> = bound
        .routes
        .iter()
        .map(|route| route.value.clone())
        .collect();
    let ready = async {
        let plugin = plugins.load(host, bound.version, since).await?;
        let (hook, limits) = (bound.hook, bound.limits.as_ref());
        plugins
            .bind(host, &plugin, hook, &bound.config, &routes, limits)
            .await
    };
    ready.await.map_err(|fault| {
        let unready = Unready::from(fault);
        match &unready {
            Unready::Broken(_) => {
                tracing::error!(binding = %bound.id, %topic, "binding cannot run: {unready}");
            }
            _ => tracing::warn!(binding = %bound.id, %topic, "binding cannot run yet: {unready}"),
        }
        unready
    })
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::time::Duration;

    use tokio::time::{Instant, timeout};
    use tokio_util::sync::CancellationToken;
    use weir_wire::id::BindingId;

    use super::until_bound;

    /// The clock jumps whenever nobody has anything to do.
    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_by_those_alone_that_it_keeps() {
        let (draining, begun) = (CancellationToken::new(), Instant::now());
        let mut tried = Vec::new();
        let bind = |id: BindingId, _| {
            let number = id.value();
            tried.push((begun.elapsed().as_secs(), number));
            // One is there at once, the others when it is their third and their ninth time.
            let times = tried.iter().filter(|(_, other)| *other == number).count();
            ready(times < [1, 3, 9][number as usize])
        };
        until_bound(&draining, [0, 1, 2].map(BindingId::new).to_vec(), bind).await;
        let of = |wanted: u64| {
            let tried = tried.iter().filter(|(_, number)| *number == wanted);
            tried.map(|(seconds, _)| *seconds).collect::<Vec<_>>()
        };
        assert_eq!((of(0), of(1)), (vec![0], vec![0, 5, 15]));
        // Less and less often, but at least every five minutes.
        assert_eq!(of(2), [0, 5, 15, 35, 75, 155, 315, 615, 915]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_that_ends_waits_for_none() {
        let draining = CancellationToken::new();
        let late = vec![BindingId::new(1)];
        let forever = until_bound(&draining, late.clone(), |_, _| ready(true));
        let hour = timeout(Duration::from_secs(3600), forever).await;
        assert!(hour.is_err(), "it is tried as long as the broker serves");
        draining.cancel();
        until_bound(&draining, late, |_, _| ready(true)).await;
    }
}
