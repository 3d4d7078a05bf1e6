//! The client: one broker, its connections, and what is made from them.

mod builder;

use std::sync::Arc;

use weir_wire::error::Fault;

use crate::admin::Admin;
use crate::connection::{ConnectError, Dialer, Link, Slot, Welcomed};
use crate::producer::ProducerBuilder;
use crate::subscriber::SubscriberBuilder;

pub use builder::ClientBuilder;

/// A client of one broker. Clones share its connections.
///
/// Producing and subscribing have a connection each, opened when first needed, so that a flood of
/// one does not delay the other. Without tasks of its own, a client costs nothing while idle but
/// the keep-alives of its connections.
#[derive(Clone, Debug)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dialer: Arc<Dialer>,
    produce: Slot,
    consume: Slot,
    /// The connection that [`ClientBuilder::connect`] made; the first one to need one takes it.
    spare: Slot,
}

impl Client {
    /// Begins to describe a connection to the broker at `weir://host:port`.
    pub fn builder(address: impl Into<String>) -> ClientBuilder {
        ClientBuilder::new(address.into())
    }

    pub(crate) fn new(dialer: Arc<Dialer>, first: Option<Link>) -> Self {
        Self {
            shared: Arc::new(Shared {
                dialer,
                produce: Slot::default(),
                consume: Slot::default(),
                spare: Slot::from(first),
            }),
        }
    }

    /// Begins to describe a producer of that topic (`name` or `namespace/name`).
    pub fn producer(&self, topic: impl AsRef<str>) -> ProducerBuilder {
        ProducerBuilder::new(self.clone(), topic.as_ref())
    }

    /// Begins to describe a subscription to these topics.
    pub fn subscribe<T: AsRef<str>>(
        &self,
        topics: impl IntoIterator<Item = T>,
    ) -> SubscriberBuilder {
        SubscriberBuilder::new(self.clone(), topics)
    }

    /// Manages topics, plugins and bindings.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// A client of the same broker that shares no connection with this one.
    #[must_use]
    pub fn dedicated(&self) -> Self {
        Self::new(Arc::clone(&self.shared.dialer), None)
    }

    /// What the broker said of itself when the last control connection was made.
    pub async fn broker(&self) -> Result<Welcomed, ConnectError> {
        Ok(self.control_link().await?.welcome().clone())
    }

    /// Closes the connections. Producers and subscribers made from this client lose theirs and
    /// open new ones: close them first.
    pub async fn close(self) {
        for slot in [
            &self.shared.produce,
            &self.shared.consume,
            &self.shared.spare,
        ] {
            if let Some(link) = slot.take() {
                link.close().await;
            }
        }
    }

    /// How long requests that fail may be tried again.
    pub(crate) fn retry_timeout(&self) -> std::time::Duration {
        self.shared.dialer.retry_timeout
    }

    pub(crate) async fn produce_link(&self) -> Result<Link, ConnectError> {
        self.claim(&self.shared.produce).await
    }

    pub(crate) async fn consume_link(&self) -> Result<Link, ConnectError> {
        self.claim(&self.shared.consume).await
    }

    /// Whichever connection is open; a new one if none is.
    pub(crate) async fn control_link(&self) -> Result<Link, ConnectError> {
        let slots = [
            &self.shared.spare,
            &self.shared.produce,
            &self.shared.consume,
        ];
        match slots.into_iter().find_map(Slot::alive) {
            Some(link) => Ok(link),
            None => self.shared.spare.link(&self.shared.dialer).await,
        }
    }

    /// The link of a slot; an empty slot takes the spare one before it makes its own.
    async fn claim(&self, slot: &Slot) -> Result<Link, ConnectError> {
        if let Some(link) = slot.alive() {
            return Ok(link);
        }
        if let Some(link) = self.shared.spare.take().filter(Link::is_alive) {
            return Ok(slot.put(link));
        }
        slot.link(&self.shared.dialer).await
    }
}

/// A fault of the broker as the end of a connection attempt.
impl From<Fault> for ConnectError {
    fn from(fault: Fault) -> Self {
        match fault.code {
            weir_wire::error::ErrorCode::NotAuthorised => Self::NotAuthorised(fault),
            _ => Self::Refused(fault),
        }
    }
}
