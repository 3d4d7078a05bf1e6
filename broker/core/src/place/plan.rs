//! The decision for every record, before any batch is built.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter::Peekable;
use std::rc::Rc;
use std::slice::Iter;

use weir_wire::batch::RecordView;
use weir_wire::id::{BindingId, Offset, PartitionId, TopicPartition};
use weir_wire::limits::SET_PLACES_MAX;
use weir_wire::placement::{OrderingKey, partition_of_key};
use weir_wire::produce::{Destination, Fate, Refusal};
use weir_wire::produce::{REFUSAL_DEAD_LETTERED, REFUSAL_DROPPED, REFUSAL_REJECTED};

use super::bounds::Bounds;
use super::{Decisions, PlaceError, Refused, Target};

/// Different reasons that an outcome tells, and the bytes of one; it is kept in memory for
/// retries.
const REASONS_MAX: usize = 256;
const REASON_BYTES_MAX: usize = 256;
const OTHER_REASONS: &str = "refused, as others of this request for too many different reasons";

/// Decides record by record.
pub(super) struct Plan<'a> {
    decisions: &'a Decisions<'a>,
    left_out: Peekable<Iter<'a, u32>>,
    refused: Peekable<Iter<'a, Refused>>,
    /// The producer's record that the next one is part of.
    source: u32,
    /// Where the parts of that record go, so far.
    places: Vec<u32>,
    place_index: HashMap<TopicPartition, u32>,
    set_index: HashMap<Rc<[u32]>, usize>,
    refusal_index: HashMap<(u32, BindingId, String), usize>,
    bounds: Bounds,
    decided: Decided,
}

/// What was decided.
#[derive(Default)]
pub(super) struct Decided {
    pub(super) destinations: Vec<Destination>,
    /// Places: indexes into the destinations.
    pub(super) sets: Vec<Rc<[u32]>>,
    pub(super) refusals: Vec<Refusal>,
    /// For each of the producer's records.
    pub(super) fates: Vec<Fate>,
    /// For each record to be placed, how many of its source's places are its own.
    pub(super) taken: Vec<u16>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(decisions: &'a Decisions<'a>) -> Result<Self, PlaceError> {
        let mut bounds = Bounds::default();
        for letter in decisions.letters {
            bounds.letter(letter)?;
        }
        Ok(Self {
            decisions,
            left_out: decisions.left_out.iter().peekable(),
            refused: decisions.refused.iter().peekable(),
            source: 0,
            places: Vec::new(),
            place_index: HashMap::new(),
            set_index: HashMap::new(),
            refusal_index: HashMap::new(),
            bounds,
            decided: Decided::default(),
        })
    }

    /// Decides about a record to be placed.
    pub(super) fn decide(&mut self, index: u32, record: &RecordView<'_>) -> Result<(), PlaceError> {
        let sources = self.decisions.sources;
        let source = sources.map_or(index, |sources| sources.of[index as usize]);
        self.close_before(source)?;
        let before = self.places.len();
        if self
            .left_out
            .next_if(|left_out| **left_out == index)
            .is_none()
        {
            self.send(index as usize, record)?;
        }
        let taken = self.places.len() - before;
        if self.places.len() > SET_PLACES_MAX {
            return Err(PlaceError::TooManyPlaces { index: source });
        }
        let keyed = self.decisions.keys.is_some();
        self.bounds.record(record, taken, keyed)?;
        self.decided.taken.push(taken as u16);
        Ok(())
    }

    /// Everything was decided, about so many records of the producer.
    pub(super) fn finish(mut self, sent: u32) -> Result<Decided, PlaceError> {
        self.close_before(sent)?;
        Ok(self.decided)
    }

    /// The records before that one have no further parts.
    fn close_before(&mut self, source: u32) -> Result<(), PlaceError> {
        while self.source < source {
            let fate = self.fate()?;
            if self.decided.fates.last() != Some(&fate) {
                self.bounds.run(self.places.len())?;
            }
            self.decided.fates.push(fate);
            self.places.clear();
            self.source += 1;
        }
        Ok(())
    }

