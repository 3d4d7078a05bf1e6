//! Asking a plugin about a batch. Where more of its records fail than one call looks for, or take
//! more time than one call has, it is asked about pieces of the batch, which never gets smaller by
//! itself: else nobody with that plugin could ever read on.

use bytes::{Bytes, BytesMut};
use weir_host::{CallError, Input, Transformed, Verdicts as Answers};
use weir_wire::batch::Records;
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::plugin::ErrorPolicy;

use super::Step;

/// Calls for one batch. Two of them get past eight records on which the plugin fails, so this is
/// enough for about 250, or for some tens on which it is stopped at a limit; with more of them, the
/// plugin and the topic have nothing to do with each other.
const CALLS_MAX: usize = 64;
/// Of these so many may end without answers after they have cost much: because the plugin was
/// stopped at a limit again and again, or took too long altogether. This batch alone counts. What
/// the plugin did with others says nothing of whether it gets through this one.
const COSTLY_MAX: usize = 8;

/// What is still to be asked about, the first at the end.
struct Pieces<'a> {
    step: &'a Step,
    left: Vec<Piece>,
    calls: usize,
    costly: usize,
}

/// Some records of a batch.
struct Piece {
    /// The first one's position in the batch.
    first: u32,
    input: Input,
    /// Whether it is the batch.
    whole: bool,
}

impl Step {
    /// Which records the filter keeps.
    pub(super) async fn filter(&self, input: Input) -> Result<Answers<bool>, CallError> {
        let mut all = Answers {
            values: Vec::new(),
            failures: Vec::new(),
        };
        let mut pieces = Pieces::of(self, input);
        while let Some(piece) = pieces.next() {
            match self.bound.filter(piece.input.clone()).await {
                Ok(answers) if piece.whole => return Ok(answers),
                Ok(answers) => {
                    all.values.extend(answers.values);
                    for mut failure in answers.failures {
                        failure.index += piece.first;
                        all.failures.push(failure);
                    }
                }
                Err(error) => pieces.failed(piece, error)?,
            }
        }
        Ok(all)
    }

    /// How the projection shows records, if that takes no more than so many bytes.
    pub(super) async fn project(
        &self,
        input: Input,
        room: usize,
    ) -> Result<Transformed, CallError> {
        let mut records = BytesMut::new();
        let mut all = Transformed {
            unchanged: true,
            ..Transformed::default()
        };
        let all_records = input.count;
        let mut pieces = Pieces::of(self, input);
        while let Some(piece) = pieces.next() {
            let left = room.saturating_sub(records.len());
            let answer = self.bound.project_within(piece.input.clone(), left);
            match answer.await {
                Ok(answer) if piece.whole => return Ok(answer),
                Ok(answer) => {
                    if records.len() + answer.records.len() > BATCH_INFLATED_MAX {
                        let records = all_records;
                        return Err(CallError::TooLarge { records });
                    }
                    records.extend_from_slice(&answer.records);
                    all.count += answer.count;
                    all.unchanged &= answer.unchanged;
                    let sources = answer.sources.into_iter();
                    all.sources
                        .extend(sources.map(|source| source + piece.first));
                    for mut failure in answer.failures {
                        failure.index += piece.first;
                        all.failures.push(failure);
                    }
                }
                Err(error) => pieces.failed(piece, error)?,
            }
        }
        all.records = records.freeze();
        Ok(all)
    }
}

impl<'a> Pieces<'a> {
    fn of(step: &'a Step, input: Input) -> Self {
        let whole = Piece {
            first: 0,
            input,
            whole: true,
        };
        Self {
            step,
            left: vec![whole],
            calls: 0,
            costly: 0,
        }
    }

    fn next(&mut self) -> Option<Piece> {
        self.calls += 1;
        self.left.pop()
    }

    /// There are no answers to a piece: it is to be asked about in two, or that is all.
    fn failed(&mut self, piece: Piece, error: CallError) -> Result<(), CallError> {
        let split_at = match &error {
            // They are of records that its policy provides for.
            CallError::TooManyFailures { failures, at_limit }
                if self.step.on_error != ErrorPolicy::Fail =>
            {
                self.costly += usize::from(*at_limit);
                Some(failures.last().map_or(0, |failure| failure.index))
            }
            CallError::TooSlow { .. } | CallError::TooManyParts { .. } => {
                self.costly += 1;
                Some(piece.input.count / 2)
            }
            // It rests because of another piece, or of another batch in pieces.
            CallError::Quarantined { .. } if !piece.whole => None,
            _ => return Err(error),
        };
        if self.calls >= CALLS_MAX || self.costly > COSTLY_MAX {
            return Err(error);
        }
        match split_at {
            None => self.left.push(piece),
            Some(at) => {
                let (before, behind) = piece.split(at).ok_or(error)?;
                self.left.extend([behind, before]);
            }
        }
        self.step.bound.overlook_failures();
        Ok(())
    }
}

impl Piece {
    /// The records before that position, and those from there on; `None` if either are none.
    fn split(self, at: u32) -> Option<(Self, Self)> {
        let Input {
            base_timestamp,
            count,
            records,
        } = self.input;
        if at == 0 || at >= count {
            return None;
        }
        let mut walk = Records::new(&records, count);
        walk.nth(at as usize - 1)?.ok()?;
        let bytes = records.len() - walk.rest().len();
        let part = |first, count, records: Bytes| Self {
            first,
            input: Input {
                base_timestamp,
                count,
                records,
            },
            whole: false,
        };
        Some((
            part(self.first, at, records.slice(..bytes)),
            part(self.first + at, count - at, records.slice(bytes..)),
        ))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use weir_host::Input;
    use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord, Records};
    use weir_wire::id::Timestamp;

    use super::Piece;

    #[test]
    fn pieces_of_a_batch_are_all_of_it() {
        let mut builder = BatchBuilder::default();
        for n in 0..10_usize {
            let value = vec![b'v'; n * 50];
            let record = NewRecord {
                value: Some(&value),
                ..NewRecord::default()
            };
            builder.push(Timestamp::new(5), &record);
        }
        let batch = Bytes::from(builder.finish(Compression::None).unwrap());
        let piece = || Piece {
            first: 100,
            input: Input {
                base_timestamp: Timestamp::new(5),
                count: 10,
                records: batch.slice(HEADER_LEN..),
            },
            whole: true,
        };
        let lengths = |piece: &Piece| -> Vec<usize> {
            let records = Records::new(&piece.input.records, piece.input.count);
            records
                .map(|record| record.unwrap().value.unwrap().len())
                .collect()
        };
        for at in 1..10 {
            let (before, behind) = piece().split(at).unwrap();
            assert_eq!((before.first, before.input.count), (100, at));
            assert_eq!((behind.first, behind.input.count), (100 + at, 10 - at));
            assert_eq!(
                [lengths(&before), lengths(&behind)].concat(),
                lengths(&piece())
            );
        }
        assert!(piece().split(0).is_none() && piece().split(10).is_none());
    }
}
