//! Managing a broker: topics, plugins, bindings, and how it is.

mod error;

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use weir_wire::frame::FrameMessage;
use weir_wire::id::BindingId;
use weir_wire::limits::LOGS_WAIT_MAX;
use weir_wire::name::PluginName;
use weir_wire::plugin::Hook;
use weir_wire::request::{
    Bind, BindingEvent, BindingInfo, Bound, BrokerStatus, CreateTopic, DeleteTopic,
    DescribeHistory, DescribePlugin, DescribeTopic, Done, FetchPlugin, History, ListPlugins,
    ListTopics, LogCursor, LogLine, PartitionTruncated, PluginDescription, PluginFetched,
    PluginInfo, PluginLogLines, PluginLogs, PluginPushed, PluginVersionInfo, Plugins, PushPlugin,
    RemovePlugin, Rollback, Status, TopicCreated, TopicDescription, TopicInfo, TopicSettings,
    TopicTruncated, TopicUpdated, Topics, TruncateTopic, Unbind, Unquarantine, UpdateTopic,
};

use crate::client::Client;
use crate::connection::{Link, StreamError};

pub use error::AdminError;

/// Manages a broker. Made by [`Client::admin`]; costs nothing to make.
///
/// Requests that only ask are repeated once when their connection breaks; requests that change
/// something are not, because the change may have happened.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

impl Admin {
    pub(crate) const fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a topic.
    ///
    /// It keeps everything for ever: [`Admin::create_topic_with`] says otherwise.
    pub async fn create_topic(&self, name: &str, partitions: u32) -> Result<TopicInfo, AdminError> {
        let settings = TopicSettings::default();
        self.create_topic_with(name, partitions, settings).await
    }

    /// Makes a topic that keeps what the settings say.
    pub async fn create_topic_with(
        &self,
        name: &str,
        partitions: u32,
        settings: TopicSettings,
    ) -> Result<TopicInfo, AdminError> {
        let request = CreateTopic {
            name: name.parse()?,
            partitions,
            settings: Some(settings),
        };
        let reply: TopicCreated = self.change(&request, Bytes::new()).await?;
        Ok(reply.topic)
    }

    /// Changes a topic: what it keeps, and how many partitions it has (never fewer). What is
    /// `None` stays as it is. Answers the topic as it is then.
    ///
    /// Where partitions are added, a key's records may go to another one from then on;
    /// [`Admin::describe_topic`] shows the fence between before and after.
    pub async fn update_topic(
        &self,
        update: &UpdateTopic,
    ) -> Result<(TopicInfo, TopicSettings), AdminError> {
        let reply: TopicUpdated = self.change(update, Bytes::new()).await?;
        Ok((reply.topic, reply.settings))
    }

    /// Removes the oldest records of a topic, for good: those below an offset, or the batches
    /// that were appended before a time. Answers where each partition begins then.
    pub async fn truncate_topic(
        &self,
        truncate: &TruncateTopic,
    ) -> Result<Vec<PartitionTruncated>, AdminError> {
        let reply: TopicTruncated = self.change(truncate, Bytes::new()).await?;
        Ok(reply.partitions)
    }

