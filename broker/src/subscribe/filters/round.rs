//! Batches that go through the filters together: several small ones at a time, so that it is not
//! the way to the plugins' threads and back that takes the time.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::future::join_all;
use weir_host::{CallError, Input, RecordFailure, Transformed, Verdicts as Answers};
use weir_wire::batch::{BatchHeader, Compression, Records};
use weir_wire::dead_letter::DeadLetter;
use weir_wire::error::Fault;
use weir_wire::id::TopicPartition;
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::name::TopicName;
use weir_wire::plugin::ErrorPolicy;

use super::super::dead_letters::Letter;
use super::super::verdicts::{Verdict, Verdicts};
use super::view::View;
use super::{Filters, Item, Judged, Kept, Step, damaged};
use crate::selection::{inflate_within, rebuild, select_keys};

/// Bytes made of batches that may wait to be sent without room of their own: dead letters, batches
/// that are rebuilt, what projections show. A lane has some rounds under way; what is only a slice
/// of the stored batch does not count.
const MADE_MAX: usize = 1 << 20;

/// What projections may make of a batch that goes with others, as a multiple of it and besides a
/// share of [`MADE_MAX`].
const VIEW_FACTOR: usize = 2;

/// A batch whose records are looked at.
#[derive(Debug)]
struct Open {
    item: Item,
    records: Bytes,
    /// Which records are the subscriber's business.
    asked: Vec<bool>,
    /// Which records the filters have kept so far.
    passes: Vec<bool>,
    /// Whether a filter failed on a record, so that nothing may be remembered.
    failed: bool,
    /// What projections make of it.
    view: Option<View>,
    letters: Vec<Letter>,
}

/// Why batches go no further.
#[derive(Debug)]
enum Cut {
    /// This ends the subscription.
    Fault(Fault),
    /// Projections make more of one than there is room for beside others.
    NoRoom,
}

impl From<Fault> for Cut {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Where batches come from.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    at: TopicPartition,
    /// The topic's name, if there are dead letters to be.
    name: Option<&'a TopicName>,
}

impl Filters {
    /// What is left of batches. Where much is made of them it ends early: who is `alone` in its
    /// lane keeps room for that until it is sent, others leave it to be made again by one that is.
    /// If they kept room, a round before them that needs some could wait for ever.
    pub(super) async fn judge(
        &self,
        verdicts: &Verdicts,
        at: TopicPartition,
        items: Vec<Item>,
        alone: bool,
    ) -> Judged {
        let origin = Origin {
            at,
            name: self.letters.name(at.topic),
        };
        let mut judged = Judged::default();
        let mut items = VecDeque::from(items);
        while !items.is_empty() && judged.fault.is_none() && !judged.too_much {
            let rooms = self.rooms(alone);
            let held = self.unfolded.hold(rooms.for_all(&items)).await;
            let (mut opened, used) = match unfold(&mut items, rooms) {
                Ok(opened) => opened,
                Err(fault) => {
                    judged.fault = Some(fault);
                    break;
                }
            };
            if opened.is_empty() {
                judged.too_much = true;
                break;
            }
            let held = held.map(|mut held| {
                held.shrink_to(used);
                held
            });
            judged.fault = self.pass(origin, &mut opened).await.err();
            self.remember(verdicts, at, &opened);
            match self.project(origin, rooms, &mut opened).await {
                Ok(()) => {}
                // What is wrong with a batch before that other one comes first.
                Err(Cut::Fault(fault)) => judged.fault = Some(fault),
                // What is wrong behind it is found again.
                Err(Cut::NoRoom) => (judged.too_much, judged.fault) = (true, None),
            }
            judged.take(opened, alone);
            if alone && judged.made > MADE_MAX {
                judged.too_much = !items.is_empty() && judged.fault.is_none();
                judged.held = held.map(|mut held| {
                    held.shrink_to(judged.made);
                    held
                });
                break;
            }
        }
        judged
    }

    /// Lets the batches pass one filter after the other. If one fails where that is to end the
    /// subscription, the batches before it are left.
    async fn pass(&self, origin: Origin<'_>, opened: &mut Vec<Open>) -> Result<(), Fault> {
        let is_asked = |open: &Open| open.item.is_open();
        let mut result = Ok(());
        for step in &self.filters {
            let asked = opened.iter().filter(|open| is_asked(open));
            let answers = join_all(asked.map(|open| step.filter(open.input()))).await;
            let taken = hand_out(opened, answers, is_asked, |open, answer| {
                open.take(step, origin, answer)
            });
            // One that comes later has failed on an earlier batch.
            result = taken.and(result);
        }
        result
    }

