//! The threads that run plugins, and who is next: bindings take turns, call by call, and slow ones
//! never occupy more than half of the threads. Who turns out to be slow only while it runs, when
//! as many are slow as may be, leaves its thread and begins anew among the slow ones: a plugin's
//! calls have no effects besides their answers and log lines.
//!
//! A thread that had nothing to do for a while makes room for a new one. An allocator keeps for a
//! thread what that has allocated and others have freed, until it allocates again: code and
//! instances of plugins are made here, and let go of elsewhere once they have been idle.

mod turn;

pub(crate) use turn::{Stopped, may_go_on};

use crate::answer::Answered;
use crate::binding::{BindError, Binding};
use crate::run::{self, Call, CallError};
use crate::{HostConfig, clock};
use rustix::process::{getpriority_process, setpriority_process};
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use turn::Turn;

/// What takes more processor time is slow: a binding whose calls do on average, and a call that
/// does. Both count from a call's first tick on.
pub(crate) const SLOW: Duration = Duration::from_millis(5);

/// Calls of a binding that wait besides those that run; who comes later waits for a place.
const WAITING_MAX: usize = 8;
/// A thread is idle for so much longer than what it has made before it ends: that is gone then.
const AFTER_IDLE: Duration = Duration::from_secs(2);
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
        call: Call,
        /// Who waits for it.
        reply: oneshot::Sender<Result<Answered, CallError>>,
        /// The place in the queue, given back at the end.
        place: OwnedSemaphorePermit,
    },
}

/// A job that waits for its turn.
#[derive(Debug)]
struct Waits {
    job: Job,
    /// Gone when nobody waits for its result any more.
    caller: Weak<()>,
    /// Whether it has left a thread because it was slow.
    slow: bool,
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
    jobs: VecDeque<Waits>,
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
    /// After which time without anything to do a thread makes room for another.
    idle: Duration,
    /// Of all threads, however many there were before them.
    niceness: i32,
    handles: Mutex<Vec<JoinHandle<()>>>,
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

    /// Whether the next job has turned out to be slow already.
    fn next_is_slow(&self) -> bool {
        self.lock().next_is_slow()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn next_is_slow(&self) -> bool {
        self.jobs.front().is_some_and(|next| next.slow)
    }
}

impl Scheduler {
    /// Starts so many threads. What they have made is let go of once it was idle for so long.
    pub(crate) fn start(threads: usize, idle: Duration) -> std::io::Result<Arc<Self>> {
        let threads = threads.clamp(2, HostConfig::THREADS_MAX);
        let scheduler = Arc::new(Self {
            lanes: Mutex::default(),
            work: Condvar::new(),
            threads,
            idle: idle + AFTER_IDLE,
            niceness: getpriority_process(None).unwrap_or(0) + NICENESS,
            handles: Mutex::default(),
        });
        for number in 0..threads {
            scheduler.start_thread(number)?;
        }
        Ok(scheduler)
    }

    /// Starts a thread, which one of that number makes room for if there is one.
    fn start_thread(self: &Arc<Self>, number: usize) -> std::io::Result<()> {
        let scheduler = self.clone();
        let thread = std::thread::Builder::new().name(format!("weir-plugin-{number}"));
        // Whoever looks at them finds the one or the other.
        let mut handles = self.lock_handles();
        let handle = thread.spawn(move || scheduler.work(number))?;
        let this = std::thread::current().id();
        handles.retain(|handle| handle.thread().id() != this);
        handles.push(handle);
        Ok(())
    }

