//! A disk without one free byte, because somebody else filled it: what gives room back is still
//! taken, with the room of the reserve, and once there is room the log goes on as before.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use expect_test::expect;
use weir_log::{
    CrashPolicy, DirLock, FreeSpace, LogConfig, LogError, Op, OpenError, OpenMode, SimVfs,
    Snapshot, Submission, SubmitError, Vfs, VfsFile, offline,
};
use weir_wire::id::Offset;

use crate::history::History;
use crate::support::{
    Driven, Opened, append, config, drive, entry, open, partition, payload, read_all, try_open,
    until,
};

const FILE: u64 = 64 << 10;
const PAGE: u64 = 4096;
const RESERVE: &str = "/data/reserve";

fn small() -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = FILE;
    config.wal_bytes = 0;
    config
}

fn record(number: u64) -> Op {
    append(partition(1, 0), number, 1, payload(number, 20_000))
}

fn trim(start: u64) -> Op {
    Op::Trim {
        partition: partition(1, 0),
        start: Offset::new(start),
    }
}

fn commit(driven: &mut Driven, op: Op) -> Result<(), LogError> {
    let token = 0;
    let entry = entry(vec![op]);
    driven.committer.commit(vec![Submission { entry, token }])
}

/// Lets the archiver do what there is to do, as far as there is room.
fn settle(driven: &mut Driven) -> Result<(), LogError> {
    while driven.committer.archive()? {}
    Ok(())
}

/// Somebody else takes what is free.
fn fill(sim: &SimVfs) {
    sim.set_capacity(Some(sim.used()));
}

fn reserved(sim: &SimVfs) -> u64 {
    let bytes = sim.read(Path::new(RESERVE));
    bytes.map_or(0, |bytes| bytes.len() as u64)
}

/// Two files, and what the sections take; those of most tests here are small.
fn is_reserved(sim: &SimVfs) -> bool {
    (2 * FILE..3 * FILE).contains(&reserved(sim))
}

fn names(sim: &SimVfs, part: &str) -> Vec<String> {
    sim.list(&Path::new("/data").join(part)).unwrap()
}

/// Changes that take files of the WAL, and nothing else for long.
fn churn(driven: &mut Driven, changes: u64) {
    for number in 0..changes {
        commit(driven, Op::Metadata(payload(number, 10))).unwrap();
        settle(driven).unwrap();
    }
}

/// A log on a full disk. All its records are in a segment, and it has no file to spare.
fn full_with_segments(sim: &SimVfs) -> Driven {
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    for number in 0..20 {
        commit(&mut driven, record(number)).unwrap();
    }
    let driven = without_spares(sim, driven);
    fill(sim);
    driven
}

/// The log with everything in segments, and no file to spare: those would be given up first.
fn without_spares(sim: &SimVfs, mut driven: Driven) -> Driven {
    driven.committer.flush().unwrap();
    settle(&mut driven).unwrap();
    drop(driven);
    for name in names(sim, "wal").iter().rev().skip(1) {
        sim.remove(&Path::new("/data/wal").join(name)).unwrap();
    }
    drive(Arc::new(sim.clone()), small()).unwrap()
}

#[test]
fn what_is_removed_gives_its_room_back_although_there_was_none() {
    let sim = SimVfs::new(1);
    let mut driven = full_with_segments(&sim);
    let before = sim.used();
    assert!(is_reserved(&sim));
    commit(&mut driven, trim(20)).unwrap();
    settle(&mut driven).unwrap();
    let after = sim.used();
    assert!(after + 20 * 20_000 <= before, "{before} became {after}");
    assert!(is_reserved(&sim), "it was made anew");
    for number in 20..26 {
        commit(&mut driven, record(number)).unwrap();
        settle(&mut driven).unwrap();
    }
    let read = read_all(&driven.committer.reader(), partition(1, 0));
    assert_eq!(read.len(), 6);
}

