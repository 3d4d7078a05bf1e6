//! One call of a binding from records to answers: chunks, reuse of instances, the purity check.
//! Finding guilty records is in `run/search.rs`.

mod error;
mod search;

pub use error::CallError;

use crate::answer::{Answered, Answers, Question};
use crate::binding::Binding;
use crate::columns::{CHUNK_RECORDS_MAX, Chunk, Chunks, Malformed};
use crate::contract::{WireBatch, WireFailure};
use crate::instance::{Cause, Failure, Instance};
use crate::logs::cut;
use crate::scheduler::{self, SLOW, Stopped};
use crate::{Attempt, Input, RecordFailure, clock};
use std::ops::Range;
use std::time::Duration;

/// What a call may cost altogether, as a multiple of the processor time of one plugin call: enough
/// to find 8 endless loops among thousands of records.
const CALL_CPU_FACTOR: u32 = 100;
/// Bytes of an attempt's message that a retry policy gets.
const ATTEMPT_MESSAGE_MAX: usize = 1024;

/// What a binding is called with.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) input: Input,
    /// One for each record of a retry policy; none for other hooks.
    pub(crate) attempts: Vec<Attempt>,
    /// Bytes that mappers may make of the input.
    pub(crate) room: usize,
}

/// Runs a call on this thread.
pub(crate) fn call(binding: &Binding, call: &Call) -> Result<Answered, Stopped<CallError>> {
    let input = &call.input;
    binding.check_quarantine()?;
    let _running = binding.host().ticker().enter();
    let mut run = Run::new(binding, call);
    let result = run.chunks(binding.begin_call());
    let cpu = run.cpu;
    let (answers, failures, at_limit) = run.end();
    match result {
        Ok(()) => {
            let out = answers.records_out();
            binding.succeeded(input.count, out, &failures, cpu, at_limit);
            Ok(Answered { answers, failures })
        }
        Err(Stopped::Failed(error)) => {
            binding.failed(&error, input.count, cpu, at_limit, clock::now());
            Err(error.into())
        }
        Err(Stopped::Interrupted) => {
            binding.interrupted(cpu);
            Err(Stopped::Interrupted)
        }
    }
}

struct Run<'a> {
    binding: &'a Binding,
    input: &'a Input,
    attempts: &'a [Attempt],
    instance: Option<Instance>,
    answers: Answers,
    failures: Vec<RecordFailure>,
    /// Whether a record by itself has reached a limit.
    at_limit: bool,
    /// Processor time of the whole call, and of the last call into the plugin.
    cpu: Duration,
    last_cpu: Duration,
    /// Parts of chunks that were tried while guilty records were looked for.
    parts: u32,
}

/// Some records of a chunk.
#[derive(Clone, Copy)]
struct Asked<'a> {
    chunk: &'a Chunk,
    batch: WireBatch<'a>,
    range: &'a Range<u32>,
}

impl<'a> Run<'a> {
    fn new(binding: &'a Binding, call: &'a Call) -> Self {
        let Call {
            input,
            attempts,
            room,
        } = call;
        // A count that lies must not reserve memory: a record has at least 7 bytes.
        let capacity = (input.count as usize).min(input.records.len() / 7 + 1);
        Self {
            binding,
            input,
            attempts,
            instance: None,
            answers: Answers::new(binding.hook(), capacity, *room),
            failures: Vec::new(),
            at_limit: false,
            cpu: Duration::ZERO,
            last_cpu: Duration::ZERO,
            parts: 0,
        }
    }

    fn chunks(&mut self, verify: bool) -> Result<(), Stopped<CallError>> {
        let (binding, input) = (self.binding, self.input);
        let mut chunks = Chunks::new(input, binding.projection());
        let mut chunk = binding.take_scratch();
        loop {
            let records_max = binding.chunk_records();
            match chunks.fill(&mut chunk, records_max) {
                Ok(true) => self.chunk(&chunk, verify)?,
                Ok(false) => break,
                Err(Malformed { index }) => return Err(CallError::Malformed { index }.into()),
            }
        }
        binding.give_scratch(chunk);
        self.answers.finish(&input.records, input.count);
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk, verify: bool) -> Result<(), Stopped<CallError>> {
        let whole = Asked {
            chunk,
            batch: chunk.whole(self.input),
            range: &(0..chunk.count()),
        };
        let records = &self.input.records;
        // Before the first answer, so that both are made of the same beginning.
        let mut again = verify.then(|| self.answers.repetition(records));
        let start = self.answers.mark();
        if let Err(failure) = self.attempt(whole)? {
            return self.search(chunk, whole.range, &failure);
        }
        self.binding.chunk_went_well(self.last_cpu);
        let Some(again) = &mut again else {
            return Ok(());
        };
        match self.repeat(whole, again) {
            Ok(repeated) => {
                let equal = match repeated {
                    Ok(()) => self.answers.is_repeated(&start, again, records),
                    // Time is not part of the answer: the first run may just have made it.
                    Err(failure) => failure.is_limit(),
                };
                if !equal {
                    self.binding
                        .found_impure("it answered differently when it was asked again");
                }
                self.binding.purity_was_checked();
                Ok(())
            }
            // There is no memory for a second instance. The answers are good; the check stays due.
            Err(Stopped::Failed(CallError::Crowded { .. })) => Ok(()),
            Err(stopped) => Err(stopped),
        }
    }

