//! Lanes: the streams that a broker opens for subscriptions, handed to the subscription that each
//! names in its first frame.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::{Connection, RecvStream};
use tokio::sync::mpsc;
use weir_wire::id::SubscriptionId;
use weir_wire::limits::SUBSCRIPTION_STREAMS_MAX;
use weir_wire::subscribe::LaneOpened;

use super::link::CLOSE_VIOLATION;
use super::stream::FrameReader;

/// A stream of records, its first frame read.
pub(crate) type Lane = FrameReader;

/// Which subscription takes which lanes.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    routes: HashMap<SubscriptionId, mpsc::Sender<Lane>>,
    /// Subscriptions being made: a lane may come before the reply that tells its id. Bounded by
    /// the streams that the transport lets a broker open.
    opening: usize,
    early: HashMap<SubscriptionId, Vec<Lane>>,
}

/// A subscription that is being made.
#[derive(Debug)]
pub(crate) struct Opening {
    lanes: Arc<Lanes>,
}

/// The lanes of a subscription, while it lives.
#[derive(Debug)]
pub(crate) struct Route {
    lanes: Arc<Lanes>,
    id: SubscriptionId,
    incoming: mpsc::Receiver<Lane>,
}

impl Lanes {
    pub(super) fn open(lanes: &Arc<Self>) -> Opening {
        lanes.lock().opening += 1;
        Opening {
            lanes: Arc::clone(lanes),
        }
    }

    /// Takes in streams until the connection ends.
    pub(super) async fn run(self: Arc<Self>, connection: Connection) {
        let mut heads = FuturesUnordered::new();
        loop {
            tokio::select! {
                stream = connection.accept_uni() => match stream {
                    Ok(stream) => heads.push(head(stream)),
                    Err(_) => return,
                },
                Some(head) = heads.next() => {
                    // A lane without a head breaks off by itself: the connection is lost.
                    let Some((id, lane)) = head else { continue };
                    if !self.deliver(id, lane) {
                        let reason = "more lanes than a subscription may have";
                        connection.close(CLOSE_VIOLATION, reason.as_bytes());
                        return;
                    }
                }
            }
        }
    }

    /// Hands a lane on; `false` if its subscription has too many.
    fn deliver(&self, id: SubscriptionId, lane: Lane) -> bool {
        let mut state = self.lock();
        if let Some(route) = state.routes.get(&id) {
            return !matches!(
                route.try_send(lane),
                Err(mpsc::error::TrySendError::Full(_))
            );
        }
        // Without a subscription in the making nobody will ask for it: dropping it stops it.
        if state.opening > 0 {
            let early = state.early.entry(id).or_default();
            if early.len() == SUBSCRIPTION_STREAMS_MAX {
                return false;
            }
            early.push(lane);
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn head(stream: RecvStream) -> Option<(SubscriptionId, Lane)> {
    let mut reader = FrameReader::new(stream);
    match reader.expect::<LaneOpened>().await {
        Ok(opened) => Some((opened.subscription, reader)),
        Err(error) => {
            tracing::debug!(%error, "a lane did not say whose it is");
            None
        }
    }
}

impl Opening {
    /// The subscription has its id: its lanes come this way.
    pub(crate) fn registered(self, id: SubscriptionId) -> Route {
        let (sender, incoming) = mpsc::channel(SUBSCRIPTION_STREAMS_MAX);
        let mut state = self.lanes.lock();
        for lane in state.early.remove(&id).into_iter().flatten() {
            sender
                .try_send(lane)
                .expect("no more lanes were kept than the channel holds");
        }
        state.routes.insert(id, sender);
        drop(state);
        Route {
            lanes: Arc::clone(&self.lanes),
            id,
            incoming,
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut state = self.lanes.lock();
        state.opening -= 1;
        if state.opening == 0 {
            state.early.clear();
        }
    }
}

impl Route {
    /// The next lane; `None` when the connection is gone.
    pub(crate) async fn next(&mut self) -> Option<Lane> {
        self.incoming.recv().await
    }
}

impl Drop for Route {
    fn drop(&mut self) {
        self.lanes.lock().routes.remove(&self.id);
    }
}
