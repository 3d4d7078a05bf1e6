//! What the tests of the log share: batches, a sink that hands tokens on, and logs to put them in.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use weir_log::{
    Append, Bug, Columns, CommitSink, CommittedBlock, Committer, DiskReserve, Entry, Log,
    LogConfig, LogError, LogReader, Op, OpenError, RecoveredEntry, RecoveredOp, RecoveryReport,
    StoredBatch, Submission, Vfs, recover,
};
use weir_wire::id::{
    Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, ShardId, Timestamp, TopicId,
    TopicPartition,
};

use crate::history::History;

/// Longer than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Looks again and again until it is so.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        std::thread::yield_now();
    }
}

/// More blocks than any test writes.
const HEARD_MAX: usize = 1 << 16;

pub fn partition(topic: u64, number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(topic),
        partition: PartitionId::new(number),
    }
}

/// Bytes that differ from seed to seed, and hold no page of zeros.
pub fn payload(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .flatten()
    .take(length)
    .collect();
    bytes.into()
}

pub fn append(at: TopicPartition, base_offset: u64, count: u32, bytes: Bytes) -> Op {
    Op::Append(Append {
        partition: at,
        base_offset: Offset::new(base_offset),
        count,
        append_time: Timestamp::new(1_000 + i64::try_from(base_offset).unwrap()),
        crc: crc32c::crc32c(&bytes),
        columns: columns(base_offset, count),
        batch: bytes.into(),
    })
}

/// Every third batch has keys, every fifth an origin.
pub fn columns(base_offset: u64, count: u32) -> Columns {
    let keys: Vec<u8> = (base_offset..base_offset + u64::from(count))
        .flat_map(u64::to_le_bytes)
        .collect();
    Columns {
        ordering_keys: base_offset.is_multiple_of(3).then(|| keys.into()),
        origin: base_offset
            .is_multiple_of(5)
            .then(|| Bytes::from_static(b"json-key@1")),
    }
}

pub fn sequence(producer: u64, sequence: u64, outcome: Bytes) -> Op {
    Op::ProducerSequence {
        producer: ProducerId::new(producer),
        epoch: ProducerEpoch::new(1),
        sequence: Sequence::new(sequence),
        outcome,
    }
}

pub fn entry(ops: Vec<Op>) -> Entry {
    Entry { ops }
}

/// What a sink hears.
#[derive(Debug)]
pub enum Heard {
    Committed(Vec<u64>),
    Failed(String, Vec<u64>),
}

struct Hand(SyncSender<Heard>);

impl CommitSink<u64> for Hand {
    fn committed(&mut self, block: CommittedBlock<'_, u64>) {
        let _ = self.0.send(Heard::Committed(block.tokens));
    }

    fn failed(&mut self, error: &LogError, tokens: Vec<u64>) {
        let _ = self.0.send(Heard::Failed(error.to_string(), tokens));
    }
}

/// A sink, and where what it hears comes out.
pub fn sink() -> (Box<dyn CommitSink<u64>>, Receiver<Heard>) {
    let (give, take) = sync_channel(HEARD_MAX);
    (Box::new(Hand(give)), take)
}

/// Small files, no threads but the log's own.
pub fn config(dir: &Path) -> LogConfig {
    let mut config = LogConfig::new(dir, ShardId::new(0));
    config.wal_file_bytes = 128 << 10;
    config.prepare_ahead = false;
    config.paced = false;
    // Small enough that partitions of both kinds appear: with a segment of their own, and without.
    config.segment_own_bytes = 20_000;
    config.disk_reserve = DiskReserve {
        percent: 0,
        bytes: 0,
    };
    config
}

/// Plants a bug, where bugs can be planted.
pub fn plant(config: &mut LogConfig, bug: Option<Bug>) {
    #[cfg(debug_assertions)]
    {
        config.planted = bug;
    }
    #[cfg(not(debug_assertions))]
    assert!(
        bug.is_none() && config.dir.has_root(),
        "only debug builds have bugs"
    );
}

/// A log with its thread.
pub struct Opened {
    pub log: Log<u64>,
    pub heard: Receiver<Heard>,
    pub replayed: Vec<RecoveredEntry>,
    pub report: RecoveryReport,
}

impl Opened {
    pub fn submit(&self, token: u64, ops: Vec<Op>) {
        let entry = entry(ops);
        self.log.submit(Submission { entry, token }).unwrap();
    }

