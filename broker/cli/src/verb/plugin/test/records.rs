//! The records that a plugin is tried on, in batches: of a file, or of a range of a topic. Never
//! more than a few batches are in memory.

use bytes::Bytes;
use weir_host::Input;
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN};
use weir_wire::id::{Offset, PartitionId};

use crate::bar::Bar;
use crate::exit::{Exit, Failure};
use crate::input::LineNumber;

mod file;
mod topic;

pub use file::FileRecords;
pub use topic::{End, TopicRecords};

/// Records of a batch: what producers send together when they are busy.
pub const BATCH_RECORDS: u32 = 1000;
/// Bytes at which a batch is full in any case.
const BATCH_BYTES: usize = 4 << 20;

/// Where a record stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line of the input.
    Line(LineNumber),
    /// A place in the topic.
    Offset(PartitionId, Offset),
}

/// Some records.
#[derive(Debug)]
pub struct Batch {
    /// As the host takes them.
    pub input: Input,
    /// Where each of them stood.
    pub places: Vec<Place>,
}

/// Where they come from.
#[derive(Debug)]
pub enum Records {
    /// A file or standard input.
    File(Box<FileRecords>),
    /// A topic.
    Topic(Box<TopicRecords>),
}

impl Records {
    /// The next batch; none at the end.
    pub async fn next(&mut self) -> Result<Option<Batch>, Failure> {
        match self {
            Self::File(file) => file.next().await,
            Self::Topic(topic) => topic.next().await,
        }
    }

    /// What shows how far it is.
    pub fn bar(&self) -> Bar {
        match self {
            Self::File(file) => Bar::new(file.progress()),
            Self::Topic(topic) => Bar::of_records(topic.total()),
        }
    }
}

/// A batch that is being filled.
#[derive(Debug)]
struct Assembly {
    builder: BatchBuilder,
    places: Vec<Place>,
    /// With `--limit`: how many records are still wanted.
    left: Option<u64>,
}

impl Assembly {
    fn new(limit: Option<u64>) -> Self {
        Self {
            builder: BatchBuilder::default(),
            places: Vec::new(),
            left: limit,
        }
    }

    /// Whether nothing more may be added before it is taken.
    fn is_full(&self) -> bool {
        self.is_last() || self.builder.count() >= BATCH_RECORDS || self.is_heavy()
    }

    fn is_heavy(&self) -> bool {
        self.builder.bytes_len() >= BATCH_BYTES
    }

    /// Whether as many records were added as are wanted.
    fn is_last(&self) -> bool {
        self.left == Some(0)
    }

    /// A record was added to the builder.
    fn added(&mut self, place: Place) {
        self.places.push(place);
        if let Some(left) = &mut self.left {
            *left -= 1;
        }
    }

    /// What there is; none if there is nothing.
    fn take(&mut self) -> Result<Option<Batch>, Failure> {
        if self.places.is_empty() {
            return Ok(None);
        }
        let builder = std::mem::take(&mut self.builder);
        let input = input(builder)?;
        let places = std::mem::take(&mut self.places);
        Ok(Some(Batch { input, places }))
    }
}

/// A batch as the host takes it.
pub fn input(builder: BatchBuilder) -> Result<Input, Failure> {
    let count = builder.count();
    let batch = builder.finish(Compression::None);
    let batch = Bytes::from(batch.map_err(|error| Failure::of(Exit::Failed, &error))?);
    let header = BatchHeader::parse(&batch).map_err(|error| Failure::of(Exit::Failed, &error))?;
    Ok(Input {
        base_timestamp: header.base_timestamp,
        count,
        records: batch.slice(HEADER_LEN..),
    })
}
