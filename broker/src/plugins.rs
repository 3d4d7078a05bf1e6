//! Plugins on disk and in memory: each version's component and its precompiled form, kept by
//! content hash. What is on the disk is loaded as long as a binding or a subscription needs it; if
//! those rest, it is read again for their next call.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::{Notify, Semaphore};
use tokio::time::sleep;
use weir_host::{BindError, Bound, CompileError, Compiled, Host, Limits, Plugin, WeakPlugin};
use weir_log::{OpenMode, Vfs};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;
use weir_wire::request::{BindingLimits, Setting};

use crate::data_dir::DataDir;

/// Who may wait for stored components to be compiled: each may take minutes.
const WAITING_MAX: usize = 16;
/// How long it is known what could not be compiled; and for as long, what is damaged and cannot be
/// compiled is not tried again by itself.
const FAILURES_KEPT: Duration = Duration::from_secs(300);
const MEND_PAUSE: Duration = Duration::from_secs(5);
/// What the names of files end in that are not written to their ends.
const UNFINISHED: &str = ".tmp";

/// Keeps plugins.
#[derive(Debug)]
pub(crate) struct PluginStore {
    vfs: Arc<dyn Vfs>,
    directory: PathBuf,
    limits: Limits,
    loaded: Mutex<HashMap<PluginVersion, WeakPlugin>>,
    /// Whose turn it is to read or change files.
    files: tokio::sync::Mutex<()>,
    /// Whose turn it is to compile what is stored, and what could not be compiled: many may wait
    /// for the same component.
    compiling: tokio::sync::Mutex<HashMap<PluginVersion, Failed>>,
    /// Who may wait for that.
    waiting: Semaphore,
    damaged: Arc<Damaged>,
}

/// When and why a component could not be compiled.
#[derive(Debug)]
struct Failed {
    at: Instant,
    fault: Fault,
}

/// Versions whose compiled form was found damaged or gone when a binding that had rested was to run
/// again.
#[derive(Debug, Default)]
struct Damaged {
    versions: Mutex<HashSet<PluginVersion>>,
    more: Notify,
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
            waiting: Semaphore::new(WAITING_MAX),
            damaged: Arc::default(),
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
    /// anew (after an upgrade, or when that file is damaged). What could not be compiled since
    /// then is not tried once more.
    pub(crate) async fn load(
        &self,
        host: &Host,
        version: PluginVersion,
        since: Instant,
    ) -> Result<Plugin, Fault> {
        if let Some(plugin) = self.compiled(host, version).await {
            return Ok(plugin);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            let text = format!("{WAITING_MAX} wait for plugins to be compiled; try again later");
            return Err(Fault::new(ErrorCode::Overloaded, text));
        };
        let mut failed = self.compiling.lock().await;
        // Whoever had the turn before may have compiled just this, or tried to.
        if let Some(failed) = failed.get(&version).filter(|failed| failed.at >= since) {
            return Err(failed.fault.clone());
        }
        match self.precompiled(host, version).await {
            Ok(plugin) => return Ok(plugin),
            Err(error) => {
                tracing::warn!(version = %version.short(), %error, "compiling a plugin again");
            }
        }
        let compiled = self.compile_again(host, version).await;
        match &compiled {
            Ok(_) => drop(failed.remove(&version)),
            Err(fault) => {
                let (at, fault) = (Instant::now(), fault.clone());
                failed.retain(|_, failed| failed.at.elapsed() < FAILURES_KEPT);
                failed.insert(version, Failed { at, fault });
            }
        }
        compiled
    }

