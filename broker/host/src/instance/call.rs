//! Making an instance, configuring it, and calling its hook. `answer.rs` checks what it answers.

use super::answer::{take_filter, take_keys, take_routes};
use super::state::{Budget, State, Stop};
use crate::contract::{
    BatchParams, ConfigureParams, ConfigureReturn, FilterReturn, KeysReturn, Projection,
    RouteReturn, WireBatch, wire_hook,
};
use crate::logs::{Logs, cut};
use crate::plugin::Plugin;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, TypedFunc};
use weir_wire::plugin::Hook;

/// Bytes of a message that is kept of a failure.
const MESSAGE_MAX: usize = 1024;
/// Memory that an instance may gain over its configured state before it is thrown away: linear
/// memory never shrinks.
const GROWTH_MAX: usize = 4 << 20;
/// Bytes that `configure` may return.
const PROJECTION_BYTES_MAX: usize = 64 << 10;

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The plugin returned an error.
    Said(String),
    /// It trapped.
    Trapped(String),
    /// It returned something that its contract does not allow.
    Answered(String),
    /// It was stopped at a limit; more records at once reach it sooner.
    Limit(String),
    /// The host is shutting down.
    Shutdown,
}

/// What a new instance needs.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) plugin: &'a Plugin,
    pub(crate) hook: Hook,
    pub(crate) config: &'a [(String, String)],
    pub(crate) routes: &'a [String],
    pub(crate) budget: Budget,
    pub(crate) logs: &'a Arc<Logs>,
    pub(crate) stopping: &'a Arc<AtomicBool>,
}

/// A configured instance.
pub(crate) struct Instance {
    store: Store<State>,
    function: Function,
    routes: usize,
    configured_memory: usize,
    /// Processor time of the last call.
    pub(crate) cpu: Duration,
}