#[test]
fn what_needs_no_room_goes_on_for_as_long_as_it_likes() {
    let sim = SimVfs::new(1);
    let mut driven = full_with_segments(&sim);
    // More than ten files of them.
    churn(&mut driven, 200);
    assert!(sim.list(Path::new("/data/wal")).unwrap().len() <= 6);
    assert!(!is_reserved(&sim), "there is no room for it");
    drop(driven);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    assert_eq!(driven.replayed.len(), 220);
    commit(&mut driven, trim(20)).unwrap();
    settle(&mut driven).unwrap();
    assert!(is_reserved(&sim));
}

#[test]
fn what_cannot_become_segments_leaves_a_place_for_what_removes_it() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    // As many files as may wait for the archiver.
    for number in 0..8 {
        commit(&mut driven, record(number)).unwrap();
    }
    // Somebody else takes the reserve's room, too, and gives back too little for all of them.
    sim.set_capacity(Some(0));
    let error = settle(&mut driven).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    sim.set_capacity(Some(sim.used() + 2 * FILE));
    // The rest of the last of these files, and a part of one more.
    for number in 0..10 {
        commit(&mut driven, Op::Metadata(payload(number, 10))).unwrap();
    }
    let error = settle(&mut driven).unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(
        read_all(&driven.committer.reader(), partition(1, 0)).len(),
        8
    );
    commit(&mut driven, trim(8)).unwrap();
    settle(&mut driven).unwrap();
    assert!(is_reserved(&sim));
    commit(&mut driven, record(8)).unwrap();
    settle(&mut driven).unwrap();
    drop(driven);
    let driven = drive(Arc::new(sim), small()).unwrap();
    assert_eq!(driven.replayed.len(), 20);
    assert_eq!(
        read_all(&driven.committer.reader(), partition(1, 0)).len(),
        1
    );
}

/// Waits until the log takes a record, or does not.
fn submit_until(opened: &Opened, expected: Result<(), SubmitError>) {
    let mut token = 1_000;
    until(&format!("{expected:?}"), || {
        let entry = entry(vec![append(partition(9, 0), token, 1, payload(token, 10))]);
        let answer = opened.log.submit(Submission { entry, token });
        token += u64::from(answer.is_ok());
        answer == expected
    });
}

#[test]
fn records_are_taken_again_once_there_is_room_for_the_reserve() {
    let sim = SimVfs::new(1);
    drop(full_with_segments(&sim));
    let mut config = small();
    config.prepare_ahead = true;
    let opened = open(Arc::new(sim.clone()), config);
    // Reading and changing go on; changing takes files, for which there is only the reserve.
    assert_eq!(read_all(&opened.log.reader(), partition(1, 0)).len(), 20);
    for number in 0..100 {
        opened.submit(number, vec![Op::Metadata(payload(number, 10))]);
        opened.wait_for(number);
    }
    submit_until(&opened, Err(SubmitError::DiskFull));
    opened.submit(100, vec![trim(20)]);
    opened.wait_for(100);
    let bounds = opened.log.reader().bounds(partition(1, 0)).unwrap();
    assert_eq!(bounds.start, Offset::new(20));
    let bounds = opened.log.reader().bounds(partition(9, 0));
    assert_eq!(bounds, None, "nothing was taken on the full disk");
    submit_until(&opened, Ok(()));
    opened.wait_for(1_000);
    assert!(is_reserved(&sim));
    opened.log.shutdown();
    let opened = open(Arc::new(sim), small());
    assert_eq!(read_all(&opened.log.reader(), partition(9, 0)).len(), 1);
}

