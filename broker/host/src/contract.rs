//! The contract `weir:plugin` as the host sees it: names of interfaces, and the shapes of what
//! crosses the boundary. `wit/weir.wit` is the source.

use wasmtime::component::{ComponentType, Lift, Lower};
use weir_wire::plugin::Hook;

/// The interface with the host's functions, in any version that this host keeps.
pub(crate) const HOST: &str = "weir:plugin/host@1.";
/// The interface with `configure`.
pub(crate) const LIFECYCLE: &str = "weir:plugin/lifecycle@1.0.0";
/// All interfaces of the contract, in any version.
pub(crate) const PACKAGE: &str = "weir:plugin/";
/// A span of that length stands for an absent value.
pub(crate) const ABSENT: u32 = u32::MAX;

/// The hooks that this host runs, with their interface and its function.
pub(crate) const RUNNABLE: [(Hook, &str, &str); 3] = [
    (Hook::Filter, "weir:plugin/filter@1.0.0", "filter"),
    (Hook::Key, "weir:plugin/ordering-key@1.0.0", "keys"),
    (Hook::Route, "weir:plugin/router@1.0.0", "route"),
];

/// `types.hook`
#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum WireHook {
    #[component(name = "transform")]
    Transform,
    #[component(name = "route")]
    Route,
    #[component(name = "key")]
    Key,
    #[component(name = "filter")]
    Filter,
    #[component(name = "project")]
    Project,
    #[component(name = "retry-policy")]
    RetryPolicy,
}

/// `host.level`
#[expect(dead_code, reason = "the derived code makes the variants")]
#[derive(ComponentType, Lift, Lower, Clone, Copy, Debug)]
#[component(enum)]
#[repr(u8)]
pub(crate) enum WireLevel {
    #[component(name = "debug")]
    Debug,
    #[component(name = "info")]
    Info,
    #[component(name = "warn")]
    Warn,
    #[component(name = "error")]
    Error,
}

/// `types.projection`
#[derive(ComponentType, Lift, Clone, Debug, Default, PartialEq, Eq)]
#[component(record)]
pub(crate) struct Projection {
    pub(crate) key: bool,
    pub(crate) value: bool,
    pub(crate) timestamp: bool,
    pub(crate) headers: Vec<String>,
}

/// `types.batch`
#[derive(ComponentType, Lower, Clone, Copy, Debug)]
#[component(record)]
pub(crate) struct WireBatch<'a> {
    pub(crate) count: u32,
    pub(crate) arena: &'a [u8],
    pub(crate) spans: &'a [u32],
    pub(crate) timestamps: Option<&'a [i64]>,
}

/// `ordering-key.key-spans`
#[derive(ComponentType, Lift, Debug)]
#[component(record)]
pub(crate) struct KeySpans {
    pub(crate) arena: Vec<u8>,
    pub(crate) spans: Vec<u32>,
}

pub(crate) type ConfigureParams<'a> = (WireHook, &'a [(&'a str, &'a str)], &'a [&'a str]);
pub(crate) type ConfigureReturn = (Result<Projection, String>,);
pub(crate) type BatchParams<'a> = (WireBatch<'a>,);
pub(crate) type FilterReturn = (Result<Vec<u8>, String>,);
pub(crate) type KeysReturn = (Result<KeySpans, String>,);
pub(crate) type RouteReturn = (Result<Vec<u64>, String>,);

/// The hook as `configure` gets it.
pub(crate) fn wire_hook(hook: Hook) -> WireHook {
    match hook {
        Hook::Transform => WireHook::Transform,
        Hook::Route => WireHook::Route,
        Hook::Key => WireHook::Key,
        Hook::Project => WireHook::Project,
        Hook::RetryPolicy => WireHook::RetryPolicy,
        // Filter, and what a newer vocabulary may add: `RUNNABLE` lets none of those reach this.
        _ => WireHook::Filter,
    }
}

impl Projection {
    /// Span columns: key, value, headers.
    pub(crate) fn columns(&self) -> usize {
        usize::from(self.key) + usize::from(self.value) + self.headers.len()
    }
}
