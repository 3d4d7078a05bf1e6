//! The filters and projections of a subscription. What filters said before is looked up first
//! (`verdicts.rs`); how batches go through them together is in `filters/round.rs`.

mod kept;
mod pieces;
mod round;
mod view;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio_util::task::AbortOnDropHandle;
use weir_host::{Bound, CallError};
use weir_log::StoredBatch;
use weir_wire::batch::BatchHeader;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{Offset, SubscriptionId, TopicId, TopicPartition};
use weir_wire::limits::CONFIG_ENTRIES_MAX;
use weir_wire::name::PluginName;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::BindingLimits;
use weir_wire::subscribe::{FilterSpec, Subscribe};

use super::dead_letters::{DeadLetters, Letter};
use super::verdicts::{BatchName, Chain, Link, Skip, Verdict, Verdicts};
use super::watch::{Guest, Place, Read, Watch, Watched, Watching, noun};
use crate::budget::{Permit, Share};
use crate::fault::IntoFault;
use crate::metrics::Metrics;
use crate::state::Shared;

pub(super) use kept::Kept;

/// Of what is remembered, the first of a subscription and one in so many is asked for again.
const CHECK_EVERY: u64 = 256;
/// How soon a plugin is called again that may have answers then, because there was no memory for
/// it. If it has to rest, it says how long.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The filters of a subscription, in order, of which a record must pass all, and the projections
/// that it is shown through then.
#[derive(Debug)]
pub(super) struct Filters {
    filters: Vec<Step>,
    projections: Vec<Step>,
    letters: DeadLetters,
    /// The subscription's share of what may be unfolded for filters at one time.
    unfolded: Share,
    /// The filters as what they say is remembered of.
    chain: Chain,
    /// How often something was remembered.
    hits: AtomicU64,
}

/// A filter or projection.
#[derive(Debug)]
struct Step {
    plugin: PluginName,
    on_error: ErrorPolicy,
    bound: Bound,
}

/// A batch that is asked for, by who has looked up to `from`.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) batch: StoredBatch,
    pub(super) from: Offset,
}

/// A batch before its filters run, and what is known of it.
#[derive(Debug)]
struct Item {
    stored: StoredBatch,
    header: BatchHeader,
    from: Offset,
    verdict: Option<Verdict>,
    /// Whether the filters are to be asked although the verdict is known.
    check: bool,
}

/// What became of batches, in their order, up to what ends the subscription.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) kept: Vec<Kept>,
    pub(super) fault: Option<Fault>,
    /// The right to hold what was made of them, where that is much.
    pub(super) held: Option<Permit>,
    /// Whether more was made of them than may wait to be sent. Then those behind are to be asked
    /// for again, alone.
    pub(super) too_much: bool,
    /// Bytes of what was made of them.
    made: usize,
}

/// Batches on their way through the filters.
#[derive(Debug)]
pub(super) enum Judging {
    /// Nobody had to be asked.
    Done(Judged),
    /// Plugins are at it. What they hold they give back also while the lane waits for credit,
    /// which is why it is a task of its own.
    UnderWay(AbortOnDropHandle<Judged>),
}

impl Judging {
    /// Whether plugins are at it.
    pub(super) const fn is_under_way(&self) -> bool {
        matches!(self, Self::UnderWay(_))
    }

    /// Waits until they are through.
    pub(super) async fn end(self) -> Judged {
        let task = match self {
            Self::Done(judged) => return judged,
            Self::UnderWay(task) => task,
        };
        task.await.unwrap_or_else(|error| Judged {
            fault: Some(Fault::new(ErrorCode::Internal, error.to_string())),
            ..Judged::default()
        })
    }
}

impl Filters {
    /// Makes filters and projections ready, and the topics that their dead letters go to.
    pub(super) async fn bind(shared: &Shared, request: &Subscribe) -> Result<Self, Fault> {
        let filters = bind_all(shared, Hook::Filter, &request.filters).await?;
        let projections = bind_all(shared, Hook::Project, &request.projections).await?;
        let dead_letters = |step: &Step| step.on_error == ErrorPolicy::DeadLetter;
        let letters = match filters.iter().chain(&projections).any(dead_letters) {
            true => DeadLetters::prepare(shared, &request.topics).await?,
            false => DeadLetters::default(),
        };
        let identities: Vec<_> = filters.iter().map(|step| step.bound.identity()).collect();
        let links = filters.iter().zip(&identities);
        let chain = Chain::new(links.map(|(step, identity)| Link {
            version: identity.version(),
            hook: identity.hook(),
            config: identity.config(),
            on_error: step.on_error,
        }));
        let filters = Self {
            filters,
            projections,
            letters,
            unfolded: Share::of(&shared.filtered),
            chain,
            hits: AtomicU64::new(0),
        };
        filters.check_purity(&shared.verdicts);
        Ok(filters)
    }

