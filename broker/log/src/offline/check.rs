//! Whether the frames of a run are what its segment says they are.

use std::path::{Path, PathBuf};

use weir_wire::id::{Offset, TopicPartition};

use super::Damage;
use super::frames::{BadPiece, FoundFrame, Piece};
use super::survey::RESTORE;
use crate::segment::Run;

/// Follows the frames of a run, or of a whole segment that does not say what its runs are.
#[derive(Debug)]
pub(crate) struct RunCheck {
    path: PathBuf,
    run: Option<Run>,
    /// What was wrong since the last sound frame.
    bad: Option<BadPiece>,
    /// Whether anything was wrong: then the sums are wrong, too.
    spoilt: bool,
    /// Where the last sound frame ended.
    last: Option<(TopicPartition, Offset)>,
    found: Checked,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    pub(crate) batches: u64,
    pub(crate) records: u64,
    /// Bytes of the batches.
    pub(crate) bytes: u64,
    pub(crate) damages: Vec<Damage>,
}

impl RunCheck {
    pub(crate) fn new(path: &Path, run: Option<&Run>) -> Self {
        Self {
            path: path.to_owned(),
            run: run.copied(),
            bad: None,
            spoilt: false,
            last: None,
            found: Checked::default(),
        }
    }

    /// Takes in what comes next.
    pub(crate) fn piece(&mut self, piece: Piece) {
        match piece {
            Piece::Frame(frame) => self.frame(&frame),
            Piece::Bad(bad) => {
                self.spoilt = true;
                self.bad.get_or_insert(bad);
            }
        }
    }

    fn frame(&mut self, frame: &FoundFrame) {
        let partition = frame.partition;
        let (base, end) = (frame.batch.base_offset, frame.batch.end());
        if let Some(bad) = self.bad.take() {
            self.lost(bad, Some((partition, base)));
        }
        let before = self.last.filter(|(last, _)| *last == partition);
        let misplaced = self
            .run
            .is_some_and(|run| run.partition != partition || base < run.base || end > run.end)
            || before.is_some_and(|(_, end)| base < end);
        if misplaced {
            self.damage(frame.at, "another batch stands there".to_owned(), partition);
        }
        self.last = Some((partition, end));
        self.found.batches += 1;
        self.found.records += u64::from(frame.batch.count);
        self.found.bytes += frame.batch.bytes.len() as u64;
    }

    /// The run ends.
    pub(crate) fn finish(mut self) -> Checked {
        let Some(run) = self.run else {
            // Behind the last frame stands what is known not to be a footer.
            return self.found;
        };
        let sums = (self.found.batches, self.found.bytes);
        if let Some(bad) = self.bad.take() {
            self.lost(bad, Some((run.partition, run.end)));
        } else if !self.spoilt && sums != (u64::from(run.batches), run.batch_bytes) {
            let what = format!(
                "a run holds {} batches of {} bytes, and not {} of {}",
                sums.0, sums.1, run.batches, run.batch_bytes
            );
            self.damage(run.position, what, run.partition);
        }
        self.found
    }

    /// Something is gone between the last sound frame and this place.
    fn lost(&mut self, bad: BadPiece, until: Option<(TopicPartition, Offset)>) {
        let run = self.run.map(|run| (run.partition, run.base));
        let from = self.last.or(run);
        let mut what = bad.what.to_owned();
        let mut partitions: Vec<_> = [from, until].into_iter().flatten().map(|it| it.0).collect();
        partitions.dedup();
        if let (Some((one, from)), Some((other, to))) = (from, until)
            && one == other
        {
            what = format!("{what}: offsets {from} to {to} of {one} cannot be read");
        }
        self.found.damages.push(Damage {
            path: self.path.clone(),
            offset: bad.offset,
            what,
            partitions,
            advice: RESTORE,
        });
    }

    fn damage(&mut self, offset: u64, what: String, partition: TopicPartition) {
        self.found.damages.push(Damage {
            path: self.path.clone(),
            offset,
            what,
            partitions: vec![partition],
            advice: RESTORE,
        });
    }
}
