//! Removing the oldest records of partitions: for retention, and for whoever asks for it. What
//! groups lose by it stands in the same entry.

use bytes::Bytes;
use tokio::sync::oneshot;
use weir_core::change::Change;
use weir_core::shard::Trim;
use weir_log::{Entry, Log, Op, Submission};
use weir_wire::error::Fault;
use weir_wire::id::PartitionId;
use weir_wire::message::Message;
use weir_wire::name::{GroupName, TopicName};

use crate::clock;
use crate::commit::Token;
use crate::fault::IntoFault;
use crate::metrics::Metrics;
use crate::sequence::{Command, ending, submit_fault};
use crate::state::Shared;

/// Partitions of one entry: with the most groups that may lose records in each, it still fits the
/// smallest log.
const TOGETHER_MAX: usize = 16;

/// Where the answer goes once the trims have their place.
pub(crate) type Reply = oneshot::Sender<Result<Gone, Fault>>;
/// Tells when the records are gone for good.
pub(crate) type Gone = oneshot::Receiver<Result<(), Fault>>;

/// What a group did not read before it went.
#[derive(Debug)]
pub(crate) struct Lost {
    topic: TopicName,
    partition: PartitionId,
    group: GroupName,
    unread: u64,
}

/// Removes records; returns once that is durable. What was removed before an error stays removed.
pub(crate) async fn trim(shared: &Shared, trims: &[Trim]) -> Result<(), Fault> {
    let mut answers = Vec::new();
    for together in trims.chunks(TOGETHER_MAX) {
        let (reply, answer) = oneshot::channel();
        let command = Command::Trim {
            trims: together.to_vec(),
            reply,
        };
        shared.sequencer.send(command).await.map_err(|_| ending())?;
        answers.push(answer);
    }
    for answer in answers {
        let gone = answer.await.map_err(|_| ending())??;
        gone.await.map_err(|_| ending())??;
    }
    Ok(())
}

/// Gives the trims their place in the log.
pub(crate) fn sequence(shared: &Shared, log: &Log<Token>, trims: &[Trim], reply: Reply) {
    let planned = match plan(shared, trims) {
        Ok(planned) => planned,
        Err(fault) => return drop(reply.send(Err(fault))),
    };
    let Planned { ops, changes, lost } = planned;
    let entry = Entry { ops };
    if let Err(error) = log.check(&entry) {
        return drop(reply.send(Err(submit_fault(&error))));
    }
    let (logged, gone) = oneshot::channel();
    let token = Token::Trim(Trimmed { lost, logged });
    let answer = match log.submit(Submission { entry, token }) {
        Ok(()) => {
            let mut shard = shared.shard.write();
            for change in &changes {
                // Nobody is forgotten: producers have no part in this.
                let _ = shard.commit_change(change);
            }
            for trim in trims {
                shared.verdicts.trim(trim.partition, trim.start);
            }
            Ok(gone)
        }
        Err(error) => {
            tracing::warn!(%error, "the log refused to remove records");
            Err(submit_fault(&error))
        }
    };
    // Whoever asked may have gone.
    drop(reply.send(answer));
}

struct Planned {
    ops: Vec<Op>,
    changes: Vec<Change>,
    lost: Vec<Lost>,
}

fn plan(shared: &Shared, trims: &[Trim]) -> Result<Planned, Fault> {
    let shard = shared.shard.read();
    let now = clock::now();
    let mut planned = Planned {
        ops: Vec::new(),
        changes: Vec::new(),
        lost: Vec::new(),
    };
    for trim in trims {
        let change = shard.plan_trim(now, *trim).map_err(IntoFault::into_fault)?;
        planned.ops.push(Op::Trim {
            partition: trim.partition,
            start: trim.start,
        });
        let Some(change) = change else { continue };
        planned.ops.push(Op::Metadata(Bytes::from(change.to_vec())));
        let topic = shard.catalog().topic(trim.partition.topic);
        if let (Some(expired), Some(topic)) = (&change.expired, topic) {
            planned.lost.extend(expired.groups.iter().map(|group| Lost {
                topic: topic.name.clone(),
                partition: expired.partition,
                group: group.group.clone(),
                unread: group.unread,
            }));
        }
        planned.changes.push(change);
    }
    Ok(planned)
}

/// Who waits for records to be gone.
#[derive(Debug)]
pub(crate) struct Trimmed {
    lost: Vec<Lost>,
    logged: oneshot::Sender<Result<(), Fault>>,
}

impl Trimmed {
    /// They are.
    pub(crate) fn done(self, metrics: &Metrics) {
        for lost in &self.lost {
            metrics.expired_unread.inc_by(lost.unread);
            tracing::warn!(
                topic = %lost.topic,
                partition = %lost.partition,
                group = %lost.group,
                records = lost.unread,
                "records were removed before a group had read them"
            );
        }
        // Whoever asked may have gone.
        drop(self.logged.send(Ok(())));
    }

    /// It is not known whether they are.
    pub(crate) fn failed(self, fault: &Fault) {
        drop(self.logged.send(Err(fault.clone())));
    }
}
