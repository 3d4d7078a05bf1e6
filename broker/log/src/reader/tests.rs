//! Reads across memory, WAL and segments, while batches move between them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use proptest::test_runner::Config;
use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

use super::{Bounds, LogReader, Totals};
use crate::entry::Columns;
use crate::error::ReadError;
use crate::ids::FileSequence;
use crate::index::{Read, StoredBatch};
use crate::scrub::Scrub;
use crate::vfs::{SimVfs, Vfs};
use crate::wal::file_path;

mod counting;
mod damage;
mod world;

use counting::CountingVfs;
use world::{Model, World, config, dir, partition};

/// A batch, to compare: its bytes by length and checksum.
type Line = (u64, u32, i64, Columns, usize, u32);

/// A way to find an offset.
type Look<'a> = &'a dyn Fn(&LogReader, TopicPartition) -> Offset;

fn line(batch: &StoredBatch) -> Line {
    (
        batch.base_offset.value(),
        batch.count,
        batch.append_time.value(),
        batch.columns.clone(),
        batch.bytes.len(),
        crc32c::crc32c(&batch.bytes),
    )
}

fn lines<'a>(batches: impl IntoIterator<Item = &'a StoredBatch>) -> Vec<Line> {
    batches.into_iter().map(line).collect()
}

/// All a partition holds, in reads of that size.
fn read_all(
    reader: &LogReader,
    at: TopicPartition,
    bytes: usize,
    count: usize,
) -> Vec<StoredBatch> {
    let bounds = reader.bounds(at).unwrap();
    let (mut all, mut next) = (Vec::new(), bounds.start);
    loop {
        let read = reader.read(at, next, bytes, count).unwrap();
        if read.batches.is_empty() {
            assert_eq!(read.next, bounds.high_water_mark);
            return all;
        }
        next = read.next;
        all.extend(read.batches);
    }
}

fn check_all(world: &World, bytes: usize, count: usize) {
    for (at, model) in &world.model {
        let read = read_all(&world.reader, *at, bytes, count);
        assert_eq!(lines(&read), lines(&model.batches), "{at}");
    }
}

/// One step of what may happen to a log.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u32, u32, usize, i64)>),
    /// Which share of the WAL files, in percent.
    Archive(u64),
    /// Which partition, and which share of its offsets.
    Trim(u32, u64),
    /// Which segment and how many behind it; which batches go: those whose offset has no rest.
    Rewrite(usize, usize, u64),
    Forget(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let length = prop_oneof![4 => 0..900_usize, 2 => 900..9_000_usize];
    let batch = (0..4_u32, 1..6_u32, length, 0..3_i64);
    let step = prop_oneof![
        12 => vec(batch, 1..5).prop_map(Step::Append),
        4 => (0..101_u64).prop_map(Step::Archive),
        2 => (0..4_u32, 0..101_u64).prop_map(|(number, share)| Step::Trim(number, share)),
        2 => (any::<usize>(), 1..4_usize, 1..9_u64).prop_map(|(a, b, c)| Step::Rewrite(a, b, c)),
        1 => (1..3_u64).prop_map(Step::Forget),
    ];
    vec(step, 1..60)
}

/// Partitions 0 to 2 belong to topic 1, partition 3 to topic 2.
fn numbered(number: u32) -> TopicPartition {
    partition(1 + u64::from(number / 3), number)
}

