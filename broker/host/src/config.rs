//! What a host and a binding may be told, with the defaults and the reasons for them.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use weir_wire::limits::COMPONENT_BYTES_MAX;

/// The program that compiles components, run as a child process: `weir` with its hidden verb, or
/// any program whose `main` is [`crate::compiler_main`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompilerCommand {
    /// The program's path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
}

/// Settings of a host.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// The compiler; `None` looks into `WEIR_COMPILER`, then for `weir` on `PATH`, when the first
    /// component is compiled.
    pub compiler: Option<CompilerCommand>,
    /// Threads that run plugins. At least 4, so that a slow plugin leaves others room even on a
    /// small machine: half of them never run slow ones. At most [`HostConfig::THREADS_MAX`].
    pub threads: usize,
    /// Bytes of linear memory that all instances may have together.
    pub memory_total: u64,
    /// Bytes that a component may have, at most [`COMPONENT_BYTES_MAX`].
    pub component_bytes_max: usize,
    /// How long a binding without calls keeps its instances.
    pub idle: Duration,
    /// Processor time that compiling one component may take. The largest useful ones (Python,
    /// JavaScript) take about 15 s.
    pub compile_cpu: Duration,
    /// How long compiling one component may take altogether.
    pub compile_wall: Duration,
    /// Bytes of memory that compiling one component may take.
    pub compile_memory: u64,
}

impl HostConfig {
    /// Threads that run plugins: a call has up to two instances, for all of which there must be
    /// places.
    pub const THREADS_MAX: usize = 32;
}

impl Default for HostConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            compiler: None,
            threads: cores.clamp(4, Self::THREADS_MAX),
            memory_total: 1 << 30,
            component_bytes_max: COMPONENT_BYTES_MAX,
            idle: Duration::from_secs(30),
            compile_cpu: Duration::from_secs(60),
            compile_wall: Duration::from_secs(180),
            compile_memory: 3 << 30,
        }
    }
}

/// What one call of a plugin may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of a call.
    pub cpu: Duration,
    /// Wall-clock backstop of a call: far more, because a busy machine is not the plugin's fault.
    pub wall: Duration,
    /// Bytes of linear memory of an instance; at most [`Limits::MEMORY_MAX`].
    pub memory: usize,
    /// Bytes that a call may return, as a multiple of what it was given.
    pub output_factor: usize,
    /// Bytes that a call may always return.
    pub output_min: usize,
    /// Lines that a plugin may log in a second, with as many saved up.
    pub log_lines_per_second: u32,
    /// Calls of a binding that run at once.
    pub concurrency: usize,
}

impl Limits {
    /// The most memory that an instance can be allowed: what the pool reserves addresses for.
    pub const MEMORY_MAX: usize = 256 << 20;

    /// How many bytes a call may return that was given so many.
    pub(crate) fn output_max(&self, input_bytes: usize) -> usize {
        self.output_min
            .max(input_bytes.saturating_mul(self.output_factor))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_millis(100),
            wall: Duration::from_secs(5),
            memory: 64 << 20,
            output_factor: 4,
            output_min: 1 << 20,
            log_lines_per_second: 100,
            concurrency: 2,
        }
    }
}
