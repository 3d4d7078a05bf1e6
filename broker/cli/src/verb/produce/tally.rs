//! Counting outcomes: what was stored where, what was not and why, and up to which line
//! everything is known.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use weir_sdk::{PublishError, RecordOutcome, Refused};
use weir_wire::id::TopicId;
use weir_wire::name::TopicName;

use super::open_lines::{OpenLines, Range, Why};
use super::waiting::Fate;
use crate::input::LineNumber;
use crate::record::Shown;
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
    /// Rejected by a plugin.
    pub rejected: u64,
    /// Refused for good with the request that they were part of: nothing of it is stored.
    pub refused: u64,
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
    /// All lines up to this one need nothing more.
    known: LineNumber,
    /// The last line that anything is known of.
    reached: LineNumber,
    /// Lines that are to be sent again; from the first of them on, `known` stays before it.
    open: OpenLines,
    /// The first line that its request was refused for, with the refusal's sentence.
    guilty: Option<(LineNumber, String)>,
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
    /// The line that the others were refused for.
    guilty: Option<LineNumber>,
}

impl Tally {
    /// Nothing yet, behind `skip` lines that an earlier run dealt with.
    pub fn new(skip: LineNumber) -> Self {
        Self {
            known: skip,
            reached: skip,
            ..Self::default()
        }
    }

    /// All lines up to this one need nothing more.
    pub const fn known(&self) -> LineNumber {
        self.known
    }

    /// The last line that anything is known of.
    pub const fn reached(&self) -> LineNumber {
        self.reached
    }

    /// Lines that are to be sent again.
    pub const fn open(&self) -> &OpenLines {
        &self.open
    }

    /// The line that a request was refused for, if it was refused with this sentence.
    pub fn guilty_of(&self, sentence: &str) -> Option<LineNumber> {
        let (line, text) = self.guilty.as_ref()?;
        (text == sentence).then_some(*line)
    }

    /// A line that is no record, or needs no reply.
    pub fn settled(&mut self, line: LineNumber) {
        self.reached = line;
        if self.open.ranges().is_empty() {
            self.known = line;
        }
    }

    /// What became of a record; lines come in their order.
    pub fn add(&mut self, line: LineNumber, (position, outcome): &Fate) {
        self.records += 1;
        self.reached = line;
        match outcome {
            Ok(outcome) => {
                self.add_outcome(line, outcome);
                self.open.settled();
                self.settled(line);
            }
            Err(error) => self.add_error(line, *position, error),
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

    /// A request without an outcome leaves its lines open.
    fn add_error(&mut self, line: LineNumber, position: u32, error: &PublishError) {
        let error = &by_line(error.clone());
        let text = error.to_string();
        let why = match error {
            PublishError::Refused(fault) if !fault.is_retryable() => {
                self.refused += 1;
                let lines = self.reason(line, "refused", None, &text);
                if fault.record == Some(position) {
                    lines.guilty.get_or_insert(line);
                    self.guilty.get_or_insert((line, text));
                }
                Why::Refused
            }
            PublishError::OutcomeUnknown { .. } => {
                self.unknown += 1;
                self.reason(line, "unknown", None, &text);
                Why::Unknown
            }
            _ => {
                self.not_sent += 1;
                self.reason(line, "not sent", None, &text);
                Why::NotStored
            }
        };
        self.open.add(line, why);
    }

    fn refused(&mut self, line: LineNumber, what: &'static str, refused: &Refused) {
        self.reason(line, what, Some(refused.binding.value()), &refused.reason);
    }

    fn reason(
        &mut self,
        line: LineNumber,
        what: &'static str,
        binding: Option<u64>,
        text: &str,
    ) -> &mut Lines {
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
            guilty: None,
        });
        lines.count += 1;
        lines.last = line;
        lines
    }

