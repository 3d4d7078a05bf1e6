//! A block: one group commit. The header's first page, checked on its own, says how long the
//! block is, which partitions it touches and what it follows.

use weir_wire::id::{PartitionId, ShardId, TopicId, TopicPartition};

use super::FORMAT_VERSION;
use super::fields::{DecodeError, Fields, crc_without};
use crate::ids::{Lsn, Nonce};
use crate::page_buf::PAGE_BYTES;

const MAGIC: &[u8; 8] = b"WEIRBLCK";
const CRC_AT: usize = 20;
const NONCE_AT: usize = 32;
const FIXED: usize = 68;
const PER_PARTITION: usize = 12;
/// As many partitions as a header names, so that it fits its first page.
pub(crate) const PARTITIONS_NAMED_MAX: usize = 256;
/// The largest header.
pub(crate) const HEADER_BYTES_MAX: usize = FIXED + PER_PARTITION * PARTITIONS_NAMED_MAX;
const _: () = assert!(HEADER_BYTES_MAX <= PAGE_BYTES);

const FLAG_SEAL: u16 = 1;
const FLAG_MORE_PARTITIONS: u16 = 2;

/// What a block says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// It holds nothing and only states what is durable.
    pub(crate) seal: bool,
    /// It touches more partitions than `partitions` names.
    pub(crate) more_partitions: bool,
    pub(crate) pages: u32,
    pub(crate) head_length: u32,
    pub(crate) body_crc: u32,
    /// The header CRC of the block before; 0 for the first.
    pub(crate) previous: u32,
    pub(crate) nonce: Nonce,
    pub(crate) lsn: Lsn,
    /// What was known to be durable when this block was built.
    pub(crate) durable: Lsn,
    pub(crate) shard: ShardId,
    pub(crate) entries: u32,
    pub(crate) partitions: Vec<TopicPartition>,
}

impl BlockHeader {
    /// The length of a header that names `partitions`.
    pub(crate) fn length_for(partitions: usize) -> usize {
        FIXED + PER_PARTITION * partitions
    }

    pub(crate) fn length(&self) -> usize {
        Self::length_for(self.partitions.len())
    }

    pub(crate) fn bytes(&self) -> usize {
        self.pages as usize * PAGE_BYTES
    }

    /// The header's bytes and their CRC.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let flags = if self.seal { FLAG_SEAL } else { 0 }
            | if self.more_partitions {
                FLAG_MORE_PARTITIONS
            } else {
                0
            };
        let count = u32::try_from(self.partitions.len()).expect("at most PARTITIONS_NAMED_MAX");
        let mut bytes = Vec::with_capacity(self.length());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&self.pages.to_le_bytes());
        bytes.extend_from_slice(&self.head_length.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.body_crc.to_le_bytes());
        bytes.extend_from_slice(&self.previous.to_le_bytes());
        bytes.extend_from_slice(&self.nonce.value().to_le_bytes());
        bytes.extend_from_slice(&self.lsn.value().to_le_bytes());
        bytes.extend_from_slice(&self.durable.value().to_le_bytes());
        bytes.extend_from_slice(&self.shard.value().to_le_bytes());
        bytes.extend_from_slice(&self.entries.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
        for partition in &self.partitions {
            bytes.extend_from_slice(&partition.topic.value().to_le_bytes());
            bytes.extend_from_slice(&partition.partition.value().to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Whether a block of a file with that nonce seems to start here, sound or not.
    pub(crate) fn is_of(page: &[u8], nonce: Nonce) -> bool {
        let stated = page.get(NONCE_AT..NONCE_AT + 8);
        page.starts_with(MAGIC) && stated == Some(&nonce.value().to_le_bytes())
    }

    /// Reads the header at the start of `page` and its CRC.
    pub(crate) fn decode(page: &[u8]) -> Result<(Self, u32), DecodeError> {
        let mut fields = Fields::new(page);
        if fields.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError {
                at: 0,
                what: "no block starts here",
            });
        }
        let version = fields.u16()?;
        let flags = fields.u16()?;
        let pages = fields.u32()?;
        let head_length = fields.u32()?;
        let stated = fields.u32()?;
        let mut header = Self {
            seal: flags & FLAG_SEAL != 0,
            more_partitions: flags & FLAG_MORE_PARTITIONS != 0,
            pages,
            head_length,
            body_crc: fields.u32()?,
            previous: fields.u32()?,
            nonce: Nonce::new(fields.u64()?),
            lsn: Lsn::new(fields.u64()?),
            durable: Lsn::new(fields.u64()?),
            shard: ShardId::new(fields.u32()?),
            entries: fields.u32()?,
            partitions: Vec::new(),
        };
        let count = fields.length()?;
        if count > PARTITIONS_NAMED_MAX {
            return Err(fields.error("it names too many partitions"));
        }
        for _ in 0..count {
            header.partitions.push(TopicPartition {
                topic: TopicId::new(fields.u64()?),
                partition: PartitionId::new(fields.u32()?),
            });
        }
        let crc = crc_without(
            page.get(..fields.at()).expect("the fields were read"),
            CRC_AT,
        );
        if crc != stated {
            return Err(DecodeError {
                at: CRC_AT,
                what: "its header's checksum is wrong",
            });
        }
        if version != FORMAT_VERSION || flags & !(FLAG_SEAL | FLAG_MORE_PARTITIONS) != 0 {
            return Err(DecodeError {
                at: MAGIC.len(),
                what: "a newer weir wrote it",
            });
        }
        if header.length() + head_length as usize > header.bytes() {
            return Err(DecodeError {
                at: MAGIC.len(),
                what: "it is shorter than its head",
            });
        }
        Ok((header, crc))
    }

    /// The pages that header and head take; extents follow.
    pub(crate) fn head_region(&self) -> usize {
        (self.length() + self.head_length as usize).next_multiple_of(PAGE_BYTES)
    }
}
