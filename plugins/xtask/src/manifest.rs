//! `manifest.toml` beside the components: which sources they were built from, and their hashes.

use crate::{LIBRARIES, PLUGINS, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

const FILE: &str = "manifest.toml";

pub struct Manifest {
    sources: String,
    rustc: String,
    components: Vec<(String, String)>,
}

impl Manifest {
    pub fn of(root: &Path, rustc: &str, components: &[(&str, Vec<u8>)]) -> Result<Self> {
        let components = components
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), hex(&Sha256::digest(bytes))))
            .collect();
        Ok(Self {
            sources: source_hash(root)?,
            rustc: rustc.to_owned(),
            components,
        })
    }

    pub fn read(directory: &Path) -> Result<Self> {
        let path = directory.join(FILE);
        let text =
            fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let table: toml::Table = text.parse()?;
        let word = |name: &str| table.get(name).and_then(|v| v.as_str()).unwrap_or_default();
        let components = table.get("sha256").and_then(|v| v.as_table());
        let components = components.ok_or("manifest.toml has no table [sha256]")?;
        Ok(Self {
            sources: word("sources").to_owned(),
            rustc: word("rustc").to_owned(),
            components: components
                .iter()
                .map(|(name, hash)| (name.clone(), hash.as_str().unwrap_or_default().to_owned()))
                .collect(),
        })
    }

    pub fn write(&self, directory: &Path) -> Result<()> {
        let mut text = String::from("# Written by `cargo xtask plugins`; `--check` reads it.\n");
        writeln!(
            text,
            "sources = \"{}\"\nrustc = \"{}\"\n",
            self.sources, self.rustc
        )?;
        writeln!(text, "[sha256]")?;
        for (name, hash) in &self.components {
            writeln!(text, "{name} = \"{hash}\"")?;
        }
        Ok(fs::write(directory.join(FILE), text)?)
    }

    /// Whether the components in `directory` are those named here, and built from the sources as
    /// they are now.
    pub fn verify(&self, root: &Path, directory: &Path) -> Result<()> {
        if self.sources != source_hash(root)? {
            return Err(
                "plugins/prebuilt is older than the sources: run `cargo xtask plugins` and \
                        commit what it writes"
                    .into(),
            );
        }
        for plugin in PLUGINS {
            let bytes = fs::read(directory.join(format!("{plugin}.wasm")))?;
            let named = self.components.iter().find(|(name, _)| name == plugin);
            if named.map(|(_, hash)| hash.as_str()) != Some(hex(&Sha256::digest(&bytes)).as_str()) {
                return Err(
                    format!("prebuilt/{plugin}.wasm is not the file of the manifest").into(),
                );
            }
        }
        Ok(())
    }
}

/// One hash over the names and contents of everything that a component is made of.
fn source_hash(root: &Path) -> Result<String> {
    let mut files = vec![root.join("Cargo.toml")];
    collect(&root.join("../wit"), "wit", &mut files)?;
    collect(&root.join("hostile"), "wat", &mut files)?;
    collect(&root.join("hostile"), "wit", &mut files)?;
    for folder in PLUGINS.iter().chain(&LIBRARIES) {
        files.push(root.join(folder).join("Cargo.toml"));
        collect(&root.join(folder).join("src"), "rs", &mut files)?;
    }
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        let content = fs::read(&file).map_err(|error| format!("{}: {error}", file.display()))?;
        hash.update(format!("{name}\0{}\0", content.len()));
        hash.update(content);
    }
    Ok(hex(&hash.finalize()))
}

fn collect(folder: &Path, extension: &str, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, extension, files)?;
        } else if path.extension().is_some_and(|found| found == extension) {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
