//! Records that say who they are: from an id to a record, and from stored batches back to ids.

use std::fmt;
use std::str::FromStr;

use weir_log::StoredBatch;
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, NewRecord, Records};
use weir_wire::id::{Offset, Timestamp};
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::placement::OrderingKey;

/// The header that names a record.
const ID_HEADER: &str = "id";

/// A request: who sent it, and the how many-th of that producer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId {
    /// Counts producers.
    pub producer: u32,
    /// Counts the requests of a producer.
    pub number: u32,
}

/// A record. The order of ids is the order of sending within a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordId {
    /// Its request.
    pub request: RequestId,
    /// Its place in it.
    pub index: u32,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.producer, self.number)
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.request, self.index)
    }
}

impl FromStr for RecordId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut numbers = text.splitn(3, '.').map(str::parse);
        let mut next = || match numbers.next() {
            Some(Ok(number)) => Ok(number),
            _ => Err(format!("{text:?} names no record")),
        };
        let request = RequestId {
            producer: next()?,
            number: next()?,
        };
        let index = next()?;
        Ok(Self { request, index })
    }
}

/// What a record is made of, besides its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// What its order is kept by, and what compaction goes by.
    pub key: Option<String>,
    /// Bytes of its value; `None` is a tombstone.
    pub size: Option<u32>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub id: RecordId,
    /// Where in its partition.
    pub offset: Offset,
    /// When its batch was appended.
    pub time: Timestamp,
    /// What it holds.
    pub content: Content,
}

/// Bytes that only this record has.
fn value(id: RecordId, size: u32) -> Vec<u8> {
    let seed = format!("{id}|");
    seed.bytes().cycle().take(size as usize).collect()
}

/// A batch as a producer sends it.
pub(crate) fn batch(
    request: RequestId,
    contents: &[Content],
    now: Timestamp,
    compression: Compression,
) -> Vec<u8> {
    let mut builder = BatchBuilder::default();
    for (index, content) in (0..).zip(contents) {
        let id = RecordId { request, index };
        let value = content.size.map(|size| value(id, size));
        let name = id.to_string();
        builder.push(
            now,
            &NewRecord {
                key: content.key.as_deref().map(str::as_bytes),
                value: value.as_deref(),
                headers: &[(ID_HEADER, name.as_bytes())],
            },
        );
    }
    builder
        .finish(compression)
        .expect("a small batch has a length")
}

/// What stands for a record's key in the envelope.
pub(crate) fn ordering_key(key: Option<&[u8]>) -> OrderingKey {
    key.map_or(OrderingKey::NONE, OrderingKey::hash)
}

/// Reads a stored batch, all of it, and trusts nothing in it. `keyed`: whether its envelope has
/// to hold ordering keys.
pub(crate) fn decode(stored: &StoredBatch, keyed: bool) -> Result<Vec<Found>, String> {
    let header = BatchHeader::parse(&stored.bytes).map_err(|error| error.to_string())?;
    let covered = header.next_offset().since(header.base_offset);
    if header.base_offset != stored.base_offset || covered != u64::from(stored.count) {
        let (base, count) = (stored.base_offset, stored.count);
        return Err(format!(
            "a batch stored as {base}+{count} says it is {header:?}"
        ));
    }
    let section = stored.bytes.get(HEADER_LEN..).unwrap_or_default();
    let section = header.compression.inflate(section, BATCH_INFLATED_MAX);
    let section = section.map_err(|error| error.to_string())?;
    let (mut found, mut keys) = (Vec::new(), Vec::new());
    for record in Records::new(&section, header.count) {
        let record = record.map_err(|error| error.to_string())?;
        let name = record.header(ID_HEADER).unwrap_or_default();
        let id: RecordId = String::from_utf8_lossy(name).parse()?;
        let size = record.value.map(|value| value.len() as u32);
        if let Some((bytes, size)) = record.value.zip(size)
            && bytes != value(id, size)
        {
            return Err(format!(
                "record {id} has another value than it was sent with"
            ));
        }
        keys.extend(ordering_key(record.key).value().to_le_bytes());
        let key = record
            .key
            .map(|key| String::from_utf8_lossy(key).into_owned());
        found.push(Found {
            id,
            offset: stored.base_offset.advance(record.offset_delta),
            time: stored.append_time,
            content: Content { key, size },
        });
    }
    let expected = keyed.then_some(keys.as_slice());
    if stored.columns.ordering_keys.as_deref() != expected {
        let base = stored.base_offset;
        return Err(format!(
            "the ordering keys of the batch at {base} are not its records'"
        ));
    }
    if found.len() != header.count as usize {
        return Err(format!(
            "a batch says it is {header:?} and holds {}",
            found.len()
        ));
    }
    Ok(found)
}
