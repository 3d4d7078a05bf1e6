//! A segment: a header of one page, frames run by run, and at the end what was found to be in it:
//! the runs, and a sparse index of each by offset and by append time.

use weir_wire::id::{Offset, PartitionId, ShardId, Timestamp, TopicId, TopicPartition};

use super::FORMAT_VERSION;
use super::entry::{ENVELOPE_FIXED, Envelope, EnvelopeFields, encode_envelope, envelope_lengths};
use super::fields::{CRC_AT, DecodeError, Fields, crc_without};
use crate::entry::Columns;
use crate::ids::{NodeId, SegmentId};
use crate::page_buf::PAGE_BYTES;

const MAGIC: &[u8; 8] = b"WEIRSEG\0";
const END_MAGIC: &[u8; 8] = b"WEIRSEGF";
const HEADER_FIELDS: usize = 36;
const RUN_BYTES: usize = 88;
pub(crate) const INDEX_ENTRY_BYTES: usize = 24;
/// What ends the file.
pub(crate) const TRAILER_BYTES: usize = 48;
const TRAILER_CRC_AT: usize = 16;
/// Where the first frame begins.
pub(crate) const FRAMES_AT: u64 = PAGE_BYTES as u64;
/// A frame that starts this far behind the last one in the sparse index gets an entry, too.
pub(crate) const INDEX_STEP: u64 = 64 << 10;

/// The first page: which segment of which node this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) id: SegmentId,
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
}

/// Batches of one partition that stand one behind the other in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) partition: TopicPartition,
    pub(crate) segment: SegmentId,
    /// The first batch's offset.
    pub(crate) base: Offset,
    /// Where the partition's next batch may begin: no batch of the run reaches it.
    pub(crate) end: Offset,
    /// Records that are there: fewer than offsets once the run was compacted.
    pub(crate) records: u64,
    pub(crate) batches: u32,
    /// Bytes of the batches, without what stands before them.
    pub(crate) batch_bytes: u64,
    /// Append times of the first and of the last batch.
    pub(crate) first_time: Timestamp,
    pub(crate) last_time: Timestamp,
    /// Where in the file the frames lie, and how many bytes they take.
    pub(crate) position: u64,
    pub(crate) length: u64,
    /// Where in the file the sparse index begins, and how many entries it has.
    pub(crate) index_at: u64,
    pub(crate) index_entries: u32,
    pub(crate) index_crc: u32,
}

/// An entry of a sparse index: a frame of the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IndexEntry {
    /// The offset of its batch.
    pub(crate) offset: Offset,
    /// Its batch's append time.
    pub(crate) time: Timestamp,
    /// Where in the file the frame begins.
    pub(crate) position: u64,
}

/// The last 48 bytes: where the footer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) footer_position: u64,
    pub(crate) footer_length: u64,
    /// Of everything from the footer on to the end of the file, these four bytes as zeros.
    pub(crate) crc: u32,
    pub(crate) runs: u32,
    pub(crate) id: SegmentId,
    pub(crate) file_bytes: u64,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut fields = Vec::with_capacity(HEADER_FIELDS);
        fields.extend_from_slice(MAGIC);
        fields.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        fields.extend_from_slice(&[0; 2]);
        fields.extend_from_slice(&[0; 4]);
        fields.extend_from_slice(&self.id.value().to_le_bytes());
        fields.extend_from_slice(&self.node.value().to_le_bytes());
        fields.extend_from_slice(&self.shard.value().to_le_bytes());
        let mut page = [0; PAGE_BYTES];
        page[..HEADER_FIELDS].copy_from_slice(&fields);
        let crc = crc32c::crc32c(&page);
        page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        page
    }

    pub(crate) fn decode(page: &[u8]) -> Result<Self, DecodeError> {
        let (mut fields, stated) = Fields::begin(page, MAGIC, "it is not a segment of weir")?;
        let header = Self {
            id: SegmentId::new(fields.u64()?),
            node: NodeId::new(fields.u64()?),
            shard: ShardId::new(fields.u32()?),
        };
        let page = page
            .get(..PAGE_BYTES)
            .ok_or(fields.error("it ends too early"))?;
        if crc_without(page, CRC_AT) != stated {
            return Err(DecodeError {
                at: CRC_AT,
                what: "its header's checksum is wrong",
            });
        }
        Ok(header)
    }
}