#[test]
fn a_log_opens_on_a_full_disk() {
    let sim = SimVfs::new(1);
    let mut driven = full_with_segments(&sim);
    for number in 0..40 {
        drop(driven);
        fill(&sim);
        driven = drive(Arc::new(sim.clone()), small()).unwrap();
        assert_eq!(
            read_all(&driven.committer.reader(), partition(1, 0)).len(),
            20
        );
        commit(&mut driven, Op::Metadata(payload(number, 10))).unwrap();
        if is_reserved(&sim) {
            continue;
        }
        // Its room went to others.
        drop(driven);
        fill(&sim);
        let refused = try_open(Arc::new(sim.clone()), small()).err().unwrap();
        let text = refused.to_string();
        assert!(text.starts_with("there is no room for /data/"), "{text}");
        let advice = text.split_once("; ").unwrap().1;
        expect![
            "free 274432 bytes on its disk, by removing files that are not weir's or enlarging it, \
             and start again"
        ]
        .assert_eq(advice);
        sim.set_capacity(Some(sim.used() + 4 * FILE));
        let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
        assert!(is_reserved(&sim));
        commit(&mut driven, record(20)).unwrap();
        assert_eq!(
            read_all(&driven.committer.reader(), partition(1, 0)).len(),
            21
        );
        return;
    }
    panic!("the reserve is never used");
}

#[test]
fn without_room_for_the_reserve_a_log_opens_and_takes_no_records() {
    let sim = SimVfs::new(1);
    sim.set_capacity(Some(3 * FILE));
    let mut config = small();
    config.prepare_ahead = true;
    let opened = open(Arc::new(sim.clone()), config);
    assert!(!is_reserved(&sim));
    submit_until(&opened, Err(SubmitError::DiskFull));
    opened.submit(0, vec![Op::Metadata(payload(1, 10))]);
    opened.wait_for(0);
    sim.set_capacity(None);
    submit_until(&opened, Ok(()));
    assert!(is_reserved(&sim));
}

#[test]
fn a_reserve_that_is_not_what_it_should_be_is_made_anew() {
    let sim = SimVfs::new(1);
    drop(drive(Arc::new(sim.clone()), small()).unwrap());
    for bytes in [0, 1, 3 * FILE] {
        sim.damage(Path::new(RESERVE), |file| {
            file.resize(usize::try_from(bytes).unwrap(), 1);
        })
        .unwrap();
        // Whoever looks at a log from outside does not mind it.
        let vfs: Arc<dyn Vfs> = Arc::new(sim.clone());
        let dir = Path::new("/data");
        let verified = offline::verify(&vfs, dir, History::default(), &mut |_, _| {});
        assert_eq!(verified.unwrap().damages, []);
        let inspected = offline::inspect(&sim, dir).unwrap();
        assert_eq!((inspected.damages, inspected.leftovers), (vec![], vec![]));
        drop(drive(Arc::new(sim.clone()), small()).unwrap());
        assert!(is_reserved(&sim));
    }
}

