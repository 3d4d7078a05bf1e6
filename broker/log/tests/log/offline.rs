//! Looking at a log without opening it: what the recovery would say is said, and what it would
//! refuse is rescued.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use weir_log::offline::{
    OfflineError, RescueReport, StatePart, Verification, inspect, rescue, state, verify,
};
use weir_log::{CrashPolicy, LogConfig, Lsn, Op, OpenError, RecoveredOp, SimVfs, Submission, Vfs};
use weir_wire::id::{Offset, TopicPartition};

use crate::crash_plan::{Plan, Step};
use crate::history::History;
use crate::support::{Driven, append, config, drive, entry, line, partition, payload, read_all};

const PAGE: usize = 4096;

fn dir() -> &'static Path {
    Path::new("/data")
}

fn small() -> LogConfig {
    let mut config = config(dir());
    config.wal_file_bytes = 64 << 10;
    config.cache_bytes = 0;
    config
}

fn wal(number: u64) -> PathBuf {
    PathBuf::from(format!("/data/wal/{number:016}.wal"))
}

/// What was rescued of a partition: from and up to which offsets.
fn ranges(sim: &SimVfs, known: &[TopicPartition]) -> (RescueReport, Vec<(u64, u64, u64)>) {
    let mut ranges = Vec::new();
    let report = rescue(sim, dir(), known, &|_| true, &mut |part| {
        let topic = part.partition.topic.value();
        ranges.push((topic, part.from.value(), part.to.value()));
        Ok(())
    });
    (report.unwrap(), ranges)
}

fn commit(driven: &mut Driven, ops: Vec<Op>) {
    let entry = entry(ops);
    let submission = Submission { entry, token: 0 };
    driven.committer.commit(vec![submission]).unwrap();
}

/// Batches of ten records of 400 bytes in two topics, archived as far as that goes, then more.
fn archived() -> SimVfs {
    let sim = SimVfs::new(3);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    let mut write = |numbers: std::ops::Range<u64>, flush| {
        for number in numbers {
            let ops = [1, 2].map(|topic| {
                let bytes = payload(number * topic, 4_000);
                append(partition(topic, 0), number * 10, 10, bytes)
            });
            commit(&mut driven, ops.into());
        }
        if flush {
            driven.committer.flush().unwrap();
            while driven.committer.archive().unwrap() {}
        }
        driven.committer.seal().unwrap();
    };
    write(0..20, true);
    write(20..40, true);
    write(40..45, false);
    sim
}

fn holes(report: &RescueReport) -> Vec<(u64, u64, u64)> {
    let holes = report.holes.iter();
    holes
        .map(|(at, from, to)| (at.topic.value(), from.value(), to.value()))
        .collect()
}

fn open_ends(report: &RescueReport) -> Vec<(u64, u64)> {
    let ends = report.open_ends.iter();
    ends.map(|(at, from)| (at.topic.value(), from.value()))
        .collect()
}

type Lines = BTreeMap<TopicPartition, Vec<String>>;

/// A sealed log of several files, and all that is in it.
fn filled() -> (SimVfs, Lines) {
    let plan = Plan::new(21, 60).without_trims();
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    let mut next = 0;
    for step in &plan.steps {
        if let Step::Commit(count) = step {
            let entries = (next..next + count).map(|number| Submission {
                entry: plan.entry(number),
                token: 0,
            });
            driven.committer.commit(entries.collect()).unwrap();
            next += count;
        }
    }
    driven.committer.seal().unwrap();
    drop(driven);
    // A copy: opening states what is durable in a new manifest.
    let lines = opened(&copy(&sim));
    (sim, lines)
}

/// What an opened log reads.
fn opened(sim: &SimVfs) -> Lines {
    let driven = drive(Arc::new(sim.clone()), small()).unwrap();
    let reader = driven.committer.reader();
    let appends = driven.replayed.iter().flat_map(|entry| &entry.ops);
    let partitions = appends.filter_map(|op| match op {
        RecoveredOp::Append { partition, .. } => Some(*partition),
        _ => None,
    });
    partitions
        .map(|at| {
            let batches = read_all(&reader, at);
            (
                at,
                batches
                    .iter()
                    .map(|batch| format!("{:?}", line(batch)))
                    .collect(),
            )
        })
        .collect()
}

