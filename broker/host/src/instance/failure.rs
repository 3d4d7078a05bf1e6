//! How a call into a plugin fails.

use super::state::{State, Stop};
use crate::logs::cut;
use crate::text::one_line;
use std::fmt;
use std::fmt::Write;
use wasmtime::{FrameInfo, Store, WasmBacktrace};

/// Bytes of a message that is kept of a failure, and of a backtrace.
const MESSAGE_MAX: usize = 1024;
const BACKTRACE_MAX: usize = 2048;
/// Bytes of a function's name, and of what stands for it in the component.
const NAME_MAX: usize = 120;
const MANGLED_MAX: usize = 4096;

/// What the names of functions contain that carry a panic of Rust from where it began to its trap.
const PANICKING: [&str; 5] = [
    "rust_begin_unwind",
    "rust_panic",
    "__rust_end_short_backtrace",
    "core::panicking::",
    "std::panicking::",
];

/// What the engine says of an answer that it cannot even read, and what that means for the author
/// of the plugin.
const EXPLANATIONS: [(&str, &str); 6] = [
    ("utf-8", "a text that it returned or logged is not UTF-8"),
    (
        "out of bounds of memory",
        "what it returned or logged lies outside its memory",
    ),
    (
        "realloc return",
        "its `cabi_realloc` gave no room for what it was to get",
    ),
    ("is not aligned", "what it returned is not aligned"),
    (
        "discriminant",
        "it returned or logged a case that the contract does not have",
    ),
    (
        "has not been defined",
        "it called what no plugin can: of WASI, only the names are there",
    ),
];

/// How a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) cause: Cause,
    message: String,
    /// Where in the plugin it was.
    pub(crate) backtrace: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The plugin returned an error.
    Said,
    /// It trapped.
    Trapped,
    /// It returned something that its contract does not allow.
    Answered,
    /// It was stopped at a limit; more records at once reach it sooner.
    Limit,
    /// There is no memory for it because of other plugins.
    Crowded,
    /// It makes more of a batch than a batch can hold.
    TooLarge,
    /// It makes more of a batch than there is room for.
    NoRoom,
    /// The records are not what they should be.
    Malformed,
    /// Its thread is needed for others, or nobody waits for it any more.
    Interrupted,
    /// The host is shutting down.
    Shutdown,
}

impl Failure {
    fn new(cause: Cause, message: &str) -> Self {
        Self {
            cause,
            message: one_line(message, MESSAGE_MAX),
            backtrace: None,
        }
    }

    pub(crate) fn said(message: &str) -> Self {
        Self::new(Cause::Said, message)
    }

    pub(crate) fn answered(message: String) -> Self {
        Self::new(Cause::Answered, &message)
    }

    pub(crate) fn limit(message: String) -> Self {
        Self::new(Cause::Limit, &message)
    }

    pub(crate) fn crowded(message: &str) -> Self {
        Self::new(Cause::Crowded, message)
    }

    pub(crate) fn too_large() -> Self {
        Self::new(Cause::TooLarge, "the outputs do not fit a batch")
    }

    pub(crate) fn no_room() -> Self {
        Self::new(Cause::NoRoom, "there is no room for the outputs")
    }

    pub(crate) fn malformed() -> Self {
        Self::new(Cause::Malformed, "a record is malformed")
    }

    /// Sorts an error of the engine: limits, shutdown, and everything else as a trap, with what
    /// the plugin said last and where it was.
    pub(super) fn of_engine(store: &mut Store<State>, error: &wasmtime::Error) -> Self {
        let said = store.data_mut().take_said();
        let backtrace = error.downcast_ref().and_then(frames);
        let failure = match error.downcast_ref::<Stop>() {
            Some(Stop::Shutdown) => Self::new(Cause::Shutdown, "the broker is shutting down"),
            Some(crowded @ Stop::Crowded { .. }) => Self::crowded(&crowded.to_string()),
            Some(Stop::Interrupted) => Self::new(Cause::Interrupted, "the call was interrupted"),
            Some(limit) => Self::limit(format!("the plugin was stopped: {limit}")),
            None => Self::trap(error, said),
        };
        tracing::debug!(target: "weir::plugin", "{error:?}");
        Self {
            backtrace,
            ..failure
        }
    }

    fn trap(error: &wasmtime::Error, said: Option<String>) -> Self {
        let cause = error.root_cause().to_string();
        if cause.contains("fuel allocated for hostcalls") {
            let message = "the plugin was stopped: it returned or logged more bytes than it may";
            return Self::limit(message.to_owned());
        }
        let place = error
            .downcast_ref::<WasmBacktrace>()
            .and_then(|trace| trace.frames().iter().find_map(FrameInfo::func_name))
            .map_or_else(String::new, |name| format!(" in {}", readable(name)));
        let message = match said {
            Some(said) => format!("the plugin trapped: {said}"),
            None => match EXPLANATIONS.iter().find(|(part, _)| cause.contains(part)) {
                Some((_, meaning)) => format!("the plugin trapped: {meaning} ({cause}){place}"),
                None => format!("the plugin trapped: {cause}{place}"),
            },
        };
        Self::new(Cause::Trapped, &message)
    }

    /// Whether the same records in smaller parts may well pass.
    pub(crate) fn is_limit(&self) -> bool {
        self.cause == Cause::Limit
    }
}

/// One line per frame, the innermost first, without those that only carry a panic out.
fn frames(trace: &WasmBacktrace) -> Option<String> {
    let mut text = String::new();
    let named = trace.frames().iter().map(|frame| {
        let name = frame.func_name().map(readable);
        let name = name.unwrap_or_else(|| format!("function {}", frame.func_index()));
        (name, frame.module_offset().unwrap_or_default())
    });
    let outer = named.skip_while(|(name, _)| PANICKING.iter().any(|part| name.contains(part)));
    for (number, (name, offset)) in outer.enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{number}: {name} (at {offset:#x})");
        if text.len() > BACKTRACE_MAX {
            break;
        }
    }
    let kept = cut(text.trim_end(), BACKTRACE_MAX);
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// Function names come from the component: as its author wrote them, on one line, and cut.
fn readable(name: &str) -> String {
    // Without the hash that tells versions of a crate apart.
    let name = format!("{:#}", rustc_demangle::demangle(cut(name, MANGLED_MAX)));
    one_line(&name, NAME_MAX)
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
