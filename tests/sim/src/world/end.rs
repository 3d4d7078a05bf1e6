//! The end of a run: nothing fails any more, everybody gets an answer, the broker starts once
//! more, and all that is there is read.

use std::path::Path;

use weir_log::Vfs;
use weir_wire::id::Timestamp;

use super::World;
use crate::broker::{Broker, DIR};
use crate::history::Problem;

/// Rounds in which everybody does what there is to do; far more than are needed.
const ROUNDS: usize = 400;

impl World {
    pub(super) fn end(&mut self) {
        self.trace.line(format_args!("the end begins"));
        self.calm = true;
        self.empty();
        let done = (0..ROUNDS).any(|_| {
            self.round();
            self.is_done() || !self.history.problems().is_empty()
        });
        if !done {
            let waiting: Vec<u32> = self
                .producers
                .iter()
                .filter(|producer| !producer.is_done())
                .map(|producer| producer.number)
                .collect();
            let text = format!("producers {waiting:?} never get their answers");
            self.history.note(Problem::Broken(text));
        }
        if !self.history.problems().is_empty() {
            return;
        }
        self.seal();
        self.power_failure();
        self.start();
        if self.history.problems().is_empty() {
            self.take_stock();
        }
    }

    fn is_done(&self) -> bool {
        let idle = |broker: &Broker| broker.waiting() == 0 && broker.preparing().is_empty();
        self.broker.as_ref().is_some_and(idle) && self.producers.iter().all(|p| p.is_done())
    }

    fn round(&mut self) {
        self.now = Timestamp::new(self.now.value() + 1);
        self.start();
        for index in 0..self.producers.len() {
            self.send_as(index, false);
            self.hear_from(index);
        }
        self.sequence();
        self.commit();
        for index in 0..self.producers.len() {
            self.receive_as(index);
        }
    }

    /// The highest number of a file in a directory of the log.
    fn highest(&self, folder: &str) -> usize {
        let names = self.disk.list(&Path::new(DIR).join(folder));
        let newest = names.unwrap_or_default().pop();
        let number = newest.and_then(|name| name.get(..16)?.parse().ok());
        number.unwrap_or(0)
    }

    /// Writes down all that is there.
    fn take_stock(&mut self) {
        self.counts.segments = self.highest("segments");
        self.counts.wal_files = self.highest("wal");
        for (at, extent, records) in self.read_everything() {
            self.history.stored(at, extent, &records);
        }
    }
}
