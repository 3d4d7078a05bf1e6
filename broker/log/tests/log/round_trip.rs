//! What goes in comes out: from memory, from disk, after a restart, on every kind of disk.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use expect_test::expect;
use weir_log::{
    LazyVfs, LogConfig, Op, RealVfs, RecoveredEntry, SimVfs, StateMachine, Submission, SubmitError,
    Vfs, recover,
};
use weir_wire::id::{EntryIndex, Offset, ShardId, Term, Timestamp};

use crate::history::History;

use crate::support::{
    Opened, append, columns, config, entry, line, open, partition, payload, plant, read_all,
    sequence, summary, try_open,
};

/// Small, inline at most, extent at least, large; and several per entry.
const SIZES: [usize; 6] = [1, 900, 16_383, 16_384, 40_000, 5_000];

fn fill(opened: &Opened, from: u64, entries: u64) {
    for number in from..from + entries {
        let size = SIZES[usize::try_from(number).unwrap() % SIZES.len()];
        let ops = vec![
            append(partition(1, 0), number * 2, 2, payload(number, size)),
            append(partition(2, 7), number, 1, payload(number + 500, 100)),
            sequence(9, number, Bytes::from(number.to_string())),
            Op::Metadata(payload(number, 10)),
        ];
        opened.submit(number, ops);
    }
    opened.wait_for(from + entries - 1);
}

fn check(opened: &Opened, entries: u64) {
    let reader = opened.log.reader();
    let large = read_all(&reader, partition(1, 0));
    let expected: Vec<_> = (0..entries)
        .map(|number| {
            let size = SIZES[usize::try_from(number).unwrap() % SIZES.len()];
            let time = 1_000 + i64::try_from(number).unwrap() * 2;
            (
                number * 2,
                2,
                time,
                columns(number * 2, 2),
                payload(number, size),
            )
        })
        .collect();
    assert_eq!(large.iter().map(line).collect::<Vec<_>>(), expected);
    let small = read_all(&reader, partition(2, 7));
    assert_eq!(small.len() as u64, entries);
    let bounds = reader.bounds(partition(1, 0)).unwrap();
    assert_eq!(bounds.high_water_mark, Offset::new(entries * 2));
}

fn goes_round(vfs: Arc<dyn Vfs>, dir: &Path, prepare_ahead: bool) {
    let mut config = config(dir);
    config.prepare_ahead = prepare_ahead;
    config.cache_bytes = 100_000;
    let opened = open(vfs.clone(), config.clone());
    assert_eq!(opened.report.blocks, 0);
    fill(&opened, 0, 40);
    check(&opened, 40);
    opened.log.shutdown();

    // Another file size and no memory: everything comes from the disk.
    config.wal_file_bytes *= 2;
    config.cache_bytes = 0;
    let opened = open(vfs.clone(), config.clone());
    assert_eq!(opened.replayed.len(), 40);
    assert_eq!(opened.report.cut, None);
    check(&opened, 40);
    fill(&opened, 40, 30);
    check(&opened, 70);
    drop(opened);

    config.wal_file_bytes = 96 << 10;
    let opened = open(vfs.clone(), config.clone());
    assert_eq!(opened.report.cut, None);
    fill(&opened, 70, 5);
    opened.log.shutdown();
    let opened = open(vfs, config);
    check(&opened, 75);
    let indexes: Vec<u64> = opened.replayed.iter().map(|e| e.index.value()).collect();
    assert_eq!(indexes, (1..=75).collect::<Vec<u64>>());
    expect![
        "3: topic id 1 partition 0 4+2, topic id 2 partition 7 2+1, producer 9 #2 b\"2\", metadata"
    ]
    .assert_eq(summary(&opened.replayed[2]).split(" b\"\\").next().unwrap());
}

#[test]
fn on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    goes_round(Arc::new(RealVfs::new()), dir.path(), true);
}

#[test]
fn in_memory_where_the_file_system_may_refuse_direct_writes() {
    let Ok(dir) = tempfile::tempdir_in("/dev/shm") else {
        return;
    };
    goes_round(Arc::new(RealVfs::new()), dir.path(), true);
}

#[test]
fn on_a_lazy_disk() {
    let dir = tempfile::tempdir().unwrap();
    let lazy = || Arc::new(LazyVfs::new(Arc::new(RealVfs::new())));
    goes_round(lazy(), dir.path(), true);
    // What the first process left is what a fresh one finds.
    let mut config = config(dir.path());
    config.cache_bytes = 0;
    check(&open(lazy(), config), 75);
}

#[test]
fn on_a_simulated_disk() {
    for ahead in [false, true] {
        goes_round(Arc::new(SimVfs::new(1)), Path::new("/data"), ahead);
    }
}

#[cfg(debug_assertions)]
#[test]
fn a_lazy_disk_forgets_what_was_not_synced() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path());
    plant(&mut config, Some(weir_log::Bug::SkipFsync));
    let lazy: Arc<dyn Vfs> = Arc::new(LazyVfs::new(Arc::new(RealVfs::new())));
    let opened = open(lazy, config.clone());
    fill(&opened, 0, 3);
    check(&opened, 3);
    opened.log.shutdown();
    plant(&mut config, None);
    // The manifest, which is synced with care, knows of blocks that are not there.
    let error = try_open(Arc::new(RealVfs::new()), config).err().unwrap();
    let error = error.to_string();
    assert!(
        error.contains("0000000000000001.wal at byte 4096: no block is here, where one was"),
        "{error}"
    );
}

#[test]
fn many_entries_become_few_blocks_and_stay_in_order() {
    let opened = open(Arc::new(SimVfs::new(1)), config(Path::new("/data")));
    for number in 0..500 {
        let ops = vec![append(partition(1, 0), number, 1, payload(number, 300))];
        opened.submit(number, ops);
    }
    let mut tokens = Vec::new();
    while tokens.len() < 500 {
        tokens.extend(opened.next_committed());
    }
    assert_eq!(tokens, (0..500).collect::<Vec<u64>>());
}

