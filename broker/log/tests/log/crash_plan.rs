//! What the crash enumerator writes: a plan of entries, made from a seed, and what a log has to
//! hold when the first so many of them are in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use weir_log::{Entry, LogReader, Op, RecoveredEntry};
use weir_wire::id::{Offset, TopicPartition};

use crate::support::{
    append, columns, entry, line, partition, payload, read_all, sequence, summary,
};

/// One thing to do.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    /// That many entries as one block.
    Commit(usize),
    /// Nothing came for a while.
    Seal,
    /// So many steps of the archiver.
    Archive(usize),
    /// Everything goes into segments.
    Flush,
    /// End and open again; cleanly or not.
    Restart { cleanly: bool },
}

/// Entries, and the steps in which they are written. There are more entries than steps need, for
/// logs that go on after a crash.
#[derive(Debug)]
pub struct Plan {
    entries: Vec<Vec<Part>>,
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    Append {
        at: TopicPartition,
        offset: u64,
        count: u32,
        size: usize,
        seed: u64,
    },
    Sequence {
        producer: u64,
        number: u64,
    },
    Metadata {
        seed: u64,
        size: usize,
    },
    Trim {
        at: TopicPartition,
        start: u64,
    },
}

impl Plan {
    /// A plan of `steps` steps.
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let steps: Vec<Step> = (0..steps)
            .map(|_| match random.random_range(0..24) {
                0..=2 => Step::Seal,
                3 => Step::Restart {
                    cleanly: random.random(),
                },
                4..=5 => Step::Archive(random.random_range(1..4)),
                6 => Step::Archive(40),
                7 => Step::Flush,
                8..=11 => Step::Commit(random.random_range(2..6)),
                _ => Step::Commit(1),
            })
            .collect();
        let needed: usize = steps
            .iter()
            .map(|step| {
                if let Step::Commit(count) = step {
                    *count
                } else {
                    0
                }
            })
            .sum();
        let mut next = BTreeMap::new();
        let entries = (0..needed + 8)
            .map(|number| plan_entry(&mut random, number as u64, &mut next))
            .collect();
        Self { entries, steps }
    }

    /// The same plan, but nothing is given up.
    pub fn without_trims(mut self) -> Self {
        for part in self.entries.iter_mut().flatten() {
            if let Part::Trim { .. } = part {
                *part = Part::Metadata { seed: 1, size: 20 };
            }
        }
        self
    }

    /// All entries, those in reserve too.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn entry(&self, number: usize) -> Entry {
        entry(self.entries[number].iter().map(Part::op).collect())
    }

    /// The partitions that are written to.
    pub fn partitions() -> impl Iterator<Item = TopicPartition> {
        (0..2).flat_map(|topic| (0..3).map(move |number| partition(topic, number)))
    }

    /// The high-water marks when the first `count` entries are there.
    pub fn marks(&self, count: usize) -> Vec<u64> {
        let end = |wanted| {
            let parts = self.entries[..count].iter().flatten();
            let mut ends = parts.filter_map(|part| match part {
                Part::Append {
                    at, offset, count, ..
                } if *at == wanted => Some(offset + u64::from(*count)),
                _ => None,
            });
            ends.next_back().unwrap_or(0)
        };
        Self::partitions().map(end).collect()
    }

    /// Compares what was replayed with the plan: entries in order, none left out, none in part.
    pub fn check_replayed(&self, replayed: &[RecoveredEntry]) -> Result<(), String> {
        for (number, found) in replayed.iter().enumerate() {
            let expected = self.summary(number);
            let found = summary(found);
            if found != expected {
                return Err(format!("entry {number} became {found}; it was {expected}"));
            }
        }
        Ok(())
    }

    /// The first offsets when the first `count` entries are there.
    fn starts(&self, count: usize) -> BTreeMap<TopicPartition, u64> {
        let mut starts = BTreeMap::new();
        for part in self.entries[..count].iter().flatten() {
            if let Part::Trim { at, start } = part {
                let known: &mut u64 = starts.entry(*at).or_default();
                *known = (*known).max(*start);
            }
        }
        starts
    }

    /// Compares what readers get with the first `count` entries, byte for byte.
    pub fn check_read(&self, reader: &LogReader, count: usize) -> Result<(), String> {
        let starts = self.starts(count);
        for wanted in Self::partitions() {
            let start = starts.get(&wanted).copied().unwrap_or(0);
            let expected = self.entries[..count]
                .iter()
                .flatten()
                .filter_map(|part| match part {
                    Part::Append {
                        at,
                        offset,
                        count,
                        size,
                        seed,
                    } if *at == wanted && offset + u64::from(*count) > start => Some((
                        *offset,
                        *count,
                        1_000 + i64::try_from(*offset).unwrap(),
                        columns(*offset, *count),
                        payload(*seed, *size),
                    )),
                    _ => None,
                });
            let bounds = reader.bounds(wanted);
            if bounds.is_some_and(|bounds| bounds.start.value() != start) {
                return Err(format!("{wanted} begins at {bounds:?}, not {start}"));
            }
            let found = read_all(reader, wanted);
            if !found.iter().map(line).eq(expected) {
                return Err(format!("{wanted} does not read as it was written"));
            }
        }
        Ok(())
    }

    fn summary(&self, number: usize) -> String {
        let parts: Vec<String> = self.entries[number]
            .iter()
            .map(|part| match part {
                Part::Append {
                    at, offset, count, ..
                } => format!("{at} {offset}+{count}"),
                Part::Sequence { producer, number } => {
                    format!("producer {producer} #{number} {:?}", outcome(*number))
                }
                Part::Metadata { seed, size } => format!("metadata {:?}", payload(*seed, *size)),
                Part::Trim { at, start } => format!("trim {at} below {start}"),
            })
            .collect();
        format!("{}: {}", number + 1, parts.join(", "))
    }
}