fn verified(sim: &SimVfs) -> Verification {
    let vfs: Arc<dyn Vfs> = Arc::new(sim.clone());
    let machine = History::default();
    verify(&vfs, dir(), machine, &mut |done, total| {
        assert!(done <= total)
    })
    .unwrap()
}

fn rescued(sim: &SimVfs) -> (RescueReport, Lines) {
    let mut lines = Lines::new();
    let report = rescue(sim, dir(), &[], &|_| true, &mut |rescued| {
        lines
            .entry(rescued.partition)
            .or_default()
            .push(format!("{:?}", line(&rescued.batch)));
        Ok(())
    });
    (report.unwrap(), lines)
}

fn copy(sim: &SimVfs) -> SimVfs {
    sim.snapshot().crash(CrashPolicy::DropUnsynced, 0)
}

#[test]
fn a_sound_log_is_verified_and_rescued_whole() {
    let (sim, lines) = filled();
    let found = verified(&sim);
    assert_eq!((found.damages, found.cut), (vec![], None));
    let (report, rescued) = rescued(&sim);
    assert_eq!(rescued, lines);
    assert_eq!(
        report.batches,
        lines.values().map(|l| l.len() as u64).sum::<u64>()
    );
    assert_eq!((report.holes, report.damages), (vec![], vec![]));
    let inspection = inspect(&sim, dir()).unwrap();
    let blocks: u64 = inspection.wal.iter().map(|file| file.blocks).sum();
    assert_eq!(inspection.end.last, Lsn::new(blocks));
    assert_eq!(
        inspection.end.durable,
        Lsn::new(blocks - 1),
        "a seal ends it"
    );
    assert!(inspection.wal.len() >= 5 && inspection.damages.is_empty());
}

#[test]
fn the_state_comes_out_in_the_order_it_was_made() {
    let (sim, _) = filled();
    let replayed = drive(Arc::new(copy(&sim)), small()).unwrap().replayed;
    let mut entries = Vec::new();
    let damages = state(&sim, dir(), &mut |part| match part {
        StatePart::Entry(entry) => entries.push(format!("{entry:?}")),
        part => panic!("there is no checkpoint: {part:?}"),
    });
    assert_eq!(damages.unwrap(), []);
    let replayed: Vec<String> = replayed.iter().map(|entry| format!("{entry:?}")).collect();
    assert_eq!(entries, replayed);
}

/// Whatever is damaged: what the recovery refuses is named, what it takes is not; everything that
/// is handed on is what was written, in order; and nothing on the disk changes.
#[test]
fn damage_is_named_wherever_the_recovery_refuses_it() {
    let (sim, lines) = filled();
    let files = sim.list(Path::new("/data/wal")).unwrap().len() as u64;
    let mut random = SmallRng::seed_from_u64(5);
    let (mut refused, mut whole) = (0, 0);
    for round in 0..600 {
        let disk = copy(&sim);
        let number = random.random_range(1..=files);
        let path = wal(number);
        disk.damage(&path, |bytes| {
            let at = random.random_range(0..bytes.len());
            let page = at - at % PAGE;
            match round % 3 {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes.truncate(at),
                _ => bytes[page..page + PAGE].fill(0),
            }
        })
        .unwrap();
        let damaged = disk.read(&path).unwrap();
        let found = verified(&disk);
        let (report, rescued) = rescued(&disk);
        assert_eq!(disk.read(&path).unwrap(), damaged, "round {round}");
        for (at, batches) in &rescued {
            let mut written = lines[at].iter();
            let known = batches
                .iter()
                .all(|batch| written.any(|line| line == batch));
            assert!(known, "round {round}: {at} is not what was written");
        }
        whole += usize::from(rescued == lines);
        let error = drive(Arc::new(disk), small()).err();
        assert_eq!(
            error.is_some(),
            !found.damages.is_empty(),
            "round {round}: {error:?} {found:?}"
        );
        assert_eq!(report.damages, found.damages, "round {round}");
        if let Some(OpenError::Corrupt { .. }) = error {
            refused += 1;
            // Where a file ends in zeros and the next one begins with some, either may be it.
            let near = [wal(number), wal(number.max(2) - 1)];
            let named = found
                .damages
                .iter()
                .all(|damage| near.contains(&damage.path));
            assert!(named, "round {round}: {path:?} {:?}", found.damages);
        }
    }
    assert!(
        refused > 150 && whole > 150,
        "{refused} refused, {whole} rescued whole"
    );
}

