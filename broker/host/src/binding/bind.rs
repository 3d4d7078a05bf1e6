//! Binding: what is declared is checked, and a first instance is configured.

use super::{Binding, BindingIdentity, Bound, Counters, Health, Instances};
use crate::Limits;
use crate::contract::Projection;
use crate::host::Shared;
use crate::instance::Cause;
use crate::logs::Logs;
use crate::plugin::Plugin;
use crate::scheduler::{Job, Queue, Scheduler, Stopped};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock};
use tokio::sync::oneshot;
use weir_wire::limits::{CONFIG_ENTRIES_MAX, ROUTES_MAX};
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
        Hook::words(exported)
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
    #[error("too many {what}: at most {max}, there are {found}; use fewer")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        max: usize,
        /// What there is.
        found: usize,
    },
    /// There is no memory for it now, because of other plugins.
    #[error("{message}")]
    Crowded {
        /// How much there is.
        message: String,
    },
    /// The host is shutting down.
    #[error("the plugin host is shutting down")]
    Shutdown,
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
    if !plugin.hooks().contains(&hook) {
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
        plugin: plugin.origin().clone(),
        identity: Arc::new(BindingIdentity::new(plugin.version(), hook, config, routes)),
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
        purity_check_is_due: AtomicBool::new(true),
        queue: Queue::new(limits.concurrency),
    });
    let (reply, configured) = oneshot::channel();
    let caller = Arc::default();
    scheduler.push(&binding, Job::Configure { reply }, &caller);
    configured.await.unwrap_or(Err(BindError::Shutdown))?;
    host.register(&binding);
    Ok(Bound::new(binding, scheduler.clone()))
}

impl Binding {
    /// Makes the first instance and keeps it.
    pub(crate) fn configure(&self) -> Result<(), Stopped<BindError>> {
        let _running = self.host.ticker().enter();
        let instance = self.new_instance().map_err(|failure| {
            let message = failure.to_string();
            match failure.cause {
                Cause::Interrupted => return Stopped::Interrupted,
                Cause::Said => BindError::Refused { message },
                Cause::Crowded => BindError::Crowded { message },
                Cause::Shutdown => BindError::Shutdown,
                _ => BindError::Start { message },
            }
            .into()
        })?;
        self.counters.cpu(instance.cpu);
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
    at_most(
        "headers that the plugin asks for",
        HEADERS_MAX,
        projection.headers.len(),
    )?;
    at_most(
        "bytes in the name of a header that the plugin asks for",
        HEADER_NAME_MAX,
        longest,
    )
}

fn at_most(what: &'static str, max: usize, found: usize) -> Result<(), BindError> {
    if found <= max {
        Ok(())
    } else {
        Err(BindError::TooMuch { what, max, found })
    }
}
