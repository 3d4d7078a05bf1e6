//! Where the log says what is durable.

use std::sync::{Arc, Mutex, PoisonError};

use weir_log::{CommitSink, CommittedBlock, LogError};

use super::Token;

/// Tokens of entries that are durable, or said to be, and were not settled yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Commits {
    durable: Arc<Mutex<Vec<Token>>>,
}

impl Commits {
    /// How many wait to be settled.
    pub(crate) fn len(&self) -> usize {
        self.with(|tokens| tokens.len())
    }

    /// The first of them.
    pub(crate) fn take(&self, first: usize) -> Vec<Token> {
        self.with(|tokens| tokens.drain(..first.min(tokens.len())).collect())
    }

    fn with<R>(&self, act: impl FnOnce(&mut Vec<Token>) -> R) -> R {
        act(&mut self.durable.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl CommitSink<Token> for Commits {
    fn committed(&mut self, block: CommittedBlock<'_, Token>) {
        self.with(|tokens| tokens.extend(block.tokens));
    }

    /// The process ends when its log fails: nobody is told anything any more.
    fn failed(&mut self, _error: &LogError, _tokens: Vec<Token>) {}
}