fn take(world: &mut World, step: Step, forgotten: &mut Vec<u64>) {
    match step {
        Step::Append(batches) => {
            let batches: Vec<_> = batches
                .into_iter()
                .map(|(number, count, length, later)| (numbered(number), count, length, later))
                .filter(|(at, ..)| !forgotten.contains(&at.topic.value()))
                .collect();
            world.append(&batches);
        }
        Step::Archive(share) => {
            let files = world.last_file().value() * share / 100;
            world.archive(FileSequence::new(files));
        }
        Step::Trim(number, share) => {
            let at = numbered(number);
            if let Some(model) = world.model.get(&at) {
                let start = Offset::new(model.end.value() * share / 100);
                world.trim(at, start);
            }
        }
        Step::Rewrite(first, count, rest) => {
            let live = world.live_segments();
            if live.is_empty() {
                return;
            }
            let first = first % live.len();
            let some = &live[first..(first + count).min(live.len())];
            let newest: BTreeMap<TopicPartition, Offset> = world
                .model
                .iter()
                .filter_map(|(at, model)| Some((*at, model.batches.last()?.base_offset)))
                .collect();
            // The newest batch of a partition is never compacted away.
            world.rewrite(some, |at, batch| {
                newest.get(&at) == Some(&batch.base_offset)
                    || !(batch.base_offset.value() / 3).is_multiple_of(rest)
                    || rest == 1
            });
        }
        Step::Forget(topic) => {
            forgotten.push(topic);
            world.reader.forget(TopicId::new(topic));
            world.model.retain(|at, _| at.topic != TopicId::new(topic));
        }
    }
}

fn check_partition(reader: &LogReader, at: TopicPartition, model: &Model) -> Bounds {
    let bounds = reader.bounds(at).unwrap();
    assert_eq!(
        (bounds.start, bounds.high_water_mark, bounds.last_time),
        (model.start, model.end, model.last_time)
    );
    for from in (model.start.value()..=model.end.value())
        .step_by(3)
        .map(Offset::new)
    {
        let read = reader.read(at, from, 4_000, 5).unwrap().batches;
        let expected = lines(model.from(from).take(read.len().max(1)));
        assert_eq!(lines(&read), expected, "{at} from {from}");
        let bytes: usize = read.iter().map(|batch| batch.bytes.len()).sum();
        assert!(read.len() <= 5 && (read.len() <= 1 || bytes <= 4_000));
    }
    let behind = Offset::new(model.end.value() + 1);
    assert!(matches!(
        reader.read(at, behind, 1, 1),
        Err(ReadError::OutOfRange { .. })
    ));
    check_times(reader, at, model);
    bounds
}

/// A search finds an offset that has nothing appended before that time at or above it, and
/// nothing appended since below it.
fn check_times(reader: &LogReader, at: TopicPartition, model: &Model) {
    for time in (0..=model.last_time.value() + 1).map(Timestamp::new) {
        let found = reader.offset_at(at, time).unwrap();
        assert!(found >= model.start && found <= model.end);
        let (below, above): (Vec<_>, Vec<_>) = model
            .batches
            .iter()
            .partition(|batch| batch.base_offset < found);
        let since = |batch: &&StoredBatch| batch.append_time >= time;
        assert!(above.iter().all(since), "{at} at {time}: {found}");
        // A batch that lies below the start in part begins below whatever is found.
        let early = below
            .iter()
            .filter(|batch| batch.base_offset >= model.start);
        assert!(!early.into_iter().any(since), "{at} at {time}: {found}");
    }
}

proptest! {
    #![proptest_config(Config { cases: 128, failure_persistence: None, ..Config::default() })]

    #[test]
    fn what_is_read_is_what_was_appended_wherever_it_is(
        steps in steps(),
        cache_bytes in prop_oneof![0..1_usize, 5_000..20_000_usize],
        open_files in 1..5_usize,
    ) {
        let sim: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
        let mut config = config();
        config.cache_bytes = cache_bytes;
        config.open_files = open_files;
        config.index_bytes = 1_000;
        let mut world = World::new(sim, config);
        let mut forgotten = Vec::new();
        for step in steps {
            take(&mut world, step, &mut forgotten);
            let mut totals: BTreeMap<TopicId, Totals> = BTreeMap::new();
            for (at, model) in &world.model {
                let bounds = check_partition(&world.reader, *at, model);
                let total = totals.entry(at.topic).or_default();
                total.bytes += bounds.bytes;
                total.records += bounds.records;
            }
            for topic in [1, 2].map(TopicId::new) {
                let expected = totals.get(&topic).copied().unwrap_or_default();
                assert_eq!(world.reader.totals(topic), expected);
            }
            assert!(world.reader.shared.disk.open.count() <= open_files);
            assert!(world.reader.shared.disk.runs.size().1 <= 1_000);
        }
        check_all(&world, 20_000, 100);
    }
}

