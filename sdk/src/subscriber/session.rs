//! The task of a subscription: takes frames off its lanes, grants credit, subscribes anew when
//! the connection breaks.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, SelectAll, unfold};
use quinn::SendStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use weir_wire::frame::{Frame, FrameMessage, Kind};
use weir_wire::subscribe::{self, Subscribe, Subscribed, SubscribedPartition};

use super::batch::Arrived;
use super::credit::{Amount, Credit};
use super::cursors::{Cursors, protocol};
use super::error::SubscribeError;
use super::handle::{Away, Delivery, Progress, Subscriber};
use crate::client::Client;
use crate::connection::{FrameReader, Lane, Link, Route, StreamError, fault};
use crate::redial::Redial;

/// Frames that wait for the application; their bytes are bounded by the credit.
const DELIVERIES: usize = 256;

pub(super) struct Session {
    client: Client,
    subscribe: Subscribe,
    credit: Arc<Credit>,
    retry_timeout: Duration,
    /// What was handed to the application's side, where nothing gets lost.
    delivered: Cursors,
}

/// A subscription behind its `Subscribed`.
struct Open {
    link: Link,
    send: SendStream,
    control: FrameReader,
    route: Route,
}

type Frames = SelectAll<BoxStream<'static, Result<Frame<Vec<u8>>, StreamError>>>;

/// Why a subscription is served no longer.
enum End {
    /// The application is gone.
    Dropped,
    /// Another one may do better.
    Again(String, Option<Duration>),
    Over(SubscribeError),
}

impl Session {
    pub(super) fn new(
        client: Client,
        subscribe: Subscribe,
        credit: Arc<Credit>,
        retry_timeout: Duration,
    ) -> Self {
        Self {
            client,
            subscribe,
            credit,
            retry_timeout,
            delivered: Cursors::default(),
        }
    }

    /// Subscribes for the first time, and starts the task.
    pub(super) async fn open(mut self) -> Result<Subscriber, SubscribeError> {
        let link = self.client.consume_link().await?;
        let (open, partitions) = match self.subscribe_on(link).await {
            Ok(begun) => begun,
            Err(End::Over(error)) => return Err(error),
            Err(End::Again(reason, _)) => return Err(SubscribeError::Lost { reason }),
            Err(End::Dropped) => unreachable!("nobody but this call holds the subscription"),
        };
        let (sender, receiver) = mpsc::channel(DELIVERIES);
        let credit = Arc::clone(&self.credit);
        let received = self.delivered.clone();
        let task = tokio::spawn(self.run(open, sender));
        Ok(Subscriber::new(
            receiver, credit, partitions, received, task,
        ))
    }

    async fn run(mut self, first: Open, deliveries: mpsc::Sender<Delivery>) {
        let mut open = first;
        loop {
            let link = open.link.clone();
            let error = match self.serve(open, &deliveries).await {
                End::Dropped => return,
                End::Over(error) => error,
                End::Again(reason, wait) => {
                    tracing::info!("a subscriber reconnects: {reason}");
                    let tries_for = self.retry_timeout;
                    // An application that has not taken in what came before waits for nothing.
                    let _ = deliveries.try_send(Delivery::Away(Away { reason, tries_for }));
                    match self.resubscribe(wait, &deliveries).await {
                        Ok(Some(reopened)) => {
                            let _ = deliveries.try_send(Delivery::Back);
                            open = reopened;
                            continue;
                        }
                        Ok(None) => return,
                        Err(error) => error,
                    }
                }
            };
            if let SubscribeError::Protocol { reason } = &error {
                link.refuse(reason);
            }
            // Fails only if nobody is there to be told.
            let _ = deliveries.send(Delivery::Ended(error)).await;
            return;
        }
    }

    async fn subscribe_on(&mut self, link: Link) -> Result<(Open, Vec<SubscribedPartition>), End> {
        let credit = self.credit.begin();
        let cursors = self.delivered.to_wire();
        let subscribe = Subscribe {
            resumed: !cursors.is_empty(),
            cursors,
            credit_bytes: credit.bytes,
            credit_records: credit.records,
            ..self.subscribe.clone()
        };
        let opening = link.open_lanes();
        let begin = async {
            let (send, mut control) = link.open(&subscribe, Bytes::new()).await?;
            let subscribed = control.expect::<Subscribed>().await?;
            Ok((send, control, subscribed))
        };
        let (send, control, subscribed) = timeout(self.retry_timeout, begin)
            .await
            .unwrap_or_else(|_| Err(StreamError::Lost("the broker did not reply".to_owned())))
            .map_err(ended)?;
        self.delivered
            .begin(&subscribed.partitions)
            .map_err(End::Over)?;
        let route = opening.registered(subscribed.id);
        let open = Open {
            link,
            send,
            control,
            route,
        };
        Ok((open, subscribed.partitions))
    }

    async fn serve(&mut self, open: Open, deliveries: &mpsc::Sender<Delivery>) -> End {
        let Open {
            link: _link,
            mut send,
            mut control,
            mut route,
        } = open;
        let mut frames = Frames::new();
        loop {
            let end = tokio::select! {
                lane = route.next() => match lane {
                    Some(lane) => {
                        frames.push(frames_of(lane));
                        continue;
                    }
                    None => ended(StreamError::Lost("the connection is gone".to_owned())),
                },
                Some(frame) = frames.next(), if !frames.is_empty() => {
                    match self.on_frame(frame, deliveries).await {
                        Ok(()) => continue,
                        Err(end) => end,
                    }
                }
                () = self.credit.changed.notified() => {
                    match self.grant(&mut send).await {
                        Ok(()) => continue,
                        Err(error) => ended(error),
                    }
                }
                frame = control.next() => ended(of_control(frame)),
                () = deliveries.closed() => End::Dropped,
            };
            // Of a broken connection the control stream may know more than a lane does.
            return end;
        }
    }

