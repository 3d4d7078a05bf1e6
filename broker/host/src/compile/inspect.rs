//! Whether a component keeps the contract: its imports, its exports, and their types.

use crate::contract::{
    BatchParams, ConfigureParams, ConfigureReturn, DecideParams, DecideReturn, FilterReturn,
    KeysReturn, LIFECYCLE, MapReturn, PACKAGE, RUNNABLE, RouteReturn,
};
use crate::engine::linker;
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::{ComponentFunc, ComponentInstance, ComponentItem};
use weir_wire::plugin::Hook;

/// The major version of the contract that this host keeps, as component names end. Minor versions
/// only add interfaces, so whatever a component uses of 1.x is here or is missing by name.
const VERSION: &str = "@1.";

/// The hooks that the component exports, or a sentence about what is missing or wrong.
pub(super) fn inspect(engine: &Engine, component: &Component) -> Result<Vec<Hook>, String> {
    check_versions(engine, component)?;
    check_imports(engine, component)?;
    let exported = |name: &str| export(engine, component, name);
    let lifecycle = exported(LIFECYCLE).ok_or_else(|| {
        format!("it does not export `{LIFECYCLE}`; build it with the weir-plugin kit")
    })?;
    check_function(engine, component, &lifecycle, None)?;
    let mut hooks = Vec::new();
    for (hook, interface, _) in RUNNABLE {
        if let Some(instance) = exported(interface) {
            check_function(engine, component, &instance, Some(hook))?;
            hooks.push(hook);
        }
    }
    if hooks.is_empty() {
        let mut known: Vec<&str> = RUNNABLE
            .iter()
            .map(|(_, interface, _)| *interface)
            .collect();
        known.sort_unstable();
        known.dedup();
        return Err(format!(
            "it exports no hook; one of {} is needed",
            known.join(", ")
        ));
    }
    // Whether what it imports of the host has the host's types.
    let linked = linker(engine, component).and_then(|linker| linker.instantiate_pre(component));
    linked.map_err(|error| format!("an import does not fit: {error:#}"))?;
    Ok(hooks)
}

/// The contract, and WASI, which does nothing but trap when it is called: that is what builds for
/// interpreted languages import. Nothing else, so that a plugin that expects more fails now.
fn check_imports(engine: &Engine, component: &Component) -> Result<(), String> {
    for (name, _) in component.component_type().imports(engine) {
        let granted = ["host", "types"]
            .iter()
            .any(|interface| name.starts_with(&format!("{PACKAGE}{interface}{VERSION}")));
        if !granted && !name.starts_with("wasi:") {
            return Err(format!(
                "it imports `{name}`; a plugin may import only weir:plugin/host (a log), and WASI \
                 without any effect"
            ));
        }
    }
    Ok(())
}

/// An interface of another version of the contract would otherwise look like a missing one.
fn check_versions(engine: &Engine, component: &Component) -> Result<(), String> {
    let ty = component.component_type();
    let imports = ty.imports(engine).map(|(name, _)| ("imports", name));
    let exports = ty.exports(engine).map(|(name, _)| ("exports", name));
    for (does, name) in imports.chain(exports) {
        if name.starts_with(PACKAGE) && !name.contains(VERSION) {
            return Err(format!(
                "it {does} `{name}`, but this broker keeps version 1 of weir:plugin; build it \
                 with a kit of that version"
            ));
        }
    }
    Ok(())
}

/// The exported interface of that name, in any compatible version.
fn export(engine: &Engine, component: &Component, name: &str) -> Option<ComponentInstance> {
    let (wanted, _) = name.rsplit_once('@')?;
    let prefix = format!("{wanted}{VERSION}");
    component
        .component_type()
        .exports(engine)
        .find_map(|(found, item)| match item.ty {
            ComponentItem::ComponentInstance(instance) if found.starts_with(&prefix) => {
                Some(instance)
            }
            _ => None,
        })
}

/// The function of a hook, or `configure` without one: whether it is there and has its type.
fn check_function(
    engine: &Engine,
    component: &Component,
    instance: &ComponentInstance,
    hook: Option<Hook>,
) -> Result<(), String> {
    let (interface, function) = match hook {
        None => (LIFECYCLE, "configure"),
        Some(hook) => RUNNABLE
            .iter()
            .find(|(known, _, _)| *known == hook)
            .map_or((LIFECYCLE, "configure"), |(_, interface, function)| {
                (*interface, *function)
            }),
    };
    let missing = || format!("its export `{interface}` has no function `{function}`");
    let item = instance.get_export(engine, function).ok_or_else(missing)?;
    let ComponentItem::ComponentFunc(found) = item.ty else {
        return Err(missing());
    };
    typecheck(component, &found, hook).map_err(|error| {
        format!("its function `{function}` of `{interface}` has the wrong type: {error:#}")
    })
}

fn typecheck(
    component: &Component,
    function: &ComponentFunc,
    hook: Option<Hook>,
) -> wasmtime::Result<()> {
    let component = component.component_type();
    let types = component.instance_type();
    match hook {
        None => function.typecheck::<ConfigureParams<'_>, ConfigureReturn>(&types),
        Some(Hook::Key) => function.typecheck::<BatchParams<'_>, KeysReturn>(&types),
        Some(Hook::Route) => function.typecheck::<BatchParams<'_>, RouteReturn>(&types),
        Some(Hook::Transform | Hook::Project) => {
            function.typecheck::<BatchParams<'_>, MapReturn>(&types)
        }
        Some(Hook::RetryPolicy) => function.typecheck::<DecideParams<'_>, DecideReturn>(&types),
        Some(_) => function.typecheck::<BatchParams<'_>, FilterReturn>(&types),
    }
}
