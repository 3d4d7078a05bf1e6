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

/// A span of that length stands for what the source has.
pub(crate) const UNCHANGED: u32 = u32::MAX - 1;

/// The hooks with their interface and its function, in the order of [`Hook::ALL`].
pub(crate) const RUNNABLE: [(Hook, &str, &str); 6] = [
    (Hook::Transform, "weir:plugin/mapper@1.0.0", "apply"),
    (Hook::Route, "weir:plugin/router@1.0.0", "route"),
    (Hook::Key, "weir:plugin/ordering-key@1.0.0", "keys"),
    (Hook::Filter, "weir:plugin/filter@1.0.0", "filter"),
    (Hook::Project, "weir:plugin/mapper@1.0.0", "apply"),
    (Hook::RetryPolicy, "weir:plugin/retry@1.0.0", "decide"),
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

/// `mapper.header-change`
#[derive(ComponentType, Lift, Clone, Debug, PartialEq, Eq)]
#[component(record)]
pub(crate) struct HeaderChange {
    pub(crate) output: u32,
    pub(crate) name: String,
    pub(crate) value: Option<Vec<u8>>,
}

/// `mapper.mapped`
#[derive(ComponentType, Lift, Clone, Debug, Default)]
#[component(record)]
pub(crate) struct Mapped {
    pub(crate) source: Vec<u32>,
    pub(crate) data: Vec<u8>,
    pub(crate) spans: Vec<u32>,
    pub(crate) headers: Vec<HeaderChange>,
    pub(crate) rejected: Vec<(u32, String)>,
}

/// `retry.failure`
#[derive(ComponentType, Lower, Clone, Copy, Debug)]
#[component(record)]
pub(crate) struct WireFailure<'a> {
    pub(crate) attempt: u32,
    pub(crate) message: &'a str,
}

/// `retry.decision`
#[derive(ComponentType, Lift, Clone, Copy, Debug)]
#[component(variant)]
pub(crate) enum WireDecision {
    #[component(name = "delay")]
    Delay(u64),
    #[component(name = "dead-letter")]
    DeadLetter,
    #[component(name = "park-key")]
    ParkKey,
}

pub(crate) type ConfigureParams<'a> = (WireHook, &'a [(&'a str, &'a str)], &'a [&'a str]);
pub(crate) type ConfigureReturn = (Result<Projection, String>,);
pub(crate) type BatchParams<'a> = (WireBatch<'a>,);
pub(crate) type FilterReturn = (Result<Vec<u8>, String>,);
pub(crate) type KeysReturn = (Result<KeySpans, String>,);
pub(crate) type RouteReturn = (Result<Vec<u64>, String>,);
pub(crate) type MapReturn = (Result<Mapped, String>,);
pub(crate) type DecideParams<'a> = (WireBatch<'a>, &'a [WireFailure<'a>]);
pub(crate) type DecideReturn = (Result<Vec<WireDecision>, String>,);

/// The hook as `configure` gets it.
pub(crate) fn wire_hook(hook: Hook) -> WireHook {
    match hook {
        Hook::Transform => WireHook::Transform,
        Hook::Route => WireHook::Route,
        Hook::Key => WireHook::Key,
        Hook::Project => WireHook::Project,
        Hook::RetryPolicy => WireHook::RetryPolicy,
        // Filter, and what a newer vocabulary may add: `RUNNABLE` has none of those.
        _ => WireHook::Filter,
    }
}

impl Projection {
    /// Span columns: key, value, headers.
    pub(crate) fn columns(&self) -> usize {
        usize::from(self.key) + usize::from(self.value) + self.headers.len()
    }
}
