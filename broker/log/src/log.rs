//! The log as the broker holds it: a queue in front, one thread that commits, readers beside it.

mod queue;
mod thread;

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::archive::{ArchiveThread, Maintenance};
use crate::commit::{CommitSink, Committer, Submission};
use crate::entry::{Entry, Op};
use crate::error::SubmitError;
use crate::format::entry::EntrySize;
use crate::machine::StateMachine;
use crate::open::Recovered;
use crate::reader::LogReader;
use crate::wal::Files;
use queue::Queue;
use thread::{LINGER_BYTES, Run};

/// A log. Dropping it without [`Log::shutdown`] drains it too.
#[derive(Debug)]
pub struct Log<T: Send + 'static> {
    queue: Arc<Queue<T>>,
    reader: LogReader,
    files: Arc<Files>,
    entry_bytes_max: usize,
    queue_bytes_max: usize,
    thread: Option<JoinHandle<()>>,
    archive: ArchiveThread,
    maintenance: Maintenance,
}

impl<T: Send + 'static> Log<T> {
    /// Starts a log that was read, and the thread that writes it.
    ///
    /// # Errors
    /// When the system gives it no thread.
    pub fn start<M: StateMachine>(
        recovered: Recovered<M>,
        sink: Box<dyn CommitSink<T>>,
    ) -> io::Result<Self> {
        let (committer, archiver) = Committer::apart(recovered, sink);
        let entry_bytes_max = committer.config().entry_bytes_max();
        let queue_bytes_max = committer.config().queue_bytes;
        let (reader, files) = (committer.reader(), committer.files());
        let block_bytes_max = committer.config().block_bytes_max();
        let maintenance = Maintenance::new(&archiver);
        let queue = Arc::new(Queue::new(committer));
        let failing = queue.clone();
        let archive = ArchiveThread::start(
            archiver,
            Box::new(move |error| failing.fail_from_outside(error)),
        )?;
        let run = Run::new(queue.clone(), block_bytes_max);
        let thread = std::thread::Builder::new()
            .name("weir-wal".to_owned())
            .spawn(move || run.run())?;
        Ok(Self {
            queue,
            reader,
            files,
            entry_bytes_max,
            queue_bytes_max,
            thread: Some(thread),
            archive,
            maintenance,
        })
    }

    /// A handle to whoever keeps the log's files in order.
    #[must_use]
    pub fn maintenance(&self) -> Maintenance {
        self.maintenance.clone()
    }

    /// Hands an entry over; never waits. Entries become durable in the order of submission.
    ///
    /// # Panics
    /// When a batch has no records: it could be written, but never read.
    pub fn submit(&self, submission: Submission<T>) -> Result<(), SubmitError> {
        self.enqueue(submission).map(|wake| {
            if wake {
                self.queue.changed.notify_one();
            }
        })
    }

    /// Hands an entry over like [`Log::submit`], and leaves to the caller when it is begun.
    ///
    /// # Panics
    /// When a batch has no records: it could be written, but never read.
    pub fn submit_held(&self, submission: Submission<T>) -> Result<Held<'_, T>, SubmitError> {
        let wake = self.enqueue(submission)?;
        let queue = &self.queue;
        Ok(Held { queue, wake })
    }

    /// Answers whether the log's thread is to be woken.
    fn enqueue(&self, submission: Submission<T>) -> Result<bool, SubmitError> {
        let Submission { entry, token } = submission;
        assert_sound(&entry);
        let bytes = self.size(&entry)?;
        let stores = || entry.ops.iter().any(|op| matches!(op, Op::Append(_)));
        if self.files.is_stuck() {
            return Err(SubmitError::Stuck);
        }
        if self.files.refuses_records() && stores() {
            return Err(SubmitError::DiskFull);
        }
        let mut state = self.queue.lock();
        if let Some(error) = &state.poisoned {
            return Err(SubmitError::Poisoned {
                reason: error.to_string(),
            });
        }
        if state.closed {
            return Err(SubmitError::Closed);
        }
        if state.bytes + bytes > self.queue_bytes_max {
            return Err(SubmitError::Busy { bytes: state.bytes });
        }
        state.waiting.push_back((entry, token, bytes));
        state.bytes += bytes;
        Ok(if state.lingering {
            state.bytes >= LINGER_BYTES
        } else {
            state.waiting.len() == 1
        })
    }

    /// Whether an entry is small enough: the one reason to refuse it that will never pass.
    ///
    /// # Errors
    /// When it is not; [`Log::submit`] would say the same.
    pub fn check(&self, entry: &Entry) -> Result<(), SubmitError> {
        self.size(entry).map(|_| ())
    }

    /// How many bytes an entry may have.
    #[must_use]
    pub const fn entry_bytes_max(&self) -> usize {
        self.entry_bytes_max
    }

    fn size(&self, entry: &Entry) -> Result<usize, SubmitError> {
        let bytes = EntrySize::of(entry).total();
        if bytes > self.entry_bytes_max {
            return Err(SubmitError::TooLarge {
                bytes,
                max: self.entry_bytes_max,
            });
        }
        Ok(bytes)
    }

    /// Reads what is durable.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        self.reader.clone()
    }

    /// Commits what waits, states that it is durable, and ends.
    pub fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.queue.lock().closed = true;
        self.files.close();
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
        // It follows the log to its end.
        self.archive.end();
    }
}

impl<T: Send + 'static> Drop for Log<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a caller got wrong is better found before it is durable.
fn assert_sound(entry: &Entry) {
    for op in &entry.ops {
        if let Op::Append(append) = op {
            assert!(append.count > 0, "a batch has records");
            debug_assert_eq!(
                crc32c::crc32c(append.batch.as_slice()),
                append.crc,
                "the checksum handed over is that of the batch"
            );
        }
    }
}

/// An entry that was submitted and that nobody was told of. Dropping this tells the log's thread.
#[derive(Debug)]
#[must_use = "the log's thread learns of the entry when this is dropped"]
pub struct Held<'a, T: Send + 'static> {
    queue: &'a Queue<T>,
    wake: bool,
}

impl<T: Send + 'static> Held<'_, T> {
    /// Commits the entry on this thread, which waits for the disk, if it is small, alone and
    /// nothing else is being committed; otherwise it is left to the log's thread. Either way it
    /// is the same work in the same order, without two changes of threads.
    ///
    /// Answers whether it was done here: then the sink has been told.
    pub fn commit_here(mut self) -> bool {
        let done = self.queue.commit_here();
        self.wake &= !done;
        done
    }
}

impl<T: Send + 'static> Drop for Held<'_, T> {
    fn drop(&mut self) {
        if self.wake {
            self.queue.changed.notify_one();
        }
    }
}
