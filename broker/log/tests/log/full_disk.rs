//! A disk without one free byte, because somebody else filled it: what gives room back is still
//! taken, with the room of the reserve, and once there is room the log goes on as before.

use std::path::Path;
use std::sync::{Arc, Mutex};

use expect_test::expect;
use weir_log::{
    CrashPolicy, LogConfig, LogError, Op, SimVfs, Snapshot, Submission, SubmitError, Vfs, offline,
};
use weir_wire::id::Offset;

use crate::history::History;
use crate::support::{
    Driven, Opened, append, config, drive, entry, open, partition, payload, read_all, try_open,
    until,
};

const FILE: u64 = 64 << 10;
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

fn is_reserved(sim: &SimVfs) -> bool {
    let bytes = sim.read(Path::new(RESERVE)).map(|bytes| bytes.len() as u64);
    bytes.is_ok_and(|bytes| bytes == 2 * FILE)
}

/// A log on a full disk. All its records are in a segment, and it has no file to spare.
fn full_with_segments(sim: &SimVfs) -> Driven {
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    for number in 0..20 {
        commit(&mut driven, record(number)).unwrap();
    }
    driven.committer.flush().unwrap();
    settle(&mut driven).unwrap();
    for name in sim
        .list(Path::new("/data/wal"))
        .unwrap()
        .iter()
        .rev()
        .skip(1)
    {
        // Files that are kept for later would be given up first.
        sim.remove(&Path::new("/data/wal").join(name)).unwrap();
    }
    drop(driven);
    let driven = drive(Arc::new(sim.clone()), small()).unwrap();
    fill(sim);
    driven
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
    for number in 0..200 {
        commit(&mut driven, Op::Metadata(payload(number, 10))).unwrap();
        settle(&mut driven).unwrap();
    }
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
            "free 262144 bytes on its disk, by removing files that are not weir's or enlarging it, \
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
    let points = std::mem::take(&mut *points.lock().unwrap());
    let mut crashes = 0;
    for (seed, (point, acknowledged)) in (0..).zip(&points) {
        for policy in [
            CrashPolicy::DropUnsynced,
            CrashPolicy::RandomSubset,
            CrashPolicy::TornWrite,
        ] {
            let disk = point.crash(policy, seed);
            let mut driven = drive(Arc::new(disk.clone()), small()).unwrap();
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
            assert!(is_reserved(&disk));
            fill(&disk);
            commit(&mut driven, trim(24)).unwrap();
            settle(&mut driven).unwrap();
            crashes += 1;
        }
    }
    assert!(crashes >= 500, "only {crashes}");
}
