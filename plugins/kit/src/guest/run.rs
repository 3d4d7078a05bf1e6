//! What happens when the host calls: find the configured plugin, view the columns as records, ask
//! the author's code, write the verdicts down.

use super::{Hook, Projection, filter, key, lifecycle, route};
use crate::key_spans::KeySpans;
use crate::{Batch, Columns, Config, Error, Filter, Key, Route, Routes};
use lifecycle::weir::plugin::host::{Level, log};
use std::cell::OnceCell;

/// A plugin after `configure`, with the columns it asked for.
#[derive(Debug)]
pub struct Configured<P> {
    plugin: P,
    columns: Columns,
}

/// The hook `filter`, as a type.
#[derive(Debug)]
pub struct FilterHook;
/// The hook `key`, as a type.
#[derive(Debug)]
pub struct KeyHook;
/// The hook `route`, as a type.
#[derive(Debug)]
pub struct RouteHook;

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

    /// Runs with the configured plugin.
    fn with_configured<T>(
        run: impl FnOnce(&Configured<Self::Plugin>) -> Result<T, Error>,
    ) -> Result<T, String> {
        Self::with(|slot| match slot.get() {
            Some(configured) => run(configured).map_err(|error| error.to_string()),
            None => Err("configure was not called for this hook".to_owned()),
        })
    }
}

/// `configure` of the three hook traits under one name.
pub trait Configure<Hook>: Sized + 'static {
    /// Calls the author's `configure`.
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error>;
}

impl<P: Filter> Configure<FilterHook> for P {
    fn configure(config: &Config, _: Routes, columns: &mut Columns) -> Result<Self, Error> {
        Filter::configure(config, columns)
    }
}

impl<P: Key> Configure<KeyHook> for P {
    fn configure(config: &Config, _: Routes, columns: &mut Columns) -> Result<Self, Error> {
        Key::configure(config, columns)
    }
}

impl<P: Route> Configure<RouteHook> for P {
    fn configure(config: &Config, routes: Routes, columns: &mut Columns) -> Result<Self, Error> {
        Route::configure(config, routes, columns)
    }
}

/// A [`Batch`] over the parts of the generated type, which each hook has its own of.
macro_rules! view {
    ($columns:expr, $batch:expr) => {
        Batch::new(
            $columns,
            $batch.count,
            $batch.base_offset,
            &$batch.arena,
            &$batch.spans,
            $batch.timestamps.as_deref().unwrap_or_default(),
        )
    };
}

/// The export `filter`.
pub fn run_filter<E>(batch: filter::WireBatch) -> Result<Vec<u8>, String>
where
    E: Slot<FilterHook, Plugin: Filter>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let verdicts = configured.plugin.filter(&batch)?;
        Ok(verdicts.into_iter().map(u8::from).collect())
    })
}

/// The export `keys`.
pub fn run_keys<E>(batch: key::WireBatch) -> Result<key::KeySpans, String>
where
    E: Slot<KeyHook, Plugin: Key>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut keys = KeySpans::new(batch.arena(), batch.len());
        for record in &batch {
            keys.push(configured.plugin.key(record)?.as_deref());
        }
        let (arena, spans) = keys.finish();
        Ok(key::KeySpans { arena, spans })
    })
}

/// The export `route`.
pub fn run_route<E>(batch: route::WireBatch) -> Result<Vec<u64>, String>
where
    E: Slot<RouteHook, Plugin: Route>,
{
    E::with_configured(|configured| {
        let batch = view!(&configured.columns, batch);
        let mut sets = Vec::with_capacity(batch.len());
        for record in &batch {
            sets.push(configured.plugin.route(record)?.bits());
        }
        Ok(sets)
    })
}

/// Tells the host what a panic said: all it sees otherwise is an `unreachable` trap.
pub fn report_panics() {
    std::panic::set_hook(Box::new(|panic| log(Level::Error, &panic.to_string())));
}

/// The answer to a hook that the component does not export.
#[must_use]
pub fn no_such_hook(hook: Hook, exported: &[&str]) -> String {
    format!(
        "this component has no hook {hook:?}; it exports {}",
        exported.join(", ")
    )
}