#[test]
fn a_lost_file_costs_what_was_in_it() {
    let (sim, lines) = filled();
    sim.remove(&wal(3)).unwrap();
    let damages: Vec<String> = verified(&sim)
        .damages
        .iter()
        .map(ToString::to_string)
        .collect();
    expect![[
        "/data/wal/0000000000000003.wal at byte 0: the file is missing; restore it from a copy, \
         or rescue what can be read"
    ]]
    .assert_eq(&damages.join("\n"));
    let (report, rescued) = rescued(&sim);
    let count = |lines: &Lines| lines.values().map(Vec::len).sum::<usize>();
    assert!(count(&rescued) < count(&lines) && count(&rescued) > count(&lines) / 2);
    assert!(!report.holes.is_empty());
    let (partition, from, to) = report.holes[0];
    let gone = lines[&partition]
        .iter()
        .find(|line| line.starts_with(&format!("({from}, ")));
    assert!(gone.is_some_and(|gone| !rescued[&partition].contains(gone)) && from < to);
}

#[test]
fn a_write_that_was_cut_is_none_of_the_damages() {
    let (sim, _) = filled();
    // Without the seal the last block is not stated to be durable.
    let end = inspect(&sim, dir()).unwrap();
    let last = end
        .wal
        .iter()
        .rfind(|file| file.blocks > 0)
        .unwrap()
        .path
        .clone();
    let cut = copy(&sim);
    cut.damage(&last, |bytes| {
        let magics = (0..bytes.len()).step_by(PAGE);
        let mut blocks = magics.filter(|at| bytes[*at..].starts_with(b"WEIRBLCK"));
        let (seal, block) = (blocks.next_back().unwrap(), blocks.next_back().unwrap());
        bytes[seal..seal + PAGE].fill(0);
        bytes[block + 100] ^= 1;
    })
    .unwrap();
    let found = verified(&cut);
    assert_eq!(found.damages, []);
    let place = found.cut.unwrap();
    let report = drive(Arc::new(cut), small()).unwrap().report;
    assert_eq!(report.cut, Some(place));
}

#[test]
fn what_is_no_log_is_refused_and_what_is_newer_is_named() {
    let sim = SimVfs::new(1);
    sim.create_dir_all(dir()).unwrap();
    let error = inspect(&sim, dir()).unwrap_err();
    assert!(matches!(error, OfflineError::NoLog { .. }));
    expect!["/data holds no log of weir: neither NODE nor WAL files are there"]
        .assert_eq(&error.to_string());
    let (sim, _) = filled();
    sim.write_atomic(&dir().join("NODE"), b"weir-log 9 77 more\n")
        .unwrap();
    let damages: Vec<String> = verified(&sim)
        .damages
        .iter()
        .map(ToString::to_string)
        .collect();
    expect![[
        "/data/NODE at byte 0: states log format 9; this weir reads 1; use the weir that wrote \
         it, or a newer one"
    ]]
    .assert_eq(&damages.join("\n"));
}

#[test]
fn a_partition_that_begins_within_a_batch_is_rescued_from_there_on() {
    for flush in [false, true] {
        let sim = SimVfs::new(1);
        let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
        let at = partition(1, 0);
        commit(&mut driven, vec![append(at, 0, 10, payload(1, 500))]);
        commit(&mut driven, vec![append(at, 10, 10, payload(2, 500))]);
        let start = Offset::new(6);
        let partition = at;
        commit(&mut driven, vec![Op::Trim { partition, start }]);
        if flush {
            driven.committer.flush().unwrap();
            while driven.committer.archive().unwrap() {}
        }
        driven.committer.seal().unwrap();
        let (report, ranges) = ranges(&sim, &[]);
        assert_eq!(ranges, [(1, 6, 10), (1, 10, 20)], "flushed: {flush}");
        assert_eq!((report.records, report.batches), (14, 2));
        assert_eq!((holes(&report), open_ends(&report)), (vec![], vec![]));
    }
}

