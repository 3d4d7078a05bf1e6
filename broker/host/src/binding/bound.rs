//! The handle on a binding: call it, look at it.

use super::{Binding, BindingIdentity, BindingStats};
use crate::answer::Answered;
use crate::logs::{LogLine, Logs};
use crate::run::{self, Call, CallError};
use crate::scheduler::{Job, Scheduler, Stopped};
use crate::{Attempt, Decision, Input, RouteSet, Transformed, Verdicts, clock};
use std::sync::Arc;
use tokio::sync::oneshot;
use weir_wire::id::PluginVersion;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

/// A plugin bound to a hook with a configuration. Cheap to clone; the calls of all clones share
/// instances and limits.
#[derive(Clone, Debug)]
pub struct Bound {
    pub(super) binding: Arc<Binding>,
    pub(super) scheduler: Arc<Scheduler>,
}

/// The calls: each on a plugin thread, through the binding's queue. Failures of single records are
/// among the answers; an error means that there are no answers at all. Those that end in `_now` run
/// on the calling thread, past the queue: for measuring what a plugin itself costs.
impl Bound {
    /// What becomes of records before they are stored.
    ///
    /// # Errors
    /// If there are no answers at all.
    pub async fn transform(&self, input: Input) -> Result<Transformed, CallError> {
        let answered = self.ask(Hook::Transform, input, Vec::new()).await?;
        Ok(answered.transformed())
    }

    /// What a subscriber sees of records: exactly one output for each that did not fail.
    ///
    /// # Errors
    /// If there are no answers at all.
    pub async fn project(&self, input: Input) -> Result<Transformed, CallError> {
        self.project_within(input, usize::MAX).await
    }

    /// The same, if no more than `room` bytes are made of them.
    ///
    /// # Errors
    /// [`CallError::NoRoom`] if there would be more; if there are no answers at all.
    pub async fn project_within(
        &self,
        input: Input,
        room: usize,
    ) -> Result<Transformed, CallError> {
        let answered = self
            .ask_within(Hook::Project, input, Vec::new(), room)
            .await?;
        Ok(answered.transformed())
    }

    /// Which records to keep.
    ///
    /// # Errors
    /// If there are no verdicts at all.
    pub async fn filter(&self, input: Input) -> Result<Verdicts<bool>, CallError> {
        Ok(self.ask(Hook::Filter, input, Vec::new()).await?.kept())
    }

    /// The ordering keys.
    ///
    /// # Errors
    /// If there are no verdicts at all.
    pub async fn keys(&self, input: Input) -> Result<Verdicts<OrderingKey>, CallError> {
        Ok(self.ask(Hook::Key, input, Vec::new()).await?.keys())
    }

    /// The routes that the records take.
    ///
    /// # Errors
    /// If there are no verdicts at all.
    pub async fn route(&self, input: Input) -> Result<Verdicts<RouteSet>, CallError> {
        Ok(self.ask(Hook::Route, input, Vec::new()).await?.routes())
    }

    /// What to do with records whose deliveries failed; one attempt for each.
    ///
    /// # Errors
    /// If there are no verdicts at all.
    pub async fn decide(
        &self,
        input: Input,
        attempts: Vec<Attempt>,
    ) -> Result<Verdicts<Decision>, CallError> {
        let answered = self.ask(Hook::RetryPolicy, input, attempts).await?;
        Ok(answered.decisions())
    }

    /// [`transform`](Self::transform) on the calling thread.
    ///
    /// # Errors
    /// As `transform`.
    pub fn transform_now(&self, input: &Input) -> Result<Transformed, CallError> {
        Ok(self.ask_now(Hook::Transform, input, &[])?.transformed())
    }

    /// [`project`](Self::project) on the calling thread.
    ///
    /// # Errors
    /// As `project`.
    pub fn project_now(&self, input: &Input) -> Result<Transformed, CallError> {
        Ok(self.ask_now(Hook::Project, input, &[])?.transformed())
    }

    /// [`filter`](Self::filter) on the calling thread.
    ///
    /// # Errors
    /// As `filter`.
    pub fn filter_now(&self, input: &Input) -> Result<Verdicts<bool>, CallError> {
        Ok(self.ask_now(Hook::Filter, input, &[])?.kept())
    }

    /// [`keys`](Self::keys) on the calling thread.
    ///
    /// # Errors
    /// As `keys`.
    pub fn keys_now(&self, input: &Input) -> Result<Verdicts<OrderingKey>, CallError> {
        Ok(self.ask_now(Hook::Key, input, &[])?.keys())
    }

    /// [`route`](Self::route) on the calling thread.
    ///
    /// # Errors
    /// As `route`.
    pub fn route_now(&self, input: &Input) -> Result<Verdicts<RouteSet>, CallError> {
        Ok(self.ask_now(Hook::Route, input, &[])?.routes())
    }

