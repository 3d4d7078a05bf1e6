//! A log whose batches are moved to segments by hand, and what it must answer.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::IoSlice;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use weir_wire::id::{Offset, PartitionId, ShardId, Timestamp, TopicId, TopicPartition};

use super::LogReader;
use crate::commit::{CommitSink, CommittedBlock, Committer, Submission};
use crate::config::LogConfig;
use crate::entry::{Append, Columns, Entry, Op};
use crate::error::LogError;
use crate::ids::{FileSequence, NodeId, SegmentId};
use crate::index::{Index, Place, StoredBatch};
use crate::machine::StateMachine;
use crate::open::recover;
use crate::segment::{
    FrameRef, Run, RunReader, SegmentMeta, SegmentWriter, segment_path, segments_dir,
};
use crate::vfs::{OpenMode, Vfs};
use crate::wal::RecoveredEntry;

const NODE: NodeId = NodeId::new(1);
const SHARD: ShardId = ShardId::new(0);

pub(super) fn dir() -> &'static Path {
    Path::new("/data")
}

pub(super) fn config() -> LogConfig {
    let mut config = LogConfig::new(dir(), SHARD);
    config.wal_file_bytes = 64 << 10;
    config.prepare_ahead = false;
    config
}

pub(super) fn partition(topic: u64, number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(topic),
        partition: PartitionId::new(number),
    }
}

#[derive(Debug)]
struct NoState;

impl StateMachine for NoState {
    type Error = Infallible;

    fn restore(&mut self, _section: &str, _bytes: &[u8]) -> Result<(), Infallible> {
        Ok(())
    }

    fn apply(&mut self, _entry: &RecoveredEntry) -> Result<(), Infallible> {
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        Vec::new()
    }
}

struct Nobody;

impl CommitSink<()> for Nobody {
    fn committed(&mut self, _block: CommittedBlock<'_, ()>) {}

    fn failed(&mut self, error: &LogError, _tokens: Vec<()>) {
        panic!("{error}");
    }
}

/// A log, and beside it what it holds.
pub(super) struct World {
    pub(super) vfs: Arc<dyn Vfs>,
    pub(super) reader: LogReader,
    pub(super) index: Arc<RwLock<Index>>,
    committer: Committer<()>,
    segments: u64,
    pub(super) model: BTreeMap<TopicPartition, Model>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    pub(super) start: Offset,
    pub(super) end: Offset,
    pub(super) last_time: Timestamp,
    pub(super) batches: Vec<StoredBatch>,
}

impl Model {
    /// The batches that a read from there may answer with.
    pub(super) fn from(&self, from: Offset) -> impl Iterator<Item = &StoredBatch> {
        self.batches.iter().filter(move |batch| batch.end() > from)
    }
}

impl World {
    pub(super) fn new(vfs: Arc<dyn Vfs>, config: LogConfig) -> Self {
        vfs.create_dir_all(&segments_dir(dir())).unwrap();
        let recovered = recover(vfs.clone(), config, NoState).unwrap();
        let reader = recovered.reader();
        let committer = Committer::start(recovered, Box::new(Nobody));
        Self {
            vfs,
            index: reader.shared.index.clone(),
            reader,
            committer,
            segments: 0,
            model: BTreeMap::new(),
        }
    }

    fn index<R>(&self, act: impl FnOnce(&mut Index) -> R) -> R {
        act(&mut self.index.write().unwrap_or_else(PoisonError::into_inner))
    }

    /// Appends batches, all in one block: partition, offsets, bytes, and milliseconds later.
    pub(super) fn append(&mut self, batches: &[(TopicPartition, u32, usize, i64)]) {
        let mut ops = Vec::new();
        for (at, count, length, later) in batches {
            let model = self.model.entry(*at).or_default();
            let seed = model.end.value() * 31 + u64::from(at.partition.value());
            let fill: Vec<u8> = (0..*length as u64)
                .map(|n| (seed + n * n).to_le_bytes()[0])
                .collect();
            let bytes = Bytes::from(fill);
            let keys = model.end.value().is_multiple_of(3);
            let batch = StoredBatch {
                base_offset: model.end,
                count: *count,
                append_time: Timestamp::new(model.last_time.value() + later),
                columns: Columns {
                    ordering_keys: keys.then(|| Bytes::from(vec![1; *count as usize * 8])),
                    origin: None,
                },
                crc: crc32c::crc32c(&bytes),
                bytes,
            };
            model.end = batch.end();
            model.last_time = batch.append_time;
            ops.push(Op::Append(Append {
                partition: *at,
                base_offset: batch.base_offset,
                count: batch.count,
                append_time: batch.append_time,
                batch: batch.bytes.clone().into(),
                crc: batch.crc,
                columns: batch.columns.clone(),
            }));
            model.batches.push(batch);
        }
        let submission = Submission {
            entry: Entry { ops },
            token: (),
        };
        self.committer.commit(vec![submission]).unwrap();
    }

