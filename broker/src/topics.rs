//! The running side of topics: what a produce request needs to know, with bindings ready to run.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use weir_core::catalog::{Catalog, Topic};
use weir_core::change::Bound as BoundChange;
use weir_core::place::Target;
use weir_host::{Bound, Logs};
use weir_wire::error::Fault;
use weir_wire::id::{BindingEpoch, BindingId, PluginVersion, TopicId};
use weir_wire::name::PluginName;
use weir_wire::plugin::{ErrorPolicy, Hook};

/// A topic as producers meet it: its chains of bindings, in the order in which they run.
#[derive(Clone, Debug)]
pub(crate) struct TopicView {
    pub(crate) target: Target,
    pub(crate) epoch: BindingEpoch,
    pub(crate) transforms: Vec<Binding>,
    pub(crate) routes: Vec<RouteBinding>,
    pub(crate) keys: Vec<Binding>,
}

/// A binding, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) id: BindingId,
    pub(crate) hook: Hook,
    pub(crate) plugin: PluginName,
    pub(crate) version: PluginVersion,
    pub(crate) on_error: ErrorPolicy,
    /// Where records go that its policy dead-letters.
    pub(crate) dead_letters: Option<Target>,
    /// The plugin; or why it does not run, since a binding stays while its component is mended.
    pub(crate) bound: Result<Bound, Unready>,
}

/// Why a binding does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unready {
    /// It will: its component is compiled for this version of the engine.
    #[error("its component is compiled again, for this version of weir or this processor")]
    Compiling,
    /// It will: what stands in its way passes by itself.
    #[error("{0}; it is tried again")]
    Later(String),
    /// It cannot, until somebody does something.
    #[error("{0}")]
    Broken(String),
}

impl Unready {
    /// Whether it passes without anybody doing something.
    pub(crate) const fn passes(&self) -> bool {
        match self {
            Self::Compiling | Self::Later(_) => true,
            Self::Broken(_) => false,
        }
    }
}

impl From<Fault> for Unready {
    fn from(fault: Fault) -> Self {
        if fault.is_retryable() {
            Self::Later(fault.message)
        } else {
            Self::Broken(fault.message)
        }
    }
}

/// A route binding, with where its routes lead.
#[derive(Clone, Debug)]
pub(crate) struct RouteBinding {
    pub(crate) binding: Binding,
    pub(crate) targets: Vec<Target>,
}

impl TopicView {
    /// Whether a plugin chooses the partition.
    pub(crate) const fn placement_by_plugin(&self) -> bool {
        !self.routes.is_empty() || !self.keys.is_empty()
    }

    /// Whether records are unfolded for a plugin.
    pub(crate) const fn has_hooks(&self) -> bool {
        self.placement_by_plugin() || !self.transforms.is_empty()
    }
}

/// Bindings that are no more whose log lines are kept; those of each take half a MiB at most.
const ENDED_MAX: usize = 32;

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    views: RwLock<HashMap<TopicId, Arc<TopicView>>>,
    bound: RwLock<HashMap<BindingId, Result<Bound, Unready>>>,
    /// What bindings have logged that are no more, the oldest first.
    ended: Mutex<VecDeque<(BindingId, Arc<Logs>)>>,
    /// Wakes those that wait for a binding.
    changes: Notify,
}

impl Topics {
    pub(crate) fn view(&self, topic: TopicId) -> Option<Arc<TopicView>> {
        self.views.read().get(&topic).cloned()
    }

    /// The component behind a binding.
    pub(crate) fn bound(&self, binding: BindingId) -> Option<Result<Bound, Unready>> {
        self.bound.read().get(&binding).cloned()
    }

    /// A plugin is ready for a binding; [`Topics::refresh`] puts it to use.
    pub(crate) fn ready(&self, binding: BindingId, bound: Result<Bound, Unready>) {
        self.bound.write().insert(binding, bound);
        self.changes.notify_waiters();
    }

    /// Comes true when bindings become ready or end.
    pub(crate) fn change(&self) -> Notified<'_> {
        self.changes.notified()
    }

    /// What the last bindings that are no more have logged.
    pub(crate) fn ended(&self) -> HashMap<BindingId, Arc<Logs>> {
        self.ended.lock().iter().cloned().collect()
    }

    /// Takes over what the catalog now says of a topic.
    pub(crate) fn refresh(&self, catalog: &Catalog, topic: TopicId) {
        match catalog.topic(topic) {
            None => drop(self.views.write().remove(&topic)),
            Some(topic) => {
                let view = self.build(catalog, topic);
                self.views.write().insert(topic.id, Arc::new(view));
            }
        }
    }

    /// Forgets bindings that the catalog no longer has, but for what they have logged.
    pub(crate) fn sweep(&self, catalog: &Catalog) {
        let live: HashSet<BindingId> = catalog.bindings().map(|(_, bound)| bound.id).collect();
        let mut bound = self.bound.write();
        let mut ended = self.ended.lock();
        for (id, bound) in bound.extract_if(|id, _| !live.contains(id)) {
            let Ok(bound) = bound else { continue };
            if ended.len() == ENDED_MAX {
                ended.pop_front();
            }
            ended.push_back((id, bound.logs().clone()));
        }
        drop((bound, ended));
        self.changes.notify_waiters();
    }

    fn build(&self, catalog: &Catalog, topic: &Topic) -> TopicView {
        let chain = |hook| {
            let chain = topic.chain(hook).iter();
            chain.map(|change| self.binding(catalog, change))
        };
        let routes = topic.chain(Hook::Route).iter().zip(chain(Hook::Route));
        let routes = routes.map(|(change, binding)| RouteBinding {
            binding,
            targets: targets(catalog, change),
        });
        TopicView {
            target: target(topic),
            epoch: topic.binding_epoch,
            transforms: chain(Hook::Transform).collect(),
            routes: routes.collect(),
            keys: chain(Hook::Key).collect(),
        }
    }

    fn binding(&self, catalog: &Catalog, change: &BoundChange) -> Binding {
        let missing = || Err(Unready::Broken("the plugin is not loaded".to_owned()));
        let dead_letters = change.dead_letters.and_then(|id| catalog.topic(id));
        Binding {
            id: change.id,
            hook: change.hook,
            plugin: change.plugin.clone(),
            version: change.version,
            on_error: change.on_error,
            dead_letters: dead_letters.map(target),
            bound: self.bound(change.id).unwrap_or_else(missing),
        }
    }
}

fn target(topic: &Topic) -> Target {
    Target {
        topic: topic.id,
        name: topic.name.clone(),
        partitions: topic.partitions,
        partition: None,
    }
}

/// Where the declared routes lead. A topic that a route leads to cannot be deleted.
fn targets(catalog: &Catalog, change: &BoundChange) -> Vec<Target> {
    let routes = change.routes.iter().filter_map(|route| {
        let topic = catalog.topic(route.topic)?;
        Some(Target {
            partition: route.partition,
            ..target(topic)
        })
    });
    routes.collect()
}