    /// Lets others see how they do for the subscription, for as long as what it answers lives.
    pub(super) fn watch(
        &self,
        watch: &Arc<Watch>,
        subscription: SubscriptionId,
        request: &Subscribe,
    ) -> Vec<Watching> {
        let topic = request.topics.first();
        let read = Read {
            topic: topic.expect("one without topics was refused").clone(),
            topics: u32::try_from(request.topics.len()).unwrap_or(u32::MAX),
        };
        let steps = self.filters.iter().chain(&self.projections);
        let specs = request.filters.iter().chain(&request.projections);
        let watched = steps
            .zip(specs)
            .zip(0..)
            .map(|((step, spec), position)| Watched {
                guest: Guest {
                    place: Place {
                        subscription,
                        position,
                    },
                    plugin: step.plugin.clone(),
                    version: step.bound.version(),
                    hook: step.bound.hook(),
                    read: read.clone(),
                },
                on_error: step.on_error,
                limits: spec.limits.clone(),
                bound: step.bound.clone(),
            });
        watched.map(|watched| watch.begin(watched)).collect()
    }

    /// Keeps the records of a batch on which plugins failed; returns once they are durable.
    pub(super) async fn store_letters(
        &self,
        shared: &Shared,
        topic: TopicId,
        letters: &[Letter],
    ) -> Result<(), Fault> {
        self.letters.store(shared, topic, letters).await
    }

    /// What is remembered of a plugin that was caught as impure meanwhile goes.
    fn check_purity(&self, verdicts: &Verdicts) {
        for step in self.filters.iter().filter(|step| !step.bound.is_pure()) {
            verdicts.impure_plugin(step.bound.version());
        }
    }

    /// Where the stretch ends that begins at that offset, if it is known that nothing of it is
    /// kept; not where it is time to check that. Whoever goes there says so by [`Self::skipped`].
    pub(super) fn skip(&self, shared: &Shared, at: TopicPartition, from: Offset) -> Option<Skip> {
        if self.filters.is_empty() || self.is_time_to_check(self.hits.load(Ordering::Relaxed)) {
            return None;
        }
        shared.verdicts.skip(&self.chain, at, from)
    }

    /// A stretch was skipped.
    pub(super) fn skipped(&self, shared: &Shared, skip: Skip) {
        self.hits.fetch_add(1, Ordering::Relaxed);
        shared.metrics.verdict_hits.inc_by(skip.records);
    }

    /// Sends batches on their way through the filters: `alone` if no others of the lane are on it
    /// or wait to be sent.
    pub(super) fn begin(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        at: TopicPartition,
        wanted: Vec<Wanted>,
        alone: bool,
    ) -> Judging {
        let (items, unreadable) = self.recall(&shared.verdicts, &shared.metrics, at, wanted);
        if let Some(kept) = items.iter().map(|item| self.at_once(item)).collect() {
            return Judging::Done(Judged {
                kept,
                fault: unreadable,
                ..Judged::default()
            });
        }
        let (filters, shared) = (self.clone(), shared.clone());
        let task = async move {
            let judged = filters.judge(&shared.verdicts, at, items, alone).await;
            // What is not reached is not what ends it.
            let unreadable = unreadable.filter(|_| !judged.too_much);
            Judged {
                fault: judged.fault.or(unreadable),
                ..judged
            }
        };
        Judging::UnderWay(AbortOnDropHandle::new(tokio::spawn(task)))
    }

    /// What is known of batches, up to the first one that cannot be read; and what is wrong with
    /// that one. What is sound goes out before the subscription ends with it.
    fn recall(
        &self,
        verdicts: &Verdicts,
        metrics: &Metrics,
        at: TopicPartition,
        wanted: Vec<Wanted>,
    ) -> (Vec<Item>, Option<Fault>) {
        let mut items = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            match self.recall_one(verdicts, metrics, at, wanted) {
                Ok(item) => items.push(item),
                Err(fault) => return (items, Some(fault)),
            }
        }
        (items, None)
    }

    fn recall_one(
        &self,
        verdicts: &Verdicts,
        metrics: &Metrics,
        at: TopicPartition,
        wanted: Wanted,
    ) -> Result<Item, Fault> {
        let Wanted { batch, from } = wanted;
        let header = BatchHeader::parse(&batch.bytes).map_err(damaged)?;
        let mut item = Item {
            stored: batch,
            header,
            from,
            verdict: None,
            check: false,
        };
        if self.filters.is_empty() {
            item.verdict = Some(Verdict::All);
            return Ok(item);
        }
        item.verdict = verdicts.get(&self.chain, at, &item.name());
        if item.verdict.is_some() {
            item.check = self.is_time_to_check(self.hits.fetch_add(1, Ordering::Relaxed));
        }
        let counter = match item.is_open() {
            true => &metrics.verdict_misses,
            false => &metrics.verdict_hits,
        };
        counter.inc_by(u64::from(header.count));
        Ok(item)
    }

    /// What is left of a batch, if that is known without a look at its records.
    fn at_once(&self, item: &Item) -> Option<Kept> {
        if item.is_open() || item.skip() > 0 {
            return None;
        }
        let count = item.header.count;
        match item.verdict {
            Some(Verdict::Nothing) => Some(Kept::nothing(&item.stored, count.into())),
            Some(Verdict::All) if self.projections.is_empty() => {
                Some(Kept::whole(&item.stored, count))
            }
            _ => None,
        }
    }

    const fn is_time_to_check(&self, hits: u64) -> bool {
        hits.is_multiple_of(CHECK_EVERY)
    }
}

