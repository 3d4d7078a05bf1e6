//! Directories that earlier versions wrote, kept under `tests/golden`: every later version opens
//! them, and finds each entry and each batch.
//!
//! A directory there holds `data/` (what was on the disk), `expected.txt` (what is in it, one
//! line for each entry and each batch) and `README.md`. With `WEIR_GOLDEN=NAME` in its
//! environment, [`make_a_golden_directory`] writes the directory of that name, if there is none:
//! always the same bytes, as long as the format stays what it is. What no version writes any more
//! has no code here that makes it; its README.md says which one did.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weir_log::{
    CommitSink, CommittedBlock, Committer, CompactionJob, LogConfig, LogError, LogReader, Op,
    RealVfs, RecoveredEntry, RecoveredOp, SimVfs, StateMachine, Submission, Vfs, recover,
};
use weir_wire::id::{Offset, ShardId, Timestamp, TopicPartition};

use crate::compact::{Plain, encode};
use crate::support::{append, entry, partition, payload, read_all, sequence};

/// Where the log was when a golden directory was made, on a simulated disk.
const MADE_IN: &str = "/log";

/// The partitions that golden directories hold.
const PARTITIONS: [(u64, u32); 5] = [(1, 0), (1, 1), (2, 0), (3, 7), (4, 0)];

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn small_files(dir: &Path) -> LogConfig {
    let mut config = LogConfig::new(dir, ShardId::new(0));
    config.wal_file_bytes = 64 << 10;
    config.prepare_ahead = false;
    config
}

/// A state that is a text: a line for each entry. Checkpoints in golden directories hold it.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    changed: bool,
}

impl StateMachine for Lines {
    type Error = String;

    fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), String> {
        assert_eq!(section, "lines");
        self.text = String::from_utf8(bytes.to_vec()).map_err(|error| error.to_string())?;
        Ok(())
    }

    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), String> {
        self.text.push_str(&entry_line(entry));
        self.text.push('\n');
        self.changed = true;
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        match std::mem::take(&mut self.changed) {
            true => vec![("lines", self.text.clone().into_bytes())],
            false => Vec::new(),
        }
    }
}

struct Nobody;

