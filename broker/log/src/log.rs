//! The log as the broker holds it: a queue in front, one thread that commits, readers beside it.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::commit::{CommitSink, Committer, Submission};
use crate::entry::{Entry, Op};
use crate::error::{LogError, SubmitError};
use crate::format::entry::EntrySize;
use crate::machine::StateMachine;
use crate::open::Recovered;
use crate::reader::LogReader;
use crate::wal::Files;

/// With nothing to write for that long, a seal states what is durable.
const SEAL_AFTER: Duration = Duration::from_millis(10);
/// Under load the thread waits until that much is there, or for that long: larger blocks make
/// fewer syncs.
const LINGER_BYTES: usize = 2 << 20;
const LINGER: Duration = Duration::from_millis(1);
/// What counts as load: the last block held several entries and this many bytes.
const LOAD_BYTES: usize = 64 << 10;

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
    /// Starts a log that was read, and the thread that writes it.
    ///
    /// # Errors
    /// When the system gives it no thread.
    pub fn start<M: StateMachine>(
        recovered: Recovered<M>,
        sink: Box<dyn CommitSink<T>>,
    ) -> io::Result<Self> {
        let committer = Committer::start(recovered, sink);
        let entry_bytes_max = committer.config().entry_bytes_max();
        let queue_bytes_max = committer.config().queue_bytes;
        let (reader, files) = (committer.reader(), committer.files());
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
        let run = Run {
            committer,
            queue: queue.clone(),
            loaded: false,
        };
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
        })
    }

    /// Hands an entry over; never waits. Entries become durable in the order of submission.
    ///
    /// # Panics
    /// When a batch has no records: it could be written, but never read.
    pub fn submit(&self, submission: Submission<T>) -> Result<(), SubmitError> {
        let Submission { entry, token } = submission;
        assert_sound(&entry);
        let bytes = self.size(&entry)?;
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

    /// Whether an entry is small enough: the one reason to refuse it that will never pass.
    ///
    /// # Errors
    /// When it is not; [`Log::submit`] would say the same.
    pub fn check(&self, entry: &Entry) -> Result<(), SubmitError> {
        self.size(entry).map(|_| ())
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

/// The WAL's thread.
struct Run<T> {
    committer: Committer<T>,
    queue: Arc<Queue<T>>,
    /// The last block was one of many: more will come.
    loaded: bool,
}

/// Whatever ends the thread too early, nobody waits for it.
struct PoisonOnPanic<T>(Arc<Queue<T>>);

impl<T> Drop for PoisonOnPanic<T> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.0.lock();
            state.poisoned = Some(LogError::panicked());
            state.waiting.clear();
            state.bytes = 0;
        }
    }
}

impl<T: Send + 'static> Run<T> {
    fn run(mut self) {
        let _poison = PoisonOnPanic(self.queue.clone());
        loop {
            match self.next() {
                Next::Block(entries, tokens) => {
                    if let Err((error, tokens)) = self.committer.commit_block(entries, tokens) {
                        return self.fail(&error, tokens);
                    }
                }
                Next::Seal => {
                    if let Err(error) = self.committer.seal() {
                        return self.fail(&error, Vec::new());
                    }
                }
                Next::End => return,
            }
        }
    }

    /// What is to be done next; waits for it.
    fn next(&mut self) -> Next<T> {
        let queue = self.queue.clone();
        let mut state = queue.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return if self.committer.wants_seal() {
                    Next::Seal
                } else {
                    Next::End
                };
            }
            self.loaded = false;
            state = if self.committer.wants_seal() {
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
        let (entries, tokens, bytes) = state.take(self.committer.config().block_bytes_max());
        self.loaded = entries.len() > 1 && bytes >= LOAD_BYTES;
        Next::Block(entries, tokens)
    }

    /// Nothing more is written, and whoever waits or comes later hears why.
    fn fail(mut self, error: &LogError, mut tokens: Vec<T>) {
        let mut state = self.queue.lock();
        state.poisoned = Some(error.clone());
        tokens.extend(state.waiting.drain(..).map(|(_, token, _)| token));
        state.bytes = 0;
        drop(state);
        self.committer.fail(error, tokens);
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
