//! The pipeline of one producer: admit, prepare (in parallel), hand over (in order).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, StreamExt};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use weir_core::dedup::{Admission, FlightId};
use weir_log::PageBuf;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::Sequence;
use weir_wire::limits::PRODUCER_IN_FLIGHT_MAX;
use weir_wire::produce::{Ack, Produce};

use super::reply::Expected;
use super::{Admitted, Flight, Prepared, Turn, overloaded, prepare};
use crate::budget::Permit;
use crate::fault::IntoFault;
use crate::producers::{Producer, Reply, Waiter, out_of_sequence};
use crate::sequence::Command;
use crate::state::Shared;

/// Requests whose hooks run at the same time.
const PREPARING_MAX: usize = 16;

pub(super) struct Pipeline {
    shared: Arc<Shared>,
    producer: Arc<Producer>,
    frames: mpsc::Receiver<Result<Admitted, Fault>>,
    replies: mpsc::Sender<Expected>,
    preparing: FuturesOrdered<BoxFuture<'static, Flight>>,
    redo: mpsc::Receiver<Flight>,
    to_redo: Option<mpsc::Sender<Flight>>,
    /// The turn of the request that was taken in last.
    last: Option<oneshot::Receiver<Infallible>>,
    sticky: u32,
}

impl Pipeline {
    pub(super) fn new(
        shared: Arc<Shared>,
        producer: Arc<Producer>,
        frames: mpsc::Receiver<Result<Admitted, Fault>>,
        replies: mpsc::Sender<Expected>,
    ) -> Self {
        // Every flight could come back at once, twice when an old stream of the session is still
        // draining.
        let (to_redo, redo) = mpsc::channel(2 * PRODUCER_IN_FLIGHT_MAX);
        let sticky = producer.session.producer.value() as u32;
        Self {
            shared,
            producer,
            frames,
            replies,
            preparing: FuturesOrdered::new(),
            redo,
            to_redo: Some(to_redo),
            last: None,
            sticky,
        }
    }

