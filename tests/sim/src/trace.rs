//! What happened, line by line, and a number that stands for all of it.

use std::fmt;

/// Lines that a failure shows.
const TAIL: usize = 60;

/// The actions of a run and what came of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    lines: Vec<String>,
    hash: u32,
}

impl Trace {
    pub(crate) fn line(&mut self, line: fmt::Arguments<'_>) {
        let line = line.to_string();
        self.hash = crc32c::crc32c_append(self.hash, line.as_bytes());
        self.hash = crc32c::crc32c_append(self.hash, b"\n");
        self.lines.push(line);
    }

    /// Stands for every line.
    #[must_use]
    pub fn hash(&self) -> u32 {
        self.hash
    }

    /// All lines.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// The last lines, as text.
    #[must_use]
    pub fn tail(&self) -> String {
        let from = self.lines.len().saturating_sub(TAIL);
        self.lines.get(from..).unwrap_or_default().join("\n")
    }
}
