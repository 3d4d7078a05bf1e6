//! C: clang for wasm32, without a C library; then as a module from Rust.

use super::{Outcome, run, scratch, version};
use crate::{Result, componentise};
use std::fs;
use std::path::Path;
use std::process::Command;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

const CLANG: &str = "clang";
const MISSING: &str = "needs clang and wasm-ld: apt-get install clang lld";
/// As the kit's README has them.
const FLAGS: [&str; 14] = [
    "--target=wasm32",
    "-std=c11",
    "-O2",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-ffreestanding",
    "-nostdlib",
    "-mbulk-memory",
    "-msimd128",
    "-Wl,--no-entry",
    "-Wl,--stack-first",
    "-Wl,-z,stack-size=65536",
    "-Wl,--strip-all",
];
const SOURCE: &str = "tag_filter.c";

pub fn build(root: &Path, folder: &Path) -> Result<Outcome> {
    let tools = [(CLANG, "--version"), ("wasm-ld", "--version")];
    let found = tools.map(|(tool, argument)| version(Path::new(tool), argument));
    let [Some(clang), Some(_)] = found else {
        return Ok(Outcome::LeftOut(MISSING.to_owned()));
    };
    let module = scratch(root)?.join("c.wasm");
    let mut command = Command::new(CLANG);
    command.args(FLAGS).arg("-o").arg(&module).arg(SOURCE);
    run(&mut command, folder)?;
    let mut core = fs::read(&module)?;
    embed(root, &mut core)?;
    Ok(Outcome::Built(componentise(&core)?, clang))
}

/// Says which interfaces the module's functions belong to.
fn embed(root: &Path, core: &mut Vec<u8>) -> Result<()> {
    let contract = fs::read_to_string(root.join("../wit/weir.wit"))?;
    let mut resolve = Resolve::default();
    let package = resolve.push_str("weir.wit", &contract)?;
    let id = resolve.select_world(&[package], Some("filter-plugin"))?;
    embed_component_metadata(core, &resolve, id, StringEncoding::UTF8, false)?;
    Ok(())
}
