//! The scrub: reads the segments again while the broker runs, slowly and round and round, so that
//! what a disk loses without a word is known before somebody needs it.

use std::collections::HashMap;
use std::fmt;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::mpsc;
use tokio::time::sleep;
use weir_core::catalog::Catalog;
use weir_log::offline::Damage;
use weir_log::{Scrub, Scrubbed};
use weir_wire::id::TopicPartition;

use crate::retention::{Asked, Rounds};
use crate::state::Shared;

/// Read at once; the time between two reads makes the rate.
const STEP_BYTES: u64 = 1 << 20;
/// The first round does not add to the work of a start.
const BEFORE_FIRST: Duration = Duration::from_secs(60);
/// Between two rounds: disks do not decay by the minute, and small logs are read within seconds.
const BETWEEN_ROUNDS: Duration = Duration::from_secs(3600);
/// Damages that are remembered; where there are more, the disk is the news.
const DAMAGES_MAX: usize = 100;
/// Damages that the status names.
const NAMED_MAX: usize = 5;
/// Partitions that one of them names.
const PARTITIONS_MAX: usize = 5;

/// What is known to be damaged: what the last round found, and this one so far.
#[derive(Debug, Default)]
pub(crate) struct Damages(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    last: Vec<Damage>,
    this: Vec<Damage>,
}

impl Known {
    /// Each place once.
    fn all(&self) -> impl Iterator<Item = &Damage> {
        let again = |damage: &&Damage| !is_among(damage, &self.this);
        self.this.iter().chain(self.last.iter().filter(again))
    }
}

fn is_among(damage: &Damage, known: &[Damage]) -> bool {
    let place = (&damage.path, damage.offset);
    known.iter().any(|it| (&it.path, it.offset) == place)
}

impl Damages {
    /// Takes in what a step found; answers how many places are known to be damaged.
    fn add(&self, found: Vec<Damage>) -> usize {
        let mut known = self.0.write();
        for damage in found {
            if !is_among(&damage, &known.this) && known.this.len() < DAMAGES_MAX {
                if !is_among(&damage, &known.last) {
                    tracing::error!("the scrub found damage: {damage}");
                }
                known.this.push(damage);
            }
        }
        known.all().count()
    }

    /// A round is over: what it did not find is well again, or gone.
    fn round_ended(&self) -> usize {
        let mut known = self.0.write();
        known.last = mem::take(&mut known.this);
        known.last.len()
    }

    /// What an operator is to know of it.
    pub(crate) fn warnings(&self, catalog: &Catalog) -> Vec<String> {
        let known = self.0.read();
        let names: HashMap<_, _> = catalog.topics().map(|it| (it.id, &it.name)).collect();
        let named = |at: &TopicPartition| match names.get(&at.topic) {
            Some(topic) => format!("\"{topic}\" partition {}", at.partition),
            None => format!("a deleted topic, partition {}", at.partition),
        };
        let mut warnings: Vec<String> = known
            .all()
            .take(NAMED_MAX)
            .map(|damage| {
                let named = damage.partitions.iter().map(named);
                Warning(damage, named.take(PARTITIONS_MAX).collect()).to_string()
            })
            .collect();
        let more = known.all().count().saturating_sub(NAMED_MAX);
        if more > 0 {
            warnings.push(format!(
                "the scrub found {more} more damaged places; the broker's log lines name them"
            ));
        }
        warnings
    }
}

/// A damage and the partitions that it concerns, by their names.
struct Warning<'a>(&'a Damage, Vec<String>);

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(damage, named) = self;
        let path = damage.path.display();
        write!(
            f,
            "damaged data: {path} at byte {}: {}",
            damage.offset, damage.what
        )?;
        if !named.is_empty() {
            let more = damage.partitions.len().saturating_sub(named.len());
            write!(f, " (topic {}", named.join(", topic "))?;
            match more {
                0 => write!(f, ")")?,
                more => write!(f, " and {more} more)")?,
            }
        }
        write!(f, "; reading it is refused: {}", damage.advice)
    }
}

/// The task.
pub(crate) struct Scrubbing {
    shared: Arc<Shared>,
    asked: mpsc::Receiver<Asked>,
    /// Where the round has got to.
    scrub: Scrub,
}

