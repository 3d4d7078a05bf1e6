//! The handle on a binding: bind, call, look.

use super::{Binding, BindingStats, Counters, Health, Instances};
use crate::contract::Projection;
use crate::host::Shared;
use crate::instance::Failure;
use crate::logs::{LogLine, Logs};
use crate::plugin::Plugin;
use crate::run::{self, CallError};
use crate::scheduler::{Job, Queue, Scheduler};
use crate::{Input, Limits, RouteSet, Verdicts, clock};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::oneshot;
use weir_wire::limits::{CONFIG_ENTRIES_MAX, ROUTES_MAX};
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

/// Bytes of all settings and route names together.
const CONFIG_BYTES_MAX: usize = 64 << 10;
/// Headers that a plugin may ask for, and the bytes of a header's name.
const HEADERS_MAX: usize = 32;
const HEADER_NAME_MAX: usize = 256;

/// Why a plugin cannot be bound.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// The component has no such hook.
    #[error(
        "the component does not export the hook {hook}; it exports {}",
        words(exported)
    )]
    NoSuchHook {
        /// The hook asked for.
        hook: Hook,
        /// Those it has.
        exported: Vec<Hook>,
    },
    /// Its own `configure` says no.
    #[error("the plugin refused its configuration: {message}")]
    Refused {
        /// What it says.
        message: String,
    },
    /// It cannot be instantiated, or its `configure` failed.
    #[error("the plugin cannot be started: {message}")]
    Start {
        /// Why.
        message: String,
    },
    /// More than a binding may have.
    #[error("{what} of the binding: at most {max}, there are {found}; declare fewer")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
        /// What there is.
        found: usize,
    },
    /// The host is shutting down.
    #[error("the plugin host is shutting down")]
    Shutdown,
}

/// A plugin bound to a hook with a configuration. Cheap to clone; the calls of all clones share
/// instances and limits.
#[derive(Clone, Debug)]
pub struct Bound {
    binding: Arc<Binding>,
    scheduler: Arc<Scheduler>,
}

impl Bound {
    /// The plugin.
    #[must_use]
    pub fn plugin(&self) -> &Plugin {
        &self.binding.plugin
    }

    /// The hook that it is bound to.
    #[must_use]
    pub fn hook(&self) -> Hook {
        self.binding.hook
    }

    /// Which records to keep.
    ///
    /// # Errors
    /// If there are no verdicts at all; failures of single records are among the verdicts.
    pub async fn filter(&self, input: Input) -> Result<Verdicts<bool>, CallError> {
        self.check_hook(Hook::Filter)?;
        Ok(self.call(input).await?.map(|kept| kept != 0))
    }

    /// The ordering keys.
    ///
    /// # Errors
    /// If there are no verdicts at all; failures of single records are among the verdicts.
    pub async fn keys(&self, input: Input) -> Result<Verdicts<OrderingKey>, CallError> {
        self.check_hook(Hook::Key)?;
        Ok(self.call(input).await?.map(OrderingKey::from_stored))
    }

    /// The routes that the records take.
    ///
    /// # Errors
    /// If there are no verdicts at all; failures of single records are among the verdicts.
    pub async fn route(&self, input: Input) -> Result<Verdicts<RouteSet>, CallError> {
        self.check_hook(Hook::Route)?;
        Ok(self.call(input).await?.map(RouteSet::new))
    }

    /// [`filter`](Self::filter) on the calling thread, past the queue: for measuring what a
    /// plugin itself costs.
    ///
    /// # Errors
    /// As `filter`.
    pub fn filter_now(&self, input: &Input) -> Result<Verdicts<bool>, CallError> {
        self.check_hook(Hook::Filter)?;
        Ok(run::call(&self.binding, input)?.map(|kept| kept != 0))
    }

    /// [`keys`](Self::keys) on the calling thread.
    ///
    /// # Errors
    /// As `keys`.
    pub fn keys_now(&self, input: &Input) -> Result<Verdicts<OrderingKey>, CallError> {
        self.check_hook(Hook::Key)?;
        Ok(run::call(&self.binding, input)?.map(OrderingKey::from_stored))
    }

    /// [`route`](Self::route) on the calling thread.
    ///
    /// # Errors
    /// As `route`.
    pub fn route_now(&self, input: &Input) -> Result<Verdicts<RouteSet>, CallError> {
        self.check_hook(Hook::Route)?;
        Ok(run::call(&self.binding, input)?.map(RouteSet::new))
    }

