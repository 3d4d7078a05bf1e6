//! A user's machine: a home of its own, so that no test sees another's contexts, and the binary.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use serde_json::Value;

/// Lines of a broker's standard error that may wait for the test; it reads the first few.
const LINES_WAITING: usize = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary home.
pub struct Home {
    directory: tempfile::TempDir,
}

/// What a command printed and how it ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Home {
    pub fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// `weir` with these arguments, in this home, in an environment without surprises.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env_clear()
            .env("HOME", self.directory.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn weir(&self, arguments: &[&str]) -> Done {
        self.command(arguments).output().unwrap().into()
    }

    /// The same with an output that nobody reads any more, as behind `| head -0`.
    pub fn weir_unread(&self, arguments: &[&str]) -> Done {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = self.command(arguments);
        command.stdout(writer).output().unwrap().into()
    }

    /// The same with that on standard input.
    pub fn weir_with_input(&self, arguments: &[&str], input: &[u8]) -> Done {
        let mut child = self
            .command(arguments)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap().into()
    }

    /// The standard output of a command that has to succeed.
    #[track_caller]
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.weir(arguments).expect(0).stdout
    }

    /// The JSON objects that a command prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Vec<Value> {
        let lines = self.ok(&[arguments, &["--output", "json"]].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// A broker on a free port, which writes the context `local` of this home.
    pub fn serve(&self, data: &str, more: &[&str]) -> Serving {
        self.serve_at("127.0.0.1:0", data, more)
    }

    /// A broker at that address.
    pub fn serve_at(&self, address: &str, data: &str, more: &[&str]) -> Serving {
        let arguments = ["serve", "--data", data, "--listen", address];
        let mut child = self
            .command(&[&arguments, more].concat())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (sender, lines) = sync_channel(LINES_WAITING);
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // The test has what it wanted; the rest only has to be read.
                sender.try_send(line).ok();
            }
        });
        line_with(&lines, "is ready");
        let address = line_with(&lines, "weir://");
        // The last line of what it announces: from here on its context is written.
        line_with(&lines, "elsewhere");
        Serving {
            child,
            _lines: lines,
            address: address.split_whitespace().last().unwrap().to_owned(),
        }
    }
}

impl From<Output> for Done {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Done {
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }

    /// It failed with that code and one sentence on standard error, and printed no result.
    #[track_caller]
    pub fn fails(self, code: i32, expected: &str) {
        let done = self.expect(code);
        assert!(done.stderr.contains(expected), "{done:?}");
        assert!(!done.stderr.contains("panicked"), "{done:?}");
        assert_eq!(done.stdout, "", "a failure is no result");
    }
}

/// A broker that runs; dropping it kills it.
pub struct Serving {
    child: Child,
    /// What it says from now on; somebody has to read it.
    _lines: Receiver<String>,
    address: String,
}

impl Serving {
    /// Ends it in good order.
    pub fn stop(mut self) {
        crate::broker::interrupt(self.child.id());
        assert!(self.child.wait().unwrap().success());
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The first line that holds `text`.
fn line_with(lines: &Receiver<String>, text: &str) -> String {
    loop {
        let line = lines.recv_timeout(PATIENCE);
        let line = line.unwrap_or_else(|_| panic!("the broker did not say {text:?}"));
        if line.contains(text) {
            return line;
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The folder of the sources.
pub fn sources() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