/// Puts what stands before a batch behind `bytes`.
pub(crate) fn encode_frame_head(fields: &EnvelopeFields, columns: &Columns, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    encode_envelope(fields, columns, |part| bytes.extend_from_slice(part));
    let columns = bytes.get(start + ENVELOPE_FIXED..).unwrap_or_default();
    if !columns.is_empty() {
        let crc = crc32c::crc32c(columns);
        bytes.extend_from_slice(&crc.to_le_bytes());
    }
}

/// How long a frame is, from its first bytes: those of an envelope without columns.
pub(crate) fn frame_length(bytes: &[u8]) -> Result<usize, DecodeError> {
    let (columns, batch) = envelope_lengths(bytes)?;
    Ok(ENVELOPE_FIXED + columns + columns_crc_length(columns) + batch)
}

/// Reads a frame up to its batch, which is as long as the envelope says and not checked here.
pub(crate) fn decode_frame_head(fields: &mut Fields<'_>) -> Result<Envelope, DecodeError> {
    let start = *fields;
    let envelope = Envelope::decode(fields)?;
    if envelope.extent || envelope.count == 0 {
        return Err(start.error("no batch of a segment stands there"));
    }
    let length = envelope.columns_length as usize;
    if length > 0 {
        let mut columns = start;
        columns.take(ENVELOPE_FIXED)?;
        // A column's own checksum does not cover its tag.
        if crc32c::crc32c(columns.take(length)?) != fields.u32()? {
            return Err(start.error("the checksum of a batch's columns is wrong"));
        }
    }
    Ok(envelope)
}

fn columns_crc_length(columns: usize) -> usize {
    if columns == 0 { 0 } else { 4 }
}

/// Everything from a footer on to the end of its file, and its checksum. `runs` learn where their
/// sparse indexes are; `entries` are those of all runs, one run's behind the other's.
pub(crate) fn encode_end(
    id: SegmentId,
    footer_position: u64,
    runs: &mut [Run],
    entries: &[IndexEntry],
) -> (Vec<u8>, u32) {
    let index: Vec<u8> = entries.iter().flat_map(IndexEntry::encode).collect();
    let mut bytes = Vec::with_capacity(RUN_BYTES * runs.len() + index.len() + PAGE_BYTES);
    let index_at = RUN_BYTES * runs.len();
    let mut next = 0;
    for run in &mut *runs {
        let end = next + run.index_entries as usize * INDEX_ENTRY_BYTES;
        let own = index
            .get(next..end)
            .expect("each run's entries were collected");
        run.index_at = footer_position + (index_at + next) as u64;
        run.index_crc = crc32c::crc32c(own);
        run.encode(&mut bytes);
        next = end;
    }
    debug_assert_eq!(next, index.len(), "every entry belongs to a run");
    bytes.extend_from_slice(&index);
    let footer_length = bytes.len() as u64;
    let file_bytes = (footer_position + footer_length + TRAILER_BYTES as u64)
        .next_multiple_of(PAGE_BYTES as u64);
    let length = usize::try_from(file_bytes - footer_position).expect("it is in memory");
    bytes.resize(length - TRAILER_BYTES, 0);
    let trailer = Trailer {
        footer_position,
        footer_length,
        crc: 0,
        runs: u32::try_from(runs.len()).expect("a segment has fewer runs than bytes"),
        id,
        file_bytes,
    };
    trailer.encode(&mut bytes);
    let crc = crc32c::crc32c(&bytes);
    let crc_at = length - TRAILER_BYTES + TRAILER_CRC_AT;
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc.to_le_bytes());
    (bytes, crc)
}