#[test]
fn a_block_may_touch_more_partitions_than_its_header_names() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
    let opened = open(vfs.clone(), config(Path::new("/data")));
    let ops = (0..300)
        .map(|number| append(partition(1, number), 0, 1, payload(number.into(), 20)))
        .collect();
    opened.submit(0, ops);
    opened.wait_for(0);
    opened.log.shutdown();
    let opened = open(vfs, config(Path::new("/data")));
    let reader = opened.log.reader();
    for number in 0..300 {
        let batches = read_all(&reader, partition(1, number));
        assert_eq!(batches[0].bytes, payload(number.into(), 20));
    }
}

#[test]
fn an_entry_that_fits_no_file_is_refused_and_the_largest_is_taken() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
    let opened = open(vfs.clone(), config(Path::new("/data")));
    let submit = |token, size| {
        let entry = entry(vec![append(partition(1, 0), 0, 1, payload(1, size))]);
        opened.log.submit(Submission { entry, token })
    };
    let refused = submit(0, 70_000).unwrap_err();
    assert_eq!(
        refused,
        SubmitError::TooLarge {
            bytes: 73_847,
            max: 65_536
        }
    );
    submit(1, 61_440).unwrap();
    opened.wait_for(1);
    opened.log.shutdown();
    assert_eq!(open(vfs, config(Path::new("/data"))).replayed.len(), 1);
}

#[test]
fn what_waits_is_bounded() {
    let mut config = config(Path::new("/data"));
    config.queue_bytes = 1_000;
    let opened = open(Arc::new(SimVfs::new(1)), config);
    let entry = entry(vec![append(partition(1, 0), 0, 1, payload(1, 2_000))]);
    let refused = opened
        .log
        .submit(Submission { entry, token: 1 })
        .unwrap_err();
    assert_eq!(refused, SubmitError::Busy { bytes: 0 });
}

#[test]
fn reads_keep_to_offsets_and_limits() {
    let opened = open(Arc::new(SimVfs::new(1)), config(Path::new("/data")));
    let at = partition(1, 0);
    for number in 0..10 {
        opened.submit(
            number,
            vec![append(at, number * 5, 5, payload(number, 1_000))],
        );
    }
    opened.wait_for(9);
    let reader = opened.log.reader();
    let offsets = |from, bytes, batches| -> Vec<u64> {
        let read = reader.read(at, Offset::new(from), bytes, batches).unwrap();
        let batches = read.batches.iter();
        batches.map(|batch| batch.base_offset.value()).collect()
    };
    assert_eq!(offsets(0, 2_500, 100), [0, 5]);
    assert_eq!(offsets(7, 1, 100), [5]);
    assert_eq!(offsets(44, usize::MAX, 100), [40, 45]);
    assert_eq!(offsets(0, usize::MAX, 3), [0, 5, 10]);
    assert_eq!(offsets(50, 1_000, 100), [0_u64; 0]);
    let beyond = reader.read(at, Offset::new(51), 1_000, 1).unwrap_err();
    expect!["offset 51 of topic id 1 partition 0 is out of range; it holds 0 to 50"]
        .assert_eq(&beyond.to_string());
    let at_time = |time| reader.offset_at(at, Timestamp::new(time)).unwrap();
    assert_eq!(at_time(1_012), Offset::new(15));
    assert_eq!(at_time(9_999), Offset::new(50));
    reader.forget(at.topic);
    assert_eq!(reader.bounds(at), None);
}

#[test]
fn what_is_in_memory_needs_no_disk_and_the_oldest_goes_first() {
    let mut config = config(Path::new("/data"));
    config.cache_bytes = 10_000;
    let opened = open(Arc::new(SimVfs::new(1)), config);
    let at = partition(1, 0);
    for number in 0..20 {
        opened.submit(number, vec![append(at, number, 1, payload(number, 1_000))]);
    }
    opened.wait_for(19);
    let reader = opened.log.reader();
    assert!(reader.read_cached(at, Offset::new(0), 1, 1).is_none());
    let tail = reader
        .read_cached(at, Offset::new(15), usize::MAX, 100)
        .unwrap();
    assert_eq!((tail.batches.len(), tail.next), (5, Offset::new(20)));
    let end = reader.read_cached(at, Offset::new(20), 1, 1).unwrap();
    assert_eq!((end.batches.len(), end.next), (0, Offset::new(20)));
    assert_eq!(read_all(&reader, at).len(), 20);
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for bytes in [0, 4096, 100_001, 5 << 30] {
        let mut config = LogConfig::new("/data", ShardId::new(0));
        config.wal_file_bytes = bytes;
        let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
        let error = try_open(vfs.clone(), config).err().unwrap().to_string();
        assert!(error.contains("wal_file_bytes must be"), "{error}");
    }
}

#[test]
fn an_entry_that_replay_refuses_keeps_the_log_closed() {
    let vfs: Arc<dyn Vfs> = Arc::new(SimVfs::new(1));
    let opened = open(vfs.clone(), config(Path::new("/data")));
    fill(&opened, 0, 2);
    opened.log.shutdown();
    // It has entries already, so that the log's first one is not the next.
    let mut history = History::default();
    history
        .apply(&RecoveredEntry {
            index: EntryIndex::new(1),
            term: Term::new(1),
            ops: Vec::new(),
        })
        .unwrap();
    let refused = recover(vfs, config(Path::new("/data")), history).map(|_| ());
    expect!["entry 1 came after 1"].assert_eq(&refused.unwrap_err().to_string());
}
