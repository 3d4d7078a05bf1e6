//! A place for one connection: opened when first needed, opened anew when it broke, and never
//! twice at once, however many ask.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};

use super::dial::Dialer;
use super::error::ConnectError;
use super::link::Link;

type Attempt = BoxFuture<'static, Result<Link, ConnectError>>;

#[derive(Debug, Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    /// Whoever waits for it drives it; when nobody does any more, it is gone.
    Connecting(WeakShared<Attempt>),
    Open(Link),
}

impl From<Option<Link>> for Slot {
    fn from(link: Option<Link>) -> Self {
        Self {
            state: Mutex::new(link.map_or(State::Empty, State::Open)),
        }
    }
}

impl Slot {
    /// The connection, if there is one and it lives.
    pub(crate) fn alive(&self) -> Option<Link> {
        match &*self.lock() {
            State::Open(link) if link.is_alive() => Some(link.clone()),
            _ => None,
        }
    }

    /// Takes the connection out, dead or alive.
    pub(crate) fn take(&self) -> Option<Link> {
        let mut state = self.lock();
        match std::mem::take(&mut *state) {
            State::Open(link) => Some(link),
            other => {
                *state = other;
                None
            }
        }
    }

    /// Puts a connection in, unless there is a live one already: then that one counts.
    pub(crate) fn put(&self, link: Link) -> Link {
        let mut state = self.lock();
        match &*state {
            State::Open(other) if other.is_alive() => other.clone(),
            _ => {
                *state = State::Open(link.clone());
                link
            }
        }
    }

    /// The connection, made now if there is none that lives.
    pub(crate) async fn link(&self, dialer: &Arc<Dialer>) -> Result<Link, ConnectError> {
        let attempt = match self.attempt(dialer) {
            Ok(link) => return Ok(link),
            Err(attempt) => attempt,
        };
        Ok(self.put(attempt.await?))
    }

    fn attempt(&self, dialer: &Arc<Dialer>) -> Result<Link, Shared<Attempt>> {
        let mut state = self.lock();
        match &*state {
            State::Open(link) if link.is_alive() => return Ok(link.clone()),
            State::Connecting(attempt) => {
                if let Some(attempt) = attempt.upgrade().filter(|a| a.peek().is_none()) {
                    return Err(attempt);
                }
            }
            _ => {}
        }
        let dialer = Arc::clone(dialer);
        let attempt = async move { dialer.dial().await }.boxed().shared();
        *state = attempt.downgrade().map_or(State::Empty, State::Connecting);
        Err(attempt)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
