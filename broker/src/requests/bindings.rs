//! Requests about bindings: making and ending them, going back, how they changed and how they are.

use std::time::{Duration, Instant};

use weir_core::catalog::Topic;
use weir_core::change;
use weir_core::shard::{BindRequest, ChangeError, ChangeRequest, RouteRequest, Shard};
use weir_host::BindingStats;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::Timestamp;
use weir_wire::request::{
    Bind, BindingCounters, BindingEvent, BindingInfo, Bound, DescribeHistory, Done, History,
    Quarantine, Rollback, Route, TopicEnds, Unbind, Unquarantine,
};

use crate::fault::IntoFault;
use crate::sequence;
use crate::state::Shared;
use crate::topics::Unready;

pub(super) async fn bind(shared: &Shared, request: Bind) -> Result<Bound, Fault> {
    let request = resolve(shared, request)?;
    make(shared, request).await
}

pub(super) async fn rollback(shared: &Shared, request: &Rollback) -> Result<Bound, Fault> {
    let request = {
        let shard = shared.shard.read();
        let before = shard.rollback(&request.plugin, &request.topic, request.hook);
        let before = before.map_err(IntoFault::into_fault)?;
        // What can be refused is refused before the plugin is asked.
        let planned = shard.plan_bind(crate::clock::now(), &before);
        planned.map_err(IntoFault::into_fault)?;
        before
    };
    make(shared, request).await
}

pub(super) async fn unbind(shared: &Shared, request: Unbind) -> Result<Done, Fault> {
    sequence::change(shared, ChangeRequest::Unbind(request.binding), None).await?;
    Ok(Done {})
}

pub(super) fn history(shared: &Shared, request: &DescribeHistory) -> Result<History, Fault> {
    let shard = shared.shard.read();
    let topic = shard
        .existing_topic(&request.topic)
        .map_err(IntoFault::into_fault)?;
    let events = topic
        .history
        .events()
        .map(|event| event_info(&shard, event));
    Ok(History {
        events: events.collect(),
    })
}

pub(super) fn unquarantine(shared: &Shared, request: &Unquarantine) -> Result<Done, Fault> {
    let id = request.binding;
    match shared.topics.bound(id) {
        Some(Ok(bound)) => {
            bound.unquarantine();
            Ok(Done {})
        }
        Some(Err(unready @ (Unready::Compiling | Unready::Later(_)))) => {
            let text = format!("binding {id} cannot run yet: {unready}");
            Err(Fault::new(ErrorCode::Overloaded, text))
        }
        Some(Err(Unready::Broken(reason))) => {
            let text = format!("binding {id} cannot run: {reason}; bind it anew or unbind it");
            Err(Fault::new(ErrorCode::PluginFailed, text))
        }
        None => Err(ChangeError::UnknownBinding(id).into_fault()),
    }
}

/// The plugin says yes to its configuration, then the change gets its place in the log.
async fn make(shared: &Shared, request: BindRequest) -> Result<Bound, Fault> {
    let routes: Vec<String> = request
        .routes
        .iter()
        .map(|route| route.value.clone())
        .collect();
    let (plugins, host) = (&shared.plugins, &shared.host);
    let plugin = plugins.load(host, request.version, Instant::now()).await?;
    let bound = plugins
        .bind(
            host,
            &plugin,
            request.hook,
            &request.config,
            &routes,
            request.limits.as_ref(),
        )
        .await
        .map_err(|fault| named(&request, fault))?;
    let name = request.topic.clone();
    let change = sequence::change(shared, ChangeRequest::Bind(request), Some(bound)).await?;
    let made = change.bound.expect("that is the change that was asked for");
    let shard = shared.shard.read();
    let topic = shard.existing_topic(&name).map_err(IntoFault::into_fault)?;
    Ok(Bound {
        binding: binding_info(
            shared,
            &shard,
            topic,
            made.position.unwrap_or_default(),
            &made,
        ),
        replaced: made.replaces,
    })
}

/// What a plugin is not bound for, with what was to be bound.
fn named(request: &BindRequest, fault: Fault) -> Fault {
    let BindRequest {
        plugin,
        hook,
        topic,
        ..
    } = request;
    let message = format!(
        "plugin \"{plugin}\" for the hook {hook} of topic \"{topic}\": {}",
        fault.message
    );
    Fault { message, ..fault }
}

