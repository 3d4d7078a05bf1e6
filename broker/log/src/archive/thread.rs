//! The archiver's thread, and the handle to it.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_wire::id::{Offset, TopicPartition};

use super::feed::Wanted;
use super::{Archiver, CompactionJob, Compactions, Feed, Home};
use crate::error::LogError;

/// How often the thread looks around when nobody wakes it: for blocks, at the disk's free space,
/// for files to get back.
const TICK: Duration = Duration::from_millis(500);
/// How soon a full disk is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// Called when the archiver fails, so that the log stops too.
type OnFailure = Box<dyn FnOnce(&LogError) + Send>;

/// A handle to whoever keeps the log's files in order. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Maintenance {
    feed: Arc<Feed>,
    compactions: Arc<Compactions>,
}

impl Maintenance {
    pub(crate) fn new(archiver: &Archiver) -> Self {
        Self {
            feed: archiver.feed(),
            compactions: archiver.compactions(),
        }
    }

    /// Asks for a partition to be compacted, soon. Only what is in segments is; what has no room
    /// or no memory is left for the next time. Refuses when too many wait; a job that waits for
    /// the same partition is replaced.
    #[must_use]
    pub fn compact(&self, job: CompactionJob) -> bool {
        self.compactions.add(job)
    }

    /// Below this offset the partition was compacted.
    #[must_use]
    pub fn compacted_to(&self, partition: TopicPartition) -> Offset {
        self.compactions.compacted_to(partition)
    }

    /// Moves everything that is durable into segments and checkpoints; waits until that is done.
    ///
    /// # Errors
    /// When the disk fails or is full, or the log ended.
    pub fn flush(&self) -> Result<(), LogError> {
        self.feed.flush()
    }
}

/// The thread. Dropping it ends it, once it has taken in what was handed over.
#[derive(Debug)]
pub(crate) struct ArchiveThread {
    feed: Arc<Feed>,
    thread: Option<JoinHandle<()>>,
}

impl ArchiveThread {
    pub(crate) fn start(mut archiver: Archiver, on_failure: OnFailure) -> io::Result<Self> {
        archiver.paced = archiver.config.paced;
        let feed = archiver.feed.clone();
        let thread = std::thread::Builder::new()
            .name("weir-archive".to_owned())
            .spawn(move || {
                let _ended = Ended(archiver.feed.clone(), archiver.files.clone());
                if let Err(error) = archiver.run() {
                    archiver.feed.fail(error.clone());
                    on_failure(&error);
                }
            })?;
        Ok(Self {
            feed,
            thread: Some(thread),
        })
    }

    /// Ends it: what was handed over is stated to be durable.
    pub(crate) fn end(&mut self) {
        self.feed.end();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the archiver's thread panicked");
        }
    }
}

impl Drop for ArchiveThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// However the thread ends, nobody waits for it.
struct Ended(Arc<Feed>, Arc<crate::wal::Files>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.fail(LogError::ended());
        self.1.archiver_ended();
    }
}

impl Archiver {
    fn run(&mut self) -> Result<(), LogError> {
        self.look_at_the_disk()?;
        let mut looked = Instant::now();
        let mut idle = false;
        loop {
            // Also while there is always something to do, and behind each file.
            let was_due = self.due;
            if looked.elapsed() >= TICK {
                self.look_at_the_disk()?;
                looked = Instant::now();
            }
            match self.step(idle) {
                Ok(true) => {
                    if was_due {
                        self.look_at_the_disk()?;
                    }
                }
                Ok(false) => match self.feed.wait(TICK) {
                    Wanted::Flush(number) => {
                        self.answer_flush(number)?;
                        idle = false;
                    }
                    Wanted::End => return self.end(),
                    Wanted::Blocks => idle = false,
                    Wanted::Nothing => {
                        idle = true;
                    }
                },
                Err(error) if error.is_disk_full() => {
                    if self.feed.rest(RETRY) {
                        return self.end();
                    }
                    self.look_at_the_disk()?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn answer_flush(&mut self, number: u64) -> Result<(), LogError> {
        match self.flush() {
            Err(error) if !error.is_disk_full() => Err(error),
            done => {
                self.feed.flushed(number, done.err());
                Ok(())
            }
        }
    }

    fn look_at_the_disk(&self) -> Result<(), LogError> {
        self.tend_reserve()?;
        let Home { vfs, dir, .. } = &self.home;
        self.files
            .look_at_the_disk(&**vfs, dir, self.config.disk_reserve);
        Ok(())
    }
}
