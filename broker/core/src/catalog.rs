//! What exists: topics, plugins, bindings. Changed only by [`Change`]s, in the order of the log.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use weir_wire::id::{BindingEpoch, BindingId, PluginVersion, Timestamp, TopicId};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::{BindingAction, Hook};
use weir_wire::request::{Fence, TopicSettings};

use crate::change::{
    BindingEvent, Bound as BoundPlugin, Change, PartitionsAdded, PluginPushed, PluginRemoved,
    TopicCreated, Unbound,
};
use crate::history::History;

/// Topics, plugins and bindings.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    names: BTreeMap<TopicName, TopicId>,
    topics: HashMap<TopicId, Topic>,
    plugins: BTreeMap<PluginName, Vec<PluginPushed>>,
    last_topic: TopicId,
    last_binding: BindingId,
}

/// A topic.
#[derive(Clone, Debug)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// How many partitions.
    pub partitions: u32,
    /// When it was made.
    pub created: Timestamp,
    /// Counts the changes of its bindings, and of how many partitions its records may go to.
    pub binding_epoch: BindingEpoch,
    /// Its bindings: a chain per hook, in the order in which they run. No chain is empty.
    pub bindings: BTreeMap<Hook, Vec<BoundPlugin>>,
    /// How they changed; shared, so that a copy of the topic costs little.
    pub history: Arc<History>,
    /// What it keeps, and for how long.
    pub settings: TopicSettings,
    /// When partitions were added, the oldest first.
    pub fences: Vec<Fence>,
}

impl Topic {
    /// The changes that make this topic from nothing, all but its binding epoch.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let numbers = self.fences.iter().map(|fence| fence.partitions);
        let mut numbers = numbers.chain([self.partitions]);
        let created = TopicCreated {
            id: self.id,
            name: self.name.clone(),
            partitions: numbers.next().unwrap_or(self.partitions),
            time: self.created,
            settings: Some(self.settings.clone()),
        };
        let created = Change {
            topic_created: Some(created),
            ..Change::NONE
        };
        let added = self.fences.iter().zip(numbers).map(|(fence, partitions)| {
            let added = PartitionsAdded {
                id: self.id,
                partitions,
                ends: fence.ends.clone(),
                epochs: Vec::new(),
                time: fence.time,
            };
            Change {
                partitions_added: Some(added),
                ..Change::NONE
            }
        });
        let bound = self.bindings.values().flat_map(|chain| {
            (0..).zip(chain).map(|(position, bound)| Change {
                bound: Some(BoundPlugin {
                    position: Some(position),
                    ..bound.clone()
                }),
                ..Change::NONE
            })
        });
        let created = std::iter::once(created);
        created.chain(added).chain(bound).collect()
    }

    /// Whether a plugin chooses where records go.
    #[must_use]
    pub fn placement_by_plugin(&self) -> bool {
        self.bindings.contains_key(&Hook::Route) || self.bindings.contains_key(&Hook::Key)
    }

    /// The bindings of a hook, in the order in which they run.
    #[must_use]
    pub fn chain(&self, hook: Hook) -> &[BoundPlugin] {
        self.bindings.get(&hook).map_or(&[], Vec::as_slice)
    }

    /// All bindings with their places in their chains, in the order of hooks.
    pub fn bound(&self) -> impl Iterator<Item = (u32, &BoundPlugin)> {
        self.bindings.values().flat_map(|chain| (0..).zip(chain))
    }

    /// The topics, other than this one, that its records may go to.
    pub(crate) fn leads_to(&self) -> impl Iterator<Item = TopicId> {
        let bindings = self.bindings.values().flatten();
        let all = bindings.flat_map(|bound| {
            let routes = bound.routes.iter().map(|route| route.topic);
            routes.chain(bound.dead_letters)
        });
        all.filter(|topic| *topic != self.id)
    }

    fn bind(&mut self, bound: &BoundPlugin) {
        self.binding_epoch = bound.epoch;
        let chain = self.bindings.entry(bound.hook).or_default();
        let held = BoundPlugin {
            position: None,
            replaces: None,
            ends: Vec::new(),
            ..bound.clone()
        };
        let at = |id| chain.iter().position(|bound| Some(bound.id) == id);
        let (position, replaced) = match (bound.position, at(bound.replaces)) {
            // From before there were chains: a hook had one binding.
            (None, _) => {
                let replaced = chain.pop();
                *chain = vec![held.clone()];
                (0, replaced)
            }
            (Some(_), Some(place)) => {
                let replaced = std::mem::replace(&mut chain[place], held.clone());
                (place, Some(replaced))
            }
            (Some(position), None) => {
                let place = (position as usize).min(chain.len());
                chain.insert(place, held.clone());
                (place, None)
            }
        };
        let action = match (bound.rolled_back, &replaced) {
            (true, _) => BindingAction::RolledBack,
            (false, Some(_)) => BindingAction::Replaced,
            (false, None) => BindingAction::Bound,
        };
        Arc::make_mut(&mut self.history).push(BindingEvent {
            time: bound.time,
            epoch: bound.epoch,
            action,
            bound: BoundPlugin {
                position: Some(position as u32),
                ..held
            },
            replaced,
            ends: bound.ends.clone(),
        });
    }

    fn unbind(&mut self, unbound: &Unbound) {
        let place = self
            .bound()
            .find(|(_, bound)| bound.id == unbound.id)
            .map(|(position, bound)| (position, bound.hook));
        let Some((position, hook)) = place else {
            return;
        };
        self.binding_epoch = unbound.epoch;
        let chain = self.bindings.entry(hook).or_default();
        let ended = chain.remove(position as usize);
        if chain.is_empty() {
            self.bindings.remove(&hook);
        }
        Arc::make_mut(&mut self.history).push(BindingEvent {
            time: unbound.time,
            epoch: unbound.epoch,
            action: BindingAction::Unbound,
            bound: BoundPlugin {
                position: Some(position),
                ..ended
            },
            replaced: None,
            ends: unbound.ends.clone(),
        });
    }
}

