//! What the records of a call have been judged as so far: one kind per hook. `answer/check.rs`
//! looks at what a plugin returned before anything of it gets here.

mod check;
mod headers;
mod outputs;

pub(crate) use outputs::Outputs;

use crate::contract::{KeySpans, Mapped, WireBatch, WireDecision, WireFailure};
use crate::instance::Failure;
use crate::{Decision, RecordFailure, RouteSet, Transformed, Verdicts};
use bytes::Bytes;
use std::time::Duration;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

/// Some records of a batch, as the plugin gets them and as its answer is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// What the plugin gets.
    pub(crate) batch: WireBatch<'a>,
    /// How they failed, for a retry policy.
    pub(crate) attempts: &'a [WireFailure<'a>],
    /// The records section that they are from, the place of the chunk's first record in it, and
    /// how many records of the chunk come before these.
    pub(crate) section: &'a [u8],
    pub(crate) start: usize,
    pub(crate) skip: u32,
    /// The position of the first of these in the batch.
    pub(crate) first: u32,
    /// Bytes that the plugin may return, and that may be made of that.
    pub(crate) output_max: usize,
}

/// The answers to all records so far.
#[derive(Debug)]
pub(crate) enum Answers {
    Kept(Vec<bool>),
    Keys(Vec<OrderingKey>),
    Routes(Vec<RouteSet>),
    Decisions(Vec<Decision>),
    Outputs(Outputs),
}

/// How far the answers have come.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    /// Verdicts, or outputs.
    records: usize,
    rejected: usize,
    bytes: outputs::Filled,
}

/// What a call ends with.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) answers: Answers,
    pub(crate) failures: Vec<RecordFailure>,
}

