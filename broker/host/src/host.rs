//! The host: one engine, its threads, and the bindings made on them.

use crate::binding::{self, Binding};
use crate::compile::{CompileError, Compiled, Compiler};
use crate::memory::Memory;
use crate::scheduler::{Scheduler, join};
use crate::ticker::Ticker;
use crate::{BindError, Bound, HostConfig, Limits, LoadError, Plugin, clock, engine};
use bytes::Bytes;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use wasmtime::Engine;
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// Why a host cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The engine cannot be set up, for example because addresses cannot be reserved.
    #[error(
        "cannot set up the plugin engine: {message}; check limits on address space (ulimit -v)"
    )]
    Engine {
        /// What the engine said.
        message: String,
    },
    /// A thread cannot be started.
    #[error("cannot start a plugin thread; check the limit on processes (ulimit -u)")]
    Thread(#[from] std::io::Error),
}

/// Compiles, loads and binds plugins. Cheap to clone. When the last clone is dropped, running
/// calls are stopped and every binding answers [`crate::CallError::Shutdown`].
#[derive(Clone, Debug)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    scheduler: Arc<Scheduler>,
    compiler: Compiler,
    engine_hash: u64,
    ticking: Mutex<Option<JoinHandle<()>>>,
}

/// What bindings need of their host.
pub(crate) struct Shared {
    engine: Engine,
    ticker: Arc<Ticker>,
    stopping: AtomicBool,
    memory: Memory,
    bindings: Mutex<Vec<Weak<Binding>>>,
    /// Plugins that were bound lately, with their code: subscriptions come and go, and the next one
    /// often wants the same.
    lately: Mutex<VecDeque<(Plugin, Instant)>>,
}

/// Plugins whose code waits for the next binding although nobody has it bound.
const LATELY_MAX: usize = 8;

impl Host {
    /// Sets the engine up and starts its threads.
    ///
    /// # Errors
    /// If the system does not give what that needs.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let engine = engine::running().map_err(|error| HostError::Engine {
            message: format!("{error:#}"),
        })?;
        let engine_hash = engine::compatibility(&engine);
        let ticker = Arc::new(Ticker::default());
        let shared = Arc::new(Shared {
            engine,
            ticker: ticker.clone(),
            stopping: AtomicBool::new(false),
            memory: Memory::new(config.memory_total),
            bindings: Mutex::default(),
            lately: Mutex::default(),
        });
        let scheduler = Scheduler::start(config.threads, config.idle)?;
        let (weak, idle) = (Arc::downgrade(&shared), config.idle);
        let thread = std::thread::Builder::new().name("weir-plugin-time".to_owned());
        let ticking = thread.spawn(move || ticker.run(&weak, idle))?;
        let compiler = Compiler::new(&config);
        let ticking = Mutex::new(Some(ticking));
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                scheduler,
                compiler,
                engine_hash,
                ticking,
            }),
        })
    }

    /// Compiles a component in a child process and checks that it keeps the contract.
    ///
    /// # Errors
    /// If it is no component, lacks an export or has a wrong one, imports what no plugin gets,
    /// takes too long or too much memory to compile, needs more memories, tables or instances than
    /// an instance can have here; or if there is no compiler.
    pub async fn compile(&self, component: Bytes) -> Result<Compiled, CompileError> {
        self.inner.compiler.compile(component, self.loader()).await
    }

    /// Compiles a component once more that was compiled before, for another engine. It waits for
    /// its turn however many wait: whoever asks does so for one component at a time.
    ///
    /// # Errors
    /// As [`Self::compile`], but for [`CompileError::Busy`].
    pub async fn compile_again(&self, component: Bytes) -> Result<Compiled, CompileError> {
        let load = self.loader();
        self.inner.compiler.compile_again(component, load).await
    }

    fn loader(
        &self,
    ) -> impl FnOnce(PluginVersion, &[u8]) -> Result<Plugin, LoadError> + Send + use<> {
        let (engine, hash) = (self.inner.shared.engine.clone(), self.inner.engine_hash);
        move |version, artifact| Plugin::load(&engine, hash, version, artifact)
    }

    /// Loads the precompiled form of a component. That takes milliseconds for each megabyte.
    ///
    /// # Errors
    /// [`LoadError::Stale`] after an upgrade: compile again. Else the form is damaged.
    pub fn load(&self, version: PluginVersion, artifact: &[u8]) -> Result<Plugin, LoadError> {
        Plugin::load(
            &self.inner.shared.engine,
            self.inner.engine_hash,
            version,
            artifact,
        )
    }

    /// Binds a plugin to a hook: runs its `configure` and keeps the instance for the first call.
    ///
    /// # Errors
    /// If it has no such hook, refuses the configuration, or cannot be started.
    pub async fn bind(
        &self,
        plugin: &Plugin,
        hook: Hook,
        config: &[(String, String)],
        routes: &[String],
        limits: Limits,
    ) -> Result<Bound, BindError> {
        let Inner {
            shared, scheduler, ..
        } = &*self.inner;
        let bound = binding::bind(shared, scheduler, plugin, hook, config, routes, limits).await?;
        shared.was_bound(plugin);
        Ok(bound)
    }

    /// Bytes of linear memory that the instances of all bindings have.
    #[must_use]
    pub fn memory_used(&self) -> u64 {
        self.inner.shared.memory.used()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::Relaxed);
        self.scheduler.stop();
        // The ticker ends last: it is what interrupts the calls that still run.
        self.scheduler.join();
        self.shared.ticker.stop();
        let mut ticking = self.ticking.lock().unwrap_or_else(PoisonError::into_inner);
        ticking.take().into_iter().for_each(join);
    }
}

