//! The files of a new project, out of the templates in this binary.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use weir_wire::plugin::Hook;

use super::manifest;
use crate::exit::Failure;

/// Paths from the top of the repository, with what the files hold: `build.rs` has collected them.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
/// The folder with a folder per language.
const TEMPLATES: &str = "broker/cli/templates/";
/// What the manifest of the kit refers to.
const PLUGINS_MANIFEST: &str = "plugins/Cargo.toml";

/// `template.toml` of a language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Template {
    /// The commands that come next.
    next: Vec<String>,
    /// Folders of the repository, and where in the project they go.
    #[serde(default)]
    carry: BTreeMap<String, String>,
    /// What `weir plugin test` is told at the example of each hook.
    hooks: BTreeMap<String, String>,
}

/// A project that is about to be written.
#[derive(Debug)]
pub struct Project {
    /// Its files, by their path in it.
    pub files: BTreeMap<String, String>,
    /// The commands that come next.
    pub next: Vec<String>,
}

/// The languages that there are templates for.
pub fn languages() -> BTreeSet<&'static str> {
    let templates = EMBEDDED.iter();
    let templates = templates.filter_map(|(path, _)| path.strip_prefix(TEMPLATES));
    templates
        .filter_map(|path| path.strip_suffix("/template.toml"))
        .collect()
}

impl Project {
    /// A project in that language, for that hook.
    pub fn new(lang: &str, hook: Hook, name: &str, dir: &str) -> Result<Self, Failure> {
        let folder = format!("{TEMPLATES}{lang}/");
        let template = template(&folder)?;
        let Some(test) = template.hooks.get(hook.word()) else {
            let known: Vec<_> = template.hooks.keys().map(String::as_str).collect();
            return Err(Failure::usage(format!(
                "there is no template for the hook {hook} in {lang}; there are {}",
                known.join(", ")
            )));
        };
        let module = name.replace('-', "_");
        let words = [
            // It has placeholders of its own, so it comes first.
            ("{{test}}", test.as_str()),
            ("{{name}}", name),
            ("{{module}}", &module),
            ("{{hook}}", hook.word()),
            ("{{dir}}", dir),
        ];
        let fill = |text: &str| {
            words.iter().fold(text.to_owned(), |text, (place, word)| {
                text.replace(place, word)
            })
        };
        let mut files = BTreeMap::new();
        for part in ["common/".to_owned(), format!("hooks/{hook}/")] {
            for (path, text) in below(&format!("{folder}{part}")) {
                files.insert(fill(path), fill(text));
            }
        }
        for (from, to) in &template.carry {
            for (path, text) in below(&format!("{from}/")) {
                files.insert(format!("{to}/{path}"), carried(path, text)?);
            }
        }
        let next = template.next.iter().map(|command| fill(command)).collect();
        Ok(Self { files, next })
    }
}

fn template(folder: &str) -> Result<Template, Failure> {
    let path = format!("{folder}template.toml");
    let text = EMBEDDED.iter().find(|(known, _)| *known == path);
    let (_, text) = text.ok_or_else(|| Failure::failed(format!("there is no {path}")))?;
    toml::from_str(text).map_err(|error| Failure::failed(format!("{path}: {error}")))
}

/// The files below a folder that is named with a slash at its end.
fn below(folder: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let files = EMBEDDED.iter();
    files.filter_map(move |(path, text)| Some((path.strip_prefix(folder)?, *text)))
}

/// A file of the repository as it stands in a project: manifests stand on their own there.
fn carried(path: &str, text: &str) -> Result<String, Failure> {
    if path != "Cargo.toml" {
        return Ok(text.to_owned());
    }
    let workspace = EMBEDDED.iter().find(|(path, _)| *path == PLUGINS_MANIFEST);
    let (_, workspace) = workspace.ok_or_else(|| Failure::failed("the kit has no workspace"))?;
    manifest::standalone(text, workspace)
        .map_err(|error| Failure::failed(format!("the kit's manifest: {error}")))
}
