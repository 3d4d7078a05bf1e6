//! Changes of bindings: where a new one stands in its chain, where its routes and dead letters
//! lead, and where partitions end when it comes into force.

use std::collections::{BTreeSet, HashSet};

use weir_wire::id::{BindingId, Offset, PartitionId, PluginVersion, Timestamp, TopicId};
use weir_wire::limits::{BINDINGS_MAX, CONFIG_ENTRIES_MAX, HISTORY_ENDS_MAX, ROUTES_MAX};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{BindingLimits, Setting, TopicSettings};

use super::{ChangeError, Shard};
use crate::catalog::Topic;
use crate::change::{Bound, Change, RouteTarget, TopicCreated, TopicEnds, Unbound};

/// A binding to be made.
#[derive(Clone, Debug)]
pub struct BindRequest {
    /// The topic.
    pub topic: TopicName,
    /// The hook.
    pub hook: Hook,
    /// The plugin.
    pub plugin: PluginName,
    /// Its version.
    pub version: PluginVersion,
    /// Its settings.
    pub config: Vec<Setting>,
    /// Declared routes.
    pub routes: Vec<RouteRequest>,
    /// What happens to a record whose hook failed.
    pub on_error: ErrorPolicy,
    /// The place in the chain that it is inserted at.
    pub position: Option<u32>,
    /// The binding that it takes the place of.
    pub replace: Option<BindingId>,
    /// What its calls may cost, where that is said.
    pub limits: Option<BindingLimits>,
    /// Whether it brings back what `replace` took the place of.
    pub rolled_back: bool,
}

/// A declared route.
#[derive(Clone, Debug)]
pub struct RouteRequest {
    /// The value.
    pub value: String,
    /// The topic it leads to.
    pub topic: TopicName,
    /// The partition, if it is fixed.
    pub partition: Option<PartitionId>,
}

impl Shard {
    /// Checks everything about a binding that needs no plugin to run.
    pub fn plan_bind(&self, now: Timestamp, request: &BindRequest) -> Result<Change, ChangeError> {
        let topic = self.existing_topic(&request.topic)?;
        let pushed = self.resolve_version(&request.plugin, Some(&request.version.to_string()))?;
        check_bind(request, &pushed.hooks)?;
        let (position, replaces) = place_in_chain(topic, request)?;
        let routes = request
            .routes
            .iter()
            .map(|route| self.resolve_route(topic, route));
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
        let (dead_letters, topic_created) = match request.on_error {
            ErrorPolicy::DeadLetter => {
                let (id, created) = self.dead_letter_topic(now, topic)?;
                (Some(id), created)
            }
            _ => (None, None),
        };
        let leads_to = routes.iter().map(|route| route.topic).chain(dead_letters);
        let ends = self.ends_behind(topic, leads_to, topic_created.as_ref());
        let bound = Bound {
            id: self.catalog.next_binding_id(),
            epoch: topic.binding_epoch.next(),
            topic: topic.id,
            hook: request.hook,
            plugin: request.plugin.clone(),
            version: request.version,
            config: request.config.clone(),
            routes,
            on_error: request.on_error,
            position: Some(position),
            replaces,
            limits: request.limits.clone(),
            time: now,
            ends,
            dead_letters,
            rolled_back: request.rolled_back,
        };
        Ok(Change {
            topic_created,
            bound: Some(bound),
            ..Change::NONE
        })
    }

    pub(super) fn plan_unbind(&self, now: Timestamp, id: BindingId) -> Result<Change, ChangeError> {
        let (topic, bound) = self
            .catalog
            .binding(id)
            .ok_or(ChangeError::UnknownBinding(id))?;
        let unbound = Unbound {
            id: bound.id,
            epoch: topic.binding_epoch.next(),
            time: now,
            ends: self.ends_behind(topic, std::iter::empty(), None),
        };
        Ok(Change {
            unbound: Some(unbound),
            ..Change::NONE
        })
    }

