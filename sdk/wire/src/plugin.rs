//! Plugins as the protocol names them: hooks, error policies, what a binding consists of.

use std::fmt;
use std::str::FromStr;

/// A place where a plugin runs. The numbers are on the wire and on disk and are never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Hook {
    /// On produce, first: changes, splits or rejects records.
    Transform = 1,
    /// On produce: the destinations of a record.
    Route = 2,
    /// On produce: the ordering key of a record.
    Key = 3,
    /// On delivery: keep or drop.
    Filter = 4,
    /// On delivery: a changed view of a record.
    Project = 5,
    /// On nack or lease expiry: delay, dead-letter or park.
    RetryPolicy = 6,
}

/// What happens to a record whose hook failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum ErrorPolicy {
    /// On produce the request is refused; on delivery the subscription pauses with the error.
    Fail = 1,
    /// The record passes as if the hook were not bound.
    Skip = 2,
    /// The record is dropped and counted.
    Drop = 3,
    /// The record goes to the dead-letter topic.
    DeadLetter = 4,
}

/// What happened to a topic's bindings. The numbers are on the wire and on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum BindingAction {
    /// A binding was added.
    Bound = 1,
    /// A binding took the place of another.
    Replaced = 2,
    /// A binding was ended.
    Unbound = 3,
    /// A binding was put back to what it had taken the place of.
    RolledBack = 4,
}

/// Up to how long the calls of a binding take that are counted together, in microseconds; longer
/// ones follow.
pub const CALL_TIMES_US: [u64; 14] = [
    50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000,
];

/// A word that names none of what is expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{word:?} is not one of {expected}")]
pub struct UnknownWord {
    word: String,
    expected: &'static str,
}

impl UnknownWord {
    pub(crate) fn new(word: &str, expected: &'static str) -> Self {
        Self {
            word: word.to_owned(),
            expected,
        }
    }
}

impl Hook {
    /// Every hook, in the order in which they run.
    pub const ALL: [Self; 6] = [
        Self::Transform,
        Self::Route,
        Self::Key,
        Self::Filter,
        Self::Project,
        Self::RetryPolicy,
    ];

    /// The hook of that number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| *hook as u64 == number)
    }

    /// The word for it, as people type it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Route => "route",
            Self::Key => "key",
            Self::Filter => "filter",
            Self::Project => "project",
            Self::RetryPolicy => "retry-policy",
        }
    }

    /// The hooks that a component exports, as people read them. `transform` and `project` share an
    /// interface of the contract, and a component that exports it has one of them or both; which,
    /// it says only when it is bound. So where there are both, they are `transform/project`.
    #[must_use]
    pub fn words(exported: &[Self]) -> String {
        let has = |hook| exported.contains(&hook);
        let shared = has(Self::Transform) && has(Self::Project);
        let words = exported.iter().filter_map(|hook| match hook {
            Self::Transform if shared => Some("transform/project"),
            Self::Project if shared => None,
            other => Some(other.word()),
        });
        words.collect::<Vec<_>>().join(", ")
    }

    /// The policies that make sense at this hook, the default first.
    #[must_use]
    pub const fn policies(self) -> &'static [ErrorPolicy] {
        use ErrorPolicy::{DeadLetter, Drop, Fail, Skip};
        match self {
            Self::Transform | Self::Filter | Self::Project => &[Fail, Skip, Drop, DeadLetter],
            Self::Route | Self::Key => &[Fail, Drop, DeadLetter],
            Self::RetryPolicy => &[Fail],
        }
    }
}

impl ErrorPolicy {
    const ALL: [Self; 4] = [Self::Fail, Self::Skip, Self::Drop, Self::DeadLetter];

    /// The policy of that number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|policy| *policy as u64 == number)
    }

    /// The word for it, as people type it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Drop => "drop",
            Self::DeadLetter => "dead-letter",
        }
    }
}

impl BindingAction {
    const ALL: [Self; 4] = [Self::Bound, Self::Replaced, Self::Unbound, Self::RolledBack];

    /// The action of that number.
    #[must_use]
    pub fn from_number(number: u64) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|action| *action as u64 == number)
    }

    /// The words for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Replaced => "replaced",
            Self::Unbound => "unbound",
            Self::RolledBack => "rolled-back",
        }
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for BindingAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for ErrorPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Hook {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let expected = "transform, route, key, filter, project, retry-policy";
        let found = Self::ALL.into_iter().find(|hook| hook.word() == word);
        found.ok_or_else(|| UnknownWord::new(word, expected))
    }
}

impl FromStr for ErrorPolicy {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let expected = "fail, skip, drop, dead-letter";
        let found = Self::ALL.into_iter().find(|policy| policy.word() == word);
        found.ok_or_else(|| UnknownWord::new(word, expected))
    }
}
