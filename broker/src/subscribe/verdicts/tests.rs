//! The cache against a partition that is read, skipped, compacted and trimmed at random.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_wire::id::{Offset, PartitionId, PluginVersion, TopicId, TopicPartition};
use weir_wire::plugin::{ErrorPolicy, Hook};

use super::page::{PAGE_OFFSETS, Page};
use super::{BatchName, Chain, IMPURE_MAX, Link, Skip, Verdict, Verdicts};
use crate::metrics::Metrics;

const MIB: usize = 1 << 20;

fn at(topic: u64, partition: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(topic),
        partition: PartitionId::new(partition),
    }
}

fn name(base: u64, end: u64, crc: u32, count: u32) -> BatchName {
    BatchName {
        base: Offset::new(base),
        end: Offset::new(end),
        crc,
        count,
    }
}

fn chain(filters: &[(u8, &[(&str, &str)])]) -> Chain {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let configs: Vec<Vec<_>> = filters
        .iter()
        .map(|(_, config)| config.iter().map(pair).collect())
        .collect();
    let links = filters.iter().zip(&configs);
    Chain::new(links.map(|((version, _), config)| Link {
        version: PluginVersion::new([*version; 32]),
        hook: Hook::Filter,
        config,
        on_error: ErrorPolicy::Fail,
    }))
}

fn verdicts(bytes: usize) -> Verdicts {
    Verdicts::new(bytes, Metrics::new())
}

/// Fills so many batches of ten, of which the chain keeps the first record.
fn fill(verdicts: &Verdicts, chain: &Chain, at: TopicPartition, batches: u64) {
    let mut keep = [false; 10];
    keep[0] = true;
    for n in 0..batches {
        let batch = name(n * 10, n * 10 + 10, n as u32, 10);
        verdicts.put(chain, at, batch.base, &batch, &Verdict::of(&keep));
    }
}

fn known(verdicts: &Verdicts, chain: &Chain, at: TopicPartition, batches: u64) -> Vec<u64> {
    let is_known = |n: &u64| {
        let batch = name(n * 10, n * 10 + 10, *n as u32, 10);
        verdicts.get(chain, at, &batch).is_some()
    };
    (0..batches).filter(is_known).collect()
}

#[test]
fn a_verdict_is_a_bit_for_each_record() {
    for count in 0..40_u32 {
        for seed in 0..20 {
            let mut rng = StdRng::seed_from_u64(seed);
            let share = f64::from(rng.random_range(0..3_u8)) / 2.0;
            let keep: Vec<bool> = (0..count).map(|_| rng.random_bool(share)).collect();
            assert_eq!(Verdict::of(&keep).to_bools(count), keep);
        }
    }
    assert_eq!(Verdict::of(&[true; 9]), Verdict::All);
    assert_eq!(Verdict::of(&[false; 9]), Verdict::Nothing);
}

#[test]
fn one_component_with_other_settings_is_another_chain() {
    let id = |filters: &[(u8, &[(&str, &str)])]| chain(filters).id;
    let one = id(&[(1, &[("tags", "UA"), ("mode", "any")])]);
    assert_eq!(one, id(&[(1, &[("tags", "UA"), ("mode", "any")])]));
    let others = [
        id(&[(1, &[("tags", "DL"), ("mode", "any")])]),
        id(&[(1, &[("tags", "UA")])]),
        id(&[(1, &[("tag", "sUA"), ("mode", "any")])]),
        id(&[(1, &[("tags", "UAmode"), ("", "any")])]),
        id(&[(2, &[("tags", "UA"), ("mode", "any")])]),
        id(&[(1, &[("tags", "UA"), ("mode", "any")]), (2, &[])]),
        id(&[(2, &[]), (1, &[("tags", "UA"), ("mode", "any")])]),
        id(&[]),
    ];
    for (n, other) in others.iter().enumerate() {
        assert_ne!(one, *other, "{n}");
        assert!(!others[..n].contains(other), "{n}");
    }
    // Of two settings of one name a plugin may take the first.
    assert_ne!(
        id(&[(1, &[("a", "1"), ("a", "2")])]),
        id(&[(1, &[("a", "2"), ("a", "1")])])
    );
}

