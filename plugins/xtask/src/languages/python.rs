//! Python: componentize-py puts CPython and the sources into a component.

use super::{Outcome, run, scratch, version};
use crate::Result;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOL: &str = "componentize-py";

pub fn build(root: &Path, folder: &Path) -> Result<Outcome> {
    let pinned = fs::read_to_string(folder.join("requirements.txt"))?;
    let pinned = pinned.trim();
    let wanted = pinned.replace("==", " ");
    let in_target = root.join("target/venv/bin").join(TOOL);
    let candidates = [in_target, PathBuf::from(TOOL)];
    let found = candidates
        .iter()
        .find(|tool| version(tool, "--version").as_deref() == Some(&wanted));
    let Some(tool) = found else {
        return Ok(Outcome::LeftOut(format!(
            "needs {pinned}: python3 -m venv plugins/target/venv && \
             plugins/target/venv/bin/pip install {pinned}"
        )));
    };
    let component = scratch(root)?.join("py.wasm");
    let wit = root.join("../wit").canonicalize()?;
    let mut command = Command::new(tool);
    command.arg("-d").arg(wit);
    command.args([
        "-w",
        "filter-plugin",
        "componentize",
        "--stub-wasi",
        "-p",
        ".",
    ]);
    command
        .args(["-p", "../kit-py", "component", "-o"])
        .arg(&component);
    // Bytecode files would otherwise lie among the sources.
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    run(&mut command, folder)?;
    Ok(Outcome::Built(fs::read(&component)?, wanted))
}
