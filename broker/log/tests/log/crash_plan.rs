//! What the crash enumerator writes: a plan of entries, made from a seed, and what a log has to
//! hold when the first so many of them are in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_log::{Entry, LogReader, Op, RecoveredEntry};
use weir_wire::id::TopicPartition;

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
    /// End and open again.
    Restart,
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
}

impl Plan {
    /// A plan of `steps` steps.
    pub fn new(seed: u64, steps: usize) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let steps: Vec<Step> = (0..steps)
            .map(|_| match random.random_range(0..20) {
                0..=2 => Step::Seal,
                3 => Step::Restart,
                4..=7 => Step::Commit(random.random_range(2..6)),
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

    /// Compares what readers get with the first `count` entries, byte for byte.
    pub fn check_read(&self, reader: &LogReader, count: usize) -> Result<(), String> {
        for wanted in Self::partitions() {
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
                    } if *at == wanted => Some((
                        *offset,
                        *count,
                        1_000 + i64::try_from(*offset).unwrap(),
                        columns(*offset, *count),
                        payload(*seed, *size),
                    )),
                    _ => None,
                });
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
