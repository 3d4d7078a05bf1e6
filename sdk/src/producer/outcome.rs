//! What became of a request, looked up record by record without an allocation for each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use weir_wire::id::{BindingId, Offset, PartitionId, TopicId};
use weir_wire::limits::{OUTCOME_PLACES_MAX, SET_PLACES_MAX};
use weir_wire::name::TopicName;
use weir_wire::produce::{
    Destination, Fate, InvalidOutcome, Outcome, REFUSAL_DEAD_LETTERED, REFUSAL_DROPPED,
    REFUSAL_REJECTED,
};
use weir_wire::varint::Reader;

/// The outcomes of the records of one request, in their order. Clones share them.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcomes {
    shared: Arc<Shared>,
}

#[derive(Debug, PartialEq, Eq)]
struct Shared {
    count: u32,
    runs: Vec<Run>,
    places: Vec<RunPlace>,
    destinations: Vec<Destination>,
    refusals: Vec<(u32, Refused)>,
}

/// Records from `start` up to the next run's start share their fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    start: u32,
    fate: RunFate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunFate {
    /// Stored at `places[from..to]`.
    Stored {
        from: usize,
        to: usize,
    },
    Refused(usize),
}

/// Where the first record of a run went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct RunPlace {
    destination: usize,
    base: Offset,
    /// How far behind the next record's is: a record that became several takes several offsets.
    step: u32,
}

/// What became of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordOutcome {
    /// It is stored.
    Stored(Stored),
    /// A plugin or a policy dropped it.
    Dropped(Refused),
    /// A plugin rejected it.
    Rejected(Refused),
    /// It is in the dead-letter topic.
    DeadLettered(Refused),
}

/// Who kept a record from being stored, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The binding.
    pub binding: BindingId,
    /// Its reason.
    pub reason: Arc<str>,
}

/// Where a record is stored: at one place or, if plugins say so, at several.
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    shared: Arc<Shared>,
    from: usize,
    to: usize,
    /// How far behind the first record of its run.
    delta: u32,
}

/// One place of a stored record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The topic's id.
    pub topic_id: TopicId,
    /// The topic's name.
    pub topic: &'a TopicName,
    /// The partition.
    pub partition: PartitionId,
    /// The offset.
    pub offset: Offset,
}

impl RecordOutcome {
    /// Where it is, if it is stored.
    #[must_use]
    pub const fn stored(&self) -> Option<&Stored> {
        match self {
            Self::Stored(stored) => Some(stored),
            _ => None,
        }
    }
}

impl Stored {
    /// All places, at least one. A place comes several times if a plugin made several records of
    /// this one that are stored there.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        let places = self.shared.places.get(self.from..self.to).unwrap_or(&[]);
        places.iter().map(|place| {
            let destination = &self.shared.destinations[place.destination];
            Place {
                topic_id: destination.topic,
                topic: &destination.name,
                partition: destination.partition,
                offset: place.base.advance(self.delta.saturating_mul(place.step)),
            }
        })
    }

    /// The first place: the only one unless a route plugin named several.
    #[must_use]
    pub fn place(&self) -> Place<'_> {
        self.places()
            .next()
            .expect("a stored record has a place: new() checked it")
    }

    /// The offset at the first place.
    #[must_use]
    pub fn offset(&self) -> Offset {
        self.place().offset
    }
}

impl fmt::Debug for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places()).finish()
    }
}

