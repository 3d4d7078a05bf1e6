//! Entries within a block's head, and the envelope that stands before every batch.

use bytes::Bytes;
use weir_wire::id::{
    EntryIndex, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, ShardId, Term, Timestamp,
    TopicId, TopicPartition,
};

use super::fields::{DecodeError, Fields};
use crate::entry::{Append, Columns, Entry, Op};
use crate::page_buf::{PAGE_BYTES, PageBuf};

const ENTRY_FIXED: usize = 28;
const OP_FIXED: usize = 5;
/// An envelope without its columns.
pub(crate) const ENVELOPE_FIXED: usize = 50;
const COLUMN_FIXED: usize = 9;
const PRODUCER_SEQUENCE_FIXED: usize = 20;
const TRIM_LENGTH: usize = 20;

const OP_APPEND: u8 = 1;
const OP_PRODUCER_SEQUENCE: u8 = 2;
const OP_METADATA: u8 = 3;
const OP_TRIM: u8 = 4;

const COLUMN_ORDERING_KEYS: u8 = 1;
const COLUMN_ORIGIN: u8 = 2;

const PLACE_INLINE: u8 = 0;
const PLACE_EXTENT: u8 = 1;

/// What an entry takes in a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EntrySize {
    /// In the head, with inline batches.
    pub(crate) head: usize,
    /// In pages of their own.
    pub(crate) extents: usize,
}

impl EntrySize {
    pub(crate) fn of(entry: &Entry) -> Self {
        let mut size = Self {
            head: ENTRY_FIXED,
            extents: 0,
        };
        for op in &entry.ops {
            size.head += OP_FIXED + op_length(op);
            if let Op::Append(append) = op {
                size.extents += append.batch.extent().map_or(0, <[u8]>::len);
            }
        }
        size
    }

    pub(crate) fn total(self) -> usize {
        self.head + self.extents
    }
}

fn op_length(op: &Op) -> usize {
    match op {
        Op::Append(append) => {
            let inline = if append.batch.extent().is_some() {
                0
            } else {
                append.batch.len()
            };
            ENVELOPE_FIXED + columns_length(&append.columns) + inline
        }
        Op::ProducerSequence { outcome, .. } => PRODUCER_SEQUENCE_FIXED + outcome.len(),
        Op::Metadata(bytes) => bytes.len(),
        Op::Trim { .. } => TRIM_LENGTH,
    }
}

fn columns_length(columns: &Columns) -> usize {
    tagged(columns)
        .map(|(_, bytes)| COLUMN_FIXED + bytes.len())
        .sum()
}

fn tagged(columns: &Columns) -> impl Iterator<Item = (u8, &Bytes)> {
    [
        (COLUMN_ORDERING_KEYS, &columns.ordering_keys),
        (COLUMN_ORIGIN, &columns.origin),
    ]
    .into_iter()
    .filter_map(|(tag, column)| Some((tag, column.as_ref()?)))
}

/// Where in the head an append's envelope stands, and how long its columns are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EnvelopePlace {
    pub(crate) at: usize,
    pub(crate) columns: usize,
}

/// Appends `entry` to a block's head; calls `placed` for every append in it.
pub(crate) fn encode_entry(
    head: &mut PageBuf,
    entry: &Entry,
    (shard, term, index): (ShardId, Term, EntryIndex),
    mut placed: impl FnMut(&Append, EnvelopePlace),
) {
    let start = head.len();
    let size = EntrySize::of(entry);
    head.extend_from_slice(&narrow(size.head - 4).to_le_bytes());
    head.extend_from_slice(&shard.value().to_le_bytes());
    head.extend_from_slice(&term.value().to_le_bytes());
    head.extend_from_slice(&index.value().to_le_bytes());
    head.extend_from_slice(&narrow(entry.ops.len()).to_le_bytes());
    for op in &entry.ops {
        let kind = match op {
            Op::Append(_) => OP_APPEND,
            Op::ProducerSequence { .. } => OP_PRODUCER_SEQUENCE,
            Op::Metadata(_) => OP_METADATA,
            Op::Trim { .. } => OP_TRIM,
        };
        head.extend_from_slice(&[kind]);
        head.extend_from_slice(&narrow(op_length(op)).to_le_bytes());
        match op {
            Op::Append(append) => {
                let columns = columns_length(&append.columns);
                placed(
                    append,
                    EnvelopePlace {
                        at: head.len(),
                        columns,
                    },
                );
                encode_append(head, append);
            }
            Op::ProducerSequence {
                producer,
                epoch,
                sequence,
                outcome,
            } => {
                head.extend_from_slice(&producer.value().to_le_bytes());
                head.extend_from_slice(&epoch.value().to_le_bytes());
                head.extend_from_slice(&sequence.value().to_le_bytes());
                head.extend_from_slice(outcome);
            }
            Op::Metadata(bytes) => head.extend_from_slice(bytes),
            Op::Trim { partition, start } => {
                head.extend_from_slice(&partition.topic.value().to_le_bytes());
                head.extend_from_slice(&partition.partition.value().to_le_bytes());
                head.extend_from_slice(&start.value().to_le_bytes());
            }
        }
    }
    debug_assert_eq!(
        head.len() - start,
        size.head,
        "an entry is as long as was computed"
    );
}

