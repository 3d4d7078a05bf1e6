//! The log says it all: a shard that replays the entries is the shard that wrote them.

use std::collections::HashMap;
use std::fmt::Write;

use bytes::Bytes;
use proptest::prelude::{Just, Strategy, proptest};
use proptest::{collection, option, prop_oneof};
use weir_core::change::Change;
use weir_core::machine::Machine;
use weir_core::place::Part;
use weir_core::shard::{ChangeRequest, ProduceRequest, SequenceError, Session, Shard, Trim, Turn};
use weir_wire::id::{
    BindingEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicId,
    TopicPartition,
};
use weir_wire::message::Message;

use crate::support::request;

const TOPICS: u64 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Words of a change, which may be refused.
    Change(String),
    /// Binds again what was bound before.
    Rollback { plugin: String, topic: String },
    Trim {
        topic: u64,
        partition: u32,
        start: u64,
    },
    Produce {
        now: i64,
        topic: u64,
        /// The producer, and how far its sequence is from the one awaited.
        turn: Option<(u64, i64)>,
        /// How many epochs ago the hooks ran.
        stale: u64,
        /// Topic, partition, records.
        parts: Vec<(u64, u32, u32)>,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let topic = || "[ab]";
    prop_oneof![
        2 => (topic(), 1_u32..4).prop_map(|(t, n)| Step::Change(format!("create {t} {n}"))),
        1 => topic().prop_map(|t| Step::Change(format!("delete {t}"))),
        3 => topic().prop_map(|t| Step::Change(format!("open {t}"))),
        2 => ("(tools|more)", "[cd]")
            .prop_map(|(p, d)| Step::Change(format!("push {p} {d}{d} key route transform"))),
        1 => "[cd]".prop_map(|d| Step::Change(format!("remove tools {d}{d}"))),
        4 => bind(),
        1 => (topic(), topic())
            .prop_map(|(t, to)| Step::Change(format!("bind {t} route tools cc fail *={to}"))),
        2 => ("(tools|more)", topic()).prop_map(|(plugin, topic)| Step::Rollback { plugin, topic }),
        1 => (1_u64..8).prop_map(|id| Step::Change(format!("unbind {id}"))),
        1 => (topic(), 1_u32..6, 0_u64..3)
            .prop_map(|(t, n, age)| Step::Change(format!("update {t} partitions={n} age={age}"))),
        1 => topic().prop_map(|t| Step::Change(format!("update {t} unread=delete bytes=7"))),
        2 => ("[gh]", topic(), 0_u32..4, 0_u64..40)
            .prop_map(|(g, t, p, o)| Step::Change(format!("cursor {g} {t} {p} {o}"))),
        2 => (1_u64..=TOPICS, 0_u32..4, 0_u64..40)
            .prop_map(|(topic, partition, start)| Step::Trim { topic, partition, start }),
        12 => produce(),
    ]
}

fn bind() -> impl Strategy<Value = Step> {
    let policy = "(fail|dead-letter)";
    let place = prop_oneof![
        4 => Just(String::new()),
        2 => (0_u64..4).prop_map(|place| format!("at={place}")),
        2 => (1_u64..12).prop_map(|id| format!("instead={id}")),
    ];
    let hook = "(key|transform)";
    ("[ab]", hook, "(tools|more)", "[cd]", policy, place).prop_map(
        |(topic, hook, plugin, d, policy, place)| {
            Step::Change(format!(
                "bind {topic} {hook} {plugin} {d}{d} {policy} {place}"
            ))
        },
    )
}

fn produce() -> impl Strategy<Value = Step> {
    let turn = (1_u64..6, prop_oneof![8 => 0_i64..1, 1 => -1_i64..=1]);
    let part = (1_u64..=TOPICS, 0_u32..3, 1_u32..20);
    let stale = prop_oneof![6 => 0_u64..1, 1 => 1_u64..2];
    (
        0_i64..100,
        1_u64..=TOPICS,
        option::weighted(0.8, turn),
        stale,
        collection::vec(part, 0..4),
    )
        .prop_map(|(now, topic, turn, stale, parts)| Step::Produce {
            now,
            topic,
            turn,
            stale,
            parts,
        })
}

