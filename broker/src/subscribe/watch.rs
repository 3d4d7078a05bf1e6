//! The filters and projections of the subscriptions that there are, for whoever asks how they do:
//! unlike bindings of topics they have no ids, and are in no catalog. Of those that are gone, the
//! sums of what they did are kept (`watch/kinds.rs`), and the last lines that some have logged.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use weir_host::{BindingIdentity, BindingStats, Bound, Logs};
use weir_wire::id::{PluginVersion, SubscriptionId};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::BindingLimits;

mod kinds;

pub(crate) use kinds::KindSum;

use kinds::{Kind, Kinds};

/// Plugins of subscriptions that are no more whose log lines are kept; those of each take half a
/// MiB at most.
const ENDED_MAX: usize = 32;

/// A plugin that a subscription has, as others know it.
#[derive(Clone, Debug)]
pub(crate) struct Guest {
    pub(crate) place: Place,
    pub(crate) plugin: PluginName,
    pub(crate) version: PluginVersion,
    pub(crate) hook: Hook,
    pub(crate) read: Read,
}

/// Where a plugin is at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    pub(crate) subscription: SubscriptionId,
    /// The filters from 0, in their order, then the projections.
    pub(crate) position: u32,
}

/// What a subscription reads.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Read {
    /// The first topic that it names.
    pub(crate) topic: TopicName,
    /// How many it names.
    pub(crate) topics: u32,
}

/// A plugin that is at work for a subscription.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) guest: Guest,
    pub(super) on_error: ErrorPolicy,
    pub(super) limits: Option<BindingLimits>,
    pub(super) bound: Bound,
}

/// How a plugin does that is at work for a subscription.
#[derive(Debug)]
pub(crate) struct Doing {
    pub(crate) guest: Guest,
    pub(crate) on_error: ErrorPolicy,
    pub(crate) limits: Option<BindingLimits>,
    pub(crate) identity: Arc<BindingIdentity>,
    pub(crate) stats: BindingStats,
}

/// All of them: there are as many as subscriptions have.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    inner: Mutex<Inner>,
    /// Wakes those that wait for one.
    changes: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    at_work: BTreeMap<Place, Watched>,
    kinds: Kinds,
    /// What those have logged that are no more, the oldest first.
    ended: VecDeque<(Guest, Arc<Logs>)>,
}

/// As long as it lives, a plugin is at work for a subscription.
#[derive(Debug)]
pub(super) struct Watching {
    watch: Arc<Watch>,
    place: Place,
}

impl Watch {
    /// A subscription begins to use a plugin.
    pub(super) fn begin(self: &Arc<Self>, watched: Watched) -> Watching {
        let place = watched.guest.place;
        let mut inner = self.inner.lock();
        inner.kinds.begin(Kind::of(&watched.guest));
        inner.at_work.insert(place, watched);
        drop(inner);
        self.changes.notify_waiters();
        Watching {
            watch: self.clone(),
            place,
        }
    }

    /// Comes true when a subscription begins to use a plugin.
    pub(crate) fn change(&self) -> Notified<'_> {
        self.changes.notified()
    }

    /// What a plugin has logged for subscriptions: for those that have ended, then for the others.
    pub(crate) fn logs(&self, plugin: &PluginName) -> Vec<(Guest, Arc<Logs>)> {
        let inner = self.inner.lock();
        let ended = inner.ended.iter().map(|(guest, logs)| (guest, logs));
        let at_work = inner.at_work.values();
        let at_work = at_work.map(|it| (&it.guest, it.bound.logs()));
        let all = ended.chain(at_work);
        all.filter(|(guest, _)| guest.plugin == *plugin)
            .map(|(guest, logs)| (guest.clone(), logs.clone()))
            .collect()
    }

    /// How a plugin does for so many subscriptions, first those where it rests, then those where
    /// it failed; and how many more there are.
    pub(crate) fn of_plugin(&self, plugin: &PluginName, max: usize) -> (Vec<Doing>, u64) {
        let inner = self.inner.lock();
        let at_work = inner.at_work.values();
        let at_work = at_work.filter(|it| it.guest.plugin == *plugin);
        let mut all: Vec<_> = at_work.map(|it| (it, it.bound.stats())).collect();
        // Those that do alike stay in the order of their subscriptions.
        all.sort_by_key(|(_, stats)| (stats.quarantined.is_none(), stats.last_error.is_none()));
        let more = all.len().saturating_sub(max) as u64;
        let listed = all.into_iter().take(max).map(|(watched, stats)| Doing {
            guest: watched.guest.clone(),
            on_error: watched.on_error,
            limits: watched.limits.clone(),
            identity: watched.bound.identity(),
            stats,
        });
        (listed.collect(), more)
    }

    /// What all of each kind have done together; first the kinds that are at work.
    pub(crate) fn kinds(&self) -> Vec<KindSum> {
        let inner = self.inner.lock();
        let at_work = inner.at_work.values();
        let at_work = at_work.map(|it| (Kind::of(&it.guest), it.bound.stats()));
        inner.kinds.sums(at_work)
    }

    /// A sentence for each that rests; one for all that say the same.
    pub(crate) fn resting(&self) -> Vec<String> {
        self.told(|stats| Some(format!("is quarantined: {}", stats.quarantined.as_ref()?)))
    }

    /// The same of those that gave two answers to one question.
    pub(crate) fn impure(&self) -> Vec<String> {
        let text = "gave two answers to one question, so what it says is not remembered";
        self.told(|stats| stats.impure.then(|| text.to_owned()))
    }

    fn told(&self, ails: impl Fn(&BindingStats) -> Option<String>) -> Vec<String> {
        let mut told = BTreeMap::<_, u64>::new();
        for Watched { guest, bound, .. } in self.inner.lock().at_work.values() {
            if let Some(ails) = ails(&bound.stats()) {
                let plugin = &guest.plugin;
                let ails = format!("{ails} (weir plugin show {plugin})");
                *told.entry((guest.to_string(), ails)).or_default() += 1;
            }
        }
        let sentences = told.into_iter().map(|((guest, ails), count)| match count {
            1 => format!("the {guest} of a subscription {ails}"),
            count => format!("the {guest} of {count} subscriptions {ails}"),
        });
        sentences.collect()
    }

    /// The subscription has ended.
    fn end(&self, place: Place) {
        let mut inner = self.inner.lock();
        let Some(Watched { guest, bound, .. }) = inner.at_work.remove(&place) else {
            return;
        };
        inner.kinds.end(Kind::of(&guest), &bound.stats());
        let logs = bound.logs();
        if logs.lines_after(0, 1).is_empty() {
            return;
        }
        if inner.ended.len() == ENDED_MAX {
            inner.ended.pop_front();
        }
        inner.ended.push_back((guest, logs.clone()));
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.watch.end(self.place);
    }
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, plugin) = (noun(self.hook), &self.plugin);
        match self.read.more() {
            0 => write!(f, "{noun} \"{plugin}\" on topic \"{}\"", self.read.topic),
            _ => write!(f, "{noun} \"{plugin}\" on topics {}", self.read),
        }
    }
}

impl Read {
    /// How many topics there are beside the first.
    const fn more(&self) -> u32 {
        self.topics.saturating_sub(1)
    }
}

impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.more() {
            0 => write!(f, "{}", self.topic),
            more => write!(f, "{} and {more} more", self.topic),
        }
    }
}

/// What a plugin of a subscription is called.
pub(super) const fn noun(hook: Hook) -> &'static str {
    match hook {
        Hook::Project => "projection",
        _ => "filter",
    }
}
