//! JavaScript: componentize-qjs puts QuickJS and the sources into a component.

use super::{Outcome, run, scratch};
use crate::Result;
use std::fs;
use std::path::Path;
use std::process::Command;

const TOOL: &str = "node_modules/.bin/componentize-qjs";

pub fn build(root: &Path, folder: &Path) -> Result<Outcome> {
    let tool = folder.join(TOOL);
    if !tool.exists() {
        let shown = folder.strip_prefix(root).unwrap_or(folder).display();
        return Ok(Outcome::LeftOut(format!(
            "needs node and componentize-qjs: npm install in {shown}"
        )));
    }
    let manifest = folder.join("node_modules/componentize-qjs/package.json");
    let manifest = fs::read_to_string(manifest)?;
    // The file is npm's own: its lines are one setting each.
    let version = manifest
        .lines()
        .find_map(|line| line.trim().strip_prefix("\"version\": \""))
        .and_then(|rest| rest.split('"').next())
        .ok_or("componentize-qjs does not say its version")?;
    let component = scratch(root)?.join("js.wasm");
    let wit = root.join("../wit").canonicalize()?;
    let mut command = Command::new(&tool);
    command.arg("--wit").arg(wit);
    // The kit lies beside the plugin's folder.
    command.args([
        "--world",
        "filter-plugin",
        "--js",
        "component.js",
        "--module-root",
        "..",
    ]);
    command
        .args(["--stub-wasi", "--sync", "--output"])
        .arg(&component);
    run(&mut command, folder)?;
    let built = fs::read(&component)?;
    Ok(Outcome::Built(built, format!("componentize-qjs {version}")))
}
