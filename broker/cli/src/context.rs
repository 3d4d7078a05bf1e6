//! Contexts: named brokers with what is needed to connect to them, in `contexts.toml`.
//!
//! A context names files, it does not hold a token. Changes are made under a lock beside the file
//! and reach it by a rename, so that a reader sees either the old contexts or the new ones.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use weir_wire::name::TopicName;

use crate::address::Address;

/// All contexts, in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Contexts {
    /// The one that counts when no address is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// By name.
    #[serde(default)]
    pub contexts: BTreeMap<String, Context>,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Where it listens.
    #[serde(with = "address_text")]
    pub address: Address,
    /// The file with the certificates to trust.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    /// The file with the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The data directory, where a `weir serve` on this machine wrote the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<PathBuf>,
}

/// Why contexts could not be read or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// Neither `XDG_CONFIG_HOME` nor `HOME` is set.
    #[error("there is no place for contexts.toml: set XDG_CONFIG_HOME or HOME")]
    NoPlace,
    /// The file cannot be read or written.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file is not what this program wrote.
    #[error(
        "{path} cannot be understood: {reason}; correct it or move it away",
        path = path.display()
    )]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The first thing wrong with it.
        reason: String,
    },
    /// No context of that name.
    #[error("there is no context {name:?}{known}")]
    Unknown {
        /// The name.
        name: String,
        /// What there is instead.
        known: String,
    },
    /// A name that cannot be one.
    #[error("{0:?} is no name for a context: use letters, digits, '.', '_' and '-'")]
    Name(String),
}

impl Contexts {
    /// Reads the file; no file means no contexts.
    pub fn load(path: &Path) -> Result<Self, ContextError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(source) => return Err(file_error("read", path, source)),
        };
        toml::from_str(&text).map_err(|error| ContextError::Syntax {
            path: path.to_owned(),
            reason: error.message().to_owned(),
        })
    }

    /// Changes the file: reads it, applies `change`, writes it, all under its lock.
    pub fn change<T>(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<T, ContextError>,
    ) -> Result<T, ContextError> {
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder).map_err(|source| file_error("create", folder, source))?;
        let lock_path = path.with_extension("lock");
        let lock = File::create(&lock_path)
            .and_then(|lock| lock.lock().map(|()| lock))
            .map_err(|source| file_error("lock", &lock_path, source))?;
        let mut contexts = Self::load(path)?;
        let result = change(&mut contexts)?;
        contexts.save(path)?;
        drop(lock);
        Ok(result)
    }

    /// The context of that name.
    pub fn named(&self, name: &str) -> Result<&Context, ContextError> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    /// The context for an address: the current one if it fits, else the first that does.
    pub fn for_address(&self, address: &Address) -> Option<&Context> {
        let fits = |context: &&Context| context.address == *address;
        self.current()
            .filter(fits)
            .or_else(|| self.contexts.values().find(fits))
    }

    /// The current context.
    pub fn current(&self) -> Option<&Context> {
        self.contexts.get(self.current.as_ref()?)
    }

    /// Adds or replaces a context; it becomes current if none is.
    pub fn add(&mut self, name: &str, context: Context) -> Result<(), ContextError> {
        if name.parse::<TopicName>().is_err() || name.contains('/') {
            return Err(ContextError::Name(name.to_owned()));
        }
        self.contexts.insert(name.to_owned(), context);
        if self.current().is_none() {
            self.current = Some(name.to_owned());
        }
        Ok(())
    }

    /// Makes a context the current one.
    pub fn select(&mut self, name: &str) -> Result<(), ContextError> {
        self.named(name)?;
        self.current = Some(name.to_owned());
        Ok(())
    }

    /// Forgets a context; if it was current, none is.
    pub fn remove(&mut self, name: &str) -> Result<(), ContextError> {
        if self.contexts.remove(name).is_none() {
            return Err(self.unknown(name));
        }
        if self.current.as_deref() == Some(name) {
            self.current = None;
        }
        Ok(())
    }

    /// Writes the context of a broker that serves `context.data`, and says under which name:
    /// `local`, or `local-2` and so on where another live broker has that name.
    pub fn record_local(
        &mut self,
        context: Context,
        is_live: impl Fn(&Context) -> bool,
    ) -> Result<String, ContextError> {
        let taken = |name: &str| {
            self.contexts
                .get(name)
                .is_some_and(|other| other.data != context.data && is_live(other))
        };
        let mut name = "local".to_owned();
        let mut number = 1_u32;
        while taken(&name) {
            number += 1;
            name = format!("local-{number}");
        }
        self.add(&name, context)?;
        Ok(name)
    }

    fn save(&self, path: &Path) -> Result<(), ContextError> {
        let fail = |source| file_error("write", path, source);
        let text = toml::to_string(self).map_err(|error| fail(io::Error::other(error)))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(fail)?;
        file.write_all(text.as_bytes()).map_err(fail)?;
        file.as_file().sync_all().map_err(fail)?;
        file.persist(path).map_err(|error| fail(error.error))?;
        Ok(())
    }

    fn unknown(&self, name: &str) -> ContextError {
        let known: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() {
            "; make one: weir context add NAME ADDRESS".to_owned()
        } else {
            format!("; there are: {}", known.join(", "))
        };
        ContextError::Unknown {
            name: name.to_owned(),
            known,
        }
    }
}

fn file_error(action: &'static str, path: &Path, source: io::Error) -> ContextError {
    ContextError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

/// An address in the file is the text that people type.
mod address_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::address::Address;

    pub(super) fn serialize<S: Serializer>(address: &Address, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(address)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Address, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;