fn encode_append(head: &mut PageBuf, append: &Append) {
    let extent = append.batch.extent().is_some();
    let fixed = EnvelopeFields {
        partition: append.partition,
        base_offset: append.base_offset,
        count: append.count,
        append_time: append.append_time,
        batch_length: narrow(append.batch.len()),
        batch_crc: append.crc,
        extent,
    };
    encode_envelope(&fixed, &append.columns, |bytes| {
        head.extend_from_slice(bytes);
    });
    if !extent {
        head.extend_from_slice(append.batch.as_slice());
    }
}

/// What an envelope says besides its columns.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EnvelopeFields {
    pub(crate) partition: TopicPartition,
    pub(crate) base_offset: Offset,
    pub(crate) count: u32,
    pub(crate) append_time: Timestamp,
    pub(crate) batch_length: u32,
    pub(crate) batch_crc: u32,
    pub(crate) extent: bool,
}

/// Puts an envelope and its columns, part by part, wherever `put` puts them.
pub(crate) fn encode_envelope(
    fields: &EnvelopeFields,
    columns: &Columns,
    mut put: impl FnMut(&[u8]),
) {
    let count = u8::try_from(tagged(columns).count()).expect("there are two kinds");
    let mut fixed = Vec::with_capacity(ENVELOPE_FIXED);
    fixed.extend_from_slice(&fields.partition.topic.value().to_le_bytes());
    fixed.extend_from_slice(&fields.partition.partition.value().to_le_bytes());
    fixed.extend_from_slice(&fields.base_offset.value().to_le_bytes());
    fixed.extend_from_slice(&fields.count.to_le_bytes());
    fixed.extend_from_slice(&fields.append_time.value().to_le_bytes());
    fixed.extend_from_slice(&fields.batch_length.to_le_bytes());
    fixed.extend_from_slice(&fields.batch_crc.to_le_bytes());
    let place = if fields.extent {
        PLACE_EXTENT
    } else {
        PLACE_INLINE
    };
    fixed.extend_from_slice(&[place, count]);
    fixed.extend_from_slice(&narrow(columns_length(columns)).to_le_bytes());
    let crc = crc32c::crc32c(&fixed);
    fixed.extend_from_slice(&crc.to_le_bytes());
    put(&fixed);
    for (tag, bytes) in tagged(columns) {
        put(&[tag]);
        put(&narrow(bytes.len()).to_le_bytes());
        put(&crc32c::crc32c(bytes).to_le_bytes());
        put(bytes);
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("an entry fits a WAL file, which is below 4 GiB")
}

/// An entry as it was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DecodedEntry {
    pub(crate) shard: ShardId,
    pub(crate) term: Term,
    pub(crate) index: EntryIndex,
    pub(crate) ops: Vec<DecodedOp>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecodedOp {
    Append {
        envelope: Envelope,
        at: usize,
    },
    ProducerSequence {
        producer: ProducerId,
        epoch: ProducerEpoch,
        sequence: Sequence,
        outcome: Bytes,
    },
    Metadata(Bytes),
    Trim {
        partition: TopicPartition,
        start: Offset,
    },
}

/// What stands before a batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) partition: TopicPartition,
    pub(crate) base_offset: Offset,
    pub(crate) count: u32,
    pub(crate) append_time: Timestamp,
    pub(crate) batch_length: u32,
    pub(crate) batch_crc: u32,
    pub(crate) extent: bool,
    pub(crate) columns_length: u32,
    pub(crate) columns: Columns,
}

/// Where an envelope states how long its batch is, and how long its columns are.
const BATCH_LENGTH_AT: usize = 32;
const COLUMNS_LENGTH_AT: usize = 42;

/// How long the columns are and how long the batch is, from an envelope's first bytes.
pub(crate) fn envelope_lengths(bytes: &[u8]) -> Result<(usize, usize), DecodeError> {
    let mut fields = Fields::new(bytes);
    let mut fixed = fields.part(ENVELOPE_FIXED - 4)?;
    if fields.u32()? != crc32c::crc32c(fixed.clone().take(ENVELOPE_FIXED - 4)?) {
        return Err(fixed.error("an envelope's checksum is wrong"));
    }
    fixed.take(BATCH_LENGTH_AT)?;
    let batch = fixed.length()?;
    fixed.take(COLUMNS_LENGTH_AT - BATCH_LENGTH_AT - 4)?;
    Ok((fixed.length()?, batch))
}