impl Item {
    fn name(&self) -> BatchName {
        BatchName {
            base: self.stored.base_offset,
            end: self.stored.end(),
            crc: self.stored.crc,
            count: self.header.count,
        }
    }

    /// Records below this offset delta are none of the subscriber's business.
    fn skip(&self) -> u32 {
        u32::try_from(self.from.since(self.stored.base_offset)).unwrap_or(u32::MAX)
    }

    /// Whether the filters have to be asked.
    const fn is_open(&self) -> bool {
        self.verdict.is_none() || self.check
    }
}

impl Step {
    fn failed(&self, text: &str) -> Fault {
        let text = format!("{} \"{}\": {text}", noun(self.bound.hook()), self.plugin);
        Fault::new(ErrorCode::PluginFailed, text)
    }

    /// Why there are no answers. Where others are the reason, or an earlier batch, it is only that
    /// there are none now. What it was too slow for, it was asked about in small pieces already.
    fn unanswered(&self, error: &CallError) -> Fault {
        let retry_after = match error {
            CallError::Quarantined { retry_after, .. } => *retry_after,
            CallError::TooSlow { .. } | CallError::TooManyParts { .. } => {
                return self.failed(&error.to_string());
            }
            error if error.is_retryable() => AGAIN_AFTER,
            _ => return self.failed(&error.to_string()),
        };
        Fault {
            code: ErrorCode::Overloaded,
            retry_after: Some(retry_after),
            ..self.failed(&error.to_string())
        }
    }
}

/// Makes plugins ready for a hook.
async fn bind_all(shared: &Shared, hook: Hook, specs: &[FilterSpec]) -> Result<Vec<Step>, Fault> {
    let mut steps = Vec::with_capacity(specs.len());
    for spec in specs {
        let on_error = spec.on_error.unwrap_or(ErrorPolicy::Fail);
        if spec.config.len() > CONFIG_ENTRIES_MAX || !hook.policies().contains(&on_error) {
            let text = format!(
                "{} \"{}\": it has at most {CONFIG_ENTRIES_MAX} settings, and its error policy is \
                 fail, skip, drop or dead-letter",
                noun(hook),
                spec.plugin
            );
            return Err(Fault::new(ErrorCode::InvalidArgument, text));
        }
        let version = {
            let shard = shared.shard.read();
            let pushed = shard.resolve_version(&spec.plugin, spec.version.as_deref());
            pushed.map_err(IntoFault::into_fault)?.version
        };
        let limits = spec.limits.as_ref();
        if let Some(Err(error)) = limits.map(BindingLimits::check) {
            let text = format!("{} \"{}\": {error}", noun(hook), spec.plugin);
            return Err(Fault::new(ErrorCode::InvalidArgument, text));
        }
        let (plugins, host) = (&shared.plugins, &shared.host);
        let bound = async {
            let plugin = plugins.load(host, version, Instant::now()).await?;
            plugins
                .bind(host, &plugin, hook, &spec.config, &[], limits)
                .await
        };
        let bound = bound.await;
        let bound = bound.map_err(|fault| named(hook, &spec.plugin, &fault))?;
        steps.push(Step {
            plugin: spec.plugin.clone(),
            on_error,
            bound,
        });
    }
    Ok(steps)
}

/// The error for a plugin that a subscription names and that cannot be.
fn named(hook: Hook, plugin: &PluginName, fault: &Fault) -> Fault {
    let text = format!("{} \"{plugin}\": {}", noun(hook), fault.message);
    let code = match fault.code {
        ErrorCode::Internal => ErrorCode::PluginFailed,
        code => code,
    };
    Fault::new(code, text)
}

fn damaged(error: impl std::fmt::Display) -> Fault {
    Fault::new(
        ErrorCode::CorruptLog,
        format!("a stored batch cannot be read: {error}"),
    )
}

#[cfg(test)]
mod tests;
