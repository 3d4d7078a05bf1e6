//! The threads that run plugins, and who is next: bindings take turns, call by call, and slow ones
//! never occupy more than half of the threads.

use crate::answer::Answered;
use crate::binding::{BindError, Binding};
use crate::run::{self, CallError};
use crate::{Attempt, Input, clock};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Calls of a binding that wait besides those that run; who comes later waits for a place.
const WAITING_MAX: usize = 8;
/// Plugins yield to the broker's own threads.
const NICENESS: i32 = 5;

/// What a plugin thread can be asked to do for a binding.
#[derive(Debug)]
pub(crate) enum Job {
    /// Make and configure the first instance.
    Configure {
        /// Who waits for it.
        reply: oneshot::Sender<Result<(), BindError>>,
    },
    /// Judge a batch.
    Call {
        input: Input,
        attempts: Vec<Attempt>,
        /// Who waits for it.
        reply: oneshot::Sender<Result<Answered, CallError>>,
        /// The place in the queue, given back at the end.
        place: OwnedSemaphorePermit,
    },
}

/// The waiting jobs of one binding.
#[derive(Debug)]
pub(crate) struct Queue {
    places: Arc<Semaphore>,
    concurrency: usize,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    running: usize,
    /// Whether the binding stands in one of the lanes.
    in_lane: bool,
}

/// Runs the jobs of all bindings.
#[derive(Debug)]
pub(crate) struct Scheduler {
    lanes: Mutex<Lanes>,
    work: Condvar,
    threads: usize,
}

/// Bindings with something to do, in turn.
#[derive(Debug, Default)]
struct Lanes {
    quick: VecDeque<Arc<Binding>>,
    slow: VecDeque<Arc<Binding>>,
    slow_running: usize,
    stopped: bool,
}

impl Queue {
    pub(crate) fn new(concurrency: usize) -> Self {
        let places = Arc::new(Semaphore::new(concurrency + WAITING_MAX));
        Self {
            places,
            concurrency,
            waiting: Mutex::default(),
        }
    }

    /// Waits until the binding has room for another call.
    pub(crate) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        self.places.clone().acquire_owned().await.ok()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Scheduler {
    pub(crate) fn start(threads: usize) -> std::io::Result<(Arc<Self>, Vec<JoinHandle<()>>)> {
        let threads = threads.max(2);
        let scheduler = Arc::new(Self {
            lanes: Mutex::default(),
            work: Condvar::new(),
            threads,
        });
        let handles = (0..threads)
            .map(|number| {
                let scheduler = scheduler.clone();
                let thread = std::thread::Builder::new().name(format!("weir-plugin-{number}"));
                thread.spawn(move || scheduler.work())
            })
            .collect::<Result<_, _>>()?;
        Ok((scheduler, handles))
    }

    /// Queues a job of that binding.
    pub(crate) fn push(&self, binding: &Arc<Binding>, job: Job) {
        let mut lanes = self.lock();
        if lanes.stopped {
            return;
        }
        binding.queue.lock().jobs.push_back(job);
        if lanes.enter(binding) {
            self.work.notify_one();
        }
    }

    /// Lets the threads end after their current job; waiting jobs are dropped.
    pub(crate) fn stop(&self) {
        let mut lanes = self.lock();
        lanes.stopped = true;
        let (quick, slow) = (
            std::mem::take(&mut lanes.quick),
            std::mem::take(&mut lanes.slow),
        );
        for binding in quick.into_iter().chain(slow) {
            binding.queue.lock().jobs.clear();
        }
        self.work.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        if let Err(error) = rustix::process::nice(NICENESS) {
            tracing::debug!("plugin threads keep the normal priority: {error}");
        }
        let mut lanes = self.lock();
        loop {
            let Some((binding, slow)) = lanes.next(self.threads / 2) else {
                if lanes.stopped {
                    return;
                }
                lanes = self
                    .work
                    .wait(lanes)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let job = lanes.begin(&binding, slow);
            // There may be more for other threads than this one job.
            self.work.notify_one();
            drop(lanes);
            if let Some(job) = job {
                run(&binding, job);
            }
            lanes = self.lock();
            lanes.end(&binding, slow);
            drop(binding);
        }
    }
}

impl Lanes {
    /// Lets the binding stand in line if it has something to do and may do it.
    fn enter(&mut self, binding: &Arc<Binding>) -> bool {
        let mut waiting = binding.queue.lock();
        let may = !waiting.jobs.is_empty() && waiting.running < binding.queue.concurrency;
        if self.stopped || waiting.in_lane || !may {
            return false;
        }
        waiting.in_lane = true;
        let lane = if binding.is_slow() {
            &mut self.slow
        } else {
            &mut self.quick
        };
        lane.push_back(binding.clone());
        true
    }

    /// Whose turn it is. One thread at least is for slow bindings, so that quick ones cannot
    /// starve them.
    fn next(&mut self, slow_max: usize) -> Option<(Arc<Binding>, bool)> {
        let slow_first = self.slow_running == 0;
        let slow = if slow_first {
            self.slow.pop_front()
        } else {
            None
        };
        if let Some(binding) = slow {
            return Some((binding, true));
        }
        if let Some(binding) = self.quick.pop_front() {
            return Some((binding, false));
        }
        if self.slow_running < slow_max.max(1) {
            return self.slow.pop_front().map(|binding| (binding, true));
        }
        None
    }

    /// Takes the binding's next job; it goes to the end of the line if it has more.
    fn begin(&mut self, binding: &Arc<Binding>, slow: bool) -> Option<Job> {
        let mut waiting = binding.queue.lock();
        waiting.in_lane = false;
        waiting.running += 1;
        let job = waiting.jobs.pop_front();
        drop(waiting);
        self.slow_running += usize::from(slow);
        self.enter(binding);
        job
    }

    fn end(&mut self, binding: &Arc<Binding>, slow: bool) {
        self.slow_running -= usize::from(slow);
        let mut waiting = binding.queue.lock();
        waiting.running -= 1;
        if self.stopped {
            // Nobody will run them; whoever waits for them must hear it.
            waiting.jobs.clear();
        }
        drop(waiting);
        self.enter(binding);
    }
}

/// Runs one job. A panic here is a mistake of the host; it costs this call, not the thread.
fn run(binding: &Binding, job: Job) {
    let start = clock::now();
    let outcome = catch_unwind(AssertUnwindSafe(|| match job {
        Job::Configure { reply } => drop(reply.send(binding.configure())),
        Job::Call {
            input,
            attempts,
            reply,
            place,
        } => {
            if !reply.is_closed() {
                let answered = run::call(binding, &input, &attempts);
                binding.took(clock::now().duration_since(start));
                drop(place);
                drop(reply.send(answered));
            }
        }
    }));
    if outcome.is_err() {
        tracing::error!(hook = %binding.hook(), "a plugin call panicked in the host");
    }
}
