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
    /// The values of the records `range`, which failed together with `failure`.
    pub(super) fn search(
        &mut self,
        chunk: &Chunk,
        range: &Range<u32>,
        failure: Failure,
    ) -> Result<Vec<u64>, CallError> {
        if range.end - range.start <= 1 {
            return self.guilty(chunk.first() + range.start, &failure);
        }
        let middle = range.start + (range.end - range.start) / 2;
        let (guilty_before, mut values) = (self.failures.len(), Vec::new());
        for half in [range.start..middle, middle..range.end] {
            match self.attempt_part(chunk, &half)? {
                Ok(found) => values.extend(found),
                Err(failure) => values.extend(self.search(chunk, &half, failure)?),
            }
        }
        if self.failures.len() > guilty_before {
            return Ok(values);
        }
        if failure.is_limit() {
            // Nobody is guilty, there were just too many of them for the limit.
            self.binding.chunk_was_too_large(range.end - range.start);
            return Ok(values);
        }
        self.fails_only_together(chunk, range, values)
    }

    fn guilty(&mut self, index: u32, failure: &Failure) -> Result<Vec<u64>, CallError> {
        self.failures.push(RecordFailure {
            index,
            message: failure.to_string(),
        });
        if self.failures.len() > GUILTY_MAX {
            return Err(CallError::TooManyFailures {
                failures: std::mem::take(&mut self.failures),
            });
        }
        Ok(vec![0])
    }

    /// Failed whole but in no part: once more, and then it is either a matter of chance or of the
    /// company a record keeps. Both mean that the plugin is impure.
    fn fails_only_together(
        &mut self,
        chunk: &Chunk,
        range: &Range<u32>,
        values: Vec<u64>,
    ) -> Result<Vec<u64>, CallError> {
        self.binding
            .found_impure("a call failed whole but in no part");
        match self.attempt_part(chunk, range)? {
            Ok(_) => Ok(values),
            Err(failure) => Err(CallError::Impure {
                first: chunk.first() + range.start,
                last: chunk.first() + range.end - 1,
                message: failure.to_string(),
            }),
        }
    }
}