    /// The WAL file that is written to.
    pub(super) fn last_file(&self) -> FileSequence {
        let pending =
            |at: &TopicPartition| self.index(|i| i.pending(*at, FileSequence::new(u64::MAX)));
        let places = self.model.keys().flat_map(pending);
        places.map(|place| place.file()).max().unwrap_or_default()
    }

    fn next_segment(&mut self) -> (SegmentId, SegmentWriter) {
        self.segments += 1;
        let id = SegmentId::new(self.segments);
        let vfs = &*self.vfs;
        let writer = SegmentWriter::create(vfs, dir(), id, NODE, SHARD, true).unwrap();
        (id, writer)
    }

    /// Moves what is in WAL files up to that one to a segment. Files that are no longer needed are
    /// overwritten first and removed then.
    pub(super) fn archive(&mut self, up_to: FileSequence) -> Option<SegmentMeta> {
        let pending = self.index(|index| index.pending_partitions(up_to));
        if pending.is_empty() {
            return None;
        }
        let (_, mut writer) = self.next_segment();
        for at in pending {
            writer.begin_run(at);
            for place in self.index(|index| index.pending(at, up_to)) {
                let batch = self.fetch(at, &place);
                writer.push(&FrameRef::from(&batch)).unwrap();
            }
        }
        let meta = writer.finish().unwrap();
        self.index(|index| index.archived(&meta.runs, up_to));
        Some(meta)
    }

    fn fetch(&self, at: TopicPartition, place: &Place) -> StoredBatch {
        self.index(|index| index.cached(at, place.base_offset))
            .unwrap_or_else(|| {
                let mut read = self.reader.shared.disk.read_places(at, &[*place]).unwrap();
                read.remove(0)
            })
    }

    /// Everything that is live in these segments goes to one new segment, but for the batches
    /// that are not to be kept.
    pub(super) fn rewrite(
        &mut self,
        segments: &[SegmentId],
        keep: impl Fn(TopicPartition, &StoredBatch) -> bool,
    ) {
        let live = self.index(|index| index.live_runs());
        let mut runs: Vec<Run> = segments
            .iter()
            .filter_map(|id| live.get(id))
            .flatten()
            .copied()
            .collect();
        runs.sort_unstable_by_key(|run| (run.partition, run.base));
        let (_, mut writer) = self.next_segment();
        let mut kept = false;
        for run in &runs {
            assert!(self.index(|index| index.is_live(run)));
            writer.begin_run(run.partition);
            let mut frames = RunReader::open(&*self.vfs, dir(), run, true).unwrap();
            while let Some(frame) = frames.next().unwrap() {
                let batch = frame.batch;
                if keep(run.partition, &batch) {
                    kept = true;
                    writer.push(&FrameRef::from(&batch)).unwrap();
                } else if let Some(model) = self.model.get_mut(&run.partition) {
                    model
                        .batches
                        .retain(|other| other.base_offset != batch.base_offset);
                }
            }
            writer.end_run(run.end);
        }
        let written = if kept {
            writer.finish().unwrap().runs
        } else {
            Vec::new()
        };
        self.index(|index| index.replace(segments, written));
        for id in segments {
            // Whoever has it open still reads zeros.
            let path = segment_path(dir(), *id);
            let file = self
                .vfs
                .open(&path, OpenMode::Write { direct: false })
                .unwrap();
            let zeros = vec![0; usize::try_from(file.size().unwrap()).unwrap()];
            file.write_vectored_at(&[IoSlice::new(&zeros)], 0).unwrap();
            self.vfs.remove(&path).unwrap();
        }
        self.reader.close(FileSequence::new(0), segments);
    }

    pub(super) fn live_segments(&self) -> Vec<SegmentId> {
        let mut ids: Vec<_> = self.index(|index| index.live_runs()).into_keys().collect();
        ids.sort_unstable();
        ids
    }

    pub(super) fn trim(&mut self, at: TopicPartition, start: Offset) {
        self.index(|index| index.trim(at, start));
        if let Some(model) = self.model.get_mut(&at) {
            model.start = model.start.max(start.min(model.end));
            let start = model.start;
            model.batches.retain(|batch| batch.end() > start);
        }
    }
}
