//! The component side: generated bindings, the configured plugin, and the calls from the host.
//! Only compiled for WebAssembly; nothing here is for authors.

mod bindings;
mod run;

pub use bindings::{filter, key, lifecycle, route};
pub use lifecycle::exports::weir::plugin::lifecycle::Projection;
pub use lifecycle::weir::plugin::types::Hook;
pub use run::{
    Configured, FilterHook, KeyHook, RouteHook, Slot, no_such_hook, report_panics, run_filter,
    run_keys, run_route,
};
