//! The log as the broker holds it: a queue in front, one thread that commits, readers beside it.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_wire::id::TopicPartition;

use crate::config::{Bug, LogConfig};
use crate::entry::Entry;
use crate::error::{LogError, OpenError, SubmitError};
use crate::format::entry::EntrySize;
use crate::index::Index;
use crate::reader::LogReader;
use crate::vfs::Vfs;
use crate::wal::{Files, RecoveredEntry, RecoveryReport, Wal, recover};

/// With nothing to write for that long, a seal states what is durable.
const SEAL_AFTER: Duration = Duration::from_millis(10);
/// Under load the thread waits until that much is there, or for that long: larger blocks make
/// fewer syncs.
const LINGER_BYTES: usize = 2 << 20;
const LINGER: Duration = Duration::from_millis(1);
/// What counts as load: the last block held several entries and this many bytes.
const LOAD_BYTES: usize = 64 << 10;

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

/// A log. Dropping it without [`Log::shutdown`] drains it too.
#[derive(Debug)]
pub struct Log<T: Send + 'static> {
    queue: Arc<Queue<T>>,
    reader: LogReader,
    files: Arc<Files>,
    entry_bytes_max: usize,
    queue_bytes_max: usize,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<(Entry, T, usize)>,
    bytes: usize,
    lingering: bool,
    closed: bool,
    poisoned: Option<LogError>,
}

