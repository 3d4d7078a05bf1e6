//! The room where produce requests arrive: a stream is a producer. Its requests are admitted
//! (known ones get their stored outcome), run through the hooks of the addressed topic, and go to
//! the sequencer in their order.
//!
//! Three tasks per stream: one reads frames within the byte budget, one runs the pipeline, one
//! writes replies in the order of the requests.

mod hooks;
mod open;
mod pipeline;
mod prepare;
mod reply;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use quinn::SendStream;
use tokio::sync::{mpsc, oneshot};
use weir_core::dedup::FlightId;
use weir_core::place::Placed;
use weir_log::PageBuf;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{BindingEpoch, PartitionId};
use weir_wire::limits::PRODUCER_IN_FLIGHT_MAX;
use weir_wire::produce::{Ack, OpenProducer};

use crate::budget::{Budget, Held, Permit};
use crate::frames::{Ended, FrameReader, Received, send, send_fault};
use crate::producers::Producer;
use crate::state::Shared;
use pipeline::Pipeline;
pub(crate) use prepare::count_lost;

/// Frames read ahead of the pipeline.
const READ_AHEAD: usize = 2;
/// Replies that wait: those in flight, and as many answers to requests that need no flight.
const REPLIES_MAX: usize = 2 * PRODUCER_IN_FLIGHT_MAX;

/// A produce request on its way through the broker.
pub(crate) struct Flight {
    pub(crate) producer: Arc<Producer>,
    /// Its place in the session; `None` for one-way requests (and for one that a planted bug
    /// runs again although its turn is over).
    pub(crate) id: Option<FlightId>,
    pub(crate) ack: Ack,
    partition: Option<PartitionId>,
    all_or_nothing: bool,
    /// Decides the partition of keyless records.
    sticky: u32,
    /// The batch as it came.
    pub(crate) batch: PageBuf,
    pub(crate) prepared: Prepared,
    turn: Turn,
    pub(crate) arrived: Instant,
    pub(crate) permit: Permit,
    /// Where the sequencer sends it when its hooks must run again.
    pub(crate) redo: mpsc::Sender<Flight>,
}

/// A request's place behind the one before it: its turn comes when that one has gone into the log,
/// back to its hooks, or nowhere.
#[derive(Default)]
struct Turn {
    /// Nothing is ever sent: it ends with the one before.
    before: Option<oneshot::Receiver<Infallible>>,
    /// For the one behind.
    _over: Option<oneshot::Sender<Infallible>>,
}

impl Turn {
    /// Waits until every request before this one is out of the way.
    async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            let Err(_over) = before.await;
        }
    }
}

/// What the hooks made of a request.
pub(crate) enum Prepared {
    /// Nothing yet.
    Not,
    /// Ready to be sequenced.
    Placed {
        /// The bindings that ran.
        epoch: BindingEpoch,
        /// What it became.
        placed: Placed,
        /// Records in it.
        count: u32,
        /// The room for what hooks made of it, until the log has it.
        _held: Option<Held>,
    },
    /// Refused for good.
    Refused {
        /// The bindings that ran, if any did.
        epoch: Option<BindingEpoch>,
        /// Why.
        fault: Fault,
    },
    /// Not now.
    Retry(Fault),
}

/// There is no room for a request now; after this time there may be.
fn overloaded(shared: &Shared, text: &str) -> Fault {
    let mut fault = Fault::new(ErrorCode::Overloaded, text);
    fault.retry_after = Some(shared.config.limits.request_deadline / 10);
    fault
}

/// A frame, with the right to hold it; without one the broker was too busy for too long.
struct Admitted {
    frame: Received,
    permit: Option<Permit>,
    arrived: Instant,
}

/// Serves a producer's stream from its first frame on.
pub(crate) async fn run(
    shared: Arc<Shared>,
    connection: quinn::Connection,
    budget: Budget,
    mut stream: SendStream,
    reader: FrameReader,
    open: OpenProducer,
) {
    let (producer, opened) = match open::open(&shared, &open).await {
        Ok(session) => session,
        Err(fault) => {
            let _ = send_fault(&mut stream, &fault).await;
            return crate::frames::finish(stream).await;
        }
    };
    if send(&mut stream, &opened).await.is_err() {
        return;
    }
    let sender = connection.stable_id();
    let (to_pipeline, frames) = mpsc::channel(READ_AHEAD);
    let (replies, to_write) = mpsc::channel(REPLIES_MAX);
    let writer = reply::Writer::new(shared.clone(), connection, stream, to_write);
    let pipeline = Pipeline::new(shared.clone(), producer, frames, replies);
    tokio::join!(
        read(shared, sender, budget, reader, to_pipeline),
        pipeline.run(),
        writer.run()
    );
}

/// Reads frames as fast as the budgets allow; that is what holds a fast producer back.
async fn read(
    shared: Arc<Shared>,
    sender: usize,
    connection: Budget,
    mut reader: FrameReader,
    frames: mpsc::Sender<Result<Admitted, Fault>>,
) {
    loop {
        let frame = tokio::select! {
            biased;
            () = shared.draining.cancelled() => {
                let text = "the broker is shutting down";
                let _ = frames.send(Err(Fault::new(ErrorCode::ShuttingDown, text))).await;
                return;
            }
            frame = reader.next() => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) | Err(Ended::Lost) => return,
            Err(Ended::Violation(fault)) => {
                shared.frame_refused(&fault);
                let _ = frames.send(Err(fault)).await;
                return;
            }
        };
        let arrived = Instant::now();
        shared.activity.received(sender, arrived);
        let deadline = shared.config.limits.request_deadline;
        let bytes = frame.payload.bytes.capacity();
        let permit = Budget::acquire(&shared.budget, &connection, bytes, deadline).await;
        if frames
            .send(Ok(Admitted {
                frame,
                permit,
                arrived,
            }))
            .await
            .is_err()
        {
            return;
        }
    }
}
