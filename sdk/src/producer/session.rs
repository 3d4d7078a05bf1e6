//! The task of a producer: writes what the queue says, reads replies, finds a new connection when
//! the old one breaks.

use std::sync::Arc;

use bytes::Bytes;
use quinn::{SendStream, VarInt};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::frame::Kind;
use weir_wire::name::TopicName;
use weir_wire::produce::{Ack, OpenProducer, Produced, ProducerOpened, ProducerSession};

use super::error::EndReason;
use super::queue::{Reply, Resume, Step};
use super::shared::{OVER, Shared};
use crate::client::Client;
use crate::connection::{FrameReader, Link, StreamError, fault};
use crate::redial::Redial;

/// The stream is given up; the broker may forget what it has not read of it.
const RESET_CODE: VarInt = VarInt::from_u32(0);

pub(super) struct Session {
    client: Client,
    topic: TopicName,
    shared: Arc<Shared>,
}

/// A produce stream behind its `ProducerOpened`.
pub(super) struct Stream {
    send: SendStream,
    receive: FrameReader,
    link: Link,
}

/// Why a stream is served no longer.
enum End {
    Finished,
    /// The way to the broker is lost.
    Lost(String),
    /// The broker is there, and a new stream may do better.
    Again(String),
    Over(EndReason),
}

/// Asks for a produce stream.
pub(super) async fn open(
    client: &Client,
    topic: &TopicName,
    session: Option<ProducerSession>,
    link: Link,
) -> Result<(Stream, ProducerOpened), StreamError> {
    let open = OpenProducer {
        topic: topic.clone(),
        session,
    };
    let stream = async {
        let (send, mut receive) = link.open(&open, Bytes::new()).await?;
        let opened = receive.expect::<ProducerOpened>().await?;
        Ok((send, receive, opened))
    };
    let (send, receive, opened) = timeout(client.retry_timeout(), stream)
        .await
        .unwrap_or_else(|_| Err(StreamError::Lost("the broker did not reply".to_owned())))?;
    let stream = Stream {
        send,
        receive,
        link,
    };
    Ok((stream, opened))
}

impl Session {
    pub(super) const fn new(client: Client, topic: TopicName, shared: Arc<Shared>) -> Self {
        Self {
            client,
            topic,
            shared,
        }
    }

    pub(super) async fn run(self, first: Stream) {
        let mut stream = first;
        let reason = loop {
            let (lost, reason) = match self.serve(&mut stream).await {
                End::Finished => {
                    self.finish(stream).await;
                    break EndReason::Closed;
                }
                End::Over(reason) => break reason,
                End::Lost(reason) => (Some(reason.clone()), reason),
                End::Again(reason) => (None, reason),
            };
            tracing::info!(topic = %self.topic, "the producer reconnects: {reason}");
            let _ = stream.send.reset(RESET_CODE);
            drop(stream);
            self.shared.queue().disconnected(lost);
            match self.reopen().await {
                Ok(Some(reopened)) => stream = reopened,
                Ok(None) => break EndReason::Closed,
                Err(reason) => break reason,
            }
        };
        self.shared.end(reason);
    }

    async fn serve(&self, stream: &mut Stream) -> End {
        let end = tokio::select! {
            end = self.write(&mut stream.send) => end,
            end = self.read(&mut stream.receive) => end,
        };
        if let End::Over(EndReason::Protocol { reason }) = &end {
            stream.link.refuse(reason);
        }
        end
    }

    async fn write(&self, send: &mut SendStream) -> End {
        let one_way = self.shared.queue().options().ack == Ack::None;
        loop {
            let now = Instant::now();
            let step = self
                .shared
                .settle(|queue, resolved| queue.next_step(now, resolved));
            match step {
                Step::Encode(sealed) => self.shared.encode(sealed),
                Step::Write { head, payload } => {
                    if let Err(error) = send.write_all_chunks(&mut [head, payload]).await {
                        // The reader may know more: the broker says why before it stops us.
                        return self.lost(StreamError::from(error));
                    }
                    if one_way {
                        let now = Instant::now();
                        self.shared.settle(|queue, _| queue.written(now));
                        self.shared.room.notify_waiters();
                    }
                }
                Step::Wait => self.shared.wake.notified().await,
                Step::WaitUntil(at) => tokio::select! {
                    () = self.shared.wake.notified() => {}
                    () = sleep_until(at) => {}
                },
                Step::GiveUp => {
                    self.shared
                        .settle(|queue, resolved| queue.give_up(resolved));
                    return End::Again("the broker gave no outcome in time".to_owned());
                }
                Step::Finish => return End::Finished,
            }
        }
    }