impl Answers {
    /// None yet, of at most so many records; outputs may have so many bytes.
    pub(crate) fn new(hook: Hook, capacity: usize, room: usize) -> Self {
        match hook {
            Hook::Transform | Hook::Project => {
                Self::Outputs(Outputs::new(hook == Hook::Project, capacity, room))
            }
            Hook::Route => Self::Routes(Vec::with_capacity(capacity)),
            Hook::Key => Self::Keys(Vec::with_capacity(capacity)),
            Hook::RetryPolicy => Self::Decisions(Vec::with_capacity(capacity)),
            _ => Self::Kept(Vec::with_capacity(capacity)),
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        match self {
            Self::Outputs(outputs) => outputs.mark(),
            Self::Kept(values) => Mark::at(values.len()),
            Self::Keys(values) => Mark::at(values.len()),
            Self::Routes(values) => Mark::at(values.len()),
            Self::Decisions(values) => Mark::at(values.len()),
        }
    }

    /// Forgets what came after the mark.
    pub(crate) fn truncate(&mut self, mark: &Mark) {
        match self {
            Self::Outputs(outputs) => outputs.truncate(mark),
            Self::Kept(values) => values.truncate(mark.records),
            Self::Keys(values) => values.truncate(mark.records),
            Self::Routes(values) => values.truncate(mark.records),
            Self::Decisions(values) => values.truncate(mark.records),
        }
    }

    /// A record failed: it has no outputs, or a verdict that means nothing.
    pub(crate) fn put_failed(&mut self) {
        match self {
            Self::Outputs(_) => {}
            Self::Kept(values) => values.push(false),
            Self::Keys(values) => values.push(OrderingKey::NONE),
            Self::Routes(values) => values.push(RouteSet::default()),
            Self::Decisions(values) => values.push(Decision::DeadLetter),
        }
    }

    /// Where a repetition of the next question puts its answers, to be compared.
    pub(crate) fn repetition(&mut self, section: &[u8]) -> Self {
        match self {
            Self::Outputs(outputs) => Self::Outputs(outputs.repetition(section)),
            Self::Kept(_) => Self::Kept(Vec::new()),
            Self::Keys(_) => Self::Keys(Vec::new()),
            Self::Routes(_) => Self::Routes(Vec::new()),
            Self::Decisions(_) => Self::Decisions(Vec::new()),
        }
    }

    /// Whether what came after the mark is what the repetition got.
    pub(crate) fn is_repeated(&mut self, mark: &Mark, other: &mut Self, section: &[u8]) -> bool {
        match (self, other) {
            (Self::Outputs(one), Self::Outputs(other)) => one.is_repeated(mark, other, section),
            (Self::Kept(one), Self::Kept(other)) => same(one, mark, other),
            (Self::Keys(one), Self::Keys(other)) => same(one, mark, other),
            (Self::Routes(one), Self::Routes(other)) => same(one, mark, other),
            (Self::Decisions(one), Self::Decisions(other)) => same(one, mark, other),
            _ => false,
        }
    }

    /// Records kept, given a key, sent to a route or decided on; outputs.
    pub(crate) fn records_out(&self) -> usize {
        match self {
            Self::Outputs(outputs) => outputs.len(),
            Self::Kept(values) => values.iter().filter(|kept| **kept).count(),
            Self::Keys(values) => {
                let keyed = values.iter().filter(|key| **key != OrderingKey::NONE);
                keyed.count()
            }
            Self::Routes(values) => values.iter().filter(|set| !set.is_empty()).count(),
            Self::Decisions(values) => values.len(),
        }
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self, records: &Bytes, count: u32) {
        if let Self::Outputs(outputs) = self {
            outputs.finish(records, count);
        }
    }

    pub(crate) fn take_kept(&mut self, kept: &[u8], count: u32) -> Result<(), Failure> {
        check::kept(kept, count)?;
        if let Self::Kept(values) = self {
            values.extend(kept.iter().map(|kept| *kept != 0));
        }
        Ok(())
    }

    pub(crate) fn take_routes(
        &mut self,
        sets: &[u64],
        count: u32,
        routes: usize,
    ) -> Result<(), Failure> {
        check::routes(sets, count, routes)?;
        if let Self::Routes(values) = self {
            values.extend(sets.iter().copied().map(RouteSet::new));
        }
        Ok(())
    }

    pub(crate) fn take_keys(
        &mut self,
        keys: &KeySpans,
        batch: &WireBatch<'_>,
    ) -> Result<(), Failure> {
        match self {
            Self::Keys(values) => check::keys(keys, batch, values),
            _ => Ok(()),
        }
    }

    pub(crate) fn take_decisions(
        &mut self,
        decisions: &[WireDecision],
        count: u32,
    ) -> Result<(), Failure> {
        check::count(decisions.len(), count)?;
        if let Self::Decisions(values) = self {
            values.extend(decisions.iter().map(|decision| match decision {
                WireDecision::Delay(millis) => Decision::Delay(Duration::from_millis(*millis)),
                WireDecision::DeadLetter => Decision::DeadLetter,
                WireDecision::ParkKey => Decision::ParkKey,
            }));
        }
        Ok(())
    }

    pub(crate) fn take_mapped(
        &mut self,
        mapped: Mapped,
        question: &Question<'_>,
    ) -> Result<(), Failure> {
        match self {
            Self::Outputs(outputs) => outputs.take(mapped, question),
            _ => Ok(()),
        }
    }
}

impl Mark {
    fn at(records: usize) -> Self {
        Self {
            records,
            ..Self::default()
        }
    }
}

fn same<T: PartialEq>(one: &[T], mark: &Mark, other: &[T]) -> bool {
    one.get(mark.records..) == Some(other)
}

impl Answered {
    pub(crate) fn kept(self) -> Verdicts<bool> {
        self.verdicts(|answers| match answers {
            Answers::Kept(values) => Some(values),
            _ => None,
        })
    }

    pub(crate) fn keys(self) -> Verdicts<OrderingKey> {
        self.verdicts(|answers| match answers {
            Answers::Keys(values) => Some(values),
            _ => None,
        })
    }

    pub(crate) fn routes(self) -> Verdicts<RouteSet> {
        self.verdicts(|answers| match answers {
            Answers::Routes(values) => Some(values),
            _ => None,
        })
    }

    pub(crate) fn decisions(self) -> Verdicts<Decision> {
        self.verdicts(|answers| match answers {
            Answers::Decisions(values) => Some(values),
            _ => None,
        })
    }

    pub(crate) fn transformed(self) -> Transformed {
        match self.answers {
            Answers::Outputs(outputs) => outputs.transformed(self.failures),
            _ => unreachable!("a binding for a mapper's hook collects outputs"),
        }
    }

    fn verdicts<T>(self, take: impl FnOnce(Answers) -> Option<Vec<T>>) -> Verdicts<T> {
        let values = take(self.answers).expect("the binding's hook decides the kind of answers");
        Verdicts {
            values,
            failures: self.failures,
        }
    }
}
