//! The commands that go on where a run stopped.

use super::open_lines::{OpenLines, Range, Why};
use crate::input::LineNumber;
use crate::size;

/// How far a run came.
#[derive(Debug)]
pub struct Stopped<'a> {
    /// Lines that an earlier run dealt with.
    pub skipped: LineNumber,
    /// All lines up to this one need nothing more.
    pub known: LineNumber,
    /// Lines up to this one were sent.
    pub reached: LineNumber,
    /// Those that were sent in vain.
    pub open: &'a OpenLines,
    /// The last line that is wanted, with `--limit`.
    pub last: Option<LineNumber>,
    /// Whether lines are left that were not sent.
    pub more: bool,
}

/// What there is to do, a sentence each.
pub fn notes(arguments: &[String], stopped: &Stopped<'_>) -> Vec<String> {
    let behind = |line: LineNumber| {
        let left = |last: LineNumber| last.value().saturating_sub(line.value());
        command(arguments, line, stopped.last.map(left))
    };
    let ranges = stopped.open.ranges();
    if stopped.open.is_tail(stopped.reached) {
        // Where nothing is done, the same command is the one that goes on.
        if stopped.known <= stopped.skipped {
            return Vec::new();
        }
        let known = stopped.known;
        let refused = ranges.iter().any(|range| range.why == Why::Refused);
        let then = if refused {
            "correct what was refused, then"
        } else {
            "to go on"
        };
        return vec![format!(
            "done up to line {known}; {then}: {}",
            behind(known)
        )];
    }
    let mut notes: Vec<String> = ranges.iter().map(|range| again(arguments, range)).collect();
    if let Some((first, count)) = stopped.open.more() {
        let count = size::count(count);
        notes.push(format!(
            "{count} more lines from line {first} on are not stored, in many places"
        ));
    }
    if stopped.more {
        let reached = stopped.reached;
        notes.push(format!(
            "nothing behind line {reached} was sent; to go on there: {}",
            behind(reached)
        ));
    }
    notes
}

fn again(arguments: &[String], range: &Range) -> String {
    let before = LineNumber::new(range.first.value().saturating_sub(1));
    let command = command(arguments, before, Some(range.count()));
    let (what, are) = match range.count() {
        1 => (format!("line {}", range.first), "is"),
        _ => (format!("lines {} to {}", range.first, range.last), "are"),
    };
    match range.why {
        Why::Unknown => {
            format!("{what} may not be stored; look before you send again: {command}")
        }
        Why::Refused => {
            format!("{what} {are} not stored; correct what was refused, then: {command}")
        }
        Why::NotStored => format!("{what} {are} not stored; to send again: {command}"),
    }
}

/// The same command with `--skip` at `lines`, and `--limit` where there is one.
fn command(arguments: &[String], lines: LineNumber, limit: Option<u64>) -> String {
    let mut words = vec!["weir".to_owned()];
    // Behind `--` there are no options.
    let end = arguments.iter().position(|word| word == "--");
    let (options, rest) = arguments.split_at(end.unwrap_or(arguments.len()));
    let mut options = options.iter();
    while let Some(word) = options.next() {
        if word == "--skip" || word == "--limit" {
            options.next();
        } else if !word.starts_with("--skip=") && !word.starts_with("--limit=") {
            words.push(quote(word));
        }
    }
    words.extend(limit.map(|limit| format!("--limit {limit}")));
    words.push(format!("--skip {lines}"));
    words.extend(rest.iter().map(|word| quote(word)));
    words.join(" ")
}

