//! A loaded component: ready to be instantiated, its exports looked up once.

use crate::artifact::{self, LoadError};
use crate::contract::{LIFECYCLE, RUNNABLE};
use crate::engine;
use crate::instance::State;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// A version of a plugin, loaded. Cheap to clone.
#[derive(Clone)]
pub struct Plugin {
    inner: Arc<Inner>,
}

/// A version that is loaded only as long as a binding or somebody else has it.
#[derive(Clone, Debug)]
pub struct WeakPlugin {
    inner: Weak<Inner>,
}

struct Inner {
    version: PluginVersion,
    hooks: Vec<Hook>,
    pre: InstancePre<State>,
    configure: ComponentExportIndex,
    functions: Vec<(Hook, ComponentExportIndex)>,
    /// The hooks caught giving different answers to the same question: bits of their numbers.
    impure: AtomicU64,
}

impl Plugin {
    /// The SHA-256 of the component.
    #[must_use]
    pub fn version(&self) -> PluginVersion {
        self.inner.version
    }

    /// The hooks that it exports and this host runs.
    #[must_use]
    pub fn hooks(&self) -> &[Hook] {
        &self.inner.hooks
    }

    /// A reference that does not keep it loaded.
    #[must_use]
    pub fn downgrade(&self) -> WeakPlugin {
        WeakPlugin {
            inner: Arc::downgrade(&self.inner),
        }
    }

    pub(crate) fn load(
        engine: &Engine,
        engine_hash: u64,
        version: PluginVersion,
        artifact: &[u8],
    ) -> Result<Self, LoadError> {
        let (header, payload) = artifact::split(artifact)?;
        if header.version != version {
            return Err(LoadError::OtherVersion {
                wanted: version,
                found: header.version,
            });
        }
        if header.engine != engine_hash {
            return Err(LoadError::Stale);
        }
        let refused = |error: wasmtime::Error| LoadError::Engine {
            message: format!("{error:#}"),
        };
        let component = deserialize(engine, payload).map_err(refused)?;
        let linker = engine::linker(engine, &component).map_err(refused)?;
        let find = |interface: &str, function: &str| {
            let interface = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&interface), function)
        };
        let configure = find(LIFECYCLE, "configure").ok_or(LoadError::Damaged {
            what: "the component has no lifecycle.configure",
        })?;
        let functions: Vec<_> = RUNNABLE
            .iter()
            .filter_map(|(hook, interface, function)| Some((*hook, find(interface, function)?)))
            .collect();
        let hooks = functions.iter().map(|(hook, _)| *hook).collect();
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        Ok(Self {
            inner: Arc::new(Inner {
                version,
                hooks,
                pre,
                configure,
                functions,
                impure: AtomicU64::new(0),
            }),
        })
    }

    pub(crate) fn is_pure(&self, hook: Hook) -> bool {
        self.inner.impure.load(Ordering::Acquire) >> hook as u64 & 1 == 0
    }

    pub(crate) fn found_impure(&self, hook: Hook) {
        self.inner
            .impure
            .fetch_or(1 << hook as u64, Ordering::AcqRel);
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.inner.pre
    }

    pub(crate) fn configure(&self) -> &ComponentExportIndex {
        &self.inner.configure
    }

    pub(crate) fn function(&self, hook: Hook) -> Option<&ComponentExportIndex> {
        let found = self
            .inner
            .functions
            .iter()
            .find(|(exported, _)| *exported == hook);
        found.map(|(_, index)| index)
    }
}

impl WeakPlugin {
    /// The plugin, if it is still loaded.
    #[must_use]
    pub fn upgrade(&self) -> Option<Plugin> {
        let inner = self.inner.upgrade()?;
        Some(Plugin { inner })
    }
}

#[expect(unsafe_code, reason = "docs/adr/0002-precompiled-components.md")]
fn deserialize(engine: &Engine, payload: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: the payload is machine code that will run, so it must be what wasmtime's compiler
    // wrote. `artifact::split` has checked its hash, the caller that it was made for this very
    // engine; and the broker takes artifacts from its own compile child or its own data
    // directory only, never from a client.
    unsafe { Component::deserialize(engine, payload) }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.inner, f)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin")
            .field("version", &self.version)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}
