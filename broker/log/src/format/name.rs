//! The name of a section: a word that is safe as part of a file's name.

use std::fmt;

const LENGTH_MAX: usize = 32;

/// A lower-case word.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SectionName(String);

impl SectionName {
    /// The name, if it is a word.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let sound = (1..=LENGTH_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_lowercase());
        let name = sound.then(|| bytes.to_vec())?;
        String::from_utf8(name).ok().map(Self)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SectionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
