//! Requests about plugins and their bindings.

use bytes::Bytes;
use weir_core::catalog::Topic;
use weir_core::change;
use weir_core::shard::{BindRequest, ChangeRequest, RouteRequest, Shard};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PluginVersion;
use weir_wire::name::PluginName;
use weir_wire::request::{
    Bind, BindingCounters, BindingInfo, Bound, DescribePlugin, Done, PluginDescription, PluginInfo,
    PluginPushed, PluginVersionInfo, Plugins, PushPlugin, RemovePlugin, Route, Unbind,
};

use crate::fault::IntoFault;
use crate::sequence;
use crate::state::Shared;

pub(super) async fn push(
    shared: &Shared,
    request: PushPlugin,
    component: Bytes,
) -> Result<PluginPushed, Fault> {
    let bytes = component.len() as u64;
    let plugin = shared.plugins.add(&shared.host, component).await?;
    let (name, version) = (request.name, plugin.version());
    let known = {
        let shard = shared.shard.read();
        let versions = shard.catalog().plugin(&name).unwrap_or_default();
        // The latest version pushed again changes nothing; an older one becomes the latest.
        let latest = versions.last().filter(|latest| latest.version == version);
        latest.map(version_info)
    };
    if let Some(version) = known {
        return Ok(PluginPushed {
            version,
            known: true,
        });
    }
    let hooks = plugin.hooks().to_vec();
    let request = ChangeRequest::PushPlugin {
        name,
        version,
        bytes,
        hooks,
    };
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
    let users = shard
        .catalog()
        .bindings()
        .filter(|(_, bound)| bound.plugin == *name);
    let bindings = users.map(|(topic, bound)| binding_info(shared, &shard, topic, bound));
    Ok(PluginDescription {
        plugin: info(&shard, name, versions),
        bindings: bindings.collect(),
    })
}

pub(super) async fn remove(shared: &Shared, request: RemovePlugin) -> Result<Done, Fault> {
    let name = request.name;
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
            shared.plugins.remove(version);
        }
    }
    Ok(Done {})
}

pub(super) async fn bind(shared: &Shared, request: Bind) -> Result<Bound, Fault> {
    let topic = request.topic.clone();
    let (request, replaced) = resolve(shared, request)?;
    let routes: Vec<String> = request
        .routes
        .iter()
        .map(|route| route.value.clone())
        .collect();
    let bound = shared
        .plugins
        .bind(
            &shared.host,
            request.version,
            request.hook,
            &request.config,
            &routes,
        )
        .await?;
    let change = sequence::change(shared, ChangeRequest::Bind(request), Some(bound)).await?;
    let made = change.bound.expect("that is the change that was asked for");
    let shard = shared.shard.read();
    let topic = shard
        .existing_topic(&topic)
        .map_err(IntoFault::into_fault)?;
    Ok(Bound {
        binding: binding_info(shared, &shard, topic, &made),
        replaced,
    })
}

pub(super) async fn unbind(shared: &Shared, request: Unbind) -> Result<Done, Fault> {
    sequence::change(shared, ChangeRequest::Unbind(request.binding), None).await?;
    Ok(Done {})
}

/// Everything that can be checked before the plugin is asked.
fn resolve(
    shared: &Shared,
    request: Bind,
) -> Result<(BindRequest, Option<weir_wire::id::BindingId>), Fault> {
    let shard = shared.shard.read();
    let fault = IntoFault::into_fault;
    let topic = shard.existing_topic(&request.topic).map_err(fault)?;
    let pushed = shard
        .resolve_version(&request.plugin, request.version.as_deref())
        .map_err(fault)?;
    let replaced = topic.bindings.get(&request.hook).map(|bound| bound.id);
    let routes = request.routes.into_iter().map(|route| RouteRequest {
        value: route.value,
        topic: route.topic,
        partition: route.partition,
    });
    let bind = BindRequest {
        topic: request.topic,
        hook: request.hook,
        plugin: request.plugin,
        version: pushed.version,
        config: request.config,
        routes: routes.collect(),
        on_error: request.on_error.unwrap_or(request.hook.policies()[0]),
    };
    shard.plan_bind(&bind).map_err(fault)?;
    Ok((bind, replaced))
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

/// A binding, with what it has done.
pub(crate) fn binding_info(
    shared: &Shared,
    shard: &Shard,
    topic: &Topic,
    bound: &change::Bound,
) -> BindingInfo {
    let routes = bound.routes.iter().filter_map(|route| {
        let topic = shard.catalog().topic(route.topic)?;
        let (value, topic) = (route.value.clone(), topic.name.clone());
        Some(Route {
            value,
            topic,
            partition: route.partition,
        })
    });
    BindingInfo {
        id: bound.id,
        epoch: bound.epoch,
        topic: topic.name.clone(),
        hook: bound.hook,
        plugin: bound.plugin.clone(),
        version: bound.version,
        config: bound.config.clone(),
        routes: routes.collect(),
        on_error: bound.on_error,
        counters: counters(shared, bound),
    }
}

fn counters(shared: &Shared, bound: &change::Bound) -> BindingCounters {
    let (stats, broken) = match shared.topics.bound(bound.id) {
        Some(Ok(ready)) => (ready.stats(), None),
        Some(Err(reason)) => (weir_host::BindingStats::default(), Some(reason)),
        None => (
            weir_host::BindingStats::default(),
            Some("the plugin is not loaded".to_owned()),
        ),
    };
    BindingCounters {
        records: stats.records_in,
        failed: stats.records_failed,
        calls: stats.plugin_calls,
        cpu_ns: stats.cpu.as_nanos() as u64,
        last_error: broken.or(stats.quarantined).or(stats.last_error),
        memory_bytes: stats.memory_max,
    }
}

/// The error for a filter that a subscription names and that cannot be.
pub(crate) fn filter_fault(plugin: &PluginName, fault: &Fault) -> Fault {
    let text = format!("filter \"{plugin}\": {}", fault.message);
    Fault::new(
        if fault.code == ErrorCode::Internal {
            ErrorCode::PluginFailed
        } else {
            fault.code
        },
        text,
    )
}
