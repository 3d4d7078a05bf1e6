//! What the application holds of a producer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use weir_wire::batch::BatchHeader;
use weir_wire::id::TopicId;
use weir_wire::limits::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX};
use weir_wire::name::TopicName;
use weir_wire::produce::Ack;

use super::completion::{BatchTicket, Ticket};
use super::error::{EndReason, PublishError, SendError};
use super::outcome::RecordOutcome;
use super::shared::{OVER, Shared};
use super::stall::Stall;
use super::stats::{ProducerStats, Summary};
use crate::record::Record;

/// Sends records to one topic, in order. Clones share it. Made by
/// [`Client::producer`](crate::Client::producer).
///
/// Close it: one that is dropped while it holds records abandons them, says so in the log, and
/// their tickets get an error.
#[derive(Clone, Debug)]
pub struct Producer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    topic: TopicName,
    topic_id: TopicId,
    partitions: u32,
    placement_by_plugin: bool,
    one_way: bool,
    /// A batch was filled: the next `send` lets the session run before it goes on, so that an
    /// application that never waits cannot starve the connection it sends on.
    yield_first: AtomicBool,
    _session: AbortOnDropHandle<()>,
}

impl Producer {
    pub(super) fn new(
        shared: Arc<Shared>,
        (topic, topic_id): (TopicName, TopicId),
        partitions: u32,
        placement_by_plugin: bool,
        session: JoinHandle<()>,
    ) -> Self {
        let one_way = shared.queue().options().ack == Ack::None;
        Self {
            inner: Arc::new(Inner {
                shared,
                topic,
                topic_id,
                partitions,
                placement_by_plugin,
                one_way,
                yield_first: AtomicBool::new(false),
                _session: AbortOnDropHandle::new(session),
            }),
        }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &TopicName {
        &self.inner.topic
    }

    /// The topic's id: one that is deleted and made again has another.
    #[must_use]
    pub fn topic_id(&self) -> TopicId {
        self.inner.topic_id
    }

    /// How many partitions the topic had when the producer was opened.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.inner.partitions
    }

    /// Whether a plugin placed the topic's records when the producer was opened.
    #[must_use]
    pub fn placement_by_plugin(&self) -> bool {
        self.inner.placement_by_plugin
    }

    /// Sends a record and waits for its outcome.
    pub async fn publish(&self, record: Record) -> Result<RecordOutcome, PublishError> {
        self.send(record).await?.await
    }

    /// Sends a record; waits only while the byte budget is used up. The ticket is the future of
    /// its outcome. Cancelled before it is ready, the record is not sent.
    pub async fn send(&self, record: Record) -> Result<Ticket, SendError> {
        self.refuse_one_way()?;
        self.push(record).await
    }

    /// Sends a record if the byte budget has room for it.
    pub fn try_send(&self, record: &Record) -> Result<Ticket, SendError> {
        self.refuse_one_way()?;
        self.try_push(record)
    }

    /// Sends a record and forgets it; waits only while the byte budget is used up. What becomes
    /// of it shows in [`Self::stats`] alone, with [`Ack::None`] not even there.
    pub async fn send_one_way(&self, record: Record) -> Result<(), SendError> {
        self.push(record).await.map(drop)
    }

    /// Sends a record batch (format v2) that the application prepared, behind all records sent
    /// before. Its bytes are not copied.
    pub async fn send_batch(&self, batch: impl Into<Bytes>) -> Result<BatchTicket, SendError> {
        let batch = batch.into();
        self.refuse_one_way()?;
        self.push_batch(batch).await
    }

    /// The same without an outcome to come.
    pub async fn send_batch_one_way(&self, batch: impl Into<Bytes>) -> Result<(), SendError> {
        self.push_batch(batch.into()).await.map(drop)
    }

    /// Sends what waits for more records, and waits until everything sent so far has an outcome
    /// (with [`Ack::None`]: is handed to the connection).
    pub async fn flush(&self) {
        let target = self.inner.shared.queue().flush();
        self.inner.shared.wake.notify_one();
        self.wait_for(target).await;
    }