    /// Shows what is kept of the batches through one projection after the other.
    async fn project(
        &self,
        origin: Origin<'_>,
        rooms: Rooms,
        opened: &mut Vec<Open>,
    ) -> Result<(), Cut> {
        if self.projections.is_empty() {
            return Ok(());
        }
        let is_asked = |open: &Open| open.view.as_ref().is_some_and(|view| view.count() > 0);
        let mut result = look(opened).map_err(Cut::Fault);
        let batches = opened.len();
        for step in &self.projections {
            let asked = opened.iter().filter(|open| is_asked(open));
            let inputs = asked.filter_map(|open| {
                let view = open.view.as_ref()?;
                Some((view.input(), rooms.of_view(open.records.len(), batches)))
            });
            let answers = join_all(inputs.map(|(input, room)| step.project(input, room))).await;
            let taken = hand_out(opened, answers, is_asked, |open, answer| {
                open.show(step, origin, answer)
            });
            result = taken.and(result);
        }
        result
    }

    const fn rooms(&self, alone: bool) -> Rooms {
        Rooms {
            projects: !self.projections.is_empty(),
            alone,
        }
    }

    fn warn_of_impurity(&self, at: TopicPartition, item: &Item) {
        let plugins = self.filters.iter().map(|filter| filter.plugin.as_str());
        tracing::warn!(
            plugins = plugins.collect::<Vec<_>>().join(", "),
            topic = %at.topic, partition = %at.partition, offset = %item.stored.base_offset,
            "filters said something else of a batch than before: they must judge by the record \
             and their settings alone; what they say is not remembered any more"
        );
    }

    /// Remembers what was said of the batches, if the plugins are to be trusted.
    fn remember(&self, verdicts: &Verdicts, at: TopicPartition, opened: &[Open]) {
        self.check_purity(verdicts);
        let answered = opened.iter().filter(|it| it.item.is_open() && !it.failed);
        for open in answered {
            let (item, said) = (&open.item, Verdict::of(&open.passes));
            match &item.verdict {
                Some(known) if *known != said => {
                    self.warn_of_impurity(at, item);
                    if let [filter] = self.filters.as_slice() {
                        let why = "it said something else of a batch than what is remembered";
                        filter.bound.found_impure(why);
                    }
                    verdicts.impure_chain(&self.chain);
                }
                Some(_) => {}
                None => verdicts.put(&self.chain, at, item.from, &item.name(), &said),
            }
        }
    }
}

impl Judged {
    /// Takes what is left of these batches.
    fn take(&mut self, opened: Vec<Open>, alone: bool) {
        for open in opened {
            match open.close() {
                Ok(kept) if !alone && self.made + kept.made > MADE_MAX => {
                    // What is wrong behind it is found again.
                    (self.too_much, self.fault) = (true, None);
                    return;
                }
                Ok(kept) => {
                    self.made += kept.made;
                    self.kept.push(kept);
                }
                Err(fault) => {
                    self.fault = Some(fault);
                    return;
                }
            }
        }
    }

    /// Whether so little was made of them that others may be under way beside them.
    pub(in crate::subscribe) const fn is_light(&self) -> bool {
        self.made <= MADE_MAX
    }
}

impl Open {
    fn new(item: Item, records: Bytes, asked: Vec<bool>) -> Self {
        let count = item.header.count;
        let passes = match &item.verdict {
            Some(verdict) if !item.check => verdict.to_bools(count),
            _ => vec![true; count as usize],
        };
        Self {
            item,
            records,
            asked,
            passes,
            failed: false,
            view: None,
            letters: Vec::new(),
        }
    }

    fn input(&self) -> Input {
        Input {
            base_timestamp: self.item.header.base_timestamp,
            count: self.item.header.count,
            records: self.records.clone(),
        }
    }

    /// Clears what the filter drops.
    fn take(
        &mut self,
        step: &Step,
        origin: Origin<'_>,
        answer: Result<Answers<bool>, CallError>,
    ) -> Result<(), Fault> {
        let answers = answer.map_err(|error| step.unanswered(&error))?;
        let mut values = answers.values;
        self.failed |= !answers.failures.is_empty();
        for failure in answers.failures {
            let index = failure.index as usize;
            // What is not sent in any case need not be judged.
            let wanted = [&self.asked, &self.passes].map(|which| which.get(index) == Some(&true));
            let passes =
                wanted == [true, true] && self.settle(step, origin, failure.index, &failure)?;
            if let Some(value) = values.get_mut(index) {
                *value = passes;
            }
        }
        for (passes, value) in self.passes.iter_mut().zip(values) {
            *passes &= value;
        }
        Ok(())
    }