    /// Removes a topic and its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), AdminError> {
        let name = name.parse()?;
        let Done {} = self.change(&DeleteTopic { name }, Bytes::new()).await?;
        Ok(())
    }

    /// All topics, in order of names.
    pub async fn list_topics(&self) -> Result<Vec<TopicInfo>, AdminError> {
        let mut topics: Vec<TopicInfo> = Vec::new();
        loop {
            let after = topics.last().map(|topic| topic.name.clone());
            let page: Topics = self.ask(&ListTopics { after }).await?;
            if joined(&mut topics, page.topics, page.more, |topic| &topic.name)? {
                return Ok(topics);
            }
        }
    }

    /// A topic with its partitions, what it keeps, its bindings, its fences and the groups that
    /// read it.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription, AdminError> {
        let name = name.parse()?;
        self.ask(&DescribeTopic { name }).await
    }

    /// Uploads a component as a version of that plugin; the broker compiles and checks it.
    pub async fn push_plugin(
        &self,
        name: &str,
        component: impl Into<Bytes>,
    ) -> Result<PluginPushed, AdminError> {
        let name = name.parse()?;
        let component = component.into();
        let max = weir_wire::limits::COMPONENT_BYTES_MAX;
        if component.len() > max {
            return Err(AdminError::ComponentTooLarge {
                bytes: component.len(),
                max,
            });
        }
        self.change(&PushPlugin { name }, component).await
    }

    /// All plugins, in order of names.
    pub async fn list_plugins(&self) -> Result<Vec<PluginInfo>, AdminError> {
        let mut plugins: Vec<PluginInfo> = Vec::new();
        loop {
            let after = plugins.last().map(|plugin| plugin.name.clone());
            let page: Plugins = self.ask(&ListPlugins { after }).await?;
            if joined(&mut plugins, page.plugins, page.more, |plugin| &plugin.name)? {
                return Ok(plugins);
            }
        }
    }

    /// A plugin with its versions, all its bindings, in order of their topics' names, and the
    /// subscriptions that use it.
    pub async fn describe_plugin(&self, name: &str) -> Result<PluginDescription, AdminError> {
        let name: PluginName = name.parse()?;
        let mut bindings: Vec<BindingInfo> = Vec::new();
        loop {
            let request = DescribePlugin {
                name: name.clone(),
                after: bindings.last().map(|binding| binding.topic.clone()),
            };
            let page: PluginDescription = self.ask(&request).await?;
            if joined(&mut bindings, page.bindings, page.more, |bound| {
                &bound.topic
            })? {
                return Ok(PluginDescription {
                    plugin: page.plugin,
                    bindings,
                    more: false,
                    subscriptions: page.subscriptions,
                    subscriptions_unlisted: page.subscriptions_unlisted,
                });
            }
        }
    }

    /// Removes one version of a plugin, or all; refused while bindings use it.
    pub async fn remove_plugin(&self, name: &str, version: Option<&str>) -> Result<(), AdminError> {
        let request = RemovePlugin {
            name: name.parse::<PluginName>()?,
            version: version.map(str::to_owned),
        };
        let Done {} = self.change(&request, Bytes::new()).await?;
        Ok(())
    }

    /// Binds a plugin to a hook of a topic; answers the binding and which one it replaced.
    pub async fn bind(&self, bind: &Bind) -> Result<(BindingInfo, Option<BindingId>), AdminError> {
        let bound: Bound = self.change(bind, Bytes::new()).await?;
        Ok((bound.binding, bound.replaced))
    }

    /// Ends a binding.
    pub async fn unbind(&self, binding: BindingId) -> Result<(), AdminError> {
        let Done {} = self.change(&Unbind { binding }, Bytes::new()).await?;
        Ok(())
    }

    /// Binds again what the plugin's binding on that topic took the place of: version, settings,
    /// routes, policy and limits. Twice is back again. Name the hook where the plugin is bound to
    /// several.
    pub async fn rollback(
        &self,
        plugin: &str,
        topic: &str,
        hook: Option<Hook>,
    ) -> Result<(BindingInfo, Option<BindingId>), AdminError> {
        let request = Rollback {
            plugin: plugin.parse()?,
            topic: topic.parse()?,
            hook,
        };
        let bound: Bound = self.change(&request, Bytes::new()).await?;
        Ok((bound.binding, bound.replaced))
    }

    /// How a topic's bindings changed, the oldest first, each with the first offsets behind it.
    pub async fn history(&self, topic: &str) -> Result<Vec<BindingEvent>, AdminError> {
        let topic = topic.parse()?;
        let reply: History = self.ask(&DescribeHistory { topic }).await?;
        Ok(reply.events)
    }

    /// Lets a binding work at once that rests after grave failures.
    pub async fn unquarantine(&self, binding: BindingId) -> Result<(), AdminError> {
        let Done {} = self.change(&Unquarantine { binding }, Bytes::new()).await?;
        Ok(())
    }

    /// What a plugin has logged, for bindings and for subscriptions, behind the lines that are
    /// known already, of 10,000 of them at most. Waits for a line if there is none, at most so
    /// long, and never longer than 10 s.
    pub async fn plugin_logs(
        &self,
        plugin: &str,
        after: &[LogCursor],
        wait: Duration,
    ) -> Result<Vec<LogLine>, AdminError> {
        let wait = wait.min(LOGS_WAIT_MAX);
        let request = PluginLogs {
            plugin: plugin.parse()?,
            after: after.to_vec(),
            wait_ms: wait.as_millis() as u64,
        };
        // The broker keeps silent on purpose for so long.
        let limit = self.client.retry_timeout() + wait;
        let reply: PluginLogLines = self.ask_within(limit, &request).await?;
        Ok(reply.lines)
    }

    /// The component of a plugin's version, by the first digits of it; the latest without.
    pub async fn fetch_plugin(
        &self,
        name: &str,
        version: Option<&str>,
    ) -> Result<(PluginVersionInfo, Bytes), AdminError> {
        let request = FetchPlugin {
            name: name.parse()?,
            version: version.map(str::to_owned),
        };
        let link = self.client.control_link().await?;
        let limit = self.client.retry_timeout();
        let fetched = within(limit, &link, link.fetch(&request)).await?;
        let (PluginFetched { version }, component) = fetched;
        Ok((version, Bytes::from(component)))
    }

    /// How the broker is.
    pub async fn status(&self) -> Result<BrokerStatus, AdminError> {
        self.ask(&Status {}).await
    }

    async fn ask<Q: FrameMessage, A: FrameMessage>(&self, query: &Q) -> Result<A, AdminError> {
        self.ask_within(self.client.retry_timeout(), query).await
    }

    async fn ask_within<Q: FrameMessage, A: FrameMessage>(
        &self,
        limit: Duration,
        query: &Q,
    ) -> Result<A, AdminError> {
        match self.request(limit, query, Bytes::new()).await {
            Err(AdminError::Lost { .. }) => self.request(limit, query, Bytes::new()).await,
            other => other,
        }
    }

    async fn change<Q: FrameMessage, A: FrameMessage>(
        &self,
        query: &Q,
        payload: Bytes,
    ) -> Result<A, AdminError> {
        let limit = self.client.retry_timeout();
        self.request(limit, query, payload).await
    }

    async fn request<Q: FrameMessage, A: FrameMessage>(
        &self,
        limit: Duration,
        query: &Q,
        payload: Bytes,
    ) -> Result<A, AdminError> {
        let link = self.client.control_link().await?;
        within(limit, &link, link.request(query, payload)).await
    }
}

