//! Committing: a block is written, synced, shown to readers and told to who waits, in this order.
//! The log's thread drives this; simulations drive it directly, without a thread.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use weir_wire::id::{Offset, TopicPartition};

use crate::archive::{Archiver, CompactionJob, Feed, Noted};
use crate::config::{Bug, LogConfig};
use crate::entry::Entry;
use crate::error::LogError;
use crate::index::Index;
use crate::machine::StateMachine;
use crate::open::Recovered;
use crate::reader::LogReader;
use crate::wal::{Block, Files, Shown, Wal, Written};

/// How long a planted bug leaves a block answered but not synced: long enough for a kill to fall
/// into it.
const TOO_EARLY: Duration = Duration::from_millis(1);

/// An entry, and what the sink gets back when it is durable.
#[derive(Debug)]
pub struct Submission<T> {
    /// The entry.
    pub entry: Entry,
    /// Whatever tells who waits for it.
    pub token: T,
}

/// Hears of what became durable. Called on the WAL's thread, which waits for it.
pub trait CommitSink<T>: Send + 'static {
    /// A block is durable and readers see it.
    fn committed(&mut self, block: CommittedBlock<'_, T>);
    /// The log failed: whether these entries are durable is unknown, and nothing more is written.
    fn failed(&mut self, error: &LogError, tokens: Vec<T>);
}

/// A block that became durable.
#[derive(Debug)]
pub struct CommittedBlock<'a, T> {
    /// The partitions that records were appended to.
    pub partitions: &'a [TopicPartition],
    /// The tokens of its entries, in order.
    pub tokens: Vec<T>,
    /// Its bytes on disk.
    pub bytes: usize,
    /// How long the sync took.
    pub sync_time: Duration,
}

/// A log without queue and thread: every call does its work before it returns, in a fixed order
/// of steps. [`Log`](crate::Log) is this with a thread around it.
pub struct Committer<T> {
    wal: Wal,
    index: Arc<RwLock<Index>>,
    files: Arc<Files>,
    feed: Arc<Feed>,
    reader: LogReader,
    sink: Box<dyn CommitSink<T>>,
    archive: Archive,
    failed: Option<LogError>,
}

/// Who moves batches out of the WAL.
#[derive(Debug)]
enum Archive {
    /// Whoever drives this.
    Driven(Box<Archiver>),
    /// A thread, which takes blocks from here.
    Thread,
}