    /// [`decide`](Self::decide) on the calling thread.
    ///
    /// # Errors
    /// As `decide`.
    pub fn decide_now(
        &self,
        input: &Input,
        attempts: &[Attempt],
    ) -> Result<Verdicts<Decision>, CallError> {
        Ok(self
            .ask_now(Hook::RetryPolicy, input, attempts)?
            .decisions())
    }

    /// Waits for a place in the binding's queue, then for the answers. A call that nobody waits for
    /// any more is stopped.
    async fn ask(
        &self,
        hook: Hook,
        input: Input,
        attempts: Vec<Attempt>,
    ) -> Result<Answered, CallError> {
        self.ask_within(hook, input, attempts, usize::MAX).await
    }

    async fn ask_within(
        &self,
        hook: Hook,
        input: Input,
        attempts: Vec<Attempt>,
        room: usize,
    ) -> Result<Answered, CallError> {
        self.check(hook, &input, &attempts)?;
        self.binding.check_quarantine()?;
        let place = self
            .binding
            .queue
            .place()
            .await
            .ok_or(CallError::Shutdown)?;
        let (reply, answered) = oneshot::channel();
        let job = Job::Call {
            call: Call {
                input,
                attempts,
                room,
            },
            reply,
            place,
        };
        let caller = Arc::default();
        self.scheduler.push(&self.binding, job, &caller);
        answered.await.unwrap_or(Err(CallError::Shutdown))
    }

    fn ask_now(
        &self,
        hook: Hook,
        input: &Input,
        attempts: &[Attempt],
    ) -> Result<Answered, CallError> {
        self.check(hook, input, attempts)?;
        let call = Call {
            input: input.clone(),
            attempts: attempts.to_vec(),
            room: usize::MAX,
        };
        run::call(&self.binding, &call).map_err(|stopped| match stopped {
            Stopped::Failed(error) => error,
            Stopped::Interrupted => unreachable!("only what runs on plugin threads is interrupted"),
        })
    }

    fn check(&self, called: Hook, input: &Input, attempts: &[Attempt]) -> Result<(), CallError> {
        let bound = self.hook();
        if bound != called {
            return Err(CallError::OtherHook { bound, called });
        }
        if called == Hook::RetryPolicy && attempts.len() != input.count as usize {
            return Err(CallError::Attempts {
                records: input.count,
                attempts: attempts.len(),
            });
        }
        Ok(())
    }
}

/// What there is to know about a binding.
impl Bound {
    pub(super) fn new(binding: Arc<Binding>, scheduler: Arc<Scheduler>) -> Self {
        Self { binding, scheduler }
    }

    /// The plugin's version.
    #[must_use]
    pub fn version(&self) -> PluginVersion {
        self.binding.plugin.version()
    }

    /// The hook that it is bound to.
    #[must_use]
    pub fn hook(&self) -> Hook {
        self.binding.hook()
    }

    /// What makes its answers equal to those of other bindings.
    #[must_use]
    pub fn identity(&self) -> Arc<BindingIdentity> {
        self.binding.identity.clone()
    }

    /// Whether no binding of this plugin to this hook was caught giving different answers to the
    /// same question. What was true may become false, never the other way round.
    #[must_use]
    pub fn is_pure(&self) -> bool {
        self.binding.is_pure()
    }

    /// Somebody else has caught it: it answered differently from what was remembered.
    pub fn found_impure(&self, why: &str) {
        self.binding.found_impure(why);
    }

    /// Ends a quarantine and forgets the failures so far that would lead to one.
    pub fn unquarantine(&self) {
        self.binding.health.forgive();
        self.binding.counters.forget_error();
    }

    /// Ends a quarantine, for who provides for the failures that have brought it.
    pub fn overlook_failures(&self) {
        self.binding.health.end_quarantine();
    }

    /// What the binding has done so far.
    #[must_use]
    pub fn stats(&self) -> BindingStats {
        let binding = &self.binding;
        BindingStats {
            instances: binding.instances.count(),
            quarantined: binding.health.quarantined_for(clock::now),
            quarantines: binding.health.quarantines(),
            log_lines_suppressed: binding.logs.suppressed(),
            ..binding.counters.read()
        }
    }

    /// The last lines that the plugin has logged, oldest first.
    #[must_use]
    pub fn log_lines(&self) -> Vec<LogLine> {
        self.binding.logs.lines_after(0, usize::MAX)
    }

    /// What it logs, for whoever wants more than that, also after the binding has ended.
    #[must_use]
    pub fn logs(&self) -> &Arc<Logs> {
        &self.binding.logs
    }
}
