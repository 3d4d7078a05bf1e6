//! A checkpoint file: one section of the state, whole, as of one entry.

use weir_wire::id::{EntryIndex, ShardId};

use super::FORMAT_VERSION;
use super::fields::{CRC_AT, DecodeError, Fields, crc_without};
use super::name::SectionName;
use crate::ids::NodeId;

const MAGIC: &[u8; 8] = b"WEIRCKPT";

/// What stands before a section's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CheckpointHeader {
    pub(crate) node: NodeId,
    pub(crate) shard: ShardId,
    /// The last entry that is in it.
    pub(crate) index: EntryIndex,
    /// Bytes of the section.
    pub(crate) length: u64,
    /// Their CRC.
    pub(crate) crc: u32,
    pub(crate) name: SectionName,
}

impl CheckpointHeader {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let name = self.name.as_str().as_bytes();
        let name_length = u32::try_from(name.len()).expect("a name is short");
        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.node.value().to_le_bytes());
        out.extend_from_slice(&self.shard.value().to_le_bytes());
        out.extend_from_slice(&self.index.value().to_le_bytes());
        out.extend_from_slice(&self.length.to_le_bytes());
        out.extend_from_slice(&self.crc.to_le_bytes());
        out.extend_from_slice(&name_length.to_le_bytes());
        out.extend_from_slice(name);
        let crc = crc32c::crc32c(&out);
        out[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a checkpoint: its header, and its section's bytes.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), DecodeError> {
        let (mut fields, stated) = Fields::begin(bytes, MAGIC, "it is not a checkpoint of weir")?;
        let node = NodeId::new(fields.u64()?);
        let shard = ShardId::new(fields.u32()?);
        let index = EntryIndex::new(fields.u64()?);
        let length = fields.u64()?;
        let crc = fields.u32()?;
        let name_length = fields.length()?;
        let name = fields.take(name_length)?;
        let header = bytes.get(..fields.at()).expect("the fields were read");
        if crc_without(header, CRC_AT) != stated {
            return Err(DecodeError {
                at: CRC_AT,
                what: "its header's checksum is wrong",
            });
        }
        let header = Self {
            node,
            shard,
            index,
            length,
            crc,
            name: SectionName::from_bytes(name).ok_or(fields.error("its name is no word"))?,
        };
        if fields.left() as u64 != length {
            return Err(fields.error("it is not as long as it says"));
        }
        let at = fields.at();
        let section = fields.take(fields.left())?;
        if crc32c::crc32c(section) != crc {
            return Err(DecodeError {
                at,
                what: "its checksum is wrong",
            });
        }
        Ok((header, section))
    }
}
