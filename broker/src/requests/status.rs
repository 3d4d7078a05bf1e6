//! How the broker is: the first thing an operator asks.

use std::sync::atomic::Ordering;

use weir_wire::request::BrokerStatus;

use super::binding_info;
use crate::state::Shared;

/// Gathers the status.
pub(crate) fn status(shared: &Shared) -> BrokerStatus {
    let shard = shared.shard.read();
    let catalog = shard.catalog();
    let metrics = &shared.metrics;
    let bindings: Vec<_> = catalog
        .bindings()
        .map(|(topic, bound)| binding_info(shared, &shard, topic, bound))
        .collect();
    let free = shared
        .vfs
        .free_space(&shared.data_dir)
        .map_or(0, |space| space.free);
    let mut warnings = Vec::new();
    if shared.auth.is_open() {
        warnings.push("no authentication: everybody on this machine may do everything".to_owned());
    }
    for binding in &bindings {
        if let Some(error) = &binding.counters.last_error {
            warnings.push(format!(
                "binding {} (plugin \"{}\" on topic \"{}\"): {error}",
                binding.id, binding.plugin, binding.topic
            ));
        }
    }
    warnings.push("the log grows without bound: retention is not part of this version".to_owned());
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

/// Resident memory of this process; 0 where the system does not tell.
fn resident_bytes(shared: &Shared) -> u64 {
    crate::memory::resident_bytes(&*shared.vfs).unwrap_or(0)
}