/// A partition whose batches are of these sizes: the first part in one segment, the next in
/// another, the rest in the WAL.
fn three_parts(world: &mut World, at: TopicPartition, each: usize, length: usize) {
    for part in 0..3 {
        for _ in 0..each {
            world.append(&[(at, 2, length, 10)]);
        }
        if part < 2 {
            world.archive(world.last_file()).unwrap();
        }
    }
}

fn uncached(vfs: Arc<dyn Vfs>, wal_file_bytes: u64) -> World {
    let mut config = config();
    config.wal_file_bytes = wal_file_bytes;
    config.cache_bytes = 0;
    World::new(vfs, config)
}

#[test]
fn bounds_say_what_is_there() {
    let mut world = uncached(Arc::new(SimVfs::new(1)), 64 << 10);
    let at = partition(1, 0);
    three_parts(&mut world, at, 4, 1_000);
    let bounds = |world: &World| world.reader.bounds(at).unwrap();
    let all = Bounds {
        start: Offset::new(0),
        high_water_mark: Offset::new(24),
        bytes: 12_000,
        records: 24,
        oldest: Some(Timestamp::new(10)),
        last_time: Timestamp::new(120),
    };
    assert_eq!(bounds(&world), all);
    world.trim(at, Offset::new(8));
    let second = Bounds {
        start: Offset::new(8),
        bytes: 8_000,
        records: 16,
        oldest: Some(Timestamp::new(50)),
        ..all
    };
    assert_eq!(bounds(&world), second);
    // A quarter of the second segment's run is gone: in proportion.
    world.trim(at, Offset::new(10));
    let part = Bounds {
        start: Offset::new(10),
        bytes: 7_000,
        records: 14,
        ..second
    };
    assert_eq!(bounds(&world), part);
    // Into the WAL; then everything. What was trimmed once stays so.
    world.trim(at, Offset::new(20));
    world.trim(at, Offset::new(19));
    assert_eq!(bounds(&world).oldest, Some(Timestamp::new(110)));
    assert_eq!((bounds(&world).bytes, bounds(&world).records), (2_000, 4));
    world.trim(at, Offset::new(99));
    let nothing = Bounds {
        start: Offset::new(24),
        bytes: 0,
        records: 0,
        oldest: None,
        ..all
    };
    assert_eq!(bounds(&world), nothing);
    assert_eq!(world.reader.partitions(), [(at, nothing)]);
    assert_eq!(world.live_segments(), []);
    let end = world.reader.read(at, Offset::new(24), 1, 1).unwrap();
    assert_eq!((end.batches.len(), end.next), (0, Offset::new(24)));
}

#[test]
fn retention_by_bytes_finds_where_to_cut() {
    let mut world = uncached(Arc::new(SimVfs::new(1)), 64 << 20);
    let at = partition(1, 0);
    three_parts(&mut world, at, 20, 20_000);
    let keeping = |bytes| world.reader.offset_keeping(at, bytes).unwrap().value();
    assert_eq!(keeping(u64::MAX), 0);
    assert_eq!(keeping(1_200_000), 0);
    assert_eq!(keeping(0), 120);
    // In the WAL: to the batch.
    assert_eq!(keeping(20_000), 118);
    assert_eq!(keeping(399_999), 82);
    // At the end of a run, and within one: to the next batch of the sparse index, of which each
    // fourth batch here is one.
    assert_eq!(keeping(400_000), 80);
    assert_eq!(keeping(420_000), 80);
    assert_eq!(keeping(500_000), 72);
    assert_eq!(keeping(1_199_999), 8);
    for bytes in (0..1_300_000).step_by(7_777) {
        let offset = keeping(bytes);
        let kept = (120 - offset) / 2 * 20_000;
        assert!(
            kept <= bytes && (kept + 100_000 > bytes || offset == 0),
            "{bytes}"
        );
    }
}

