//! The filters of a subscription. What they said before is looked up first (`verdicts.rs`); how
//! batches go through them together is in `filters/round.rs`.

mod kept;
mod round;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio_util::task::AbortOnDropHandle;
use weir_host::Bound;
use weir_log::StoredBatch;
use weir_wire::batch::BatchHeader;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{Offset, TopicPartition};
use weir_wire::limits::CONFIG_ENTRIES_MAX;
use weir_wire::name::PluginName;
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::subscribe::FilterSpec;

use super::verdicts::{BatchName, Chain, Link, Skip, Verdict, canonical};
use crate::fault::IntoFault;
use crate::requests::filter_fault;
use crate::state::Shared;

pub(super) use kept::Kept;

/// Of what is remembered, the first of a subscription and one in so many is asked for again.
const CHECK_EVERY: u64 = 256;

/// The filters of a subscription, in order; a record must pass all.
#[derive(Debug)]
pub(super) struct Filters {
    filters: Vec<Filter>,
    chain: Chain,
    /// How often something was remembered.
    hits: AtomicU64,
}

#[derive(Debug)]
struct Filter {
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
    /// Makes the filters ready.
    pub(super) async fn bind(shared: &Shared, specs: &[FilterSpec]) -> Result<Self, Fault> {
        let mut filters = Vec::with_capacity(specs.len());
        let mut configs = Vec::with_capacity(specs.len());
        for spec in specs {
            let version = {
                let shard = shared.shard.read();
                let pushed = shard.resolve_version(&spec.plugin, spec.version.as_deref());
                pushed.map_err(IntoFault::into_fault)?.version
            };
            let on_error = policy(spec)?;
            let config = canonical(&spec.config);
            let bound = shared
                .plugins
                .bind(&shared.host, version, Hook::Filter, &config, &[], None)
                .await
                .map_err(|fault| filter_fault(&spec.plugin, &fault))?;
            filters.push(Filter {
                plugin: spec.plugin.clone(),
                on_error,
                bound,
            });
            configs.push(config);
        }
        let links = filters.iter().zip(&configs).map(|(filter, config)| Link {
            version: filter.bound.plugin().version(),
            hook: Hook::Filter,
            config,
            on_error: filter.on_error,
        });
        Ok(Self {
            chain: Chain::new(links),
            filters,
            hits: AtomicU64::new(0),
        })
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

    /// Sends batches on their way through the filters.
    pub(super) fn begin(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        at: TopicPartition,
        wanted: Vec<Wanted>,
    ) -> Judging {
        let mut items = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            match self.recall(shared, at, wanted) {
                Ok(item) => items.push(item),
                Err(fault) if items.is_empty() => {
                    return Judging::Done(Judged {
                        kept: Vec::new(),
                        fault: Some(fault),
                    });
                }
                // What is sound goes out first; the next read comes upon this one again.
                Err(_) => break,
            }
        }
        if let Some(kept) = items.iter().map(Item::at_once).collect() {
            return Judging::Done(Judged { kept, fault: None });
        }
        let (filters, shared) = (self.clone(), shared.clone());
        let task = async move {
            let (unfolded, verdicts) = (&shared.unfolded, &shared.verdicts);
            filters.judge(unfolded, verdicts, at, items).await
        };
        Judging::UnderWay(AbortOnDropHandle::new(tokio::spawn(task)))
    }

    /// What is known of a batch.
    fn recall(&self, shared: &Shared, at: TopicPartition, wanted: Wanted) -> Result<Item, Fault> {
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
        item.verdict = shared.verdicts.get(&self.chain, at, &item.name());
        if item.verdict.is_some() {
            item.check = self.is_time_to_check(self.hits.fetch_add(1, Ordering::Relaxed));
        }
        let metrics = &shared.metrics;
        let counter = match item.is_open() {
            true => &metrics.verdict_misses,
            false => &metrics.verdict_hits,
        };
        counter.inc_by(u64::from(header.count));
        Ok(item)
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

    /// What is left of the batch, if that is known without a look at its records.
    fn at_once(&self) -> Option<Kept> {
        if self.is_open() || self.skip() > 0 {
            return None;
        }
        match self.verdict {
            Some(Verdict::All) => Some(Kept::whole(&self.stored, self.header.count)),
            Some(Verdict::Nothing) => Some(Kept::nothing(&self.stored, self.header.count.into())),
            _ => None,
        }
    }
}

fn policy(spec: &FilterSpec) -> Result<ErrorPolicy, Fault> {
    let on_error = spec.on_error.unwrap_or(ErrorPolicy::Fail);
    let allowed = [ErrorPolicy::Fail, ErrorPolicy::Skip, ErrorPolicy::Drop];
    if spec.config.len() > CONFIG_ENTRIES_MAX || !allowed.contains(&on_error) {
        let text = format!(
            "filter \"{}\": the error policy is fail, skip or drop, and there are at most \
             {CONFIG_ENTRIES_MAX} settings",
            spec.plugin
        );
        return Err(Fault::new(ErrorCode::InvalidArgument, text));
    }
    Ok(on_error)
}

fn damaged(error: impl std::fmt::Display) -> Fault {
    Fault::new(
        ErrorCode::CorruptLog,
        format!("a stored batch cannot be read: {error}"),
    )
}

#[cfg(test)]
mod tests;
