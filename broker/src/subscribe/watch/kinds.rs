//! What plugins of subscriptions did, summed up by what an operator knows of them: so there are few
//! sums however many subscriptions come and go, and none of them goes down when one has gone.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use weir_host::BindingStats;
use weir_wire::id::PluginVersion;
use weir_wire::name::PluginName;
use weir_wire::plugin::Hook;

use super::{Guest, Read};

/// Kinds of which some are gone. Beyond that the one is forgotten that has had none at work for
/// longest: who watches sees it begin anew.
const GONE_MAX: usize = 1000;

/// What subscriptions have in common whose plugins are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Kind {
    pub(crate) plugin: PluginName,
    pub(crate) version: PluginVersion,
    pub(crate) hook: Hook,
    pub(crate) read: Read,
}

/// What all of a kind have done together.
#[derive(Debug)]
pub(crate) struct KindSum {
    pub(crate) kind: Kind,
    /// How many are at work.
    pub(crate) at_work: u64,
    /// How many of these rest.
    pub(crate) resting: u64,
    /// How many of these gave two answers to one question.
    pub(crate) impure: u64,
    /// What they counted, those that are gone with them; and the most memory of one at work.
    pub(crate) stats: BindingStats,
}

/// What those did that are gone.
#[derive(Debug, Default)]
pub(super) struct Gone {
    /// How many have gone so far.
    count: u64,
    sums: HashMap<Kind, Sum>,
}

#[derive(Debug, Default)]
struct Sum {
    /// The number of the last one that has gone.
    last: u64,
    stats: BindingStats,
}

impl Kind {
    pub(super) fn of(guest: &Guest) -> Self {
        Self {
            plugin: guest.plugin.clone(),
            version: guest.version,
            hook: guest.hook,
            read: guest.read.clone(),
        }
    }
}

impl Gone {
    /// One more is gone. Kinds of which some are at work are the last to be forgotten.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        stats: &BindingStats,
        at_work: impl Iterator<Item = Kind>,
    ) {
        if self.sums.len() == GONE_MAX && !self.sums.contains_key(&kind) {
            let (sums, at_work) = (self.sums.iter(), at_work.collect::<HashSet<_>>());
            let idle = sums.min_by_key(|(kind, sum)| (at_work.contains(kind), sum.last));
            let idle = idle.map(|(kind, _)| kind.clone());
            idle.and_then(|kind| self.sums.remove(&kind));
        }
        self.count += 1;
        let sum = self.sums.entry(kind).or_default();
        sum.last = self.count;
        add(&mut sum.stats, stats);
    }

    /// The same with those that are at work, and these first.
    pub(super) fn with(&self, at_work: impl Iterator<Item = (Kind, BindingStats)>) -> Vec<KindSum> {
        let gone = self.sums.iter();
        let gone = gone.map(|(kind, sum)| (kind.clone(), KindSum::new(kind, &sum.stats)));
        let mut sums: HashMap<Kind, KindSum> = gone.collect();
        for (kind, stats) in at_work {
            let nothing = || KindSum::new(&kind, &BindingStats::default());
            sums.entry(kind.clone())
                .or_insert_with(nothing)
                .add_at_work(&stats);
        }
        let mut sums: Vec<_> = sums.into_values().collect();
        sums.sort_by(|one, other| {
            let of = |sum: &KindSum| sum.at_work == 0;
            (of(one), &one.kind).cmp(&(of(other), &other.kind))
        });
        sums
    }
}

impl KindSum {
    fn new(kind: &Kind, stats: &BindingStats) -> Self {
        Self {
            kind: kind.clone(),
            at_work: 0,
            resting: 0,
            impure: 0,
            stats: stats.clone(),
        }
    }

    fn add_at_work(&mut self, stats: &BindingStats) {
        self.at_work += 1;
        self.resting += u64::from(stats.quarantined.is_some());
        self.impure += u64::from(stats.impure);
        self.stats.memory_max = self.stats.memory_max.max(stats.memory_max);
        add(&mut self.stats, stats);
    }
}