#[test]
fn the_power_may_fail_at_any_step_on_a_full_disk() {
    let sim = SimVfs::new(1);
    let mut driven = full_with_segments(&sim);
    let acknowledged = Arc::new(Mutex::new(20));
    let points: Arc<Mutex<Vec<(Snapshot, usize)>>> = Arc::default();
    let (known, noted) = (acknowledged.clone(), points.clone());
    sim.watch(move |_, snapshot| {
        noted
            .lock()
            .unwrap()
            .push((snapshot, *known.lock().unwrap()));
    });
    let mut go_on = |op| {
        commit(&mut driven, op).unwrap();
        *acknowledged.lock().unwrap() += 1;
        settle(&mut driven).unwrap();
    };
    for number in 0..40 {
        go_on(Op::Metadata(payload(number, 10)));
    }
    go_on(trim(20));
    for number in 20..24 {
        go_on(record(number));
    }
    sim.unwatch();
    let capacity = sim.used() + sim.free_space(Path::new("/data")).unwrap().free;
    let points = std::mem::take(&mut *points.lock().unwrap());
    let (mut crashes, mut without_room) = (0, 0);
    for (seed, (point, acknowledged)) in (0..).zip(&points) {
        for policy in [
            CrashPolicy::DropUnsynced,
            CrashPolicy::RandomSubset,
            CrashPolicy::TornWrite,
        ] {
            let disk = point.crash(policy, seed);
            // What was removed, and not for good yet, may be there again; then it had its room.
            let capacity = capacity.max(disk.used());
            disk.set_capacity(Some(capacity));
            let free = capacity - disk.used();
            let had_reserve = reserved(&disk) > 0;
            let mut driven = match drive(Arc::new(disk.clone()), small()) {
                Ok(driven) => driven,
                // What was being removed is there again, and there is not one page for a manifest.
                Err(OpenError::NoRoom { .. }) if free < PAGE && !had_reserve => {
                    without_room += 1;
                    continue;
                }
                Err(error) => panic!("{error}, with {free} bytes: {policy:?} {seed}"),
            };
            let found = driven.replayed.len();
            let expected = *acknowledged..=acknowledged + 1;
            assert!(
                expected.contains(&found),
                "{found} of {expected:?}, {policy:?} {seed}"
            );
            let stored = read_all(&driven.committer.reader(), partition(1, 0)).len();
            let stored_then = match found {
                ..=60 => 20,
                found => found - 61,
            };
            assert_eq!(stored, stored_then, "{policy:?} {seed}");
            churn(&mut driven, 40);
            commit(&mut driven, trim(24)).unwrap();
            settle(&mut driven).unwrap();
            assert!(is_reserved(&disk), "{policy:?} {seed}");
            crashes += 1;
        }
    }
    assert!(crashes >= 500, "only {crashes}");
    assert!(without_room * 20 <= crashes, "{without_room}");
}

#[test]
fn a_start_makes_the_reserve_only_where_a_file_more_has_room() {
    let sim = SimVfs::new(1);
    drop(drive(Arc::new(sim.clone()), small()).unwrap());
    sim.remove(Path::new(RESERVE)).unwrap();
    for (room, expected) in [(3 * FILE - PAGE, 0), (3 * FILE + PAGE, 2 * FILE)] {
        sim.set_capacity(Some(sim.used() + room));
        drop(drive(Arc::new(sim.clone()), small()).unwrap());
        assert_eq!(reserved(&sim), expected, "with {room} bytes");
    }
}

/// A disk that does not tell how much room it has.
#[derive(Debug)]
struct Untold(SimVfs);

impl Vfs for Untold {
    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir_all(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        self.0.open(path, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        self.0.list(directory)
    }

    fn sync_dir(&self, directory: &Path) -> io::Result<()> {
        self.0.sync_dir(directory)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DirLock>> {
        self.0.lock(path)
    }

    fn free_space(&self, _path: &Path) -> io::Result<FreeSpace> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn nonce(&self) -> u64 {
        self.0.nonce()
    }
}

#[test]
fn of_a_flush_that_found_no_room_nothing_is_left() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(Untold(sim.clone())), small()).unwrap();
    for number in 0..40 {
        commit(&mut driven, Op::Metadata(payload(number, 10))).unwrap();
    }
    driven.committer.flush().unwrap();
    settle(&mut driven).unwrap();
    commit(&mut driven, record(0)).unwrap();
    commit(&mut driven, Op::Metadata(payload(40, 10))).unwrap();
    sim.remove(Path::new(RESERVE)).unwrap();
    let parts = ["segments", "checkpoints"];
    let before = parts.map(|part| names(&sim, part));
    let mut refused = 0;
    for room in (0..).step_by(1024) {
        sim.set_capacity(Some(sim.used() + room));
        let Err(error) = driven.committer.flush() else {
            break;
        };
        assert!(error.is_disk_full(), "{error}");
        refused += 1;
        assert_eq!(parts.map(|part| names(&sim, part)), before, "{error}");
        // The next attempt is of a later entry.
        sim.set_capacity(None);
        commit(&mut driven, Op::Metadata(payload(refused, 10))).unwrap();
    }
    assert!(refused > 20, "only {refused}");
    assert_eq!(names(&sim, "segments").len(), 1);
}

