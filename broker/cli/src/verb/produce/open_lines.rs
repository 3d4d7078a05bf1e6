//! Lines whose records are not stored, or may not be: in ranges, since a request that is refused
//! takes many of them with it while those around it are stored.

use crate::input::LineNumber;

/// Ranges that are told apart; a disk that fills up and is emptied makes many.
const RANGES_MAX: usize = 20;

/// Lines that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: LineNumber,
    /// The last.
    pub last: LineNumber,
    /// Whether some of them may be stored all the same.
    pub unknown: bool,
}

impl Range {
    /// How many lines there are.
    pub const fn count(&self) -> u64 {
        self.last.value() - self.first.value() + 1
    }
}

/// The ranges, in the order of the input.
#[derive(Clone, Debug, Default)]
pub struct OpenLines {
    ranges: Vec<Range>,
    /// Whether the next line goes on with the last range.
    goes_on: bool,
    more: Option<(LineNumber, u64)>,
}

impl OpenLines {
    /// A line that has no place in the log; `unknown` where nobody knows.
    pub fn add(&mut self, line: LineNumber, unknown: bool) {
        if self.goes_on
            && let Some(range) = self.ranges.last_mut()
        {
            range.last = line;
            range.unknown |= unknown;
        } else if self.ranges.len() < RANGES_MAX {
            self.ranges.push(Range {
                first: line,
                last: line,
                unknown,
            });
            self.goes_on = true;
        } else {
            self.more.get_or_insert((line, 0)).1 += 1;
        }
    }

    /// A line that needs nothing more.
    pub const fn settled(&mut self) {
        self.goes_on = false;
    }

    /// The first ranges.
    pub fn ranges(&self) -> &[Range] {
        &self.ranges
    }

    /// The first line behind these ranges, and how many lines there are from there on.
    pub const fn more(&self) -> Option<(LineNumber, u64)> {
        self.more
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_end_where_a_line_is_settled_and_are_bounded() {
        let mut open = OpenLines::default();
        for line in 1..=100 {
            if line % 4 == 0 {
                open.settled();
            } else {
                open.add(LineNumber::new(line), line == 2);
            }
        }
        assert_eq!(open.ranges().len(), RANGES_MAX);
        let range = |first, last, unknown| Range {
            first: LineNumber::new(first),
            last: LineNumber::new(last),
            unknown,
        };
        assert_eq!(open.ranges()[..2], [range(1, 3, true), range(5, 7, false)]);
        assert_eq!(open.ranges()[1].count(), 3);
        assert_eq!(open.more(), Some((LineNumber::new(81), 15)));
    }
}