/// An entry, as the log would give it back.
enum Entry {
    Change(Box<Change>),
    Produce {
        appends: Vec<(TopicPartition, Offset, u32, Timestamp)>,
        turn: Option<Turn>,
    },
}

#[derive(Default)]
struct Harness {
    shard: Shard,
    log: Vec<Entry>,
    /// Records that each partition has taken.
    taken: HashMap<TopicPartition, (u64, Timestamp)>,
    /// Requests that each producer got through.
    turns: HashMap<ProducerId, u64>,
}

const fn session(producer: u64) -> Session {
    Session {
        producer: ProducerId::new(producer),
        epoch: ProducerEpoch::new(0),
    }
}

impl Harness {
    fn run(&mut self, step: &Step) {
        match step {
            Step::Change(line) => self.change(&request(line)),
            Step::Rollback { plugin, topic } => self.roll_back(plugin, topic),
            Step::Trim {
                topic,
                partition,
                start,
            } => self.trim(at(*topic, *partition), Offset::new(*start)),
            Step::Produce {
                now,
                topic,
                turn,
                stale,
                parts,
            } => self.produce(*now, *topic, *turn, *stale, parts),
        }
    }

    fn change(&mut self, request: &ChangeRequest) {
        let Ok(change) = self.shard.plan_change(Timestamp::new(5), request) else {
            return;
        };
        if let Some(created) = &change.topic_created {
            assert!(
                self.taken.keys().all(|at| at.topic != created.id),
                "ids are not reused"
            );
        }
        if let Some(opened) = &change.producer_opened {
            assert!(
                self.turns.insert(opened.id, 0).is_none(),
                "ids are not reused"
            );
        }
        self.check_ends(&change);
        self.shard.commit_change(&change);
        self.log.push(Entry::Change(Box::new(change)));
    }

    /// A change of bindings says where partitions end: exactly behind what they have taken.
    fn check_ends(&self, change: &Change) {
        let bound = change.bound.iter().flat_map(|bound| &bound.ends);
        let unbound = change.unbound.iter().flat_map(|unbound| &unbound.ends);
        let mut topics = bound.chain(unbound).peekable();
        let binds = change.bound.is_some() || change.unbound.is_some();
        assert_eq!(binds, topics.peek().is_some());
        for listed in topics {
            for (partition, end) in (0..).zip(&listed.ends) {
                let taken = self.taken.get(&at(listed.topic.value(), partition));
                assert_eq!(end.value(), taken.map_or(0, |taken| taken.0));
            }
        }
    }

    fn roll_back(&mut self, plugin: &str, topic: &str) {
        let (plugin, topic) = (plugin.parse().unwrap(), topic.parse().unwrap());
        if let Ok(bind) = self.shard.rollback(&plugin, &topic, None) {
            self.change(&ChangeRequest::Bind(bind));
        }
    }

    fn trim(&mut self, partition: TopicPartition, start: Offset) {
        let trim = Trim {
            partition,
            held: Offset::ZERO,
            start,
        };
        if let Ok(Some(change)) = self.shard.plan_trim(Timestamp::new(6), trim) {
            self.shard.commit_change(&change);
            self.log.push(Entry::Change(Box::new(change)));
        }
    }

