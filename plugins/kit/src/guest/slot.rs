//! Where a component keeps its configured plugin, one place per hook.

use super::{Hook, Projection};
use crate::{Columns, Config, Error, Filter, Key, Project, RetryPolicy, Route, Routes, Transform};
use std::cell::OnceCell;

/// The answer to a call before `configure`.
pub const NOT_CONFIGURED: &str = "configure was not called for this hook";

/// A plugin after `configure`, with the columns it asked for.
#[derive(Debug)]
pub struct Configured<P> {
    pub(super) plugin: P,
    pub(super) columns: Columns,
}

/// The hook `transform`, as a type.
#[derive(Debug)]
pub struct TransformHook;
/// The hook `route`, as a type.
#[derive(Debug)]
pub struct RouteHook;
/// The hook `key`, as a type.
#[derive(Debug)]
pub struct KeyHook;
/// The hook `filter`, as a type.
#[derive(Debug)]
pub struct FilterHook;
/// The hook `project`, as a type.
#[derive(Debug)]
pub struct ProjectHook;
/// The hook `retry-policy`, as a type.
#[derive(Debug)]
pub struct RetryPolicyHook;

/// Where a component keeps the plugin of one hook. `export!` implements it.
pub trait Slot<Hook> {
    /// The author's type.
    type Plugin: Configure<Hook>;

    /// Runs with the slot.
    fn with<T>(run: impl FnOnce(&OnceCell<Configured<Self::Plugin>>) -> T) -> T;

    /// Configures the plugin and answers with its columns.
    fn configure(config: Vec<(String, String)>, routes: Vec<String>) -> Result<Projection, String> {
        let mut columns = Columns::default();
        let config = Config::new(config);
        let plugin = Self::Plugin::configure(&config, Routes::new(routes), &mut columns)
            .and_then(|plugin| config.finish().map(|()| plugin))
            .map_err(|error| error.to_string())?;
        let projection = Projection {
            key: columns.key,
            value: columns.value,
            timestamp: columns.timestamp,
            headers: columns.headers.clone(),
        };
        Self::with(|slot| slot.set(Configured { plugin, columns }))
            .map_err(|_| "configure was called twice for one hook".to_owned())?;
        Ok(projection)
    }

    /// Whether `configure` was called for this hook.
    fn is_configured() -> bool {
        Self::with(|slot| slot.get().is_some())
    }

    /// Runs with the configured plugin.
    fn with_configured<T>(
        run: impl FnOnce(&Configured<Self::Plugin>) -> Result<T, Error>,
    ) -> Result<T, String> {
        Self::with(|slot| match slot.get() {
            Some(configured) => run(configured).map_err(|error| error.to_string()),
            None => Err(NOT_CONFIGURED.to_owned()),
        })
    }
}

/// `configure` of all hook traits under one name.
pub trait Configure<Hook>: Sized + 'static {
    /// Calls the author's `configure`.
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error>;
}

impl<P: Route> Configure<RouteHook> for P {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        Route::configure(config, routes, columns)
    }
}

macro_rules! configure_without_routes {
    ($($hook:ident: $marker:ident),+) => { $(
        impl<P: $hook> Configure<$marker> for P {
            fn configure(config: &Config, _: Routes, columns: &mut Columns) -> Result<Self, Error> {
                $hook::configure(config, columns)
            }
        }
    )+ };
}

configure_without_routes! {
    Transform: TransformHook,
    Key: KeyHook,
    Filter: FilterHook,
    Project: ProjectHook,
    RetryPolicy: RetryPolicyHook
}

/// The answer to a hook that the component does not export.
#[must_use]
pub fn no_such_hook(hook: Hook, exported: &[Hook]) -> String {
    let exported: Vec<&str> = exported.iter().map(|hook| word(*hook)).collect();
    format!(
        "this component has no hook {}; bind it as what it has: {}",
        word(hook),
        exported.join(", ")
    )
}

fn word(hook: Hook) -> &'static str {
    match hook {
        Hook::Transform => "transform",
        Hook::Route => "route",
        Hook::Key => "key",
        Hook::Filter => "filter",
        Hook::Project => "project",
        Hook::RetryPolicy => "retry-policy",
    }
}
