//! Damage to files at rest: found, never served, never cut away in silence. And the one boundary
//! at which it cannot be told from a write that was under way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use weir_log::{CrashPolicy, LogConfig, OpenError, ReadError, SimVfs, Submission, Vfs};
use weir_wire::id::Offset;

use crate::crash_plan::{Plan, Step};
use crate::support::{append, config, drive, entry, line, open, partition, payload, read_all};

const PAGE: usize = 4096;

fn small() -> LogConfig {
    let mut config = config(Path::new("/data"));
    config.wal_file_bytes = 64 << 10;
    config.cache_bytes = 0;
    config
}

fn wal(number: u64) -> PathBuf {
    PathBuf::from(format!("/data/wal/{number:016}.wal"))
}

/// The same disk, to be damaged.
fn copy(sim: &SimVfs) -> SimVfs {
    sim.snapshot().crash(CrashPolicy::DropUnsynced, 0)
}

/// A log of several files, sealed, with the next file ready; answers the number of entries too.
fn filled(plan: &Plan) -> (SimVfs, usize) {
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
    // The broker makes files ahead: that is how a log is found.
    let mut ahead = small();
    ahead.prepare_ahead = true;
    let used = sim.list(Path::new("/data/wal")).unwrap().len();
    let opened = open(Arc::new(sim.clone()), ahead);
    while sim.list(Path::new("/data/wal")).unwrap().len() == used {
        std::thread::yield_now();
    }
    opened.log.shutdown();
    (sim, next)
}

fn all_files(sim: &SimVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let names = sim.list(Path::new("/data/wal")).unwrap();
    let paths = names.iter().map(|name| Path::new("/data/wal").join(name));
    paths
        .chain([PathBuf::from("/data/NODE")])
        .map(|path| (path.clone(), sim.read(&path).unwrap()))
        .collect()
}

/// Opens a damaged log: either it refuses and changes nothing, or everything is there.
fn is_found_or_harmless(plan: &Plan, sim: &SimVfs, entries: usize) -> Result<bool, String> {
    let before = all_files(sim);
    match drive(Arc::new(sim.clone()), small()) {
        Ok(driven) if driven.replayed.len() == entries => {
            plan.check_replayed(&driven.replayed)?;
            plan.check_read(&driven.committer.reader(), entries)?;
            Ok(false)
        }
        Ok(driven) => Err(format!("{} of {entries} are left", driven.replayed.len())),
        Err(OpenError::Corrupt { .. } | OpenError::Foreign { .. }) if all_files(sim) == before => {
            Ok(true)
        }
        Err(error) => Err(format!("{error}")),
    }
}

#[test]
fn damage_in_any_file_is_found_or_harms_nothing() {
    let plan = Plan::new(21, 60);
    let (sim, entries) = filled(&plan);
    let paths: Vec<PathBuf> = all_files(&sim).into_iter().map(|(path, _)| path).collect();
    assert!(paths.len() >= 6, "{paths:?}");
    let mut random = SmallRng::seed_from_u64(8);
    let mut found = 0;
    for round in 0..2_000 {
        let disk = copy(&sim);
        let path = paths.choose(&mut random).unwrap();
        let kind = round % 4;
        let damage = |bytes: &mut Vec<u8>| {
            let at = random.random_range(0..bytes.len());
            let page = at - at % PAGE;
            let end = bytes.len().min(page + PAGE);
            match kind {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes.truncate(at),
                2 => bytes[page..end].fill(0),
                // A page that was written to the wrong place.
                _ => bytes.copy_within(0..end - page, page),
            }
        };
        disk.damage(path, damage).unwrap();
        let outcome = is_found_or_harmless(&plan, &disk, entries);
        found += usize::from(
            outcome.unwrap_or_else(|error| panic!("round {round}, {}: {error}", path.display())),
        );
    }
    // The rest fell on what is not used: the ends of files, padding, the file made ahead.
    assert!(found >= 1_000, "only {found}");
}

