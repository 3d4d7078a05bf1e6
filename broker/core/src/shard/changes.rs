//! Changes of the catalog: checked against what exists, then made into a log entry.

use std::collections::HashSet;

use weir_wire::id::{BindingId, Offset, PartitionId, PluginVersion, ProducerEpoch, Timestamp};
use weir_wire::limits::PLUGIN_VERSIONS_MAX;
use weir_wire::name::{GroupName, PluginName, TopicName};
use weir_wire::plugin::Hook;
use weir_wire::request::{TopicSettings, UpdateTopic};

use super::{BindRequest, Shard};
use crate::catalog::Topic;
use crate::change::{Change, PluginPushed, PluginRemoved, ProducerOpened};

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

fn beginning(plugin: &PluginName, prefix: &str, count: usize) -> String {
    match count {
        0 => format!("no version of plugin \"{plugin}\" begins with \"{prefix}\""),
        _ => format!("{count} versions of plugin \"{plugin}\" begin with \"{prefix}\""),
    }
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
    #[error("{} (see them: weir plugin show {plugin})", beginning(plugin, prefix, *count))]
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
    /// A binding's route leads to the topic, or its dead letters go there.
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
                let pushed = PluginPushed {
                    name: name.clone(),
                    version: *version,
                    bytes: *bytes,
                    hooks: hooks.clone(),
                    time: now,
                };
                self.plan_push(pushed)
            }
            ChangeRequest::RemovePlugin { name, version } => self.plan_removal(name, *version),
            ChangeRequest::Bind(request) => self.plan_bind(now, request),
            ChangeRequest::Unbind(id) => self.plan_unbind(now, *id),
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

    fn plan_push(&self, pushed: PluginPushed) -> Result<Change, ChangeError> {
        let versions = self.catalog.plugin(&pushed.name).unwrap_or_default();
        let known = versions.iter().any(|known| known.version == pushed.version);
        if !known && versions.len() >= PLUGIN_VERSIONS_MAX {
            let name = &pushed.name;
            let bound: HashSet<PluginVersion> = self
                .catalog
                .bindings()
                .filter(|(_, bound)| bound.plugin == *name)
                .map(|(_, bound)| bound.version)
                .collect();
            let unused = versions.iter().find(|it| !bound.contains(&it.version));
            let advice = match unused.map(|unused| unused.version.short()) {
                Some(unused) => {
                    format!("remove those that nobody needs (weir plugin remove {name}@{unused}")
                }
                None => "all are bound: replace or unbind one (weir plugin unbind ID".to_owned(),
            };
            return Err(ChangeError::Limit(format!(
                "plugin \"{name}\" has {PLUGIN_VERSIONS_MAX} versions, and there may not be more; \
                 {advice}; see them: weir plugin show {name})"
            )));
        }
        Ok(Change {
            plugin_pushed: Some(pushed),
            ..Change::NONE
        })
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
}