#[test]
fn a_read_of_two_mebibytes_asks_the_disk_once() {
    let counting = CountingVfs::new(SimVfs::new(1));
    let mut world = uncached(Arc::new(counting.clone()), 64 << 20);
    let (large, small) = (partition(1, 0), partition(1, 1));
    for _ in 0..4 {
        world.append(&[(large, 1, 1 << 20, 1)]);
    }
    for _ in 0..600 {
        world.append(&[(small, 1, 3_000, 1)]);
    }
    let reads = |world: &World, at, from| {
        let before = counting.reads();
        let read = world
            .reader
            .read(at, Offset::new(from), 2 << 20, 256)
            .unwrap()
            .batches;
        let after = counting.reads();
        let bytes: usize = read.iter().map(|batch| batch.bytes.len()).sum();
        (read.len(), bytes, after.0 - before.0, after.1 - before.1)
    };
    // From the WAL, where each of these blocks is padded to a page.
    assert_eq!(
        reads(&world, large, 0),
        (2, 2 << 20, 1, (2 << 20) + 4_096 + 3_983)
    );
    let (count, bytes, asked, _) = reads(&world, small, 0);
    assert_eq!((count, bytes, asked), (256, 768_000, 1));
    world.archive(world.last_file()).unwrap();
    // The sparse index is read once.
    world.reader.offset_at(large, Timestamp::new(3)).unwrap();
    world.reader.offset_at(small, Timestamp::new(300)).unwrap();
    let (count, bytes, asked, read) = reads(&world, large, 0);
    assert_eq!((count, bytes, asked), (2, 2 << 20, 1));
    assert!(
        read < (2 << 20) + 200,
        "nothing is read that is not served: {read}"
    );
    let (count, _, asked, _) = reads(&world, small, 0);
    assert_eq!(asked, 1);
    assert!(count >= 240, "{count}");
    // Reading on begins where the last read ended.
    let before = counting.reads();
    let all = read_all(&world.reader, small, 2 << 20, 256);
    let after = counting.reads();
    assert_eq!(all.len(), 600);
    assert!(after.0 - before.0 <= 3 && after.1 - before.1 < 600 * 3_100 + (128 << 10));
    check_all(&world, 2 << 20, 256);
}

/// Overwrites a WAL file with something else, as one that is used again is, and removes it.
fn recycle(sim: &SimVfs, sequence: u64) {
    let path = file_path(dir(), FileSequence::new(sequence));
    let other = |bytes: &mut Vec<u8>| {
        bytes
            .iter_mut()
            .for_each(|byte| *byte = byte.wrapping_mul(5))
    };
    sim.damage(&path, other).unwrap();
    sim.remove(&path).unwrap();
}

