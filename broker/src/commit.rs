//! What happens when entries are durable: records become visible, waiting clients are answered.
//! Runs on the log's own thread, after the fsync.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::{oneshot, watch};
use weir_core::change::Change;
use weir_core::dedup::FlightId;
use weir_log::{CommitSink, CommittedBlock, LogError, LogReader};
use weir_wire::error::{ErrorCode, Fault};

use crate::append::Appended;
use crate::budget::Permit;
use crate::metrics::Metrics;
use crate::producers::Producer;
use crate::tails::Tails;
use crate::trim::Trimmed;

/// Who waits for an entry.
pub(crate) enum Token {
    /// A produce request.
    Produce(Done),
    /// A change of the catalog.
    Change {
        /// The change.
        change: Box<Change>,
        /// What reads the log.
        reader: LogReader,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Change, Fault>>,
    },
    /// Batches that no producer sent.
    Append(Appended),
    /// Records to be removed.
    Trim(Trimmed),
}

/// A produce request that is done once its entry is durable.
pub(crate) struct Done {
    pub(crate) producer: Arc<Producer>,
    pub(crate) id: Option<FlightId>,
    pub(crate) outcome: Bytes,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) arrived: Instant,
    /// Given back when the entry is durable.
    pub(crate) permit: Permit,
}

/// The broker's end of the log.
pub(crate) struct Commits {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tails: Arc<Tails>,
    pub(crate) fatal: watch::Sender<Option<String>>,
}

impl CommitSink<Token> for Commits {
    fn committed(&mut self, block: CommittedBlock<'_, Token>) {
        self.metrics.blocks.inc();
        self.metrics.block_bytes.observe(block.bytes as f64);
        Metrics::observe(&self.metrics.fsync_seconds, block.sync_time);
        self.tails.wake(block.partitions.iter().copied());
        for token in block.tokens {
            self.metrics.entries.inc();
            match token {
                Token::Produce(done) => self.produced(done),
                Token::Change {
                    change,
                    reader,
                    reply,
                } => {
                    // Not before, or a crash could bring the topic back without its records.
                    if let Some(deleted) = &change.topic_deleted {
                        reader.forget(deleted.id);
                    }
                    // Whoever asked may have gone.
                    drop(reply.send(Ok(*change)));
                }
                Token::Append(appended) => appended.done(&self.metrics),
                Token::Trim(trimmed) => trimmed.done(&self.metrics),
            }
        }
    }

    fn failed(&mut self, error: &LogError, tokens: Vec<Token>) {
        let text = format!("the log failed, so it is unknown whether this was stored: {error}");
        let fault = Fault::new(ErrorCode::OutcomeUnknown, text);
        for token in tokens {
            match token {
                Token::Produce(done) => {
                    if let Some(id) = done.id {
                        done.producer.fail_from(id, &fault);
                    }
                }
                Token::Change { reply, .. } => drop(reply.send(Err(fault.clone()))),
                Token::Append(appended) => appended.failed(&fault),
                Token::Trim(trimmed) => trimmed.failed(&fault),
            }
        }
        self.fatal.send_replace(Some(error.to_string()));
    }
}

impl Commits {
    fn produced(&self, done: Done) {
        let Done {
            producer,
            id,
            outcome,
            records,
            bytes,
            arrived,
            permit,
        } = done;
        self.metrics.records_in.inc_by(records);
        self.metrics.bytes_in.inc_by(bytes);
        Metrics::observe(&self.metrics.produce_seconds, arrived.elapsed());
        drop(permit);
        if let Some(id) = id {
            producer.complete(id.sequence(), &outcome);
        }
    }
}
