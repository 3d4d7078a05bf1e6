//! The first page of a WAL file: which file of which node this is.

use weir_wire::id::ShardId;

use super::FORMAT_VERSION;
use super::fields::{CRC_AT, DecodeError, Fields, crc_without};
use crate::ids::{FileSequence, NodeId, Nonce};
use crate::page_buf::PAGE_BYTES;

const MAGIC: &[u8; 8] = b"WEIRWAL\0";
const FIELDS_END: usize = 48;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) sequence: FileSequence,
    pub(crate) nonce: Nonce,
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    pub(crate) pages: u32,
}

impl FileHeader {
    pub(crate) fn encode(&self) -> [u8; PAGE_BYTES] {
        let mut bytes = Vec::with_capacity(PAGE_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.sequence.value().to_le_bytes());
        bytes.extend_from_slice(&self.nonce.value().to_le_bytes());
        bytes.extend_from_slice(&self.node.value().to_le_bytes());
        bytes.extend_from_slice(&self.shard.value().to_le_bytes());
        bytes.extend_from_slice(&self.pages.to_le_bytes());
        let mut page = [0; PAGE_BYTES];
        page[..FIELDS_END].copy_from_slice(&bytes);
        let crc = crc32c::crc32c(&page);
        page[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        page
    }

    pub(crate) fn decode(page: &[u8]) -> Result<Self, DecodeError> {
        let (mut fields, stated) = Fields::begin(page, MAGIC, "it is not a WAL file of weir")?;
        let header = Self {
            sequence: FileSequence::new(fields.u64()?),
            nonce: Nonce::new(fields.u64()?),
            node: NodeId::new(fields.u64()?),
            shard: ShardId::new(fields.u32()?),
            pages: fields.u32()?,
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
