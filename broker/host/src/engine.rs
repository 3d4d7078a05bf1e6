//! The engine's settings: the same in the child that compiles and in the host that runs, except
//! for how instances get their memory.

use crate::contract::{HOST, WireLevel};
use crate::instance::State;
use crate::{HostConfig, Limits};
use std::hash::{Hash, Hasher};
use wasmtime::component::{Component, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, StoreContextMut,
};
use xxhash_rust::xxh3::Xxh3;

/// Instances of components that can exist at once: two for the call of each thread. Idle ones make
/// room when it gets tight.
pub(crate) const INSTANCES_MAX: u32 = 2 * HostConfig::THREADS_MAX as u32;
/// Core instances and tables of a component: one of Python's consists of 38 modules.
const CORE_PER_COMPONENT: u32 = 64;
/// Memories of a component: one of JavaScript's has 3.
const MEMORIES_PER_COMPONENT: u32 = 4;
/// Memory kept resident: 16 slots of 2 MiB are 32 MiB in total.
const KEPT_SLOTS: u32 = 16;
const KEPT_PER_SLOT: usize = 2 << 20;

/// The engine of the child process that compiles.
pub(crate) fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&config())
}

/// The engine that runs plugins, with pooled memory.
pub(crate) fn running() -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES_MAX)
        .total_core_instances(INSTANCES_MAX * CORE_PER_COMPONENT)
        .total_memories(INSTANCES_MAX * MEMORIES_PER_COMPONENT)
        .total_tables(INSTANCES_MAX * CORE_PER_COMPONENT)
        .max_core_instances_per_component(CORE_PER_COMPONENT)
        .max_memories_per_component(MEMORIES_PER_COMPONENT)
        .max_tables_per_component(CORE_PER_COMPONENT)
        .max_memory_size(Limits::MEMORY_MAX)
        .max_unused_warm_slots(KEPT_SLOTS)
        .linear_memory_keep_resident(KEPT_PER_SLOT)
        .pagemap_scan(Enabled::Auto);
    Engine::new(config().allocation_strategy(InstanceAllocationStrategy::Pooling(pool)))
}

/// Everything that changes compiled code stands here. Determinism: one NaN, no relaxed SIMD, no
/// threads. Epochs rather than fuel, and no concurrency support, because both cost at every call.
fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .cranelift_nan_canonicalization(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_multi_memory(true);
    config
}

/// A number that is equal where compiled code can be exchanged.
pub(crate) fn compatibility(engine: &Engine) -> u64 {
    let mut hasher = Xxh3::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}

/// What a component gets: a log, and imports of WASI that do nothing but say so.
pub(crate) fn linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    // Under the name that the component uses, which may be of a later minor version.
    for (name, _) in component.component_type().imports(engine) {
        if name.starts_with(HOST) {
            linker.instance(name)?.func_wrap("log", log)?;
        }
    }
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}

fn log(
    mut store: StoreContextMut<'_, State>,
    (level, message): (WireLevel, String),
) -> wasmtime::Result<()> {
    store.data_mut().log(level.into(), &message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{compatibility, compiling, running};

    #[test]
    fn what_the_child_compiles_the_host_can_load() {
        let (child, host) = (compiling().unwrap(), running().unwrap());
        assert_eq!(compatibility(&child), compatibility(&host));
    }
}