#[test]
fn chains_partitions_and_rewritten_batches_do_not_share() {
    let verdicts = verdicts(MIB);
    let (ua, dl) = (
        chain(&[(1, &[("tags", "UA")])]),
        chain(&[(1, &[("tags", "DL")])]),
    );
    fill(&verdicts, &ua, at(1, 0), 5);
    assert_eq!(known(&verdicts, &ua, at(1, 0), 6), [0, 1, 2, 3, 4]);
    assert!(known(&verdicts, &dl, at(1, 0), 5).is_empty());
    assert!(known(&verdicts, &ua, at(1, 1), 5).is_empty());
    assert!(known(&verdicts, &ua, at(2, 0), 5).is_empty());
    // Another CRC is another batch, however it came to stand there.
    let rewritten = name(0, 10, 77, 10);
    assert_eq!(verdicts.get(&ua, at(1, 0), &rewritten), None);
    let all = Verdict::All;
    verdicts.put(&ua, at(1, 0), rewritten.base, &rewritten, &all);
    assert_eq!(verdicts.get(&ua, at(1, 0), &rewritten), Some(all));
    assert_eq!(known(&verdicts, &ua, at(1, 0), 5), [1, 2, 3, 4]);
}

#[test]
fn neighbours_of_which_nothing_is_kept_are_one_stretch() {
    let mut page = Page::default();
    let put = |page: &mut Page, from: u64, base: u64, end: u64, count: u32| {
        let batch = name(base, end, 1, count);
        page.put(Offset::new(from), &batch, &Verdict::Nothing);
    };
    let skip = |page: &Page, from: u64| {
        let skip = page.skip(Offset::new(from));
        skip.map(|skip| (skip.to.value(), skip.records))
    };
    put(&mut page, 0, 0, 10, 10);
    put(&mut page, 20, 20, 30, 10);
    assert_eq!((skip(&page, 0), skip(&page, 10)), (Some((10, 10)), None));
    put(&mut page, 10, 10, 20, 10);
    assert_eq!(skip(&page, 0), Some((30, 30)));
    assert_eq!(skip(&page, 17), Some((30, 13)));
    assert_eq!(skip(&page, 30), None);
    // A gap that compaction left belongs to it, but within it nobody can count.
    put(&mut page, 30, 50, 60, 3);
    assert_eq!(skip(&page, 0), Some((60, 33)));
    assert_eq!(skip(&page, 17), None);
    // The gap before a stretch that was known already.
    put(&mut page, 100, 100, 110, 10);
    put(&mut page, 70, 100, 110, 10);
    assert_eq!(skip(&page, 70), Some((110, 10)));
    put(&mut page, 60, 60, 70, 1);
    assert_eq!(skip(&page, 0), Some((110, 44)));
    // A batch in the middle, of which something is kept, stays one by itself.
    let kept = name(110, 120, 9, 10);
    page.put(Offset::new(110), &kept, &Verdict::All);
    put(&mut page, 120, 120, 130, 10);
    assert_eq!(skip(&page, 110), None);
    assert_eq!(skip(&page, 120), Some((130, 10)));
    assert_eq!(page.get(&kept), Some(Verdict::All));
    assert_eq!(page.get(&name(20, 30, 5, 4)), Some(Verdict::Nothing));
}

#[test]
fn it_takes_no_more_than_it_may_and_lets_go_of_what_was_not_used() {
    let verdicts = verdicts(64 << 10);
    let chain = chain(&[(1, &[])]);
    let in_page = PAGE_OFFSETS / 10;
    fill(&verdicts, &chain, at(1, 0), in_page / 4);
    for partition in 1..50 {
        fill(&verdicts, &chain, at(1, partition), in_page / 4);
        assert!(verdicts.state.lock().bytes <= 64 << 10);
        // In use all the time.
        assert_eq!(known(&verdicts, &chain, at(1, 0), 1), [0], "{partition}");
    }
    assert!(known(&verdicts, &chain, at(1, 1), in_page / 4).is_empty());
    assert!(!known(&verdicts, &chain, at(1, 49), in_page / 4).is_empty());
    let state = verdicts.state.lock();
    assert_eq!(state.order.len(), state.pages.len());
    let weight: usize = state.pages.values().map(|slot| slot.weight).sum();
    assert_eq!(weight, state.bytes);
    assert_eq!(verdicts.metrics.verdict_bytes.get(), weight as i64);
}

#[test]
fn without_room_nothing_is_remembered() {
    let verdicts = verdicts(0);
    let chain = chain(&[(1, &[])]);
    fill(&verdicts, &chain, at(1, 0), 5);
    assert!(known(&verdicts, &chain, at(1, 0), 5).is_empty());
    assert!(verdicts.state.lock().pages.is_empty());
}

