//! What plugins have logged, for whoever follows it.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::{pending, select_all};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::timeout;
use weir_host::{Bound, LogLevel};
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
    bound: Bound,
    after: u64,
}

/// The lines behind those that are known; waits for one if there is none.
pub(super) async fn lines(shared: &Shared, request: &PluginLogs) -> Result<PluginLogLines, Fault> {
    let bindings = followed(shared, request)?;
    let mut lines = Vec::new();
    for binding in &bindings {
        let room = PAGE_ITEMS_MAX - lines.len();
        if room == 0 {
            break;
        }
        let later = binding.bound.kept_lines_after(binding.after, room);
        lines.extend(later.into_iter().map(|line| info(binding, line)));
    }
    if lines.is_empty() && request.wait_ms > 0 {
        let wait = Duration::from_millis(request.wait_ms).min(LOGS_WAIT_MAX);
        let waiting = bindings.iter().map(|binding| -> BoxFuture<'_, _> {
            let more = binding.bound.log_lines_after(binding.after);
            more.map(move |lines| (binding, lines)).boxed()
        });
        // Without a binding there is nothing to wait for, but a binding may come.
        let never: BoxFuture<'_, _> = pending().boxed();
        let first = select_all(waiting.chain([never]));
        tokio::select! {
            biased;
            () = shared.draining.cancelled() => {}
            more = timeout(wait, first) => if let Ok(((binding, more), _, _)) = more {
                let more = more.into_iter().take(PAGE_ITEMS_MAX);
                lines.extend(more.map(|line| info(binding, line)));
            },
        }
    }
    Ok(PluginLogLines { lines })
}

/// The bindings of the plugin that run.
fn followed(shared: &Shared, request: &PluginLogs) -> Result<Vec<Followed>, Fault> {
    let after = request.after.iter();
    let after: HashMap<BindingId, u64> = after.map(|at| (at.binding, at.number)).collect();
    let shard = shared.shard.read();
    let known = shard.resolve_version(&request.plugin, None);
    known.map_err(IntoFault::into_fault)?;
    let bindings = shard.catalog().bindings();
    let bindings = bindings.filter(|(_, change)| change.plugin == request.plugin);
    let bindings = bindings.filter_map(|(topic, change)| {
        let bound = shared.topics.bound(change.id)?.ok()?;
        Some(Followed {
            topic: topic.name.clone(),
            id: change.id,
            hook: change.hook,
            version: change.version,
            bound,
            after: after.get(&change.id).copied().unwrap_or(0),
        })
    });
    Ok(bindings.collect())
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