impl Envelope {
    /// Reads the envelope at the start of `fields`, columns and all, up to its batch.
    pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let fixed = fields.part(ENVELOPE_FIXED - 4)?;
        let crc = crc32c::crc32c(fixed.clone().take(ENVELOPE_FIXED - 4)?);
        if fields.u32()? != crc {
            return Err(fixed.error("an envelope's checksum is wrong"));
        }
        let mut fixed = fixed;
        let partition = TopicPartition {
            topic: TopicId::new(fixed.u64()?),
            partition: PartitionId::new(fixed.u32()?),
        };
        let mut envelope = Self {
            partition,
            base_offset: Offset::new(fixed.u64()?),
            count: fixed.u32()?,
            append_time: Timestamp::new(fixed.i64()?),
            batch_length: fixed.u32()?,
            batch_crc: fixed.u32()?,
            extent: match fixed.u8()? {
                PLACE_INLINE => false,
                PLACE_EXTENT => true,
                _ => return Err(fixed.error("a batch's place is unknown")),
            },
            columns_length: 0,
            columns: Columns::default(),
        };
        let count = fixed.u8()?;
        envelope.columns_length = fixed.u32()?;
        let mut columns = fields.part(envelope.columns_length as usize)?;
        for _ in 0..count {
            decode_column(&mut columns, &mut envelope.columns)?;
        }
        match columns.left() {
            0 => Ok(envelope),
            _ => Err(columns.error("there is something after the last column")),
        }
    }
}

fn decode_column(fields: &mut Fields<'_>, columns: &mut Columns) -> Result<(), DecodeError> {
    let tag = fields.u8()?;
    let length = fields.length()?;
    let crc = fields.u32()?;
    let bytes = fields.take(length)?;
    if crc32c::crc32c(bytes) != crc {
        return Err(fields.error("a column's checksum is wrong"));
    }
    let column = match tag {
        COLUMN_ORDERING_KEYS => &mut columns.ordering_keys,
        COLUMN_ORIGIN => &mut columns.origin,
        // A later column is somebody else's business.
        _ => return Ok(()),
    };
    match column.replace(Bytes::copy_from_slice(bytes)) {
        None => Ok(()),
        Some(_) => Err(fields.error("a column is there twice")),
    }
}

/// Reads one entry of a block's head. Positions count from where `fields` began.
pub(crate) fn decode_entry(fields: &mut Fields<'_>) -> Result<DecodedEntry, DecodeError> {
    let length = fields.length()?;
    let mut fields = fields.part(length)?;
    let mut entry = DecodedEntry {
        shard: ShardId::new(fields.u32()?),
        term: Term::new(fields.u64()?),
        index: EntryIndex::new(fields.u64()?),
        ops: Vec::new(),
    };
    for _ in 0..fields.u32()? {
        let kind = fields.u8()?;
        let length = fields.length()?;
        let mut op = fields.part(length)?;
        entry.ops.push(decode_op(kind, &mut op)?);
        if op.left() > 0 {
            return Err(op.error("there is something after an operation"));
        }
    }
    match fields.left() {
        0 => Ok(entry),
        _ => Err(fields.error("there is something after the last operation")),
    }
}

fn decode_op(kind: u8, op: &mut Fields<'_>) -> Result<DecodedOp, DecodeError> {
    match kind {
        OP_APPEND => {
            let at = op.at();
            let envelope = Envelope::decode(op)?;
            if envelope.count == 0 {
                return Err(op.error("a batch has no records"));
            }
            if !envelope.extent {
                op.take(envelope.batch_length as usize)?;
            }
            Ok(DecodedOp::Append { envelope, at })
        }
        OP_PRODUCER_SEQUENCE => Ok(DecodedOp::ProducerSequence {
            producer: ProducerId::new(op.u64()?),
            epoch: ProducerEpoch::new(op.u32()?),
            sequence: Sequence::new(op.u64()?),
            outcome: Bytes::copy_from_slice(op.take(op.left())?),
        }),
        OP_METADATA => Ok(DecodedOp::Metadata(Bytes::copy_from_slice(
            op.take(op.left())?,
        ))),
        OP_TRIM => Ok(DecodedOp::Trim {
            partition: TopicPartition {
                topic: TopicId::new(op.u64()?),
                partition: PartitionId::new(op.u32()?),
            },
            start: Offset::new(op.u64()?),
        }),
        _ => Err(op.error("an operation's kind is unknown")),
    }
}

/// The pages a batch of `length` bytes takes as an extent.
pub(crate) fn extent_bytes(length: u32) -> usize {
    (length as usize).next_multiple_of(PAGE_BYTES)
}