/// Adds a page to those before it, in order of names; whether it was the last.
fn joined<T, N: Ord>(
    items: &mut Vec<T>,
    page: Vec<T>,
    more: bool,
    name: impl Fn(&T) -> &N,
) -> Result<bool, AdminError> {
    let last = items.last().map(&name);
    let follows = page.first().map_or(!more, |first| last < Some(name(first)));
    // A broker that lists in circles would keep us here for ever. Several may have one name.
    if !follows || !page.is_sorted_by_key(&name) {
        return Err(AdminError::Protocol {
            reason: "a page does not follow the one before".to_owned(),
        });
    }
    items.extend(page);
    Ok(!more)
}

/// Waits for a reply, but not for longer than that.
async fn within<A>(
    limit: Duration,
    link: &Link,
    reply: impl Future<Output = Result<A, StreamError>>,
) -> Result<A, AdminError> {
    match timeout(limit, reply).await {
        Err(_) => Err(AdminError::TimedOut {
            seconds: limit.as_secs(),
        }),
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(StreamError::Fault(fault))) => Err(AdminError::Refused(fault)),
        Ok(Err(StreamError::Lost(reason))) => Err(AdminError::Lost { reason }),
        Ok(Err(StreamError::Violation(reason))) => {
            link.refuse(&reason);
            Err(AdminError::Protocol { reason })
        }
    }
}
