//! `manifest.toml` beside the components: which sources they were built from, and their hashes.

use crate::languages::{COMMITTED, Guest};
use crate::{LIBRARIES, PLUGINS, Result};
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::{fs, io};

const FILE: &str = "manifest.toml";

pub struct Manifest {
    sources: String,
    hostile: String,
    rustc: String,
    components: Vec<(String, String)>,
    languages: Vec<Language>,
}

/// A component that is not written in Rust. Its tool may write other bytes on another machine, so
/// it is known by its sources, and by the bytes that were committed.
#[derive(Clone)]
pub struct Language {
    pub name: String,
    pub sources: String,
    pub tool: String,
    pub sha256: String,
}

impl Manifest {
    pub fn of(
        root: &Path,
        rustc: &str,
        components: &[(&str, Vec<u8>)],
        languages: Vec<Language>,
    ) -> Result<Self> {
        let components = components
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), hex(&Sha256::digest(bytes))))
            .collect();
        Ok(Self {
            sources: source_hash(root)?,
            hostile: hostile_hash(root)?,
            rustc: rustc.to_owned(),
            components,
            languages,
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
            hostile: word("hostile").to_owned(),
            rustc: word("rustc").to_owned(),
            components: components
                .iter()
                .map(|(name, hash)| (name.clone(), hash.as_str().unwrap_or_default().to_owned()))
                .collect(),
            languages: languages(&table),
        })
    }

    /// The same with these instead of its own.
    pub fn with_languages(self, languages: Vec<Language>) -> Self {
        Self { languages, ..self }
    }

    /// The same, for the hostile components as their sources are now.
    pub fn with_hostile_of(self, root: &Path) -> Result<Self> {
        Ok(Self {
            hostile: hostile_hash(root)?,
            ..self
        })
    }

    pub fn write(&self, directory: &Path) -> Result<()> {
        let mut text = String::from("# Written by `cargo xtask plugins`; `--check` reads it.\n");
        writeln!(
            text,
            "sources = \"{}\"\nhostile = \"{}\"\nrustc = \"{}\"\n",
            self.sources, self.hostile, self.rustc
        )?;
        writeln!(text, "[sha256]")?;
        for (name, hash) in &self.components {
            writeln!(text, "{name} = \"{hash}\"")?;
        }
        for language in &self.languages {
            writeln!(text, "\n[languages.{}]", language.name)?;
            writeln!(text, "sources = \"{}\"", language.sources)?;
            writeln!(text, "tool = \"{}\"", language.tool)?;
            writeln!(text, "sha256 = \"{}\"", language.sha256)?;
        }
        Ok(fs::write(directory.join(FILE), text)?)
    }

    /// Whether the components in `directory` are those named here, and built from the sources as
    /// they are now.
    pub fn verify(&self, root: &Path, directory: &Path) -> Result<()> {
        let older = |what: &str, command: &str| {
            Err(format!(
                "{what} is older than the sources: run `cargo xtask {command}` and commit what it \
                 writes"
            )
            .into())
        };
        if self.sources != source_hash(root)? {
            return older("plugins/prebuilt", "plugins");
        }
        if self.hostile != hostile_hash(root)? {
            return older("plugins/prebuilt/hostile", "hostile");
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
        for guest in &COMMITTED {
            self.language(root, directory, guest)?;
        }
        Ok(())
    }

    /// The entry of a component in another language, if it belongs to the sources as they are now
    /// and to the file in `directory`.
    pub fn language(&self, root: &Path, directory: &Path, guest: &Guest) -> Result<Language> {
        let name = guest.name;
        let entry = self.languages.iter().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| format!("the manifest does not know {name}"))?;
        if entry.sources != guest.source_hash(root)? {
            return Err(format!(
                "prebuilt/{name}.wasm is older than its sources: run `cargo xtask plugins` where \
                 its tools are, and commit what it writes"
            )
            .into());
        }
        let bytes = fs::read(directory.join(format!("{name}.wasm")))?;
        if entry.sha256 != hex(&Sha256::digest(&bytes)) {
            return Err(format!("prebuilt/{name}.wasm is not the file of the manifest").into());
        }
        Ok(entry.clone())
    }
}

fn languages(table: &toml::Table) -> Vec<Language> {
    let all = table.get("languages").and_then(|all| all.as_table());
    let entries = all.into_iter().flatten();
    let language = |(name, entry): (&String, &toml::Value)| {
        let word = |name: &str| {
            let found = entry.get(name).and_then(|word| word.as_str());
            found.unwrap_or_default().to_owned()
        };
        Language {
            name: name.clone(),
            sources: word("sources"),
            tool: word("tool"),
            sha256: word("sha256"),
        }
    };
    entries.map(language).collect()
}

/// One hash over the names and contents of everything that a component is made of.
fn source_hash(root: &Path) -> Result<String> {
    let mut files = vec![root.join("Cargo.toml"), root.join("xtask/src/toolchain.rs")];
    collect(&root.join("../wit"), "wit", &mut files)?;
    for folder in PLUGINS.iter().chain(&LIBRARIES) {
        files.push(root.join(folder).join("Cargo.toml"));
        collect(&root.join(folder).join("src"), "rs", &mut files)?;
    }
    hash_files(root, files)
}

/// The same of the components that break the rules: those are made without a compiler.
fn hostile_hash(root: &Path) -> Result<String> {
    let mut files = vec![root.join("xtask/src/hostile.rs")];
    collect(&root.join("../wit"), "wit", &mut files)?;
    collect(&root.join("hostile"), "wat", &mut files)?;
    collect(&root.join("hostile"), "wit", &mut files)?;
    hash_files(root, files)
}

/// One hash over the names and contents of files.
pub fn hash_files(root: &Path, mut files: Vec<PathBuf>) -> Result<String> {
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

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
