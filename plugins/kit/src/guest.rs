//! The component side: generated bindings, the configured plugin, and the calls from the host.
//! Only compiled for WebAssembly; nothing here is for authors.

mod bindings;
mod run;
mod slot;

pub use bindings::{filter, key, lifecycle, mapper, retry, route};
pub use lifecycle::exports::weir::plugin::lifecycle::Projection;
pub use lifecycle::weir::plugin::types::Hook;
pub(crate) use run::write_log;
pub use run::{
    report_panics, run_filter, run_keys, run_project, run_retry_policy, run_route, run_transform,
};
pub use slot::{
    Configure, Configured, FilterHook, KeyHook, NOT_CONFIGURED, ProjectHook, RetryPolicyHook,
    RouteHook, Slot, TransformHook, no_such_hook,
};