    /// What became of a record of the producer. It counts as stored if any part of it is; that a
    /// plugin rejected another part, or failed on it, stands among the refusals all the same.
    fn fate(&mut self) -> Result<Fate, PlaceError> {
        let stored = !self.places.is_empty();
        let mut gravest: Option<&Refused> = None;
        let source = self.source;
        while let Some(refused) = self.refused.next_if(|refused| refused.source <= source) {
            if stored && refused.kind != REFUSAL_DROPPED {
                self.refuse(refused.kind, refused.binding, &refused.reason);
            }
            if gravest.is_none_or(|known| gravity(known.kind) < gravity(refused.kind)) {
                gravest = Some(refused);
            }
        }
        if stored {
            return Ok(Fate::Set(self.set()?));
        }
        let index = match (gravest, self.decisions.routes.first()) {
            (Some(refused), _) => self.refuse(refused.kind, refused.binding, &refused.reason),
            (None, Some(routing)) => self.refuse(REFUSAL_DROPPED, routing.binding, "no route"),
            (None, None) => return Err(PlaceError::Lost { index: source }),
        };
        Ok(Fate::Refusal(index))
    }

    fn set(&mut self) -> Result<usize, PlaceError> {
        if let Some(&set) = self.set_index.get(self.places.as_slice()) {
            return Ok(set);
        }
        let sets = &mut self.decided.sets;
        self.bounds.set(&self.places, sets.len())?;
        let set: Rc<[u32]> = self.places.as_slice().into();
        sets.push(set.clone());
        self.set_index.insert(set, sets.len() - 1);
        Ok(sets.len() - 1)
    }

    fn send(&mut self, index: usize, record: &RecordView<'_>) -> Result<(), PlaceError> {
        let decisions = self.decisions;
        let key = decisions.keys.map(|keys| keys[index]);
        let own = self.places.len();
        if decisions.routes.is_empty() {
            self.add_place(decisions.addressed, key, record.key, own)?;
        }
        for routing in decisions.routes {
            let set = routing.sets[index];
            let declared = routing.targets.iter().enumerate();
            for (_, target) in declared.filter(|(bit, _)| set >> bit & 1 == 1) {
                self.add_place(target, key, record.key, own)?;
            }
        }
        Ok(())
    }

    /// Adds a place to those of a record, which are the ones from `own` on.
    fn add_place(
        &mut self,
        target: &Target,
        ordering_key: Option<OrderingKey>,
        key: Option<&[u8]>,
        own: usize,
    ) -> Result<(), PlaceError> {
        let partition = partition(target, ordering_key, key, self.decisions.sticky);
        let at = TopicPartition {
            topic: target.topic,
            partition,
        };
        let place = match self.place_index.entry(at) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                let destinations = &mut self.decided.destinations;
                let made = destination(target, partition);
                self.bounds.destination(&made, destinations.len())?;
                destinations.push(made);
                *new.insert(destinations.len() as u32 - 1)
            }
        };
        // Several declared routes may lead to one place; a record is stored there once.
        if !self.places[own..].contains(&place) {
            self.places.push(place);
        }
        Ok(())
    }

    fn refuse(&mut self, kind: u32, binding: BindingId, reason: &str) -> usize {
        debug_assert!((REFUSAL_DROPPED..=REFUSAL_DEAD_LETTERED).contains(&kind));
        let refusals = &mut self.decided.refusals;
        let reason = &reason[..reason.floor_char_boundary(REASON_BYTES_MAX)];
        let mut named = (kind, binding, reason.to_owned());
        if refusals.len() >= REASONS_MAX && !self.refusal_index.contains_key(&named) {
            OTHER_REASONS.clone_into(&mut named.2);
        }
        let index = self.refusal_index.entry(named).or_insert_with_key(|named| {
            refusals.push(Refusal {
                kind,
                binding,
                reason: named.2.clone(),
            });
            refusals.len() - 1
        });
        *index
    }
}

/// A plugin's own word weighs more than its failure, and that more than being dropped.
const fn gravity(kind: u32) -> u32 {
    match kind {
        REFUSAL_REJECTED => 2,
        REFUSAL_DEAD_LETTERED => 1,
        _ => 0,
    }
}

/// The partition of a topic that a record goes to.
pub(super) fn partition(
    target: &Target,
    ordering_key: Option<OrderingKey>,
    key: Option<&[u8]>,
    sticky: u32,
) -> PartitionId {
    let by_key = || match (ordering_key, key) {
        (Some(ordering_key), _) => ordering_key.partition(target.partitions),
        (None, Some(key)) => Some(partition_of_key(key, target.partitions)),
        (None, None) => None,
    };
    let sticky = || PartitionId::new(sticky % target.partitions.max(1));
    target.partition.or_else(by_key).unwrap_or_else(sticky)
}

pub(super) fn destination(target: &Target, partition: PartitionId) -> Destination {
    Destination {
        topic: target.topic,
        name: target.name.clone(),
        partition,
        base_offset: Offset::ZERO,
    }
}
