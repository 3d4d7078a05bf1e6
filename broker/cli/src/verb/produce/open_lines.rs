//! Lines whose records are not stored, or may not be: in ranges, since a request that is refused
//! takes many of them with it while those around it are stored.

use crate::input::LineNumber;

/// Ranges that are told apart; a disk that fills up and is emptied makes many.
const RANGES_MAX: usize = 20;

/// Why lines are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// They did not get through, and may the next time.
    NotStored,
    /// Their request was refused for good.
    Refused,
    /// Some of them may be stored all the same.
    Unknown,
}

/// Lines that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: LineNumber,
    /// The last.
    pub last: LineNumber,
    /// Why all of them are open.
    pub why: Why,
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
    /// Whether lines between the ranges need nothing more.
    has_gaps: bool,
    more: Option<(LineNumber, u64)>,
}

impl OpenLines {
    /// A line that has no place in the log, as far as is known.
    pub fn add(&mut self, line: LineNumber, why: Why) {
        self.has_gaps |= !self.goes_on && !self.ranges.is_empty();
        if self.goes_on
            && let Some(range) = self.ranges.last_mut()
            && range.why == why
        {
            range.last = line;
        } else if self.ranges.len() < RANGES_MAX {
            self.ranges.push(Range {
                first: line,
                last: line,
                why,
            });
            self.goes_on = true;
        } else {
            self.more.get_or_insert((line, 0)).1 += 1;
            self.goes_on = false;
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

    /// Whether nothing from the first of them on is stored, up to the last line that was `reached`.
    pub fn is_tail(&self, reached: LineNumber) -> bool {
        let is_open = |range: &Range| range.why != Why::Unknown;
        let ends = self.ranges.last().is_none_or(|range| range.last >= reached);
        ends && !self.has_gaps && self.more.is_none() && self.ranges.iter().all(is_open)
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
                let why = if line == 2 {
                    Why::Unknown
                } else {
                    Why::NotStored
                };
                open.add(LineNumber::new(line), why);
            }
        }
        assert_eq!(open.ranges().len(), RANGES_MAX);
        let range = |first, last, why| Range {
            first: LineNumber::new(first),
            last: LineNumber::new(last),
            why,
        };
        let expected = [
            range(1, 1, Why::NotStored),
            range(2, 2, Why::Unknown),
            range(3, 3, Why::NotStored),
            range(5, 7, Why::NotStored),
        ];
        assert_eq!(open.ranges()[..4], expected);
        assert_eq!(open.ranges()[3].count(), 3);
        assert_eq!(open.more(), Some((LineNumber::new(73), 21)));
    }

    #[test]
    fn ranges_that_are_full_take_no_line_of_another_kind() {
        let mut open = OpenLines::default();
        let whys = [Why::NotStored, Why::Refused].into_iter().cycle();
        for (line, why) in (1..=RANGES_MAX as u64 + 2).zip(whys) {
            open.add(LineNumber::new(line), why);
        }
        let last = open.ranges().last().unwrap();
        assert_eq!((last.first, last.count()), (LineNumber::new(20), 1));
        assert_eq!(open.more(), Some((LineNumber::new(21), 2)));
    }

    #[test]
    fn a_tail_has_no_gaps_and_nothing_unknown() {
        for (whys, expected) in [
            (&[Some(Why::NotStored), Some(Why::NotStored)][..], true),
            (&[None, Some(Why::Refused), Some(Why::NotStored)], true),
            (&[Some(Why::NotStored), None], false),
            (&[Some(Why::NotStored), None, Some(Why::NotStored)], false),
            (&[Some(Why::NotStored), Some(Why::Unknown)], false),
            (&[None], true),
        ] {
            let mut open = OpenLines::default();
            for (line, why) in (1..).zip(whys) {
                match why {
                    Some(why) => open.add(LineNumber::new(line), *why),
                    None => open.settled(),
                }
            }
            let reached = LineNumber::new(whys.len() as u64);
            assert_eq!(open.is_tail(reached), expected, "{whys:?}");
        }
    }
}
