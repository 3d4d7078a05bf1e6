//! Compiling components, in a child process: neither fuel nor epochs bound a compiler, but a
//! process can be limited and killed.
//!
//! The conversation: the host writes a job (`job.rs`) and the component, and keeps the pipe open;
//! the child answers with the precompiled form on stdout, or with a sentence on stderr and a
//! status. It ends when its stdin does, so it never outlives its host.

mod child;
mod inspect;
mod job;
mod locate;
mod process;

pub use child::compiler_main;

#[cfg(test)]
pub(crate) use child::translate;

use crate::{CompilerCommand, HostConfig, LoadError, Plugin};
use bytes::Bytes;
use job::Job;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use weir_wire::id::PluginVersion;
use weir_wire::limits::COMPONENT_BYTES_MAX;
use weir_wire::plugin::Hook;

/// Compilations at once: each takes a core and up to gigabytes of memory.
const CONCURRENCY: usize = 1;
/// Compilations that may wait.
const WAITING_MAX: usize = 16;

/// A component that keeps the contract, loaded, and its precompiled form.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The SHA-256 of the component.
    pub version: PluginVersion,
    /// The hooks that it exports and this host runs.
    pub hooks: Vec<Hook>,
    /// The precompiled form, for [`crate::Host::load`].
    pub artifact: Vec<u8>,
    /// What loading it gives.
    pub plugin: Plugin,
}

/// Why a component cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// It is no component, or does not keep the contract.
    #[error("not a plugin: {message}")]
    Invalid {
        /// What is missing or wrong.
        message: String,
    },
    /// It is larger than components may be.
    #[error("the component has {bytes} bytes, more than {max}; strip it, or build it smaller")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The bound.
        max: usize,
    },
    /// Compiling it takes too much.
    #[error("compiling the component took more than {limit}; make the component smaller")]
    Limit {
        /// What there was too much of.
        limit: String,
    },
    /// Compiling it takes too long, although it may not have used the processor time it may.
    #[error(
        "compiling the component took more than {limit:?}; the machine may be busy: try again \
         later, or make the component smaller"
    )]
    TooLong {
        /// How long it may take.
        limit: Duration,
    },
    /// There is no program that compiles.
    #[error(
        "no compiler: set WEIR_COMPILER to the path of `weir`, put `weir` on PATH, or name one in \
         the host's configuration"
    )]
    NoCompiler,
    /// The compiler cannot be run, or broke down.
    #[error("the compiler {program} failed: {message}")]
    Compiler {
        /// Which program.
        program: String,
        /// How.
        message: String,
    },
    /// The compiler did not get to its end, or not even to its beginning, for want of something
    /// that there may be again: memory, processes.
    #[error(
        "the compiler {program} was stopped: {message}; there may be too little memory: try \
             again later"
    )]
    Stopped {
        /// Which program.
        program: String,
        /// How.
        message: String,
    },
    /// Many others are waiting.
    #[error("{waiting} components are waiting to be compiled; try again later")]
    Busy {
        /// How many.
        waiting: usize,
    },
}

