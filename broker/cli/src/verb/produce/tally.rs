//! Counting outcomes: what was stored where, what was not and why, and up to which line
//! everything is known.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_sdk::{PublishError, RecordOutcome, Refused};
use weir_wire::id::TopicId;
use weir_wire::name::TopicName;

use crate::input::LineNumber;
use crate::size;

/// Reasons that are told apart; a plugin that names every record's own would fill the memory.
const REASONS_MAX: usize = 20;
const OTHER_REASONS: &str = "other reasons";

/// What became of the lines of the input.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Records with an outcome, or sent without one to come.
    pub records: u64,
    /// Stored.
    pub stored: u64,
    /// Dropped by a plugin or a policy.
    pub dropped: u64,
    /// Rejected by a plugin, or refused with their batch.
    pub rejected: u64,
    /// In the dead-letter topic.
    pub dead_lettered: u64,
    /// Not sent, because the run ended.
    pub not_sent: u64,
    /// Sent, and nobody knows.
    pub unknown: u64,
    /// Sent one way.
    pub one_way: u64,
    /// Of these, how many may be lost, at most.
    pub maybe_lost: u64,
    /// Empty lines between JSON documents.
    pub blank: u64,
    /// Bytes of keys and values sent.
    pub bytes: u64,
    /// All lines up to this one have an outcome.
    known: LineNumber,
    /// A line without an outcome has been seen: `known` stays before it.
    broken: bool,
    places: BTreeMap<TopicId, (TopicName, u64)>,
    reasons: BTreeMap<Reason, Lines>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    what: &'static str,
    binding: Option<u64>,
    text: String,
}

#[derive(Clone, Copy, Debug)]
struct Lines {
    count: u64,
    first: LineNumber,
    last: LineNumber,
}

impl Tally {
    /// Nothing yet, behind `skip` lines that an earlier run dealt with.
    pub fn new(skip: LineNumber) -> Self {
        Self {
            known: skip,
            ..Self::default()
        }
    }

    /// All lines up to this one have an outcome.
    pub const fn known(&self) -> LineNumber {
        self.known
    }

    /// A line that is no record, or needs no reply.
    pub fn settled(&mut self, line: LineNumber) {
        if !self.broken {
            self.known = line;
        }
    }

    /// What became of a record; lines come in their order.
    pub fn add(&mut self, line: LineNumber, outcome: &Result<RecordOutcome, PublishError>) {
        self.records += 1;
        match outcome {
            Ok(outcome) => {
                self.add_outcome(line, outcome);
                self.settled(line);
            }
            Err(error) => self.add_error(line, error),
        }
    }

    fn add_outcome(&mut self, line: LineNumber, outcome: &RecordOutcome) {
        match outcome {
            RecordOutcome::Stored(stored) => {
                self.stored += 1;
                for place in stored.places() {
                    let entry = self.places.entry(place.topic_id);
                    entry.or_insert_with(|| (place.topic.clone(), 0)).1 += 1;
                }
            }
            RecordOutcome::Dropped(refused) => {
                self.dropped += 1;
                self.refused(line, "dropped", refused);
            }
            RecordOutcome::Rejected(refused) => {
                self.rejected += 1;
                self.refused(line, "rejected", refused);
            }
            RecordOutcome::DeadLettered(refused) => {
                self.dead_lettered += 1;
                self.refused(line, "dead-lettered", refused);
            }
            _ => {
                self.unknown += 1;
                self.reason(
                    line,
                    "unknown",
                    None,
                    "an outcome that this client does not know",
                );
            }
        }
    }

    /// A refusal for good is an outcome; everything else leaves the line open.
    fn add_error(&mut self, line: LineNumber, error: &PublishError) {
        let text = error.to_string();
        match error {
            PublishError::Refused(fault) if !fault.is_retryable() => {
                self.rejected += 1;
                self.reason(line, "rejected", None, &text);
                self.settled(line);
                return;
            }
            PublishError::OutcomeUnknown { .. } => {
                self.unknown += 1;
                self.reason(line, "unknown", None, &text);
            }
            _ => {
                self.not_sent += 1;
                self.reason(line, "not sent", None, &text);
            }
        }
        self.broken = true;
    }

    fn refused(&mut self, line: LineNumber, what: &'static str, refused: &Refused) {
        self.reason(line, what, Some(refused.binding.value()), &refused.reason);
    }

    fn reason(&mut self, line: LineNumber, what: &'static str, binding: Option<u64>, text: &str) {
        let mut reason = Reason {
            what,
            binding,
            text: text.to_owned(),
        };
        if self.reasons.len() >= REASONS_MAX && !self.reasons.contains_key(&reason) {
            reason.text = OTHER_REASONS.to_owned();
        }
        let lines = self.reasons.entry(reason).or_insert(Lines {
            count: 0,
            first: line,
            last: line,
        });
        lines.count += 1;
        lines.last = line;
    }

