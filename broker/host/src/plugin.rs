//! A version of a plugin: what is always known of it, and its code, which is in memory as long as
//! somebody needs it. Code that can be read again may go while its bindings rest.

mod code;

pub(crate) use code::Code;

use crate::artifact::LoadError;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use wasmtime::Engine;
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// A version of a plugin, with its code. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Plugin {
    origin: Arc<Origin>,
    code: Arc<Code>,
}

/// A version that is known only as long as a binding or somebody else has it.
#[derive(Clone, Debug)]
pub struct WeakPlugin {
    origin: Weak<Origin>,
}

/// What remains of a plugin while it has no code in memory.
pub(crate) struct Origin {
    version: PluginVersion,
    hooks: Vec<Hook>,
    engine: Engine,
    engine_hash: u64,
    /// The hooks caught giving different answers to the same question: bits of their numbers.
    impure: AtomicU64,
    /// Reads the precompiled form.
    source: OnceLock<Source>,
    code: Mutex<Weak<Code>>,
    /// Whose turn it is to read; everybody else finds what that one has read.
    reading: Mutex<()>,
    /// The code of a version that cannot be read any more.
    pinned: OnceLock<Arc<Code>>,
}

/// Where code comes from that is not in memory.
struct Source {
    read: Box<dyn Fn() -> io::Result<Vec<u8>> + Send + Sync>,
    /// Says that nothing was read, or nothing of use.
    damaged: Box<dyn Fn() + Send + Sync>,
}

/// Why there is no code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodeError {
    /// The file cannot be read, or nobody has said where it is.
    #[error("its compiled code cannot be read again: {0}; if that lasts, bind the plugin anew")]
    Read(#[from] io::Error),
    /// The file is not what it was.
    #[error("its compiled code cannot be read again: {0}; if that lasts, bind the plugin anew")]
    Load(#[from] LoadError),
}

impl Plugin {
    /// The SHA-256 of the component.
    #[must_use]
    pub fn version(&self) -> PluginVersion {
        self.origin.version
    }

    /// The hooks that it exports and this host runs.
    #[must_use]
    pub fn hooks(&self) -> &[Hook] {
        &self.origin.hooks
    }

    /// A reference that keeps neither the plugin nor its code.
    #[must_use]
    pub fn downgrade(&self) -> WeakPlugin {
        WeakPlugin {
            origin: Arc::downgrade(&self.origin),
        }
    }

    /// Says how the precompiled form can be read again. From now on bindings without calls let go
    /// of the code; the next call reads it, on a plugin thread. If it cannot be read then or is of
    /// no use, because the file is gone or damaged, `damaged` is called: whoever has the component
    /// may compile it again, and until then calls say that they are to be made again later. Only
    /// the first source counts.
    pub fn read_again_by(
        &self,
        read: impl Fn() -> io::Result<Vec<u8>> + Send + Sync + 'static,
        damaged: impl Fn() + Send + Sync + 'static,
    ) {
        // The second one reads the same.
        let _ = self.origin.source.set(Source {
            read: Box::new(read),
            damaged: Box::new(damaged),
        });
    }

    /// Keeps the code in memory as long as anybody has the plugin, because it cannot be read again.
    pub fn pin(&self) {
        self.origin.pinned.get_or_init(|| self.code.clone());
    }

    pub(crate) fn load(
        engine: &Engine,
        engine_hash: u64,
        version: PluginVersion,
        artifact: &[u8],
    ) -> Result<Self, LoadError> {
        let code = Arc::new(Code::load(engine, engine_hash, version, artifact)?);
        let origin = Arc::new(Origin {
            version,
            hooks: code.hooks(),
            engine: engine.clone(),
            engine_hash,
            impure: AtomicU64::new(0),
            source: OnceLock::new(),
            code: Mutex::new(Arc::downgrade(&code)),
            reading: Mutex::new(()),
            pinned: OnceLock::new(),
        });
        Ok(Self { origin, code })
    }

    pub(crate) fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }
}

impl WeakPlugin {
    /// The plugin, if its code is in memory.
    #[must_use]
    pub fn upgrade(&self) -> Option<Plugin> {
        let origin = self.origin.upgrade()?;
        let code = origin.kept()?;
        Some(Plugin { origin, code })
    }

    /// Whether anybody has it, with or without its code.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.origin.strong_count() > 0
    }

    /// The one of two plugins of the same version that is known already, so that what is found out
    /// about it holds for all: with its own code if that is in memory, else with the other's.
    #[must_use]
    pub fn unless_known(&self, loaded: Plugin) -> Plugin {
        let Some(origin) = self.origin.upgrade() else {
            return loaded;
        };
        let mut kept = origin.lock();
        let code = kept.upgrade().unwrap_or_else(|| {
            *kept = Arc::downgrade(&loaded.code);
            loaded.code
        });
        drop(kept);
        Plugin { origin, code }
    }

    /// Keeps the code in memory as long as anybody has the plugin, because it cannot be read again
    /// from now on.
    ///
    /// # Errors
    /// If it is not in memory and can no longer be read.
    pub fn pin(&self) -> io::Result<()> {
        let Some(origin) = self.origin.upgrade() else {
            return Ok(());
        };
        let code = origin.code().map_err(io::Error::other)?;
        Plugin { origin, code }.pin();
        Ok(())
    }
}

impl Origin {
    pub(crate) fn version(&self) -> PluginVersion {
        self.version
    }

    /// The code, read again if it is not in memory.
    pub(crate) fn code(&self) -> Result<Arc<Code>, CodeError> {
        if let Some(code) = self.kept() {
            return Ok(code);
        }
        let _turn = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(code) = self.kept() {
            return Ok(code);
        }
        let source = self.source.get().ok_or(io::ErrorKind::NotFound);
        let source = source.map_err(io::Error::from)?;
        let code = self.read(source).inspect_err(|_| (source.damaged)())?;
        *self.lock() = Arc::downgrade(&code);
        Ok(code)
    }

    fn read(&self, source: &Source) -> Result<Arc<Code>, CodeError> {
        let artifact = (source.read)()?;
        let code = Code::load(&self.engine, self.engine_hash, self.version, &artifact)?;
        Ok(Arc::new(code))
    }

    /// Whether code that goes can come back.
    pub(crate) fn can_be_read_again(&self) -> bool {
        self.source.get().is_some()
    }

    pub(crate) fn is_pure(&self, hook: Hook) -> bool {
        self.impure.load(Ordering::Acquire) >> hook as u64 & 1 == 0
    }

    pub(crate) fn found_impure(&self, hook: Hook) {
        self.impure.fetch_or(1 << hook as u64, Ordering::AcqRel);
    }

    fn kept(&self) -> Option<Arc<Code>> {
        self.lock().upgrade()
    }

    fn lock(&self) -> MutexGuard<'_, Weak<Code>> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin")
            .field("version", &self.version)
            .field("hooks", &self.hooks)
            .finish_non_exhaustive()
    }
}
