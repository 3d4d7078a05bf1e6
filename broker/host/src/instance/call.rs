//! Making an instance, configuring it, and calling its hook. What it answers is checked in
//! `answer/check.rs`.

use super::failure::Failure;
use super::state::{Budget, State};
use crate::answer::{Answers, Question};
use crate::contract::{
    BatchParams, ConfigureParams, ConfigureReturn, DecideParams, DecideReturn, FilterReturn,
    KeysReturn, MapReturn, Projection, RouteReturn, wire_hook,
};
use crate::host::Shared;
use crate::logs::Logs;
use crate::plugin::Code;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Lift, Lower, TypedFunc};
use weir_wire::plugin::Hook;

/// Memory that an instance may gain over its configured state before it is thrown away: linear
/// memory never shrinks.
const GROWTH_MAX: usize = 4 << 20;
/// Bytes that `configure` may return.
const PROJECTION_BYTES_MAX: usize = 64 << 10;

/// What a new instance needs.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) code: &'a Arc<Code>,
    pub(crate) hook: Hook,
    pub(crate) config: &'a [(String, String)],
    pub(crate) routes: &'a [String],
    pub(crate) budget: Budget,
    pub(crate) logs: &'a Arc<Logs>,
    pub(crate) host: &'a Arc<Shared>,
}

/// A configured instance.
pub(crate) struct Instance {
    store: Store<State>,
    function: Function,
    routes: usize,
    configured_memory: usize,
    /// In memory as long as an instance of it is.
    _code: Arc<Code>,
    /// Processor time of the last call; of its making, as long as there was none.
    pub(crate) cpu: Duration,
}

// The parameters' lifetime is 'static here and shortened at each call.
enum Function {
    Filter(TypedFunc<BatchParams<'static>, FilterReturn>),
    Keys(TypedFunc<BatchParams<'static>, KeysReturn>),
    Route(TypedFunc<BatchParams<'static>, RouteReturn>),
    Map(TypedFunc<BatchParams<'static>, MapReturn>),
    Decide(TypedFunc<DecideParams<'static>, DecideReturn>),
}

impl Instance {
    /// Instantiates and configures. The outer error is the host's own (its pool is full), the
    /// inner one the plugin's.
    pub(crate) fn new(setup: &Setup<'_>) -> wasmtime::Result<Result<(Self, Projection), Failure>> {
        let state = State::new(setup.budget, setup.logs.clone(), setup.host.clone());
        let mut store = Store::new(setup.code.pre().engine(), state);
        store.limiter(|state| state);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().tick()?));
        store.set_epoch_deadline(1);
        store.data_mut().begin(0);
        let instance = match setup.code.pre().instantiate(&mut store) {
            Ok(instance) => instance,
            Err(error) if error.is::<wasmtime::PoolConcurrencyLimitError>() => return Err(error),
            Err(error) => return Ok(Err(Failure::of_engine(&mut store, &error))),
        };
        let configure: TypedFunc<ConfigureParams<'_>, ConfigureReturn> =
            instance.get_typed_func(&mut store, setup.code.configure())?;
        let projection = match configure_with(&mut store, &configure, setup) {
            Ok(projection) => projection,
            Err(failure) => return Ok(Err(failure)),
        };
        let Some(index) = setup.code.function(setup.hook) else {
            let message = format!("the component does not export the hook {}", setup.hook);
            return Ok(Err(Failure::answered(message)));
        };
        let function = match setup.hook {
            Hook::Key => Function::Keys(typed(&instance, &mut store, index)?),
            Hook::Route => Function::Route(typed(&instance, &mut store, index)?),
            Hook::Transform | Hook::Project => Function::Map(typed(&instance, &mut store, index)?),
            Hook::RetryPolicy => Function::Decide(typed(&instance, &mut store, index)?),
            _ => Function::Filter(typed(&instance, &mut store, index)?),
        };
        let configured_memory = store.data().memory();
        let (routes, cpu) = (setup.routes.len(), store.data().cpu_used());
        Ok(Ok((
            Self {
                store,
                function,
                routes,
                configured_memory,
                _code: setup.code.clone(),
                cpu,
            },
            projection,
        )))
    }

    /// Calls the hook and appends what it answers. After an error the instance is spent.
    pub(crate) fn call(
        &mut self,
        question: &Question<'_>,
        answers: &mut Answers,
    ) -> Result<(), Failure> {
        let (store, batch) = (&mut self.store, question.batch);
        store.data_mut().begin(batch.arena.len());
        store.set_epoch_deadline(1);
        store.set_hostcall_fuel(question.output_max);
        let result = match &self.function {
            Function::Filter(function) => run(store, function, (batch,))
                .and_then(|kept| answers.take_kept(&kept, batch.count)),
            Function::Keys(function) => {
                run(store, function, (batch,)).and_then(|keys| answers.take_keys(&keys, &batch))
            }
            Function::Route(function) => run(store, function, (batch,))
                .and_then(|sets| answers.take_routes(&sets, batch.count, self.routes)),
            Function::Map(function) => run(store, function, (batch,))
                .and_then(|mapped| answers.take_mapped(mapped, question)),
            Function::Decide(function) => run(store, function, (batch, question.attempts))
                .and_then(|decisions| answers.take_decisions(&decisions, batch.count)),
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
    run(store, configure, (wire_hook(setup.hook), &config, &routes))
}

fn run<P, T>(
    store: &mut Store<State>,
    function: &TypedFunc<P, (Result<T, String>,)>,
    parameters: P,
) -> Result<T, Failure>
where
    P: ComponentNamedList + Lower,
    (Result<T, String>,): ComponentNamedList + Lift,
{
    match function.call(&mut *store, parameters) {
        Ok((Ok(answer),)) => Ok(answer),
        Ok((Err(message),)) => Err(Failure::said(&message)),
        Err(error) => Err(Failure::of_engine(store, &error)),
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("memory", &self.memory())
            .finish_non_exhaustive()
    }
}