impl Shared {
    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    pub(crate) fn ticker(&self) -> &Ticker {
        &self.ticker
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes memory for an instance; idle ones of any binding make room.
    pub(crate) fn take_memory(&self, bytes: usize) -> bool {
        self.memory.take(bytes) || {
            self.make_room();
            self.memory.take(bytes)
        }
    }

    /// Remembers the binding, so that its idle instances can be let go.
    pub(crate) fn register(&self, binding: &Arc<Binding>) {
        let mut bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        bindings.retain(|binding| binding.strong_count() > 0);
        bindings.push(Arc::downgrade(binding));
        drop(bindings);
        // Its first instance may have been idle before it was among those that are looked at.
        self.ticker.instances_are_idle();
    }

    /// Keeps the plugin's code for a while.
    fn was_bound(&self, plugin: &Plugin) {
        let mut lately = self.lock_lately();
        lately.retain(|(other, _)| other.version() != plugin.version());
        lately.truncate(LATELY_MAX - 1);
        lately.push_front((plugin.clone(), clock::now()));
        drop(lately);
        self.ticker.instances_are_idle();
    }

    /// Lets go of what nobody has needed for `idle`; whether there is something left.
    pub(crate) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut lately = self.lock_lately();
        lately.retain(|(_, since)| now.duration_since(*since) < idle);
        let mut left = !lately.is_empty();
        drop(lately);
        for binding in self.live() {
            left |= binding.sweep(now, idle);
        }
        left
    }

    /// Drops all idle instances.
    pub(crate) fn make_room(&self) {
        let now = clock::now();
        for binding in self.live() {
            binding.drop_idle(now, Duration::ZERO);
        }
    }

    fn lock_lately(&self) -> MutexGuard<'_, VecDeque<(Plugin, Instant)>> {
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn live(&self) -> Vec<Arc<Binding>> {
        let bindings = self.bindings.lock().unwrap_or_else(PoisonError::into_inner);
        bindings.iter().filter_map(Weak::upgrade).collect()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("stopping", &self.stopping)
            .finish_non_exhaustive()
    }
}
