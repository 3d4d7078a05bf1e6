//! A call failed: which records are guilty? Halves are run on fresh instances, so a guilty record
//! costs at most 2·log2(n)+1 calls, and only it is left to the binding's error policy.

use super::{CallError, Run};
use crate::RecordFailure;
use crate::columns::Chunk;
use crate::instance::Failure;
use std::ops::Range;

/// Guilty records of one batch that are looked for.
const GUILTY_MAX: usize = 8;

impl Run<'_> {
    /// Appends the answers to the records `range`, which failed together with `failure`.
    pub(super) fn search(
        &mut self,
        chunk: &Chunk,
        range: &Range<u32>,
        failure: &Failure,
    ) -> Result<(), CallError> {
        if range.end - range.start <= 1 {
            return self.guilty(chunk.first() + range.start, failure);
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
            Err(failure) => Err(CallError::Impure {
                first: chunk.first() + range.start,
                last: chunk.first() + range.end - 1,
                message: failure.to_string(),
            }),
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
            });
        }
        self.answers.put_failed();
        Ok(())
    }
}