/// A log whose sections take much more than two files.
fn with_large_sections(sim: &SimVfs) -> Driven {
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    for number in 0..60 {
        commit(&mut driven, record(number)).unwrap();
    }
    for number in 0..600 {
        commit(&mut driven, Op::Metadata(payload(number, 1000))).unwrap();
    }
    without_spares(sim, driven)
}

#[test]
fn the_reserve_covers_the_sections_too() {
    let sim = SimVfs::new(1);
    let mut driven = with_large_sections(&sim);
    assert!(reserved(&sim) > 600_000, "only {}", reserved(&sim));
    fill(&sim);
    churn(&mut driven, 100);
    assert_eq!(reserved(&sim), 0, "it was needed");
    drop(driven);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    churn(&mut driven, 60);
    commit(&mut driven, trim(60)).unwrap();
    settle(&mut driven).unwrap();
    assert!(reserved(&sim) > 600_000, "only {}", reserved(&sim));
    commit(&mut driven, record(60)).unwrap();
    settle(&mut driven).unwrap();
}

#[test]
fn segments_are_not_written_while_there_is_no_room_for_the_sections() {
    let sim = SimVfs::new(1);
    let mut driven = with_large_sections(&sim);
    commit(&mut driven, record(60)).unwrap();
    sim.remove(Path::new(RESERVE)).unwrap();
    sim.set_capacity(Some(sim.used() + 600_000));
    let steps = sim.steps();
    let error = driven.committer.flush().unwrap_err();
    assert!(error.is_disk_full(), "{error}");
    assert_eq!(sim.steps(), steps, "it would be in vain");
    sim.set_capacity(Some(sim.used() + 700_000));
    driven.committer.flush().unwrap();
}

/// Files of which a half is more than a flush takes.
fn roomy(prepare_ahead: bool) -> LogConfig {
    let mut config = small();
    config.wal_file_bytes = 4 * FILE;
    config.prepare_ahead = prepare_ahead;
    config
}

#[test]
fn a_log_without_its_reserve_goes_on_after_a_start() {
    for prepare_ahead in [false, true] {
        let sim = SimVfs::new(1);
        drop(drive(Arc::new(sim.clone()), roomy(false)).unwrap());
        fill(&sim);
        // The first start uses the reserve, and those after have none.
        for start in 0..4 {
            let vfs = Arc::new(sim.clone());
            if prepare_ahead {
                let opened = open(vfs, roomy(true));
                assert_eq!(opened.replayed.len(), start * 150);
                for number in 0..150 {
                    opened.submit(number, vec![Op::Metadata(payload(number, 10))]);
                    opened.wait_for(number);
                }
                opened.log.shutdown();
            } else {
                let mut driven = drive(vfs, roomy(false)).unwrap();
                assert_eq!(driven.replayed.len(), start * 150);
                churn(&mut driven, 150);
            }
            assert_eq!(reserved(&sim), 0, "it is used");
            sim.set_capacity(Some(sim.used() + 2 * FILE - PAGE));
        }
    }
}

#[test]
fn a_file_made_ahead_is_kept_without_a_reserve_unless_the_start_needs_its_room() {
    for (room, kept) in [(16 * PAGE, true), (0, false)] {
        let sim = SimVfs::new(1);
        let opened = open(Arc::new(sim.clone()), roomy(true));
        opened.submit(0, vec![Op::Metadata(payload(0, 10))]);
        opened.wait_for(0);
        let second = "0000000000000002.wal".to_owned();
        until("the second file", || names(&sim, "wal").contains(&second));
        opened.log.shutdown();
        sim.remove(Path::new(RESERVE)).unwrap();
        sim.set_capacity(Some(sim.used() + room));
        let driven = drive(Arc::new(sim.clone()), roomy(false)).unwrap();
        assert_eq!(driven.replayed.len(), 1);
        assert_eq!(names(&sim, "wal").contains(&second), kept, "{room} bytes");
    }
}