    /// Records that are not where the user wanted them, and were not dropped on purpose.
    pub const fn failed(&self) -> u64 {
        self.rejected + self.refused + self.not_sent + self.unknown
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
                "because_of_line": lines.guilty.map(LineNumber::value),
            })
        });
        json!({
            "topic": topic.to_string(),
            "records": self.records,
            "stored": self.stored,
            "dropped": self.dropped,
            "rejected": self.rejected,
            "refused": self.refused,
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
            "lines_to_send_again": self.open.ranges().iter().map(range_json).collect::<Vec<_>>(),
        })
    }

    /// The counts for people.
    pub fn text(&self, bad: u64, took: Duration) -> String {
        let seconds = took.as_secs_f64().max(0.001);
        let mut text = format!(
            "{} in {seconds:.1} s ({} records/s, {}/s)\n",
            size::counted(self.records, "record"),
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
        line("refused", self.refused, false);
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
                "{} {}{} ({}): {}\n",
                size::count(lines.count),
                reason.what,
                by.unwrap_or_default(),
                lines.text(),
                Shown(reason.text.as_bytes()),
            ));
        }
        text
    }
}

/// The error without the record's place in its request: users know lines, and the line is named.
pub fn by_line(mut error: PublishError) -> PublishError {
    if let PublishError::Refused(fault) = &mut error
        && let Some(record) = fault.record
    {
        let place = format!("record {record} of the batch: ");
        fault.message = fault.message.replacen(&place, "", 1);
    }
    error
}

impl Lines {
    fn text(&self) -> String {
        let Self { first, last, .. } = self;
        let mut text = if first == last {
            format!("line {first}")
        } else {
            format!("lines {first} to {last}")
        };
        if let Some(guilty) = self.guilty.filter(|_| first != last) {
            text.push_str(&format!(", because of line {guilty}"));
        }
        text
    }
}

fn range_json(range: &Range) -> Value {
    json!({
        "first_line": range.first.value(),
        "last_line": range.last.value(),
        "unknown": range.why == Why::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use weir_wire::error::{ErrorCode, Fault};

    use super::*;

    fn dropped() -> Fate {
        let refused = Refused {
            binding: weir_wire::id::BindingId::new(3),
            reason: "no field origin".into(),
        };
        (0, Ok(RecordOutcome::Dropped(refused)))
    }

    fn fault(code: ErrorCode) -> Fate {
        (0, Err(PublishError::Refused(Fault::new(code, "no"))))
    }

    #[test]
    fn known_lines_end_before_the_first_that_is_open() {
        let mut tally = Tally::new(LineNumber::new(10));
        assert_eq!(tally.known(), LineNumber::new(10));
        tally.add(LineNumber::new(11), &dropped());
        tally.add(LineNumber::new(12), &dropped());
        assert_eq!(tally.known(), LineNumber::new(12));
        tally.add(LineNumber::new(13), &fault(ErrorCode::PluginFailed));
        tally.add(LineNumber::new(14), &fault(ErrorCode::DiskFull));
        tally.add(LineNumber::new(15), &dropped());
        assert_eq!(tally.known(), LineNumber::new(12));
        assert_eq!(tally.reached(), LineNumber::new(15));
        assert_eq!((tally.dropped, tally.refused, tally.not_sent), (3, 1, 1));
        assert_eq!(tally.failed(), 2);
    }

    #[test]
    fn the_line_that_a_request_was_refused_for_is_named() {
        let mut tally = Tally::new(LineNumber::default());
        let mut fault = Fault::new(ErrorCode::PluginFailed, "no field a");
        fault.record = Some(2);
        tally.add(LineNumber::new(4), &dropped());
        for (position, line) in (0..).zip([5, 6, 9, 10]) {
            let fate = (position, Err(PublishError::Refused(fault.clone())));
            tally.add(LineNumber::new(line), &fate);
        }
        tally.add(LineNumber::new(11), &dropped());
        assert_eq!(tally.guilty_of("no field a"), Some(LineNumber::new(9)));
        assert_eq!(tally.guilty_of("another"), None);
        let text = tally.text(0, Duration::from_secs(1));
        let expected = "4 refused (lines 5 to 10, because of line 9): no field a\n";
        assert!(text.contains(expected), "{text}");
        let [open] = tally.open().ranges() else {
            panic!("{:?}", tally.open());
        };
        assert_eq!((open.first.value(), open.last.value()), (5, 10));
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
            let fault = Fault::new(ErrorCode::PluginFailed, format!("record {line}"));
            let refused = Err(PublishError::Refused(fault));
            tally.add(LineNumber::new(line), &(0, refused));
        }
        assert_eq!(tally.reasons.len(), REASONS_MAX + 1);
        assert_eq!(
            tally.reasons.values().map(|lines| lines.count).sum::<u64>(),
            1000
        );
    }
}
