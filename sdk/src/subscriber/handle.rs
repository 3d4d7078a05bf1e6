//! What the application holds of a subscription.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;
use weir_wire::id::{Offset, PartitionId, TopicId, TopicPartition};
use weir_wire::name::TopicName;
use weir_wire::subscribe::SubscribedPartition;

use super::batch::{Arrived, Received, ReceivedBatch, ReceivedRecords};
use super::credit::{Amount, Credit};
use super::cursors::Cursors;
use super::error::SubscribeError;

/// What the session hands over.
#[derive(Debug)]
pub(super) enum Delivery {
    Records(Box<Arrived>),
    Progress(Progress),
    Away(Away),
    Back,
    /// The last one.
    Ended(SubscribeError),
}

/// What a subscription yields.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Records.
    Records(ReceivedBatch),
    /// The broker has looked further, and there was nothing to be sent.
    Progress(Progress),
    /// The subscription is interrupted, and tries to go on by itself.
    Away(Away),
    /// It goes on.
    Back,
}

/// Why a subscription is interrupted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Away {
    /// What happened.
    pub reason: String,
    /// How long it tries to go on, before it ends.
    pub tries_for: Duration,
}

/// How far the broker has looked in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The topic.
    pub topic: Arc<TopicName>,
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The next offset that will be looked at.
    pub next: Offset,
    /// The high-water mark: lag is the difference.
    pub end: Offset,
    /// Records that filters left out since the last event of this partition.
    pub filtered_out: u64,
}

/// A partition that a subscription reads, as it was when it began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionStart {
    /// The topic.
    pub topic: TopicName,
    /// The topic's id.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionId,
    /// The first offset that is looked at.
    pub start: Offset,
    /// The high-water mark.
    pub end: Offset,
}

/// Records of the topics subscribed to: a [`Stream`] of records, or [`Self::next_batch`] and
/// [`Self::next_event`] for whole batches. In order per partition. It survives lost connections;
/// an error is its end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscriber {
    deliveries: mpsc::Receiver<Delivery>,
    credit: Arc<Credit>,
    partitions: Vec<PartitionStart>,
    /// What the application has received.
    received: Cursors,
    /// The batch whose records the stream is yielding.
    open: Option<OpenBatch>,
    over: bool,
    _session: AbortOnDropHandle<()>,
}

#[derive(Debug)]
struct OpenBatch {
    records: ReceivedRecords,
    topic: Arc<TopicName>,
    at: TopicPartition,
    next: Offset,
}

impl Subscriber {
    pub(super) fn new(
        deliveries: mpsc::Receiver<Delivery>,
        credit: Arc<Credit>,
        partitions: Vec<SubscribedPartition>,
        received: Cursors,
        session: JoinHandle<()>,
    ) -> Self {
        let partitions = partitions.into_iter().map(|partition| PartitionStart {
            topic: partition.name,
            topic_id: partition.topic,
            partition: partition.partition,
            start: partition.next,
            end: partition.end,
        });
        Self {
            deliveries,
            credit,
            partitions: partitions.collect(),
            received,
            open: None,
            over: false,
            _session: AbortOnDropHandle::new(session),
        }
    }

    /// The partitions it reads, with their ends as they were when it began.
    #[must_use]
    pub fn partitions(&self) -> &[PartitionStart] {
        &self.partitions
    }

    /// The offset before which everything of that partition was received or filtered out; `None`
    /// for a partition that is not read.
    #[must_use]
    pub fn position(&self, topic: &TopicName, partition: PartitionId) -> Option<Offset> {
        self.received.get(topic, partition)
    }

    /// Whether everything was received that was there when the subscription began.
    #[must_use]
    pub fn is_caught_up(&self) -> bool {
        self.partitions.iter().all(|partition| {
            let position = self
                .received
                .get_by_id(partition.topic_id, partition.partition);
            position.is_none_or(|position| position >= partition.end)
        })
    }

