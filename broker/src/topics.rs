//! The running side of topics: what a produce request needs to know, with bindings ready to run.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use weir_core::catalog::{Catalog, Topic};
use weir_core::change::Bound as BoundChange;
use weir_core::place::Target;
use weir_host::Bound;
use weir_wire::id::{BindingEpoch, BindingId, TopicId};
use weir_wire::name::PluginName;
use weir_wire::plugin::{ErrorPolicy, Hook};

/// A topic as producers meet it.
#[derive(Clone, Debug)]
pub(crate) struct TopicView {
    pub(crate) target: Target,
    pub(crate) epoch: BindingEpoch,
    pub(crate) route: Option<RouteBinding>,
    pub(crate) key: Option<Binding>,
}

/// A binding, ready to run.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    pub(crate) id: BindingId,
    pub(crate) plugin: PluginName,
    pub(crate) on_error: ErrorPolicy,
    /// The plugin; or why it cannot run, since a binding stays while its component is mended.
    pub(crate) bound: Result<Bound, String>,
}

/// A route binding, with where its routes lead.
#[derive(Clone, Debug)]
pub(crate) struct RouteBinding {
    pub(crate) binding: Binding,
    pub(crate) targets: Vec<Target>,
}

impl TopicView {
    pub(crate) const fn placement_by_plugin(&self) -> bool {
        self.route.is_some() || self.key.is_some()
    }
}

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    views: RwLock<HashMap<TopicId, Arc<TopicView>>>,
    bound: RwLock<HashMap<BindingId, Result<Bound, String>>>,
}

impl Topics {
    pub(crate) fn view(&self, topic: TopicId) -> Option<Arc<TopicView>> {
        self.views.read().get(&topic).cloned()
    }

    /// The component behind a binding.
    pub(crate) fn bound(&self, binding: BindingId) -> Option<Result<Bound, String>> {
        self.bound.read().get(&binding).cloned()
    }

    /// A plugin is ready for a binding; [`Topics::refresh`] puts it to use.
    pub(crate) fn ready(&self, binding: BindingId, bound: Result<Bound, String>) {
        self.bound.write().insert(binding, bound);
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

    /// Forgets bindings that the catalog no longer has.
    pub(crate) fn sweep(&self, catalog: &Catalog) {
        let live: std::collections::HashSet<BindingId> =
            catalog.bindings().map(|(_, bound)| bound.id).collect();
        self.bound.write().retain(|id, _| live.contains(id));
    }

    fn build(&self, catalog: &Catalog, topic: &Topic) -> TopicView {
        let route = topic.bindings.get(&Hook::Route).map(|change| RouteBinding {
            binding: self.binding(change),
            targets: targets(catalog, change),
        });
        TopicView {
            target: target(topic),
            epoch: topic.binding_epoch,
            route,
            key: topic
                .bindings
                .get(&Hook::Key)
                .map(|change| self.binding(change)),
        }
    }

    fn binding(&self, change: &BoundChange) -> Binding {
        let missing = || Err("the plugin is not loaded".to_owned());
        Binding {
            id: change.id,
            plugin: change.plugin.clone(),
            on_error: change.on_error,
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