/// Runs the compiler.
#[derive(Debug)]
pub(crate) struct Compiler {
    command: Option<CompilerCommand>,
    cpu: Duration,
    wall: Duration,
    memory: u64,
    bytes_max: usize,
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Compiler {
    pub(crate) fn new(config: &HostConfig) -> Self {
        Self {
            command: config.compiler.clone(),
            cpu: config.compile_cpu,
            wall: config.compile_wall,
            memory: config.compile_memory,
            bytes_max: config.component_bytes_max.min(COMPONENT_BYTES_MAX),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            running: Arc::new(Semaphore::new(CONCURRENCY)),
        }
    }

    /// Compiles, and loads what came of it by `load`, both on a thread of their own: what cannot be
    /// loaded is refused like what cannot be compiled, before anybody keeps it.
    pub(crate) async fn compile(
        &self,
        component: Bytes,
        load: impl FnOnce(PluginVersion, &[u8]) -> Result<Plugin, LoadError> + Send + 'static,
    ) -> Result<Compiled, CompileError> {
        check_shape(&component, self.bytes_max)?;
        let command = self.command()?;
        let Ok(_waiting) = self.waiting.try_acquire() else {
            return Err(CompileError::Busy {
                waiting: WAITING_MAX,
            });
        };
        self.run(command, component, load).await
    }

    /// The same however many wait: for components that were compiled before, one at a time.
    pub(crate) async fn compile_again(
        &self,
        component: Bytes,
        load: impl FnOnce(PluginVersion, &[u8]) -> Result<Plugin, LoadError> + Send + 'static,
    ) -> Result<Compiled, CompileError> {
        check_shape(&component, self.bytes_max)?;
        self.run(self.command()?, component, load).await
    }

    async fn run(
        &self,
        command: CompilerCommand,
        component: Bytes,
        load: impl FnOnce(PluginVersion, &[u8]) -> Result<Plugin, LoadError> + Send + 'static,
    ) -> Result<Compiled, CompileError> {
        let program = command.program.display().to_string();
        let broken = |message: &str| CompileError::Compiler {
            program: program.clone(),
            message: message.to_owned(),
        };
        let running = self.running.clone().acquire_owned().await;
        let running = running.map_err(|_| broken("the host is shutting down"))?;
        let job = Job {
            cpu: self.cpu,
            memory: self.memory,
            length: component.len() as u64,
        };
        let (reply, compiled) = oneshot::channel();
        let wall = self.wall;
        let thread = std::thread::Builder::new().name("weir-compile".to_owned());
        let spawned = thread.spawn(move || {
            let result = process::run(&command, &job, component.clone(), wall);
            let result = result.and_then(|artifact| loaded(&command, &component, artifact, load));
            // Only now may the next one start, even if nobody waits for this one any more.
            drop(running);
            drop(reply.send(result));
        });
        spawned.map_err(|error| CompileError::Stopped {
            program: program.clone(),
            message: error.to_string(),
        })?;
        compiled.await.map_err(|_| broken("its thread panicked"))?
    }

    /// The program that compiles.
    fn command(&self) -> Result<CompilerCommand, CompileError> {
        let Some(CompilerCommand { program, arguments }) = &self.command else {
            return locate::compiler().ok_or(CompileError::NoCompiler);
        };
        Ok(CompilerCommand {
            program: locate::resolve(program).ok_or(CompileError::NoCompiler)?,
            arguments: arguments.clone(),
        })
    }
}

/// Loads what the compiler has made of the component.
fn loaded(
    command: &CompilerCommand,
    component: &[u8],
    artifact: Vec<u8>,
    load: impl FnOnce(PluginVersion, &[u8]) -> Result<Plugin, LoadError>,
) -> Result<Compiled, CompileError> {
    let version = PluginVersion::new(Sha256::digest(component).into());
    let plugin = load(version, &artifact).map_err(|error| match error {
        LoadError::Engine { message } => CompileError::Invalid {
            message: format!("it needs more than a plugin gets: {message}"),
        },
        error => CompileError::Compiler {
            program: command.program.display().to_string(),
            message: match error {
                LoadError::Stale => "it is another version of weir than the host".to_owned(),
                LoadError::OtherVersion { .. } => "it answered with another component".to_owned(),
                error => error.to_string(),
            },
        },
    })?;
    Ok(Compiled {
        version,
        hooks: plugin.hooks().to_vec(),
        artifact,
        plugin,
    })
}

/// What can be told without compiling: size, and whether it is WebAssembly and a component.
fn check_shape(component: &[u8], max: usize) -> Result<(), CompileError> {
    let invalid = |message: &str| {
        Err(CompileError::Invalid {
            message: message.to_owned(),
        })
    };
    let bytes = component.len();
    if bytes > max {
        return Err(CompileError::TooLarge { bytes, max });
    }
    if bytes == 0 {
        return invalid("the file is empty");
    }
    if !component.starts_with(b"\0asm") {
        return invalid("the file is not WebAssembly (it does not start with \\0asm)");
    }
    match component.get(4..8) {
        Some([1, 0, 0, 0]) => invalid(
            "the file is a core WebAssembly module; make it a component with `wasm-tools component \
             new` or `cargo xtask plugins`",
        ),
        Some([_, _, 1, 0]) => Ok(()),
        _ => invalid("the file is not a WebAssembly component of a known format"),
    }
}