impl Trailer {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.footer_position.to_le_bytes());
        bytes.extend_from_slice(&self.footer_length.to_le_bytes());
        bytes.extend_from_slice(&self.crc.to_le_bytes());
        bytes.extend_from_slice(&self.runs.to_le_bytes());
        bytes.extend_from_slice(&self.id.value().to_le_bytes());
        bytes.extend_from_slice(&self.file_bytes.to_le_bytes());
        bytes.extend_from_slice(END_MAGIC);
    }

    /// Reads what ends a file of `file_bytes` bytes; says where its footer is only if one can be
    /// there.
    pub(crate) fn decode(bytes: &[u8], file_bytes: u64) -> Result<Self, DecodeError> {
        let mut fields = Fields::new(bytes);
        let trailer = Self {
            footer_position: fields.u64()?,
            footer_length: fields.u64()?,
            crc: fields.u32()?,
            runs: fields.u32()?,
            id: SegmentId::new(fields.u64()?),
            file_bytes: fields.u64()?,
        };
        if fields.take(END_MAGIC.len())? != END_MAGIC {
            return Err(fields.error("no segment ends here; is the file cut off?"));
        }
        if trailer.file_bytes != file_bytes {
            return Err(fields.error("the file is not as long as its end says"));
        }
        let end = trailer
            .footer_position
            .checked_add(trailer.footer_length)
            .and_then(|end| end.checked_add(TRAILER_BYTES as u64))
            .and_then(|end| end.checked_next_multiple_of(PAGE_BYTES as u64));
        let runs = u64::from(trailer.runs) * RUN_BYTES as u64;
        if trailer.footer_position < FRAMES_AT
            || end != Some(file_bytes)
            || trailer.footer_length < runs
        {
            return Err(fields.error("the footer is not where its end says"));
        }
        Ok(trailer)
    }
}

/// Reads the runs from `bytes`, which are everything from a footer on to the end of its file.
/// Positions of errors count from there.
pub(crate) fn decode_footer(bytes: &[u8], trailer: &Trailer) -> Result<Vec<Run>, DecodeError> {
    let crc_at = (bytes.len().saturating_sub(TRAILER_BYTES)) + TRAILER_CRC_AT;
    if crc_without(bytes, crc_at) != trailer.crc {
        return Err(DecodeError {
            at: 0,
            what: "the footer's checksum is wrong",
        });
    }
    let mut fields = Fields::new(bytes);
    let index = RUN_BYTES as u64 * u64::from(trailer.runs);
    let (mut runs, mut position) = (Vec::new(), FRAMES_AT);
    let mut index_at = trailer.footer_position + index;
    for _ in 0..trailer.runs {
        let run = Run::decode(&mut fields, trailer.id, index_at)?;
        let end = run.position.checked_add(run.length);
        let end = end.filter(|_| run.position == position && run.length > 0);
        position = end.ok_or(fields.error("a run does not begin where the one before ends"))?;
        if run.base >= run.end || run.batches == 0 || run.index_entries == 0 {
            return Err(fields.error("a run holds no batch"));
        }
        index_at += u64::from(run.index_entries) * INDEX_ENTRY_BYTES as u64;
        runs.push(run);
    }
    if position != trailer.footer_position
        || index_at != trailer.footer_position + trailer.footer_length
    {
        return Err(fields.error("the runs do not make up the segment"));
    }
    for run in &runs {
        decode_index_from(&mut fields, run)?;
    }
    Ok(runs)
}

