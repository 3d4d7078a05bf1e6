//! An open, authenticated connection.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use quinn::{Connection, Endpoint, SendStream, VarInt};
use tokio_util::task::AbortOnDropHandle;
use weir_wire::frame::FrameMessage;
use weir_wire::request::Welcome;

use super::error::StreamError;
use super::lanes::{Lanes, Opening};
use super::stream::FrameReader;

/// The connection is no longer needed.
pub(super) const CLOSE_DONE: VarInt = VarInt::from_u32(0);
pub(super) const CLOSE_NOT_AUTHORISED: VarInt = VarInt::from_u32(1);
pub(super) const CLOSE_VIOLATION: VarInt = VarInt::from_u32(2);
pub(super) const CLOSE_SHUTTING_DOWN: VarInt = VarInt::from_u32(3);
pub(super) const CLOSE_LIMIT: VarInt = VarInt::from_u32(4);

/// What a broker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcomed {
    /// Its version, for people.
    pub version: String,
    /// The id of its data directory.
    pub node_id: u64,
}

/// An open connection; clones share it, and the last one closes it.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    connection: Connection,
    welcome: Welcomed,
    lanes: Arc<Lanes>,
    /// Takes in the broker's streams; started by the first subscription.
    acceptor: OnceLock<AbortOnDropHandle<()>>,
}

impl Link {
    pub(super) fn new(endpoint: Endpoint, connection: Connection, welcome: Welcome) -> Self {
        let welcome = Welcomed {
            version: welcome.broker,
            node_id: welcome.node_id,
        };
        Self {
            inner: Arc::new(Inner {
                endpoint,
                connection,
                welcome,
                lanes: Arc::new(Lanes::default()),
                acceptor: OnceLock::new(),
            }),
        }
    }

    pub(crate) fn welcome(&self) -> &Welcomed {
        &self.inner.welcome
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.inner.connection.close_reason().is_none()
    }

    /// Opens a stream and sends a first frame on it.
    pub(crate) async fn open<M: FrameMessage>(
        &self,
        first: &M,
        payload: Bytes,
    ) -> Result<(SendStream, FrameReader), StreamError> {
        open(&self.inner.connection, first, payload).await
    }

    /// One request on a stream of its own, and its reply.
    pub(crate) async fn request<Q, A>(&self, query: &Q, payload: Bytes) -> Result<A, StreamError>
    where
        Q: FrameMessage,
        A: FrameMessage,
    {
        request(&self.inner.connection, query, payload).await
    }

    /// One request on a stream of its own, whose reply has a payload.
    pub(crate) async fn fetch<Q, A>(&self, query: &Q) -> Result<(A, Vec<u8>), StreamError>
    where
        Q: FrameMessage,
        A: FrameMessage,
    {
        let (mut send, mut receive) = open(&self.inner.connection, query, Bytes::new()).await?;
        // Finishing fails only on a stream that is over.
        let _ = send.finish();
        receive.expect_with_payload().await
    }

    /// Announces that a subscription is about to be made, so that its lanes are kept for it.
    pub(crate) fn open_lanes(&self) -> Opening {
        self.inner.acceptor.get_or_init(|| {
            let lanes = Arc::clone(&self.inner.lanes);
            let task = lanes.run(self.inner.connection.clone());
            AbortOnDropHandle::new(tokio::spawn(task))
        });
        Lanes::open(&self.inner.lanes)
    }

    /// Ends the connection because of what the broker did.
    pub(crate) fn refuse(&self, reason: &str) {
        self.inner
            .connection
            .close(CLOSE_VIOLATION, reason.as_bytes());
    }

    /// Ends the connection, and waits until the broker can know.
    pub(crate) async fn close(&self) {
        self.inner.connection.close(CLOSE_DONE, b"done");
        self.inner.endpoint.wait_idle().await;
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.connection.close(CLOSE_DONE, b"done");
    }
}

async fn open<M: FrameMessage>(
    connection: &Connection,
    first: &M,
    payload: Bytes,
) -> Result<(SendStream, FrameReader), StreamError> {
    let (mut send, receive) = connection.open_bi().await?;
    let frame = Bytes::from(first.to_frame(payload.len()));
    send.write_all_chunks(&mut [frame, payload]).await?;
    Ok((send, FrameReader::new(receive)))
}

/// One request on a stream of its own, and its reply.
pub(super) async fn request<Q, A>(
    connection: &Connection,
    query: &Q,
    payload: Bytes,
) -> Result<A, StreamError>
where
    Q: FrameMessage,
    A: FrameMessage,
{
    let (mut send, receive) = connection.open_bi().await?;
    let mut receive = FrameReader::new(receive);
    let frame = Bytes::from(query.to_frame(payload.len()));
    let written = send.write_all_chunks(&mut [frame, payload]).await;
    // Finishing fails only on a stream that is over.
    let _ = send.finish();
    match (receive.expect().await, written) {
        // A broker that refuses a large payload stops it before its end, and says why.
        (Err(StreamError::Lost(_)), Err(error)) => Err(error.into()),
        (reply, _) => reply,
    }
}
