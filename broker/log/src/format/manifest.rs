//! The manifest: what a log consists of at one moment. Replaced as a whole, so there is one that
//! is sound at any time.

use weir_wire::id::{EntryIndex, Offset, PartitionId, ShardId, Timestamp, TopicId, TopicPartition};

use super::FORMAT_VERSION;
use super::fields::{CRC_AT, DecodeError, Fields, crc_without};
use super::name::SectionName;
use crate::ids::{FileSequence, Generation, Lsn, NodeId, SegmentId};

const MAGIC: &[u8; 8] = b"WEIRMANI";
const LENGTH_AT: usize = 16;

/// What a log consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) generation: Generation,
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    /// The newest block that was known to be durable, and the file it is in.
    pub(crate) durable: Lsn,
    pub(crate) durable_file: FileSequence,
    /// Entries up to this one are in segments and sections; those after it are in the WAL.
    pub(crate) checkpoint: EntryIndex,
    /// Where reading the WAL begins.
    pub(crate) wal: FileStart,
    pub(crate) next_segment: SegmentId,
    pub(crate) sections: Vec<SectionRef>,
    pub(crate) segments: Vec<SegmentRef>,
    pub(crate) partitions: Vec<PartitionState>,
}

/// What comes before a WAL file, so that its first block can be checked without the file before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStart {
    pub(crate) file: FileSequence,
    /// Its first block.
    pub(crate) first: Lsn,
    /// The header CRC of the block before.
    pub(crate) previous: u32,
    /// The first entry that may stand in it.
    pub(crate) entry: EntryIndex,
}

impl FileStart {
    /// The beginning of a log.
    pub(crate) const fn origin() -> Self {
        Self {
            file: FileSequence::new(1),
            first: Lsn::new(1),
            previous: 0,
            entry: EntryIndex::new(1),
        }
    }
}

/// A section of the state, in a checkpoint file of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SectionRef {
    pub(crate) name: SectionName,
    /// The last entry that is in it; part of the file's name.
    pub(crate) index: EntryIndex,
    /// Bytes of the section.
    pub(crate) length: u64,
    pub(crate) crc: u32,
}

/// A segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRef {
    pub(crate) id: SegmentId,
    /// Bytes of its file.
    pub(crate) bytes: u64,
    pub(crate) footer_crc: u32,
}

/// A partition as far as segments hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartitionState {
    pub(crate) partition: TopicPartition,
    /// Its first offset.
    pub(crate) start: Offset,
    /// Where its next batch begins.
    pub(crate) end: Offset,
    /// When its last batch was appended.
    pub(crate) last_time: Timestamp,
    /// Below this offset it was compacted.
    pub(crate) compacted_to: Offset,
}

impl Manifest {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        // CRC and length come last.
        out.extend_from_slice(&[0; 4 + 8]);
        put64(&mut out, self.generation.value());
        put64(&mut out, self.node.value());
        put32(&mut out, self.shard.value());
        put64(&mut out, self.durable.value());
        put64(&mut out, self.durable_file.value());
        put64(&mut out, self.checkpoint.value());
        put64(&mut out, self.wal.file.value());
        put64(&mut out, self.wal.first.value());
        put32(&mut out, self.wal.previous);
        put64(&mut out, self.wal.entry.value());
        put64(&mut out, self.next_segment.value());
        put_count(&mut out, self.sections.len());
        put_count(&mut out, self.segments.len());
        put_count(&mut out, self.partitions.len());
        for section in &self.sections {
            put_count(&mut out, section.name.as_str().len());
            out.extend_from_slice(section.name.as_str().as_bytes());
            put64(&mut out, section.index.value());
            put64(&mut out, section.length);
            put32(&mut out, section.crc);
        }
        for segment in &self.segments {
            put64(&mut out, segment.id.value());
            put64(&mut out, segment.bytes);
            put32(&mut out, segment.footer_crc);
        }
        for state in &self.partitions {
            put64(&mut out, state.partition.topic.value());
            put32(&mut out, state.partition.partition.value());
            put64(&mut out, state.start.value());
            put64(&mut out, state.end.value());
            out.extend_from_slice(&state.last_time.value().to_le_bytes());
            put64(&mut out, state.compacted_to.value());
        }
        let length = out.len() as u64;
        out[LENGTH_AT..LENGTH_AT + 8].copy_from_slice(&length.to_le_bytes());
        let crc = crc32c::crc32c(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut fields, stated) = Fields::begin(bytes, MAGIC, "it is not a manifest of weir")?;
        if fields.u64()? != bytes.len() as u64 {
            return Err(DecodeError {
                at: LENGTH_AT,
                what: "it is not as long as it says",
            });
        }
        if crc_without(bytes, CRC_AT) != stated {
            return Err(DecodeError {
                at: CRC_AT,
                what: "its checksum is wrong",
            });
        }
        let manifest = Self::decode_fields(&mut fields)?;
        match fields.left() {
            0 => Ok(manifest),
            _ => Err(fields.error("there is something after the last partition")),
        }
    }

    fn decode_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let mut manifest = Self {
            generation: Generation::new(fields.u64()?),
            node: NodeId::new(fields.u64()?),
            shard: ShardId::new(fields.u32()?),
            durable: Lsn::new(fields.u64()?),
            durable_file: FileSequence::new(fields.u64()?),
            checkpoint: EntryIndex::new(fields.u64()?),
            wal: FileStart {
                file: FileSequence::new(fields.u64()?),
                first: Lsn::new(fields.u64()?),
                previous: fields.u32()?,
                entry: EntryIndex::new(fields.u64()?),
            },
            next_segment: SegmentId::new(fields.u64()?),
            sections: Vec::new(),
            segments: Vec::new(),
            partitions: Vec::new(),
        };
        let (sections, segments, partitions) = (fields.u32()?, fields.u32()?, fields.u32()?);
        for _ in 0..sections {
            let length = fields.length()?;
            let name = SectionName::from_bytes(fields.take(length)?)
                .ok_or(fields.error("a section's name is no word"))?;
            manifest.sections.push(SectionRef {
                name,
                index: EntryIndex::new(fields.u64()?),
                length: fields.u64()?,
                crc: fields.u32()?,
            });
        }
        for _ in 0..segments {
            manifest.segments.push(SegmentRef {
                id: SegmentId::new(fields.u64()?),
                bytes: fields.u64()?,
                footer_crc: fields.u32()?,
            });
        }
        for _ in 0..partitions {
            manifest.partitions.push(PartitionState {
                partition: TopicPartition {
                    topic: TopicId::new(fields.u64()?),
                    partition: PartitionId::new(fields.u32()?),
                },
                start: Offset::new(fields.u64()?),
                end: Offset::new(fields.u64()?),
                last_time: Timestamp::new(fields.i64()?),
                compacted_to: Offset::new(fields.u64()?),
            });
        }
        Ok(manifest)
    }
}

fn put64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_le_bytes());
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    put32(
        out,
        u32::try_from(count).expect("what a node holds is counted in 32 bits"),
    );
}