impl Run {
    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.partition.topic.value().to_le_bytes());
        bytes.extend_from_slice(&self.partition.partition.value().to_le_bytes());
        bytes.extend_from_slice(&self.base.value().to_le_bytes());
        bytes.extend_from_slice(&self.end.value().to_le_bytes());
        bytes.extend_from_slice(&self.records.to_le_bytes());
        bytes.extend_from_slice(&self.batches.to_le_bytes());
        bytes.extend_from_slice(&self.batch_bytes.to_le_bytes());
        bytes.extend_from_slice(&self.first_time.value().to_le_bytes());
        bytes.extend_from_slice(&self.last_time.value().to_le_bytes());
        bytes.extend_from_slice(&self.position.to_le_bytes());
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&self.index_entries.to_le_bytes());
        bytes.extend_from_slice(&self.index_crc.to_le_bytes());
    }

    fn decode(
        fields: &mut Fields<'_>,
        segment: SegmentId,
        index_at: u64,
    ) -> Result<Self, DecodeError> {
        let partition = TopicPartition {
            topic: TopicId::new(fields.u64()?),
            partition: PartitionId::new(fields.u32()?),
        };
        Ok(Self {
            partition,
            segment,
            base: Offset::new(fields.u64()?),
            end: Offset::new(fields.u64()?),
            records: fields.u64()?,
            batches: fields.u32()?,
            batch_bytes: fields.u64()?,
            first_time: Timestamp::new(fields.i64()?),
            last_time: Timestamp::new(fields.i64()?),
            position: fields.u64()?,
            length: fields.u64()?,
            index_at,
            index_entries: fields.u32()?,
            index_crc: fields.u32()?,
        })
    }

    /// Bytes of its sparse index.
    pub(crate) fn index_bytes(&self) -> usize {
        self.index_entries as usize * INDEX_ENTRY_BYTES
    }

    /// Where in the file its frames end.
    pub(crate) fn frames_end(&self) -> u64 {
        self.position + self.length
    }

    /// How many bytes of batches it holds from that offset on, about, where compaction has taken
    /// nothing from there on: its records below may be few and far between.
    pub(crate) fn bytes_from(&self, from: Offset) -> u64 {
        if self.end <= from {
            return 0;
        }
        let above = self.end.since(from.max(self.base)).min(self.records);
        let part = u128::from(self.batch_bytes) * u128::from(above);
        u64::try_from(part / u128::from(self.records.max(1))).unwrap_or(self.batch_bytes)
    }
}

/// Reads the sparse index of a run from exactly its bytes.
pub(crate) fn decode_index(bytes: &[u8], run: &Run) -> Result<Vec<IndexEntry>, DecodeError> {
    decode_index_from(&mut Fields::new(bytes), run)
}

fn decode_index_from(fields: &mut Fields<'_>, run: &Run) -> Result<Vec<IndexEntry>, DecodeError> {
    let mut own = fields.part(run.index_bytes())?;
    if crc32c::crc32c(own.clone().take(run.index_bytes())?) != run.index_crc {
        return Err(own.error("a sparse index's checksum is wrong"));
    }
    let mut entries: Vec<IndexEntry> = Vec::with_capacity(run.index_entries as usize);
    for _ in 0..run.index_entries {
        let entry = IndexEntry::decode(&mut own)?;
        let follows = match entries.last() {
            None => entry.position == run.position && entry.offset == run.base,
            Some(last) => last.position < entry.position && last.offset < entry.offset,
        };
        if !follows || entry.position >= run.frames_end() || entry.offset >= run.end {
            return Err(own.error("a sparse index points out of its run"));
        }
        entries.push(entry);
    }
    Ok(entries)
}

impl IndexEntry {
    fn encode(&self) -> [u8; INDEX_ENTRY_BYTES] {
        let mut bytes = [0; INDEX_ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.offset.value().to_le_bytes());
        bytes[8..16].copy_from_slice(&self.time.value().to_le_bytes());
        bytes[16..].copy_from_slice(&self.position.to_le_bytes());
        bytes
    }

    fn decode(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            offset: Offset::new(fields.u64()?),
            time: Timestamp::new(fields.i64()?),
            position: fields.u64()?,
        })
    }
}