    async fn on_frame(
        &mut self,
        frame: Result<Frame<Vec<u8>>, StreamError>,
        deliveries: &mpsc::Sender<Delivery>,
    ) -> Result<(), End> {
        let frame = frame.map_err(ended)?;
        let delivery = match frame.kind {
            Kind::Records => self.records(frame)?,
            Kind::Progress => self.progress(&frame)?,
            kind => return Err(ended(StreamError::unexpected(kind))),
        };
        deliveries.send(delivery).await.map_err(|_| End::Dropped)
    }

    fn records(&mut self, frame: Frame<Vec<u8>>) -> Result<Delivery, End> {
        let message: subscribe::Records = decode(&frame)?;
        let advanced = self
            .delivered
            .advance(message.topic, message.partition, message.next);
        let (topic, from) = advanced.map_err(End::Over)?;
        if message.next == from {
            let reason = format!("records before offset {from} came again");
            return Err(End::Over(protocol(reason)));
        }
        self.credit.received(Amount {
            bytes: frame.payload.len() as u64,
            records: message.count.into(),
        });
        Ok(Delivery::Records(Box::new(Arrived {
            topic,
            message,
            from,
            payload: Bytes::from(frame.payload),
        })))
    }

    fn progress(&mut self, frame: &Frame<Vec<u8>>) -> Result<Delivery, End> {
        let message: subscribe::Progress = decode(frame)?;
        let advanced = self
            .delivered
            .advance(message.topic, message.partition, message.next);
        let (topic, _) = advanced.map_err(End::Over)?;
        Ok(Delivery::Progress(Progress {
            topic,
            topic_id: message.topic,
            partition: message.partition,
            next: message.next,
            end: message.end,
            filtered_out: message.filtered_out,
        }))
    }

    async fn grant(&self, send: &mut SendStream) -> Result<(), StreamError> {
        if let Some(amount) = self.credit.grant() {
            let credit = subscribe::Credit {
                bytes: amount.bytes,
                records: amount.records,
            };
            send.write_all(&credit.to_frame(0)).await?;
        }
        Ok(())
    }

    /// Subscribes again where the application's side is; `None` if the application is gone.
    async fn resubscribe(
        &mut self,
        wait: Option<Duration>,
        deliveries: &mpsc::Sender<Delivery>,
    ) -> Result<Option<Open>, SubscribeError> {
        let deadline = Instant::now() + self.retry_timeout;
        let mut redial = Redial::default();
        let mut reason = "the broker is away".to_owned();
        let retry = async {
            if let Some(wait) = wait {
                redial.failed(Some(wait)).await;
            }
            loop {
                let Some(link) = redial.attempt(self.client.consume_link()).await? else {
                    continue;
                };
                match self.subscribe_on(link.clone()).await {
                    Ok((open, _)) => return Ok(open),
                    Err(End::Over(error)) => {
                        if let SubscribeError::Protocol { reason } = &error {
                            link.refuse(reason);
                        }
                        return Err(error);
                    }
                    Err(End::Again(why, wait)) => {
                        reason = why;
                        redial.failed(wait).await;
                    }
                    Err(End::Dropped) => {}
                }
            }
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout_at(deadline, retry) => outcome,
            () = deliveries.closed() => return Ok(None),
        };
        match outcome {
            Ok(open) => open.map(Some),
            Err(_) => Err(SubscribeError::Lost { reason }),
        }
    }
}

/// The frames of a lane up to its first error; the end of a lane is none, the subscription's end
/// shows on its control stream.
fn frames_of(lane: Lane) -> BoxStream<'static, Result<Frame<Vec<u8>>, StreamError>> {
    unfold(Some(lane), |lane| async {
        let mut lane = lane?;
        match lane.next().await {
            Ok(Some(frame)) => Some((Ok(frame), Some(lane))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

fn of_control(frame: Result<Option<Frame<Vec<u8>>>, StreamError>) -> StreamError {
    match frame {
        Ok(None) => StreamError::Lost("the broker ended the subscription".to_owned()),
        Ok(Some(frame)) if frame.kind == Kind::Error => {
            fault(&frame).map_or_else(|error| error, StreamError::Fault)
        }
        Ok(Some(frame)) => StreamError::unexpected(frame.kind),
        Err(error) => error,
    }
}

fn decode<M: FrameMessage>(frame: &Frame<Vec<u8>>) -> Result<M, End> {
    frame
        .message()
        .map_err(|error| ended(StreamError::from(error)))
}

fn ended(error: StreamError) -> End {
    match error {
        StreamError::Lost(reason) => End::Again(reason, None),
        StreamError::Fault(fault) if fault.is_retryable() => {
            End::Again(fault.message, fault.retry_after)
        }
        StreamError::Fault(fault) => End::Over(SubscribeError::Refused(fault)),
        StreamError::Violation(reason) => End::Over(protocol(reason)),
    }
}
