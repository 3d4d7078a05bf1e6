//! Requests about plugins and their versions.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use bytes::Bytes;
use weir_core::change;
use weir_core::shard::{ChangeRequest, Shard};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PluginVersion;
use weir_wire::limits::{
    BINDINGS_MAX, PAGE_ITEMS_MAX, PLUGIN_SUBSCRIPTIONS_MAX, RECORDS_HEADER_MAX,
};
use weir_wire::message::Message;
use weir_wire::name::PluginName;
use weir_wire::request::{
    DescribePlugin, Done, FetchPlugin, ListPlugins, PluginDescription, PluginFetched, PluginInfo,
    PluginPushed, PluginVersionInfo, Plugins, PushPlugin, RemovePlugin, Setting,
    SubscriptionPlugin,
};

use super::{binding_info, counters};
use crate::budget::Held;
use crate::fault::IntoFault;
use crate::state::Shared;
use crate::subscribe::Doing;
use crate::{plugins, sequence};

/// Bindings of a page before those of its last topic, which has at most so many at each of its
/// three hooks.
const PAGE_BINDINGS: usize = PAGE_ITEMS_MAX - 3 * BINDINGS_MAX;
/// Bytes of a page before those of its last topic: with what its bindings may have as settings,
/// the frame still has room to spare.
const PAGE_BYTES: usize = RECORDS_HEADER_MAX / 4;

pub(super) async fn push(
    shared: &Shared,
    request: PushPlugin,
    component: Bytes,
) -> Result<PluginPushed, Fault> {
    let compiled = plugins::compile(&shared.host, component.clone()).await?;
    let (name, version) = (request.name, compiled.version);
    // Nobody removes the version between its files and what the log says of it.
    let files = shared.plugins.files().await;
    let request = ChangeRequest::PushPlugin {
        name: name.clone(),
        version,
        bytes: component.len() as u64,
        hooks: compiled.hooks,
    };
    let known = {
        let shard = shared.shard.read();
        // What can be refused is refused before anything is written.
        let planned = shard.plan_change(crate::clock::now(), &request);
        planned.map_err(IntoFault::into_fault)?;
        let versions = shard.catalog().plugin(&name).unwrap_or_default();
        // The latest version pushed again changes nothing; an older one becomes the latest.
        let latest = versions.last().filter(|latest| latest.version == version);
        latest.map(version_info)
    };
    let artifact = Bytes::from(compiled.artifact);
    let stored = async {
        files.add(version, component, artifact).await?;
        if let Some(version) = known {
            return Ok(PluginPushed {
                version,
                known: true,
            });
        }
        let change = sequence::change(shared, request, None).await?;
        let pushed = change
            .plugin_pushed
            .expect("that is the change that was asked for");
        Ok(PluginPushed {
            version: version_info(&pushed),
            known: false,
        })
    };
    let stored: Result<_, Fault> = stored.await;
    let is_full = |fault: &Fault| fault.code == ErrorCode::DiskFull;
    // Of any other error it is not known whether the log has it.
    if stored.as_ref().is_err_and(is_full) && !shared.shard.read().catalog().has_version(version) {
        // Files that no plugin has would keep the last of the room.
        files.remove(version).await;
    }
    stored
}

pub(super) fn list(shard: &Shard, request: &ListPlugins) -> Plugins {
    let catalog = shard.catalog();
    let mut rest = catalog.plugins_after(request.after.as_ref());
    let page: Vec<_> = rest.by_ref().take(PAGE_ITEMS_MAX).collect();
    // All are counted at once: there may be many bindings, and many plugins.
    let mut uses: HashMap<&PluginName, u64> = HashMap::new();
    for (_, bound) in catalog.bindings() {
        *uses.entry(&bound.plugin).or_default() += 1;
    }
    let plugins = page.into_iter().map(|(name, versions)| {
        let bindings = uses.get(name).copied().unwrap_or_default();
        info(name, versions, bindings)
    });
    Plugins {
        plugins: plugins.collect(),
        more: rest.next().is_some(),
    }
}

