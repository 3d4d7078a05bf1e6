//! What chains of pure filters said about stored batches, shared by all subscriptions: who reads a
//! batch again, or after somebody with the same filters, need not run them.
//!
//! A filter is a function of a record and its settings, so its verdict about a stored record holds
//! for ever. Compaction only takes records away: a stretch of which nothing is kept stays one. All
//! of this is memory that can be done without, and bounded; see
//! [ADR 5](../../../docs/adr/0005-verdicts-per-batch.md).

mod chain;
mod page;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound::{Excluded, Included};
use std::sync::Arc;

use parking_lot::Mutex;
use weir_wire::id::{Offset, PartitionId, PluginVersion, TopicId, TopicPartition};

use crate::metrics::Metrics;
pub(crate) use chain::{Chain, ChainId, Link};
pub(crate) use page::{BatchName, Skip, Verdict};
use page::{PAGE_OFFSETS, Page};

/// What keeping a page takes besides what is in it: its slot, and its name in two maps.
const PAGE_OVERHEAD: usize = 384;
/// Components and chains that are known as impure. Beyond that the one known longest is forgotten:
/// it may be caught again.
const IMPURE_MAX: usize = 4096;

/// The cache.
#[derive(Debug)]
pub(crate) struct Verdicts {
    state: Mutex<State>,
    bytes_max: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    pages: BTreeMap<PageName, Slot>,
    /// Pages by when they were used last.
    order: BTreeMap<u64, PageName>,
    clock: u64,
    bytes: usize,
    impure: HashSet<Impure>,
    /// The same, in the order in which they were caught.
    caught: VecDeque<Impure>,
}

/// In the order of offsets within a partition, so that what is trimmed stands together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PageName {
    at: TopicPartition,
    number: u64,
    chain: ChainId,
}

#[derive(Debug)]
struct Slot {
    page: Page,
    versions: Arc<[PluginVersion]>,
    weight: usize,
    used: u64,
}

/// What does not answer the same twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Impure {
    Version(PluginVersion),
    Chain(ChainId),
}

