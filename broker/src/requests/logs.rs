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
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{BindingId, PluginVersion, SubscriptionId};
use weir_wire::limits::{LOG_CURSORS_MAX, LOGS_WAIT_MAX, PAGE_ITEMS_MAX};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::Hook;
use weir_wire::request::{LogLine, PluginLogLines, PluginLogs};

use crate::fault::IntoFault;
use crate::state::Shared;
use crate::subscribe::Guest;

/// Who logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Who {
    Binding(BindingId),
    /// The filter or projection at that place of a subscription.
    Guest(SubscriptionId, u32),
}

/// Somebody who logs for the plugin, with the last line that is known of it.
struct Followed {
    who: Who,
    topic: TopicName,
    hook: Hook,
    version: PluginVersion,
    logs: Arc<Logs>,
    after: u64,
}

/// The lines behind those that are known; waits for one if there is none.
pub(super) async fn lines(shared: &Shared, request: &PluginLogs) -> Result<PluginLogLines, Fault> {
    let wait = Duration::from_millis(request.wait_ms).min(LOGS_WAIT_MAX);
    // Once, however often somebody comes meanwhile.
    let known = known(request)?;
    let found = timeout(wait, async {
        loop {
            let mut bound = pin!(shared.topics.change());
            let mut subscribed = pin!(shared.watch.change());
            // One that comes while the others are looked at must wake this up.
            bound.as_mut().enable();
            subscribed.as_mut().enable();
            let all = followed(shared, &request.plugin, &known)?;
            let lines = kept(&all);
            if !lines.is_empty() || wait.is_zero() {
                return Ok(lines);
            }
            let waiting = all.iter().map(|one| -> BoxFuture<'_, ()> {
                let more = one.logs.wait_after(one.after);
                more.map(drop).boxed()
            });
            // Without anybody there is nothing to wait for, but somebody may come.
            let never: BoxFuture<'_, ()> = pending().boxed();
            tokio::select! {
                _ = select_all(waiting.chain([never])) => {}
                () = bound => {}
                () = subscribed => {}
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
fn kept(all: &[Followed]) -> Vec<LogLine> {
    let mut lines = Vec::new();
    for one in all {
        let room = PAGE_ITEMS_MAX - lines.len();
        if room == 0 {
            break;
        }
        let later = one.logs.lines_after(one.after, room);
        lines.extend(later.into_iter().map(|line| info(one, line)));
    }
    lines
}

/// The last line that is known of each.
fn known(request: &PluginLogs) -> Result<HashMap<Who, u64>, Fault> {
    let PluginLogs { plugin, after, .. } = request;
    if after.len() > LOG_CURSORS_MAX {
        let text = format!(
            "the log of plugin \"{plugin}\" is read with {LOG_CURSORS_MAX} cursors at most, not \
             {}; leave out those of bindings and subscriptions that have ended",
            after.len()
        );
        return Err(Fault::new(ErrorCode::InvalidArgument, text));
    }
    let known = after.iter().map(|at| {
        let guest = at.subscription.map(|id| Who::Guest(id, at.position));
        (guest.unwrap_or(Who::Binding(at.binding)), at.number)
    });
    Ok(known.collect())
}

/// The bindings of the plugin and then the subscriptions with it: of each first those that have
/// ended, then those that run.
fn followed(
    shared: &Shared,
    plugin: &PluginName,
    known: &HashMap<Who, u64>,
) -> Result<Vec<Followed>, Fault> {
    let after = |who: &Who| known.get(who).copied().unwrap_or(0);
    let mut followed = bindings(shared, plugin, after)?;
    let guests = shared.watch.logs(plugin).into_iter();
    followed.extend(guests.map(|(guest, logs)| {
        let Guest { place, read, .. } = guest;
        let who = Who::Guest(place.subscription, place.position);
        Followed {
            after: after(&who),
            who,
            topic: read.topic,
            hook: guest.hook,
            version: guest.version,
            logs,
        }
    }));
    Ok(followed)
}

fn bindings(
    shared: &Shared,
    plugin: &PluginName,
    after: impl Fn(&Who) -> u64,
) -> Result<Vec<Followed>, Fault> {
    let shard = shared.shard.read();
    let known = shard.resolve_version(plugin, None);
    known.map_err(IntoFault::into_fault)?;
    let follow = |topic: &TopicName, bound: &Bound, logs: Arc<Logs>| Followed {
        who: Who::Binding(bound.id),
        topic: topic.clone(),
        hook: bound.hook,
        version: bound.version,
        logs,
        after: after(&Who::Binding(bound.id)),
    };
    let is_asked_for = |bound: &Bound| bound.plugin == *plugin;
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

fn info(one: &Followed, line: weir_host::LogLine) -> LogLine {
    let (binding, subscription, position) = match one.who {
        Who::Binding(id) => (id, None, 0),
        Who::Guest(subscription, position) => (BindingId::new(0), Some(subscription), position),
    };
    LogLine {
        binding,
        topic: one.topic.clone(),
        hook: one.hook,
        version: one.version,
        number: line.number,
        level: match line.level {
            LogLevel::Debug => 0,
            LogLevel::Info => 1,
            LogLevel::Warn => 2,
            LogLevel::Error => 3,
        },
        message: line.message,
        subscription,
        position,
    }
}
