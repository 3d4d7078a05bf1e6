//! The machine code of a component: ready to be instantiated, its exports looked up once.

use crate::artifact::{self, LoadError};
use crate::contract::{LIFECYCLE, RUNNABLE};
use crate::engine;
use crate::instance::State;
use std::fmt;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// What instances are made of.
pub(crate) struct Code {
    pre: InstancePre<State>,
    configure: ComponentExportIndex,
    functions: Vec<(Hook, ComponentExportIndex)>,
}

impl Code {
    /// Takes the precompiled form of that version, if it was made for that engine.
    pub(super) fn load(
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
        let functions = RUNNABLE
            .iter()
            .filter_map(|(hook, interface, function)| Some((*hook, find(interface, function)?)))
            .collect();
        let pre = linker.instantiate_pre(&component).map_err(refused)?;
        Ok(Self {
            pre,
            configure,
            functions,
        })
    }

    /// The hooks that the component exports and this host runs.
    pub(super) fn hooks(&self) -> Vec<Hook> {
        self.functions.iter().map(|(hook, _)| *hook).collect()
    }

    pub(crate) fn pre(&self) -> &InstancePre<State> {
        &self.pre
    }

    pub(crate) fn configure(&self) -> &ComponentExportIndex {
        &self.configure
    }

    pub(crate) fn function(&self, hook: Hook) -> Option<&ComponentExportIndex> {
        let mut functions = self.functions.iter();
        let found = functions.find(|(exported, _)| *exported == hook);
        found.map(|(_, index)| index)
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

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Code").finish_non_exhaustive()
    }
}