/// Adds what only ever grows.
fn add(sum: &mut BindingStats, stats: &BindingStats) {
    for (sum, more) in [
        (&mut sum.calls, stats.calls),
        (&mut sum.plugin_calls, stats.plugin_calls),
        (&mut sum.records_in, stats.records_in),
        (&mut sum.records_out, stats.records_out),
        (&mut sum.records_failed, stats.records_failed),
        (&mut sum.traps, stats.traps),
        (&mut sum.limits, stats.limits),
        (&mut sum.quarantines, stats.quarantines),
        (&mut sum.log_lines_suppressed, stats.log_lines_suppressed),
    ] {
        *sum = sum.saturating_add(more);
    }
    for (sum, more) in sum.call_times.iter_mut().zip(stats.call_times) {
        *sum = sum.saturating_add(more);
    }
    let more = |sum: Duration, more| sum.saturating_add(more);
    sum.cpu = more(sum.cpu, stats.cpu);
    sum.call_time = more(sum.call_time, stats.call_time);
}

#[cfg(test)]
mod tests {
    use std::iter::{empty, once};

    use weir_host::BindingStats;
    use weir_wire::id::PluginVersion;
    use weir_wire::plugin::Hook;

    use super::{GONE_MAX, Gone, Kind, KindSum};
    use crate::subscribe::watch::Read;

    fn kind(topics: u32) -> Kind {
        Kind {
            plugin: "tag-filter".parse().unwrap(),
            version: PluginVersion::new([7; 32]),
            hook: Hook::Filter,
            read: Read {
                topic: "orders".parse().unwrap(),
                topics,
            },
        }
    }

    fn seen(records_in: u64) -> BindingStats {
        BindingStats {
            records_in,
            memory_max: 100 * records_in,
            impure: true,
            call_times: std::array::from_fn(|bucket| bucket as u64),
            ..BindingStats::default()
        }
    }

    #[test]
    fn what_was_counted_stays_when_those_that_counted_are_gone() {
        let mut gone = Gone::default();
        let told = |sums: &[KindSum]| {
            let sum = sums.iter().map(|sum| {
                let KindSum { kind, stats, .. } = sum;
                let counted = (stats.records_in, stats.call_times[3], stats.memory_max);
                (kind.read.topics, sum.at_work, sum.impure, counted)
            });
            sum.collect::<Vec<_>>()
        };
        let at_work = || [(kind(1), seen(2)), (kind(2), seen(3)), (kind(1), seen(4))].into_iter();
        let all = [(1, 2, 2, (6, 6, 400)), (2, 1, 1, (3, 3, 300))];
        assert_eq!(told(&gone.with(at_work())), all);
        gone.add(kind(1), &seen(2), empty());
        let rest = [(1, 1, 1, (6, 6, 400)), (2, 1, 1, (3, 3, 300))];
        assert_eq!(told(&gone.with(at_work().skip(1))), rest);
        gone.add(kind(1), &seen(4), empty());
        // What is at work comes first, and what is gone takes no memory and is not impure.
        let last = [(2, 1, 1, (3, 3, 300)), (1, 0, 0, (6, 6, 0))];
        assert_eq!(told(&gone.with(at_work().skip(1).take(1))), last);
    }

    #[test]
    fn the_kind_goes_that_has_been_idle_for_longest() {
        let mut gone = Gone::default();
        let others = 1..=GONE_MAX as u32;
        others.for_each(|topics| gone.add(kind(topics), &seen(1), empty()));
        // The second is at work, and one of the third has gone just now.
        gone.add(kind(3), &seen(1), once(kind(2)));
        for new in [5000, 5001, 5002] {
            gone.add(kind(new), &seen(1), once(kind(2)));
            assert_eq!(gone.sums.len(), GONE_MAX);
        }
        let kept = |topics| gone.sums.contains_key(&kind(topics));
        assert_eq!(
            [1, 2, 3, 4, 5, 6].map(kept),
            [false, true, true, false, false, true]
        );
    }
}