    /// Takes what a projection makes of the batch.
    fn show(
        &mut self,
        step: &Step,
        origin: Origin<'_>,
        answer: Result<Transformed, CallError>,
    ) -> Result<(), Cut> {
        let answer = answer.map_err(|error| match error {
            CallError::NoRoom { .. } => Cut::NoRoom,
            error => Cut::Fault(step.unanswered(&error)),
        })?;
        let mut view = self
            .view
            .take()
            .expect("only what has a view is asked about");
        for failure in &answer.failures {
            let source = view.sources().get(failure.index as usize).copied();
            let source =
                source.ok_or_else(|| step.failed("it failed on a record it was not given"))?;
            self.settle(step, origin, source, failure)?;
        }
        view.take(answer, step.on_error == ErrorPolicy::Skip)?;
        if view.bytes_len() > BATCH_INFLATED_MAX {
            let base = self.item.stored.base_offset;
            return Err(Cut::Fault(step.failed(&format!(
                "it makes the batch at offset {base} larger than the {BATCH_INFLATED_MAX} bytes \
                 that one may have; let it return less"
            ))));
        }
        self.view = Some(view);
        Ok(())
    }

    /// Does what the error policy says with the record at that place in the stored batch; answers
    /// whether it goes on.
    fn settle(
        &mut self,
        step: &Step,
        origin: Origin<'_>,
        position: u32,
        failure: &RecordFailure,
    ) -> Result<bool, Fault> {
        let (stored, header) = (&self.item.stored, &self.item.header);
        let record = Records::new(&self.records, header.count).nth(position as usize);
        let record = record.and_then(Result::ok);
        let record = record.ok_or_else(|| step.failed("it failed on a record it was not given"))?;
        let offset = stored.base_offset.advance(record.offset_delta);
        match (step.on_error, origin.name) {
            (ErrorPolicy::Skip, _) => Ok(true),
            (ErrorPolicy::Drop, _) => Ok(false),
            (ErrorPolicy::DeadLetter, Some(topic)) => {
                let letter = DeadLetter {
                    topic,
                    plugin: &step.plugin,
                    version: step.bound.version(),
                    hook: step.bound.hook(),
                    binding: None,
                    message: &failure.message,
                    backtrace: failure.backtrace.as_deref(),
                    read_from: Some((origin.at.partition, offset)),
                };
                self.letters.push(Letter {
                    timestamp: record.timestamp(header.base_timestamp),
                    body: letter.body(&record),
                });
                Ok(false)
            }
            _ => Err(step.failed(&format!("record at offset {offset}: {}", failure.message))),
        }
    }

    /// Which records are wanted and kept.
    fn keep(&self) -> Vec<bool> {
        let each = self.passes.iter().zip(&self.asked);
        each.map(|(passes, asked)| *passes && *asked).collect()
    }

    /// What is left to be sent.
    fn close(self) -> Result<Kept, Fault> {
        let mut keep = self.keep();
        if let Some(view) = &self.view {
            keep.fill(false);
            for source in view.sources() {
                if let Some(keep) = keep.get_mut(*source as usize) {
                    *keep = true;
                }
            }
        }
        let Item { stored, header, .. } = &self.item;
        let asked = self.asked.iter().filter(|asked| **asked).count();
        let count = keep.iter().filter(|keep| **keep).count();
        let whole = Kept {
            filtered_out: (asked - count) as u64,
            made: self.letters.iter().map(|letter| letter.body.len()).sum(),
            letters: self.letters,
            ..Kept::whole(stored, count as u32)
        };
        let batch = match &self.view {
            _ if count == 0 => None,
            Some(view) if !view.is_as_stored() => Some(view.batch(stored, header)?),
            _ if count == keep.len() => return Ok(whole),
            _ => Some(rebuild(stored, header, &self.records, &keep).map_err(damaged)?),
        };
        let ordering_keys = select_keys(&whole.ordering_keys, &keep);
        let rebuilt = batch.as_ref().map_or(0, Bytes::len) + ordering_keys.len();
        Ok(Kept {
            batch,
            ordering_keys,
            made: whole.made + rebuilt,
            ..whole
        })
    }
}

/// Takes a look at what is kept of the batches. The first one that cannot be read ends that, as
/// in [`hand_out`]: what projections have not seen must not go out.
fn look(opened: &mut Vec<Open>) -> Result<(), Fault> {
    for (n, open) in opened.iter_mut().enumerate() {
        match View::new(&open.records, &open.item.header, &open.keep()) {
            Ok(view) => open.view = Some(view),
            Err(fault) => {
                opened.truncate(n);
                return Err(fault);
            }
        }
    }
    Ok(())
}

