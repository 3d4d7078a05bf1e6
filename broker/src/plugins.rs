//! Plugins on disk and in memory: each version's component and its precompiled form, kept by
//! content hash.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use weir_host::{BindError, Bound, CompileError, Host, Limits, LoadError, Plugin};
use weir_log::Vfs;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;
use weir_wire::request::{BindingLimits, Setting};

use crate::data_dir::DataDir;

/// Keeps plugins.
#[derive(Debug)]
pub(crate) struct PluginStore {
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
    limits: Limits,
    loaded: Mutex<HashMap<PluginVersion, Plugin>>,
}

impl PluginStore {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, data_dir: &DataDir, limits: Limits) -> Self {
        Self {
            vfs,
            directory: data_dir.plugins(),
            limits,
            loaded: Mutex::default(),
        }
    }

    /// Compiles a component and makes its files durable.
    pub(crate) async fn add(&self, host: &Host, component: Bytes) -> Result<Plugin, Fault> {
        let compiled = host
            .compile(component.clone())
            .await
            .map_err(|error| compile_fault(&error))?;
        let version = compiled.version;
        let artifact = Bytes::from(compiled.artifact);
        let files = [("wasm", component), ("cwasm", artifact.clone())]
            .map(|(extension, bytes)| (self.path(version, extension), bytes));
        let vfs = self.vfs.clone();
        let write = move || {
            let mut files = files.iter();
            files.try_for_each(|(path, bytes)| vfs.write_atomic(path, bytes))
        };
        // Megabytes and fsyncs: not on the thread that serves everybody.
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(io::Error::other).flatten();
        written.map_err(|error| {
            let text = format!("the component cannot be stored: {error}; make room and try again");
            Fault::new(ErrorCode::DiskFull, text)
        })?;
        let plugin = host
            .load(version, &artifact)
            .map_err(|error| load_fault(&error))?;
        self.loaded.lock().insert(version, plugin.clone());
        Ok(plugin)
    }

    /// The plugin of that version, from memory, else from its precompiled form, else compiled
    /// anew (after an upgrade, or when that file is damaged).
    pub(crate) async fn load(&self, host: &Host, version: PluginVersion) -> Result<Plugin, Fault> {
        if let Some(plugin) = self.loaded.lock().get(&version) {
            return Ok(plugin.clone());
        }
        let artifact = self.vfs.read(&self.path(version, "cwasm"));
        if let Ok(artifact) = artifact {
            match host.load(version, &artifact) {
                Ok(plugin) => {
                    self.loaded.lock().insert(version, plugin.clone());
                    return Ok(plugin);
                }
                Err(error) => {
                    tracing::warn!(version = %version.short(), %error, "compiling a plugin again");
                }
            }
        }
        let component = self
            .vfs
            .read(&self.path(version, "wasm"))
            .map_err(|error| {
                let text = format!(
                    "the component of version {} is gone: {error}",
                    version.short()
                );
                Fault::new(ErrorCode::InvalidPlugin, text)
            })?;
        let plugin = self.add(host, Bytes::from(component)).await?;
        if plugin.version() == version {
            return Ok(plugin);
        }
        let text = format!(
            "the component file of version {} was changed",
            version.short()
        );
        Err(Fault::new(ErrorCode::InvalidPlugin, text))
    }

    /// The component of that version, as it was pushed.
    pub(crate) async fn component(&self, version: PluginVersion) -> Result<Bytes, Fault> {
        let (vfs, path) = (self.vfs.clone(), self.path(version, "wasm"));
        // Megabytes: not on the thread that serves everybody.
        let read = tokio::task::spawn_blocking(move || vfs.read(&path)).await;
        let read = read.map_err(io::Error::other).flatten();
        read.map(Bytes::from).map_err(|error| {
            let text = format!(
                "the component of version {} cannot be read: {error}; push it again",
                version.short()
            );
            Fault::new(ErrorCode::InvalidPlugin, text)
        })
    }

    /// Loads a plugin and binds it to a hook, with limits of its own where it has some.
    pub(crate) async fn bind(
        &self,
        host: &Host,
        version: PluginVersion,
        hook: Hook,
        config: &[Setting],
        routes: &[String],
        limits: Option<&BindingLimits>,
    ) -> Result<Bound, Fault> {
        let plugin = self.load(host, version).await?;
        let config: Vec<(String, String)> = config
            .iter()
            .map(|setting| (setting.name.clone(), setting.value.clone()))
            .collect();
        host.bind(&plugin, hook, &config, routes, self.limits(limits))
            .await
            .map_err(|error| {
                let code = match &error {
                    BindError::Crowded { .. } | BindError::Shutdown => ErrorCode::Overloaded,
                    _ => ErrorCode::InvalidArgument,
                };
                Fault::new(code, error.to_string())
            })
    }

    /// The broker's limits, but for those that the binding has itself.
    fn limits(&self, own: Option<&BindingLimits>) -> Limits {
        let defaults = self.limits;
        let Some(own) = own else { return defaults };
        // Limits of older entries too are within the bounds of the protocol, and so of memory.
        let bytes = |bytes: Option<u64>| bytes.and_then(|bytes| usize::try_from(bytes).ok());
        let lines = own.log_lines_per_second;
        let output = bytes(own.output_bytes);
        Limits {
            cpu: own.cpu_ms.map_or(defaults.cpu, Duration::from_millis),
            memory: bytes(own.memory_bytes).unwrap_or(defaults.memory),
            // What is said in bytes counts, however small or large the input is.
            output_factor: output.map_or(defaults.output_factor, |_| 0),
            output_min: output.unwrap_or(defaults.output_min),
            log_lines_per_second: lines.map_or(defaults.log_lines_per_second, |lines| {
                u32::try_from(lines).unwrap_or(u32::MAX)
            }),
            ..defaults
        }
    }

    /// No plugin has this version any more.
    pub(crate) fn remove(&self, version: PluginVersion) {
        self.loaded.lock().remove(&version);
        for extension in ["wasm", "cwasm"] {
            match self.vfs.remove(&self.path(version, extension)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(version = %version.short(), %error, "a plugin's file stays");
                }
                _ => {}
            }
        }
    }

    fn path(&self, version: PluginVersion, extension: &str) -> PathBuf {
        self.directory.join(format!("{version}.{extension}"))
    }
}

fn compile_fault(error: &CompileError) -> Fault {
    let code = match error {
        CompileError::NoCompiler | CompileError::Compiler { .. } => ErrorCode::CompilerUnavailable,
        CompileError::Busy { .. } => ErrorCode::Overloaded,
        _ => ErrorCode::InvalidPlugin,
    };
    Fault::new(code, error.to_string())
}

fn load_fault(error: &LoadError) -> Fault {
    Fault::new(ErrorCode::InvalidPlugin, error.to_string())
}