#[test]
fn what_is_trimmed_or_deleted_goes() {
    let verdicts = verdicts(MIB);
    let (one, two) = (chain(&[(1, &[])]), chain(&[(2, &[])]));
    let batches = PAGE_OFFSETS / 10 * 3;
    for (chain, at) in [(&one, at(1, 0)), (&two, at(1, 0)), (&one, at(1, 1))] {
        fill(&verdicts, chain, at, batches);
    }
    fill(&verdicts, &one, at(2, 0), 3);
    verdicts.trim(at(1, 0), Offset::new(PAGE_OFFSETS * 2 + 5));
    for chain in [&one, &two] {
        let left = known(&verdicts, chain, at(1, 0), batches);
        assert_eq!(left[0], (PAGE_OFFSETS * 2).div_ceil(10));
    }
    assert_eq!(known(&verdicts, &one, at(1, 1), 2), [0, 1]);
    verdicts.forget_topic(TopicId::new(1));
    assert!(known(&verdicts, &one, at(1, 0), batches).is_empty());
    assert!(known(&verdicts, &one, at(1, 1), batches).is_empty());
    assert_eq!(known(&verdicts, &one, at(2, 0), 4), [0, 1, 2]);
}

#[test]
fn what_an_impure_plugin_said_is_forgotten_and_not_asked_for_again() {
    let verdicts = verdicts(MIB);
    let (one, other) = (chain(&[(1, &[("a", "1")])]), chain(&[(1, &[("a", "2")])]));
    let (with, without) = (chain(&[(2, &[]), (1, &[])]), chain(&[(2, &[]), (3, &[])]));
    let all = [&one, &other, &with, &without];
    let fill_all = || all.map(|chain| fill(&verdicts, chain, at(1, 0), 3));
    let known_all = || all.map(|chain| known(&verdicts, chain, at(1, 0), 3).len());
    fill_all();
    assert_eq!(known_all(), [3, 3, 3, 3]);
    verdicts.impure_plugin(PluginVersion::new([1; 32]));
    assert_eq!(known_all(), [0, 0, 0, 3]);
    fill_all();
    assert_eq!(known_all(), [0, 0, 0, 3]);
    // Which of two it was, is not known: only both together are trusted no more.
    verdicts.impure_chain(&without);
    fill_all();
    assert_eq!(known_all(), [0, 0, 0, 0]);
    let two = chain(&[(2, &[])]);
    fill(&verdicts, &two, at(1, 0), 3);
    assert_eq!(known(&verdicts, &two, at(1, 0), 3).len(), 3);
    verdicts.impure_chain(&two);
    assert!(known(&verdicts, &two, at(1, 0), 3).is_empty());
}

#[test]
fn however_many_plugins_were_caught_what_others_say_is_remembered() {
    let verdicts = verdicts(MIB);
    let caught = |n: u32| {
        let mut version = [9; 32];
        version[..4].copy_from_slice(&n.to_le_bytes());
        verdicts.impure_plugin(PluginVersion::new(version));
    };
    caught(0);
    verdicts.impure_plugin(PluginVersion::new([1; 32]));
    (1..IMPURE_MAX as u32).for_each(caught);
    // The first was forgotten for the last.
    let state = verdicts.state.lock();
    assert_eq!(
        (state.impure.len(), state.caught.len()),
        (IMPURE_MAX, IMPURE_MAX)
    );
    drop(state);
    let chains = [chain(&[(1, &[])]), chain(&[(2, &[])])];
    let known = chains.each_ref().map(|chain| {
        fill(&verdicts, chain, at(1, 0), 3);
        known(&verdicts, chain, at(1, 0), 3).len()
    });
    assert_eq!(known, [0, 3]);
}

/// A batch of the model: its records' offsets.
#[derive(Clone, Debug)]
struct Stored {
    name: BatchName,
    offsets: Vec<u64>,
}