    /// Runs until the stream has ended and every request of it has gone its way: one that was
    /// admitted is never left hanging, even when its client is gone.
    pub(super) async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                Some(flight) = self.preparing.next(), if !self.preparing.is_empty() => {
                    self.hand_over(flight).await;
                }
                flight = self.redo.recv() => match flight {
                    Some(flight) => self.prepare(flight),
                    // All senders are gone: the stream ended, and no flight is left.
                    None => return,
                },
                frame = self.frames.recv(), if self.takes_frames() => match frame {
                    Some(Ok(admitted)) => self.admit(admitted),
                    Some(Err(fault)) => self.end(Some(fault)),
                    None => self.end(None),
                },
            }
        }
    }

    fn takes_frames(&self) -> bool {
        self.to_redo.is_some() && self.preparing.len() < PREPARING_MAX
    }

    fn end(&mut self, fault: Option<Fault>) {
        if let Some(fault) = fault {
            // With a full queue the client learns from the end of the stream alone.
            let _ = self.replies.try_send(Expected::End(fault));
        }
        self.to_redo = None;
        self.frames.close();
    }

    fn admit(&mut self, admitted: Admitted) {
        let request = match admitted.frame.message::<Produce>() {
            Ok(request) => request,
            Err(error) => return self.end(Some(error.into_fault())),
        };
        let Some(ack) = Ack::from_number(request.ack) else {
            let text = format!("ack {} does not exist; use 0, 1 or 2", request.ack);
            return self.end(Some(Fault::new(ErrorCode::InvalidArgument, text)));
        };
        if ack == Ack::None {
            return self.admit_one_way(admitted, &request);
        }
        let (waiter, reply) = oneshot::channel();
        // Never waited for: the pipeline must go on, since the replies in the queue need it.
        match self.replies.try_send(Expected::Reply(reply)) {
            Ok(()) => {}
            // The connection is lost; what it had admitted goes on, nothing new is begun.
            Err(TrySendError::Closed(_)) => return self.end(None),
            Err(TrySendError::Full(_)) => return self.end(Some(too_many())),
        }
        let admission = {
            let mut state = self.producer.state.lock();
            // Without room only what would be new is refused: what is done has its outcome, and
            // what comes too early is told so.
            if admitted.permit.is_none() && state.next() == request.sequence {
                drop(state);
                return self.refuse_overloaded(request.sequence, waiter);
            }
            state.admit(request.sequence, waiter)
        };
        let settled = self.settle(request.sequence, admission);
        // Whatever is to be run has room: it was new.
        let (Some(id), Some(permit)) = (settled, admitted.permit) else {
            return;
        };
        let Admitted { frame, arrived, .. } = admitted;
        self.launch(id, ack, &request, frame.payload.bytes, arrived, permit);
    }

    fn admit_one_way(&mut self, admitted: Admitted, request: &Produce) {
        let Some(permit) = admitted.permit else {
            self.shared.metrics.overloaded.inc();
            return prepare::count_lost(&self.shared, admitted.frame.payload.bytes.as_slice());
        };
        let Admitted { frame, arrived, .. } = admitted;
        self.launch(
            None,
            Ack::None,
            request,
            frame.payload.bytes,
            arrived,
            permit,
        );
    }

    /// A request begins its way.
    fn launch(
        &mut self,
        id: Option<FlightId>,
        ack: Ack,
        request: &Produce,
        batch: PageBuf,
        arrived: Instant,
        permit: Permit,
    ) {
        let flight = Flight {
            producer: self.producer.clone(),
            id,
            ack,
            partition: request.partition,
            all_or_nothing: request.all_or_nothing,
            sticky: self.next_sticky(),
            batch,
            prepared: Prepared::Not,
            turn: Turn::default(),
            arrived,
            permit,
            redo: self
                .to_redo
                .clone()
                .expect("frames are taken only before the end"),
        };
        self.prepare(flight);
    }

    /// Answers what needs no flight. `Some` if the request is to be run, with `None` in it if only
    /// a planted bug runs it again.
    fn settle(&self, sequence: Sequence, admission: Admission<Waiter>) -> Option<Option<FlightId>> {
        let answer = |waiter: Waiter, fault| {
            let _ = waiter.send(Reply::Fault(sequence, fault));
        };
        match admission {
            Admission::New(id) => return Some(Some(id)),
            Admission::InFlight => drop(self.shared.metrics.duplicates.inc()),
            Admission::Known(waiter, outcome) => {
                self.shared.metrics.duplicates.inc();
                let _ = waiter.send(Reply::Outcome(outcome));
                return self.shared.tests.dedups_after_hooks().then_some(None);
            }
            Admission::Forgotten(waiter) => {
                let text = format!(
                    "request {sequence} is so old that its outcome is forgotten; \
                     at most {PRODUCER_IN_FLIGHT_MAX} are remembered"
                );
                answer(waiter, Fault::new(ErrorCode::OutcomeForgotten, text));
            }
            Admission::OutOfSequence(waiter, expected) => {
                answer(waiter, out_of_sequence(expected));
            }
            Admission::TooMany(waiter) => {
                answer(waiter, too_many());
            }
        }
        None
    }

    fn refuse_overloaded(&self, sequence: Sequence, waiter: Waiter) {
        self.shared.metrics.overloaded.inc();
        let text = "the broker holds as many bytes of requests as it may; send more slowly";
        let fault = overloaded(&self.shared, text);
        let _ = waiter.send(Reply::Fault(sequence, fault));
    }

    fn prepare(&mut self, mut flight: Flight) {
        let shared = self.shared.clone();
        let (over, next) = oneshot::channel();
        flight.turn = Turn {
            before: self.last.replace(next),
            _over: Some(over),
        };
        self.preparing
            .push_back(Box::pin(prepare::prepare(shared, flight)));
    }

    async fn hand_over(&mut self, flight: Flight) {
        if let Prepared::Retry(fault) = &flight.prepared {
            match flight.id {
                Some(id) => flight.producer.fail_from(id, fault),
                None => prepare::count_lost(&self.shared, flight.batch.as_slice()),
            }
            return;
        }
        let (producer, id) = (flight.producer.clone(), flight.id);
        if self
            .shared
            .sequencer
            .send(Command::Produce(flight))
            .await
            .is_err()
            && let Some(id) = id
        {
            let fault = Fault::new(ErrorCode::ShuttingDown, "the broker is shutting down");
            producer.fail_from(id, &fault);
        }
    }

    const fn next_sticky(&mut self) -> u32 {
        self.sticky = self.sticky.wrapping_add(1);
        self.sticky
    }
}

fn too_many() -> Fault {
    let text = format!(
        "{PRODUCER_IN_FLIGHT_MAX} requests of this producer are unanswered; wait for replies"
    );
    Fault::new(ErrorCode::Overloaded, text)
}