    fn produce(
        &mut self,
        now: i64,
        topic: u64,
        turn: Option<(u64, i64)>,
        stale: u64,
        parts: &[(u64, u32, u32)],
    ) {
        // One part per partition, as placing makes them.
        let mut seen = Vec::new();
        let parts: Vec<Part> = parts
            .iter()
            .map(|&(topic, partition, count)| (at(topic, partition), count))
            .filter(|(at, _)| {
                !seen.contains(at) && {
                    seen.push(*at);
                    true
                }
            })
            .map(|(partition, count)| Part {
                partition,
                count,
                batch: None,
                ordering_keys: None,
            })
            .collect();
        let topic = TopicId::new(topic);
        let epoch = self
            .shard
            .catalog()
            .topic(topic)
            .map(|t| t.binding_epoch.value());
        let turn = turn.map(|(producer, distance)| {
            let awaited = self
                .turns
                .get(&ProducerId::new(producer))
                .copied()
                .unwrap_or(0);
            Turn {
                session: session(producer),
                sequence: Sequence::new(awaited.saturating_add_signed(distance)),
            }
        });
        let request = ProduceRequest {
            hooks_of: Some((topic, BindingEpoch::new(epoch.unwrap_or(0) + stale))),
            turn,
            parts: &parts,
        };
        match self.shard.plan(Timestamp::new(now), &request) {
            Ok(plan) => {
                assert_eq!(stale, 0, "hooks of other bindings decide nothing");
                self.shard.commit(&request, &plan, OUTCOME.len());
                self.log(&parts, turn, &plan.base_offsets, &plan.append_times);
            }
            Err(error) => self.refused(&error, turn, stale, epoch.is_some()),
        }
    }

    /// Keeps the entry, and checks it against what was taken before.
    fn log(&mut self, parts: &[Part], turn: Option<Turn>, base: &[Offset], time: &[Timestamp]) {
        let mut appends = Vec::new();
        for ((part, base), time) in parts.iter().zip(base).zip(time) {
            let zero = (0, Timestamp::new(0));
            let (next, latest) = self.taken.entry(part.partition).or_insert(zero);
            assert_eq!(base.value(), *next, "offsets leave no gap");
            assert!(time >= latest, "append times do not go back");
            (*next, *latest) = (*next + u64::from(part.count), *time);
            appends.push((part.partition, *base, part.count, *time));
        }
        if let Some(turn) = turn {
            let awaited = self.turns.get_mut(&turn.session.producer).unwrap();
            assert_eq!(
                turn.sequence.value(),
                *awaited,
                "each request is taken once, in order"
            );
            *awaited += 1;
        }
        self.log.push(Entry::Produce { appends, turn });
    }

    fn refused(&self, error: &SequenceError, turn: Option<Turn>, stale: u64, topic: bool) {
        match error {
            SequenceError::Stale => assert!(stale > 0 && topic),
            SequenceError::OutOfSequence { expected } => {
                let turn = turn.unwrap();
                assert_ne!(turn.sequence, *expected);
                assert_eq!(self.turns[&turn.session.producer], expected.value());
            }
            SequenceError::UnknownProducer => {
                assert!(self.shard.session(turn.unwrap().session).is_none());
            }
            SequenceError::UnknownTopic(id) => assert!(self.shard.catalog().topic(*id).is_none()),
            SequenceError::UnknownPartition {
                topic, partitions, ..
            } => {
                let known = self.shard.catalog().topic(*topic).unwrap();
                assert_eq!(known.partitions, *partitions);
            }
            other => panic!("nothing here leads to {other}"),
        }
    }

    fn replayed(&self) -> Shard {
        let mut shard = Shard::default();
        for entry in &self.log {
            match entry {
                Entry::Change(change) => drop(shard.commit_change(change)),
                Entry::Produce { appends, turn } => {
                    for (at, base, count, time) in appends {
                        shard.replay_append(*at, *base, *count, *time);
                    }
                    if let Some(turn) = *turn {
                        shard.replay_sequence(turn, OUTCOME.len());
                    }
                }
            }
        }
        shard
    }