    /// What a plugin's binding took the place of, as a binding that takes its place.
    pub fn rollback(
        &self,
        plugin: &PluginName,
        topic: &TopicName,
        hook: Option<Hook>,
    ) -> Result<BindRequest, ChangeError> {
        let invalid = |text: String| Err(ChangeError::Invalid(text));
        let topic = self.existing_topic(topic)?;
        let name = &topic.name;
        let bound: Vec<&Bound> = topic
            .bound()
            .map(|(_, bound)| bound)
            .filter(|bound| bound.plugin == *plugin && hook.is_none_or(|hook| bound.hook == hook))
            .collect();
        let current = match bound.as_slice() {
            [one] => *one,
            [] => {
                return invalid(format!(
                    "plugin \"{plugin}\" is not bound to topic \"{name}\" \
                     (see what was: weir plugin history --topic {name})"
                ));
            }
            [first, second, ..] if first.hook != second.hook => {
                return invalid(format!(
                    "plugin \"{plugin}\" is bound to topic \"{name}\" at the hooks {} and {}; \
                     say which (--hook {})",
                    first.hook, second.hook, first.hook
                ));
            }
            several => {
                let ids: Vec<String> = several.iter().map(|bound| bound.id.to_string()).collect();
                return invalid(format!(
                    "plugin \"{plugin}\" is bound to topic \"{name}\" several times, as bindings \
                     {}; bind the version you want in the place of one (--replace {})",
                    ids.join(", "),
                    several[0].id
                ));
            }
        };
        let Some(before) = topic.history.replaced_by(current.id) else {
            return invalid(format!(
                "binding {} of plugin \"{plugin}\" on topic \"{name}\" has no earlier version to \
                 go back to (see what was: weir plugin history --topic {name})",
                current.id
            ));
        };
        let routes = before.routes.iter().map(|route| self.route_request(route));
        Ok(BindRequest {
            topic: name.clone(),
            hook: before.hook,
            plugin: before.plugin.clone(),
            version: before.version,
            config: before.config.clone(),
            routes: routes.collect::<Result<Vec<_>, _>>()?,
            on_error: before.on_error,
            position: None,
            replace: Some(current.id),
            limits: before.limits.clone(),
            rolled_back: true,
        })
    }

    fn route_request(&self, route: &RouteTarget) -> Result<RouteRequest, ChangeError> {
        let topic = self.catalog.topic(route.topic).ok_or_else(|| {
            ChangeError::Invalid(format!(
                "the topic that route \"{}\" led to was deleted; bind with routes that lead \
                 somewhere",
                route.value
            ))
        })?;
        Ok(RouteRequest {
            value: route.value.clone(),
            topic: topic.name.clone(),
            partition: route.partition,
        })
    }

    /// The topic for records that nobody could deal with, and its making if there is none yet.
    fn dead_letter_topic(
        &self,
        now: Timestamp,
        topic: &Topic,
    ) -> Result<(TopicId, Option<TopicCreated>), ChangeError> {
        let name = topic.name.dead_letters().map_err(|error| {
            ChangeError::Invalid(format!(
                "topic \"{}\" cannot have a dead-letter topic: {error}; choose another error \
                 policy",
                topic.name
            ))
        })?;
        if let Some(known) = self.catalog.topic_named(&name) {
            return Ok((known.id, None));
        }
        let made = self.plan_topic(now, &name, 1, &TopicSettings::default())?;
        Ok((self.catalog.next_topic_id(), made.topic_created))
    }

    /// Where the partitions end that the topic's records go to, before a change and after it, also
    /// those of a topic that it makes. A topic whose partitions are too many is left out.
    fn ends_behind(
        &self,
        topic: &Topic,
        after: impl Iterator<Item = TopicId>,
        made: Option<&TopicCreated>,
    ) -> Vec<TopicEnds> {
        let others: BTreeSet<TopicId> = topic.leads_to().chain(after).collect();
        let others = others.iter().filter(|other| **other != topic.id);
        let others = others.filter_map(|other| self.catalog.topic(*other));
        let made = made.map(|made| TopicEnds {
            topic: made.id,
            ends: vec![Offset::ZERO; made.partitions as usize],
        });
        let mut room = HISTORY_ENDS_MAX - made.as_ref().map_or(0, |made| made.ends.len());
        let mut ends = Vec::new();
        for topic in std::iter::once(topic).chain(others) {
            if let Some(left) = room.checked_sub(topic.partitions as usize) {
                room = left;
                ends.push(TopicEnds {
                    topic: topic.id,
                    ends: self.ends(topic).collect(),
                });
            }
        }
        ends.extend(made);
        ends
    }

    fn resolve_route(
        &self,
        from: &Topic,
        route: &RouteRequest,
    ) -> Result<RouteTarget, ChangeError> {
        let target = self.existing_topic(&route.topic)?;
        if target.name.namespace() != from.name.namespace() {
            return Err(ChangeError::Invalid(format!(
                "route \"{}\" leads to namespace \"{}\"; routes stay inside namespace \"{}\"",
                route.value,
                target.name.namespace(),
                from.name.namespace(),
            )));
        }
        if let Some(partition) = route.partition
            && partition.value() >= target.partitions
        {
            return Err(ChangeError::Invalid(format!(
                "route \"{}\" leads to partition {partition} of topic \"{}\", which has {}",
                route.value, target.name, target.partitions
            )));
        }
        let (value, partition) = (route.value.clone(), route.partition);
        Ok(RouteTarget {
            value,
            topic: target.id,
            partition,
        })
    }
}