pub(super) fn describe(
    shared: &Shared,
    request: &DescribePlugin,
) -> Result<PluginDescription, Fault> {
    let shard = shared.shard.read();
    let name = &request.name;
    shard
        .resolve_version(name, None)
        .map_err(IntoFault::into_fault)?;
    let catalog = shard.catalog();
    let versions = catalog.plugin(name).unwrap_or_default();
    let is_user = |(_, bound): &(u32, &change::Bound)| bound.plugin == *name;
    let mut users = catalog
        .topics_after(request.after.as_ref())
        .filter(|topic| topic.bound().any(|bound| is_user(&bound)));
    let mut bindings = Vec::new();
    let mut bytes = 0;
    // A page ends behind a topic, so that the next one begins at another.
    while bindings.len() < PAGE_BINDINGS
        && bytes < PAGE_BYTES
        && let Some(topic) = users.next()
    {
        for (position, bound) in topic.bound().filter(is_user) {
            let info = binding_info(shared, &shard, topic, position, bound);
            bytes += info.to_vec().len();
            bindings.push(info);
        }
    }
    let more = users.next().is_some();
    let (subscriptions, subscriptions_unlisted) = match more {
        true => (Vec::new(), 0),
        false => shared.watch.of_plugin(name, PLUGIN_SUBSCRIPTIONS_MAX),
    };
    let uses = catalog.bindings();
    let uses = uses.filter(|(_, bound)| bound.plugin == *name).count();
    Ok(PluginDescription {
        plugin: info(name, versions, uses as u64),
        bindings,
        more,
        subscriptions: subscriptions.into_iter().map(subscription_info).collect(),
        subscriptions_unlisted,
    })
}

pub(super) async fn remove(shared: &Shared, request: RemovePlugin) -> Result<Done, Fault> {
    let name = request.name;
    let files = shared.plugins.files().await;
    let versions: Vec<PluginVersion> = {
        let shard = shared.shard.read();
        let prefix = request.version.as_deref();
        let one = shard
            .resolve_version(&name, prefix)
            .map_err(IntoFault::into_fault)?
            .version;
        let all = shard.catalog().plugin(&name).unwrap_or_default();
        let all: Vec<PluginVersion> = all.iter().map(|pushed| pushed.version).collect();
        let chosen = if prefix.is_some() { vec![one] } else { all };
        // All or none: a version in use keeps the others too.
        for version in &chosen {
            let request = ChangeRequest::RemovePlugin {
                name: name.clone(),
                version: *version,
            };
            let now = crate::clock::now();
            shard
                .plan_change(now, &request)
                .map_err(IntoFault::into_fault)?;
        }
        chosen
    };
    for version in versions {
        let request = ChangeRequest::RemovePlugin {
            name: name.clone(),
            version,
        };
        sequence::change(shared, request, None).await?;
        if !shared.shard.read().catalog().has_version(version) {
            files.remove(version).await;
        }
    }
    Ok(Done {})
}

/// The component of a version, and what is known of it, with the room that it takes.
pub(super) async fn fetch(
    shared: &Shared,
    request: &FetchPlugin,
) -> Result<(PluginFetched, Bytes, Held), Fault> {
    let version = {
        let shard = shared.shard.read();
        let pushed = shard.resolve_version(&request.name, request.version.as_deref());
        version_info(pushed.map_err(IntoFault::into_fault)?)
    };
    let bytes = usize::try_from(version.bytes).unwrap_or(usize::MAX);
    let deadline = shared.config.limits.request_deadline;
    let room = shared.fetched.hold_within(bytes, deadline).await;
    let room = room.ok_or_else(|| {
        let text = "the broker sends as many components as it may; fetch the plugin again later";
        Fault::new(ErrorCode::Overloaded, text)
    })?;
    let component = shared.plugins.component(version.version).await?;
    Ok((PluginFetched { version }, component, room))
}

fn subscription_info(doing: Doing) -> SubscriptionPlugin {
    let guest = doing.guest;
    let config = doing.identity.config().iter();
    let config = config.map(|(name, value)| Setting {
        name: name.clone(),
        value: value.clone(),
    });
    SubscriptionPlugin {
        subscription: guest.place.subscription,
        position: guest.place.position,
        hook: guest.hook,
        version: guest.version,
        topic: guest.read.topic,
        topics: guest.read.topics,
        config: config.collect(),
        on_error: doing.on_error,
        limits: doing.limits,
        counters: counters(doing.stats),
    }
}

fn info(name: &PluginName, versions: &[change::PluginPushed], bindings: u64) -> PluginInfo {
    PluginInfo {
        name: name.clone(),
        versions: versions.iter().map(version_info).collect(),
        bindings,
    }
}

fn version_info(pushed: &change::PluginPushed) -> PluginVersionInfo {
    PluginVersionInfo {
        version: pushed.version,
        bytes: pushed.bytes,
        hooks: pushed.hooks.clone(),
        pushed: pushed.time,
    }
}
