//! Names, parsed once, at the edge: a name that exists as a value is valid.

use std::fmt;
use std::str::FromStr;

use crate::limits::NAME_BYTES_MAX;

/// Why a name was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// No characters at all.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than the limit.
    #[error("the name {0:?}… is longer than {NAME_BYTES_MAX} characters")]
    TooLong(String),
    /// A character outside the allowed ones.
    #[error("the name {name:?} holds {character:?}; use letters, digits, '.', '_' and '-'")]
    Character {
        /// The name.
        name: String,
        /// The first character that is not allowed.
        character: char,
    },
    /// "." and ".." would read as paths.
    #[error("the name {0:?} is reserved")]
    Reserved(String),
}

fn check(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(NameError::TooLong(name.chars().take(20).collect()));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some(character) = name.chars().find(|&c| !allowed(c)) {
        return Err(NameError::Character {
            name: name.to_owned(),
            character,
        });
    }
    if matches!(name, "." | "..") {
        return Err(NameError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// A topic's full name: `namespace/topic`; the namespace `default` may be left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName {
    namespace: String,
    topic: String,
}

impl TopicName {
    /// The namespace of names that state none.
    pub const DEFAULT_NAMESPACE: &'static str = "default";

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name within the namespace.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// The topic that takes what nobody could deal with: `TOPIC.dlq`.
    ///
    /// # Errors
    /// If that name is too long.
    pub fn dead_letters(&self) -> Result<Self, NameError> {
        let topic = format!("{}.dlq", self.topic);
        check(&topic)?;
        Ok(Self {
            namespace: self.namespace.clone(),
            topic,
        })
    }
}

impl FromStr for TopicName {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        let (namespace, topic) = name
            .split_once('/')
            .unwrap_or((Self::DEFAULT_NAMESPACE, name));
        check(namespace)?;
        check(topic)?;
        Ok(Self {
            namespace: namespace.to_owned(),
            topic: topic.to_owned(),
        })
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace != Self::DEFAULT_NAMESPACE {
            write!(f, "{}/", self.namespace)?;
        }
        f.write_str(&self.topic)
    }
}

macro_rules! simple_names {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(name: &str) -> Result<Self, NameError> {
                check(name)?;
                Ok(Self(name.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

simple_names! {
    /// A plugin's name, shared by all its versions.
    PluginName;
    /// A consumer group's name.
    GroupName;
}
