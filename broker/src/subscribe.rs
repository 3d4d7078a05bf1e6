//! The room where records leave: a subscription reads its partitions from where it stands, runs
//! its filters and projections, and sends what they leave, as far as the subscriber has given
//! credit.

mod credit;
mod dead_letters;
mod filters;
mod lane;
mod start;
mod turns;
mod verdicts;
mod watch;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use quinn::{Connection, SendStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::Kind;
use weir_wire::id::SubscriptionId;
use weir_wire::limits::SUBSCRIPTION_STREAMS_MAX;
use weir_wire::subscribe::{Credit as CreditFrame, Subscribe, Subscribed};

use crate::budget::Share;
use crate::fault::IntoFault;
use crate::frames::{Ended, FrameReader, finish, send, send_fault};
use crate::state::Shared;
use credit::Credit;
use filters::Filters;
use lane::{Counts, Subscription};

pub(crate) use lane::{READS_AT_ONCE, read_fault};
pub(crate) use start::numbers;
pub(crate) use turns::{ConnectionTurns, Turns};
pub(crate) use verdicts::Verdicts;
pub(crate) use watch::{Doing, Guest, KindSum, Watch};

/// Serves a subscription from its first frame on.
pub(crate) async fn run(
    shared: Arc<Shared>,
    connection: Connection,
    turns: ConnectionTurns,
    mut stream: SendStream,
    mut reader: FrameReader,
    request: Subscribe,
) {
    let ended = match begin(&shared, &request).await {
        Ok((filters, subscribed)) => {
            shared.metrics.request(Kind::Subscribe, Ok(()));
            let _watching = filters.watch(&shared.watch, subscribed.id, &request);
            if send(&mut stream, &subscribed).await.is_err() {
                return;
            }
            serve(
                &shared,
                &connection,
                turns,
                &mut reader,
                &request,
                filters,
                subscribed,
            )
            .await
        }
        Err(fault) => {
            shared.metrics.request(Kind::Subscribe, Err(fault.code));
            Some(fault)
        }
    };
    if let Some(fault) = ended {
        let _ = send_fault(&mut stream, &fault).await;
    }
    finish(stream).await;
}

/// Counts a subscription for as long as it lives.
struct Counted(Arc<Shared>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn begin(shared: &Shared, request: &Subscribe) -> Result<(Filters, Subscribed), Fault> {
    let partitions = start::partitions(shared, request).await?;
    let filters = Filters::bind(shared, request).await?;
    let id = SubscriptionId::new(shared.last_subscription.fetch_add(1, Ordering::Relaxed) + 1);
    Ok((filters, Subscribed { id, partitions }))
}

/// Runs the lanes until the subscriber leaves (`None`) or something ends them (why).
async fn serve(
    shared: &Arc<Shared>,
    connection: &Connection,
    turns: ConnectionTurns,
    reader: &mut FrameReader,
    request: &Subscribe,
    filters: Filters,
    subscribed: Subscribed,
) -> Option<Fault> {
    shared.metrics.subscriptions_opened.inc();
    shared.subscriptions.fetch_add(1, Ordering::Relaxed);
    let _counted = Counted(shared.clone());
    let credit = Arc::new(Credit::new(request.credit_bytes, request.credit_records));
    let subscription = Subscription {
        shared: shared.clone(),
        id: subscribed.id,
        filters: Arc::new(filters),
        credit: credit.clone(),
        with_keys: request.ordering_keys,
        counts: Arc::new(counts(request, &subscribed)),
        turns,
        room: Share::of(&shared.loaded),
    };
    let stop = CancellationToken::new();
    let (faults, mut failed) = mpsc::channel(1);
    let lanes = TaskTracker::new();
    let lane_count = subscribed.partitions.len().min(SUBSCRIPTION_STREAMS_MAX);
    for index in 0..lane_count {
        let own = subscribed.partitions.iter().skip(index).step_by(lane_count);
        let lane = subscription.lane(own);
        let (connection, stop, faults) = (connection.clone(), stop.clone(), faults.clone());
        lanes.spawn(async move {
            let ended = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                ended = lane.run(&connection) => ended,
            };
            // The first fault ends the subscription; others say nothing new.
            ended
                .into_iter()
                .for_each(|fault| drop(faults.try_send(fault)));
        });
    }
    drop(faults);
    let ended = tokio::select! {
        biased;
        () = shared.draining.cancelled() => {
            Some(Fault::new(ErrorCode::ShuttingDown, "the broker is shutting down"))
        }
        fault = failed.recv() => fault,
        ended = take_credit(reader, &credit) => ended,
    };
    stop.cancel();
    lanes.close();
    lanes.wait().await;
    ended
}

/// How many partitions each topic had when the subscription began; none where one was asked for,
/// since others are no concern of the subscriber.
fn counts(request: &Subscribe, subscribed: &Subscribed) -> Counts {
    let mut counts = Counts::new();
    if request.partition.is_none() {
        for partition in &subscribed.partitions {
            *counts.entry(partition.topic).or_default() += 1;
        }
    }
    counts
}

/// Takes credit until the subscriber finishes its stream.
async fn take_credit(reader: &mut FrameReader, credit: &Credit) -> Option<Fault> {
    loop {
        match reader.next().await {
            Ok(Some(frame)) if frame.kind == Kind::Credit => match frame.message::<CreditFrame>() {
                Ok(more) => credit.grant(more.bytes, more.records),
                Err(error) => return Some(error.into_fault()),
            },
            Ok(Some(frame)) => {
                let text = format!("a subscription's stream takes no frame {:?}", frame.kind);
                return Some(Fault::new(ErrorCode::MalformedFrame, text));
            }
            Ok(None) | Err(Ended::Lost) => return None,
            Err(Ended::Violation(fault)) => return Some(fault),
        }
    }
}
