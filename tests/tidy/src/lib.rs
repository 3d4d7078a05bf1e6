//! The rules of `docs` and of the architecture that a machine can check live in this crate's
//! tests: who may depend on whom, how files look, whether links lead somewhere, which licences
//! come in. This library only lists the repository's files for them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A tracked text file.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path from the top of the repository, with `/`.
    pub path: String,
    /// What it holds.
    pub text: String,
}

impl Source {
    /// Whether it is a test: a file or folder called `tests`, or below the top folder `tests`.
    #[must_use]
    pub fn is_test(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }
}

/// The top of the repository.
#[must_use]
pub fn top() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let top = manifest.ancestors().nth(2);
    top.expect("this crate lies two folders below the top")
        .to_path_buf()
}

/// Every tracked file with that ending that is text; those of this crate, which name what they
/// forbid, are left out.
///
/// # Panics
/// If git cannot list them: the rules hold for a checkout.
#[must_use]
pub fn tracked(ending: &str) -> Vec<Source> {
    let listing = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(top())
        .output()
        .expect("git is installed where the repository was cloned");
    assert!(listing.status.success(), "git ls-files: {listing:?}");
    let paths = String::from_utf8(listing.stdout).expect("paths here are UTF-8");
    let sources: Vec<Source> = paths
        .split('\0')
        .filter(|path| path.ends_with(ending) && !path.starts_with("tests/tidy/"))
        .filter_map(|path| {
            // Neither binary files nor files deleted a moment ago are of interest.
            let text = std::fs::read_to_string(top().join(path)).ok()?;
            let path = path.to_owned();
            Some(Source { path, text })
        })
        .collect();
    assert!(!sources.is_empty(), "no tracked file ends with {ending:?}");
    sources
}

/// Fails with every finding, one a line.
///
/// # Panics
/// If there is one.
pub fn expect_none(rule: &str, findings: &[String]) {
    assert!(
        findings.is_empty(),
        "{rule}; {} violations:\n{}",
        findings.len(),
        findings.join("\n")
    );
}