    /// Asks once more, on a fresh instance; those answers are appended to `again`.
    fn repeat(
        &mut self,
        whole: Asked<'_>,
        again: &mut Answers,
    ) -> Result<Result<(), Failure>, Stopped<CallError>> {
        let fresh = self.fresh_instance()?;
        let used = self.instance.replace(fresh);
        std::mem::swap(again, &mut self.answers);
        let repeated = self.attempt(whole);
        std::mem::swap(again, &mut self.answers);
        // One is enough to keep.
        self.instance = used.or_else(|| self.instance.take());
        repeated
    }

    /// A new instance; what it costs to make counts.
    fn fresh_instance(&mut self) -> Result<Instance, Stopped<CallError>> {
        let instance = self.binding.fresh_instance()?;
        self.cpu += instance.cpu;
        Ok(instance)
    }

    /// Whether the call may go on after what it has cost so far.
    fn check_cpu(&self) -> Result<(), Stopped<CallError>> {
        if self.cpu > self.binding.limits().cpu.saturating_mul(CALL_CPU_FACTOR) {
            return Err(Stopped::Failed(CallError::TooSlow {
                cpu: self.cpu,
                records: self.input.count,
            }));
        }
        // Many short calls into the plugin may all end before they are looked at.
        if self.cpu > SLOW && !scheduler::may_go_on(clock::thread_cpu()) {
            return Err(Stopped::Interrupted);
        }
        Ok(())
    }

    /// One call into the plugin; its answers are appended.
    fn attempt(&mut self, asked: Asked<'_>) -> Result<Result<(), Failure>, Stopped<CallError>> {
        self.check_cpu()?;
        let limits = self.binding.limits();
        let instance = self
            .instance
            .take()
            .or_else(|| self.binding.idle_instance());
        let mut instance = match instance {
            Some(instance) => instance,
            None => self.fresh_instance()?,
        };
        let Asked {
            chunk,
            batch,
            range,
        } = asked;
        let first = chunk.first() + range.start;
        let attempts = self.attempts_of(first, batch.count);
        let input_bytes = (batch.arena.len() + size_of_val(batch.spans)).max(chunk.stored_bytes());
        let question = Question {
            batch,
            attempts: &attempts,
            section: &self.input.records,
            start: chunk.start(),
            skip: range.start,
            first,
            output_max: limits.output_max(input_bytes),
        };
        let before = self.answers.mark();
        let result = instance.call(&question, &mut self.answers);
        self.last_cpu = instance.cpu;
        self.cpu += instance.cpu;
        self.binding
            .count_plugin_call(&instance, result.as_ref().err());
        let Err(failure) = result else {
            self.instance = instance.is_reusable().then_some(instance);
            return Ok(Ok(()));
        };
        self.answers.truncate(&before);
        self.ends(&failure, first).map_or(Ok(Err(failure)), Err)
    }

    /// The error of a failure that no smaller part of the records would avoid.
    fn ends(&self, failure: &Failure, first: u32) -> Option<Stopped<CallError>> {
        let error = match failure.cause {
            Cause::Said | Cause::Trapped | Cause::Answered | Cause::Limit => return None,
            Cause::Interrupted => return Some(Stopped::Interrupted),
            Cause::Crowded => CallError::Crowded {
                message: failure.to_string(),
            },
            Cause::TooLarge => CallError::TooLarge {
                records: self.input.count,
            },
            Cause::NoRoom => CallError::NoRoom {
                records: self.input.count,
            },
            Cause::Malformed => CallError::Malformed { index: first },
            Cause::Shutdown => CallError::Shutdown,
        };
        Some(error.into())
    }

    /// How the records from `first` on failed; empty unless the hook is a retry policy.
    fn attempts_of(&self, first: u32, count: u32) -> Vec<WireFailure<'a>> {
        let attempts = self.attempts.iter().skip(first as usize);
        attempts
            .take(count as usize)
            .map(|attempt| WireFailure {
                attempt: attempt.number,
                message: cut(&attempt.message, ATTEMPT_MESSAGE_MAX),
            })
            .collect()
    }

    /// [`Self::attempt`] on some records of a chunk, and on a fresh instance: what earlier calls
    /// left behind must not be blamed on these records.
    fn attempt_part(
        &mut self,
        chunk: &Chunk,
        range: &Range<u32>,
    ) -> Result<Result<(), Failure>, Stopped<CallError>> {
        let part = chunk.part(range);
        self.parts += 1;
        // There may not be memory for two.
        drop(self.instance.take());
        self.instance = Some(self.fresh_instance()?);
        let batch = part.batch(chunk, range, self.input);
        self.attempt(Asked {
            chunk,
            batch,
            range,
        })
    }

    fn end(mut self) -> (Answers, Vec<RecordFailure>, bool) {
        let answers = Answers::new(self.binding.hook(), 0, 0);
        let answers = std::mem::replace(&mut self.answers, answers);
        (answers, std::mem::take(&mut self.failures), self.at_limit)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.binding.give_instance(self.instance.take());
    }
}

/// The most records that a chunk of any binding has.
pub(crate) const fn chunk_records_max() -> u32 {
    CHUNK_RECORDS_MAX
}
