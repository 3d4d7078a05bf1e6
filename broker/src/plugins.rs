//! Plugins on disk and in memory: each version's component and its precompiled form, kept by
//! content hash. What is on the disk is loaded as long as a binding or a subscription needs it; if
//! those rest, it is read again for their next call.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use weir_host::{BindError, Bound, CompileError, Compiled, Host, Limits, Plugin, WeakPlugin};
use weir_log::{OpenMode, Vfs};
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
    loaded: Mutex<HashMap<PluginVersion, WeakPlugin>>,
    /// Whose turn it is to read or change files.
    files: tokio::sync::Mutex<()>,
    /// Whose turn it is to compile what is stored: many may wait for the same component.
    compiling: tokio::sync::Mutex<()>,
}

/// The turn of one who reads or changes files: what the log says of a version and the files that
/// are there change together.
#[derive(Debug)]
pub(crate) struct Files<'a> {
    store: &'a PluginStore,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl PluginStore {
    pub(crate) fn new(vfs: Arc<dyn Vfs>, data_dir: &DataDir, limits: Limits) -> Self {
        Self {
            vfs,
            directory: data_dir.plugins(),
            limits,
            loaded: Mutex::default(),
            files: tokio::sync::Mutex::default(),
            compiling: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for a turn at the files.
    pub(crate) async fn files(&self) -> Files<'_> {
        Files {
            store: self,
            _turn: self.files.lock().await,
        }
    }

    /// The plugin of that version, from memory, else from its precompiled form, else compiled
    /// anew (after an upgrade, or when that file is damaged).
    async fn load(&self, host: &Host, version: PluginVersion) -> Result<Plugin, Fault> {
        if let Some(plugin) = self.compiled(host, version).await {
            return Ok(plugin);
        }
        let _turn = self.compiling.lock().await;
        // Whoever had the turn before may have compiled just this.
        match self.precompiled(host, version).await {
            Ok(plugin) => return Ok(plugin),
            Err(error) => {
                tracing::warn!(version = %version.short(), %error, "compiling a plugin again");
            }
        }
        let component = self.component(version).await?;
        let compiled = host.compile_again(component).await;
        let compiled = compiled.map_err(|error| compile_fault(&error))?;
        let artifact = Bytes::from(compiled.artifact);
        let stored = self.files().await.renew(version, artifact).await;
        let plugin = self.keep(compiled.plugin);
        if let Err(error) = stored {
            // It runs all the same, and is compiled once more after the next start.
            tracing::warn!(version = %version.short(), %error, "a compiled plugin is not stored");
            plugin.pin();
        }
        Ok(plugin)
    }

    /// The plugin of that version, unless it has to be compiled.
    pub(crate) async fn compiled(&self, host: &Host, version: PluginVersion) -> Option<Plugin> {
        self.precompiled(host, version).await.ok()
    }

    /// The same; else why it has to be compiled.
    async fn precompiled(&self, host: &Host, version: PluginVersion) -> io::Result<Plugin> {
        if let Some(plugin) = self.kept(version) {
            return Ok(plugin);
        }
        // One after the other: they are large, and the next may want the same.
        let files = self.files().await;
        if let Some(plugin) = self.kept(version) {
            return Ok(plugin);
        }
        Ok(self.keep(files.load(host, version).await?))
    }

    /// The plugin, if it is loaded.
    fn kept(&self, version: PluginVersion) -> Option<Plugin> {
        self.loaded.lock().get(&version)?.upgrade()
    }

    /// Lets others have it too as long as it is used; theirs, if there are some.
    fn keep(&self, plugin: Plugin) -> Plugin {
        let version = plugin.version();
        let mut loaded = self.loaded.lock();
        let plugin = match loaded.get(&version) {
            Some(other) => other.unless_known(plugin),
            None => plugin,
        };
        let (vfs, path) = (self.vfs.clone(), self.path(version, "cwasm"));
        plugin.read_again_by(move || vfs.read(&path));
        loaded.retain(|_, kept| kept.is_known());
        loaded.insert(version, plugin.downgrade());
        plugin
    }

    /// The component of that version, as it was pushed.
    pub(crate) async fn component(&self, version: PluginVersion) -> Result<Bytes, Fault> {
        let (vfs, path) = (self.vfs.clone(), self.path(version, "wasm"));
        let file = path.clone();
        let read = blocking(move || {
            let component = vfs.read(&file)?;
            let found: [u8; 32] = Sha256::digest(&component).into();
            if found == *version.as_bytes() {
                Ok(component)
            } else {
                Err(io::Error::other("this is not what was pushed"))
            }
        });
        read.await.map(Bytes::from).map_err(|error| {
            let text = format!(
                "the component of version {} cannot be used: {}: {error}; put that file back from \
                 a copy or push the component again, then bind it again",
                version.short(),
                path.display()
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

    fn path(&self, version: PluginVersion, extension: &str) -> PathBuf {
        self.directory.join(format!("{version}.{extension}"))
    }
}

impl Files<'_> {
    /// Makes the files of a component durable.
    pub(crate) async fn add(
        &self,
        version: PluginVersion,
        component: Bytes,
        artifact: Bytes,
    ) -> Result<(), Fault> {
        let vfs = self.store.vfs.clone();
        let files = [("wasm", component), ("cwasm", artifact)];
        let files = files.map(|(extension, bytes)| (self.store.path(version, extension), bytes));
        let written = blocking(move || {
            let mut files = files.iter();
            files.try_for_each(|(path, bytes)| vfs.write_atomic(path, bytes))
        });
        written.await.map_err(|error| {
            let text = format!("the component cannot be stored: {error}; make room and try again");
            Fault::new(ErrorCode::DiskFull, text)
        })
    }

    /// Stores the compiled form of a component anew, unless that has been removed meanwhile: nobody
    /// would ever remove the one without the other.
    async fn renew(&self, version: PluginVersion, artifact: Bytes) -> io::Result<()> {
        let vfs = self.store.vfs.clone();
        let [component, compiled] = ["wasm", "cwasm"].map(|it| self.store.path(version, it));
        blocking(move || {
            vfs.open(&component, OpenMode::Read)?;
            vfs.write_atomic(&compiled, &artifact)
        })
        .await
    }

    /// No plugin has this version any more. Subscriptions that have it keep it.
    pub(crate) async fn remove(&self, version: PluginVersion) {
        let used = self.store.loaded.lock().remove(&version);
        let vfs = self.store.vfs.clone();
        let paths = ["wasm", "cwasm"].map(|extension| self.store.path(version, extension));
        let removed = blocking(move || {
            if let Some(used) = used {
                used.pin()?;
            }
            for path in paths {
                match vfs.remove(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            Ok(())
        });
        if let Err(error) = removed.await {
            tracing::warn!(version = %version.short(), %error, "a plugin's file stays");
        }
    }

    /// What the precompiled form of a version gives, if it is there and of use.
    async fn load(&self, host: &Host, version: PluginVersion) -> io::Result<Plugin> {
        let (vfs, host) = (self.store.vfs.clone(), host.clone());
        let path = self.store.path(version, "cwasm");
        blocking(move || {
            let artifact = vfs.read(&path)?;
            host.load(version, &artifact).map_err(io::Error::other)
        })
        .await
    }
}

/// Compiles and loads a component.
pub(crate) async fn compile(host: &Host, component: Bytes) -> Result<Compiled, Fault> {
    let compiled = host.compile(component).await;
    compiled.map_err(|error| compile_fault(&error))
}

/// Megabytes and fsyncs: not on the thread that serves everybody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(io::Error::other).flatten()
}

fn compile_fault(error: &CompileError) -> Fault {
    let code = match error {
        CompileError::NoCompiler | CompileError::Compiler { .. } => ErrorCode::CompilerUnavailable,
        // A busy machine is not the component's fault.
        CompileError::Busy { .. } | CompileError::TooLong { .. } => ErrorCode::Overloaded,
        _ => ErrorCode::InvalidPlugin,
    };
    Fault::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use std::time::Duration;

    use bytes::Bytes;
    use parking_lot::Mutex;
    use weir_host::{CompileError, Limits};
    use weir_log::{SimVfs, Vfs};
    use weir_wire::id::PluginVersion;

    use super::{PluginStore, compile_fault};

    #[tokio::test]
    async fn what_was_removed_meanwhile_leaves_no_compiled_form() {
        let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
        let directory = PathBuf::from("/plugins");
        vfs.create_dir_all(&directory).unwrap();
        let store = PluginStore {
            vfs: vfs.clone(),
            directory: directory.clone(),
            limits: Limits::default(),
            loaded: Mutex::default(),
            files: tokio::sync::Mutex::default(),
            compiling: tokio::sync::Mutex::default(),
        };
        let (version, form) = (PluginVersion::new([7; 32]), Bytes::from_static);
        let names = || vfs.list(&directory).unwrap().len();
        let files = store.files().await;
        let (component, compiled) = (form(b"component"), form(b"old"));
        files.add(version, component, compiled).await.unwrap();
        files.renew(version, form(b"new")).await.unwrap();
        let path = Path::new("/plugins").join(format!("{version}.cwasm"));
        assert_eq!((names(), vfs.read(&path).unwrap()), (2, b"new".to_vec()));
        files.remove(version).await;
        let late = files.renew(version, form(b"late")).await;
        assert_eq!(late.unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert_eq!(names(), 0);
    }

    #[test]
    fn a_busy_machine_is_a_reason_to_try_again() {
        let limit = Duration::from_secs(180);
        let passing = [
            CompileError::Busy { waiting: 16 },
            CompileError::TooLong { limit },
        ];
        for error in &passing {
            assert!(compile_fault(error).is_retryable(), "{error}");
        }
        let limit = "60s of processor time".to_owned();
        assert!(!compile_fault(&CompileError::Limit { limit }).is_retryable());
    }
}