/// The word as a shell reads it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_same_command_further_on() {
        for (arguments, expected) in [
            (&["produce", "t", "f"][..], "weir produce t f --skip 7"),
            (
                &["produce", "t", "a b", "--skip", "3", "--header", "x=it's"],
                r"weir produce t 'a b' --header 'x=it'\''s' --skip 7",
            ),
            (
                &["produce", "--skip=3", "--limit=4", "t", ""],
                "weir produce t '' --skip 7",
            ),
            (
                &["produce", "--skip", "3", "--", "t", "--skip"],
                "weir produce --skip 7 -- t --skip",
            ),
        ] {
            assert_eq!(
                command(&words(arguments), LineNumber::new(7), None),
                expected
            );
        }
    }

    /// Lines 11 to 30 were sent of 11 to 50; those of `open` in vain.
    fn told(open: &[u64], more: bool) -> Vec<String> {
        let why = |line| {
            if line == 25 {
                Why::Unknown
            } else {
                Why::NotStored
            }
        };
        told_why(open, why, more)
    }

    fn told_why(open: &[u64], why: impl Fn(u64) -> Why, more: bool) -> Vec<String> {
        let mut lines = OpenLines::default();
        let mut known = 30;
        for line in 11..=30 {
            if open.contains(&line) {
                lines.add(LineNumber::new(line), why(line));
                known = known.min(line - 1);
            } else {
                lines.settled();
            }
        }
        notes(
            &words(&["produce", "t", "f"]),
            &Stopped {
                skipped: LineNumber::new(10),
                known: LineNumber::new(known),
                reached: LineNumber::new(30),
                open: &lines,
                last: Some(LineNumber::new(50)),
                more,
            },
        )
    }

    #[test]
    fn only_what_is_not_stored_is_sent_again() {
        assert_eq!(
            told(&[], true),
            ["done up to line 30; to go on: weir produce t f --limit 20 --skip 30"]
        );
        let tail: Vec<u64> = (21..=30).collect();
        assert_eq!(
            told_why(&tail, |_| Why::NotStored, true),
            ["done up to line 20; to go on: weir produce t f --limit 30 --skip 20"]
        );
        let all: Vec<u64> = (11..=30).collect();
        let notes = told_why(&all, |_| Why::NotStored, true);
        assert!(notes.is_empty(), "the same command does it");
        assert_eq!(
            told(&[15, 16, 17, 25], true),
            [
                "lines 15 to 17 are not stored; to send again: \
                 weir produce t f --limit 3 --skip 14",
                "line 25 may not be stored; look before you send again: \
                 weir produce t f --limit 1 --skip 24",
                "nothing behind line 30 was sent; to go on there: \
                 weir produce t f --limit 20 --skip 30",
            ]
        );
        assert_eq!(told(&[15, 25], false).len(), 2);
    }

    #[test]
    fn what_may_be_stored_is_looked_at_first_also_at_the_end() {
        let tail: Vec<u64> = (21..=30).collect();
        let why = |line| {
            if line < 26 {
                Why::Unknown
            } else {
                Why::NotStored
            }
        };
        assert_eq!(
            told_why(&tail, why, true),
            [
                "lines 21 to 25 may not be stored; look before you send again: \
                 weir produce t f --limit 5 --skip 20",
                "lines 26 to 30 are not stored; to send again: \
                 weir produce t f --limit 5 --skip 25",
                "nothing behind line 30 was sent; to go on there: \
                 weir produce t f --limit 20 --skip 30",
            ]
        );
        let all: Vec<u64> = (11..=30).collect();
        assert_eq!(
            told_why(&all, |_| Why::Unknown, false),
            [
                "lines 11 to 30 may not be stored; look before you send again: \
              weir produce t f --limit 20 --skip 10"
            ]
        );
    }

    #[test]
    fn what_was_refused_for_good_is_corrected_first() {
        let why = |line| {
            if line < 26 {
                Why::Refused
            } else {
                Why::NotStored
            }
        };
        let tail: Vec<u64> = (21..=30).collect();
        assert_eq!(
            told_why(&tail, why, true),
            ["done up to line 20; correct what was refused, then: \
              weir produce t f --limit 30 --skip 20"]
        );
        assert_eq!(
            told_why(&[15], why, false),
            ["line 15 is not stored; correct what was refused, then: \
              weir produce t f --limit 1 --skip 14"]
        );
    }
}
