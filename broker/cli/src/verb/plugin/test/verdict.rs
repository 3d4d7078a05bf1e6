//! What a plugin answers about a record, whatever its hook.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::Bytes;
use weir_host::{
    Attempt, Bound, CallError, Decision, Input, RecordFailure, RouteSet, Transformed, Verdicts,
};
use weir_wire::batch::Records;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::Hook;

use crate::record::{Shown, shorten};

/// Characters of an output that are shown.
const SHOWN: usize = 200;
/// How far from its beginning a value may be changed and is shown from there all the same; else so
/// many characters before the change are shown.
const NEAR: usize = 40;
const LEAD: usize = 20;

/// The answer for one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A filter's.
    Kept(bool),
    /// An ordering key, or none.
    Key(OrderingKey),
    /// The routes that it takes.
    Routes(RouteSet),
    /// What it became.
    Became(Outputs),
    /// It must not be stored, for that reason.
    Rejected(String),
    /// What a retry policy decides.
    Retry(Decision),
    /// The plugin failed on it.
    Failed,
    /// The call that it was part of failed as a whole.
    NotJudged,
}

/// What a record became.
#[derive(Clone, Debug)]
pub struct Outputs {
    /// How many records.
    pub count: u32,
    /// Whether it is one, and the same as before.
    pub unchanged: bool,
    /// A hash of key, value and headers of them all.
    digest: u64,
    /// The value of the first, and the value that it was made of.
    first: Option<Bytes>,
    before: Bytes,
}

/// Outputs are the same if their bytes are.
impl PartialEq for Outputs {
    fn eq(&self, other: &Self) -> bool {
        (self.count, self.digest) == (other.count, other.digest)
    }
}

impl Eq for Outputs {}

impl Outputs {
    /// The character from which on the first output is shown, so that the first difference from
    /// the value before is near; 0 where it is near the beginning anyway.
    fn change(&self) -> usize {
        let after = Shown(self.first.as_deref().unwrap_or_default()).to_string();
        let before = Shown(&self.before).to_string();
        let same = before.chars().zip(after.chars());
        let same = same.take_while(|(before, after)| before == after).count();
        if same <= NEAR { 0 } else { same - LEAD }
    }
}

/// The text from that character on, cut.
fn part(text: &str, from: usize) -> String {
    if from == 0 {
        return shorten(text, SHOWN);
    }
    let rest: String = text.chars().skip(from).collect();
    format!("…{}", shorten(&rest, SHOWN))
}

/// The answers for a batch.
#[derive(Debug, Default)]
pub struct Answers {
    /// One per record.
    pub verdicts: Vec<Verdict>,
    /// The records that the plugin failed on.
    pub failures: Vec<RecordFailure>,
}

/// Calls the plugin on this thread.
pub fn ask(bound: &Bound, input: &Input, attempt: &Attempt) -> Result<Asked, CallError> {
    Ok(match bound.hook() {
        Hook::Filter => Asked::Kept(bound.filter_now(input)?),
        Hook::Key => Asked::Keys(bound.keys_now(input)?),
        Hook::Route => Asked::Routes(bound.route_now(input)?),
        Hook::Transform => Asked::Mapped(bound.transform_now(input)?),
        Hook::Project => Asked::Mapped(bound.project_now(input)?),
        hook => {
            debug_assert_eq!(hook, Hook::RetryPolicy, "there is no other hook");
            let attempts = vec![attempt.clone(); input.count as usize];
            Asked::Decided(bound.decide_now(input, &attempts)?)
        }
    })
}

/// What a call answered, before anybody looks at it: that is not the plugin's time.
#[derive(Debug)]
pub enum Asked {
    /// A filter.
    Kept(Verdicts<bool>),
    /// A key.
    Keys(Verdicts<OrderingKey>),
    /// A route.
    Routes(Verdicts<RouteSet>),
    /// A transform or a projection.
    Mapped(Transformed),
    /// A retry policy.
    Decided(Verdicts<Decision>),
}

impl Asked {
    /// The answer for each record.
    pub fn answers(self, input: &Input) -> Answers {
        match self {
            Self::Kept(verdicts) => each(verdicts, Verdict::Kept),
            Self::Keys(verdicts) => each(verdicts, Verdict::Key),
            Self::Routes(verdicts) => each(verdicts, Verdict::Routes),
            Self::Decided(verdicts) => each(verdicts, Verdict::Retry),
            Self::Mapped(transformed) => mapped(transformed, input),
        }
    }
}

fn each<T>(verdicts: Verdicts<T>, of: impl Fn(T) -> Verdict) -> Answers {
    let Verdicts { values, failures } = verdicts;
    let verdicts = values.into_iter().map(of).collect();
    failed(verdicts, failures)
}

/// The records that failed have no answer, whatever stands in their place.
fn failed(mut verdicts: Vec<Verdict>, failures: Vec<RecordFailure>) -> Answers {
    for failure in &failures {
        if let Some(verdict) = verdicts.get_mut(failure.index as usize) {
            *verdict = Verdict::Failed;
        }
    }
    Answers { verdicts, failures }
}

