//! Files that are given back, used again and refused: what the archiver does to the WAL.

use std::path::Path;
use std::sync::Arc;

use weir_log::{DiskReserve, LogConfig, Op, SimVfs, Submission, SubmitError, Vfs};
use weir_wire::id::Offset;

use crate::support::{
    Driven, Opened, append, config, drive, entry, open, partition, payload, read_all, until,
};

const FILE: u64 = 64 << 10;

fn small() -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = FILE;
    config.wal_bytes = 0;
    config
}

fn names(sim: &SimVfs, part: &str) -> Vec<String> {
    sim.list(&Path::new("/data").join(part)).unwrap()
}

fn commit(driven: &mut Driven, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let ops = vec![append(partition(1, 0), number, 1, payload(number, 20_000))];
        let submission = Submission {
            entry: entry(ops),
            token: number,
        };
        driven.committer.commit(vec![submission]).unwrap();
    }
}

fn settle(driven: &mut Driven) {
    while driven.committer.archive().unwrap() {}
}

#[test]
fn what_is_in_segments_leaves_the_wal_and_its_files_are_used_again() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    commit(&mut driven, 0..60);
    settle(&mut driven);
    let before = names(&sim, "wal");
    assert!(before.len() <= 6, "{before:?}");
    assert!(!names(&sim, "segments").is_empty());
    assert_eq!(names(&sim, "manifest").len(), 2);
    let steps = sim.steps();
    assert!(!driven.committer.archive().unwrap());
    assert_eq!(sim.steps(), steps, "with nothing to do nothing is written");

    // Files that come are those that were given back: there are not more of them.
    let bytes = driven.committer.reader().disk_bytes();
    commit(&mut driven, 60..64);
    assert_eq!(names(&sim, "wal").len(), before.len());
    assert_eq!(driven.committer.reader().disk_bytes(), bytes);
    assert_eq!(
        read_all(&driven.committer.reader(), partition(1, 0)).len(),
        64
    );
}

#[test]
fn a_segment_of_which_nothing_lives_is_removed() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    commit(&mut driven, 0..40);
    driven.committer.flush().unwrap();
    settle(&mut driven);
    let before = driven.committer.reader().disk_bytes();
    let trim = Op::Trim {
        partition: partition(1, 0),
        start: Offset::new(40),
    };
    let submission = Submission {
        entry: entry(vec![trim]),
        token: 0,
    };
    driven.committer.commit(vec![submission]).unwrap();
    settle(&mut driven);
    assert_eq!(names(&sim, "segments"), [] as [&str; 0]);
    let after = driven.committer.reader().disk_bytes();
    assert!(after + 40 * 20_000 <= before, "{before} became {after}");
    drop(driven);
    let again = drive(Arc::new(sim), small()).unwrap();
    let bounds = again.committer.reader().bounds(partition(1, 0)).unwrap();
    assert_eq!(bounds.start, Offset::new(40));
    assert_eq!(bounds.high_water_mark, Offset::new(40));
}

#[test]
fn the_wal_is_bounded_although_everything_comes_at_once() {
    let sim = SimVfs::new(1);
    let mut config = small();
    config.prepare_ahead = true;
    let opened = open(Arc::new(sim.clone()), config.clone());
    for number in 0..300 {
        let ops = vec![append(partition(1, 0), number, 1, payload(number, 20_000))];
        opened.submit(number, ops);
    }
    opened.wait_for(299);
    // Four that wait, four spare ones, one made ahead, and those of the manifest before.
    let files = names(&sim, "wal").len();
    assert!(files <= 16, "{files} files for 300 entries");
    opened.log.maintenance().flush().unwrap();
    let reader = opened.log.reader();
    assert_eq!(read_all(&reader, partition(1, 0)).len(), 300);
    let maintenance = opened.log.maintenance();
    opened.log.shutdown();
    let error = maintenance.flush().unwrap_err().to_string();
    assert_eq!(error, "the thread that archives the log failed: it ended");
    let opened = open(Arc::new(sim), config);
    assert_eq!(opened.replayed.len(), 300);
    let blocks = opened.report.blocks;
    assert!(blocks <= 4, "only the last file is read: {blocks} blocks");
}

#[test]
fn with_no_room_for_a_segment_the_log_goes_on_and_tries_again() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    commit(&mut driven, 0..6);
    // With its reserve there would be some, but not enough.
    sim.set_capacity(Some(sim.used()));
    for _ in 0..3 {
        let error = driven.committer.flush().unwrap_err();
        assert!(error.is_disk_full(), "{error}");
        assert_eq!(
            names(&sim, "segments"),
            [] as [&str; 0],
            "nothing half-made is left"
        );
        assert_eq!(names(&sim, ""), ["NODE", "reserve"], "it would be in vain");
    }
    assert_eq!(
        read_all(&driven.committer.reader(), partition(1, 0)).len(),
        6
    );
    driven.committer.seal().unwrap();
    sim.set_capacity(None);
    driven.committer.flush().unwrap();
    assert_eq!(names(&sim, "segments").len(), 1);
    commit(&mut driven, 6..9);
    assert_eq!(
        read_all(&driven.committer.reader(), partition(1, 0)).len(),
        9
    );
}

#[test]
fn with_the_reserve_touched_only_records_are_refused() {
    let sim = SimVfs::new(1);
    let mut config = small();
    config.disk_reserve = DiskReserve {
        percent: 100,
        bytes: 1 << 20,
    };
    sim.set_capacity(Some(1 << 20));
    let opened = open(Arc::new(sim.clone()), config);
    // The first look at the disk may come after the first entry.
    let mut base = 0;
    while append_at(&opened, base).is_ok() {
        opened.wait_for(base);
        base += 1;
    }
    assert_eq!(append_at(&opened, base), Err(SubmitError::DiskFull));
    let trim = Op::Trim {
        partition: partition(1, 0),
        start: Offset::ZERO,
    };
    opened.submit(1_000, vec![Op::Metadata(payload(1, 10)), trim]);
    opened.wait_for(1_000);
    sim.set_capacity(None);
    until("room for records", || append_at(&opened, base).is_ok());
    opened.wait_for(base);
}

fn append_at(opened: &Opened, base: u64) -> Result<(), SubmitError> {
    let ops = vec![append(partition(1, 0), base, 1, payload(base, 100))];
    opened.log.submit(Submission {
        entry: entry(ops),
        token: base,
    })
}
