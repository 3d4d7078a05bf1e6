//! Components that break the rules, for tests of the host and the broker. `hostile/*.wat` are
//! pieces of core modules whose first line names a world of the contract, and whose second may name
//! another version of it. A piece with a memory or an allocator of its own does without the
//! prelude's; one whose first line is `;; component` is a whole component. `hostile/*.wit` are
//! worlds for which an empty module is made up, unless a piece of the same name is their module.

use crate::Result;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use wit_component::{StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{ManglingAndAbi, PackageId, Resolve};

const CONFIGURE: &str = "weir:plugin/lifecycle@1.0.0#configure";
const ALLOCATE: &str = "cabi_realloc";
const COMPONENT: &str = ";; component";
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
            (Some("wat"), _) if text.starts_with(COMPONENT) => {
                wat::parse_str(&text).map_err(Into::into)
            }
            (Some("wat"), _) => {
                let whole = whole(&prelude, &configure, &text);
                let own = path.with_extension("wit");
                if own.exists() {
                    within(&contract, &fs::read_to_string(own)?, &whole)
                } else {
                    module(&contract, &text, &whole)
                }
            }
            (Some("wit"), _) if path.with_extension("wat").exists() => continue,
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

/// A piece with what it does not define itself.
fn whole(prelude: &str, configure: &str, piece: &str) -> String {
    let prelude = if piece.contains(ALLOCATE) {
        ""
    } else {
        prelude
    };
    let configure = if piece.contains(CONFIGURE) {
        ""
    } else {
        configure
    };
    format!("(module\n{prelude}{configure}{piece})")
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

/// The module `whole` in a world of its own.
fn within(contract: &str, text: &str, whole: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    resolve.push_str("weir.wit", contract)?;
    let package = resolve.push_str("hostile.wit", text)?;
    encode(&resolve, package, "plugin", wat::parse_str(whole)?)
}

/// Contracts that are nearly the right one.
fn changed_contracts(contract: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let changes = [
        ("other-version", VERSION, "@2.0.0", "filter-plugin"),
        (
            "wrong-type",
            "-> result<list<u8>, error>",
            "-> result<list<bool>, error>",
            "filter-plugin",
        ),
        (
            "wrong-name",
            "filter: func",
            "filtre: func",
            "filter-plugin",
        ),
        ("wrong-batch", "count: u32", "count: u64", "filter-plugin"),
        (
            "wrong-hook",
            "retry-policy,",
            "retry-policy, another,",
            "retry-plugin",
        ),
        (
            "wrong-keys",
            "arena: list<u8>,\n    /// One",
            "arena: string,\n    /// One",
            "ordering-key-plugin",
        ),
        (
            "wrong-level",
            "enum level { debug, ",
            "enum level { trace, debug, ",
            "filter-plugin",
        ),
        (
            "wrong-mapped",
            "source: list<u32>",
            "source: list<u64>",
            "mapper-plugin",
        ),
        ("wrong-decision", "delay(u64)", "delay(u32)", "retry-plugin"),
    ];
    let mut made = Vec::new();
    for (name, from, to, world) in changes {
        let changed = contract.replace(from, to);
        if changed == contract {
            return Err(format!("hostile {name}: the contract has no {from:?} to change").into());
        }
        let mut resolve = Resolve::default();
        let package = resolve.push_str("weir.wit", &changed)?;
        made.push((name.to_owned(), empty(&resolve, package, world)?));
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
