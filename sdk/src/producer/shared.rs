//! What handle and session share: the queue behind its lock, and who is to be told of changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::{EndReason, SendError};
use super::queue::{Options, Payload, Pushed, Queue, Resolved, Sealed};
use crate::record::Record;

#[derive(Debug)]
pub(super) struct Shared {
    queue: Mutex<Queue>,
    /// The session has something new to do.
    pub(super) wake: Notify,
    /// There is room in the budget again.
    pub(super) room: Notify,
    /// Requests before that ordinal are done; [`OVER`] when the session is.
    pub(super) done: watch::Sender<u64>,
    pub(super) closing: CancellationToken,
}

/// No request has this ordinal: the session has ended.
pub(super) const OVER: u64 = u64::MAX;

impl Shared {
    pub(super) fn new(options: Options) -> Arc<Self> {
        Arc::new(Self {
            queue: Mutex::new(Queue::new(options)),
            wake: Notify::new(),
            room: Notify::new(),
            done: watch::Sender::new(0),
            closing: CancellationToken::new(),
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a record; encodes the batch that it filled, if it filled one.
    pub(super) fn push(&self, record: &Record) -> Result<(Pushed, bool), SendError> {
        let timestamp = crate::clock::timestamp();
        let mut pushed = self.queue().push(record, timestamp, Instant::now())?;
        let sealed = pushed.sealed.take();
        let filled = sealed.is_some();
        if let Some(sealed) = sealed {
            self.encode(sealed);
        }
        if pushed.wake || filled {
            self.wake.notify_one();
        }
        Ok((pushed, filled))
    }

    /// Encodes a batch outside of the lock and puts it back in its place.
    pub(super) fn encode(&self, sealed: Sealed) {
        let compression = self.queue().options().compression;
        let payload = match sealed.builder.finish(compression) {
            Ok(batch) => Payload::Ready(Bytes::from(batch)),
            Err(error) => Payload::Failed(error.to_string()),
        };
        self.queue().fill(sealed.ordinal, payload);
    }

    /// Changes the queue, then tells everyone what that settled.
    pub(super) fn settle<T>(&self, change: impl FnOnce(&mut Queue, &mut Vec<Resolved>) -> T) -> T {
        let mut resolved = Vec::new();
        let mut queue = self.queue();
        let answer = change(&mut queue, &mut resolved);
        let done = queue.done_to();
        drop(queue);
        self.done.send_if_modified(|known| {
            let changed = *known != OVER && *known < done;
            if changed {
                *known = done;
            }
            changed
        });
        if !resolved.is_empty() {
            for (completion, result) in resolved {
                completion.resolve(result);
            }
            self.room.notify_waiters();
        }
        answer
    }

    /// The producer is over; only the first reason counts.
    pub(super) fn end(&self, reason: EndReason) {
        self.settle(|queue, resolved| queue.end(reason, resolved));
        self.room.notify_waiters();
    }
}