impl Part {
    fn op(&self) -> Op {
        match *self {
            Self::Append {
                at,
                offset,
                count,
                size,
                seed,
            } => append(at, offset, count, payload(seed, size)),
            Self::Sequence { producer, number } => sequence(producer, number, outcome(number)),
            Self::Metadata { seed, size } => Op::Metadata(payload(seed, size)),
            Self::Trim { at, start } => Op::Trim {
                partition: at,
                start: Offset::new(start),
            },
        }
    }
}

fn outcome(number: u64) -> Bytes {
    format!("stored as {number}").into()
}

fn plan_entry(
    random: &mut SmallRng,
    number: u64,
    next: &mut BTreeMap<TopicPartition, u64>,
) -> Vec<Part> {
    let seed = random.random();
    if random.random_ratio(1, 10) {
        let size = random.random_range(0..300);
        return vec![Part::Metadata { seed, size }];
    }
    let written: Vec<_> = next.iter().map(|(at, next)| (*at, *next)).collect();
    if random.random_ratio(1, 15)
        && let Some((at, next)) = written.choose(random)
    {
        let start = random.random_range(0..next + 1);
        return vec![Part::Trim { at: *at, start }];
    }
    let appends = if random.random_ratio(1, 5) {
        random.random_range(2..5)
    } else {
        1
    };
    let mut parts = Vec::new();
    for place in 0..appends {
        let at = partition(random.random_range(0..2), random.random_range(0..3));
        let count = random.random_range(1..5);
        let size = match random.random_range(0..30) {
            0 => random.random_range(16_384..24_000),
            1..=4 => random.random_range(4_000..9_000),
            _ => random.random_range(1..700),
        };
        // Several large ones would not fit an entry.
        let size = if place > 0 { size.min(700) } else { size };
        let offset = next.entry(at).or_insert(0);
        let seed = seed ^ place;
        parts.push(Part::Append {
            at,
            offset: *offset,
            count,
            size,
            seed,
        });
        *offset += u64::from(count);
    }
    parts.push(Part::Sequence {
        producer: number % 3,
        number,
    });
    parts
}
