//! Lines that cannot be records: stop, skip them, or keep them in a file.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use bytes::Bytes;

use crate::exit::Failure;
use crate::input::LineNumber;
use crate::output;

/// Reasons that are shown; the rest is only counted.
const SHOWN_MAX: u64 = 5;

/// What happens to bad lines, and how many there were.
#[derive(Debug)]
pub struct BadLines {
    policy: Policy,
    count: u64,
}

#[derive(Debug)]
enum Policy {
    Fail,
    Skip,
    Keep(PathBuf, BufWriter<File>),
}

impl BadLines {
    /// Reads `--on-bad-line`; a file is opened at once, behind what it holds already.
    pub fn new(word: &str) -> Result<Self, Failure> {
        let policy = match word {
            "fail" => Policy::Fail,
            "skip" => Policy::Skip,
            path => {
                let file = OpenOptions::new().create(true).append(true).open(path);
                let file = file.map_err(|error| {
                    Failure::failed(format!("cannot write bad lines to {path}: {error}"))
                })?;
                Policy::Keep(PathBuf::from(path), BufWriter::new(file))
            }
        };
        Ok(Self { policy, count: 0 })
    }

    /// How many lines were bad.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Deals with a bad line; an error ends the run before it.
    pub fn take(&mut self, number: LineNumber, line: &Bytes, reason: &str) -> Result<(), Failure> {
        match &mut self.policy {
            Policy::Fail => {
                return Err(Failure::failed(format!(
                    "line {number}: {reason}; correct it, or use --on-bad-line skip"
                )));
            }
            Policy::Skip => {}
            Policy::Keep(path, file) => {
                let written = file.write_all(line).and_then(|()| file.write_all(b"\n"));
                written.map_err(|error| write_error(path, &error))?;
            }
        }
        self.count += 1;
        if self.count <= SHOWN_MAX {
            output::note(&format!("line {number}: {reason}"));
        }
        Ok(())
    }

    /// Writes out what is kept.
    pub fn finish(&mut self) -> Result<(), Failure> {
        match &mut self.policy {
            Policy::Keep(path, file) => file.flush().map_err(|error| write_error(path, &error)),
            Policy::Fail | Policy::Skip => Ok(()),
        }
    }
}

fn write_error(path: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!(
        "cannot write bad lines to {}: {error}",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lines_are_kept_behind_those_of_an_earlier_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad");
        std::fs::write(&path, "before\n").unwrap();
        let mut bad = BadLines::new(path.to_str().unwrap()).unwrap();
        bad.take(LineNumber::new(3), &Bytes::from_static(b"{"), "not JSON")
            .unwrap();
        bad.finish().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\n{\n");
        assert_eq!(bad.count(), 1);
    }

    #[test]
    fn failing_names_the_line_and_a_way_out() {
        let mut bad = BadLines::new("fail").unwrap();
        let error = bad
            .take(LineNumber::new(3), &Bytes::new(), "not JSON")
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 3: not JSON; correct it, or use --on-bad-line skip"
        );
        assert_eq!(bad.count(), 0);
    }
}