struct Model {
    rng: StdRng,
    log: Vec<Stored>,
    end: u64,
    crc: u32,
    share: f64,
    seed: u64,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let share = [0.0, 0.02, 0.5, 0.98, 1.0][rng.random_range(0..5)];
        Self {
            rng,
            log: Vec::new(),
            end: 0,
            crc: 0,
            share,
            seed,
        }
    }

    /// What the filter says of the record at that offset.
    fn keeps(&self, offset: u64) -> bool {
        let spread = (offset + self.seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (spread as f64) < self.share * f64::from(1_u32 << 24)
    }

    fn append(&mut self) {
        let most = if self.rng.random_bool(0.02) { 5000 } else { 12 };
        let count = self.rng.random_range(1..most);
        let offsets = (self.end..self.end + count).collect();
        self.push(self.end, self.end + count, offsets);
        self.end += count;
    }

    fn push(&mut self, base: u64, end: u64, offsets: Vec<u64>) {
        self.crc += 1;
        let name = name(base, end, self.crc, offsets.len() as u32);
        self.log.push(Stored { name, offsets });
        self.log.sort_by_key(|stored| stored.name.base);
    }

    /// Takes records, whole batches, or what lies between two batches away.
    fn compact(&mut self) {
        if self.log.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.log.len());
        let mut stored = self.log.remove(at);
        if self.rng.random_bool(0.2) && at < self.log.len() {
            let next = self.log.remove(at);
            stored.offsets.extend(next.offsets);
            stored.name.end = next.name.end;
        }
        stored.offsets.retain(|_| self.rng.random_bool(0.7));
        if !stored.offsets.is_empty() {
            self.push(
                stored.name.base.value(),
                stored.name.end.value(),
                stored.offsets,
            );
        }
    }

    /// Reads from somewhere to the end, as a lane does; what it delivers is what is to be.
    fn read(&mut self, verdicts: &Verdicts, chain: &Chain) -> (u64, u64) {
        let start = self.rng.random_range(0..=self.end);
        let (mut next, mut delivered, mut left_out) = (start, Vec::new(), 0);
        let (mut skipped, mut ran) = (0, 0);
        loop {
            if let Some(Skip { to, records }) = verdicts.skip(chain, at(1, 0), Offset::new(next)) {
                assert!(to.value() > next);
                (next, left_out, skipped) = (to.value(), left_out + records, skipped + 1);
                continue;
            }
            let found = self.log.iter().find(|it| it.name.end.value() > next);
            let Some(stored) = found else { break };
            let keep = match verdicts.get(chain, at(1, 0), &stored.name) {
                Some(verdict) => verdict.to_bools(stored.name.count),
                None => {
                    ran += 1;
                    let each = stored.offsets.iter().map(|offset| self.keeps(*offset));
                    let keep: Vec<bool> = each.collect();
                    let verdict = Verdict::of(&keep);
                    verdicts.put(chain, at(1, 0), Offset::new(next), &stored.name, &verdict);
                    keep
                }
            };
            for (offset, keep) in stored.offsets.iter().zip(keep) {
                match keep {
                    _ if *offset < next => {}
                    true => delivered.push(*offset),
                    false => left_out += 1,
                }
            }
            next = stored.name.end.value();
        }
        let asked = self.log.iter().flat_map(|stored| &stored.offsets);
        let asked: Vec<u64> = asked.copied().filter(|offset| *offset >= start).collect();
        let expected = asked.iter().copied().filter(|offset| self.keeps(*offset));
        assert_eq!(
            delivered,
            expected.collect::<Vec<_>>(),
            "seed {}",
            self.seed
        );
        let least = (asked.len() - delivered.len()) as u64;
        assert!(
            left_out >= least,
            "seed {}: {left_out} < {least}",
            self.seed
        );
        (skipped, ran)
    }
}

#[test]
fn readers_get_what_the_filter_says_whatever_compaction_does() {
    let (mut skipped, mut ran) = (0, 0);
    for seed in 0..100 {
        let mut model = Model::new(seed);
        let verdicts = verdicts(if seed % 3 == 0 { 4 << 10 } else { MIB });
        let chain = chain(&[(1, &[])]);
        for _ in 0..60 {
            for _ in 0..model.rng.random_range(0..4) {
                model.append();
            }
            if model.rng.random_bool(0.4) {
                model.compact();
            }
            let (skips, runs) = model.read(&verdicts, &chain);
            (skipped, ran) = (skipped + skips, ran + runs);
        }
    }
    assert!(skipped > 1000 && ran > 1000, "{skipped} {ran}");
}

#[test]
fn without_compaction_what_is_left_out_is_counted_exactly() {
    for seed in 0..30 {
        let mut model = Model::new(seed);
        let verdicts = verdicts(MIB);
        let chain = chain(&[(1, &[])]);
        (0..200).for_each(|_| model.append());
        model.read(&verdicts, &chain);
        let total: u64 = model.log.iter().map(|it| it.offsets.len() as u64).sum();
        for from in (0..total).step_by(37) {
            let mut next = from;
            let mut counted = 0;
            while next < total {
                let skip = verdicts.skip(&chain, at(1, 0), Offset::new(next));
                let Some(skip) = skip else {
                    let of = model.log.iter().find(|it| it.name.end.value() > next);
                    let of = of.unwrap();
                    counted += of.offsets.iter().filter(|offset| **offset >= next).count() as u64;
                    next = of.name.end.value();
                    continue;
                };
                (next, counted) = (skip.to.value(), counted + skip.records);
            }
            assert_eq!(counted, total - from, "seed {seed} from {from}");
        }
    }
}
