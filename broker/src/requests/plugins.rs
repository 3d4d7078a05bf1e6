//! Requests about plugins and their versions.

use bytes::Bytes;
use weir_core::change;
use weir_core::shard::{ChangeRequest, Shard};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PluginVersion;
use weir_wire::name::PluginName;
use weir_wire::request::{
    DescribePlugin, Done, FetchPlugin, PluginDescription, PluginFetched, PluginInfo, PluginPushed,
    PluginVersionInfo, Plugins, PushPlugin, RemovePlugin,
};

use super::binding_info;
use crate::budget::Held;
use crate::fault::IntoFault;
use crate::state::Shared;
use crate::{plugins, sequence};

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
}

pub(super) fn list(shared: &Shared) -> Plugins {
    let shard = shared.shard.read();
    let plugins = shard
        .catalog()
        .plugins()
        .map(|(name, versions)| info(&shard, name, versions));
    Plugins {
        plugins: plugins.collect(),
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
    let versions = shard.catalog().plugin(name).unwrap_or_default();
    let bindings = shard.catalog().topics().flat_map(|topic| {
        let users = topic.bound().filter(|(_, bound)| bound.plugin == *name);
        users.map(|(position, bound)| binding_info(shared, &shard, topic, position, bound))
    });
    Ok(PluginDescription {
        plugin: info(&shard, name, versions),
        bindings: bindings.collect(),
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

fn info(shard: &Shard, name: &PluginName, versions: &[change::PluginPushed]) -> PluginInfo {
    let bindings = shard
        .catalog()
        .bindings()
        .filter(|(_, bound)| bound.plugin == *name)
        .count();
    PluginInfo {
        name: name.clone(),
        versions: versions.iter().map(version_info).collect(),
        bindings: bindings as u64,
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
