//! What plugins have logged, for whoever follows it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{pending, select_all};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;
use weir_core::change::Bound;
use weir_host::{LogLevel, Logs};
use weir_wire::error::Fault;
use weir_wire::id::{BindingId, PluginVersion};
use weir_wire::limits::{LOGS_WAIT_MAX, PAGE_ITEMS_MAX};
use weir_wire::name::TopicName;
use weir_wire::plugin::Hook;
use weir_wire::request::{LogLine, PluginLogLines, PluginLogs};

use crate::fault::IntoFault;
use crate::state::Shared;

/// A binding of the plugin, with the last line that is known of it.
struct Followed {
    topic: TopicName,
    id: BindingId,
    hook: Hook,
    version: PluginVersion,
    logs: Arc<Logs>,
    after: u64,
}

/// The lines behind those that are known; waits for one if there is none.
pub(super) async fn lines(shared: &Shared, request: &PluginLogs) -> Result<PluginLogLines, Fault> {
    let wait = Duration::from_millis(request.wait_ms).min(LOGS_WAIT_MAX);
    let found = timeout(wait, async {
        loop {
            let mut change = pin!(shared.topics.change());
            // A binding that comes while the others are looked at must wake this up.
            change.as_mut().enable();
            let bindings = followed(shared, request)?;
            let lines = kept(&bindings);
            if !lines.is_empty() || wait.is_zero() {
                return Ok(lines);
            }
            let waiting = bindings.iter().map(|binding| -> BoxFuture<'_, ()> {
                let more = binding.logs.wait_after(binding.after);
                more.map(drop).boxed()
            });
            // Without a binding there is nothing to wait for, but a binding may come.
            let never: BoxFuture<'_, ()> = pending().boxed();
            tokio::select! {
                _ = select_all(waiting.chain([never])) => {}
                () = change => {}
            }
        }
    });
    let lines: Result<_, Fault> = tokio::select! {
        biased;
        found = found => found.unwrap_or(Ok(Vec::new())),
        () = shared.draining.cancelled() => Ok(Vec::new()),
    };
    Ok(PluginLogLines { lines: lines? })
}

/// The lines that there are, as many as an answer holds.
fn kept(bindings: &[Followed]) -> Vec<LogLine> {
    let mut lines = Vec::new();
    for binding in bindings {
        let room = PAGE_ITEMS_MAX - lines.len();
        if room == 0 {
            break;
        }
        let later = binding.logs.lines_after(binding.after, room);
        lines.extend(later.into_iter().map(|line| info(binding, line)));
    }
    lines
}

/// The bindings of the plugin that have ended and those that run, in this order.
fn followed(shared: &Shared, request: &PluginLogs) -> Result<Vec<Followed>, Fault> {
    let after = request.after.iter();
    let after: HashMap<BindingId, u64> = after.map(|at| (at.binding, at.number)).collect();
    let shard = shared.shard.read();
    let known = shard.resolve_version(&request.plugin, None);
    known.map_err(IntoFault::into_fault)?;
    let follow = |topic: &TopicName, bound: &Bound, logs: Arc<Logs>| Followed {
        topic: topic.clone(),
        id: bound.id,
        hook: bound.hook,
        version: bound.version,
        logs,
        after: after.get(&bound.id).copied().unwrap_or(0),
    };
    let is_asked_for = |bound: &Bound| bound.plugin == request.plugin;
    let mut followed = Vec::new();
    let mut ended = shared.topics.ended();
    for topic in shard.catalog().topics() {
        if ended.is_empty() {
            break;
        }
        let bound = topic.history.events().map(|event| &event.bound);
        for bound in bound.filter(|bound| is_asked_for(bound)) {
            // A binding has several events.
            let logs = ended.remove(&bound.id);
            followed.extend(logs.map(|logs| follow(&topic.name, bound, logs)));
        }
    }
    let bindings = shard.catalog().bindings();
    let bindings = bindings.filter(|(_, bound)| is_asked_for(bound));
    followed.extend(bindings.filter_map(|(topic, bound)| {
        let running = shared.topics.bound(bound.id)?.ok()?;
        Some(follow(&topic.name, bound, running.logs().clone()))
    }));
    Ok(followed)
}

fn info(binding: &Followed, line: weir_host::LogLine) -> LogLine {
    LogLine {
        binding: binding.id,
        topic: binding.topic.clone(),
        hook: binding.hook,
        version: binding.version,
        number: line.number,
        level: match line.level {
            LogLevel::Debug => 0,
            LogLevel::Info => 1,
            LogLevel::Warn => 2,
            LogLevel::Error => 3,
        },
        message: line.message,
    }
}