#[test]
fn damage_while_it_runs_is_not_served() {
    let plan = Plan::new(22, 60);
    let (sim, entries) = filled(&plan);
    let paths: Vec<PathBuf> = all_files(&sim).into_iter().map(|(path, _)| path).collect();
    let mut random = SmallRng::seed_from_u64(9);
    let undamaged = drive(Arc::new(copy(&sim)), small()).unwrap();
    plan.check_read(&undamaged.committer.reader(), entries)
        .unwrap();
    let mut found = 0;
    for _ in 0..500 {
        let disk = copy(&sim);
        let driven = drive(Arc::new(disk.clone()), small()).unwrap();
        let path = paths.choose(&mut random).unwrap();
        let flip = |bytes: &mut Vec<u8>| {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 0x10;
        };
        // The file made ahead is gone by now.
        disk.damage(path, flip).ok();
        let reader = driven.committer.reader();
        for at in Plan::partitions() {
            for right in read_all(&undamaged.committer.reader(), at) {
                match reader.read(at, right.base_offset, 1, 1) {
                    Ok(batches) => assert_eq!(line(&batches[0]), line(&right)),
                    Err(ReadError::Corrupt { .. }) => found += 1,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    assert!(found >= 100, "only {found}");
}

/// Three blocks of one entry each in one file: pages 1, 2 and 3; then, on page 4, a seal.
fn three_blocks(seal: bool) -> SimVfs {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    for number in 0..3 {
        let ops = vec![append(partition(5, 0), number, 1, payload(number, 100))];
        let entry = entry(ops);
        driven
            .committer
            .commit(vec![Submission { entry, token: 0 }])
            .unwrap();
    }
    if seal {
        driven.committer.seal().unwrap();
    }
    sim
}

fn flip(sim: &SimVfs, at: usize) {
    sim.damage(&wal(1), |bytes| bytes[at] ^= 1).unwrap();
}

fn refusal(sim: &SimVfs) -> String {
    drive(Arc::new(sim.clone()), small())
        .err()
        .unwrap()
        .to_string()
}

#[test]
fn the_last_block_before_its_seal_cannot_be_told_from_a_torn_write() {
    // Damaged before anybody stated that it is durable: cut, and reported.
    let sim = three_blocks(false);
    flip(&sim, 3 * PAGE + 200);
    let driven = drive(Arc::new(sim), small()).unwrap();
    assert_eq!(driven.replayed.len(), 2);
    let cut = driven.report.cut.unwrap();
    assert_eq!(
        (cut.path, cut.what),
        (wal(1), "the block's checksum is wrong")
    );

    // The same damage behind a seal: refused.
    let sim = three_blocks(true);
    flip(&sim, 3 * PAGE + 200);
    expect!["acknowledged data is damaged: /data/wal/0000000000000001.wal at byte 12368: the block's checksum is wrong; partitions touched: topic id 5 partition 0. Nothing was changed: restore this file from a copy"].assert_eq(&refusal(&sim));

    // And the block before the last, which the last one states to be durable.
    let sim = three_blocks(false);
    flip(&sim, 2 * PAGE + 200);
    assert!(refusal(&sim).contains("at byte 8272"), "{}", refusal(&sim));

    // Damage to the seal itself costs nothing.
    let sim = three_blocks(true);
    flip(&sim, 4 * PAGE + 30);
    assert_eq!(drive(Arc::new(sim), small()).unwrap().replayed.len(), 3);
}

#[test]
fn opening_states_at_once_what_it_found() {
    // What a restart has served is no longer the unsealed last block.
    let sim = three_blocks(false);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    driven.committer.seal().unwrap();
    flip(&sim, 3 * PAGE + 200);
    assert!(refusal(&sim).contains("topic id 5 partition 0"));
}

#[test]
fn leftovers_of_a_cut_block_are_never_replayed() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    let mut commit = |offset, size| {
        let ops = vec![append(partition(5, 0), offset, 1, payload(offset, size))];
        let entry = entry(ops);
        driven
            .committer
            .commit(vec![Submission { entry, token: 0 }])
            .unwrap();
    };
    commit(0, 100);
    commit(1, 20_000);
    // The large block on pages 2 to 7 loses its first page; small ones are written over it.
    sim.damage(&wal(1), |bytes| bytes[2 * PAGE..3 * PAGE].fill(0))
        .unwrap();
    for round in 1..5 {
        let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
        assert_eq!(driven.replayed.len(), round);
        let offset = round as u64;
        let ops = vec![append(partition(5, 0), offset, 1, payload(offset, 50))];
        let entry = entry(ops);
        driven
            .committer
            .commit(vec![Submission { entry, token: 0 }])
            .unwrap();
    }
    let read =
        open(Arc::new(sim), small())
            .log
            .reader()
            .read(partition(5, 0), Offset::new(4), 1, 1);
    assert_eq!(read.unwrap()[0].bytes, payload(4, 50));
}

#[test]
fn files_that_do_not_belong_here_are_named() {
    let sim = three_blocks(true);
    let other = {
        let other = SimVfs::new(2);
        drive(Arc::new(other.clone()), small()).unwrap();
        other.read(&wal(1)).unwrap()
    };
    let damaged = |change: &dyn Fn(&SimVfs)| {
        let disk = copy(&sim);
        change(&disk);
        refusal(&disk)
    };
    let node = Path::new("/data/NODE");
    let says = |error: String, what: &str| assert!(error.contains(what), "{error}");
    says(
        damaged(&|disk| {
            disk.damage(&wal(1), |bytes| bytes.clone_from(&other))
                .unwrap()
        }),
        "belongs to node",
    );
    says(
        damaged(&|disk| disk.damage(&wal(1), |bytes| bytes[8] = 2).unwrap()),
        "its format version is not the one this weir reads (1); use the weir that wrote it",
    );
    says(
        damaged(&|disk| disk.rename(&wal(1), &wal(2)).unwrap()),
        "is missing, while file 2",
    );
    says(
        damaged(&|disk| disk.remove(node).unwrap()),
        "is missing, while there are log files",
    );
    says(
        damaged(&|disk| disk.damage(node, |bytes| bytes[9] = b'2').unwrap()),
        "states a log format that this weir does not read",
    );
    says(
        damaged(&|disk| disk.damage(node, |bytes| bytes[0] = b'W').unwrap()),
        "is not the node file of a Weir log",
    );
    says(
        damaged(&|disk| {
            disk.write_atomic(Path::new("/data/wal/notes.txt"), b"hi")
                .unwrap()
        }),
        "is no file of a log",
    );
}

#[test]
fn a_newest_file_without_its_header_is_damage_not_a_beginning() {
    let plan = Plan::new(7, 40);
    let (sim, _) = filled(&plan);
    // Without the file that is ready, the newest one is the one in use.
    let names = sim.list(Path::new("/data/wal")).unwrap();
    sim.remove(&wal(names.len() as u64)).unwrap();
    let newest = wal(names.len() as u64 - 1);
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("empty", |bytes| bytes.clear()),
        ("half a header", |bytes| bytes.truncate(PAGE / 2)),
        ("a header alone", |bytes| bytes.truncate(PAGE)),
        ("zeros", |bytes| bytes.fill(0)),
    ];
    for (what, damage) in damages {
        let sim = copy(&sim);
        sim.damage(&newest, damage).unwrap();
        let before = all_files(&sim);
        let error = drive(Arc::new(sim.clone()), small())
            .map(|_| ())
            .unwrap_err();
        assert!(
            matches!(error, OpenError::Corrupt { .. }),
            "{what}: {error}"
        );
        assert!(all_files(&sim) == before, "{what}: something was changed");
    }
}
