//! How a verb ends: the exit codes of the contract, and the one sentence that goes with a failure.

use std::error::Error;
use std::fmt;
use std::io;

/// An exit code; scripts rely on the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Nobody reads the output any more (`weir consume … | head -3`): nothing went wrong.
    OutputClosed = 0,
    /// The operation failed.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// The broker is not reachable.
    Unreachable = 3,
    /// The broker refused the credentials.
    NotAuthorised = 4,
    /// Interrupted by Ctrl-C.
    Interrupted = 130,
}

/// Why a verb did not do what was asked, in one sentence with the next step.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
    /// The chain of causes, outermost first: shown with `-v`.
    causes: Vec<String>,
}

impl Failure {
    /// A failure with a sentence of its own.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            causes: Vec::new(),
        }
    }

    /// A failed operation.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }

    /// Arguments that cannot be right.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Ctrl-C, where nothing is left to say.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "")
    }

    /// An error of a library or module below, whose message is the sentence.
    pub fn of(exit: Exit, error: &dyn Error) -> Self {
        let mut causes = Vec::new();
        let mut next = error.source();
        while let Some(cause) = next {
            causes.push(cause.to_string());
            next = cause.source();
        }
        Self {
            exit,
            message: error.to_string(),
            causes,
        }
    }

    /// An error while writing results: a closed pipe is a quiet end.
    pub fn writing(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(Exit::OutputClosed, "")
        } else {
            Self::failed(format!("cannot write the results: {error}"))
        }
    }

    /// The same failure, and the place where it happened before its sentence.
    #[must_use]
    pub fn at(mut self, place: impl fmt::Display) -> Self {
        self.message = format!("{place}: {}", self.message);
        self
    }

    /// The same failure with another code.
    #[must_use]
    pub const fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// The code that the process ends with.
    pub const fn exit(&self) -> Exit {
        self.exit
    }

    /// The chain of causes.
    pub fn causes(&self) -> &[String] {
        &self.causes
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let failure = Failure::writing(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(failure.exit(), Exit::OutputClosed);
        let failure = Failure::writing(&io::ErrorKind::StorageFull.into());
        assert_eq!(failure.exit(), Exit::Failed);
    }

    #[test]
    fn causes_are_kept_for_verbose_output() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot read the file")]
        struct Outer(#[source] io::Error);
        let failure = Failure::of(Exit::Failed, &Outer(io::Error::other("the disk is gone")));
        assert_eq!(failure.to_string(), "cannot read the file");
        assert_eq!(failure.causes(), ["the disk is gone"]);
    }
}