/// Hands answers to the batches that were asked about. The first one that cannot go on ends that;
/// it and those behind it are taken out, because they never come to be sent.
fn hand_out<T, E>(
    opened: &mut Vec<Open>,
    answers: Vec<T>,
    is_asked: impl Fn(&Open) -> bool,
    mut take: impl FnMut(&mut Open, T) -> Result<(), E>,
) -> Result<(), E> {
    let mut answers = answers.into_iter();
    let mut asked = opened
        .iter_mut()
        .enumerate()
        .filter(|(_, open)| is_asked(open));
    let failed = asked.find_map(|(n, open)| {
        let answer = answers
            .next()
            .expect("there is one for each batch asked about");
        take(open, answer).err().map(|fault| (n, fault))
    });
    drop(asked);
    match failed {
        None => Ok(()),
        Some((n, fault)) => {
            opened.truncate(n);
            Err(fault)
        }
    }
}

/// The room that batches take while plugins are at them.
#[derive(Clone, Copy, Debug)]
struct Rooms {
    /// Whether projections make something of the batches.
    projects: bool,
    /// Whether they may make as much of one as a batch can hold. Then it goes by itself.
    alone: bool,
}

impl Rooms {
    /// A batch of so many bytes and, twice, what projections may make of it: what one has made is
    /// what the next one, or the batch that is sent, is made of.
    const fn of(self, bytes: usize) -> usize {
        match (self.projects, self.alone) {
            (false, _) => bytes,
            (true, false) => bytes + 2 * VIEW_FACTOR * bytes,
            (true, true) => bytes + 2 * BATCH_INFLATED_MAX,
        }
    }

    /// What batches that go together have besides.
    const fn besides(self) -> usize {
        match self.projects && !self.alone {
            true => 2 * MADE_MAX,
            false => 0,
        }
    }

    /// What a projection may make of a batch of so many bytes that goes with so many. Where more
    /// may wait to be sent, it is made again alone, and a batch ends it.
    fn of_view(self, bytes: usize, batches: usize) -> usize {
        match self.alone {
            true => usize::MAX,
            false => VIEW_FACTOR * bytes + MADE_MAX / batches.max(1),
        }
    }

    /// The most that is held before batches are unfolded: for some together, or for one alone.
    fn for_all(self, items: &VecDeque<Item>) -> usize {
        let mut each = items.iter().map(|item| {
            self.of(match item.header.compression {
                Compression::None => item.stored.bytes.len(),
                _ => BATCH_INFLATED_MAX,
            })
        });
        let first = each.next().unwrap_or(0);
        let all = each.fold(first + self.besides(), usize::saturating_add);
        match self.alone {
            true => all.min(BATCH_INFLATED_MAX.max(first)),
            false => all.min(BATCH_INFLATED_MAX),
        }
    }
}

/// Unfolds batches, as many as take no more room together than one may, and the room that they
/// take. Who waited for more of it while holding some would wait for ever where everybody does.
/// None if the first one takes more, because of what projections may make of it: it goes alone.
fn unfold(items: &mut VecDeque<Item>, rooms: Rooms) -> Result<(Vec<Open>, usize), Fault> {
    let (mut opened, mut used) = (Vec::new(), rooms.besides());
    while let Some(item) = items.pop_front() {
        let left = BATCH_INFLATED_MAX.saturating_sub(used);
        let most = if opened.is_empty() {
            BATCH_INFLATED_MAX
        } else {
            left
        };
        let records = inflate_within(&item.stored, &item.header, most).map_err(damaged);
        let read = records.and_then(|records| match records {
            None => Ok(None),
            Some(records) => {
                let asked = asked_for(&records, &item.header, item.skip())?;
                Ok(Some((records, asked)))
            }
        });
        match read {
            Ok(Some((records, asked)))
                if rooms.of(records.len()) <= left
                    || opened.is_empty() && (rooms.alone || !rooms.projects) =>
            {
                used += rooms.of(records.len());
                opened.push(Open::new(item, records, asked));
            }
            // The next round begins with it.
            _ if !opened.is_empty() => {
                items.push_front(item);
                break;
            }
            Ok(Some(_)) => break,
            Ok(None) => {
                let text = format!("it unfolds to more than {BATCH_INFLATED_MAX} bytes");
                return Err(damaged(text));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok((opened, used))
}

/// Which records stand at the offset delta `skip` or behind it. Compaction leaves gaps, so a
/// record's place in the batch does not say its offset.
fn asked_for(records: &[u8], header: &BatchHeader, skip: u32) -> Result<Vec<bool>, Fault> {
    let mut asked = vec![true; header.count as usize];
    if skip > 0 {
        for (asked, record) in asked.iter_mut().zip(Records::new(records, header.count)) {
            *asked = record.map_err(damaged)?.offset_delta >= skip;
        }
    }
    Ok(asked)
}

#[cfg(test)]
mod tests;