// The parameters' lifetime is 'static here and shortened at each call.
enum Function {
    Filter(TypedFunc<BatchParams<'static>, FilterReturn>),
    Keys(TypedFunc<BatchParams<'static>, KeysReturn>),
    Route(TypedFunc<BatchParams<'static>, RouteReturn>),
}

impl Instance {
    /// Instantiates and configures. The outer error is the host's own (its pool is full), the
    /// inner one the plugin's.
    pub(crate) fn new(setup: &Setup<'_>) -> wasmtime::Result<Result<(Self, Projection), Failure>> {
        let state = State::new(setup.budget, setup.logs.clone(), setup.stopping.clone());
        let mut store = Store::new(setup.plugin.pre().engine(), state);
        store.limiter(|state| state);
        store.epoch_deadline_callback(|store| Ok(store.data().tick()?));
        store.set_epoch_deadline(1);
        store.data_mut().begin();
        let instance = match setup.plugin.pre().instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => return Err(error),
            Err(error) => return Ok(Err(failure(&mut store, &error))),
        };
        let configure: TypedFunc<ConfigureParams<'_>, ConfigureReturn> =
            instance.get_typed_func(&mut store, setup.plugin.configure())?;
        let projection = match configure_with(&mut store, &configure, setup) {
            Ok(projection) => projection,
            Err(failure) => return Ok(Err(failure)),
        };
        let Some(index) = setup.plugin.function(setup.hook) else {
            let message = format!("the component does not export the hook {}", setup.hook);
            return Ok(Err(Failure::Answered(message)));
        };
        let function = match setup.hook {
            Hook::Key => Function::Keys(typed(&instance, &mut store, index)?),
            Hook::Route => Function::Route(typed(&instance, &mut store, index)?),
            _ => Function::Filter(typed(&instance, &mut store, index)?),
        };
        let configured_memory = store.data().memory();
        let (routes, cpu) = (setup.routes.len(), Duration::ZERO);
        Ok(Ok((
            Self {
                store,
                function,
                routes,
                configured_memory,
                cpu,
            },
            projection,
        )))
    }

    /// Calls the hook and appends one number per record to `values`: 0 or 1 of a filter, the hash
    /// of an ordering key or 0, the bits of a route set. After an error the instance is spent.
    pub(crate) fn call(
        &mut self,
        batch: WireBatch<'_>,
        output_max: usize,
        values: &mut Vec<u64>,
    ) -> Result<(), Failure> {
        let store = &mut self.store;
        store.data_mut().begin();
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(output_max);
        let result = match &self.function {
            Function::Filter(function) => {
                run(store, function, batch).and_then(|kept| take_filter(&kept, batch.count, values))
            }
            Function::Keys(function) => {
                run(store, function, batch).and_then(|keys| take_keys(&keys, &batch, values))
            }
            Function::Route(function) => run(store, function, batch)
                .and_then(|sets| take_routes(&sets, batch.count, self.routes, values)),
        };
        self.cpu = self.store.data().cpu_used();
        result
    }

    /// Bytes of linear memory.
    pub(crate) fn memory(&self) -> usize {
        self.store.data().memory()
    }

    /// Whether the instance may serve another call.
    pub(crate) fn is_reusable(&self) -> bool {
        self.memory() <= self.configured_memory.saturating_add(GROWTH_MAX)
    }
}

fn typed<P, R>(
    instance: &wasmtime::component::Instance,
    store: &mut Store<State>,
    index: &ComponentExportIndex,
) -> wasmtime::Result<TypedFunc<P, R>>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    instance.get_typed_func(store, index)
}

fn configure_with(
    store: &mut Store<State>,
    configure: &TypedFunc<ConfigureParams<'_>, ConfigureReturn>,
    setup: &Setup<'_>,
) -> Result<Projection, Failure> {
    let config: Vec<(&str, &str)> = setup
        .config
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    let routes: Vec<&str> = setup.routes.iter().map(String::as_str).collect();
    store.set_hostcall_fuel(PROJECTION_BYTES_MAX);
    match configure.call(&mut *store, (wire_hook(setup.hook), &config, &routes)) {
        Ok((Ok(projection),)) => Ok(projection),
        Ok((Err(message),)) => Err(Failure::Said(cut(&message, MESSAGE_MAX).to_owned())),
        Err(error) => Err(failure(store, &error)),
    }
}

fn run<T>(
    store: &mut Store<State>,
    function: &TypedFunc<BatchParams<'_>, (Result<T, String>,)>,
    batch: WireBatch<'_>,
) -> Result<T, Failure>
where
    (Result<T, String>,): ComponentNamedList + Lift,
{
    match function.call(&mut *store, (batch,)) {
        Ok((Ok(answer),)) => Ok(answer),
        Ok((Err(message),)) => Err(Failure::Said(cut(&message, MESSAGE_MAX).to_owned())),
        Err(error) => Err(failure(store, &error)),
    }
}

/// Sorts an error of the engine: limits, shutdown, and everything else as a trap, with what the
/// plugin said last and where it was.
fn failure(store: &mut Store<State>, error: &wasmtime::Error) -> Failure {
    let said = store.data_mut().take_said();
    if let Some(stop) = error.downcast_ref::<Stop>() {
        return match stop {
            Stop::Shutdown => Failure::Shutdown,
            limit => Failure::Limit(format!("the plugin was stopped: {limit}")),
        };
    }
    let cause = error.root_cause().to_string();
    if cause.contains("fuel allocated for hostcalls") {
        let message = "the plugin was stopped: it returned or logged more bytes than it may";
        return Failure::Limit(message.to_owned());
    }
    let place = error
        .downcast_ref::<wasmtime::WasmBacktrace>()
        .and_then(|trace| trace.frames().iter().find_map(|frame| frame.func_name()))
        .map_or_else(String::new, |name| format!(" in {}", wasmtime_name(name)));
    let message = match said {
        Some(said) => format!("the plugin trapped: {said}"),
        None => format!("the plugin trapped: {cause}{place}"),
    };
    tracing::debug!(target: "weir::plugin", "{error:?}");
    Failure::Trapped(cut(&message, MESSAGE_MAX).to_owned())
}

/// Function names come from the component; they are cut and stripped of control characters.
fn wasmtime_name(name: &str) -> String {
    cut(name, 120)
        .chars()
        .filter(|character| !character.is_control())
        .collect()
}

impl Failure {
    /// Whether the same records in smaller parts may well pass.
    pub(crate) fn is_limit(&self) -> bool {
        matches!(self, Self::Limit(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(message)
            | Self::Trapped(message)
            | Self::Answered(message)
            | Self::Limit(message) => f.write_str(message),
            Self::Shutdown => f.write_str("the broker is shutting down"),
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}
