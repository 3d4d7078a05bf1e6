//! The log lines of one binding: to `tracing`, and the last of them kept for whoever asks.

use crate::clock;
use crate::contract::WireLevel;
use crate::text::one_line;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;
use weir_wire::id::PluginVersion;
use weir_wire::plugin::Hook;

/// Lines kept per binding.
const KEPT_MAX: usize = 256;
/// Bytes of a line; the rest is cut off.
const LINE_MAX: usize = 2048;

/// How important a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For the plugin's author.
    Debug,
    /// Worth knowing.
    Info,
    /// Worth a look.
    Warn,
    /// Something failed; also what a panic says.
    Error,
}

/// A line that a plugin has logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Counts the lines of the binding, from 1; a gap means that lines in between were forgotten.
    pub number: u64,
    /// How important it is.
    pub level: LogLevel,
    /// The text, at most 2 KiB, on one line; characters that act on a terminal are spelled out.
    pub message: String,
}

/// What a binding logs: the last lines of it.
#[derive(Debug)]
pub struct Logs {
    version: PluginVersion,
    hook: Hook,
    per_second: u32,
    kept: Mutex<Kept>,
    more: Notify,
}

#[derive(Debug)]
struct Kept {
    lines: VecDeque<LogLine>,
    last: u64,
    suppressed: u64,
    allowance: f64,
    refilled: Instant,
}

impl Logs {
    pub(crate) fn new(version: PluginVersion, hook: Hook, per_second: u32) -> Self {
        let kept = Kept {
            lines: VecDeque::new(),
            last: 0,
            suppressed: 0,
            allowance: f64::from(per_second),
            refilled: clock::now(),
        };
        Self {
            version,
            hook,
            per_second,
            kept: Mutex::new(kept),
            more: Notify::new(),
        }
    }

    /// Takes a line in, unless the plugin has logged too much lately.
    pub(crate) fn push(&self, level: LogLevel, message: &str) {
        // Neither does anything to the terminals that show it, nor looks like another line.
        let message = one_line(cut(message, LINE_MAX), LINE_MAX);
        if !self.kept().take_in(self.per_second, level, &message) {
            return;
        }
        self.more.notify_waiters();
        let (version, hook) = (self.version.short(), self.hook);
        match level {
            LogLevel::Debug => {
                tracing::debug!(target: "weir::plugin", %version, %hook, "{message}")
            }
            LogLevel::Info => tracing::info!(target: "weir::plugin", %version, %hook, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "weir::plugin", %version, %hook, "{message}"),
            LogLevel::Error => {
                tracing::error!(target: "weir::plugin", %version, %hook, "{message}")
            }
        }
    }

    /// The first `max` of the lines kept with numbers larger than that, oldest first. Who knows
    /// more lines than there were knows those of an earlier start, and gets all.
    #[must_use]
    pub fn lines_after(&self, number: u64, max: usize) -> Vec<LogLine> {
        let kept = self.kept();
        let number = if number > kept.last { 0 } else { number };
        let later = kept.lines.iter().filter(|line| line.number > number);
        later.take(max).cloned().collect()
    }

    /// The same, as soon as there is one.
    pub async fn wait_after(&self, number: u64) -> Vec<LogLine> {
        loop {
            let mut more = pin!(self.more.notified());
            // A line that comes while the kept ones are looked at must wake this up.
            more.as_mut().enable();
            let lines = self.lines_after(number, KEPT_MAX);
            if !lines.is_empty() {
                return lines;
            }
            more.await;
        }
    }

    /// How many lines were left out so far.
    pub(crate) fn suppressed(&self) -> u64 {
        self.kept().suppressed
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Lines stay whole even if a thread panicked while it held the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn take_in(&mut self, per_second: u32, level: LogLevel, message: &str) -> bool {
        let now = clock::now();
        let earned = now.duration_since(self.refilled).as_secs_f64() * f64::from(per_second);
        self.allowance = (self.allowance + earned).min(f64::from(per_second));
        self.refilled = now;
        if self.allowance < 1.0 {
            self.suppressed += 1;
            return false;
        }
        self.allowance -= 1.0;
        if self.lines.len() == KEPT_MAX {
            self.lines.pop_front();
        }
        let message = message.to_owned();
        self.last += 1;
        self.lines.push_back(LogLine {
            number: self.last,
            level,
            message,
        });
        true
    }
}

/// The longest prefix of at most `bytes` bytes that ends between characters.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or(text)
}

impl From<WireLevel> for LogLevel {
    fn from(level: WireLevel) -> Self {
        match level {
            WireLevel::Debug => Self::Debug,
            WireLevel::Info => Self::Info,
            WireLevel::Warn => Self::Warn,
            WireLevel::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT_MAX, LogLevel, Logs, cut};
    use weir_wire::id::PluginVersion;
    use weir_wire::plugin::Hook;

    #[test]
    fn keeps_the_last_lines_and_counts_what_it_suppresses() {
        let logs = Logs::new(PluginVersion::new([0; 32]), Hook::Filter, 1_000);
        for number in 0..5_000 {
            logs.push(LogLevel::Debug, &format!("line {number}"));
        }
        let lines = logs.lines_after(0, KEPT_MAX);
        assert_eq!(lines.len(), KEPT_MAX);
        let taken = lines.last().unwrap().number;
        assert!(taken >= 1_000, "{taken}");
        assert_eq!(taken + logs.suppressed(), 5_000);
        let last = logs.lines_after(taken - 1, KEPT_MAX);
        assert_eq!(last, lines[KEPT_MAX - 1..]);
        assert_eq!(logs.lines_after(taken, KEPT_MAX), []);
        assert_eq!(logs.lines_after(0, 3), lines[..3]);
        assert_eq!(
            logs.lines_after(taken + 1, KEPT_MAX),
            lines,
            "of an earlier start"
        );
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("héllo", 2), "h");
        assert_eq!(cut("héllo", 3), "hé");
        assert_eq!(cut("hi", 10), "hi");
    }
}
