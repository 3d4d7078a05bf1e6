//! The signals that a broker obeys.

use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

use crate::exit::Failure;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGHUP: read certificates and log level again.
    Reload,
    /// SIGTERM or SIGINT: finish and end.
    End,
}

/// The signals, caught from the moment this exists.
#[derive(Debug)]
pub struct Signals {
    hang_up: Stream,
    interrupt: Stream,
    terminate: Stream,
}

impl Signals {
    /// Catches them.
    pub fn new() -> Result<Self, Failure> {
        let catch = |kind| {
            signal(kind).map_err(|error| Failure::failed(format!("cannot catch signals: {error}")))
        };
        Ok(Self {
            hang_up: catch(SignalKind::hangup())?,
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
        })
    }

    /// The next one.
    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Signal::End,
            _ = self.terminate.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }

    /// The next one that asks for the end.
    pub async fn end(&mut self) {
        while self.next().await != Signal::End {}
    }
}