impl Scrubbing {
    pub(crate) fn new(shared: Arc<Shared>) -> (Self, Rounds) {
        let (rounds, asked) = Rounds::new();
        let scrub = Scrub::new(shared.reader.clone());
        let task = Self {
            shared,
            asked,
            scrub,
        };
        (task, rounds)
    }

    /// Runs until the broker drains.
    pub(crate) async fn run(mut self) {
        let rate = self.shared.config.log.scrub_bytes_per_second.as_u64();
        let mut pause = BEFORE_FIRST;
        loop {
            tokio::select! {
                biased;
                () = self.shared.draining.cancelled() => return,
                Some(asked) = self.asked.recv() => {
                    self.whole_round().await;
                    asked.done();
                }
                () = sleep(pause), if rate > 0 => {
                    let Some(done) = self.step(STEP_BYTES.min(rate)).await else { return };
                    pause = if done.round_ended {
                        BETWEEN_ROUNDS
                    } else {
                        Duration::from_secs_f64(done.bytes as f64 / rate as f64)
                    };
                }
            }
        }
    }

    /// Begins anew and reads everything at once.
    async fn whole_round(&mut self) {
        self.scrub = Scrub::new(self.shared.reader.clone());
        while let Some(done) = self.step(STEP_BYTES).await {
            if done.round_ended {
                return;
            }
        }
    }

    /// Reads on, off the network's thread; `None` when the broker ends.
    async fn step(&mut self, bytes: u64) -> Option<Scrubbed> {
        let next = Scrub::new(self.shared.reader.clone());
        let mut scrub = mem::replace(&mut self.scrub, next);
        let step = tokio::task::spawn_blocking(move || {
            let done = scrub.step(bytes);
            (scrub, done)
        });
        let (scrub, mut done) = match step.await {
            Ok(read) => read,
            Err(error) => {
                tracing::error!(%error, "the scrub ended");
                return None;
            }
        };
        self.scrub = scrub;
        let Shared {
            metrics, damages, ..
        } = &*self.shared;
        metrics.scrub_bytes.inc_by(done.bytes);
        let mut known = damages.add(mem::take(&mut done.damages));
        if done.round_ended {
            metrics.scrub_rounds.inc();
            known = damages.round_ended();
        }
        let known = i64::try_from(known).unwrap_or(i64::MAX);
        metrics.damaged_places.set(known);
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use weir_wire::id::{PartitionId, TopicId};

    use super::*;

    fn damage(offset: u64) -> Damage {
        Damage {
            path: "/data/log/segments/1.seg".into(),
            offset,
            what: "the checksum does not fit".to_owned(),
            partitions: vec![TopicPartition {
                topic: TopicId::new(7),
                partition: PartitionId::new(3),
            }],
            advice: "restore it",
        }
    }

    fn offsets(damages: &Damages) -> Vec<u64> {
        let known = damages.0.read();
        known.all().map(|damage| damage.offset).collect()
    }

    #[test]
    fn what_a_round_does_not_find_again_is_forgotten_with_it() {
        let damages = Damages::default();
        assert_eq!(damages.add(vec![damage(1), damage(2), damage(1)]), 2);
        assert_eq!(damages.round_ended(), 2);
        assert_eq!(damages.add(vec![damage(2), damage(3)]), 3);
        assert_eq!(offsets(&damages), [2, 3, 1]);
        assert_eq!(damages.round_ended(), 2);
        assert_eq!(offsets(&damages), [2, 3]);
        assert_eq!(damages.round_ended(), 0);
    }

    #[test]
    fn many_damages_make_a_few_warnings() {
        let damages = Damages::default();
        assert_eq!(damages.add((0..1_000).map(damage).collect()), DAMAGES_MAX);
        let warnings = damages.warnings(&Catalog::default());
        assert_eq!(
            warnings[0],
            "damaged data: /data/log/segments/1.seg at byte 0: the checksum does not fit \
             (topic a deleted topic, partition 3); reading it is refused: restore it"
        );
        assert_eq!(
            warnings[NAMED_MAX..],
            ["the scrub found 95 more damaged places; the broker's log lines name them"]
        );
    }
}
