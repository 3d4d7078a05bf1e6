//! Components that break the rules, for tests of the host and the broker. `hostile/*.wat` are
//! pieces of core modules whose first line names a world of the contract, and whose second may name
//! another version of it; `hostile/*.wit` are worlds for which an empty module is made up.

use crate::Result;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, PackageId, Resolve};

const CONFIGURE: &str = "weir:plugin/lifecycle@1.0.0#configure";
/// The version that the contract and the pieces are written in.
const VERSION: &str = "@1.0.0";

/// Names and bytes of all of them, sorted.
pub fn components(root: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = root.join("hostile");
    let contract = fs::read_to_string(root.join("../wit/weir.wit"))?;
    let prelude = fs::read_to_string(folder.join("prelude.wat"))?;
    let configure = fs::read_to_string(folder.join("configure.wat"))?;
    let mut made = changed_contracts(&contract)?;
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let stem = path
            .file_stem()
            .and_then(OsStr::to_str)
            .unwrap_or_default()
            .to_owned();
        let kind = path.extension().and_then(OsStr::to_str);
        let text = fs::read_to_string(&path)?;
        let bytes = match (kind, stem.as_str()) {
            (_, "prelude" | "configure") => continue,
            (Some("wat"), _) => {
                let configure = if text.contains(CONFIGURE) {
                    ""
                } else {
                    &configure
                };
                module(
                    &contract,
                    &text,
                    &format!("(module\n{prelude}{configure}{text})"),
                )
            }
            (Some("wit"), _) => world(&contract, &text),
            _ => continue,
        };
        made.push((
            stem.clone(),
            bytes.map_err(|error| format!("hostile/{stem}: {error:#}"))?,
        ));
    }
    made.sort();
    Ok(made)
}

fn module(contract: &str, piece: &str, whole: &str) -> Result<Vec<u8>> {
    let world = piece
        .lines()
        .next()
        .and_then(|line| line.strip_prefix(";; world: "));
    let world = world.ok_or("the first line names no world")?;
    let version = piece
        .lines()
        .nth(1)
        .and_then(|line| line.strip_prefix(";; version: "));
    let version = version.map_or_else(|| VERSION.to_owned(), |other| format!("@{other}"));
    let mut resolve = Resolve::default();
    let package = resolve.push_str("weir.wit", &contract.replace(VERSION, &version))?;
    let whole = wat::parse_str(whole.replace(VERSION, &version))?;
    encode(&resolve, package, world, whole)
}

fn world(contract: &str, text: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    resolve.push_str("weir.wit", contract)?;
    let package = resolve.push_str("hostile.wit", text)?;
    empty(&resolve, package, "plugin")
}

/// Contracts that are nearly the right one.
fn changed_contracts(contract: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let changes = [
        ("other-version", VERSION, "@2.0.0"),
        (
            "wrong-type",
            "-> result<list<u8>, error>",
            "-> result<list<bool>, error>",
        ),
        ("wrong-name", "filter: func", "filtre: func"),
        ("wrong-batch", "count: u32", "count: u64"),
    ];
    let mut made = Vec::new();
    for (name, from, to) in changes {
        let changed = contract.replace(from, to);
        if changed == contract {
            return Err(format!("hostile {name}: the contract has no {from:?} to change").into());
        }
        let mut resolve = Resolve::default();
        let package = resolve.push_str("weir.wit", &changed)?;
        made.push((name.to_owned(), empty(&resolve, package, "filter-plugin")?));
    }
    Ok(made)
}

fn empty(resolve: &Resolve, package: PackageId, world: &str) -> Result<Vec<u8>> {
    let id = resolve.select_world(&[package], Some(world))?;
    let module = dummy_module(
        resolve,
        id,
        ManglingAndAbi::Legacy(wit_parser::LiftLowerAbi::Sync),
    );
    encode(resolve, package, world, module)
}

fn encode(
    resolve: &Resolve,
    package: PackageId,
    world: &str,
    mut module: Vec<u8>,
) -> Result<Vec<u8>> {
    let id = resolve.select_world(&[package], Some(world))?;
    embed_component_metadata(&mut module, resolve, id, StringEncoding::UTF8, false)?;
    crate::componentise(&module)
}