impl Verdicts {
    /// An empty cache of so many bytes at most; 0 turns it off.
    pub(crate) fn new(bytes_max: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            state: Mutex::default(),
            bytes_max,
            metrics,
        }
    }

    /// What the chain said about that batch.
    pub(crate) fn get(
        &self,
        chain: &Chain,
        at: TopicPartition,
        batch: &BatchName,
    ) -> Option<Verdict> {
        let name = PageName::of(at, batch.base, chain);
        let mut state = self.state.lock();
        let verdict = state.pages.get(&name)?.page.get(batch)?;
        state.touch(&name);
        Some(verdict)
    }

    /// Where the stretch ends that lies at that offset and of which the chain keeps nothing.
    pub(crate) fn skip(&self, chain: &Chain, at: TopicPartition, from: Offset) -> Option<Skip> {
        let name = PageName::of(at, from, chain);
        let mut state = self.state.lock();
        let skip = state.pages.get(&name)?.page.skip(from)?;
        state.touch(&name);
        Some(skip)
    }

    /// Remembers what the chain said about a batch that was the first at `from` or above.
    pub(crate) fn put(
        &self,
        chain: &Chain,
        at: TopicPartition,
        from: Offset,
        batch: &BatchName,
        verdict: &Verdict,
    ) {
        if self.bytes_max == 0 {
            return;
        }
        let name = PageName::of(at, batch.base, chain);
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.is_impure(chain) {
            return;
        }
        let from = from.max(Offset::new(name.number * PAGE_OFFSETS));
        let versions = &chain.versions;
        let slot = state.pages.entry(name).or_insert_with(|| Slot {
            page: Page::default(),
            versions: versions.clone(),
            weight: 0,
            used: 0,
        });
        slot.page.put(from, batch, verdict);
        let before = slot.weight;
        slot.weight = PAGE_OVERHEAD + size_of_val(&*slot.versions) + slot.page.weight();
        state.bytes = state.bytes + slot.weight - before;
        state.touch(&name);
        state.shrink(self.bytes_max);
        self.shows(state);
    }

    /// The component was caught as impure: what it said is worth nothing.
    pub(crate) fn impure_plugin(&self, version: PluginVersion) {
        let mut state = self.state.lock();
        if state.distrust(Impure::Version(version)) {
            state.retain(|_, slot| !slot.versions.contains(&version));
            self.shows(&state);
        }
    }

    /// The chain said something else when it was asked again; which part of it, is not known.
    pub(crate) fn impure_chain(&self, chain: &Chain) {
        if let [version] = &*chain.versions {
            return self.impure_plugin(*version);
        }
        let mut state = self.state.lock();
        if state.distrust(Impure::Chain(chain.id)) {
            state.retain(|name, _| name.chain != chain.id);
            self.shows(&state);
        }
    }

    /// The partition begins there now.
    pub(crate) fn trim(&self, at: TopicPartition, start: Offset) {
        let end = PageName {
            at,
            number: start.value() / PAGE_OFFSETS,
            chain: ChainId::FIRST,
        };
        self.remove(PageName::first_of(at), end);
    }

    /// The topic is gone.
    pub(crate) fn forget_topic(&self, topic: TopicId) {
        let at = |topic| TopicPartition {
            topic,
            partition: PartitionId::new(0),
        };
        let begin = PageName::first_of(at(topic));
        self.remove(begin, PageName::first_of(at(topic.next())));
    }

    fn remove(&self, begin: PageName, end: PageName) {
        let mut state = self.state.lock();
        if state.pages.is_empty() || begin >= end {
            return;
        }
        let range = state.pages.range((Included(begin), Excluded(end)));
        let gone: Vec<PageName> = range.map(|(name, _)| *name).collect();
        gone.iter().for_each(|name| state.remove(name));
        self.shows(&state);
    }

    fn shows(&self, state: &State) {
        self.metrics.verdict_bytes.set(state.bytes as i64);
    }
}

impl PageName {
    fn of(at: TopicPartition, offset: Offset, chain: &Chain) -> Self {
        Self {
            at,
            number: offset.value() / PAGE_OFFSETS,
            chain: chain.id,
        }
    }

    /// Before every page of the partition.
    const fn first_of(at: TopicPartition) -> Self {
        Self {
            at,
            number: 0,
            chain: ChainId::FIRST,
        }
    }
}

impl State {
    fn is_impure(&self, chain: &Chain) -> bool {
        let version = |version: &PluginVersion| Impure::Version(*version);
        self.impure.contains(&Impure::Chain(chain.id))
            || chain
                .versions
                .iter()
                .any(|it| self.impure.contains(&version(it)))
    }

    /// Whether that is news.
    fn distrust(&mut self, impure: Impure) -> bool {
        if !self.impure.insert(impure) {
            return false;
        }
        if self.caught.len() == IMPURE_MAX
            && let Some(oldest) = self.caught.pop_front()
        {
            self.impure.remove(&oldest);
        }
        self.caught.push_back(impure);
        true
    }

    fn touch(&mut self, name: &PageName) {
        let Some(slot) = self.pages.get_mut(name) else {
            return;
        };
        if slot.used == self.clock && self.clock > 0 {
            return;
        }
        self.clock += 1;
        self.order.remove(&slot.used);
        slot.used = self.clock;
        self.order.insert(self.clock, *name);
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.remove(&oldest);
        }
    }

    fn retain(&mut self, keep: impl Fn(&PageName, &Slot) -> bool) {
        let gone = self.pages.iter().filter(|(name, slot)| !keep(name, slot));
        let gone: Vec<PageName> = gone.map(|(name, _)| *name).collect();
        gone.iter().for_each(|name| self.remove(name));
    }

    fn remove(&mut self, name: &PageName) {
        if let Some(slot) = self.pages.remove(name) {
            self.order.remove(&slot.used);
            self.bytes -= slot.weight;
        }
    }
}

#[cfg(test)]
mod tests;