fn mapped(transformed: Transformed, input: &Input) -> Answers {
    let inputs = Records::new(&input.records, input.count).map_while(Result::ok);
    let outputs = Records::new(&transformed.records, transformed.count).map_while(Result::ok);
    let mut outputs = outputs.zip(&transformed.sources).peekable();
    let mut verdicts = Vec::with_capacity(input.count as usize);
    for (index, record) in (0_u32..).zip(inputs) {
        let mut made = Outputs {
            count: 0,
            unchanged: false,
            digest: 0,
            first: None,
            before: input.records.slice_ref(record.value.unwrap_or_default()),
        };
        let mut hasher = DefaultHasher::new();
        while let Some((output, _)) = outputs.next_if(|(_, source)| **source == index) {
            if made.count == 0 {
                made.unchanged = output.body() == record.body();
                let value = output.value.unwrap_or_default();
                made.first = Some(transformed.records.slice_ref(value));
            } else {
                made.unchanged = false;
            }
            output.body().hash(&mut hasher);
            made.count += 1;
        }
        made.digest = hasher.finish();
        verdicts.push(Verdict::Became(made));
    }
    for rejection in transformed.rejected {
        if let Some(verdict) = verdicts.get_mut(rejection.index as usize) {
            *verdict = Verdict::Rejected(rejection.reason);
        }
    }
    failed(verdicts, transformed.failures)
}

impl Verdict {
    /// Which sort of answer it is: what is counted, in the word of its hook.
    pub fn sort(&self) -> &'static str {
        match self {
            Self::Kept(true) => "kept",
            Self::Key(key) if *key == OrderingKey::NONE => "without a key",
            Self::Key(_) => "with a key",
            Self::Routes(set) if !set.is_empty() => "routed",
            Self::Kept(false) | Self::Routes(_) => "dropped",
            Self::Became(outputs) => match outputs {
                Outputs { count: 0, .. } => "dropped",
                Outputs {
                    unchanged: true, ..
                } => "unchanged",
                Outputs { count: 1, .. } => "changed",
                Outputs { .. } => "fanned out",
            },
            Self::Rejected(_) => "rejected",
            Self::Retry(Decision::Delay(_)) => "delayed",
            Self::Retry(Decision::DeadLetter) => "dead-lettered",
            Self::Retry(Decision::ParkKey) => "parked with their key",
            Self::Failed => "failed",
            Self::NotJudged => "not judged",
        }
    }

    /// Whether the record goes on.
    pub fn is_kept(&self) -> bool {
        match self {
            Self::Kept(kept) => *kept,
            Self::Routes(set) => !set.is_empty(),
            Self::Became(outputs) => outputs.count > 0,
            Self::Key(_) | Self::Retry(_) => true,
            Self::Rejected(_) | Self::Failed | Self::NotJudged => false,
        }
    }

    /// What more there is to say than [`Self::sort`] says.
    pub fn detail(&self, routes: &[String]) -> Option<String> {
        match self {
            Self::Key(key) if *key != OrderingKey::NONE => Some(format!("{:016x}", key.value())),
            Self::Routes(set) if !set.is_empty() => {
                let taken = set.positions().filter_map(|at| routes.get(at));
                Some(taken.map(String::as_str).collect::<Vec<_>>().join(", "))
            }
            Self::Became(outputs) if outputs.count > 0 && !outputs.unchanged => {
                let first = outputs.first.as_deref().unwrap_or_default();
                let first = part(&Shown(first).to_string(), outputs.change());
                Some(match outputs.count {
                    1 => first,
                    count => format!("{count} records, the first: {first}"),
                })
            }
            Self::Rejected(reason) => Some(shorten(&Shown(reason.as_bytes()).to_string(), SHOWN)),
            Self::Retry(Decision::Delay(delay)) => Some(format!("{} ms", delay.as_millis())),
            _ => None,
        }
    }

    /// The value around what the plugin changed first, if that is not at its beginning.
    pub fn changed_part(&self) -> Option<String> {
        match self {
            Self::Became(outputs) if outputs.count > 0 && !outputs.unchanged => {
                let from = outputs.change();
                (from > 0).then(|| part(&Shown(&outputs.before).to_string(), from))
            }
            _ => None,
        }
    }

    /// The whole of it, with the routes by their names.
    pub fn told(&self, routes: &[String]) -> String {
        match self.detail(routes) {
            Some(detail) => format!("{}: {detail}", self.sort()),
            None => self.sort().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn became(before: &str, after: &str) -> Verdict {
        Verdict::Became(Outputs {
            count: 1,
            unchanged: before == after,
            digest: 0,
            first: Some(Bytes::copy_from_slice(after.as_bytes())),
            before: Bytes::copy_from_slice(before.as_bytes()),
        })
    }

    #[test]
    fn what_is_changed_far_behind_is_shown_with_a_little_before_it() {
        let near = became("abc", "abd");
        assert_eq!(near.detail(&[]).as_deref(), Some("abd"));
        assert_eq!(near.changed_part(), None);
        let same = "0123456789".repeat(30);
        let far = became(&format!("{same}old and"), &format!("{same}new and"));
        let lead = "01234567890123456789";
        let after = format!("…{lead}new and");
        assert_eq!(far.detail(&[]), Some(after));
        assert_eq!(far.changed_part(), Some(format!("…{lead}old and")));
        assert_eq!(became(&same, &same).changed_part(), None);
    }
}
