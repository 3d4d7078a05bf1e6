//! What comes out of a subscription: batches, and the records in them as slices of the batch.

use std::sync::Arc;

use bytes::Bytes;
use weir_wire::batch::{BatchHeader, HEADER_LEN, Records};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId};
use weir_wire::limits::{BATCH_INFLATED_MAX, BATCH_RECORDS_MAX};
use weir_wire::name::TopicName;
use weir_wire::placement::OrderingKey;

use super::error::SubscribeError;
use crate::record::TAG;

/// Where a batch's CRC begins to count: at the attributes, right behind itself (batch format v2).
const CRC_START: usize = 21;
const ORDERING_KEY_LEN: usize = 8;

/// A batch that came. Cloning shares its bytes.
#[derive(Clone, Debug)]
pub struct ReceivedBatch {
    topic: Arc<TopicName>,
    topic_id: TopicId,
    partition: PartitionId,
    header: BatchHeader,
    /// The records section, inflated.
    records: Bytes,
    ordering_keys: Bytes,
    append_time: Timestamp,
    /// Records before it were received already, or not asked for.
    from: Offset,
    next: Offset,
    end: Offset,
    payload_len: usize,
}

/// A record that came. Its bytes are slices of its batch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Received {
    /// The topic.
    pub topic: Arc<TopicName>,
    /// The partition.
    pub partition: PartitionId,
    /// The offset.
    pub offset: Offset,
    /// When the broker appended it.
    pub append_time: Timestamp,
    /// The producer's time.
    pub timestamp: Timestamp,
    /// The producer's key.
    pub key: Option<Bytes>,
    /// The hash of its ordering key, where that was asked for and is known.
    pub ordering_key: Option<OrderingKey>,
    /// Its headers, in order.
    pub headers: Vec<Header>,
    /// The value; `None` says that the key is gone.
    pub value: Option<Bytes>,
}

/// A header of a record that came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// The name; UTF-8 in every batch that a broker has checked.
    pub name: Bytes,
    /// The value; `None` is null.
    pub value: Option<Bytes>,
}

impl Header {
    /// The name as text.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(&self.name).unwrap_or_default()
    }
}

impl Received {
    /// The value of the last header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        let mut headers = self.headers.iter().rev();
        let found = headers.find(|header| header.name == name.as_bytes());
        found.and_then(|header| header.value.as_ref())
    }

    /// The tag: the value of the header `tag`.
    #[must_use]
    pub fn tag(&self) -> Option<&Bytes> {
        self.header(TAG)
    }
}

/// What came with a batch.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) topic: Arc<TopicName>,
    pub(super) message: weir_wire::subscribe::Records,
    /// Where the partition was before this batch.
    pub(super) from: Offset,
    pub(super) payload: Bytes,
}

impl ReceivedBatch {
    /// Checks a batch: its lengths, its CRC, its counts; inflates it.
    pub(super) fn decode(arrived: Arrived) -> Result<Self, SubscribeError> {
        let corrupt = |reason: String| SubscribeError::Corrupt {
            topic: TopicName::clone(&arrived.topic),
            partition: arrived.message.partition,
            offset: arrived.from,
            reason,
        };
        let payload = &arrived.payload;
        let header = BatchHeader::parse(payload).map_err(|error| corrupt(error.to_string()))?;
        if header.total_len != payload.len() {
            return Err(corrupt(format!(
                "its header says {} bytes",
                header.total_len
            )));
        }
        let covered = payload.get(CRC_START..).unwrap_or_default();
        if crc32c::crc32c(covered) != header.crc {
            return Err(corrupt("its CRC32C does not match".to_owned()));
        }
        let count = header.count;
        if count > BATCH_RECORDS_MAX || count != arrived.message.count {
            return Err(corrupt(format!(
                "{count} records are not what was announced"
            )));
        }
        if header.next_offset() > arrived.message.next {
            return Err(corrupt("it reaches further than announced".to_owned()));
        }
        let keys = arrived.message.ordering_keys.len();
        if keys != 0 && keys != count as usize * ORDERING_KEY_LEN {
            return Err(corrupt(format!(
                "{keys} bytes of ordering keys for {count} records"
            )));
        }
        let section = payload.slice(HEADER_LEN..);
        let records = match header.compression {
            weir_wire::batch::Compression::None => section,
            codec => {
                let inflated = codec.inflate(&section, BATCH_INFLATED_MAX);
                let inflated = inflated.map_err(|error| corrupt(error.to_string()))?;
                Bytes::from(inflated.into_owned())
            }
        };
        Ok(Self {
            topic: arrived.topic,
            topic_id: arrived.message.topic,
            partition: arrived.message.partition,
            header,
            records,
            ordering_keys: arrived.message.ordering_keys,
            append_time: arrived.message.append_time,
            from: arrived.from,
            next: arrived.message.next,
            end: arrived.message.end,
            payload_len: arrived.payload.len(),
        })
    }

