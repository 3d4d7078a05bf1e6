//! What a topic keeps: the words for it.

use std::fmt;
use std::str::FromStr;

use crate::plugin::UnknownWord;

/// What happens to records that retention may remove while a group has not read them. The numbers
/// are on the wire and on disk and are never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum WhenUnread {
    /// They stay until every group has read them.
    #[default]
    Keep = 1,
    /// They go, and the group's counter says how many.
    Delete = 2,
}

impl WhenUnread {
    const ALL: [Self; 2] = [Self::Keep, Self::Delete];

    /// The rule of that number; 0 is the default.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::default()),
            _ => Self::ALL.into_iter().find(|rule| *rule as u64 == number),
        }
    }

    /// The word for it, as people type it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for WhenUnread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for WhenUnread {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|rule| rule.word() == word);
        found.ok_or_else(|| UnknownWord::new(word, "keep, delete"))
    }
}
