//! Tickets: futures of outcomes. The records of a batch share one completion, so that a ticket
//! costs a reference count and an index.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::error::PublishError;
use super::outcome::{Outcomes, RecordOutcome};

/// Where the outcome of a request arrives.
#[derive(Debug, Default)]
pub(super) struct Completion {
    result: OnceLock<Result<Outcomes, PublishError>>,
    /// Who waits, by index: no more than the batch has records.
    waiting: Mutex<HashMap<u32, Waker>>,
}

/// The key under which the ticket of a whole batch waits; no record has it.
const WHOLE: u32 = u32::MAX;

impl Completion {
    /// The outcome is there; a second one does not count.
    pub(super) fn resolve(&self, result: Result<Outcomes, PublishError>) {
        if self.result.set(result).is_ok() {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let wakers = std::mem::take(&mut *waiting);
            drop(waiting);
            wakers.into_values().for_each(Waker::wake);
        }
    }

    fn poll(&self, key: u32, cx: &Context<'_>) -> Poll<&Result<Outcomes, PublishError>> {
        if let Some(result) = self.result.get() {
            return Poll::Ready(result);
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have been resolved before the lock was taken: then nobody would wake us.
        if let Some(result) = self.result.get() {
            return Poll::Ready(result);
        }
        match waiting.get_mut(&key) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => drop(waiting.insert(key, cx.waker().clone())),
        }
        Poll::Pending
    }
}

/// The future outcome of one record. Dropping it changes nothing for the record.
#[derive(Debug)]
#[must_use = "a ticket tells whether the record was stored"]
pub struct Ticket {
    pub(super) completion: Arc<Completion>,
    pub(super) index: u32,
}

impl Ticket {
    /// The record's place in its request, from 0: what [`Fault::record`] of a refusal counts.
    ///
    /// [`Fault::record`]: weir_wire::error::Fault::record
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.index
    }

    /// The outcome, if it is there already.
    #[must_use]
    pub fn outcome(&self) -> Option<Result<RecordOutcome, PublishError>> {
        let result = self.completion.result.get()?;
        Some(of_record(result, self.index))
    }
}

impl Future for Ticket {
    type Output = Result<RecordOutcome, PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let index = self.index;
        self.completion
            .poll(index, cx)
            .map(|result| of_record(result, index))
    }
}

fn of_record(
    result: &Result<Outcomes, PublishError>,
    index: u32,
) -> Result<RecordOutcome, PublishError> {
    result.clone().map(|outcomes| {
        outcomes
            .record(index)
            .expect("an outcome has as many records as its request: Outcomes::new() checked it")
    })
}

/// The future outcomes of a batch that was prepared by the application.
#[derive(Debug)]
#[must_use = "a ticket tells whether the records were stored"]
pub struct BatchTicket {
    pub(super) completion: Arc<Completion>,
}

impl Future for BatchTicket {
    type Output = Result<Outcomes, PublishError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.completion.poll(WHOLE, cx).map(Clone::clone)
    }
}