/// The end of a partition is as good as its middle: what is known to have been there is a gap.
#[test]
fn a_lost_segment_is_a_gap_up_to_where_it_ended() {
    let sim = archived();
    let (report, whole) = ranges(&sim, &[]);
    assert_eq!((holes(&report), open_ends(&report)), (vec![], vec![]));
    assert_eq!(whole.last(), Some(&(2, 440, 450)));
    let inspection = inspect(&sim, dir()).unwrap();
    // Without the WAL, the newest segment has the end.
    let newest = inspection.segments.iter().rfind(|it| it.named).unwrap();
    let lost = copy(&sim);
    for file in &inspection.wal {
        lost.remove(&file.path).unwrap();
    }
    lost.remove(&newest.path).unwrap();
    let (report, left) = ranges(&lost, &[partition(7, 1)]);
    for run in &newest.runs {
        let (topic, end) = (run.partition.topic.value(), run.end.value());
        let hole = holes(&report).into_iter().find(|hole| hole.0 == topic);
        let last = left.iter().rfind(|range| range.0 == topic);
        assert_eq!(hole, Some((topic, last.map_or(0, |it| it.2), end)));
    }
    assert!(!newest.runs.is_empty(), "{newest:?}");
    // And where the WAL ended, nobody knows.
    let ends = open_ends(&report);
    assert_eq!(ends, [(1, 400), (2, 400), (7, 0)]);
    assert!(report.unknown);

    let cut = copy(&sim);
    cut.damage(&newest.path, |bytes| bytes.truncate(bytes.len() / 2))
        .unwrap();
    assert!(!holes(&ranges(&cut, &[]).0).is_empty());
}

#[test]
fn the_end_of_the_wal_is_missed_when_it_is_gone() {
    let sim = archived();
    let inspection = inspect(&sim, dir()).unwrap();
    let mut used = inspection.wal.iter().filter(|file| file.blocks > 0);
    let last = used.next_back().unwrap().path.clone();
    // A start states how far the log went.
    let gone = copy(&sim);
    drop(drive(Arc::new(gone.clone()), small()).unwrap());
    gone.remove(&last).unwrap();
    let cut = copy(&sim);
    cut.damage(&last, |bytes| bytes.truncate(PAGE)).unwrap();
    for (what, sim) in [("gone", gone), ("cut", cut)] {
        let (report, left) = ranges(&sim, &[]);
        let end = |topic| left.iter().rfind(|it| it.0 == topic).map_or(0, |it| it.2);
        assert!(end(1) < 450, "{what}");
        assert_eq!(open_ends(&report), [(1, end(1)), (2, end(2))], "{what}");
        assert!(report.unknown, "{what}");
    }
}

/// One damaged block that names its partitions costs these, and no others.
#[test]
fn a_damaged_last_block_opens_the_ends_of_its_partitions() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    for topic in [1, 2] {
        let op = append(partition(topic, 0), 0, 10, payload(topic, 500));
        commit(&mut driven, vec![op]);
    }
    driven.committer.seal().unwrap();
    sim.damage(&wal(1), |bytes| {
        let at = bytes.windows(500).position(|it| it == payload(2, 500));
        bytes[at.unwrap() + 100] ^= 1;
    })
    .unwrap();
    let (report, left) = ranges(&sim, &[]);
    assert_eq!(left, [(1, 0, 10)]);
    assert_eq!(open_ends(&report), [(2, 0)]);
    assert!(!report.unknown);
}

/// Whatever a start refuses, is damage.
#[test]
fn what_a_start_needs_is_missed() {
    let sim = archived();
    let remove = |parts: &[&str]| {
        let sim = copy(&sim);
        for part in parts {
            let part = dir().join(part);
            for name in sim.list(&part).unwrap() {
                sim.remove(&part.join(name)).unwrap();
            }
        }
        let damages = verified(&sim).damages;
        let error = drive(Arc::new(sim), small()).err();
        assert_eq!(error.is_some(), !damages.is_empty(), "{error:?}");
        let lines: Vec<String> = damages.iter().map(ToString::to_string).collect();
        lines.join("\n")
    };
    assert_eq!(remove(&[]), "");
    expect![[r#"
        /data/wal/0000000000000008.wal at byte 0: the file is missing; restore it from a copy, or rescue what can be read
        /data/manifest at byte 0: holds no manifest, while there are segments or checkpoints; restore it from a copy; a broker does not start with this"#]].assert_eq(&remove(&["segments", "manifest"]));
    expect!["/data/wal/0000000000000008.wal at byte 0: the file is missing; restore it from a copy, or rescue what can be read"].assert_eq(&remove(&["segments", "manifest", "checkpoints"]));
    expect!["/data/wal/0000000000000009.wal at byte 0: the file is missing; restore it from a copy, or rescue what can be read"].assert_eq(&remove(&["wal"]));
}