    /// Queues a job of that binding. It is run as long as somebody has `caller`.
    pub(crate) fn push(&self, binding: &Arc<Binding>, job: Job, caller: &Arc<()>) {
        let mut lanes = self.lock();
        if lanes.stopped {
            return;
        }
        let waits = Waits {
            job,
            caller: Arc::downgrade(caller),
            slow: false,
        };
        binding.queue.lock().jobs.push_back(waits);
        let entered = lanes.enter(binding);
        // Whoever wakes finds the lock free.
        drop(lanes);
        if entered {
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

    /// Waits until the threads have ended.
    pub(crate) fn join(&self) {
        loop {
            // A thread has put its successor there when it ends.
            let next = self.lock_handles().pop();
            let Some(handle) = next else { return };
            join(handle);
        }
    }

    /// Which threads there are.
    #[cfg(test)]
    pub(crate) fn threads(&self) -> Vec<std::thread::ThreadId> {
        let handles = self.lock_handles();
        handles.iter().map(|handle| handle.thread().id()).collect()
    }

    fn lock_handles(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many slow jobs may run at once.
    fn slow_max(&self) -> usize {
        self.threads / 2
    }

    fn work(self: &Arc<Self>, number: usize) {
        // Not so much nicer than the thread that has started this one, which may be such a one.
        if let Err(error) = setpriority_process(None, self.niceness) {
            tracing::debug!("plugin threads keep the normal priority: {error}");
        }
        let mut lanes = self.lock();
        let mut has_worked = false;
        loop {
            let Some((binding, slow)) = lanes.next(self.slow_max()) else {
                if lanes.stopped {
                    return;
                }
                let idle;
                (lanes, idle) = self.wait(lanes, has_worked);
                if idle && !lanes.stopped && !lanes.has_next(self.slow_max()) {
                    drop(lanes);
                    if self.start_thread(number).is_ok() {
                        return;
                    }
                    // There are too many threads on the machine: this one stays.
                    (lanes, has_worked) = (self.lock(), false);
                }
                continue;
            };
            has_worked = true;
            let next = lanes.begin(&binding, slow);
            let more = lanes.has_next(self.slow_max());
            drop(lanes);
            if more {
                self.work.notify_one();
            }
            let (slow, again) = match next {
                Some(next) => self.run(&binding, next, slow),
                None => (slow, None),
            };
            lanes = self.lock();
            lanes.end(&binding, slow, again);
            drop(binding);
        }
    }

    /// Waits until there may be something to do, or until a thread that has worked was idle for too
    /// long: whether it was.
    fn wait<'a>(
        &self,
        lanes: MutexGuard<'a, Lanes>,
        has_worked: bool,
    ) -> (MutexGuard<'a, Lanes>, bool) {
        if !has_worked {
            let lanes = self.work.wait(lanes);
            return (lanes.unwrap_or_else(PoisonError::into_inner), false);
        }
        let waited = self.work.wait_timeout(lanes, self.idle);
        let (lanes, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        (lanes, waited.timed_out())
    }

    /// Runs one job; whether it counts as slow by now, and the job if it is to be begun anew.
    fn run(self: &Arc<Self>, binding: &Binding, next: Waits, slow: bool) -> (bool, Option<Waits>) {
        let Waits { job, caller, .. } = next;
        Turn::begin(self, caller.clone(), slow);
        let outcome = catch_unwind(AssertUnwindSafe(|| run(binding, job)));
        let slow = Turn::end();
        let again = outcome.unwrap_or_else(|_| {
            // A mistake of the host; it costs this call, not the thread.
            tracing::error!(hook = %binding.hook(), "a plugin call panicked in the host");
            None
        });
        (slow, again.and_then(|job| Waits::again(job, caller)))
    }
}

impl Waits {
    /// A job that has left its thread; `None` if it did so because nobody waits for it any more.
    fn again(job: Job, caller: Weak<()>) -> Option<Self> {
        let slow = true;
        (caller.strong_count() > 0).then_some(Self { job, caller, slow })
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
        let lane = if binding.is_slow() || waiting.next_is_slow() {
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
        while let Some(binding) = self.quick.pop_front() {
            if !binding.queue.next_is_slow() {
                return Some((binding, false));
            }
            // A job has come back while its binding stood in line for another one.
            self.slow.push_back(binding);
        }
        if self.slow_running < slow_max.max(1) {
            return self.slow.pop_front().map(|binding| (binding, true));
        }
        None
    }

    /// Whether it is somebody's turn.
    fn has_next(&self, slow_max: usize) -> bool {
        let slow_may = self.slow_running < slow_max.max(1);
        !self.quick.is_empty() || slow_may && !self.slow.is_empty()
    }

    /// Takes the binding's next job; it goes to the end of the line if it has more.
    fn begin(&mut self, binding: &Arc<Binding>, slow: bool) -> Option<Waits> {
        let mut waiting = binding.queue.lock();
        waiting.in_lane = false;
        waiting.running += 1;
        let job = waiting.jobs.pop_front();
        drop(waiting);
        self.slow_running += usize::from(slow);
        self.enter(binding);
        job
    }

    /// Counts a job that runs among the slow ones, if there may be one more.
    fn count_slow(&mut self, slow_max: usize) -> bool {
        let may = self.slow_running < slow_max;
        self.slow_running += usize::from(may);
        may
    }

    /// A job has left its thread; `again` is to be begun anew.
    fn end(&mut self, binding: &Arc<Binding>, slow: bool, again: Option<Waits>) {
        self.slow_running -= usize::from(slow);
        let mut waiting = binding.queue.lock();
        waiting.running -= 1;
        if let Some(again) = again {
            waiting.jobs.push_front(again);
        }
        if self.stopped {
            // Nobody will run them; whoever waits for them must hear it.
            waiting.jobs.clear();
        }
        drop(waiting);
        self.enter(binding);
    }
}

/// Waits until a thread has ended, unless it is this one: the last handle on the host may be
/// dropped on one of its threads.
pub(crate) fn join(thread: JoinHandle<()>) {
    if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
        tracing::error!("a plugin thread panicked");
    }
}

/// Runs a job that somebody waits for; the job itself if it was interrupted.
fn run(binding: &Binding, job: Job) -> Option<Job> {
    match job {
        Job::Configure { reply } if !reply.is_closed() => match binding.configure() {
            Err(Stopped::Interrupted) => return Some(Job::Configure { reply }),
            Err(Stopped::Failed(error)) => drop(reply.send(Err(error))),
            Ok(()) => drop(reply.send(Ok(()))),
        },
        Job::Call { call, reply, place } if !reply.is_closed() => {
            let start = clock::now();
            let answered = match run::call(binding, &call) {
                Err(Stopped::Interrupted) => return Some(Job::Call { call, reply, place }),
                Err(Stopped::Failed(error)) => Err(error),
                Ok(answered) => Ok(answered),
            };
            binding.took(clock::now().duration_since(start), turn::cpu_used());
            drop(place);
            drop(reply.send(answered));
        }
        Job::Configure { .. } | Job::Call { .. } => {}
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Arc, Job, Waits, oneshot};

    #[test]
    fn what_nobody_waits_for_is_not_begun_anew() {
        let (caller, job) = (Arc::default(), || Job::Configure {
            reply: oneshot::channel().0,
        });
        let waits = Waits::again(job(), Arc::downgrade(&caller));
        assert!(waits.is_some_and(|waits| waits.slow));
        let gone = Arc::downgrade(&caller);
        drop(caller);
        assert!(Waits::again(job(), gone).is_none());
    }
}
