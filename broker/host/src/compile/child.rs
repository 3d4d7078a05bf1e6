//! The child's side: limits itself, reads a component, compiles it, writes the precompiled form.

use super::inspect::inspect;
use super::job::{JOB_LEN, Job};
use crate::artifact::{ArtifactHeader, assemble};
use crate::engine;
use rustix::process::{Resource, Rlimit, setrlimit};
use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};
use std::process::{ExitCode, exit};
use std::thread;
use wasmtime::component::Component;
use weir_wire::id::PluginVersion;
use weir_wire::limits::COMPONENT_BYTES_MAX;

/// The component is not a plugin; stderr says why.
pub(super) const EXIT_INVALID: i32 = 2;
/// There was not enough memory.
pub(super) const EXIT_MEMORY: i32 = 3;
/// Nobody wants the answer any more, or the job makes no sense.
const EXIT_UNWANTED: i32 = 4;

/// The body of the hidden verb of `weir` that compiles a component: the job and the component on
/// stdin, the precompiled form on stdout, what is wrong on stderr.
///
/// It limits its own processor time and memory first, opens no files, and ends when stdin does.
#[must_use]
pub fn compiler_main() -> ExitCode {
    match compile() {
        Ok(()) => ExitCode::SUCCESS,
        Err(Refusal { status, message }) => {
            // Whoever started this reads stderr; if nobody does, there is nobody to tell.
            let _ = writeln!(io::stderr(), "{message}");
            ExitCode::from(status as u8)
        }
    }
}

#[derive(Debug)]
pub(crate) struct Refusal {
    status: i32,
    message: String,
}

fn compile() -> Result<(), Refusal> {
    let unwanted = |message: &str| Refusal {
        status: EXIT_UNWANTED,
        message: message.to_owned(),
    };
    let mut head = [0; JOB_LEN];
    io::stdin()
        .read_exact(&mut head)
        .map_err(|_| unwanted("no job on stdin"))?;
    let job = Job::decode(&head).ok_or_else(|| unwanted("stdin does not start with a job"))?;
    limit(&job).map_err(|error| unwanted(&format!("cannot limit itself: {error}")))?;
    let length = usize::try_from(job.length)
        .ok()
        .filter(|length| *length <= COMPONENT_BYTES_MAX);
    let mut component = vec![0; length.ok_or_else(|| unwanted("the component is too large"))?];
    io::stdin()
        .read_exact(&mut component)
        .map_err(|_| unwanted("stdin ended early"))?;
    thread::spawn(end_with_stdin);
    let artifact = translate(&component)?;
    let mut out = io::stdout().lock();
    out.write_all(&artifact)
        .and_then(|()| out.flush())
        .map_err(|_| unwanted("stdout is closed"))
}

/// Kills by signal when processor time is up, and makes allocations fail when memory is. Memory
/// is what is written to, not what is reserved.
fn limit(job: &Job) -> io::Result<()> {
    let both = |value| Rlimit {
        current: Some(value),
        maximum: Some(value),
    };
    let seconds = job.cpu.as_secs();
    let cpu = Rlimit {
        current: Some(seconds),
        maximum: Some(seconds + 1),
    };
    setrlimit(Resource::Cpu, cpu)?;
    setrlimit(Resource::Data, both(job.memory))?;
    setrlimit(Resource::Fsize, both(0))?;
    setrlimit(Resource::Core, both(0))?;
    Ok(())
}

fn end_with_stdin() {
    let mut rest = [0; 1];
    if !matches!(io::stdin().read(&mut rest), Ok(1)) {
        exit(EXIT_UNWANTED);
    }
}

pub(crate) fn translate(component: &[u8]) -> Result<Vec<u8>, Refusal> {
    let invalid = |message: String| Refusal {
        status: EXIT_INVALID,
        message,
    };
    let refused = |error: wasmtime::Error| {
        let message = format!("{error:#}");
        let status = if error.is::<wasmtime::error::OutOfMemory>() {
            EXIT_MEMORY
        } else {
            EXIT_INVALID
        };
        Refusal { status, message }
    };
    let engine = engine::compiling().map_err(refused)?;
    let compiled = Component::from_binary(&engine, component).map_err(refused)?;
    let hooks = inspect(&engine, &compiled).map_err(invalid)?;
    let header = ArtifactHeader {
        version: PluginVersion::new(Sha256::digest(component).into()),
        hooks,
        engine: engine::compatibility(&engine),
    };
    Ok(assemble(&header, &compiled.serialize().map_err(refused)?))
}

#[cfg(test)]
mod tests;
