//! Records that the broker stores by itself, for nobody who could send them again: dead letters of
//! subscriptions.

use tokio::sync::oneshot;
use weir_core::place::Part;
use weir_core::shard::ProduceRequest;
use weir_log::{Entry, Log, PageBuf, Submission};
use weir_wire::error::Fault;

use crate::clock;
use crate::commit::Token;
use crate::fault::IntoFault;
use crate::metrics::Metrics;
use crate::sequence::{Command, ending, operations, submit_fault};
use crate::state::Shared;

/// Where the answer goes once the records have their place.
pub(crate) type Reply = oneshot::Sender<Result<Stored, Fault>>;
/// Tells when the records are durable.
pub(crate) type Stored = oneshot::Receiver<Result<(), Fault>>;

/// Who waits for records to be durable.
#[derive(Debug)]
pub(crate) struct Appended {
    records: u64,
    bytes: u64,
    logged: oneshot::Sender<Result<(), Fault>>,
}

/// Stores batches in one entry; returns once that is durable.
pub(crate) async fn append(shared: &Shared, parts: Vec<Part>) -> Result<(), Fault> {
    let (reply, answer) = oneshot::channel();
    let command = Command::Append { parts, reply };
    shared.sequencer.send(command).await.map_err(|_| ending())?;
    let stored = answer.await.map_err(|_| ending())??;
    stored.await.map_err(|_| ending())?
}

/// Gives the batches their place in the log. No hook runs on them.
pub(crate) fn sequence(shared: &Shared, log: &Log<Token>, parts: &[Part], reply: Reply) {
    // Whoever asked may have gone.
    drop(reply.send(submit(shared, log, parts)));
}

fn submit(shared: &Shared, log: &Log<Token>, parts: &[Part]) -> Result<Stored, Fault> {
    let request = ProduceRequest {
        hooks_of: None,
        turn: None,
        parts,
    };
    let plan = shared.shard.read().plan(clock::now(), &request);
    let plan = plan.map_err(IntoFault::into_fault)?;
    let no_batch = PageBuf::with_capacity(0);
    let (ops, bytes) = operations(&request, no_batch, &plan, &bytes::Bytes::new());
    let entry = Entry { ops };
    log.check(&entry).map_err(|error| submit_fault(&error))?;
    let (logged, stored) = oneshot::channel();
    let token = Token::Append(Appended {
        records: parts.iter().map(|part| u64::from(part.count)).sum(),
        bytes,
        logged,
    });
    let submitted = log.submit(Submission { entry, token });
    submitted.map_err(|error| submit_fault(&error))?;
    // Nobody is forgotten: producers have no part in this.
    let _ = shared.shard.write().commit(&request, &plan, 0);
    Ok(stored)
}

impl Appended {
    /// They are.
    pub(crate) fn done(self, metrics: &Metrics) {
        metrics.records_in.inc_by(self.records);
        metrics.bytes_in.inc_by(self.bytes);
        // Whoever asked may have gone.
        drop(self.logged.send(Ok(())));
    }

    /// It is not known whether they are.
    pub(crate) fn failed(self, fault: &Fault) {
        drop(self.logged.send(Err(fault.clone())));
    }
}
