//! The first page of a WAL file: which file of which node this is.

use weir_wire::id::ShardId;

use super::FORMAT_VERSION;
use super::fields::{DecodeError, Fields};
use crate::ids::{FileSequence, NodeId, Nonce};
use crate::page_buf::PAGE_BYTES;

const MAGIC: &[u8; 8] = b"WEIRWAL\0";
/// What is wrong with a header of another format version.
pub(crate) const OTHER_FORMAT: &str = "its format version is not the one this weir reads (1)";
const CRC_AT: usize = 12;
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
        let mut fields = Fields::new(page);
        if fields.take(MAGIC.len())? != MAGIC {
            return Err(DecodeError {
                at: 0,
                what: "it is not a WAL file of weir",
            });
        }
        if fields.u16()? != FORMAT_VERSION {
            return Err(DecodeError {
                at: MAGIC.len(),
                what: OTHER_FORMAT,
            });
        }
        fields.u16()?;
        let stated = fields.u32()?;
        let header = Self {
            sequence: FileSequence::new(fields.u64()?),
            nonce: Nonce::new(fields.u64()?),
            node: NodeId::new(fields.u64()?),
            shard: ShardId::new(fields.u32()?),
            pages: fields.u32()?,
        };
        let rest = page
            .get(FIELDS_END..PAGE_BYTES)
            .ok_or(fields.error("it ends too early"))?;
        let before = page.get(..CRC_AT).expect("the fields were read");
        let after = page
            .get(CRC_AT + 4..FIELDS_END)
            .expect("the fields were read");
        let crc = [before, &[0; 4], after, rest]
            .into_iter()
            .fold(0, crc32c::crc32c_append);
        if crc != stated {
            return Err(DecodeError {
                at: CRC_AT,
                what: "its header's checksum is wrong",
            });
        }
        Ok(header)
    }
}
