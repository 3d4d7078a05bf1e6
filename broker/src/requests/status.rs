//! How the broker is: the first thing an operator asks.

use std::sync::atomic::Ordering;

use weir_core::catalog::Catalog;
use weir_wire::limits::{STATUS_BINDINGS_MAX, STATUS_WARNINGS_MAX};
use weir_wire::request::{BindingInfo, BrokerStatus, TopicSettings};

use super::binding_state;
use crate::state::Shared;

/// Topics that a warning names.
const NAMED_MAX: usize = 5;

/// Gathers the status.
pub(crate) fn status(shared: &Shared) -> BrokerStatus {
    let shard = shared.shard.read();
    let catalog = shard.catalog();
    let metrics = &shared.metrics;
    let mut listed = catalog.topics().flat_map(|topic| {
        let bound = topic.bound();
        bound.map(move |(position, bound)| (topic, position, bound))
    });
    let bindings: Vec<_> = listed
        .by_ref()
        .take(STATUS_BINDINGS_MAX)
        .map(|(topic, position, bound)| binding_state(shared, &shard, topic, position, bound))
        .collect();
    let unlisted = listed.count();
    let free = shared
        .vfs
        .free_space(&shared.data_dir)
        .map_or(0, |space| space.free);
    let mut warnings = Vec::new();
    if shared.auth.is_open() {
        warnings.push("no authentication: everybody on this machine may do everything".to_owned());
    }
    warnings.extend(shared.damages.warnings(catalog));
    warnings.extend(growth(catalog));
    warnings.extend(shared.held_back.read().iter().map(ToString::to_string));
    if unlisted > 0 {
        warnings.push(format!(
            "{unlisted} more bindings are not listed here (weir plugin show NAME)"
        ));
    }
    let warnings = warnings.into_iter();
    let warnings = warnings.chain(bindings.iter().filter_map(ails));
    let of_subscriptions = shared
        .watch
        .resting()
        .into_iter()
        .chain(shared.watch.impure());
    let warnings = at_most(STATUS_WARNINGS_MAX, warnings.chain(of_subscriptions));
    BrokerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: shared.started,
        topics: catalog.topic_count() as u64,
        partitions: catalog
            .topics()
            .map(|topic| u64::from(topic.partitions))
            .sum(),
        connections: shared.connections.load(Ordering::Relaxed) as u64,
        producers: shard.producer_count() as u64,
        subscriptions: shared.subscriptions.load(Ordering::Relaxed) as u64,
        records_in: metrics.records_in.get(),
        bytes_in: metrics.bytes_in.get(),
        records_out: metrics.records_out.get(),
        bytes_out: metrics.bytes_out.get(),
        log_bytes: shared.reader.disk_bytes(),
        free_bytes: free,
        memory_bytes: resident_bytes(shared),
        warnings,
        bindings,
        data_dir: shared.data_dir.display().to_string(),
    }
}

/// The first warnings; the last of so many says how many more there are.
pub(crate) fn at_most(max: usize, warnings: impl Iterator<Item = String>) -> Vec<String> {
    let mut rest = warnings.fuse();
    let mut warnings: Vec<_> = rest.by_ref().take(max).collect();
    let more = rest.count();
    if more > 0 {
        warnings.pop();
        warnings.push(format!("and {} more warnings", more + 1));
    }
    warnings
}

/// What is wrong with a binding.
fn ails(binding: &BindingInfo) -> Option<String> {
    let BindingInfo {
        id,
        plugin,
        topic,
        counters,
        ..
    } = binding;
    if let Some(resting) = &counters.quarantine {
        let reason = &resting.reason;
        return Some(format!(
            "binding {id} (plugin \"{plugin}\" on topic \"{topic}\") is quarantined: {reason} \
             (weir plugin unquarantine {id})"
        ));
    }
    let error = counters.last_error.as_ref()?;
    Some(format!(
        "binding {id} (plugin \"{plugin}\" on topic \"{topic}\"): {error}"
    ))
}

/// Names topics that keep everything for ever.
fn growth(catalog: &Catalog) -> Option<String> {
    let mut growing = catalog.topics().filter(|topic| {
        let TopicSettings {
            retention_ms,
            retention_bytes,
            compact,
            ..
        } = topic.settings;
        retention_ms.is_none() && retention_bytes.is_none() && !compact
    });
    let named: Vec<String> = growing
        .by_ref()
        .take(NAMED_MAX)
        .map(|topic| format!("\"{}\"", topic.name))
        .collect();
    if named.is_empty() {
        return None;
    }
    let named = named.join(", ");
    let more = match growing.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!(
        "without retention, topics grow without bound: {named}{more} \
         (weir topic update NAME --retention 7d)"
    ))
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_bytes(shared: &Shared) -> u64 {
    crate::memory::resident_bytes(&*shared.vfs).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::at_most;

    #[test]
    fn warnings_that_are_too_many_are_counted() {
        let warnings = |count: usize| at_most(3, (0..count).map(|number| number.to_string()));
        assert_eq!(warnings(0), Vec::<String>::new());
        assert_eq!(warnings(3), ["0", "1", "2"]);
        assert_eq!(warnings(5), ["0", "1", "and 3 more warnings"]);
    }
}