impl Catalog {
    /// The topic of that name.
    #[must_use]
    pub fn topic_named(&self, name: &TopicName) -> Option<&Topic> {
        self.names.get(name).and_then(|id| self.topics.get(id))
    }

    /// The topic of that id.
    #[must_use]
    pub fn topic(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id)
    }

    /// All topics, in order of names.
    pub fn topics(&self) -> impl Iterator<Item = &Topic> {
        self.names.values().filter_map(|id| self.topics.get(id))
    }

    /// The topics behind that name, in order of names.
    pub fn topics_after(&self, name: Option<&TopicName>) -> impl Iterator<Item = &Topic> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.names.range::<TopicName, _>((from, Bound::Unbounded));
        names.filter_map(|(_, id)| self.topics.get(id))
    }

    /// How many topics there are.
    #[must_use]
    pub fn topic_count(&self) -> usize {
        self.topics.len()
    }

    /// A plugin's versions, the latest last.
    #[must_use]
    pub fn plugin(&self, name: &PluginName) -> Option<&[PluginPushed]> {
        self.plugins.get(name).map(Vec::as_slice)
    }

    /// All plugins, in order of names.
    pub fn plugins(&self) -> impl Iterator<Item = (&PluginName, &[PluginPushed])> {
        self.plugins
            .iter()
            .map(|(name, versions)| (name, versions.as_slice()))
    }

    /// The plugins behind that name, in order of names.
    pub fn plugins_after(
        &self,
        name: Option<&PluginName>,
    ) -> impl Iterator<Item = (&PluginName, &[PluginPushed])> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let plugins = self
            .plugins
            .range::<PluginName, _>((from, Bound::Unbounded));
        plugins.map(|(name, versions)| (name, versions.as_slice()))
    }

    /// All bindings, in order of their topics' names.
    pub fn bindings(&self) -> impl Iterator<Item = (&Topic, &BoundPlugin)> {
        self.topics()
            .flat_map(|topic| topic.bound().map(move |(_, bound)| (topic, bound)))
    }

    /// The topics whose records may go to that one: itself, and those with a route there or whose
    /// dead letters it takes.
    pub fn leading_to(&self, target: TopicId) -> impl Iterator<Item = &Topic> {
        self.topics()
            .filter(move |topic| topic.id == target || topic.leads_to().any(|to| to == target))
    }

    /// The binding of that id.
    #[must_use]
    pub fn binding(&self, id: BindingId) -> Option<(&Topic, &BoundPlugin)> {
        self.bindings().find(|(_, bound)| bound.id == id)
    }

    /// Whether any plugin still has that version.
    #[must_use]
    pub fn has_version(&self, version: PluginVersion) -> bool {
        self.plugins
            .values()
            .flatten()
            .any(|pushed| pushed.version == version)
    }

    /// The id that the next topic will have.
    #[must_use]
    pub const fn next_topic_id(&self) -> TopicId {
        self.last_topic.next()
    }

    /// The id that the next binding will have.
    #[must_use]
    pub const fn next_binding_id(&self) -> BindingId {
        self.last_binding.next()
    }

    /// Recovery: ids up to these were given away.
    pub(crate) fn resume_after(&mut self, topic: TopicId, binding: BindingId) {
        self.last_topic = self.last_topic.max(topic);
        self.last_binding = self.last_binding.max(binding);
    }

    /// The newest ids that were given away.
    pub(crate) const fn last_ids(&self) -> (TopicId, BindingId) {
        (self.last_topic, self.last_binding)
    }

    /// Recovery: a topic's binding epoch, which may be beyond that of its bindings, and how they
    /// came to be what they are.
    pub(crate) fn resume_bindings(
        &mut self,
        topic: TopicId,
        epoch: BindingEpoch,
        history: Vec<BindingEvent>,
    ) {
        if let Some(topic) = self.topics.get_mut(&topic) {
            topic.binding_epoch = epoch;
            topic.history = Arc::new(History::from(history));
        }
    }

    /// Applies a change; what it refers to and is not there is ignored, since changes were
    /// checked before they were logged.
    pub(crate) fn apply(&mut self, change: &Change) {
        if let Some(created) = &change.topic_created {
            self.create_topic(created);
        }
        if let Some(deleted) = &change.topic_deleted
            && let Some(topic) = self.topics.remove(&deleted.id)
        {
            self.names.remove(&topic.name);
        }
        if let Some(updated) = &change.topic_updated
            && let Some(topic) = self.topics.get_mut(&updated.id)
        {
            topic.settings = updated.settings.clone();
        }
        if let Some(added) = &change.partitions_added {
            self.add_partitions(added);
        }
        if let Some(pushed) = &change.plugin_pushed {
            self.push_plugin(pushed);
        }
        if let Some(removed) = &change.plugin_removed {
            self.remove_plugin(removed);
        }
        if let Some(bound) = &change.bound {
            self.bind(bound);
        }
        if let Some(unbound) = &change.unbound {
            self.unbind(unbound);
        }
    }

    fn create_topic(&mut self, created: &TopicCreated) {
        self.last_topic = self.last_topic.max(created.id);
        self.names.insert(created.name.clone(), created.id);
        let topic = Topic {
            id: created.id,
            name: created.name.clone(),
            partitions: created.partitions,
            created: created.time,
            binding_epoch: BindingEpoch::default(),
            bindings: BTreeMap::new(),
            history: Arc::default(),
            settings: created.settings.clone().unwrap_or_default(),
            fences: Vec::new(),
        };
        self.topics.insert(created.id, topic);
    }

    fn add_partitions(&mut self, added: &PartitionsAdded) {
        if let Some(topic) = self.topics.get_mut(&added.id) {
            topic.fences.push(Fence {
                partitions: topic.partitions,
                ends: added.ends.clone(),
                time: added.time,
            });
            topic.partitions = added.partitions;
        }
        for bump in &added.epochs {
            if let Some(topic) = self.topics.get_mut(&bump.topic) {
                topic.binding_epoch = bump.epoch;
            }
        }
    }

    fn push_plugin(&mut self, pushed: &PluginPushed) {
        let versions = self.plugins.entry(pushed.name.clone()).or_default();
        // Pushing an old version again makes it the latest.
        versions.retain(|known| known.version != pushed.version);
        versions.push(pushed.clone());
    }

    fn remove_plugin(&mut self, removed: &PluginRemoved) {
        if let Some(versions) = self.plugins.get_mut(&removed.name) {
            versions.retain(|known| known.version != removed.version);
            if versions.is_empty() {
                self.plugins.remove(&removed.name);
            }
        }
    }

    fn bind(&mut self, bound: &BoundPlugin) {
        self.last_binding = self.last_binding.max(bound.id);
        if let Some(topic) = self.topics.get_mut(&bound.topic) {
            topic.bind(bound);
        }
    }

    fn unbind(&mut self, unbound: &Unbound) {
        let topics = self.topics.values_mut();
        topics.for_each(|topic| topic.unbind(unbound));
    }
}
