//! Batches that go through the filters together: several small ones at a time, so that it is not
//! the way to the plugins' threads and back that takes the time.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::future::join_all;
use weir_host::{CallError, Input, Verdicts as Answers};
use weir_wire::batch::{BatchHeader, Compression, Records};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::TopicPartition;
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::plugin::ErrorPolicy;

use super::super::verdicts::{Verdict, Verdicts};
use super::{Filter, Filters, Item, Judged, Kept, damaged};
use crate::budget::Budget;
use crate::selection::{inflate_within, rebuild, select_keys};

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
}

impl Filters {
    /// What is left of batches.
    pub(super) async fn judge(
        &self,
        unfolded: &Budget,
        verdicts: &Verdicts,
        at: TopicPartition,
        items: Vec<Item>,
    ) -> Judged {
        let mut judged = Judged::default();
        let mut items = VecDeque::from(items);
        while !items.is_empty() && judged.fault.is_none() {
            let held = unfolded.hold(room_for(&items)).await;
            let mut opened = match unfold(&mut items) {
                Ok(opened) => opened,
                Err(fault) => {
                    judged.fault = Some(fault);
                    break;
                }
            };
            let held = held.map(|mut held| {
                held.shrink_to(opened.iter().map(|open| open.records.len()).sum());
                held
            });
            judged.fault = self.pass(&mut opened).await.err();
            self.remember(verdicts, at, &opened);
            for open in &opened {
                match open.close() {
                    Ok(kept) => judged.kept.push(kept),
                    Err(fault) => {
                        judged.fault = Some(fault);
                        break;
                    }
                }
            }
            drop(held);
        }
        judged
    }

    /// Lets the batches pass one filter after the other. If one fails where that is to end the
    /// subscription, the batches before it are left.
    async fn pass(&self, opened: &mut Vec<Open>) -> Result<(), Fault> {
        let mut result = Ok(());
        for filter in &self.filters {
            let asked = opened.iter().filter(|open| open.item.is_open());
            let calls = asked.map(|open| filter.bound.filter(open.input()));
            let mut answers = join_all(calls).await.into_iter();
            for n in 0..opened.len() {
                let open = &mut opened[n];
                if !open.item.is_open() {
                    continue;
                }
                let answer = answers.next().expect("there is one for each batch asked");
                if let Err(fault) = open.take(filter, answer) {
                    // Those behind it never come to be sent.
                    opened.truncate(n);
                    result = Err(fault);
                    break;
                }
            }
        }
        result
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
        for filter in &self.filters {
            if filter.bound.stats().impure {
                verdicts.impure_plugin(filter.bound.plugin().version());
            }
        }
        let answered = opened.iter().filter(|it| it.item.is_open() && !it.failed);
        for open in answered {
            let (item, said) = (&open.item, Verdict::of(&open.passes));
            match &item.verdict {
                Some(known) if *known != said => {
                    self.warn_of_impurity(at, item);
                    verdicts.impure_chain(&self.chain);
                }
                Some(_) => {}
                None => verdicts.put(&self.chain, at, item.from, &item.name(), &said),
            }
        }
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
        }
    }

    fn input(&self) -> Input {
        Input {
            base_timestamp: self.item.header.base_timestamp,
            count: self.item.header.count,
            records: self.records.clone(),
        }
    }

    /// Clears what the filter drops. Its failures follow its error policy, unless they are about
    /// records that are not sent in any case.
    fn take(
        &mut self,
        filter: &Filter,
        answers: Result<Answers<bool>, CallError>,
    ) -> Result<(), Fault> {
        let failed = |text: String| {
            let text = format!("filter \"{}\": {text}", filter.plugin);
            Fault::new(ErrorCode::PluginFailed, text)
        };
        let answers = answers.map_err(|error| failed(error.to_string()))?;
        let mut values = answers.values;
        self.failed |= !answers.failures.is_empty();
        for failure in answers.failures {
            let index = failure.index as usize;
            let Some(value) = values.get_mut(index) else {
                continue;
            };
            *value = filter.on_error == ErrorPolicy::Skip;
            let wanted =
                self.asked.get(index) == Some(&true) && self.passes.get(index) == Some(&true);
            if wanted && filter.on_error == ErrorPolicy::Fail {
                let delta = delta_of(&self.records, self.item.header.count, failure.index);
                let offset = self.item.stored.base_offset.advance(delta);
                let text = format!("record at offset {offset}: {}", failure.message);
                return Err(failed(text));
            }
        }
        for (passes, value) in self.passes.iter_mut().zip(values) {
            *passes &= value;
        }
        Ok(())
    }

    /// What is left to be sent.
    fn close(&self) -> Result<Kept, Fault> {
        let Item { stored, header, .. } = &self.item;
        let each = self.passes.iter().zip(&self.asked);
        let keep: Vec<bool> = each.map(|(passes, asked)| *passes && *asked).collect();
        let asked = self.asked.iter().filter(|asked| **asked).count();
        let count = keep.iter().filter(|keep| **keep).count();
        let filtered_out = (asked - count) as u64;
        if count == 0 {
            return Ok(Kept::nothing(stored, filtered_out));
        }
        let whole = Kept::whole(stored, count as u32);
        if count == keep.len() {
            return Ok(whole);
        }
        let batch = rebuild(stored, header, &self.records, &keep).map_err(damaged)?;
        Ok(Kept {
            batch: Some(batch),
            ordering_keys: select_keys(&whole.ordering_keys, &keep),
            filtered_out,
            ..whole
        })
    }
}

/// The most that batches may take once they are unfolded together.
fn room_for(items: &VecDeque<Item>) -> usize {
    let each = items.iter().map(|item| match item.header.compression {
        Compression::None => item.stored.bytes.len(),
        _ => BATCH_INFLATED_MAX,
    });
    each.fold(0, usize::saturating_add).min(BATCH_INFLATED_MAX)
}

/// Unfolds batches, as many as take no more room together than one may: who waited for more of it
/// while holding some would wait for ever where everybody does.
fn unfold(items: &mut VecDeque<Item>) -> Result<Vec<Open>, Fault> {
    let (mut opened, mut used) = (Vec::new(), 0);
    while let Some(item) = items.pop_front() {
        let left = BATCH_INFLATED_MAX - used;
        let records = inflate_within(&item.stored, &item.header, left).map_err(damaged);
        let read = records.and_then(|records| match records {
            None => Ok(None),
            Some(records) => {
                let asked = asked_for(&records, &item.header, item.skip())?;
                Ok(Some((records, asked)))
            }
        });
        match read {
            Ok(Some((records, asked))) => {
                used += records.len();
                opened.push(Open::new(item, records, asked));
            }
            // The next round begins with it.
            _ if !opened.is_empty() => {
                items.push_front(item);
                break;
            }
            Ok(None) => {
                let text = format!("it unfolds to more than {BATCH_INFLATED_MAX} bytes");
                return Err(damaged(text));
            }
            Err(fault) => return Err(fault),
        }
    }
    Ok(opened)
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

/// The offset delta of the record at that place.
fn delta_of(records: &[u8], count: u32, index: u32) -> u32 {
    let record = Records::new(records, count).nth(index as usize);
    record
        .and_then(Result::ok)
        .map_or(index, |record| record.offset_delta)
}
