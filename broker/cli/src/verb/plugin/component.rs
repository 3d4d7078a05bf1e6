//! Components as arguments: in a file, or as a version of a plugin that the broker has.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use bytes::Bytes;
use weir_sdk::Client;

use super::PluginRef;
use crate::componentise;
use crate::exit::Failure;
use crate::failure::{is_unknown_plugin, unknown_plugin};
use crate::output;

/// Which component.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one in this file.
    File(PathBuf),
    /// One that was pushed.
    Pushed(PluginRef),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let path = Path::new(text);
        let is_file = path.extension().is_some_and(|end| end == "wasm") || path.is_file();
        if is_file {
            return Ok(Self::File(path.to_owned()));
        }
        text.parse()
            .map(Self::Pushed)
            .map_err(|error| format!("it is no file, and no NAME[@VERSION] of a plugin: {error}"))
    }
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Pushed(plugin) => plugin.fmt(f),
        }
    }
}

/// Reads a component. A core module, as a compiler gives it, becomes one.
pub fn read(path: &Path) -> Result<Bytes, Failure> {
    let bytes = std::fs::read(path)
        .map_err(|error| Failure::failed(format!("cannot read {}: {error}", path.display())))?;
    if !componentise::is_module(&bytes) {
        return Ok(Bytes::from(bytes));
    }
    let component = componentise::componentise(&bytes)
        .map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    output::note(&format!(
        "{} is a core module; it is made a component",
        path.display()
    ));
    Ok(Bytes::from(component))
}

/// Asks the broker for one.
pub async fn fetch(client: &Client, plugin: &PluginRef) -> Result<Bytes, Failure> {
    let name = plugin.name.as_str();
    let version = plugin.version.as_deref();
    match client.admin().fetch_plugin(name, version).await {
        Ok((_, component)) => Ok(component),
        Err(error) if is_unknown_plugin(error.fault()) => {
            Err(unknown_plugin(client, &[name]).await)
        }
        Err(error) => Err(error.into()),
    }
}