    /// The machine that takes in these entries, starting with a checkpoint.
    fn machine(entries: &[Entry], sections: &Sections) -> Machine {
        let mut machine = Machine::default();
        for (name, bytes) in sections {
            machine.restore(name, bytes).unwrap();
        }
        for entry in entries {
            match entry {
                Entry::Change(change) => machine.metadata(&change.to_vec()).unwrap(),
                Entry::Produce { turn, .. } => {
                    if let Some(turn) = *turn {
                        machine.outcome(turn, Bytes::from_static(OUTCOME));
                    }
                }
            }
        }
        machine
    }

    /// The same by way of two checkpoints, each written down with what had changed since the one
    /// before; partitions are what the log says they hold.
    fn recovered(&self, cuts: [usize; 2]) -> Shard {
        let mut sections = Sections::new();
        let mut before = 0;
        for cut in cuts {
            let cut = before.max(cut % (self.log.len() + 1));
            let mut machine = Self::machine(&self.log[before..cut], &sections);
            sections.extend(machine.changed_sections());
            before = cut;
        }
        let machine = Self::machine(&self.log[before..], &sections);
        for (session, _, state) in machine.sessions() {
            let (_, next) = machine.shard().session(session).unwrap();
            assert_eq!(state.done_before(), next, "every outcome is remembered");
        }
        let mut shard = machine.shard().clone();
        for (at, (next, time)) in &self.taken {
            shard.restore_partition(*at, Offset::new(*next), *time);
        }
        shard
    }
}

/// Sections of checkpoints, the newest of each.
type Sections = std::collections::BTreeMap<&'static str, Vec<u8>>;

/// What every request here is answered.
const OUTCOME: &[u8] = b"stored";

const fn at(topic: u64, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(topic),
        partition: PartitionId::new(partition),
    }
}

/// Everything that a shard would decide next.
fn observe(shard: &Shard) -> String {
    let mut out = String::new();
    let catalog = shard.catalog();
    for topic in catalog.topics() {
        writeln!(out, "{topic:?}").unwrap();
        for partition in 0..topic.partitions {
            let part = Part {
                partition: at(topic.id.value(), partition),
                count: 1,
                batch: None,
                ordering_keys: None,
            };
            let request = ProduceRequest {
                hooks_of: Some((topic.id, topic.binding_epoch)),
                turn: None,
                parts: &[part],
            };
            let plan = shard.plan(Timestamp::new(0), &request).unwrap();
            writeln!(out, "  {partition}: {plan:?}").unwrap();
        }
    }
    writeln!(out, "{:?}", shard.cursors()).unwrap();
    catalog
        .plugins()
        .for_each(|plugin| writeln!(out, "{plugin:?}").unwrap());
    for producer in 0..100 {
        if let Some(known) = shard.session(session(producer)) {
            writeln!(out, "producer {producer}: {known:?}").unwrap();
        }
    }
    let (topic, binding) = (catalog.next_topic_id(), catalog.next_binding_id());
    writeln!(out, "next topic {topic}, binding {binding}").unwrap();
    let open = catalog.topics().next().map(|topic| {
        let open = ChangeRequest::OpenProducer(topic.name.clone());
        shard.plan_change(Timestamp::new(0), &open).unwrap()
    });
    writeln!(out, "{open:?}, {} producers", shard.producer_count()).unwrap();
    out
}

proptest! {
    #[test]
    fn replaying_the_entries_gives_the_same_shard(
        steps in collection::vec(step(), 1..120),
    ) {
        let mut harness = Harness::default();
        steps.iter().for_each(|step| harness.run(step));
        assert_eq!(observe(&harness.replayed()), observe(&harness.shard));
    }

    #[test]
    fn a_checkpoint_and_the_entries_after_it_give_the_same_shard(
        steps in collection::vec(step(), 1..120),
        cuts in (0_usize..120, 0_usize..120),
    ) {
        let mut harness = Harness::default();
        steps.iter().for_each(|step| harness.run(step));
        let recovered = harness.recovered(cuts.into());
        assert_eq!(observe(&recovered), observe(&harness.shard));
    }
}
