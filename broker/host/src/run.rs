//! One call of a binding from records to verdicts: chunks, reuse of instances, the purity check.
//! Finding guilty records is in `run/search.rs`.

mod error;
mod search;

pub use error::CallError;

use crate::binding::Binding;
use crate::columns::{CHUNK_RECORDS_MAX, Chunk, Chunks, Malformed};
use crate::contract::WireBatch;
use crate::instance::{Failure, Instance};
use crate::{Input, RecordFailure, Verdicts, clock};
use std::ops::Range;
use std::time::Duration;

/// One call in so many is run again on a fresh instance, and the first of a binding.
const PURITY_EVERY: u64 = 256;
/// What a call may cost altogether, as a multiple of the processor time of one plugin call: enough
/// to find 8 endless loops among thousands of records.
const CALL_CPU_FACTOR: u32 = 100;

/// Runs a call on this thread.
pub(crate) fn call(binding: &Binding, input: &Input) -> Result<Verdicts<u64>, CallError> {
    binding.check_quarantine(clock::now())?;
    let _running = binding.host().ticker().enter();
    let mut run = Run::new(binding, input);
    let result = run.chunks();
    let failures = std::mem::take(&mut run.failures);
    let values = std::mem::take(&mut run.values);
    let cpu = run.cpu;
    drop(run);
    match result {
        Ok(()) => {
            binding.succeeded(&values, failures.len(), cpu);
            Ok(Verdicts { values, failures })
        }
        Err(error) => {
            binding.failed(&error, cpu, clock::now());
            Err(error)
        }
    }
}

struct Run<'a> {
    binding: &'a Binding,
    input: &'a Input,
    instance: Option<Instance>,
    values: Vec<u64>,
    failures: Vec<RecordFailure>,
    /// Processor time of the whole call, and of the last call into the plugin.
    cpu: Duration,
    last_cpu: Duration,
}

impl<'a> Run<'a> {
    fn new(binding: &'a Binding, input: &'a Input) -> Self {
        // A count that lies must not reserve memory: a record has at least 7 bytes.
        let capacity = (input.count as usize).min(input.records.len() / 7 + 1);
        let values = Vec::with_capacity(capacity);
        Self {
            binding,
            input,
            instance: None,
            values,
            failures: Vec::new(),
            cpu: Duration::ZERO,
            last_cpu: Duration::ZERO,
        }
    }

    fn chunks(&mut self) -> Result<(), CallError> {
        let (binding, input) = (self.binding, self.input);
        let verify = binding.next_call().is_multiple_of(PURITY_EVERY);
        let mut chunks = Chunks::new(input, binding.projection());
        let mut chunk = binding.take_scratch();
        loop {
            let records_max = binding.chunk_records();
            match chunks.fill(&mut chunk, records_max) {
                Ok(true) => self.chunk(&chunk, verify)?,
                Ok(false) => break,
                Err(Malformed { index }) => return Err(CallError::Malformed { index }),
            }
        }
        binding.give_scratch(chunk);
        Ok(())
    }

    fn chunk(&mut self, chunk: &Chunk, verify: bool) -> Result<(), CallError> {
        let start = self.values.len();
        match self.attempt(chunk.whole(self.input))? {
            Ok(()) => {
                self.binding.chunk_went_well(self.last_cpu);
                if verify {
                    self.verify(chunk, start)?;
                }
            }
            Err(failure) => {
                let values = self.search(chunk, &(0..chunk.count()), failure)?;
                self.values.extend(values);
            }
        }
        Ok(())
    }

    /// Runs the chunk again on a fresh instance; a difference marks the plugin as impure.
    fn verify(&mut self, chunk: &Chunk, start: usize) -> Result<(), CallError> {
        let used = self.instance.replace(self.binding.fresh_instance()?);
        let end = self.values.len();
        let equal = match self.attempt(chunk.whole(self.input))? {
            Ok(()) => {
                let (first, second) = self.values.split_at(end);
                first.get(start..) == Some(second)
            }
            // Time is not part of the answer: the first run may just have made it.
            Err(failure) => failure.is_limit(),
        };
        self.values.truncate(end);
        if !equal {
            self.binding
                .found_impure("it answered differently when it was asked again");
        }
        // One is enough to keep.
        self.instance = used.or_else(|| self.instance.take());
        Ok(())
    }

    /// One call into the plugin; its verdicts are appended to `values`.
    fn attempt(&mut self, batch: WireBatch<'_>) -> Result<Result<(), Failure>, CallError> {
        let limits = self.binding.limits();
        if self.cpu > limits.cpu.saturating_mul(CALL_CPU_FACTOR) {
            return Err(CallError::TooSlow {
                cpu: self.cpu,
                records: self.input.count,
            });
        }
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.binding.instance()?,
        };
        let input_bytes = batch.arena.len() + size_of_val(batch.spans);
        let output_max = limits
            .output_min
            .max(input_bytes.saturating_mul(limits.output_factor));
        let before = self.values.len();
        let result = instance.call(batch, output_max, &mut self.values);
        self.last_cpu = instance.cpu;
        self.cpu += instance.cpu;
        self.binding
            .count_plugin_call(&instance, result.as_ref().err());
        match result {
            Ok(()) => {
                self.instance = instance.is_reusable().then_some(instance);
                Ok(Ok(()))
            }
            Err(Failure::Shutdown) => Err(CallError::Shutdown),
            Err(failure) => {
                self.values.truncate(before);
                Ok(Err(failure))
            }
        }
    }

    /// [`Self::attempt`] on some records of a chunk, with the values by themselves, and on a fresh
    /// instance: what earlier calls left behind must not be blamed on these records.
    fn attempt_part(
        &mut self,
        chunk: &Chunk,
        range: &Range<u32>,
    ) -> Result<Result<Vec<u64>, Failure>, CallError> {
        let part = chunk.part(range);
        self.instance = Some(self.binding.fresh_instance()?);
        let before = self.values.len();
        let result = self.attempt(part.batch(chunk, range, self.input))?;
        Ok(result.map(|()| self.values.split_off(before)))
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
