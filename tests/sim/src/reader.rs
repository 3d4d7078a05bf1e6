//! A reader: goes through a partition from somewhere on, at a pace of its own.

use rand::Rng;
use rand::rngs::SmallRng;
use weir_log::{LogReader, Read, ReadError};
use weir_wire::id::{Offset, Timestamp, TopicPartition};

use crate::broker::has_ordering_keys;
use crate::history::{Extent, Found, History, Problem};
use crate::record;

/// A reader.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) at: TopicPartition,
    pub(crate) position: Offset,
}

/// What a read is about: made before it, so that it can be done in the middle of something else.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask {
    pub(crate) at: TopicPartition,
    pub(crate) from: Offset,
    bytes_max: usize,
    batches_max: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Answered {
    pub(crate) ask: Ask,
    pub(crate) read: Result<Read, ReadError>,
}

impl Ask {
    pub(crate) fn new(random: &mut SmallRng, at: TopicPartition, from: Offset) -> Self {
        Self {
            at,
            from,
            bytes_max: random.random_range(1..20_000),
            batches_max: random.random_range(1..12),
        }
    }

    pub(crate) fn ask(self, log: &LogReader) -> Answered {
        let read = log.read(self.at, self.from, self.bytes_max, self.batches_max);
        Answered { ask: self, read }
    }
}

/// What a partition holds, as the log says.
pub(crate) fn extent(log: &LogReader, at: TopicPartition) -> Option<Extent> {
    log.bounds(at).map(|bounds| Extent {
        start: bounds.start,
        end: bounds.high_water_mark,
    })
}

impl Reader {
    /// Begins somewhere: at an end, at an offset, or at a time.
    pub(crate) fn begin(
        random: &mut SmallRng,
        now: Timestamp,
        at: TopicPartition,
        log: &LogReader,
        history: &mut History,
    ) -> Self {
        let extent = extent(log, at).unwrap_or(Extent {
            start: Offset::ZERO,
            end: Offset::ZERO,
        });
        let inside = extent.end.since(extent.start);
        let position = match random.random_range(0..4) {
            0 => extent.start,
            1 => extent.end,
            2 => Offset::new(extent.start.value() + random.random_range(0..=inside)),
            _ => {
                let time = Timestamp::new(random.random_range(0..=now.value() + 5));
                match log.offset_at(at, time) {
                    Ok(found) => {
                        history.sought(at, time, found, extent);
                        found
                    }
                    Err(error) => {
                        let text = format!("looking for {time} in {at}: {error}");
                        history.note(Problem::Broken(text));
                        extent.start
                    }
                }
            }
        };
        Self { at, position }
    }

    /// Reads on.
    pub(crate) fn read(&mut self, random: &mut SmallRng, log: &LogReader) -> Answered {
        let ask = Ask::new(random, self.at, self.position);
        if random.random_ratio(1, 3)
            && let Some(read) = log.read_cached(ask.at, ask.from, ask.bytes_max, ask.batches_max)
        {
            let read = Ok(read);
            return Answered { ask, read };
        }
        ask.ask(log)
    }
}

/// What a reader makes of an answer.
#[derive(Debug)]
pub(crate) struct Noted {
    /// Where it goes on.
    pub(crate) next: Offset,
    pub(crate) found: Vec<Found>,
    pub(crate) text: String,
}

/// Writes down what a reader got.
pub(crate) fn note(answered: &Answered, history: &mut History) -> Noted {
    let Ask { at, from, .. } = answered.ask;
    let mut found = Vec::new();
    let read = match &answered.read {
        Ok(read) => read,
        Err(ReadError::OutOfRange { start, end, .. }) => {
            let (start, end) = (*start, *end);
            history.extent(at, Extent { start, end });
            let (next, text) = (start, format!("{from} is outside of {start} to {end}"));
            return Noted { next, found, text };
        }
        Err(error) => {
            let text = format!("reading {at} from {from}: {error}");
            history.note(Problem::Broken(text.clone()));
            let next = from;
            return Noted { next, found, text };
        }
    };
    for batch in &read.batches {
        match record::decode(batch, has_ordering_keys(at.topic)) {
            Ok(records) => found.extend(records),
            Err(error) => {
                let text = format!("reading {at} from {from}: {error}");
                history.note(Problem::Broken(text));
            }
        }
    }
    let next = read.next;
    history.read(at, from, next, &found);
    let text = format!("{from} to {next}, {} records", found.len());
    Noted { next, found, text }
}
