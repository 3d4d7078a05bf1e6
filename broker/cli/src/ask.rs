//! Asking before something is destroyed.

use std::io::{self, Write};

use crate::environment;
use crate::exit::Failure;

/// The flag of destructive verbs.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct YesArgs {
    /// Do not ask; where nobody can be asked, nothing is destroyed without it
    #[arg(long, short = 'y')]
    pub yes: bool,
}

/// Whether a verb may go on where nobody can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// It destroys data.
    Refuse,
    /// What it takes away can be made again from what the user has.
    Allow,
}

impl YesArgs {
    /// Returns when the user agrees to `question`.
    pub fn confirm(self, question: &str, unasked: Unasked) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !environment::can_ask() {
            return match unasked {
                Unasked::Allow => Ok(()),
                Unasked::Refuse => Err(Failure::usage(
                    "this destroys data and nobody can be asked here; add --yes if it is meant",
                )),
            };
        }
        let failed = |error: io::Error| Failure::failed(format!("cannot ask: {error}"));
        let mut stderr = io::stderr();
        write!(stderr, "{question} [y/N] ")
            .and_then(|()| stderr.flush())
            .map_err(failed)?;
        let mut answer = String::new();
        io::stdin().read_line(&mut answer).map_err(failed)?;
        match answer.trim().to_ascii_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::failed("nothing was changed")),
        }
    }
}
