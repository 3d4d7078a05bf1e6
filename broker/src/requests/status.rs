//! How the broker is: the first thing an operator asks.

use std::sync::atomic::Ordering;

use weir_core::catalog::Catalog;
use weir_wire::request::{BrokerStatus, TopicSettings};

use super::binding_info;
use crate::state::Shared;

/// Topics that a warning names.
const NAMED_MAX: usize = 5;

/// Gathers the status.
pub(crate) fn status(shared: &Shared) -> BrokerStatus {
    let shard = shared.shard.read();
    let catalog = shard.catalog();
    let metrics = &shared.metrics;
    let bindings = catalog.topics().flat_map(|topic| {
        let bound = topic.bound();
        bound.map(|(position, bound)| binding_info(shared, &shard, topic, position, bound))
    });
    let bindings: Vec<_> = bindings.collect();
    let free = shared
        .vfs
        .free_space(&shared.data_dir)
        .map_or(0, |space| space.free);
    let mut warnings = Vec::new();
    if shared.auth.is_open() {
        warnings.push("no authentication: everybody on this machine may do everything".to_owned());
    }
    for binding in &bindings {
        let counters = &binding.counters;
        if let Some(resting) = &counters.quarantine {
            warnings.push(format!(
                "binding {} (plugin \"{}\" on topic \"{}\") is quarantined: {} \
                 (weir plugin unquarantine {})",
                binding.id, binding.plugin, binding.topic, resting.reason, binding.id
            ));
        } else if let Some(error) = &counters.last_error {
            warnings.push(format!(
                "binding {} (plugin \"{}\" on topic \"{}\"): {error}",
                binding.id, binding.plugin, binding.topic
            ));
        }
    }
    warnings.extend(shared.damages.warnings(catalog));
    warnings.extend(growth(catalog));
    warnings.extend(shared.held_back.read().iter().map(ToString::to_string));
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
