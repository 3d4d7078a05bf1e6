//! `cargo xtask`: what a script would do, in Rust.
//!
//! `cargo xtask plugins` builds every sample plugin and commits-to-be: components and manifest in
//! `plugins/prebuilt`. `--out DIR` writes them elsewhere instead. `--check` refuses a manifest that
//! does not belong to the sources or to the committed files, then builds into
//! `plugins/target/fresh`; tests take that directory from `WEIR_PREBUILT`. Samples in other
//! languages are built where their tools are, and otherwise taken as they are committed.
//!
//! `cargo xtask languages` builds only those in other languages than Rust.
//!
//! `cargo xtask hostile` writes only the components that break the rules, which needs no toolchain.
//!
//! `cargo xtask component DIR` builds the plugin in any folder into `DIR/target/NAME.wasm`.

mod hostile;
mod languages;
mod manifest;
mod toolchain;

use manifest::Manifest;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};
use toolchain::Toolchain;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The packages that are components. Each is a folder beside this one.
const PLUGINS: [&str; 11] = [
    "backoff",
    "fan-out-route",
    "hash-route",
    "json-filter",
    "json-key",
    "json-route",
    "json-transform",
    "mask-view",
    "record-key",
    "tag-filter",
    "upper-case",
];
/// The packages that components are made from besides.
const LIBRARIES: [&str; 2] = ["condition", "kit"];

const USAGE: &str = "usage: cargo xtask plugins [--check | --out DIR], cargo xtask languages, \
                     cargo xtask hostile, or cargo xtask component DIR";

#[expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is a command line tool"
)]
fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match run(&arguments) {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .ok_or("xtask lies in plugins/")?;
    let prebuilt = root.join("prebuilt");
    match *words {
        ["plugins"] => build(root, &prebuilt),
        ["plugins", "--out", directory] => build(root, &PathBuf::from(directory)),
        ["plugins", "--check"] => {
            Manifest::read(&prebuilt)?.verify(root, &prebuilt)?;
            build(root, &root.join("target/fresh"))
        }
        ["languages"] => languages(root, &prebuilt),
        ["hostile"] => {
            let count = hostile(root, &prebuilt)?;
            Manifest::read(&prebuilt)?
                .with_hostile_of(root)?
                .write(&prebuilt)?;
            Ok(format!(
                "{count} hostile components in {}",
                prebuilt.display()
            ))
        }
        ["component", folder] => component(Path::new(folder)),
        _ => Err(USAGE.into()),
    }
}

fn build(root: &Path, out: &Path) -> Result<String> {
    let toolchain = Toolchain::find()?;
    toolchain.build(root, &PLUGINS)?;
    fs::create_dir_all(out)?;
    let mut components = Vec::new();
    for plugin in PLUGINS {
        let module = toolchain::output(root, plugin);
        let core = fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))?;
        let component = componentise(&core).map_err(|error| format!("{plugin}: {error:#}"))?;
        fs::write(out.join(format!("{plugin}.wasm")), &component)?;
        components.push((plugin, component));
    }
    hostile(root, out)?;
    let (languages, report) = languages::build(root, out)?;
    let manifest = Manifest::of(root, &toolchain.version()?, &components, languages)?;
    manifest.write(out)?;
    let sizes: usize = components.iter().map(|(_, bytes)| bytes.len()).sum();
    Ok(format!(
        "{}\n{} components from Rust, {sizes} bytes, in {}",
        report.join("\n"),
        components.len(),
        out.display()
    ))
}

/// Only what is not written in Rust: no Rust for WebAssembly is needed for it.
fn languages(root: &Path, prebuilt: &Path) -> Result<String> {
    let manifest = Manifest::read(prebuilt)?;
    let (entries, report) = languages::build(root, prebuilt)?;
    manifest.with_languages(entries).write(prebuilt)?;
    Ok(report.join("\n"))
}

/// Writes the components that break the rules; how many there are.
fn hostile(root: &Path, out: &Path) -> Result<usize> {
    let out = out.join("hostile");
    fs::create_dir_all(&out)?;
    let components = hostile::components(root)?;
    for (name, component) in &components {
        fs::write(out.join(format!("{name}.wasm")), component)?;
    }
    Ok(components.len())
}

/// Builds one plugin that somebody wrote, wherever it is.
fn component(folder: &Path) -> Result<String> {
    let manifest = folder.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    let table: toml::Table = text.parse()?;
    let package = table.get("package").and_then(|package| package.get("name"));
    let package = package.and_then(toml::Value::as_str);
    let package = package.ok_or_else(|| format!("{} names no package", manifest.display()))?;
    // Cargo and the compiler run in that folder, whatever the path was relative to.
    let absolute = folder.canonicalize()?;
    let module = Toolchain::find()?.build_folder(&absolute, package)?;
    let core = fs::read(&module).map_err(|error| format!("{}: {error}", module.display()))?;
    let component = componentise(&core).map_err(|error| format!("{package}: {error:#}"))?;
    let out = folder.join("target").join(format!("{package}.wasm"));
    fs::write(&out, &component)?;
    Ok(format!("{}, {} bytes", out.display(), component.len()))
}

/// What `wasm-tools component new` does.
fn componentise(core: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = wit_component::ComponentEncoder::default();
    Ok(encoder.validate(true).module(core)?.encode()?)
}
