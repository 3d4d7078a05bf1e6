//! A broker and a shell as somebody has them who follows the README: a folder with the examples
//! and the plugins, `weir` on the path. Only the port is another one, since tests run together.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// `weir serve` in a folder of its own; killed and reaped when dropped.
pub struct TourBroker {
    folder: TempDir,
    path: String,
    child: Child,
    address: String,
    /// Takes in what the broker says, so that its pipe never fills.
    reader: Option<std::thread::JoinHandle<()>>,
}

impl TourBroker {
    /// Starts it; `top` is where the repository is.
    pub fn start(top: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["examples", "plugins"] {
            symlink(top.join(name), folder.path().join(name)).unwrap();
        }
        let path = path_with_weir(folder.path());
        let mut child = shell(folder.path(), &path, "exec weir serve --listen 127.0.0.1:0")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let mut address = None;
        // The context is written before this line is, and the broker serves before that.
        for line in lines.by_ref() {
            let line = line.unwrap();
            address = line
                .trim()
                .strip_prefix("address ")
                .map(|rest| rest.trim().to_owned())
                .or(address);
            if line.trim().starts_with("elsewhere ") {
                break;
            }
            said.push(line);
        }
        let reader = std::thread::spawn(move || lines.for_each(drop));
        let address = address.unwrap_or_else(|| panic!("no address:\n{}", said.join("\n")));
        Self {
            folder,
            path,
            child,
            address,
            reader: Some(reader),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where it was started.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command line in that folder, and answers what it printed.
    pub fn run(&self, line: &str) -> String {
        let line = format!("set -euo pipefail; {line}");
        let output = shell(self.folder.path(), &self.path, &line)
            .output()
            .unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{line}: {}\n{complaint}",
            output.status
        );
        String::from_utf8(output.stdout).unwrap()
    }
}

/// The search path with the binary under test as `weir`, and nothing else of its folder.
fn path_with_weir(folder: &Path) -> String {
    let bin = folder.join("bin");
    fs::create_dir(&bin).unwrap();
    let weir = bin.join("weir");
    fs::write(
        &weir,
        format!("#!/bin/sh\nexec '{}' \"$@\"\n", env!("CARGO_BIN_EXE_weir")),
    )
    .unwrap();
    fs::set_permissions(&weir, fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

fn shell(folder: &Path, path: &str, line: &str) -> Command {
    let mut command = Command::new("bash");
    command
        .args(["-c", line])
        .current_dir(folder)
        .env("PATH", path)
        .env("XDG_CONFIG_HOME", folder.join("config"))
        .env_remove("WEIR_BROKER")
        .env_remove("WEIR_CA")
        .env_remove("WEIR_TOKEN")
        .env_remove("WEIR_LOG")
        .stdin(Stdio::null());
    command
}

impl Drop for TourBroker {
    fn drop(&mut self) {
        // It may have ended by itself; waiting reaps it all the same.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