    /// Whether these ends were reached, given by topic id and partition.
    #[must_use]
    pub fn is_caught_up_to(&self, ends: &HashMap<(TopicId, PartitionId), Offset>) -> bool {
        ends.iter().all(|((topic, partition), end)| {
            let position = self.received.get_by_id(*topic, *partition);
            position.is_none_or(|position| position >= *end)
        })
    }

    /// The next batch or progress; `None` after the error that ended the subscription. Records of
    /// a batch that the stream has begun to yield are not yielded again. May be cancelled.
    pub async fn next_event(&mut self) -> Option<Result<Event, SubscribeError>> {
        std::future::poll_fn(|cx| self.poll_event(cx)).await
    }

    /// The next batch; what is no records moves the positions and is passed over.
    pub async fn next_batch(&mut self) -> Option<Result<ReceivedBatch, SubscribeError>> {
        loop {
            match self.next_event().await? {
                Ok(Event::Records(batch)) => return Some(Ok(batch)),
                Ok(Event::Progress(_) | Event::Away(_) | Event::Back) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Event, SubscribeError>>> {
        self.close_open_batch();
        let event = ready!(self.poll_delivery(cx));
        if let Some(Ok(event)) = &event {
            match event {
                Event::Records(batch) => {
                    self.received
                        .follow(batch.topic(), place(batch), batch.next());
                }
                Event::Progress(progress) => self.progressed(progress),
                Event::Away(_) | Event::Back => {}
            }
        }
        Poll::Ready(event)
    }

    fn poll_delivery(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Event, SubscribeError>>> {
        if self.over {
            return Poll::Ready(None);
        }
        let event = match ready!(self.deliveries.poll_recv(cx)) {
            None => {
                self.over = true;
                return Poll::Ready(None);
            }
            Some(Delivery::Ended(error)) => Err(error),
            Some(Delivery::Progress(progress)) => Ok(Event::Progress(progress)),
            Some(Delivery::Away(away)) => Ok(Event::Away(away)),
            Some(Delivery::Back) => Ok(Event::Back),
            Some(Delivery::Records(arrived)) => {
                self.credit.consumed(Amount {
                    bytes: arrived.payload.len() as u64,
                    records: arrived.message.count.into(),
                });
                ReceivedBatch::decode(*arrived).map(Event::Records)
            }
        };
        self.over = event.is_err();
        Poll::Ready(Some(event))
    }

    fn close_open_batch(&mut self) {
        if let Some(open) = self.open.take() {
            self.received.follow(&open.topic, open.at, open.next);
        }
    }

    fn progressed(&mut self, progress: &Progress) {
        let at = TopicPartition {
            topic: progress.topic_id,
            partition: progress.partition,
        };
        self.received.follow(&progress.topic, at, progress.next);
    }
}

fn place(batch: &ReceivedBatch) -> TopicPartition {
    TopicPartition {
        topic: batch.topic_id(),
        partition: batch.partition(),
    }
}

impl Stream for Subscriber {
    type Item = Result<Received, SubscribeError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(open) = &mut this.open {
                match open.records.next() {
                    Some(Ok(record)) => {
                        let next = record.offset.next();
                        this.received.follow(&open.topic, open.at, next);
                        return Poll::Ready(Some(Ok(record)));
                    }
                    Some(Err(error)) => {
                        this.open = None;
                        this.over = true;
                        return Poll::Ready(Some(Err(error)));
                    }
                    None => this.close_open_batch(),
                }
            }
            match ready!(this.poll_delivery(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(Event::Progress(progress))) => this.progressed(&progress),
                Some(Ok(Event::Away(_) | Event::Back)) => {}
                Some(Ok(Event::Records(batch))) => {
                    this.open = Some(OpenBatch {
                        topic: Arc::clone(batch.topic()),
                        at: place(&batch),
                        next: batch.next(),
                        records: batch.into_iter(),
                    });
                }
            }
        }
    }
}