impl<T> Queue<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + 'static> Log<T> {
    /// Opens the log of a directory, or makes one; `replay` takes in its entries in their order.
    ///
    /// Whoever calls holds the lock of the data directory.
    pub fn open<E>(
        vfs: Arc<dyn Vfs>,
        config: LogConfig,
        sink: Box<dyn CommitSink<T>>,
        replay: &mut dyn FnMut(RecoveredEntry) -> Result<(), E>,
    ) -> Result<(Self, RecoveryReport), OpenError<E>> {
        let dir: PathBuf = config.dir.clone();
        let entry_bytes_max = config.entry_bytes_max();
        let queue_bytes_max = config.queue_bytes;
        let recovered = recover(&vfs, config, replay)?;
        let index = Arc::new(RwLock::new(recovered.index));
        let files = recovered.files;
        let reader = LogReader::new(vfs, &dir, index.clone(), files.clone());
        let state = State {
            waiting: VecDeque::new(),
            bytes: 0,
            lingering: false,
            closed: false,
            poisoned: None,
        };
        let queue = Arc::new(Queue {
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let committer = Committer {
            wal: recovered.wal,
            index,
            queue: queue.clone(),
            sink,
            loaded: false,
        };
        let thread = std::thread::Builder::new()
            .name("weir-wal".to_owned())
            .spawn(move || committer.run())
            .map_err(|source| OpenError::Io { path: dir, source })?;
        let thread = Some(thread);
        let log = Self {
            queue,
            reader,
            files,
            entry_bytes_max,
            queue_bytes_max,
            thread,
        };
        Ok((log, recovered.report))
    }

    /// Hands an entry over; never waits. Entries become durable in the order of submission.
    pub fn submit(&self, submission: Submission<T>) -> Result<(), SubmitError> {
        let Submission { entry, token } = submission;
        let bytes = EntrySize::of(&entry).total();
        if bytes > self.entry_bytes_max {
            return Err(SubmitError::TooLarge {
                bytes,
                max: self.entry_bytes_max,
            });
        }
        if self.files.is_full() {
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
        let wake = if state.lingering {
            state.bytes >= LINGER_BYTES
        } else {
            state.waiting.len() == 1
        };
        drop(state);
        if wake {
            self.queue.changed.notify_one();
        }
        Ok(())
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
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
    }
}

impl<T: Send + 'static> Drop for Log<T> {
    fn drop(&mut self) {
        self.end();
    }
}

/// The WAL's thread.
struct Committer<T> {
    wal: Wal,
    index: Arc<RwLock<Index>>,
    queue: Arc<Queue<T>>,
    sink: Box<dyn CommitSink<T>>,
    /// The last block was one of many: more will come.
    loaded: bool,
}

impl<T: Send + 'static> Committer<T> {
    fn run(mut self) {
        loop {
            let (entries, tokens) = match self.next() {
                Next::Block(entries, tokens) => (entries, tokens),
                Next::Seal => {
                    if let Err(error) = self.wal.seal() {
                        return self.fail(&error, Vec::new());
                    }
                    continue;
                }
                Next::End => return,
            };
            if let Err((error, tokens)) = self.commit(entries, tokens) {
                return self.fail(&error, tokens);
            }
        }
    }

    /// What is to be done next; waits for it.
    fn next(&mut self) -> Next<T> {
        let queue = self.queue.clone();
        let mut state = queue.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return if self.wal.wants_seal() {
                    Next::Seal
                } else {
                    Next::End
                };
            }
            self.loaded = false;
            state = if self.wal.wants_seal() {
                let waited = queue.changed.wait_timeout(state, SEAL_AFTER);
                let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
                if timeout.timed_out() && state.waiting.is_empty() {
                    return Next::Seal;
                }
                state
            } else {
                queue
                    .changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            };
        }
        if self.loaded && state.bytes < LINGER_BYTES {
            state.lingering = true;
            let more = |state: &mut State<T>| state.bytes < LINGER_BYTES && !state.closed;
            let waited = queue.changed.wait_timeout_while(state, LINGER, more);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.lingering = false;
        }
        let (entries, tokens, bytes) = state.take(self.wal.config().block_bytes);
        self.loaded = entries.len() > 1 && bytes >= LOAD_BYTES;
        Next::Block(entries, tokens)
    }

    fn commit(&mut self, entries: Vec<Entry>, tokens: Vec<T>) -> Result<(), (LogError, Vec<T>)> {
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
        let mut block = written.block;
        let partitions = std::mem::take(&mut block.partitions);
        self.publish(block);
        self.sink.committed(CommittedBlock {
            partitions: &partitions,
            tokens,
            bytes,
            sync_time,
        });
        Ok(())
    }

    fn publish(&self, block: crate::wal::Block) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        block.into_added().for_each(|added| index.add(added));
    }

    /// The planted bugs: what follows the sync comes before it.
    fn commit_too_early(
        &mut self,
        mut written: crate::wal::Written,
        tokens: Vec<T>,
    ) -> Result<(), (LogError, Vec<T>)> {
        let bytes = written.block.bytes;
        let partitions = std::mem::take(&mut written.block.partitions);
        let unsynced = written.pending;
        self.publish(written.block);
        let early = self.wal.config().plants(Bug::AckBeforeFsync);
        let mut late = tokens;
        let tokens = if early {
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
        // Long enough for a kill to fall into it.
        std::thread::sleep(LINGER);
        if let Err(error) = self.wal.sync(unsynced) {
            return Err((error, late));
        }
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

    /// Nothing more is written, and whoever waits or comes later hears why.
    fn fail(mut self, error: &LogError, mut tokens: Vec<T>) {
        tracing::error!(%error, "the log failed; nothing more is written");
        let mut state = self.queue.lock();
        state.poisoned = Some(error.clone());
        tokens.extend(state.waiting.drain(..).map(|(_, token, _)| token));
        state.bytes = 0;
        drop(state);
        self.sink.failed(error, tokens);
    }
}

enum Next<T> {
    Block(Vec<Entry>, Vec<T>),
    Seal,
    End,
}

impl<T> State<T> {
    /// Everything that waits, up to a block's worth but at least one entry.
    fn take(&mut self, bytes_max: usize) -> (Vec<Entry>, Vec<T>, usize) {
        let (mut entries, mut tokens, mut total) = (Vec::new(), Vec::new(), 0);
        while let Some((_, _, bytes)) = self.waiting.front() {
            if !entries.is_empty() && total + bytes > bytes_max {
                break;
            }
            let (entry, token, bytes) = self.waiting.pop_front().expect("it was looked at");
            total += bytes;
            entries.push(entry);
            tokens.push(token);
        }
        self.bytes -= total;
        (entries, tokens, total)
    }
}
