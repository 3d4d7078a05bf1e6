//! Damage to files at rest: found, never served, never cut away in silence. And the one boundary
//! at which it cannot be told from a write that was under way.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use expect_test::expect;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use weir_log::{
    Bounds, CrashPolicy, LogConfig, LogReader, OpenError, ReadError, SimVfs, Submission, Vfs,
};
use weir_wire::id::Offset;

use crate::crash_plan::{Plan, Step};
use crate::support::{
    Driven, append, config, deep, drive, entry, line, open, partition, payload, read_all, until,
};

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

/// A log with files of every kind, ended cleanly, with the next file ready; answers the number of
/// entries too.
fn filled(plan: &Plan) -> (SimVfs, usize) {
    let sim = SimVfs::new(1);
    let mut config = small();
    config.wal_bytes = 0;
    let mut driven = drive(Arc::new(sim.clone()), config.clone()).unwrap();
    let mut next = 0;
    for (number, step) in plan.steps.iter().enumerate() {
        if let Step::Commit(count) = step {
            let entries = (next..next + count).map(|number| Submission {
                entry: plan.entry(number),
                token: 0,
            });
            driven.committer.commit(entries.collect()).unwrap();
            next += count;
        }
        // The last third stays in the WAL.
        if number * 3 < plan.steps.len() * 2 {
            driven.committer.archive().unwrap();
        }
    }
    driven.committer.end().unwrap();
    drop(driven);
    // The broker makes files ahead: that is how a log is found.
    config.prepare_ahead = true;
    let newest = || sim.list(Path::new("/data/wal")).unwrap().pop();
    let used = newest();
    let driven = drive(Arc::new(sim.clone()), config).unwrap();
    let is_made = |name: String| !name.ends_with(".making");
    until("the next file", || {
        newest() != used && newest().is_some_and(is_made)
    });
    drop(driven);
    (sim, next)
}

fn all_files(sim: &SimVfs) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for dir in ["", "wal", "segments", "checkpoints", "manifest"] {
        let dir = Path::new("/data").join(dir);
        let names = sim.list(&dir).unwrap_or_default();
        files.extend(names.iter().map(|name| dir.join(name)));
    }
    let read = |path: PathBuf| {
        let bytes = sim.read(&path).unwrap();
        (path, bytes)
    };
    files.into_iter().map(read).collect()
}

/// Compares what readers get with what they should; answers how often they were told that it is
/// damaged.
fn compare(reader: &LogReader, right: &LogReader) -> Result<usize, String> {
    let mut found = 0;
    for at in Plan::partitions() {
        let bounds = right.bounds(at);
        let offsets = |bounds: Option<Bounds>| bounds.map(|b| (b.start, b.high_water_mark));
        if offsets(reader.bounds(at)) != offsets(bounds) {
            return Err(format!(
                "{at} holds {:?}, not {bounds:?}",
                reader.bounds(at)
            ));
        }
        for batch in read_all(right, at) {
            let from = bounds.map_or(batch.base_offset, |b| batch.base_offset.max(b.start));
            match reader.read(at, from, 1, 1) {
                Ok(read) if line(&read.batches[0]) == line(&batch) => {}
                Ok(read) => return Err(format!("{at} at {from} reads as {read:?}")),
                Err(ReadError::Corrupt { .. }) => found += 1,
                Err(error) => return Err(error.to_string()),
            }
        }
    }
    Ok(found)
}