impl<T> std::fmt::Debug for Committer<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("wal", &self.wal)
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl<T: 'static> Committer<T> {
    /// Starts a log that was read.
    #[must_use]
    pub fn start<M: StateMachine>(recovered: Recovered<M>, sink: Box<dyn CommitSink<T>>) -> Self {
        let (mut committer, archiver) = Self::apart(recovered, sink);
        committer.archive = Archive::Driven(Box::new(archiver));
        committer
    }

    /// The same, with the archiver for a thread of its own.
    pub(crate) fn apart<M: StateMachine>(
        recovered: Recovered<M>,
        sink: Box<dyn CommitSink<T>>,
    ) -> (Self, Archiver) {
        let Recovered {
            wal,
            seed,
            reader,
            machine,
            ..
        } = recovered;
        let feed = Arc::new(Feed::default());
        let committer = Self {
            wal,
            index: seed.index.clone(),
            files: seed.files.clone(),
            feed: feed.clone(),
            reader,
            sink,
            archive: Archive::Thread,
            failed: None,
        };
        (committer, Archiver::new(seed, machine, feed))
    }

    /// Does one thing for the archiver: takes in what was committed, writes segments, gives a
    /// file back. Answers whether there was anything to do.
    ///
    /// # Errors
    /// When the disk fails, and always after it did; when it is full ([`LogError::is_disk_full`]),
    /// it may be tried again.
    pub fn archive(&mut self) -> Result<bool, LogError> {
        self.with_archiver(|archiver| archiver.step(true))
    }

    /// Moves everything that is durable into segments and checkpoints.
    ///
    /// # Errors
    /// As those of [`Committer::archive`].
    pub fn flush(&mut self) -> Result<(), LogError> {
        self.with_archiver(Archiver::flush)
    }

    /// Asks for a partition to be compacted, by the next steps of the archiver. Refuses when too
    /// many wait.
    pub fn compact(&mut self, job: CompactionJob) -> bool {
        match &self.archive {
            Archive::Driven(archiver) => archiver.compactions().add(job),
            Archive::Thread => false,
        }
    }

    /// Below this offset the partition was compacted.
    pub fn compacted_to(&self, partition: TopicPartition) -> Offset {
        match &self.archive {
            Archive::Driven(archiver) => archiver.compactions().compacted_to(partition),
            Archive::Thread => Offset::ZERO,
        }
    }

    /// The log ends: states on disk what is durable, so that it will be missed if it is gone.
    ///
    /// # Errors
    /// As those of [`Committer::archive`].
    pub fn end(&mut self) -> Result<(), LogError> {
        self.seal()?;
        self.with_archiver(Archiver::end)
    }

    fn with_archiver<R: Default>(
        &mut self,
        act: impl FnOnce(&mut Archiver) -> Result<R, LogError>,
    ) -> Result<R, LogError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let Archive::Driven(archiver) = &mut self.archive else {
            return Ok(R::default());
        };
        let done = act(archiver);
        if let Err(error) = &done
            && !error.is_disk_full()
        {
            self.failed = Some(error.clone());
        }
        done
    }

    /// Makes room for a block of these entries, where no thread does.
    fn make_room(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        while !self.has_room(entries) {
            let done = self.with_archiver(|archiver| archiver.step(false));
            match done {
                Ok(true) => {}
                // The WAL says what is wrong, or waits for the thread.
                Ok(false) => return Ok(()),
                // Without room for segments, more may wait in the WAL.
                Err(error) if error.is_disk_full() && self.has_room(entries) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn has_room(&self, entries: &[Entry]) -> bool {
        self.feed.has_room() && self.wal.has_room(entries)
    }

    /// Makes these entries durable as one block and tells the sink.
    ///
    /// # Errors
    /// When the disk fails, and always after it did; the sink is told which entries that concerns.
    ///
    /// # Panics
    /// When the entries do not fit a file; [`Log`](crate::Log) refuses and splits before.
    pub fn commit(&mut self, submissions: Vec<Submission<T>>) -> Result<(), LogError> {
        let (entries, tokens) = submissions
            .into_iter()
            .map(|submission| (submission.entry, submission.token))
            .unzip();
        self.commit_block(entries, tokens)
            .map_err(|(error, tokens)| {
                self.fail(&error, tokens);
                error
            })
    }

    /// States on disk that the last block is durable, unless that is stated already.
    ///
    /// # Errors
    /// When the disk fails, and always after it did.
    pub fn seal(&mut self) -> Result<(), LogError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None if self.wal.wants_seal() => self.try_seal().inspect_err(|error| {
                self.failed = Some(error.clone());
            }),
            None => Ok(()),
        }
    }

    fn try_seal(&mut self) -> Result<(), LogError> {
        self.make_room(&[])?;
        let written = self.wal.seal()?;
        self.feed.push(Noted::from(&written));
        Ok(())
    }

    /// Reads what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    pub(crate) fn files(&self) -> Arc<Files> {
        self.files.clone()
    }

    pub(crate) fn wants_seal(&self) -> bool {
        self.wal.wants_seal()
    }

    /// Whether committing this entry needs no new file: then only the disk is waited for.
    pub(crate) fn is_ready_for(&self, entry: &Entry) -> bool {
        self.failed.is_none() && self.wal.has_room_for(entry)
    }

    pub(crate) fn config(&self) -> &LogConfig {
        self.wal.config()
    }

    /// Nothing more is written, and whoever waits hears why.
    pub(crate) fn fail(&mut self, error: &LogError, tokens: Vec<T>) {
        tracing::error!(%error, "the log failed; nothing more is written");
        self.failed = Some(error.clone());
        self.sink.failed(error, tokens);
    }

    pub(crate) fn commit_block(
        &mut self,
        entries: Vec<Entry>,
        tokens: Vec<T>,
    ) -> Result<(), (LogError, Vec<T>)> {
        let failed = self.failed.clone().or_else(|| self.feed.failure());
        if let Some(error) = failed {
            return Err((error, tokens));
        }
        if let Err(error) = self.make_room(&entries) {
            return Err((error, tokens));
        }
        let written = match self.wal.write(entries) {
            Ok(written) => written,
            Err(error) => return Err((error, tokens)),
        };
        let config = self.wal.config();
        if config.plants(Bug::AckBeforeFsync) || config.plants(Bug::PublishBeforeFsync) {
            return self.commit_too_early(written, tokens);
        }
        let sync_time = match self.wal.sync(written.pending) {
            Ok(time) => time,
            Err(error) => return Err((error, tokens)),
        };
        let bytes = written.block.bytes;
        let noted = Noted::from(&written);
        let mut block = written.block;
        let partitions = std::mem::take(&mut block.partitions);
        self.publish(block);
        // The archiver looks for batches where readers do. And whoever hears of a block may ask
        // for a flush of it.
        self.feed.push(noted);
        self.sink.committed(CommittedBlock {
            partitions: &partitions,
            tokens,
            bytes,
            sync_time,
        });
        Ok(())
    }

    fn publish(&self, block: Block) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        for shown in block.into_shown() {
            match shown {
                Shown::Added(added) => index.add(added),
                Shown::Trimmed(at, start) => index.trim(at, start),
            }
        }
    }

    /// The planted bugs: what follows the sync comes before it.
    fn commit_too_early(
        &mut self,
        mut written: Written,
        tokens: Vec<T>,
    ) -> Result<(), (LogError, Vec<T>)> {
        let bytes = written.block.bytes;
        let partitions = std::mem::take(&mut written.block.partitions);
        let unsynced = written.pending;
        let noted = Noted::from(&written);
        self.publish(written.block);
        let mut late = tokens;
        let tokens = if self.wal.config().plants(Bug::AckBeforeFsync) {
            std::mem::take(&mut late)
        } else {
            Vec::new()
        };
        let begun = Instant::now();
        self.sink.committed(CommittedBlock {
            partitions: &partitions,
            tokens,
            bytes,
            sync_time: begun.elapsed(),
        });
        std::thread::sleep(TOO_EARLY);
        if let Err(error) = self.wal.sync(unsynced) {
            return Err((error, late));
        }
        self.feed.push(noted);
        if !late.is_empty() {
            self.sink.committed(CommittedBlock {
                partitions: &[],
                tokens: late,
                bytes: 0,
                sync_time: begun.elapsed(),
            });
        }
        Ok(())
    }
}
