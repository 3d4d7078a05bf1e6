//! Which segments are worth being rewritten, and what becomes of what lives in them.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use weir_wire::id::TopicPartition;

use crate::config::LogConfig;
use crate::ids::SegmentId;
use crate::index::Index;
use crate::manifest::SegmentRef;
use crate::page_buf::PAGE_BYTES;
use crate::segment::Run;

/// As many shared segments of about one size are merged.
const MERGE_MIN: usize = 8;
/// What a run takes in a footer, besides its sparse index.
const RUN_BYTES: u64 = 88;

/// Segments that go, and what is copied from them first.
#[derive(Debug)]
pub(in crate::archive) struct Plan {
    pub(super) dropped: Vec<SegmentId>,
    /// Partitions that get a segment of their own come first.
    pub(super) parts: VecDeque<Part>,
    /// What will be written, about.
    pub(in crate::archive) bytes: u64,
}

/// Runs of a partition that become one: nothing of it lies between them.
#[derive(Debug)]
pub(in crate::archive) struct Part {
    pub(super) partition: TopicPartition,
    pub(super) runs: VecDeque<Run>,
    /// It is large enough for a segment of its own.
    pub(super) own: bool,
}

/// A segment with something in it that lives.
struct Candidate<'a> {
    segment: SegmentRef,
    runs: &'a [Run],
    /// What a segment of only that would take.
    live_bytes: u64,
}

/// The next rewrite that is worth it, if there is one: a segment of which more than half is dead,
/// or several shared ones of one size.
pub(super) fn plan(
    segments: &[SegmentRef],
    spared: &BTreeSet<SegmentId>,
    index: &Index,
    config: &LogConfig,
) -> Option<Plan> {
    let live = index.live_runs();
    let candidates: Vec<Candidate<'_>> = segments
        .iter()
        .filter(|segment| !spared.contains(&segment.id))
        .filter_map(|segment| {
            let runs = live.get(&segment.id)?;
            Some(Candidate {
                segment: *segment,
                runs,
                live_bytes: live_bytes(runs, index),
            })
        })
        .collect();
    merge(&candidates, index, config).or_else(|| {
        let wasteful = |it: &&Candidate<'_>| it.live_bytes <= it.segment.bytes / 2;
        let candidate = candidates.iter().find(wasteful)?;
        Some(Plan::new(&[candidate.segment.id], &live, index, config))
    })
}

/// The oldest shared segments of one size, if merging them makes runs or files fewer by half:
/// else it would be done again and again.
fn merge(candidates: &[Candidate<'_>], index: &Index, config: &LogConfig) -> Option<Plan> {
    let mut tiers: BTreeMap<u32, Vec<&Candidate<'_>>> = BTreeMap::new();
    for candidate in candidates {
        let shared = candidate.runs.len() > 1 || candidate.live_bytes < config.segment_own_bytes;
        if shared {
            let pages = (candidate.segment.bytes / PAGE_BYTES as u64).max(1);
            tiers.entry(pages.ilog2() / 3).or_default().push(candidate);
        }
    }
    for tier in tiers.values_mut() {
        tier.sort_unstable_by_key(|candidate| candidate.segment.id);
        for group in tier.chunks_exact(MERGE_MIN) {
            let ids: Vec<SegmentId> = group.iter().map(|it| it.segment.id).collect();
            let runs = group.iter().map(|it| (it.segment.id, it.runs.to_vec()));
            let plan = Plan::new(&ids, &runs.collect(), index, config);
            let runs: usize = group.iter().map(|it| it.runs.len()).sum();
            if plan.parts.len() <= runs / 2 || plan.files(config) <= MERGE_MIN / 2 {
                return Some(plan);
            }
        }
    }
    None
}

/// What a segment of the living parts of these runs takes.
fn live_bytes(runs: &[Run], index: &Index) -> u64 {
    let frames: u64 = runs.iter().map(|run| live_part(run, index)).sum();
    let footer: u64 = runs
        .iter()
        .map(|run| RUN_BYTES + run.index_bytes() as u64)
        .sum();
    let page = PAGE_BYTES as u64;
    (page + frames + footer).next_multiple_of(page) + page
}

/// Bytes of a run's frames at its partition's start and above, about.
fn live_part(run: &Run, index: &Index) -> u64 {
    let start = index.bounds(run.partition).map_or(run.end, |it| it.start);
    let live = run.end.since(start.max(run.base).min(run.end));
    let part = u128::from(run.length) * u128::from(live) / u128::from(run.end.since(run.base));
    u64::try_from(part).unwrap_or(run.length)
}

impl Plan {
    /// Rewrites these segments, whose live runs are given.
    pub(in crate::archive) fn new(
        dropped: &[SegmentId],
        live: &HashMap<SegmentId, Vec<Run>>,
        index: &Index,
        config: &LogConfig,
    ) -> Self {
        let partitions: BTreeSet<TopicPartition> = dropped
            .iter()
            .filter_map(|id| live.get(id))
            .flatten()
            .map(|run| run.partition)
            .collect();
        let (mut own, mut shared) = (VecDeque::new(), VecDeque::new());
        let mut bytes = 0;
        for partition in partitions {
            let runs = index.runs(partition);
            for runs in
                runs.chunk_by(|a, b| dropped.contains(&a.segment) == dropped.contains(&b.segment))
            {
                if !runs
                    .first()
                    .is_some_and(|run| dropped.contains(&run.segment))
                {
                    continue;
                }
                let length: u64 = runs.iter().map(|run| live_part(run, index)).sum();
                bytes += length;
                let own_segment = length >= config.segment_own_bytes;
                let part = Part {
                    partition,
                    runs: runs.iter().copied().collect(),
                    own: own_segment,
                };
                if own_segment {
                    own.push_back(part);
                } else {
                    shared.push_back(part);
                }
            }
        }
        own.append(&mut shared);
        Self {
            dropped: dropped.to_vec(),
            parts: own,
            bytes,
        }
    }

    /// How many segments it makes, about.
    fn files(&self, config: &LogConfig) -> usize {
        let own = self.parts.iter().filter(|part| part.own).count();
        let shared = self.parts.iter().filter(|part| !part.own);
        let bytes: u64 = shared
            .flat_map(|part| &part.runs)
            .map(|run| run.length)
            .sum();
        own + usize::try_from(bytes.div_ceil(config.segment_bytes.max(1))).unwrap_or(usize::MAX)
    }
}
