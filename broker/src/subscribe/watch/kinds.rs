//! What plugins of subscriptions did, summed up by what an operator knows of them: so there are few
//! sums however many subscriptions come and go, and none of them goes down when one has gone.

use std::collections::HashMap;
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

/// The kinds of those that are at work, and what those did that are gone.
#[derive(Debug, Default)]
pub(super) struct Kinds {
    /// How many of each are at work: when one goes, nobody has time to count them.
    at_work: HashMap<Kind, u64>,
    /// How many have gone so far.
    count: u64,
    gone: HashMap<Kind, Sum>,
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

impl Kinds {
    /// One more is at work.
    pub(super) fn begin(&mut self, kind: Kind) {
        *self.at_work.entry(kind).or_default() += 1;
    }

    /// One that was at work is gone. Kinds of which some are at work are the last to be forgotten.
    pub(super) fn end(&mut self, kind: Kind, stats: &BindingStats) {
        if let Some(others) = self.at_work.get_mut(&kind) {
            *others -= 1;
            if *others == 0 {
                self.at_work.remove(&kind);
            }
        }
        if self.gone.len() == GONE_MAX && !self.gone.contains_key(&kind) {
            let (gone, at_work) = (self.gone.iter(), &self.at_work);
            let idle = gone.min_by_key(|(kind, sum)| (at_work.contains_key(kind), sum.last));
            let idle = idle.map(|(kind, _)| kind.clone());
            idle.and_then(|kind| self.gone.remove(&kind));
        }
        self.count += 1;
        let sum = self.gone.entry(kind).or_default();
        sum.last = self.count;
        add(&mut sum.stats, stats);
    }

    /// What those did that are gone, with what those did that are at work, and these first.
    pub(super) fn sums(&self, at_work: impl Iterator<Item = (Kind, BindingStats)>) -> Vec<KindSum> {
        let gone = self.gone.iter();
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
    use weir_host::BindingStats;
    use weir_wire::id::PluginVersion;
    use weir_wire::plugin::Hook;

    use super::{GONE_MAX, Kind, KindSum, Kinds};
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
        let mut kinds = Kinds::default();
        let told = |sums: &[KindSum]| {
            let sum = sums.iter().map(|sum| {
                let KindSum { kind, stats, .. } = sum;
                let counted = (stats.records_in, stats.call_times[3], stats.memory_max);
                (kind.read.topics, sum.at_work, sum.impure, counted)
            });
            sum.collect::<Vec<_>>()
        };
        let at_work = || [(kind(1), seen(2)), (kind(2), seen(3)), (kind(1), seen(4))].into_iter();
        at_work().for_each(|(kind, _)| kinds.begin(kind));
        let all = [(1, 2, 2, (6, 6, 400)), (2, 1, 1, (3, 3, 300))];
        assert_eq!(told(&kinds.sums(at_work())), all);
        kinds.end(kind(1), &seen(2));
        let rest = [(1, 1, 1, (6, 6, 400)), (2, 1, 1, (3, 3, 300))];
        assert_eq!(told(&kinds.sums(at_work().skip(1))), rest);
        kinds.end(kind(1), &seen(4));
        // What is at work comes first, and what is gone takes no memory and is not impure.
        let last = [(2, 1, 1, (3, 3, 300)), (1, 0, 0, (6, 6, 0))];
        assert_eq!(told(&kinds.sums(at_work().skip(1).take(1))), last);
    }

    #[test]
    fn the_kind_goes_that_has_been_idle_for_longest() {
        let mut kinds = Kinds::default();
        let one_goes = |kinds: &mut Kinds, topics| {
            kinds.begin(kind(topics));
            kinds.end(kind(topics), &seen(1));
        };
        // Of the second, one is at work all the time; of the fourth, until all are gone.
        for topics in [2, 4] {
            kinds.begin(kind(topics));
        }
        (1..=GONE_MAX as u32).for_each(|topics| one_goes(&mut kinds, topics));
        // One of the third has gone just now.
        one_goes(&mut kinds, 3);
        kinds.end(kind(4), &seen(1));
        for new in [5000, 5001, 5002] {
            one_goes(&mut kinds, new);
            assert_eq!(kinds.gone.len(), GONE_MAX);
        }
        let kept = |topics| kinds.gone.contains_key(&kind(topics));
        assert_eq!(
            [1, 2, 3, 4, 5, 6, 7].map(kept),
            [false, true, true, true, false, false, true]
        );
        // Nothing stays of what is no more at work.
        assert_eq!(
            kinds.at_work.into_iter().collect::<Vec<_>>(),
            [(kind(2), 1)]
        );
    }
}
