//! Data directories as test objects: copied, damaged, compared byte by byte, and handed to a
//! broker that is expected to refuse them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The files below a directory: their names from there on, and what is in them.
pub type Tree = BTreeMap<PathBuf, Vec<u8>>;

/// Everything below a directory; directories themselves as names without bytes.
#[must_use]
pub fn tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        let items = std::fs::read_dir(&directory).expect("a test may read its directory");
        for item in items {
            let path = item.expect("a test may read its directory").path();
            let name = path.strip_prefix(root).expect("it lies below").to_owned();
            if path.is_dir() {
                tree.insert(name, Vec::new());
                waiting.push(path);
            } else {
                let bytes = std::fs::read(&path).expect("a test may read its files");
                tree.insert(name, bytes);
            }
        }
    }
    tree
}

/// The names of what differs.
#[must_use]
pub fn differences(before: &Tree, after: &Tree) -> Vec<PathBuf> {
    let names = before.keys().chain(after.keys());
    let mut names: Vec<PathBuf> = names
        .filter(|name| before.get(*name) != after.get(*name))
        .cloned()
        .collect();
    names.dedup();
    names
}

/// Writes a tree below a directory, which need not exist.
pub fn copy_to(tree: &Tree, root: &Path, is_directory: impl Fn(&Path) -> bool) {
    std::fs::create_dir_all(root).expect("a test may make a directory");
    for (name, bytes) in tree {
        let path = root.join(name);
        if is_directory(name) {
            std::fs::create_dir_all(&path).expect("a test may make a directory");
        } else {
            let parent = path.parent().expect("it lies below the root");
            std::fs::create_dir_all(parent).expect("a test may make a directory");
            std::fs::write(&path, bytes).expect("a test may write a file");
        }
    }
}

/// The files of a directory, in the order of their names.
#[must_use]
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let Ok(items) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = items
        .map(|item| item.expect("a test may read its directory").path())
        .filter(|path| path.is_file())
        .collect();
    files.sort();
    files
}

/// How a broker ended that did not start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The exit code.
    pub code: Option<i32>,
    /// What it gave as the error: everything behind the log lines.
    pub message: String,
}

/// Runs `weir serve` on a directory that it has to refuse. `through` runs it, if given: a program
/// and its arguments.
///
/// # Panics
/// When the broker starts.
#[must_use]
pub fn refused(program: &Path, data: &Path, through: &[&str]) -> Refusal {
    let mut command = match through {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    let mut child = command
        .args(["serve", "--no-context", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .env_remove("WEIR_VFS")
        .env_remove("WEIR_PLANT")
        .env_remove("WEIR_KILL_AT")
        .env_remove("WEIR_FAIL_AT")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the broker's program starts");
    let stderr = child.stderr.take().expect("it was asked for");
    let mut message = None;
    for line in BufReader::new(stderr).lines() {
        let line = line.expect("the broker writes text");
        if line.ends_with(" is ready") {
            child.kill().expect("a child may be killed");
            child.wait().expect("a child may be waited for");
            panic!("the broker takes {}", data.display());
        }
        match (&mut message, line.strip_prefix("error: ")) {
            (None, Some(first)) => message = Some(first.to_owned()),
            (None, None) => {}
            (Some(message), _) => {
                message.push('\n');
                message.push_str(&line);
            }
        }
    }
    let status = child.wait().expect("a child may be waited for");
    Refusal {
        code: status.code(),
        message: message.unwrap_or_default(),
    }
}
