//! Directories that earlier versions wrote, kept under `tests/golden`: every later version opens
//! them, and finds each entry and each batch.
//!
//! A directory there holds `data/` (what was on the disk), `expected.txt` (what is in it, one
//! line for each entry and each batch) and `README.md`. With `WEIR_GOLDEN=NAME` in its
//! environment, [`make_a_golden_directory`] writes the directory of that name, if there is none:
//! always the same bytes, as long as the format stays what it is.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_log::{
    LogConfig, LogReader, Op, RealVfs, RecoveredEntry, RecoveredOp, SimVfs, Submission, Vfs,
};
use weir_wire::id::{ShardId, TopicPartition};

use crate::support::{Driven, append, drive, entry, partition, payload, read_all, sequence};

/// Where the log was when a golden directory was made, on a simulated disk.
const MADE_IN: &str = "/log";

/// The partitions that golden directories hold.
const PARTITIONS: [(u64, u32); 5] = [(1, 0), (1, 1), (2, 0), (3, 7), (4, 0)];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn partitions() -> impl Iterator<Item = TopicPartition> {
    PARTITIONS
        .map(|(topic, number)| partition(topic, number))
        .into_iter()
}

fn small_files(dir: &Path) -> LogConfig {
    let mut config = LogConfig::new(dir, ShardId::new(0));
    config.wal_file_bytes = 64 << 10;
    config.prepare_ahead = false;
    config
}

/// Entry `number` of a golden directory: requests with one or several batches, small and large,
/// with and without columns, and changes of the catalog between them.
fn ops(number: u64, next: &mut [u64; PARTITIONS.len()]) -> Vec<Op> {
    if number.is_multiple_of(6) {
        return vec![Op::Metadata(payload(number, 20 + number as usize))];
    }
    let mut ops = Vec::new();
    let batches = if number.is_multiple_of(4) { 3 } else { 1 };
    for place in 0..batches {
        let slot = ((number + place) % PARTITIONS.len() as u64) as usize;
        let (topic, at) = PARTITIONS[slot];
        let count = 1 + ((number * 7 + place) % 5) as u32;
        let size = match number % 9 {
            0 if place == 0 => 17_000,
            3 => 5_000,
            _ => 90 + (number * 37) as usize % 500,
        };
        let bytes = payload(number * 10 + place, size);
        ops.push(append(partition(topic, at), next[slot], count, bytes));
        next[slot] += u64::from(count);
    }
    let outcome = payload(1_000 + number, 24);
    ops.push(sequence(number % 3, number, outcome));
    ops
}

/// Writes entries as blocks of one to three, with a seal now and then.
fn fill(driven: &mut Driven, numbers: std::ops::Range<u64>, next: &mut [u64; PARTITIONS.len()]) {
    let mut numbers = numbers.peekable();
    while let Some(&first) = numbers.peek() {
        let block = numbers
            .by_ref()
            .take(1 + (first % 3) as usize)
            .map(|number| Submission {
                entry: entry(ops(number, next)),
                token: number,
            });
        driven.committer.commit(block.collect()).unwrap();
        if first.is_multiple_of(5) {
            driven.committer.seal().unwrap();
        }
    }
    driven.committer.seal().unwrap();
}

fn op_line(op: &RecoveredOp) -> String {
    match op {
        RecoveredOp::Append {
            partition,
            base_offset,
            count,
            append_time,
        } => format!("append {partition} {base_offset}+{count} at {append_time}"),
        RecoveredOp::ProducerSequence {
            producer,
            epoch,
            sequence,
            outcome,
        } => format!(
            "producer {producer}.{epoch} #{sequence} = {:08x}",
            crc32c::crc32c(outcome)
        ),
        RecoveredOp::Metadata(bytes) => {
            format!(
                "metadata {} bytes {:08x}",
                bytes.len(),
                crc32c::crc32c(bytes)
            )
        }
        _ => panic!("no golden directory holds {op:?}"),
    }
}

fn entry_line(entry: &RecoveredEntry) -> String {
    let ops: Vec<String> = entry.ops.iter().map(op_line).collect();
    format!(
        "entry {} of term {}: {}",
        entry.index,
        entry.term,
        ops.join(", ")
    )
}