    /// The topic.
    #[must_use]
    pub const fn topic(&self) -> &Arc<TopicName> {
        &self.topic
    }

    /// The topic's id.
    #[must_use]
    pub const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The partition.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Records in it; a few of the first ones may lie before where the subscription started.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.header.count
    }

    /// Its bytes as they came, header included, before inflating.
    #[must_use]
    pub const fn bytes_len(&self) -> usize {
        self.payload_len
    }

    /// When the broker appended it.
    #[must_use]
    pub const fn append_time(&self) -> Timestamp {
        self.append_time
    }

    /// The offset after everything it covers, kept or filtered out.
    #[must_use]
    pub const fn next(&self) -> Offset {
        self.next
    }

    /// The partition's high-water mark when it was sent.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// The records section as it is encoded, inflated: for readers that need no [`Received`].
    #[must_use]
    pub const fn records_section(&self) -> &Bytes {
        &self.records
    }

    /// What the batch's header says.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The records, each a set of slices of this batch.
    #[must_use]
    pub fn records(&self) -> ReceivedRecords {
        ReceivedRecords {
            batch: self.clone(),
            read: 0,
            index: 0,
            last: None,
        }
    }
}

impl IntoIterator for ReceivedBatch {
    type Item = Result<Received, SubscribeError>;
    type IntoIter = ReceivedRecords;

    fn into_iter(self) -> ReceivedRecords {
        ReceivedRecords {
            batch: self,
            read: 0,
            index: 0,
            last: None,
        }
    }
}

/// The records of a batch, in order. Ends behind the first error.
#[derive(Clone, Debug)]
pub struct ReceivedRecords {
    batch: ReceivedBatch,
    /// Bytes of the section that were read.
    read: usize,
    /// Records that were read.
    index: u32,
    last: Option<u32>,
}

impl Iterator for ReceivedRecords {
    type Item = Result<Received, SubscribeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.index >= self.batch.count() {
                return None;
            }
            match self.read_one() {
                // It was received before, or not asked for.
                Ok(record) if record.offset < self.batch.from => {}
                Ok(record) => return Some(Ok(record)),
                Err(reason) => {
                    let batch = &self.batch;
                    let delta = self.last.map_or(0, |last| last + 1);
                    self.index = u32::MAX;
                    return Some(Err(SubscribeError::Corrupt {
                        topic: TopicName::clone(&batch.topic),
                        partition: batch.partition,
                        offset: Offset::new(
                            batch
                                .header
                                .base_offset
                                .value()
                                .saturating_add(delta.into()),
                        ),
                        reason,
                    }));
                }
            }
        }
    }
}

impl ReceivedRecords {
    fn read_one(&mut self) -> Result<Received, String> {
        let batch = &self.batch;
        let section = batch.records.get(self.read..).unwrap_or_default();
        let mut records = Records::new(section, 1);
        let view = records.next().ok_or("a record is missing")?;
        let view = view.map_err(|error| error.to_string())?;
        if self.last.is_some_and(|last| view.offset_delta <= last)
            || view.offset_delta > batch.header.last_offset_delta
        {
            return Err("its offsets do not go up".to_owned());
        }
        let slice = |bytes: &[u8]| batch.records.slice_ref(bytes);
        let headers = view.headers().map(|(name, value)| Header {
            name: slice(name),
            value: value.map(slice),
        });
        let base = batch.header.base_offset.value();
        let offset = base.checked_add(view.offset_delta.into());
        let received = Received {
            topic: Arc::clone(&batch.topic),
            partition: batch.partition,
            offset: Offset::new(offset.ok_or("its offset is out of range")?),
            append_time: batch.append_time,
            timestamp: view.timestamp(batch.header.base_timestamp),
            key: view.key.map(slice),
            ordering_key: ordering_key(&batch.ordering_keys, self.index),
            headers: headers.collect(),
            value: view.value.map(slice),
        };
        self.last = Some(view.offset_delta);
        self.read = batch.records.len() - records.rest().len();
        self.index += 1;
        Ok(received)
    }
}

fn ordering_key(keys: &[u8], index: u32) -> Option<OrderingKey> {
    let at = index as usize * ORDERING_KEY_LEN;
    let bytes = keys.get(at..at + ORDERING_KEY_LEN)?;
    let hash = u64::from_le_bytes(bytes.try_into().ok()?);
    let key = OrderingKey::from_stored(hash);
    (key != OrderingKey::NONE).then_some(key)
}