    /// Waits until all up to this token are durable.
    pub fn wait_for(&self, token: u64) {
        while self.next_committed().last() != Some(&token) {}
    }

    pub fn next_committed(&self) -> Vec<u64> {
        match self.heard.recv_timeout(PATIENCE).unwrap() {
            Heard::Committed(tokens) => tokens,
            Heard::Failed(error, _) => panic!("{error}"),
        }
    }

    pub fn next_failed(&self) -> (String, Vec<u64>) {
        match self.heard.recv_timeout(PATIENCE).unwrap() {
            Heard::Failed(error, tokens) => (error, tokens),
            Heard::Committed(tokens) => panic!("committed {tokens:?}"),
        }
    }
}

pub fn try_open(vfs: Arc<dyn Vfs>, config: LogConfig) -> Result<Opened, OpenError<String>> {
    let (sink, heard) = sink();
    let recovered = recover(vfs, config, History::default())?;
    let replayed = recovered.machine().checked();
    let report = recovered.report().clone();
    Ok(Opened {
        log: Log::start(recovered, sink).unwrap(),
        heard,
        replayed,
        report,
    })
}

pub fn open(vfs: Arc<dyn Vfs>, config: LogConfig) -> Opened {
    try_open(vfs, config).unwrap()
}

/// A log without a thread. What was committed is in `acked` when the call returns.
pub struct Driven {
    pub committer: Committer<u64>,
    pub replayed: Vec<RecoveredEntry>,
    pub report: RecoveryReport,
    pub acked: Arc<Mutex<Vec<u64>>>,
}

struct Note(Arc<Mutex<Vec<u64>>>);

impl CommitSink<u64> for Note {
    fn committed(&mut self, block: CommittedBlock<'_, u64>) {
        self.0.lock().unwrap().extend(block.tokens);
    }

    fn failed(&mut self, _error: &LogError, _tokens: Vec<u64>) {}
}

pub fn drive(vfs: Arc<dyn Vfs>, config: LogConfig) -> Result<Driven, OpenError<String>> {
    let acked = Arc::new(Mutex::new(Vec::new()));
    let recovered = recover(vfs, config, History::default())?;
    let replayed = recovered.machine().checked();
    let report = recovered.report().clone();
    Ok(Driven {
        committer: Committer::start(recovered, Box::new(Note(acked.clone()))),
        replayed,
        report,
        acked,
    })
}

/// All batches of a partition, a few at a time.
pub fn read_all(reader: &LogReader, at: TopicPartition) -> Vec<StoredBatch> {
    let Some(bounds) = reader.bounds(at) else {
        return Vec::new();
    };
    let mut batches = Vec::new();
    let mut from = bounds.start;
    while from < bounds.high_water_mark {
        let some = reader.read(at, from, 64 << 10, 5).unwrap();
        assert!(some.next > from, "it goes on, to the high-water mark");
        from = some.next;
        batches.extend(some.batches);
    }
    batches
}

/// A batch as a line, to compare.
pub fn line(batch: &StoredBatch) -> (u64, u32, i64, Columns, Bytes) {
    (
        batch.base_offset.value(),
        batch.count,
        batch.append_time.value(),
        batch.columns.clone(),
        batch.bytes.clone(),
    )
}

/// What a recovered entry says, in short.
pub fn summary(entry: &RecoveredEntry) -> String {
    let ops: Vec<String> = entry
        .ops
        .iter()
        .map(|op| match op {
            RecoveredOp::Append {
                partition,
                base_offset,
                count,
                ..
            } => format!("{partition} {base_offset}+{count}"),
            RecoveredOp::ProducerSequence {
                producer,
                sequence,
                outcome,
                ..
            } => format!("producer {producer} #{sequence} {outcome:?}"),
            RecoveredOp::Metadata(bytes) => format!("metadata {bytes:?}"),
            RecoveredOp::Trim { partition, start } => format!("trim {partition} below {start}"),
            _ => unreachable!("there are no others"),
        })
        .collect();
    format!("{}: {}", entry.index, ops.join(", "))
}

/// How many rounds: more with `WEIR_DEEP`, which multiplies.
pub fn deep(rounds: u64) -> u64 {
    let factor = std::env::var("WEIR_DEEP");
    rounds * factor.map_or(1, |factor| factor.parse().expect("WEIR_DEEP is a number"))
}
