//! Runs users' WebAssembly plugins: compiles components in a child process, binds them to hooks,
//! and calls them with batches, within limits of time, memory and output.
//!
//! This is the only crate that names wasmtime. What it may be trusted with, and what not, is in
//! `README.md`. It applies no error policy: it says which records failed, and why.

mod answer;
mod artifact;
mod binding;
mod clock;
mod columns;
mod compile;
mod config;
mod contract;
mod engine;
mod host;
mod input;
mod instance;
mod logs;
mod memory;
mod native;
mod plugin;
mod run;
mod scheduler;
mod text;
mod ticker;
mod walk;

pub use artifact::LoadError;
pub use binding::{BindError, BindingIdentity, BindingStats, Bound, Quarantine};
pub use compile::{CompileError, Compiled, compiler_main};
pub use config::{CompilerCommand, HostConfig, Limits};
pub use host::{Host, HostError};
pub use input::{
    Attempt, Decision, Input, RecordFailure, Rejection, RouteSet, Transformed, Verdicts,
};
pub use logs::{LogLevel, LogLine, Logs};
pub use native::{key_routes, record_keys, tag_matches, upper_values, value_matches};
pub use plugin::{Plugin, WeakPlugin};
pub use run::CallError;