impl CommitSink<u64> for Nobody {
    fn committed(&mut self, _block: CommittedBlock<'_, u64>) {}

    fn failed(&mut self, error: &LogError, _tokens: Vec<u64>) {
        panic!("{error}");
    }
}

/// A log, and what its entries said when it was opened.
struct Opened {
    committer: Committer<u64>,
    text: String,
}

fn open(vfs: Arc<dyn Vfs>, config: LogConfig) -> Opened {
    let recovered = recover(vfs, config, Lines::default()).unwrap();
    let text = recovered.machine().text.clone();
    let committer = Committer::start(recovered, Box::new(Nobody));
    Opened { committer, text }
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
fn fill(driven: &mut Opened, numbers: std::ops::Range<u64>, next: &mut [u64; PARTITIONS.len()]) {
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
        RecoveredOp::Trim { partition, start } => format!("{partition} begins at {start}"),
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
    for (at, _) in reader.partitions() {
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

fn all_lines(driven: &Opened) -> String {
    driven.text.clone() + &batch_lines(&driven.committer.reader())
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
    let mut driven = open(vfs.clone(), config.clone());
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
    let again = open(vfs, config);
    assert_eq!(batch_lines(&again.committer.reader()), longer);
    let before: Vec<&str> = expected
        .lines()
        .filter(|line| line.starts_with("batch"))
        .collect();
    let kept = before.iter().filter(|line| longer.contains(**line)).count();
    assert_eq!(kept, before.len(), "what was there stays");
}

const ENTRIES: u64 = 48;
/// Below this offset a partition was compacted: a batch begins there.
const COMPACTED_TO: u64 = 90;

/// Everything there is: segments of one partition and of several, checkpoints, manifests, WAL
/// files in their second life, and partitions whose beginnings were dropped.
fn make_segments(vfs: &SimVfs) -> LogConfig {
    let mut config = small_files(Path::new(MADE_IN));
    config.segment_own_bytes = 24 << 10;
    let mut next = [0; PARTITIONS.len()];
    let mut log = open(Arc::new(vfs.clone()), config.clone());
    for first in (1..=2 * ENTRIES).step_by(12) {
        fill(&mut log, first..first + 12, &mut next);
        while log.committer.archive().unwrap() {}
        trim(&mut log, (first % 3) as usize, &next);
        if first == ENTRIES + 1 {
            log.committer.end().unwrap();
            log = open(Arc::new(vfs.clone()), config.clone());
        }
    }
    log.committer.flush().unwrap();
    fill(&mut log, 2 * ENTRIES + 1..2 * ENTRIES + 9, &mut next);
    log.committer.end().unwrap();
    config
}

/// Drops a third of what a partition was given so far.
fn trim(log: &mut Opened, slot: usize, next: &[u64; PARTITIONS.len()]) {
    let (topic, number) = PARTITIONS[slot];
    let trim = Op::Trim {
        partition: partition(topic, number),
        start: Offset::new(next[slot] / 3),
    };
    let submission = Submission {
        entry: entry(vec![trim]),
        token: 0,
    };
    log.committer.commit(vec![submission]).unwrap();
}

/// The partition with keys, in the directory that was compacted.
fn keyed() -> TopicPartition {
    partition(5, 0)
}

/// Batches of one to three records, of seven keys.
fn fill_keyed(log: &mut Opened, numbers: std::ops::Range<u32>, next: &mut u64) {
    for number in numbers {
        let count = 1 + number % 3;
        let records: Vec<_> = (0..count)
            .map(|delta| {
                let key = 1 + (number * 5 + delta) % 7;
                (delta as u8, key as u8, false, number)
            })
            .collect();
        let submission = Submission {
            entry: entry(vec![append(keyed(), *next, count, encode(&records))]),
            token: 0,
        };
        log.committer.commit(vec![submission]).unwrap();
        *next += u64::from(count);
    }
}

/// A log with a partition that was compacted as far as to the middle of a run, and written on.
fn make_compacted(vfs: &SimVfs) -> LogConfig {
    let mut config = small_files(Path::new(MADE_IN));
    config.segment_own_bytes = 1 << 10;
    config.batch_keys = Some(Arc::new(Plain));
    let mut log = open(Arc::new(vfs.clone()), config.clone());
    fill(&mut log, 1..12, &mut [0; PARTITIONS.len()]);
    let mut next = 0;
    fill_keyed(&mut log, 0..60, &mut next);
    log.committer.flush().unwrap();
    assert!(log.committer.compact(CompactionJob {
        partition: keyed(),
        up_to: Offset::new(COMPACTED_TO),
        tombstones_before: Timestamp::new(0),
    }));
    while log.committer.archive().unwrap() {}
    fill_keyed(&mut log, 60..70, &mut next);
    log.committer.end().unwrap();
    config
}

/// The files of a golden directory, by their paths below it, and what is in them.
fn make(name: &str) -> (BTreeMap<PathBuf, Vec<u8>>, String) {
    let vfs = SimVfs::new(2_026);
    let config = match name {
        "v1-segments" => make_segments(&vfs),
        "v1-compacted" => make_compacted(&vfs),
        _ => panic!("{name} is not a golden directory that this version makes"),
    };
    let mut files = BTreeMap::new();
    for folder in ["", "wal", "segments", "checkpoints", "manifest"].map(Path::new) {
        let from = Path::new(MADE_IN).join(folder);
        for name in vfs.list(&from).unwrap() {
            let bytes = vfs.read(&from.join(&name)).unwrap();
            files.insert(folder.join(name), bytes);
        }
    }
    let driven = open(Arc::new(vfs), config);
    (files, all_lines(&driven))
}

#[test]
fn make_a_golden_directory() {
    let Ok(name) = std::env::var("WEIR_GOLDEN") else {
        for name in ["v1-segments", "v1-compacted"] {
            assert!(make(name) == make(name), "{name} is the same each time");
        }
        return;
    };
    let (files, lines) = make(&name);
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
fn a_directory_from_before_there_were_segments_opens() {
    check("v1-wal-only", ENTRIES);
}

#[test]
fn a_directory_with_segments_opens() {
    check("v1-segments", 2 * ENTRIES);
}

#[test]
fn a_directory_that_was_compacted_opens() {
    check("v1-compacted", ENTRIES);
    let dir = copy("v1-compacted");
    let opened = open(Arc::new(RealVfs::new()), small_files(dir.path()));
    assert_eq!(opened.committer.compacted_to(keyed()).value(), COMPACTED_TO);
    let reader = opened.committer.reader();
    let bounds = reader.bounds(keyed()).unwrap();
    let (start, end) = (bounds.start.value(), bounds.high_water_mark.value());
    assert_eq!(start, 0);
    assert!(bounds.records < end - COMPACTED_TO + 10, "{bounds:?}");
    let first = &reader.read(keyed(), Offset::ZERO, 1, 1).unwrap().batches[0];
    assert!(first.base_offset > Offset::ZERO, "a gap at the beginning");
}