    /// Records that are not where the user wanted them, and were not dropped on purpose.
    pub const fn failed(&self) -> u64 {
        self.rejected + self.not_sent + self.unknown
    }

    /// The counts as an object.
    pub fn json(&self, topic: &TopicName, bad: u64, took: Duration) -> Value {
        let places = self
            .places
            .values()
            .map(|(topic, records)| json!({ "topic": topic.to_string(), "records": records }));
        let reasons = self.reasons.iter().map(|(reason, lines)| {
            json!({
                "outcome": reason.what,
                "binding": reason.binding,
                "reason": reason.text,
                "records": lines.count,
                "first_line": lines.first.value(),
                "last_line": lines.last.value(),
            })
        });
        json!({
            "topic": topic.to_string(),
            "records": self.records,
            "stored": self.stored,
            "dropped": self.dropped,
            "rejected": self.rejected,
            "dead_lettered": self.dead_lettered,
            "not_sent": self.not_sent,
            "unknown": self.unknown,
            "one_way": self.one_way,
            "maybe_lost": self.maybe_lost,
            "bad_lines": bad,
            "blank_lines": self.blank,
            "lines_done": self.known.value(),
            "bytes": self.bytes,
            "seconds": took.as_secs_f64(),
            "destinations": places.collect::<Vec<_>>(),
            "reasons": reasons.collect::<Vec<_>>(),
        })
    }

    /// The counts for people.
    pub fn text(&self, bad: u64, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(0.001);
        let mut text = format!(
            "{} records in {seconds:.1} s ({} records/s, {}/s)\n",
            size::count(self.records),
            size::count((self.records as f64 / seconds) as u64),
            size::bytes((self.bytes as f64 / seconds) as u64),
        );
        let mut line = |what: &str, count: u64, always: bool| {
            if always || count > 0 {
                text.push_str(&format!("  {what:<14}{:>12}\n", size::count(count)));
            }
        };
        line("stored", self.stored, self.one_way == 0);
        line("dropped", self.dropped, self.one_way == 0);
        line("rejected", self.rejected, self.one_way == 0);
        line("dead-lettered", self.dead_lettered, false);
        line("not sent", self.not_sent, false);
        line("unknown", self.unknown, false);
        line("unconfirmed", self.one_way, false);
        line("maybe lost", self.maybe_lost, false);
        line("bad lines", bad, false);
        line("blank lines", self.blank, false);
        for (topic, records) in self.places.values() {
            text.push_str(&format!("in {topic}: {}\n", size::count(*records)));
        }
        for (reason, lines) in &self.reasons {
            let by = reason
                .binding
                .map(|binding| format!(" by binding {binding}"));
            text.push_str(&format!(
                "{} {}{} (lines {} to {}): {}\n",
                size::count(lines.count),
                reason.what,
                by.unwrap_or_default(),
                lines.first,
                lines.last,
                reason.text,
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::error::{ErrorCode, Fault};

    use super::*;

    fn dropped() -> Result<RecordOutcome, PublishError> {
        Ok(RecordOutcome::Dropped(Refused {
            binding: weir_wire::id::BindingId::new(3),
            reason: "no field origin".into(),
        }))
    }

    fn fault(code: ErrorCode) -> Result<RecordOutcome, PublishError> {
        Err(PublishError::Refused(Fault::new(code, "no")))
    }

    #[test]
    fn known_lines_end_before_the_first_that_is_open() {
        let mut tally = Tally::new(LineNumber::new(10));
        assert_eq!(tally.known(), LineNumber::new(10));
        tally.add(LineNumber::new(11), &dropped());
        tally.add(LineNumber::new(12), &fault(ErrorCode::PluginFailed));
        assert_eq!(tally.known(), LineNumber::new(12));
        tally.add(LineNumber::new(13), &fault(ErrorCode::DiskFull));
        tally.add(LineNumber::new(14), &dropped());
        assert_eq!(tally.known(), LineNumber::new(12));
        assert_eq!((tally.dropped, tally.rejected, tally.not_sent), (2, 1, 1));
        assert_eq!(tally.failed(), 2);
    }

    #[test]
    fn reasons_name_their_lines() {
        let mut tally = Tally::new(LineNumber::default());
        for line in [4, 7, 9] {
            tally.add(LineNumber::new(line), &dropped());
        }
        let text = tally.text(0, Duration::from_secs(1));
        let expected = "3 dropped by binding 3 (lines 4 to 9): no field origin\n";
        assert!(text.ends_with(expected), "{text}");
    }

    #[test]
    fn reasons_are_bounded() {
        let mut tally = Tally::new(LineNumber::default());
        for line in 0..1000 {
            let refused = Err(PublishError::Refused(Fault::new(
                ErrorCode::PluginFailed,
                format!("record {line}"),
            )));
            tally.add(LineNumber::new(line), &refused);
        }
        assert_eq!(tally.reasons.len(), REASONS_MAX + 1);
        assert_eq!(
            tally.reasons.values().map(|lines| lines.count).sum::<u64>(),
            1000
        );
    }
}