    async fn compile_again(&self, host: &Host, version: PluginVersion) -> Result<Plugin, Fault> {
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

    /// Compiles again whatever was found damaged, as soon as it is.
    pub(crate) async fn mend(&self, host: &Host) {
        loop {
            self.damaged.more.notified().await;
            let versions = std::mem::take(&mut *self.damaged.versions.lock());
            let mut are_sound = true;
            for version in versions {
                let now = Instant::now();
                let since = now.checked_sub(FAILURES_KEPT).unwrap_or(now);
                if let Err(fault) = self.load(host, version, since).await {
                    tracing::warn!(version = %version.short(), %fault, "a plugin stays damaged");
                    are_sound = false;
                }
            }
            if !are_sound {
                // Calls that fail meanwhile say so again and again.
                sleep(MEND_PAUSE).await;
            }
        }
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
        let damaged = self.damaged.clone();
        plugin.read_again_by(
            move || vfs.read(&path),
            move || {
                damaged.versions.lock().insert(version);
                damaged.more.notify_one();
            },
        );
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
                let text = "this is not what was pushed";
                Err(io::Error::new(io::ErrorKind::InvalidData, text))
            }
        });
        read.await
            .map(Bytes::from)
            .map_err(|error| component_fault(version, &path, &error))
    }

    /// Binds a plugin to a hook, with limits of its own where it has some.
    pub(crate) async fn bind(
        &self,
        host: &Host,
        plugin: &Plugin,
        hook: Hook,
        config: &[Setting],
        routes: &[String],
        limits: Option<&BindingLimits>,
    ) -> Result<Bound, Fault> {
        let config: Vec<(String, String)> = config
            .iter()
            .map(|setting| (setting.name.clone(), setting.value.clone()))
            .collect();
        host.bind(plugin, hook, &config, routes, self.limits(limits))
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
            files.try_for_each(|(path, bytes)| write(&*vfs, path, bytes))
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
            write(&*vfs, &compiled, &artifact)
        })
        .await
    }

    /// Removes the files of versions that no plugin has, and those that are not written to their
    /// ends: a push may have been cut short. Only while nobody writes.
    pub(crate) async fn remove_unknown(&self, is_known: impl Fn(PluginVersion) -> bool) {
        let (vfs, directory) = (self.store.vfs.clone(), self.store.directory.clone());
        let names = match blocking(move || vfs.list(&directory)).await {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "it is not known which plugins' files there are");
                return;
            }
        };
        let found = names.iter().filter_map(|name| named_after(name));
        let found: HashSet<PluginVersion> = found.collect();
        for version in found.into_iter().filter(|version| !is_known(*version)) {
            tracing::info!(version = %version.short(), "removing files that no plugin has");
            self.remove(version).await;
        }
        let unfinished = names.iter().filter(|name| {
            let finished = name.strip_suffix(UNFINISHED);
            finished.and_then(named_after).is_some()
        });
        let paths = unfinished.map(|name| self.store.directory.join(name));
        let paths: Vec<_> = paths.collect();
        let vfs = self.store.vfs.clone();
        if let Err(error) = blocking(move || remove_all(&*vfs, paths)).await {
            tracing::warn!(%error, "a file that was not written to its end stays");
        }
    }

    /// No plugin has this version any more. Subscriptions that have it keep it.
    pub(crate) async fn remove(&self, version: PluginVersion) {
        let used = self.store.loaded.lock().remove(&version);
        let vfs = self.store.vfs.clone();
        let paths = ["wasm", "cwasm"].map(|extension| self.store.path(version, extension));
        let removed = blocking(move || {
            if let Some(Err(error)) = used.map(|used| used.pin()) {
                // Whoever has it cannot run it once more. For that the files would stay for ever.
                tracing::warn!(version = %version.short(), %error, "a plugin in use is gone");
            }
            remove_all(&*vfs, paths)
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

/// Writes a file as a whole. Of one for which there is no room nothing keeps the last of that.
fn write(vfs: &dyn Vfs, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let written = vfs.write_atomic(path, bytes);
    if written.is_err() {
        let removed = remove_all(vfs, [unfinished(path)]);
        tracing::debug!(path = %path.display(), ?removed, "it was not written to its end");
    }
    written
}

/// What a file is called until it is written to its end.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// Removes files, if they are there.
fn remove_all(vfs: &dyn Vfs, paths: impl IntoIterator<Item = PathBuf>) -> io::Result<()> {
    for path in paths {
        match vfs.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The version that a file of the store is named after.
fn named_after(name: &str) -> Option<PluginVersion> {
    let (stem, extension) = name.split_once('.')?;
    if !["wasm", "cwasm"].contains(&extension) {
        return None;
    }
    let mut digest = [0; 32];
    for (n, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(stem.get(2 * n..2 * n + 2)?, 16).ok()?;
    }
    let version = PluginVersion::new(digest);
    (version.to_string() == stem).then_some(version)
}

/// A file that is not there or was changed stays so. What else stands in the way of reading it may
/// pass.
fn component_fault(version: PluginVersion, path: &Path, error: &io::Error) -> Fault {
    let (code, advice) = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidData => (
            ErrorCode::InvalidPlugin,
            "put that file back from a copy or push the component again, then bind it again",
        ),
        _ => (ErrorCode::Overloaded, "try again later"),
    };
    let (version, path) = (version.short(), path.display());
    let text =
        format!("the component of version {version} cannot be used: {path}: {error}; {advice}");
    Fault::new(code, text)
}

fn compile_fault(error: &CompileError) -> Fault {
    let code = match error {
        CompileError::NoCompiler | CompileError::Compiler { .. } => ErrorCode::CompilerUnavailable,
        // A busy machine is not the component's fault.
        CompileError::Busy { .. } | CompileError::TooLong { .. } | CompileError::Stopped { .. } => {
            ErrorCode::Overloaded
        }
        _ => ErrorCode::InvalidPlugin,
    };
    Fault::new(code, error.to_string())
}

#[cfg(test)]
mod tests;