/// Opens a damaged log: either it refuses and changes nothing, or everything is there that is not
/// said to be damaged when it is read.
fn is_found_or_harmless(
    plan: &Plan,
    sim: &SimVfs,
    right: &Driven,
    path: &Path,
) -> Result<bool, String> {
    let before = all_files(sim);
    let entries = right.replayed.len();
    match drive(Arc::new(sim.clone()), small()) {
        Ok(driven) if driven.replayed.len() == entries => {
            plan.check_replayed(&driven.replayed)?;
            let damaged = compare(&driven.committer.reader(), &right.committer.reader())?;
            let passed_over = driven.report.passed_over.iter();
            Ok(damaged > 0 || passed_over.map(|over| &over.path).any(|over| over == path))
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
    let plan = Plan::new(21, 90);
    let (sim, entries) = filled(&plan);
    let right = drive(Arc::new(copy(&sim)), small()).unwrap();
    assert_eq!(right.replayed.len(), entries);
    let paths: Vec<PathBuf> = all_files(&sim).into_iter().map(|(path, _)| path).collect();
    let of_kind = |kind: &str| {
        let is_it = |path: &&PathBuf| path.to_string_lossy().contains(kind);
        paths.iter().filter(is_it).cloned().collect::<Vec<_>>()
    };
    let kinds = ["NODE", "wal/", "segments/", "checkpoints/", "manifest/"].map(of_kind);
    assert!(kinds.iter().all(|paths| !paths.is_empty()), "{paths:?}");
    let mut random = SmallRng::seed_from_u64(8);
    let mut found = [0; 5];
    for round in 0..deep(2_000) as usize {
        let disk = copy(&sim);
        let kind = round % kinds.len();
        let path = kinds[kind].choose(&mut random).unwrap();
        let damage = |bytes: &mut Vec<u8>| {
            let at = random.random_range(0..bytes.len());
            let page = at - at % PAGE;
            let end = bytes.len().min(page + PAGE);
            match random.random_range(0..4) {
                0 => bytes[at] ^= 1 << random.random_range(0..8),
                1 => bytes.truncate(at),
                2 => bytes[page..end].fill(0),
                // A page that was written to the wrong place.
                _ => bytes.copy_within(0..end - page, page),
            }
        };
        if round % 11 == 0 {
            disk.remove(path).unwrap();
        } else {
            disk.damage(path, damage).unwrap();
        }
        let outcome = is_found_or_harmless(&plan, &disk, &right, path);
        found[kind] += usize::from(
            outcome.unwrap_or_else(|error| panic!("round {round}, {}: {error}", path.display())),
        );
    }
    // The rest fell on what is not used: the ends of files, padding, the file made ahead, files
    // that only the manifest before names.
    println!("of {} each were found: {found:?}", deep(2_000) / 5);
    assert!(found.iter().all(|found| *found >= 100), "only {found:?}");
}

#[test]
fn damage_while_it_runs_is_not_served() {
    let plan = Plan::new(22, 90);
    let (sim, _) = filled(&plan);
    let mut paths: Vec<PathBuf> = all_files(&sim).into_iter().map(|(path, _)| path).collect();
    let holds_batches = |path: &PathBuf| {
        let path = path.to_string_lossy();
        path.contains("wal/") || path.contains("segments/")
    };
    paths.retain(holds_batches);
    let mut random = SmallRng::seed_from_u64(9);
    let right = drive(Arc::new(copy(&sim)), small()).unwrap();
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
        found += compare(&driven.committer.reader(), &right.committer.reader()).unwrap();
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
    assert_eq!(read.unwrap().batches[0].bytes, payload(4, 50));
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
    let dir = Path::new("/data/wal");
    let mut names = sim.list(dir).unwrap();
    sim.remove(&dir.join(names.pop().unwrap())).unwrap();
    let newest = dir.join(names.pop().unwrap());
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

/// Blocks of a page each, over several files, after which the log ended in order.
fn ended(entries: u64) -> SimVfs {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    write(&mut driven, 0..entries, 100);
    driven.committer.end().unwrap();
    sim
}

fn write(driven: &mut Driven, numbers: std::ops::Range<u64>, size: usize) {
    for number in numbers {
        let ops = vec![append(partition(5, 0), number, 1, payload(number, size))];
        let entry = entry(ops);
        driven
            .committer
            .commit(vec![Submission { entry, token: 0 }])
            .unwrap();
    }
}

#[test]
fn what_is_gone_after_an_orderly_end_is_missed() {
    // Fifteen blocks fill a file.
    let sim = ended(20);
    let zeroed = copy(&sim);
    zeroed
        .damage(&wal(2), |bytes| bytes[PAGE..].fill(0))
        .unwrap();
    expect!["acknowledged data is damaged: /data/wal/0000000000000002.wal at byte 4096: blocks 16 to 21 are missing here, which were durable; the file before ends with block 15; partitions touched: unknown. Nothing was changed: restore this file from a copy"].assert_eq(&refusal(&zeroed));
    let removed = copy(&sim);
    removed.remove(&wal(2)).unwrap();
    expect!["acknowledged data is damaged: /data/wal/0000000000000002.wal at byte 4096: blocks 16 to 21 are missing here, which were durable; the file before ends with block 15; partitions touched: unknown. Nothing was changed: restore this file from a copy"].assert_eq(&refusal(&removed));
    removed.remove(&wal(1)).unwrap();
    expect!["/data/wal/0000000000000001.wal: is missing, while the manifest names it; restore it from a copy; nothing was changed"].assert_eq(&refusal(&removed));
    // Even the seal, the last of all.
    let sealed = copy(&sim);
    sealed
        .damage(&wal(2), |bytes| bytes[6 * PAGE..].fill(0))
        .unwrap();
    assert!(
        refusal(&sealed).contains("at byte 24576"),
        "{}",
        refusal(&sealed)
    );
}

#[test]
fn the_file_with_the_damage_is_named_not_the_one_before() {
    // The first file has room left at its end, the second begins with a large block.
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    write(&mut driven, 0..10, 100);
    write(&mut driven, 10..11, 30_000);
    write(&mut driven, 11..13, 100);
    sim.damage(&wal(2), |bytes| bytes[PAGE + 3] ^= 1).unwrap();
    expect!["acknowledged data is damaged: /data/wal/0000000000000002.wal at byte 4096: no block is here, where one was; partitions touched: unknown. Nothing was changed: restore this file from a copy"].assert_eq(&refusal(&sim));
}

#[test]
fn a_block_with_the_nonce_of_another_file_is_none() {
    let sim = SimVfs::new(1);
    let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
    write(&mut driven, 0..15, 100);
    drop(driven);
    // Two disks that were the same up to here; each makes the second file in its own way.
    let [one, other] = [1, 2].map(|seed| {
        let disk = sim.snapshot().crash(CrashPolicy::DropUnsynced, seed);
        let mut driven = drive(Arc::new(disk.clone()), small()).unwrap();
        write(&mut driven, 15..16, 100);
        disk
    });
    let foreign = other.read(&wal(2)).unwrap();
    let own = one.read(&wal(2)).unwrap();
    let nonce = 32..40;
    let block = |bytes: &[u8]| bytes[PAGE..2 * PAGE].to_vec();
    let (mut ours, mut theirs) = (block(&own), block(&foreign));
    assert_ne!(ours[nonce.clone()], theirs[nonce.clone()]);
    // But for the nonce, and the checksum over it, it is the block that comes next.
    for bytes in [&mut ours, &mut theirs] {
        bytes[nonce.clone()].fill(0);
        bytes[20..24].fill(0);
    }
    assert_eq!(ours, theirs);
    assert_eq!(
        drive(Arc::new(copy(&one)), small()).unwrap().replayed.len(),
        16
    );
    one.damage(&wal(2), |bytes| {
        bytes[PAGE..2 * PAGE].copy_from_slice(&foreign[PAGE..2 * PAGE]);
    })
    .unwrap();
    let driven = drive(Arc::new(one), small()).unwrap();
    assert_eq!(driven.replayed.len(), 15);
    assert_eq!(driven.report.cut, None, "it is what the file held before");
}

/// A segment of the same name and another past is sound: what it holds is not what is missing.
#[test]
fn a_segment_of_another_past_names_what_is_missing() {
    let base = SimVfs::new(1);
    drive(Arc::new(base.clone()), small()).unwrap();
    let archived = |topic: u64| {
        let sim = copy(&base);
        let mut driven = drive(Arc::new(sim.clone()), small()).unwrap();
        for number in 0..3 {
            let ops = vec![append(
                partition(topic, 0),
                number,
                1,
                payload(number, 20_000),
            )];
            let entry = entry(ops);
            driven
                .committer
                .commit(vec![Submission { entry, token: 0 }])
                .unwrap();
        }
        driven.committer.flush().unwrap();
        sim
    };
    let (sim, other) = (archived(5), archived(6));
    let names = sim.list(Path::new("/data/segments")).unwrap();
    let segment = Path::new("/data/segments").join(&names[0]);
    let other = other.read(&segment).unwrap();
    sim.damage(&segment, |bytes| *bytes = other).unwrap();
    expect!["acknowledged data is damaged: /data/segments/0000000000000001.seg at byte 0: it is not the segment that the manifest names; partitions touched: topic id 5 partition 0. Nothing was changed: restore this file from a copy"].assert_eq(&refusal(&sim));
}
