//! A call failed: which records are guilty? Halves are run on fresh instances, so a guilty record
//! costs at most 2·log2(n)+1 calls, and only it is left to the binding's error policy.

use super::{CallError, Run};
use crate::RecordFailure;
use crate::columns::Chunk;
use crate::instance::Failure;
use crate::scheduler::Stopped;
use std::ops::Range;

/// Guilty records of one batch that are looked for.
const GUILTY_MAX: usize = 8;
/// Parts of one batch that are tried: several times what 8 guilty records in the largest chunks
/// take, and enough to find where parts of some tens of records stay within a limit.
const PARTS_MAX: u32 = 1024;

impl Run<'_> {
    /// Appends the answers to the records `range`, which failed together with `failure`.
    pub(super) fn search(
        &mut self,
        chunk: &Chunk,
        range: &Range<u32>,
        failure: &Failure,
    ) -> Result<(), Stopped<CallError>> {
        if range.end - range.start <= 1 {
            return Ok(self.guilty(chunk.first() + range.start, failure)?);
        }
        if self.parts >= PARTS_MAX {
            return Err(self.gives_up(range, failure).into());
        }
        let middle = range.start + (range.end - range.start) / 2;
        let guilty_before = self.failures.len();
        for half in [range.start..middle, middle..range.end] {
            if let Err(failure) = self.attempt_part(chunk, &half)? {
                self.search(chunk, &half, &failure)?;
            }
        }
        if self.failures.len() > guilty_before {
            return Ok(());
        }
        if failure.is_limit() {
            // Nobody is guilty, there were just too many of them for the limit.
            self.binding.chunk_was_too_large(range.end - range.start);
            return Ok(());
        }
        // Failed whole but in no part: once more, and then it is either a matter of chance or of
        // the company a record keeps. Both mean that the plugin is impure.
        self.binding
            .found_impure("a call failed whole but in no part");
        let parts = self.answers.mark();
        match self.attempt_part(chunk, range)? {
            Ok(()) => {
                // The halves' answers are there already.
                self.answers.truncate(&parts);
                Ok(())
            }
            Err(failure) => Err(Stopped::Failed(CallError::Impure {
                first: chunk.first() + range.start,
                last: chunk.first() + range.end - 1,
                message: failure.to_string(),
            })),
        }
    }

    /// The parts have become too many; the next call has smaller ones from the beginning.
    fn gives_up(&self, range: &Range<u32>, failure: &Failure) -> CallError {
        if failure.is_limit() {
            self.binding.chunk_was_too_large(range.end - range.start);
        }
        CallError::TooManyParts {
            parts: self.parts,
            records: self.input.count,
            message: failure.to_string(),
        }
    }

    fn guilty(&mut self, index: u32, failure: &Failure) -> Result<(), CallError> {
        self.at_limit |= failure.is_limit();
        self.failures.push(RecordFailure {
            index,
            message: failure.to_string(),
            backtrace: failure.backtrace.clone(),
        });
        if self.failures.len() > GUILTY_MAX {
            return Err(CallError::TooManyFailures {
                failures: std::mem::take(&mut self.failures),
                at_limit: self.at_limit,
            });
        }
        self.answers.put_failed();
        Ok(())
    }
}
