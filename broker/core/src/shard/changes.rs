//! Changes of the catalog: checked against what exists, then made into a log entry.

use std::collections::HashSet;

use weir_wire::id::{
    BindingId, Offset, PartitionId, PluginVersion, ProducerEpoch, Timestamp, TopicId,
};
use weir_wire::limits::{CONFIG_ENTRIES_MAX, ROUTES_MAX};
use weir_wire::name::{GroupName, PluginName, TopicName};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{Setting, TopicSettings, UpdateTopic};

use super::Shard;
use crate::catalog::Topic;
use crate::change::{
    Bound, Change, PluginPushed, PluginRemoved, ProducerOpened, RouteTarget, Unbound,
};

/// What somebody wants changed.
#[derive(Clone, Debug)]
pub enum ChangeRequest {
    /// Make a topic.
    CreateTopic {
        /// Its name.
        name: TopicName,
        /// How many partitions.
        partitions: u32,
        /// What it keeps, and for how long.
        settings: TopicSettings,
    },
    /// Change a topic.
    UpdateTopic(UpdateTopic),
    /// Say where a group stands.
    SetCursor {
        /// The group.
        group: GroupName,
        /// The topic.
        topic: TopicName,
        /// The partition.
        partition: PartitionId,
        /// The next offset it will read.
        offset: Offset,
    },
    /// Remove a topic.
    DeleteTopic(TopicName),
    /// Register a version of a plugin, whose files are safe.
    PushPlugin {
        /// The plugin.
        name: PluginName,
        /// Its version.
        version: PluginVersion,
        /// Bytes of the component.
        bytes: u64,
        /// The hooks it exports.
        hooks: Vec<Hook>,
    },
    /// Remove one version of a plugin.
    RemovePlugin {
        /// The plugin.
        name: PluginName,
        /// The version.
        version: PluginVersion,
    },
    /// Bind a plugin that has accepted its configuration.
    Bind(BindRequest),
    /// End a binding.
    Unbind(BindingId),
    /// Open a new producer session.
    OpenProducer(TopicName),
}

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

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The name is taken.
    #[error("topic \"{0}\" exists already (see it: weir topic describe {0})")]
    TopicExists(TopicName),
    /// No topic of that name.
    #[error("topic \"{0}\" does not exist (create it: weir topic create {0})")]
    UnknownTopic(TopicName),
    /// No plugin of that name.
    #[error("plugin \"{0}\" does not exist (upload it: weir plugin push FILE.wasm --name {0})")]
    UnknownPlugin(PluginName),
    /// No version with these digits, or several.
    #[error(
        "plugin \"{plugin}\" has {count} versions that begin with \"{prefix}\" \
             (see them: weir plugin show {plugin})"
    )]
    UnknownVersion {
        /// The plugin.
        plugin: PluginName,
        /// The digits.
        prefix: String,
        /// How many fit.
        count: usize,
    },
    /// No binding of that id.
    #[error("binding {0} does not exist (see them: weir plugin show NAME, or weir status)")]
    UnknownBinding(BindingId),
    /// Bindings use the plugin.
    #[error("plugin \"{plugin}\" is bound: {bindings}; unbind it first")]
    PluginInUse {
        /// The plugin.
        plugin: PluginName,
        /// The bindings, as a list.
        bindings: String,
    },
    /// A binding's route leads to the topic.
    #[error(
        "topic \"{topic}\" is where binding {binding} of topic \"{from}\" leads; \
             unbind that first (weir plugin unbind {binding})"
    )]
    TopicInUse {
        /// The topic.
        topic: TopicName,
        /// The binding.
        binding: BindingId,
        /// The topic it is bound to.
        from: TopicName,
    },
    /// A value out of its range.
    #[error("{0}")]
    Invalid(String),
    /// A count has reached its limit.
    #[error("{0}")]
    Limit(String),
}

impl Shard {
    /// Checks a change and gives it its ids.
    pub fn plan_change(
        &self,
        now: Timestamp,
        request: &ChangeRequest,
    ) -> Result<Change, ChangeError> {
        match request {
            ChangeRequest::CreateTopic {
                name,
                partitions,
                settings,
            } => self.plan_topic(now, name, *partitions, settings),
            ChangeRequest::UpdateTopic(request) => self.plan_update(now, request),
            ChangeRequest::SetCursor {
                group,
                topic,
                partition,
                offset,
            } => self.plan_cursor(group, topic, *partition, *offset),
            ChangeRequest::DeleteTopic(name) => self.plan_deletion(name),
            ChangeRequest::PushPlugin {
                name,
                version,
                bytes,
                hooks,
            } => {
                let (name, hooks) = (name.clone(), hooks.clone());
                let pushed = PluginPushed {
                    name,
                    version: *version,
                    bytes: *bytes,
                    hooks,
                    time: now,
                };
                Ok(Change {
                    plugin_pushed: Some(pushed),
                    ..Change::NONE
                })
            }
            ChangeRequest::RemovePlugin { name, version } => self.plan_removal(name, *version),
            ChangeRequest::Bind(request) => self.plan_bind(request),
            ChangeRequest::Unbind(id) => {
                let (topic, bound) = self
                    .catalog
                    .binding(*id)
                    .ok_or(ChangeError::UnknownBinding(*id))?;
                let unbound = Unbound {
                    id: bound.id,
                    epoch: topic.binding_epoch.next(),
                };
                Ok(Change {
                    unbound: Some(unbound),
                    ..Change::NONE
                })
            }
            ChangeRequest::OpenProducer(name) => {
                let topic = self.existing_topic(name)?.id;
                let id = self.producers.next_id();
                let opened = ProducerOpened {
                    id,
                    epoch: ProducerEpoch::new(0),
                    topic,
                };
                Ok(Change {
                    producer_opened: Some(opened),
                    ..Change::NONE
                })
            }
        }
    }

