//! Lines whose outcome is still to come, in their order.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Poll, ready};

use weir_sdk::{PublishError, RecordOutcome, Ticket};

use crate::input::LineNumber;

/// What became of a record, and its place in the request that it was part of.
pub type Fate = (u32, Result<RecordOutcome, PublishError>);

/// What became of a line: a record's fate, or nothing for a line that was none.
pub type Settled = (LineNumber, Option<Fate>);

/// The lines. The producer's byte budget bounds the tickets, and between two tickets there is at
/// most one other item.
#[derive(Debug, Default)]
pub struct Waiting {
    lines: VecDeque<(LineNumber, Option<Ticket>)>,
}

impl Waiting {
    /// A line that was sent.
    pub fn sent(&mut self, line: LineNumber, ticket: Ticket) {
        self.lines.push_back((line, Some(ticket)));
    }

    /// A line that is done once all before it are.
    pub fn passed(&mut self, line: LineNumber) {
        match self.lines.back_mut() {
            Some((last, None)) => *last = line,
            _ => self.lines.push_back((line, None)),
        }
    }

    /// The first line, if its outcome is there.
    pub fn pop_ready(&mut self) -> Option<Settled> {
        let (line, ticket) = self.lines.front()?;
        let settled = match ticket {
            None => (*line, None),
            Some(ticket) => (*line, Some((ticket.position(), ticket.outcome()?))),
        };
        self.lines.pop_front();
        Some(settled)
    }

    /// Waits for the first line's outcome; for ever if there is no line. Cancelling loses nothing.
    pub async fn pop(&mut self) -> Settled {
        poll_fn(|cx| {
            let Some((line, ticket)) = self.lines.front_mut() else {
                return Poll::Pending;
            };
            let outcome = match ticket {
                None => None,
                Some(ticket) => {
                    let position = ticket.position();
                    Some((position, ready!(Pin::new(ticket).poll(cx))))
                }
            };
            let settled = (*line, outcome);
            self.lines.pop_front();
            Poll::Ready(settled)
        })
        .await
    }

    /// The place in its request of the record that comes next.
    pub fn next_position(&self) -> Option<u32> {
        let mut tickets = self.lines.iter().filter_map(|(_, ticket)| ticket.as_ref());
        tickets.next().map(Ticket::position)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_lines_take_one_place() {
        let mut waiting = Waiting::default();
        for line in 1..=1000 {
            waiting.passed(LineNumber::new(line));
        }
        assert_eq!(waiting.lines.len(), 1);
        assert_eq!(waiting.pop_ready().unwrap().0, LineNumber::new(1000));
        assert!(waiting.pop_ready().is_none() && waiting.is_empty());
    }
}
