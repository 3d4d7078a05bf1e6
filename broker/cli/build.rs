//! Puts the templates of `weir plugin new` into the binary, and the folders of the repository that
//! projects carry: as they are in this checkout, so that they cannot differ from it.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

/// The templates, a folder per language.
const TEMPLATES: &str = "broker/cli/templates";
/// Folders of the repository that templates may carry, and the manifest that the kit's refers to.
const CARRIED: [&str; 6] = [
    "plugins/kit",
    "plugins/kit-c",
    "plugins/kit-js",
    "plugins/kit-py",
    "plugins/Cargo.toml",
    "wit",
];
/// Folders that tools leave behind.
const LEFT_BEHIND: [&str; 3] = ["target", "node_modules", "__pycache__"];

fn main() -> io::Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let top = manifest.ancestors().nth(2).ok_or(io::ErrorKind::NotFound)?;
    let mut files = Vec::new();
    for folder in [TEMPLATES].iter().chain(&CARRIED) {
        println!("cargo::rerun-if-changed={}", top.join(folder).display());
        collect(&top.join(folder), &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for file in files {
        let name = file.strip_prefix(top).map_err(io::Error::other)?;
        writeln!(
            code,
            "({:?}, include_str!({:?})),",
            name.display().to_string(),
            file.display().to_string()
        )
        .map_err(io::Error::other)?;
    }
    code.push_str("]\n");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    fs::write(out.join("embedded.rs"), code)
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if !path.is_dir() {
        files.push(path.to_owned());
    } else if !LEFT_BEHIND.iter().any(|name| path.ends_with(name)) {
        for entry in fs::read_dir(path)? {
            collect(&entry?.path(), files)?;
        }
    }
    Ok(())
}
