//! Where a partition's batches can be read from, and which place to read which offsets from.

use weir_wire::id::{Offset, TopicPartition};

use super::frames::FoundFrame;
use crate::format::segment::Run;
use crate::ids::{FileSequence, SegmentId};

/// Offsets that can be read from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// The lower, the sooner it is used.
    pub(super) rank: u8,
    pub(super) from: Offset,
    pub(super) to: Offset,
    pub(super) spot: Spot,
}

impl Place {
    /// The parts of it that lie in these, which do not overlap.
    pub(super) fn within(self, parts: &[(Offset, Offset)]) -> Vec<Self> {
        let parts = parts.iter().map(|part| Self {
            from: self.from.max(part.0),
            to: self.to.min(part.1),
            ..self
        });
        parts.filter(|part| part.from < part.to).collect()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// Frames of a segment.
    Segment { id: SegmentId, from: u64, to: u64 },
    /// One batch of a WAL file.
    Wal {
        file: FileSequence,
        envelope_at: u64,
        batch_at: u64,
    },
}

/// Makes places of frames: those that follow each other are one.
#[derive(Debug)]
pub(super) struct Stretches {
    id: SegmentId,
    rank: u8,
    /// The run they belong to, and whether it holds what it says so far.
    run: Option<Run>,
    open: Option<(TopicPartition, Place)>,
    done: Vec<(TopicPartition, Place)>,
    sound: bool,
}

impl Stretches {
    pub(super) fn new(id: SegmentId, rank: u8) -> Self {
        Self {
            id,
            rank,
            run: None,
            open: None,
            done: Vec::new(),
            sound: true,
        }
    }

    pub(super) fn of_run(run: &Run, rank: u8) -> Self {
        Self {
            run: Some(*run),
            ..Self::new(run.segment, rank)
        }
    }

    pub(super) fn run(&self) -> Option<Run> {
        self.run
    }

    pub(super) fn frame(&mut self, frame: &FoundFrame) {
        let (base, end) = (frame.batch.base_offset, frame.batch.end());
        let belongs = self.run.is_none_or(|run| {
            run.partition == frame.partition && run.base <= base && end <= run.end
        });
        if !belongs {
            // What looks like a frame behind a damaged one may be a part of a record.
            return self.bad();
        }
        let frame_end = frame.at + frame.length;
        if let Some((partition, place)) = &mut self.open
            && *partition == frame.partition
            && place.to <= base
            && let Spot::Segment { to, .. } = &mut place.spot
        {
            (*to, place.to) = (frame_end, end);
            return;
        }
        self.close();
        let spot = Spot::Segment {
            id: self.id,
            from: frame.at,
            to: frame_end,
        };
        let place = Place {
            rank: self.rank,
            from: base,
            to: end,
            spot,
        };
        self.open = Some((frame.partition, place));
    }

    pub(super) fn bad(&mut self) {
        self.sound = false;
        self.close();
    }

    fn close(&mut self) {
        self.done.extend(self.open.take());
    }

    pub(super) fn finish(mut self) -> Vec<(TopicPartition, Place)> {
        self.close();
        // Offsets that a sound run does not hold were taken out of it: nothing is missing there.
        if let (true, Some(run), [(_, place)]) = (self.sound, self.run, &mut self.done[..]) {
            (place.from, place.to) = (run.base, run.end);
        }
        self.done
    }
}

/// Parts of the places, none of which overlap, in the order of their offsets, nothing below
/// `start`. Where places overlap, the one of the lowest rank gives the offsets.
pub(super) fn disjoint(mut places: Vec<Place>, start: Offset) -> Vec<Place> {
    places.sort_by_key(|place| (place.rank, place.from, place.to));
    let mut taken: Vec<Place> = Vec::with_capacity(places.len());
    let mut ranks = places.chunk_by(|a, b| a.rank == b.rank);
    // Within a rank hardly anything overlaps, and there are few ranks.
    for rank in &mut ranks {
        let mut merged = Vec::with_capacity(taken.len() + rank.len());
        let mut covered = taken.iter().copied().peekable();
        let mut next = start;
        for place in rank {
            let mut from = place.from.max(next);
            while let Some(other) = covered.next_if(|other| other.from < place.to) {
                if from < other.from {
                    let to = other.from;
                    merged.push(Place { from, to, ..*place });
                }
                from = from.max(other.to);
                merged.push(other);
            }
            if from < place.to {
                let to = place.to;
                merged.push(Place { from, to, ..*place });
            }
            next = from.max(place.to);
        }
        merged.extend(covered);
        merged.sort_by_key(|place| place.from);
        taken = merged;
    }
    taken
}
