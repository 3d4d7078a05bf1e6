//! Counting what a plugin answered, and keeping a few records of each sort to be looked at.

use std::collections::{BTreeMap, BTreeSet};

use weir_host::{Decision, Input};
use weir_wire::batch::Records;
use weir_wire::placement::OrderingKey;

use super::records::{Batch, Place};
use super::subject::Judged;
use super::verdict::Verdict;
use crate::record::{Shown, shorten};

/// Records that are shown of each sort, and records that differ.
const EXAMPLES: usize = 3;
const DIFFERENCES: usize = 5;
/// Failures that are shown.
const FAILURES: usize = 8;
/// Characters that are kept of a key or value.
const EXCERPT: usize = 500;
/// Ordering keys that are told apart; of more only that many are known.
const KEYS_MAX: usize = 1 << 20;

/// A record that is shown.
#[derive(Clone, Debug)]
pub struct Example {
    /// Where it stood.
    pub place: Place,
    /// Its key, as text, cut.
    pub key: Option<String>,
    /// Its value, as text, cut.
    pub value: String,
    /// The part of the value that is shown instead, if what was changed is not at its beginning.
    pub changed: Option<String>,
    /// What is to be said about it.
    pub note: Option<String>,
}

/// What the answers to all records were.
#[derive(Debug, Default)]
pub struct Tally {
    /// Records.
    pub records: u64,
    /// Those that go on.
    pub kept: u64,
    /// What the records became.
    pub outputs: u64,
    /// How many there are of each sort.
    pub sorts: BTreeMap<&'static str, u64>,
    /// Records of each sort.
    pub examples: BTreeMap<&'static str, Vec<Example>>,
    /// Records that it failed on.
    pub failures: Vec<Example>,
    /// Why some records have no verdict, the first time.
    pub not_judged: Option<String>,
    /// Records of each declared route.
    pub routes: Vec<u64>,
    /// Different ordering keys.
    pub keys: BTreeSet<OrderingKey>,
    /// The shortest and the longest delay, in milliseconds.
    pub delays: Option<(u128, u128)>,
}

/// How another version's answers differ.
#[derive(Debug, Default)]
pub struct Comparison {
    /// Records whose verdicts differ.
    pub differing: u64,
    /// Some of them.
    pub examples: Vec<Example>,
}

impl Tally {
    /// Counts a batch.
    pub fn add(&mut self, batch: &Batch, judged: &Judged, routes: &[String]) {
        self.routes.resize(routes.len(), 0);
        for (index, verdict) in (0..).zip(&judged.verdicts) {
            self.count(verdict);
            let examples = self.examples.entry(verdict.sort()).or_default();
            let shown_elsewhere = matches!(verdict, Verdict::Failed | Verdict::NotJudged);
            if examples.len() < EXAMPLES && !shown_elsewhere {
                let example = example(batch, index, verdict.detail(routes));
                examples.extend(example.map(|example| Example {
                    changed: verdict.changed_part(),
                    ..example
                }));
            }
        }
        for failure in &judged.failures {
            if self.failures.len() >= FAILURES {
                break;
            }
            let note = Some(Shown(failure.message.as_bytes()).to_string());
            self.failures
                .extend(example(batch, failure.index as usize, note));
        }
        if self.not_judged.is_none() {
            self.not_judged.clone_from(&judged.not_judged);
        }
    }

    fn count(&mut self, verdict: &Verdict) {
        self.records += 1;
        self.kept += u64::from(verdict.is_kept());
        *self.sorts.entry(verdict.sort()).or_default() += 1;
        match verdict {
            Verdict::Became(outputs) => self.outputs += u64::from(outputs.count),
            Verdict::Key(key) if *key != OrderingKey::NONE && self.keys.len() < KEYS_MAX => {
                self.keys.insert(*key);
            }
            Verdict::Routes(set) => {
                for position in set.positions() {
                    if let Some(count) = self.routes.get_mut(position) {
                        *count += 1;
                    }
                }
            }
            Verdict::Retry(Decision::Delay(delay)) => {
                let ms = delay.as_millis();
                let (least, most) = self.delays.unwrap_or((ms, ms));
                self.delays = Some((least.min(ms), most.max(ms)));
            }
            _ => {}
        }
    }

    /// How many there are of a sort.
    pub fn of_sort(&self, sort: &str) -> u64 {
        self.sorts.get(sort).copied().unwrap_or_default()
    }

    /// Whether there are more ordering keys than are told apart.
    pub fn has_more_keys(&self) -> bool {
        self.keys.len() >= KEYS_MAX
    }
}

impl Comparison {
    /// Compares the answers to a batch; `old` are those of the version compared with.
    pub fn add(&mut self, batch: &Batch, new: &Judged, old: &Judged, routes: &[String]) {
        for (index, (new, old)) in new.verdicts.iter().zip(&old.verdicts).enumerate() {
            if new == old {
                continue;
            }
            self.differing += 1;
            if self.examples.len() < DIFFERENCES {
                let note = format!("{} (it was {})", new.told(routes), old.told(routes));
                self.examples.extend(example(batch, index, Some(note)));
            }
        }
    }
}

fn example(batch: &Batch, index: usize, note: Option<String>) -> Option<Example> {
    let place = *batch.places.get(index)?;
    let Input { records, count, .. } = &batch.input;
    let record = Records::new(records, *count).nth(index)?.ok()?;
    let text = |bytes| shorten(&Shown(bytes).to_string(), EXCERPT);
    Some(Example {
        place,
        key: record.key.map(text),
        value: text(record.value.unwrap_or_default()),
        changed: None,
        note,
    })
}
