//! The state that entries make. What it is, the log does not know; it writes it down whole when
//! older entries are to go, and hands it back when it is opened.

use std::fmt::{Debug, Display};

use crate::wal::RecoveredEntry;

/// A state that is made by entries, and by nothing else: the same entries make the same state.
pub trait StateMachine: Debug + Send + 'static {
    /// Why a section or an entry cannot be taken in.
    type Error: Display + Send + 'static;

    /// Takes in a section that was written down earlier; called before any entry.
    ///
    /// # Errors
    /// When it cannot be read.
    fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), Self::Error>;

    /// Takes in an entry that is durable.
    ///
    /// # Errors
    /// When it cannot be read.
    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), Self::Error>;

    /// The sections that changed since the last call, whole. Their names are lower-case words.
    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)>;
}
