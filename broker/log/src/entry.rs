//! What goes into the log: entries, their operations, and batches with their envelope.

use bytes::Bytes;
use weir_wire::id::{Offset, ProducerEpoch, ProducerId, Sequence, Timestamp, TopicPartition};

use crate::page_buf::PageBuf;

/// Batches from this size on get pages of their own in a block, written straight from their
/// buffer; smaller ones are copied beside their entry, so that they do not cost a page each.
pub const EXTENT_BYTES_MIN: usize = 16 << 10;

/// One atomic change: durable and visible whole, or not at all. The log gives it shard, term
/// and index in the order of submission.
#[derive(Debug, Default)]
pub struct Entry {
    /// What changes, in order.
    pub ops: Vec<Op>,
}

/// One part of an [`Entry`].
#[derive(Debug)]
#[non_exhaustive]
pub enum Op {
    /// A batch for one partition.
    Append(Append),
    /// A producer's request was sequenced, and this is what it was answered.
    ProducerSequence {
        /// The producer that sent the request.
        producer: ProducerId,
        /// Its session.
        epoch: ProducerEpoch,
        /// The request's number.
        sequence: Sequence,
        /// The answer, in a form the log does not know.
        outcome: Bytes,
    },
    /// A change of the catalog, in a form the log does not know.
    Metadata(Bytes),
    /// What lies below is given up: the partition begins here, unless it begins later already.
    Trim {
        /// The partition.
        partition: TopicPartition,
        /// Its first offset from now on, at most its next one.
        start: Offset,
    },
}

/// A batch and its envelope.
#[derive(Debug)]
pub struct Append {
    /// Where it goes.
    pub partition: TopicPartition,
    /// The offset of its first record: the partition's next one.
    pub base_offset: Offset,
    /// How many offsets it takes, at least 1.
    pub count: u32,
    /// The broker's time; never below that of the partition's batch before.
    pub append_time: Timestamp,
    /// The batch as it is stored and sent.
    pub batch: BatchBytes,
    /// CRC32C of all of `batch`. The caller knows it already; the log only checks it on reading.
    pub crc: u32,
    /// What hooks said about the records.
    pub columns: Columns,
}

/// Optional columns of the envelope.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// The ordering key of each record, as u64 in little-endian order.
    pub ordering_keys: Option<Bytes>,
    /// Which plugin versions ran.
    pub origin: Option<Bytes>,
}

/// A batch's bytes on their way to the disk: pages when large, plain shared bytes when small.
#[derive(Debug)]
pub struct BatchBytes(Inner);

#[derive(Debug)]
enum Inner {
    Small(Bytes),
    Large(PageBuf),
}

impl BatchBytes {
    /// How many bytes the batch has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_slice().len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match &self.0 {
            Inner::Small(bytes) => bytes,
            Inner::Large(pages) => pages.as_slice(),
        }
    }

    /// The padded pages, if the batch is written as an extent.
    pub(crate) fn extent(&self) -> Option<&[u8]> {
        match &self.0 {
            Inner::Small(_) => None,
            Inner::Large(pages) => Some(pages.padded()),
        }
    }

    /// What keeping the batch costs in memory.
    pub(crate) fn footprint(&self) -> usize {
        match &self.0 {
            Inner::Small(bytes) => bytes.len(),
            Inner::Large(pages) => pages.capacity(),
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self.0 {
            Inner::Small(bytes) => bytes,
            Inner::Large(pages) => pages.freeze(),
        }
    }
}

impl From<PageBuf> for BatchBytes {
    /// Free for large batches; small ones are copied, so that they do not hold a page each.
    fn from(mut pages: PageBuf) -> Self {
        if pages.len() < EXTENT_BYTES_MIN {
            return Self(Inner::Small(Bytes::copy_from_slice(pages.as_slice())));
        }
        pages.pad();
        Self(Inner::Large(pages))
    }
}

impl From<Bytes> for BatchBytes {
    /// Free for small batches; large ones are copied into pages.
    fn from(bytes: Bytes) -> Self {
        if bytes.len() < EXTENT_BYTES_MIN {
            return Self(Inner::Small(bytes));
        }
        PageBuf::from_slice(&bytes).into()
    }
}