/// The place that a new binding has in its chain, and which one it takes that from.
fn place_in_chain(
    topic: &Topic,
    request: &BindRequest,
) -> Result<(u32, Option<BindingId>), ChangeError> {
    let (hook, name) = (request.hook, &topic.name);
    let chain = topic.chain(hook);
    let place_of = |id: BindingId| (0..).zip(chain).find(|(_, bound)| bound.id == id);
    let end = chain.len() as u32;
    let place = match (request.position, request.replace) {
        (Some(_), Some(_)) => {
            let text = "a binding takes a place of its own or that of another; \
                        leave out the position or what it replaces";
            return Err(ChangeError::Invalid(text.to_owned()));
        }
        (Some(position), None) if position > end => {
            return Err(ChangeError::Invalid(format!(
                "the position of a new binding of topic \"{name}\" at the hook {hook} is 0 to \
                 {end}, not {position}"
            )));
        }
        (Some(position), None) => (position, None),
        (None, Some(id)) => match place_of(id) {
            Some((position, _)) => (position, Some(id)),
            None => {
                return Err(ChangeError::Invalid(format!(
                    "binding {id} is none of topic \"{name}\" at the hook {hook} \
                     (see them: weir topic describe {name})"
                )));
            }
        },
        (None, None) => beside_or_instead(topic, request)?,
    };
    if place.1.is_none() && chain.len() >= BINDINGS_MAX {
        return Err(ChangeError::Limit(format!(
            "a topic has at most {BINDINGS_MAX} bindings at one hook; unbind one of topic \
             \"{name}\" at the hook {hook} first"
        )));
    }
    Ok(place)
}

/// The place of the plugin's one binding, else one behind the others.
fn beside_or_instead(
    topic: &Topic,
    request: &BindRequest,
) -> Result<(u32, Option<BindingId>), ChangeError> {
    let (chain, name) = (topic.chain(request.hook), &topic.name);
    let of_plugin = |(_, bound): &(u32, &Bound)| bound.plugin == request.plugin;
    let same: Vec<_> = (0..).zip(chain).filter(of_plugin).collect();
    match same.as_slice() {
        [] => Ok((chain.len() as u32, None)),
        [(position, bound)] => Ok((*position, Some(bound.id))),
        [(_, first), ..] => {
            let ids: Vec<_> = same.iter().map(|(_, b)| b.id.to_string()).collect();
            Err(ChangeError::Invalid(format!(
                "plugin \"{}\" is bound to topic \"{name}\" at the hook {} as bindings {}; \
                 say which it replaces (--replace {}) or where it goes (--position {})",
                request.plugin,
                request.hook,
                ids.join(", "),
                first.id,
                chain.len()
            )))
        }
    }
}

fn check_bind(request: &BindRequest, exported: &[Hook]) -> Result<(), ChangeError> {
    let invalid = |text: String| Err(ChangeError::Invalid(text));
    let hook = request.hook;
    if !matches!(hook, Hook::Transform | Hook::Route | Hook::Key) {
        return invalid(format!(
            "hook {hook} cannot be bound to a topic; transform, route and key can, and filters \
             belong to subscriptions (weir consume --filter)"
        ));
    }
    if !exported.contains(&hook) {
        return invalid(format!(
            "plugin \"{}\" has no hook {hook}; it exports {}",
            request.plugin,
            Hook::words(exported)
        ));
    }
    if !hook.policies().contains(&request.on_error) {
        let allowed: Vec<&str> = hook.policies().iter().map(|policy| policy.word()).collect();
        return invalid(format!(
            "hook {hook} cannot have the error policy {}; it may be {}",
            request.on_error,
            allowed.join(", ")
        ));
    }
    if request.config.len() > CONFIG_ENTRIES_MAX {
        return invalid(format!(
            "a binding has at most {CONFIG_ENTRIES_MAX} settings"
        ));
    }
    if let Some(limits) = &request.limits {
        let checked = limits.check();
        checked.map_err(|error| ChangeError::Invalid(error.to_string()))?;
    }
    check_routes(request)
}

fn check_routes(request: &BindRequest) -> Result<(), ChangeError> {
    let invalid = |text: String| Err(ChangeError::Invalid(text));
    if request.hook != Hook::Route {
        return if request.routes.is_empty() {
            Ok(())
        } else {
            invalid(format!(
                "hook {} takes no routes; leave --to out",
                request.hook
            ))
        };
    }
    if request.routes.is_empty() || request.routes.len() > ROUTES_MAX {
        return invalid(format!(
            "hook route needs 1 to {ROUTES_MAX} routes, not {} (--to VALUE=TOPIC)",
            request.routes.len()
        ));
    }
    let mut seen = HashSet::new();
    match request
        .routes
        .iter()
        .find(|route| !seen.insert(route.value.as_str()))
    {
        Some(twice) => invalid(format!("route \"{}\" is declared twice", twice.value)),
        None => Ok(()),
    }
}