    /// The version that digits stand for; the latest without digits.
    pub fn resolve_version(
        &self,
        plugin: &PluginName,
        prefix: Option<&str>,
    ) -> Result<&PluginPushed, ChangeError> {
        let versions = self.catalog.plugin(plugin);
        let versions = versions.ok_or_else(|| ChangeError::UnknownPlugin(plugin.clone()))?;
        let Some(prefix) = prefix else {
            return versions
                .last()
                .ok_or_else(|| ChangeError::UnknownPlugin(plugin.clone()));
        };
        let mut fitting = versions
            .iter()
            .filter(|pushed| pushed.version.to_string().starts_with(prefix));
        match (fitting.next(), fitting.count()) {
            (Some(version), 0) => Ok(version),
            (first, more) => Err(ChangeError::UnknownVersion {
                plugin: plugin.clone(),
                prefix: prefix.to_owned(),
                count: usize::from(first.is_some()) + more,
            }),
        }
    }

    /// The topic of that name, or the error that says it is not there.
    pub fn existing_topic(&self, name: &TopicName) -> Result<&Topic, ChangeError> {
        self.catalog
            .topic_named(name)
            .ok_or_else(|| ChangeError::UnknownTopic(name.clone()))
    }

    fn plan_removal(
        &self,
        name: &PluginName,
        version: PluginVersion,
    ) -> Result<Change, ChangeError> {
        let known = self.catalog.plugin(name);
        let known = known.ok_or_else(|| ChangeError::UnknownPlugin(name.clone()))?;
        if !known.iter().any(|pushed| pushed.version == version) {
            let prefix = version.short();
            return Err(ChangeError::UnknownVersion {
                plugin: name.clone(),
                prefix,
                count: 0,
            });
        }
        let users = self
            .catalog
            .bindings()
            .filter(|(_, b)| b.plugin == *name && b.version == version);
        let bindings: Vec<String> = users
            .map(|(topic, b)| format!("binding {} of topic \"{}\"", b.id, topic.name))
            .collect();
        if !bindings.is_empty() {
            let bindings = bindings.join(", ");
            return Err(ChangeError::PluginInUse {
                plugin: name.clone(),
                bindings,
            });
        }
        let removed = PluginRemoved {
            name: name.clone(),
            version,
        };
        Ok(Change {
            plugin_removed: Some(removed),
            ..Change::NONE
        })
    }

    /// Checks everything about a binding that needs no plugin to run.
    pub fn plan_bind(&self, request: &BindRequest) -> Result<Change, ChangeError> {
        let topic = self.existing_topic(&request.topic)?;
        let pushed = self.resolve_version(&request.plugin, Some(&request.version.to_string()))?;
        check_bind(request, &pushed.hooks)?;
        let routes = request
            .routes
            .iter()
            .map(|route| self.resolve_route(topic.id, route));
        let routes = routes.collect::<Result<Vec<_>, _>>()?;
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
        };
        Ok(Change {
            bound: Some(bound),
            ..Change::NONE
        })
    }

    fn resolve_route(
        &self,
        addressed: TopicId,
        route: &RouteRequest,
    ) -> Result<RouteTarget, ChangeError> {
        let target = self.existing_topic(&route.topic)?;
        let from = self
            .catalog
            .topic(addressed)
            .expect("the caller found it just now");
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

fn check_bind(request: &BindRequest, exported: &[Hook]) -> Result<(), ChangeError> {
    let invalid = |text: String| Err(ChangeError::Invalid(text));
    let hook = request.hook;
    if !matches!(hook, Hook::Key | Hook::Route) {
        return invalid(format!(
            "hook {hook} cannot be bound to a topic in this version; key and route can, \
             and filters belong to subscriptions (weir consume --filter)"
        ));
    }
    if !exported.contains(&hook) {
        let names: Vec<&str> = exported.iter().map(|hook| hook.word()).collect();
        return invalid(format!(
            "plugin \"{}\" has no hook {hook}; it exports {}",
            request.plugin,
            names.join(", ")
        ));
    }
    if !hook.policies().contains(&request.on_error) || request.on_error == ErrorPolicy::DeadLetter {
        let allowed: Vec<&str> = hook
            .policies()
            .iter()
            .filter(|policy| **policy != ErrorPolicy::DeadLetter)
            .map(|policy| policy.word())
            .collect();
        return invalid(format!(
            "hook {hook} cannot have the error policy {}; it may be {}",
            request.on_error,
            allowed.join(" or ")
        ));
    }
    if request.config.len() > CONFIG_ENTRIES_MAX {
        return invalid(format!(
            "a binding has at most {CONFIG_ENTRIES_MAX} settings"
        ));
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