    /// What the binding has done so far.
    #[must_use]
    pub fn stats(&self) -> BindingStats {
        let binding = &self.binding;
        BindingStats {
            instances: binding.instances.count(),
            quarantined: binding.health.quarantined_for(clock::now()),
            log_lines_suppressed: binding.logs.lines().1,
            ..binding.counters.read()
        }
    }

    /// The last lines that the plugin has logged, oldest first.
    #[must_use]
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.binding.logs.lines().0
    }

    fn check_hook(&self, called: Hook) -> Result<(), CallError> {
        let bound = self.binding.hook;
        if bound == called {
            Ok(())
        } else {
            Err(CallError::OtherHook { bound, called })
        }
    }

    /// Waits for a place in the binding's queue, then for the verdicts.
    async fn call(&self, input: Input) -> Result<Verdicts<u64>, CallError> {
        self.binding.check_quarantine(clock::now())?;
        let place = self
            .binding
            .queue
            .place()
            .await
            .ok_or(CallError::Shutdown)?;
        let (reply, verdicts) = oneshot::channel();
        self.scheduler.push(
            &self.binding,
            Job::Call {
                input,
                reply,
                place,
            },
        );
        verdicts.await.unwrap_or(Err(CallError::Shutdown))
    }
}

/// Checks what is declared, then configures a first instance on a plugin thread.
pub(crate) async fn bind(
    host: &Arc<Shared>,
    scheduler: &Arc<Scheduler>,
    plugin: &Plugin,
    hook: Hook,
    config: &[(String, String)],
    routes: &[String],
    limits: Limits,
) -> Result<Bound, BindError> {
    if plugin.function(hook).is_none() {
        return Err(BindError::NoSuchHook {
            hook,
            exported: plugin.hooks().to_vec(),
        });
    }
    let bytes = config
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum::<usize>()
        + routes.iter().map(String::len).sum::<usize>();
    at_most("routes", ROUTES_MAX, routes.len())?;
    at_most("settings", CONFIG_ENTRIES_MAX, config.len())?;
    at_most("bytes of settings and routes", CONFIG_BYTES_MAX, bytes)?;
    at_most("bytes of memory", Limits::MEMORY_MAX, limits.memory)?;
    let limits = Limits {
        concurrency: limits.concurrency.max(1),
        ..limits
    };
    let binding = Arc::new(Binding {
        host: host.clone(),
        plugin: plugin.clone(),
        hook,
        config: config.to_vec(),
        routes: routes.to_vec(),
        limits,
        projection: OnceLock::new(),
        instances: Instances::default(),
        scratch: Mutex::new(None),
        health: Health::new(),
        counters: Counters::default(),
        logs: Arc::new(Logs::new(
            plugin.version(),
            hook,
            limits.log_lines_per_second,
        )),
        calls: AtomicU64::new(0),
        queue: Queue::new(limits.concurrency),
    });
    let (reply, configured) = oneshot::channel();
    scheduler.push(&binding, Job::Configure { reply });
    configured.await.unwrap_or(Err(BindError::Shutdown))?;
    host.register(&binding);
    Ok(Bound {
        binding,
        scheduler: scheduler.clone(),
    })
}

impl Binding {
    /// Makes the first instance and keeps it.
    pub(crate) fn configure(&self) -> Result<(), BindError> {
        let _running = self.host.ticker().enter();
        let instance = self.new_instance().map_err(|failure| match failure {
            Failure::Said(message) => BindError::Refused { message },
            Failure::Shutdown => BindError::Shutdown,
            failure => BindError::Start {
                message: failure.to_string(),
            },
        })?;
        check_projection(self.projection())?;
        self.give_instance(Some(instance));
        Ok(())
    }
}

fn check_projection(projection: &Projection) -> Result<(), BindError> {
    let longest = projection
        .headers
        .iter()
        .map(String::len)
        .max()
        .unwrap_or(0);
    at_most("headers", HEADERS_MAX, projection.headers.len())?;
    at_most("bytes of a header's name", HEADER_NAME_MAX, longest)
}

fn at_most(what: &'static str, max: usize, found: usize) -> Result<(), BindError> {
    if found <= max {
        Ok(())
    } else {
        Err(BindError::TooMuch { what, max, found })
    }
}

fn words(hooks: &[Hook]) -> String {
    hooks
        .iter()
        .map(|hook| hook.word())
        .collect::<Vec<_>>()
        .join(", ")
}
