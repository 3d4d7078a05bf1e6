//! The idle instances of a binding, and making new ones.

use super::Binding;
use crate::clock;
use crate::instance::{Budget, Cause, Failure, Instance, Setup};
use crate::plugin::Code;
use crate::run::CallError;
use crate::scheduler::Stopped;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Default)]
pub(super) struct Instances {
    idle: Mutex<Vec<(Instance, Instant)>>,
    /// What they are made of, and when it was last asked for.
    code: Mutex<Option<(Arc<Code>, Instant)>>,
}

impl Instances {
    fn lock(&self) -> MutexGuard<'_, Vec<(Instance, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_code(&self) -> MutexGuard<'_, Option<(Arc<Code>, Instant)>> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }
}

impl Binding {
    /// An instance that has nothing to do, if there is one.
    pub(crate) fn idle_instance(&self) -> Option<Instance> {
        self.instances.lock().pop().map(|(instance, _)| instance)
    }

    /// An instance that has served no call.
    pub(crate) fn fresh_instance(&self) -> Result<Instance, Stopped<CallError>> {
        self.new_instance().map_err(|failure| {
            let message = failure.to_string();
            match failure.cause {
                Cause::Interrupted => return Stopped::Interrupted,
                Cause::Shutdown => CallError::Shutdown,
                Cause::Crowded => CallError::Crowded { message },
                _ => CallError::Instance { message },
            }
            .into()
        })
    }

    /// Takes an instance back, if there is one and it may serve again.
    pub(crate) fn give_instance(&self, instance: Option<Instance>) {
        let Some(instance) = instance.filter(Instance::is_reusable) else {
            return;
        };
        let mut idle = self.instances.lock();
        if idle.len() < self.limits.concurrency {
            idle.push((instance, clock::now()));
            drop(idle);
            self.host.ticker().instances_are_idle();
        }
    }

    /// Lets go of instances, and of code that can be read again, that nobody has asked for since
    /// before `now - idle`; whether there is something left to let go of later.
    pub(crate) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let instances = self.drop_idle(now, idle);
        let mut code = self.instances.lock_code();
        if !self.plugin.can_be_read_again() {
            return instances > 0;
        }
        // Running instances have it too.
        let old = code.take_if(|(_, asked)| now.saturating_duration_since(*asked) >= idle);
        let left = instances > 0 || code.is_some();
        drop(code);
        drop(old);
        left
    }

    /// Drops instances that have had nothing to do since before `now - idle`; how many are left.
    pub(crate) fn drop_idle(&self, now: Instant, idle: Duration) -> usize {
        let mut instances = self.instances.lock();
        let (kept, old): (Vec<_>, Vec<_>) = instances
            .drain(..)
            .partition(|(_, since)| now.duration_since(*since) < idle);
        *instances = kept;
        let left = instances.len();
        drop(instances);
        drop(old);
        if left == 0 {
            // Buffers are as large as the largest chunk so far.
            drop(self.lock_scratch().take());
        }
        left
    }

    /// Makes and configures an instance. It must ask for the columns that the first one asked for.
    pub(super) fn new_instance(&self) -> Result<Instance, Failure> {
        let code = self.code()?;
        let mut made = Instance::new(&self.setup(&code));
        if made.is_err() {
            // The pool is full: idle instances of any binding make room.
            self.host.make_room();
            made = Instance::new(&self.setup(&code));
        }
        let (instance, projection) = made.map_err(|error| of_host(&error))??;
        if *self.projection.get_or_init(|| projection.clone()) != projection {
            let message = "configure asked for other columns than at first".to_owned();
            return Err(Failure::answered(message));
        }
        Ok(instance)
    }

    /// What instances are made of, which is kept for the next one.
    fn code(&self) -> Result<Arc<Code>, Failure> {
        // No file can be opened at the moment, say, or this one was damaged and is made anew: that
        // is no fault of the plugin.
        let code = self.plugin.code();
        let code = code.map_err(|error| Failure::crowded(&error.to_string()))?;
        *self.instances.lock_code() = Some((code.clone(), clock::now()));
        self.host.ticker().instances_are_idle();
        Ok(code)
    }

    fn setup<'a>(&'a self, code: &'a Arc<Code>) -> Setup<'a> {
        let Self {
            host,
            identity,
            limits,
            logs,
            ..
        } = self;
        let budget = Budget {
            cpu: limits.cpu,
            wall: limits.wall,
            memory: limits.memory,
        };
        Setup {
            code,
            hook: identity.hook(),
            config: identity.config(),
            routes: identity.routes(),
            budget,
            logs,
            host,
        }
    }
}

/// The failure of an instance that the host itself could not make.
fn of_host(error: &wasmtime::Error) -> Failure {
    if error.is::<wasmtime::PoolConcurrencyLimitError>() {
        return Failure::crowded("there are as many instances of plugins as can be; try again");
    }
    Failure::answered(format!("{error:#}"))
}

#[cfg(test)]
mod tests;