    /// Takes no more records, waits until all have an outcome, and ends the producer.
    ///
    /// # Errors
    /// When the producer had ended by itself before; [`Self::stats`] has the counts all the same.
    pub async fn close(&self) -> Result<Summary, EndReason> {
        let shared = &self.inner.shared;
        shared.queue().close();
        shared.closing.cancel();
        shared.wake.notify_one();
        self.wait_for(OVER).await;
        // The lock must be free again before the counts are taken.
        let reason = shared.queue().end_reason().cloned();
        match reason {
            None | Some(EndReason::Closed) => Ok(self.stats().outcomes),
            Some(reason) => Err(reason),
        }
    }

    /// What keeps it from going on for now: no connection, or a broker that refuses for the time
    /// being. It tries again by itself, this is for people who wait.
    #[must_use]
    pub fn stall(&self) -> Option<Stall> {
        self.inner.shared.queue().stall(Instant::now())
    }

    /// What the producer has done so far.
    #[must_use]
    pub fn stats(&self) -> ProducerStats {
        self.inner.shared.queue().stats()
    }

    fn refuse_one_way(&self) -> Result<(), SendError> {
        if self.inner.one_way {
            return Err(SendError::OneWay);
        }
        Ok(())
    }

    async fn wait_for(&self, target: u64) {
        let mut done = self.inner.shared.done.subscribe();
        // The sender lives in `shared`, so it outlasts this wait.
        let _ = done.wait_for(|done| *done >= target).await;
    }

    async fn push(&self, record: Record) -> Result<Ticket, SendError> {
        self.yield_if_due().await;
        loop {
            match self.try_push(&record) {
                Err(SendError::Full { .. }) => {}
                other => return other,
            }
            // Once more with the ear at the door, else room made in between is not heard.
            let room = self.inner.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.try_push(&record) {
                Err(SendError::Full { .. }) => room.await,
                other => return other,
            }
        }
    }

    fn try_push(&self, record: &Record) -> Result<Ticket, SendError> {
        let (pushed, filled) = self.inner.shared.push(record)?;
        if filled {
            self.inner.yield_first.store(true, Ordering::Relaxed);
        }
        Ok(Ticket {
            completion: pushed.completion,
            index: pushed.index,
        })
    }

    async fn push_batch(&self, batch: Bytes) -> Result<BatchTicket, SendError> {
        let count = records_of(&batch)?;
        self.yield_if_due().await;
        loop {
            let room = self.inner.shared.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            match self.try_push_batch(&batch, count) {
                Err(SendError::Full { .. }) => room.await,
                other => return other,
            }
        }
    }

    fn try_push_batch(&self, batch: &Bytes, count: u32) -> Result<BatchTicket, SendError> {
        let shared = &self.inner.shared;
        let pushed = shared
            .queue()
            .push_batch(batch.clone(), count, Instant::now());
        let (completion, sealed) = pushed?;
        if let Some(sealed) = sealed {
            shared.encode(sealed);
        }
        shared.wake.notify_one();
        self.inner.yield_first.store(true, Ordering::Relaxed);
        Ok(BatchTicket { completion })
    }

    async fn yield_if_due(&self) {
        if self.inner.yield_first.load(Ordering::Relaxed) {
            self.inner.yield_first.store(false, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }
}

/// How many records a prepared batch has; the broker checks everything else.
fn records_of(batch: &[u8]) -> Result<u32, SendError> {
    if batch.len() > BATCH_BYTES_MAX {
        return Err(SendError::TooLarge {
            bytes: batch.len(),
            max: BATCH_BYTES_MAX,
        });
    }
    let invalid = |reason: String| SendError::InvalidBatch { reason };
    let header = BatchHeader::parse(batch).map_err(|error| invalid(error.to_string()))?;
    if header.total_len != batch.len() {
        let reason = format!("its header says {} bytes", header.total_len);
        return Err(invalid(reason));
    }
    if !(1..=BATCH_RECORDS_MAX).contains(&header.count) {
        return Err(invalid(format!("it holds {} records", header.count)));
    }
    Ok(header.count)
}

impl Drop for Inner {
    fn drop(&mut self) {
        let unanswered = self.shared.queue().unanswered();
        if unanswered > 0 {
            tracing::warn!(
                topic = %self.topic,
                records = unanswered,
                "a producer was dropped with records that have no outcome; close() it first"
            );
        }
        self.shared.end(EndReason::Dropped);
    }
}