/// One line for each batch that can be read.
fn batch_lines(reader: &LogReader) -> String {
    let mut lines = String::new();
    for at in partitions() {
        for batch in read_all(reader, at) {
            let keys = batch.columns.ordering_keys.as_deref().map(crc32c::crc32c);
            writeln!(
                lines,
                "batch {at} {}+{} at {}: {} bytes {:08x}, keys {keys:08x?}, origin {:?}",
                batch.base_offset,
                batch.count,
                batch.append_time,
                batch.bytes.len(),
                crc32c::crc32c(&batch.bytes),
                batch.columns.origin,
            )
            .unwrap();
        }
    }
    lines
}

fn all_lines(driven: &Driven) -> String {
    let entries: String = driven
        .replayed
        .iter()
        .map(|entry| entry_line(entry) + "\n")
        .collect();
    entries + &batch_lines(&driven.committer.reader())
}

/// The files of a golden directory, copied to where they may be written.
fn copy(name: &str) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_into(&golden(name).join("data"), to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        let to = to.join(file.file_name());
        if file.file_type().unwrap().is_dir() {
            copy_into(&file.path(), &to);
        } else {
            fs::copy(file.path(), to).unwrap();
        }
    }
}

/// Opens a copy, compares all that is in it, writes on, and opens it once more.
fn check(name: &str, entries: u64) {
    let dir = copy(name);
    let config = small_files(dir.path());
    let vfs: Arc<dyn Vfs> = Arc::new(RealVfs::new());
    let mut driven = drive(vfs.clone(), config.clone()).unwrap();
    let expected = fs::read_to_string(golden(name).join("expected.txt")).unwrap();
    let found = all_lines(&driven);
    for (found, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(found, expected);
    }
    assert_eq!(found, expected);

    let reader = driven.committer.reader();
    let mut next = PARTITIONS.map(|(topic, number)| {
        let bounds = reader.bounds(partition(topic, number)).unwrap();
        bounds.high_water_mark.value()
    });
    fill(&mut driven, entries + 1..entries + 20, &mut next);
    let longer = batch_lines(&reader);
    drop(driven);
    let again = drive(vfs, config).unwrap();
    assert_eq!(batch_lines(&again.committer.reader()), longer);
    let before: Vec<&str> = expected
        .lines()
        .filter(|line| line.starts_with("batch"))
        .collect();
    let kept = before.iter().filter(|line| longer.contains(**line)).count();
    assert_eq!(kept, before.len(), "what was there stays");
}

const ENTRIES: u64 = 48;

/// A few WAL files, ended cleanly and opened once in between.
fn make_wal_only(vfs: &SimVfs) -> LogConfig {
    let config = small_files(Path::new(MADE_IN));
    let mut next = [0; PARTITIONS.len()];
    let mut driven = drive(Arc::new(vfs.clone()), config.clone()).unwrap();
    fill(&mut driven, 1..ENTRIES / 2, &mut next);
    drop(driven);
    let mut driven = drive(Arc::new(vfs.clone()), config.clone()).unwrap();
    fill(&mut driven, ENTRIES / 2..ENTRIES + 1, &mut next);
    config
}

/// The files of a golden directory, by their paths below it, and what is in them.
fn make(name: &str) -> (BTreeMap<PathBuf, Vec<u8>>, String) {
    let vfs = SimVfs::new(2_026);
    let config = match name {
        "v1-wal-only" => make_wal_only(&vfs),
        _ => panic!("{name} is not a golden directory that this version makes"),
    };
    let mut files = BTreeMap::new();
    for folder in ["", "wal"].map(Path::new) {
        let from = Path::new(MADE_IN).join(folder);
        for name in vfs.list(&from).unwrap() {
            let bytes = vfs.read(&from.join(&name)).unwrap();
            files.insert(folder.join(name), bytes);
        }
    }
    let driven = drive(Arc::new(vfs), config).unwrap();
    (files, all_lines(&driven))
}

#[test]
fn make_a_golden_directory() {
    let name = std::env::var("WEIR_GOLDEN");
    let (files, lines) = make(name.as_deref().unwrap_or("v1-wal-only"));
    let Ok(name) = name else {
        assert_eq!(
            make("v1-wal-only"),
            (files, lines),
            "it is the same each time"
        );
        return;
    };
    let to = golden(&name);
    assert!(!to.exists(), "{} stays as it is", to.display());
    for (path, bytes) in files {
        let path = to.join("data").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    fs::write(to.join("expected.txt"), lines).unwrap();
}

#[test]
fn a_directory_of_the_first_version_opens() {
    check("v1-wal-only", ENTRIES);
}
