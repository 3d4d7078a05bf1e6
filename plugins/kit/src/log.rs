//! The plugin's log: `weir plugin logs NAME --follow` shows it. In native tests lines go to the
//! standard error.
//!
//! A binding may write 100 lines a second unless it is bound with another `--log-rate`; what
//! exceeds that is dropped and counted. A line has at most 2 KiB.
//!
//! ```
//! use weir_plugin::log;
//!
//! let field = "dep_delay";
//! log::warn(format_args!("no record has had a {field} so far"));
//! ```

use std::fmt::Display;

/// How important a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Writes a line for the plugin's author.
pub fn debug(message: impl Display) {
    write(Level::Debug, &message);
}

/// Writes a line that is worth knowing.
pub fn info(message: impl Display) {
    write(Level::Info, &message);
}

/// Writes a line that is worth a look.
pub fn warn(message: impl Display) {
    write(Level::Warn, &message);
}

/// Writes a line about something that failed. An error that concerns one record is better returned
/// as [`Error`](crate::Error).
pub fn error(message: impl Display) {
    write(Level::Error, &message);
}

#[cfg(target_family = "wasm")]
fn write(level: Level, message: &dyn Display) {
    crate::guest::write_log(level, &message.to_string());
}

#[cfg(not(target_family = "wasm"))]
#[expect(
    clippy::print_stderr,
    reason = "in a native test nobody else shows the line"
)]
fn write(level: Level, message: &dyn Display) {
    eprintln!("{level:?}: {message}");
}
