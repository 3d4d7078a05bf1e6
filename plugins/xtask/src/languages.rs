//! The same filter in other languages. Each needs tools that a machine may not have: what can be
//! built is built, what cannot is named together with the way to get its tools.

mod c;
mod javascript;
mod python;

use crate::Result;
use crate::manifest::{Language, Manifest, hash_files, hex};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A component that is not written in Rust.
pub struct Guest {
    /// What it is called, and its folder.
    pub name: &'static str,
    /// What it is made of, from `plugins/`.
    sources: &'static [&'static str],
    /// Builds it, or says what is missing.
    build: fn(root: &Path, folder: &Path) -> Result<Outcome>,
}

/// What came of building.
pub enum Outcome {
    /// The component, and the tool that made it with its version.
    Built(Vec<u8>, String),
    /// There is no such tool; how to get it.
    LeftOut(String),
}

/// Those whose components are committed.
pub const COMMITTED: [Guest; 2] = [
    Guest {
        name: "tag-filter-c",
        sources: &[
            "kit-c/weir.h",
            "kit-c/weir_hooks.h",
            "kit-c/weir_memory.h",
            "tag-filter-c/tag_filter.c",
        ],
        build: c::build,
    },
    Guest {
        name: "tag-filter-js",
        sources: &[
            "kit-js/weir.js",
            "tag-filter-js/component.js",
            "tag-filter-js/package-lock.json",
            "tag-filter-js/package.json",
            "tag-filter-js/plugin.js",
        ],
        build: javascript::build,
    },
];

/// Its component has 18 MB, so it is built and not committed.
pub const PYTHON: Guest = Guest {
    name: "tag-filter-py",
    sources: &[
        "kit-py/weir_component.py",
        "kit-py/weir_plugin.py",
        "tag-filter-py/component.py",
        "tag-filter-py/requirements.txt",
        "tag-filter-py/tag_filter.py",
    ],
    build: python::build,
};

impl Guest {
    /// One hash over everything that it is made of. Of the contract, what it says to people does
    /// not count: a better sentence there makes no other component.
    pub fn source_hash(&self, root: &Path) -> Result<String> {
        let contract = fs::read_to_string(root.join("../wit/weir.wit"))?;
        let lines = contract.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with("//"));
        let mut hash = Sha256::new();
        for line in lines {
            hash.update(format!("{line}\n"));
        }
        let files = self.sources.iter().map(|source| root.join(source));
        hash.update(hash_files(root, files.collect())?);
        Ok(hex(&hash.finalize()))
    }
}

/// Builds them into `out`. Where a tool is missing, the committed component is taken as it is, if
/// it belongs to the sources. Answers their entries in the manifest, and lines for the report.
pub fn build(root: &Path, out: &Path) -> Result<(Vec<Language>, Vec<String>)> {
    let prebuilt = root.join("prebuilt");
    let mut entries = Vec::new();
    let mut report = Vec::new();
    for guest in &COMMITTED {
        // The tools may write other bytes each time, so what is right is left as it is.
        if out == prebuilt
            && let Ok(entry) = Manifest::read(&prebuilt)?.language(root, &prebuilt, guest)
        {
            report.push(format!(
                "{}.wasm belongs to its sources already",
                guest.name
            ));
            entries.push(entry);
            continue;
        }
        let built = (guest.build)(root, &root.join(guest.name))
            .map_err(|error| format!("{}: {error}", guest.name))?;
        let file = format!("{}.wasm", guest.name);
        let entry = match built {
            Outcome::Built(component, tool) => {
                fs::write(out.join(&file), &component)?;
                report.push(format!("{file}, {} bytes, by {tool}", component.len()));
                Language {
                    name: guest.name.to_owned(),
                    sources: guest.source_hash(root)?,
                    tool,
                    sha256: hex(&Sha256::digest(&component)),
                }
            }
            Outcome::LeftOut(missing) => {
                let entry = Manifest::read(&prebuilt)?.language(root, &prebuilt, guest)?;
                if out != prebuilt {
                    fs::copy(prebuilt.join(&file), out.join(&file))?;
                }
                report.push(format!("{file} left as it is: {missing}"));
                entry
            }
        };
        entries.push(entry);
    }
    report.push(build_python(root)?);
    Ok((entries, report))
}

/// Into `target/`, where the host's tests look for it.
fn build_python(root: &Path) -> Result<String> {
    let out = root.join("target").join(format!("{}.wasm", PYTHON.name));
    let stamp = out.with_extension("sources");
    let sources = PYTHON.source_hash(root)?;
    let shown = format!("target/{}.wasm", PYTHON.name);
    if out.exists() && fs::read_to_string(&stamp).is_ok_and(|known| known == sources) {
        return Ok(format!("{shown} belongs to its sources already"));
    }
    // What belongs to older sources must not be tested for these.
    for old in [&out, &stamp] {
        if old.exists() {
            fs::remove_file(old)?;
        }
    }
    match (PYTHON.build)(root, &root.join(PYTHON.name))
        .map_err(|error| format!("{}: {error}", PYTHON.name))?
    {
        Outcome::Built(component, tool) => {
            fs::write(&out, &component)?;
            fs::write(&stamp, sources)?;
            Ok(format!("{shown}, {} bytes, by {tool}", component.len()))
        }
        Outcome::LeftOut(missing) => Ok(format!("{shown} left out: {missing}")),
    }
}

/// The first line that a program prints about its version; `None` if there is no such program.
fn version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().next()?.trim().to_owned();
    (output.status.success() && !line.is_empty()).then_some(line)
}

/// Runs a program in a folder; what it prints is shown only if it fails.
fn run(command: &mut Command, folder: &Path) -> Result<()> {
    let output = command.current_dir(folder).output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}

/// A folder for what is made on the way.
fn scratch(root: &Path) -> Result<PathBuf> {
    let folder = root.join("target/languages");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}