/// Everything that can be checked before the plugin is asked.
fn resolve(shared: &Shared, request: Bind) -> Result<BindRequest, Fault> {
    let shard = shared.shard.read();
    let fault = IntoFault::into_fault;
    shard.existing_topic(&request.topic).map_err(fault)?;
    let pushed = shard
        .resolve_version(&request.plugin, request.version.as_deref())
        .map_err(fault)?;
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
        position: request.position,
        replace: request.replace,
        limits: request.limits,
        rolled_back: false,
    };
    shard.plan_bind(crate::clock::now(), &bind).map_err(fault)?;
    Ok(bind)
}

/// A binding, with what it has done.
pub(crate) fn binding_info(
    shared: &Shared,
    shard: &Shard,
    topic: &Topic,
    position: u32,
    bound: &change::Bound,
) -> BindingInfo {
    BindingInfo {
        config: bound.config.clone(),
        routes: routes(shard, bound),
        ..binding_state(shared, shard, topic, position, bound)
    }
}

/// The same without its settings and routes, which may be large, and no part of how it is.
pub(crate) fn binding_state(
    shared: &Shared,
    shard: &Shard,
    topic: &Topic,
    position: u32,
    bound: &change::Bound,
) -> BindingInfo {
    let dead_letters = bound.dead_letters.and_then(|id| shard.catalog().topic(id));
    BindingInfo {
        id: bound.id,
        epoch: bound.epoch,
        topic: topic.name.clone(),
        hook: bound.hook,
        plugin: bound.plugin.clone(),
        version: bound.version,
        config: Vec::new(),
        routes: Vec::new(),
        on_error: bound.on_error,
        counters: counters_of(shared, bound),
        position,
        limits: bound.limits.clone(),
        time: bound.time,
        dead_letters: dead_letters.map(|topic| topic.name.clone()),
    }
}

/// The declared routes; a topic that is gone has no name any more.
fn routes(shard: &Shard, bound: &change::Bound) -> Vec<Route> {
    let routes = bound.routes.iter().filter_map(|route| {
        let topic = shard.catalog().topic(route.topic)?;
        let (value, topic) = (route.value.clone(), topic.name.clone());
        Some(Route {
            value,
            topic,
            partition: route.partition,
        })
    });
    routes.collect()
}

fn event_info(shard: &Shard, event: &change::BindingEvent) -> BindingEvent {
    let bound = &event.bound;
    let ends = event.ends.iter().map(|at| TopicEnds {
        topic: at.topic,
        name: shard.catalog().topic(at.topic).map(|t| t.name.clone()),
        ends: at.ends.clone(),
    });
    BindingEvent {
        time: event.time,
        epoch: event.epoch,
        action: event.action,
        binding: bound.id,
        hook: bound.hook,
        plugin: bound.plugin.clone(),
        version: bound.version,
        config: bound.config.clone(),
        routes: routes(shard, bound),
        on_error: bound.on_error,
        position: bound.position.unwrap_or_default(),
        limits: bound.limits.clone(),
        replaced: event.replaced.as_ref().map(|replaced| replaced.id),
        ends: ends.collect(),
    }
}

fn counters_of(shared: &Shared, bound: &change::Bound) -> BindingCounters {
    let broken = match shared.topics.bound(bound.id) {
        Some(Ok(ready)) => return counters(ready.stats()),
        Some(Err(unready)) => unready.to_string(),
        None => "the plugin is not loaded".to_owned(),
    };
    counters(BindingStats {
        last_error: Some(broken),
        ..BindingStats::default()
    })
}

/// What the host has counted, as it is told.
pub(crate) fn counters(stats: BindingStats) -> BindingCounters {
    BindingCounters {
        records: stats.records_in,
        failed: stats.records_failed,
        calls: stats.plugin_calls,
        cpu_ns: stats.cpu.as_nanos() as u64,
        last_error: stats.last_error,
        memory_bytes: stats.memory_max,
        records_out: stats.records_out,
        traps: stats.traps,
        limits: stats.limits,
        impure: stats.impure,
        quarantine: stats.quarantined.map(|resting| Quarantine {
            reason: resting.message,
            since: resting.since,
            until: after(crate::clock::now(), resting.left),
            times: stats.quarantines,
        }),
        call_times: stats.call_times.to_vec(),
        call_ns: stats.call_time.as_nanos() as u64,
        log_lines_suppressed: stats.log_lines_suppressed,
    }
}

fn after(now: Timestamp, wait: Duration) -> Timestamp {
    let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
    Timestamp::new(now.value().saturating_add(wait))
}