#[test]
fn readers_do_not_notice_that_batches_move() {
    let sim = SimVfs::new(1);
    let mut config = config();
    config.cache_bytes = 20_000;
    config.open_files = 2;
    config.index_bytes = 500;
    let mut world = World::new(Arc::new(sim.clone()), config);
    let partitions = [partition(1, 0), partition(1, 1), partition(2, 0)];
    for number in 0..240_u32 {
        let at = partitions[number as usize % 3];
        world.append(&[(at, 1 + number % 4, 100 + number as usize * 70, 1)]);
    }
    let expected: Vec<(TopicPartition, Vec<Line>)> = world
        .model
        .iter()
        .map(|(at, model)| (*at, lines(&model.batches)))
        .collect();
    let files = world.last_file().value();
    assert!(files > 20, "{files} files");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for (number, bytes) in [1, 10_000, 100_000].into_iter().enumerate() {
            let (reader, expected, done) = (world.reader.clone(), &expected, &done);
            scope.spawn(move || {
                let mut rounds = 0;
                while rounds < 3 || !done.load(Ordering::Relaxed) {
                    let (at, expected) = &expected[(number + rounds) % 3];
                    assert_eq!(&lines(&read_all(&reader, *at, bytes, 50)), expected);
                    reader.offset_at(*at, Timestamp::new(40)).unwrap();
                    rounds += 1;
                }
            });
        }
        for file in 1..files {
            world.archive(FileSequence::new(file));
            recycle(&sim, file);
            world.reader.close(FileSequence::new(file + 1), &[]);
            let live = world.live_segments();
            if live.len() >= 3 {
                world.rewrite(&live, |_, _| true);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(world.reader.shared.disk.open.count() <= 2);
}

/// Two segments of 30 batches each, with sparse indexes worth reading.
fn two_segments(vfs: CountingVfs) -> (Arc<Mutex<World>>, LogReader, TopicPartition) {
    let mut world = uncached(Arc::new(vfs), 4 << 20);
    let at = partition(1, 0);
    for _ in 0..2 {
        for _ in 0..30 {
            world.append(&[(at, 1, 20_000, 1)]);
        }
        world.archive(world.last_file()).unwrap();
    }
    let reader = world.reader.clone();
    (Arc::new(Mutex::new(world)), reader, at)
}

fn rewrite_all(world: &Mutex<World>) {
    let mut world = world.lock().unwrap();
    let live = world.live_segments();
    world.rewrite(&live, |_, _| true);
}

#[test]
fn what_moves_in_the_middle_of_a_read_is_looked_up_again() {
    let vfs = CountingVfs::new(SimVfs::new(1));
    let (world, reader, at) = two_segments(vfs.clone());
    let first = |read: &Read| read.batches[0].base_offset;
    let looks: [Look<'_>; 4] = [
        // The first to ask for a sparse index; the others find it in memory.
        &|reader, at| reader.offset_keeping(at, 18 * 20_100).unwrap(),
        &|reader, at| first(&reader.read(at, Offset::new(42), 1, 1).unwrap()),
        &|reader, at| reader.offset_at(at, Timestamp::new(43)).unwrap(),
        &|reader, at| first(&reader.read(at, Offset::new(42), 1 << 20, 99).unwrap()),
    ];
    for look in looks {
        let moving = world.clone();
        vfs.in_next_read(move || rewrite_all(&moving));
        assert_eq!(look(&reader, at), Offset::new(42));
        assert!(!vfs.is_waiting(), "it moved in the middle of the read");
    }
}

#[test]
fn a_segment_that_is_replaced_while_the_scrub_opens_it_is_no_damage() {
    let vfs = CountingVfs::new(SimVfs::new(1));
    let (world, reader, _) = two_segments(vfs.clone());
    let mut scrub = Scrub::new(reader);
    vfs.in_next_read(move || rewrite_all(&world));
    let mut done = scrub.step(1);
    assert!(
        !vfs.is_waiting(),
        "it was replaced in the middle of the step"
    );
    while !done.round_ended {
        assert_eq!(done.damages, []);
        done = scrub.step(1 << 20);
    }
    assert_eq!(done.damages, []);
}

#[test]
fn what_is_gone_takes_neither_files_nor_memory() {
    let vfs = CountingVfs::new(SimVfs::new(1));
    let (world, reader, at) = two_segments(vfs);
    read_all(&reader, at, 100_000, 10);
    let disk = &reader.shared.disk;
    // The WAL file is one, too.
    assert_eq!((disk.open.count(), disk.runs.size().0), (3, 2));
    rewrite_all(&world);
    assert_eq!((disk.open.count(), disk.runs.size()), (1, (0, 0)));
}

#[test]
fn ten_thousand_partitions_are_counted_as_they_change() {
    let mut world = uncached(Arc::new(SimVfs::new(1)), 2 << 20);
    for hundred in 0..100 {
        let batches: Vec<_> = (0..100)
            .map(|number| (partition(1, hundred * 100 + number), 2, 10, 1))
            .collect();
        world.append(&batches);
    }
    let totals = |world: &World| world.reader.totals(TopicId::new(1));
    let all = Totals {
        bytes: 100_000,
        records: 20_000,
    };
    assert_eq!(totals(&world), all);
    world.archive(world.last_file()).unwrap();
    assert_eq!(totals(&world), all);
    assert_eq!(world.reader.partitions().len(), 10_000);
    world.trim(partition(1, 77), Offset::new(2));
    let less = Totals {
        bytes: 99_990,
        records: 19_998,
    };
    assert_eq!(totals(&world), less);
    world.reader.forget(TopicId::new(1));
    assert_eq!(totals(&world), Totals::default());
    assert_eq!(world.live_segments(), []);
}
