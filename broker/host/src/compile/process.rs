//! The host's side: starts the child, feeds it, reads it, and kills it when its time is over.

use super::CompileError;
use super::child::{EXIT_INVALID, EXIT_MEMORY};
use super::job::Job;
use crate::logs::cut;
use crate::{CompilerCommand, clock};
use bytes::Bytes;
use rustix::io::Errno;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;
use weir_wire::limits::COMPONENT_BYTES_MAX;

/// Bytes of a precompiled form: four times the largest component.
const ARTIFACT_MAX: u64 = 4 * COMPONENT_BYTES_MAX as u64;
/// Bytes of diagnostics that are read, and of those that are passed on.
const DIAGNOSTICS_MAX: u64 = 64 << 10;
const MESSAGE_MAX: usize = 2 << 10;
/// Signal numbers, as in signal(7).
const SIGKILL: i32 = 9;
const SIGXCPU: i32 = 24;

/// Runs one compilation to its end.
pub(super) fn run(
    command: &CompilerCommand,
    job: &Job,
    component: Bytes,
    wall: Duration,
) -> Result<Vec<u8>, CompileError> {
    let broken = |message: String| CompileError::Compiler {
        program: command.program.display().to_string(),
        message,
    };
    let stopped = |message: String| CompileError::Stopped {
        program: command.program.display().to_string(),
        message,
    };
    let child = Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match is_there(&error) {
            true => stopped(error.to_string()),
            false => broken(error.to_string()),
        })?;
    let ended = converse(child, job, component, wall).map_err(|error| broken(error.to_string()))?;
    let Some(ended) = ended else {
        return Err(CompileError::TooLong { limit: wall });
    };
    verdict(ended, job, broken, stopped)
}

/// Whether a program that cannot be started is one at all: then there was no room for it.
fn is_there(error: &io::Error) -> bool {
    let is_none = error.raw_os_error() == Some(Errno::NOEXEC.raw_os_error());
    let kinds = [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied];
    !is_none && !kinds.contains(&error.kind())
}

struct Ended {
    status: ExitStatus,
    artifact: Vec<u8>,
    diagnostics: Vec<u8>,
}

/// Feeds and reads the child; `None` if it had to be killed.
fn converse(
    mut child: Child,
    job: &Job,
    component: Bytes,
    wall: Duration,
) -> io::Result<Option<Ended>> {
    let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (Some(mut stdin), Some(stdout), Some(stderr)) = pipes else {
        return Err(io::Error::other("it has no pipes"));
    };
    let head = job.encode();
    // Each pipe has its thread, so that neither side can wait for the other for ever. The writer
    // hands the pipe back: as long as it is open, the child knows that it is wanted.
    let writer = thread::spawn(move || {
        let _ = stdin
            .write_all(&head)
            .and_then(|()| stdin.write_all(&component));
        let _ = stdin.flush();
        stdin
    });
    let reader = thread::spawn(move || read(stdout, ARTIFACT_MAX + 1));
    let (done, ended) = sync_channel(1);
    let diagnostics = thread::spawn(move || {
        // A child closes its stderr when it ends, whatever way it ends.
        let diagnostics = read(stderr, DIAGNOSTICS_MAX);
        let _ = done.send(());
        diagnostics
    });
    let deadline = clock::now() + wall;
    let in_time = ended.recv_timeout(wall) != Err(RecvTimeoutError::Timeout);
    // A child may also close its pipes and go on.
    if !in_time || !wait_until(&mut child, deadline)? {
        child.kill()?;
        child.wait()?;
        // Its own children, should it have some, may hold the pipes open: nobody waits for those.
        return Ok(None);
    }
    let status = child.wait()?;
    drop(writer.join());
    let panicked = |_| io::Error::other("a reading thread panicked");
    let artifact = reader.join().map_err(panicked)?;
    let diagnostics = diagnostics.join().map_err(panicked)?;
    Ok(Some(Ended {
        status,
        artifact,
        diagnostics,
    }))
}

/// Waits for the child's end, which is due at once.
fn wait_until(child: &mut Child, deadline: std::time::Instant) -> io::Result<bool> {
    while child.try_wait()?.is_none() {
        if clock::now() >= deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(true)
}

fn read(pipe: impl Read, max: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    // What could be read counts; the child's status says whether it was all.
    let _ = pipe.take(max).read_to_end(&mut bytes);
    bytes
}

fn verdict(
    ended: Ended,
    job: &Job,
    broken: impl Fn(String) -> CompileError,
    stopped: impl Fn(String) -> CompileError,
) -> Result<Vec<u8>, CompileError> {
    let diagnostics = String::from_utf8_lossy(&ended.diagnostics);
    let message = cut(diagnostics.trim(), MESSAGE_MAX).to_owned();
    let memory = || CompileError::Limit {
        limit: format!("{} bytes of memory", job.memory),
    };
    if ended.artifact.len() as u64 > ARTIFACT_MAX {
        // The child may have failed of nobody reading the rest.
        let limit = format!("{ARTIFACT_MAX} bytes of machine code");
        return Err(CompileError::Limit { limit });
    }
    match (ended.status.code(), ended.status.signal()) {
        (Some(0), _) => Ok(ended.artifact),
        (Some(EXIT_INVALID), _) => Err(CompileError::Invalid { message }),
        (Some(EXIT_MEMORY), _) => Err(memory()),
        (_, Some(SIGXCPU)) => Err(CompileError::Limit {
            limit: format!("{:?} of processor time", job.cpu),
        }),
        // Its processor time ends with the other signal: this one somebody else has sent.
        (_, Some(SIGKILL)) => Err(stopped(ended.status.to_string())),
        // The allocator aborts when the limit on memory is reached.
        (_, Some(_)) if message.contains("memory allocation") => Err(memory()),
        _ => Err(broken(format!("{}: {message}", ended.status))),
    }
}