    async fn read(&self, receive: &mut FrameReader) -> End {
        loop {
            let frame = match receive.next().await {
                Ok(Some(frame)) => frame,
                Ok(None) => return End::Lost("the broker ended the stream".to_owned()),
                Err(error) => return self.lost(error),
            };
            match frame.kind {
                Kind::Produced => {}
                Kind::Error => {
                    let error = fault(&frame).map_or_else(|error| error, StreamError::Fault);
                    return self.lost(error);
                }
                kind => return self.lost(StreamError::unexpected(kind)),
            }
            let produced = match frame.message::<Produced>() {
                Ok(produced) => produced,
                Err(error) => return self.lost(error.into()),
            };
            let now = Instant::now();
            let reply = self
                .shared
                .settle(|queue, resolved| queue.on_reply(produced, now, resolved));
            match reply {
                Reply::Taken => {}
                Reply::SessionOver(fault) => return self.lost(StreamError::Fault(fault)),
                Reply::Violation(reason) => return End::Over(EndReason::Protocol { reason }),
            }
            // It may have been what the writer waits for.
            self.shared.wake.notify_one();
        }
    }

    /// What the end of a stream means for the producer.
    fn lost(&self, error: StreamError) -> End {
        match error {
            StreamError::Lost(reason) => End::Lost(reason),
            StreamError::Fault(fault) if fault.code == ErrorCode::ShuttingDown => {
                End::Lost(fault.message)
            }
            StreamError::Fault(fault) if fault.is_retryable() => {
                self.shared.queue().held_up(fault.message.clone());
                End::Again(fault.message)
            }
            StreamError::Fault(fault) if fault.code == ErrorCode::UnknownProducer => {
                self.shared
                    .settle(|queue, resolved| queue.session_forgotten(resolved));
                End::Again(fault.message)
            }
            StreamError::Fault(fault) => End::Over(EndReason::Refused(fault)),
            StreamError::Violation(reason) => End::Over(EndReason::Protocol { reason }),
        }
    }

    /// Finds a new stream; `None` if the producer is to end and holds nothing.
    async fn reopen(&self) -> Result<Option<Stream>, EndReason> {
        let mut redial = Redial::default();
        loop {
            let give_up_at = {
                let queue = self.shared.queue();
                if queue.is_finished() {
                    return Ok(None);
                }
                queue.gives_up_at()
            };
            if give_up_at.is_some_and(|at| at <= Instant::now()) {
                self.shared
                    .settle(|queue, resolved| queue.give_up(resolved));
                continue;
            }
            let closing = &self.shared.closing;
            let was_closing = closing.is_cancelled();
            tokio::select! {
                stream = until(give_up_at, self.try_reopen(&mut redial)) => match stream {
                    Some(Ok(Some(stream))) => return Ok(Some(stream)),
                    Some(Err(reason)) => return Err(reason),
                    Some(Ok(None)) | None => {}
                },
                // An idle producer that is closed does not wait for a broker.
                () = closing.cancelled(), if !was_closing => {}
            }
        }
    }

    /// One attempt; `None` if it failed and another may do better.
    async fn try_reopen(&self, redial: &mut Redial) -> Result<Option<Stream>, EndReason> {
        let link = redial.attempt(self.client.produce_link()).await;
        let Some(link) = link.map_err(EndReason::Connect)? else {
            self.shared.queue().unreachable();
            return Ok(None);
        };
        let session = self.shared.queue().session();
        match open(&self.client, &self.topic, session, link.clone()).await {
            Ok((stream, opened)) => {
                let now = Instant::now();
                let resume = self.shared.settle(|queue, _| queue.opened(opened, now));
                match resume {
                    Ok(Resume::Old | Resume::New) => {
                        self.shared.queue().stats.reconnects += 1;
                        Ok(Some(stream))
                    }
                    Err(reason) => Err(reason),
                }
            }
            Err(error) => {
                let wait = retry_after(&error);
                let lost = match self.lost(error) {
                    End::Over(reason) => {
                        if let EndReason::Protocol { reason } = &reason {
                            link.refuse(reason);
                        }
                        return Err(reason);
                    }
                    End::Lost(reason) => Some(reason),
                    End::Again(_) | End::Finished => None,
                };
                self.shared.queue().disconnected(lost);
                redial.failed(wait).await;
                Ok(None)
            }
        }
    }

    /// Ends the stream in order. One-way requests have no reply that would tell of their arrival.
    async fn finish(&self, mut stream: Stream) {
        let _ = stream.send.finish();
        if self.shared.queue().options().ack == Ack::None {
            let _ = timeout(self.client.retry_timeout(), stream.send.stopped()).await;
        }
    }
}

const fn retry_after(error: &StreamError) -> Option<std::time::Duration> {
    match error {
        StreamError::Fault(Fault { retry_after, .. }) => *retry_after,
        _ => None,
    }
}

async fn until<T>(at: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match at {
        Some(at) => timeout_at(at, future).await.ok(),
        None => Some(future.await),
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Also when the task is aborted: nobody may wait for ever.
        self.shared.end(EndReason::Dropped);
        self.shared.done.send_replace(OVER);
    }
}