impl Outcomes {
    /// Checks a broker's outcome of a request of `count` records.
    pub(super) fn new(outcome: Outcome, count: u32) -> Result<Self, InvalidOutcome> {
        let sets = outcome
            .sets
            .iter()
            .map(|set| read_set(set, outcome.destinations.len()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut refusals: Vec<(u32, Refused)> = outcome
            .refusals
            .iter()
            .map(|refusal| {
                let refused = Refused {
                    binding: refusal.binding,
                    reason: Arc::from(refusal.reason.as_str()),
                };
                (refusal.kind, refused)
            })
            .collect();
        let bases = outcome.destinations.iter();
        let mut next: Vec<u64> = bases.map(|to| to.base_offset.value()).collect();
        let mut runs = Vec::new();
        let mut places = Vec::new();
        let mut start = 0_u32;
        for (records, fate) in outcome.runs()? {
            let end = start.checked_add(records).filter(|&end| end <= count);
            let end = end.ok_or(InvalidOutcome)?;
            let fate = match fate {
                Fate::Refusal(index) => RunFate::Refused(index),
                Fate::Set(index) => {
                    let set = sets.get(index).ok_or(InvalidOutcome)?;
                    let from = places.len();
                    if from + set.len() > OUTCOME_PLACES_MAX {
                        return Err(InvalidOutcome);
                    }
                    for place in set {
                        let base = *next.get(place.destination).ok_or(InvalidOutcome)?;
                        places.push(RunPlace {
                            destination: place.destination,
                            base: Offset::new(base).advance(place.before),
                            step: place.step,
                        });
                    }
                    for place in set.iter().filter(|place| place.before == 0) {
                        let taken = u64::from(place.step) * u64::from(records);
                        let base = next.get_mut(place.destination).ok_or(InvalidOutcome)?;
                        *base = base.checked_add(taken).ok_or(InvalidOutcome)?;
                    }
                    match places.len() {
                        to if to > from => RunFate::Stored { from, to },
                        _ => RunFate::Refused(nowhere(&mut refusals)),
                    }
                }
            };
            if end > start {
                runs.push(Run { start, fate });
            }
            start = end;
        }
        if start != count {
            return Err(InvalidOutcome);
        }
        Ok(Self {
            shared: Arc::new(Shared {
                count,
                runs,
                places,
                destinations: outcome.destinations,
                refusals,
            }),
        })
    }

    /// How many records the request had.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.shared.count
    }

    /// What became of the record of that index; `None` beyond the last one.
    #[must_use]
    pub fn record(&self, index: u32) -> Option<RecordOutcome> {
        let shared = &self.shared;
        if index >= shared.count {
            return None;
        }
        let behind = shared.runs.partition_point(|run| run.start <= index);
        let run = shared.runs.get(behind.checked_sub(1)?)?;
        Some(match run.fate {
            RunFate::Stored { from, to } => RecordOutcome::Stored(Stored {
                shared: Arc::clone(shared),
                from,
                to,
                delta: index - run.start,
            }),
            RunFate::Refused(index) => {
                let (kind, refused) = shared.refusals.get(index)?.clone();
                match kind {
                    REFUSAL_REJECTED => RecordOutcome::Rejected(refused),
                    REFUSAL_DEAD_LETTERED => RecordOutcome::DeadLettered(refused),
                    _ => RecordOutcome::Dropped(refused),
                }
            }
        })
    }

    /// The outcomes in the order of the records.
    pub fn records(&self) -> impl Iterator<Item = RecordOutcome> + '_ {
        (0..self.count()).filter_map(|index| self.record(index))
    }

    /// How many records met each fate: stored, dropped, rejected, dead-lettered.
    pub(super) fn tally(&self) -> Tally {
        let shared = &self.shared;
        let mut tally = Tally::default();
        for (index, run) in shared.runs.iter().enumerate() {
            let end = shared.runs.get(index + 1).map_or(shared.count, |r| r.start);
            let records = u64::from(end - run.start);
            let kind = match run.fate {
                RunFate::Stored { .. } => None,
                RunFate::Refused(index) => shared.refusals.get(index).map(|(kind, _)| *kind),
            };
            match kind {
                None => tally.stored += records,
                Some(REFUSAL_REJECTED) => tally.rejected += records,
                Some(REFUSAL_DEAD_LETTERED) => tally.dead_lettered += records,
                Some(_) => tally.dropped += records,
            }
        }
        tally
    }
}

impl fmt::Debug for Outcomes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tally = self.tally();
        f.debug_struct("Outcomes")
            .field("count", &self.count())
            .field("tally", &tally)
            .finish()
    }
}

/// Records by fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) stored: u64,
    pub(super) dropped: u64,
    pub(super) rejected: u64,
    pub(super) dead_lettered: u64,
}

/// The refusal that stands for a set of no destinations.
fn nowhere(refusals: &mut Vec<(u32, Refused)>) -> usize {
    let refused = Refused {
        binding: BindingId::new(0),
        reason: Arc::from("it was routed nowhere"),
    };
    let found = refusals.iter().position(|(_, known)| *known == refused);
    found.unwrap_or_else(|| {
        refusals.push((REFUSAL_DROPPED, refused));
        refusals.len() - 1
    })
}

/// A place of a set.
struct SetPlace {
    destination: usize,
    /// How often the set has the destination before this place.
    before: u32,
    /// How often it has it in all.
    step: u32,
}

fn read_set(bytes: &[u8], destinations: usize) -> Result<Vec<SetPlace>, InvalidOutcome> {
    let mut reader = Reader::new(bytes);
    let mut set = Vec::new();
    let mut occurrences: HashMap<usize, u32> = HashMap::new();
    while !reader.is_empty() {
        let index = reader.unsigned().map_err(|_| InvalidOutcome)?;
        let destination = usize::try_from(index).map_err(|_| InvalidOutcome)?;
        if destination >= destinations || set.len() == SET_PLACES_MAX {
            return Err(InvalidOutcome);
        }
        let times = occurrences.entry(destination).or_default();
        set.push(SetPlace {
            destination,
            before: *times,
            step: 0,
        });
        *times += 1;
    }
    for place in &mut set {
        place.step = occurrences.get(&place.destination).copied().unwrap_or(1);
    }
    Ok(set)
}

#[cfg(test)]
mod tests;
