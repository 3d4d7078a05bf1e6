//! A request on its way: where its records go, what its producer will be told, and the entry that
//! it becomes.

use bytes::Bytes;
use weir_core::dedup::FlightId;
use weir_core::place::{Batch, Decisions, Placed, Target, place};
use weir_core::shard::{LEADER_EPOCH, Plan, Shard, Turn};
use weir_log::{Append, Columns, EXTENT_BYTES_MIN, Entry, Op, PAGE_BYTES, PageBuf};
use weir_wire::batch::{Records, Verified, stamp, verify};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{PartitionId, TopicId};
use weir_wire::message::Message as _;
use weir_wire::placement::OrderingKey;
use weir_wire::produce::Produced;
use weir_wire::request::Error;

use super::{Flight, Prepared};
use crate::record;

/// What an operation takes at most, besides its bytes.
const OP_BYTES: usize = 128;

/// What an entry takes in the log, at most.
pub(super) fn size(entry: &Entry) -> usize {
    let op = |op: &Op| match op {
        Op::Append(append) => {
            let pages = append.batch.len().div_ceil(PAGE_BYTES) * PAGE_BYTES;
            if append.batch.len() < EXTENT_BYTES_MIN {
                append.batch.len() + OP_BYTES
            } else {
                pages + OP_BYTES
            }
        }
        Op::ProducerSequence { outcome, .. } => outcome.len() + OP_BYTES,
        Op::Metadata(bytes) => bytes.len() + OP_BYTES,
        _ => OP_BYTES,
    };
    OP_BYTES + entry.ops.iter().map(op).sum::<usize>()
}

pub(super) fn prepare(shard: &Shard, topic: TopicId, batch: &[u8], sticky: u32) -> Prepared {
    let Some(topic) = shard.catalog().topic(topic) else {
        let fault = Fault::new(ErrorCode::UnknownTopic, "the topic was deleted meanwhile");
        return Prepared::Refused(fault);
    };
    let verified = match verify(batch) {
        Ok(verified) => verified,
        Err(error) => {
            let fault = Fault::new(ErrorCode::CorruptBatch, error.to_string());
            return Prepared::Refused(fault);
        }
    };
    let target = Target {
        topic: topic.id,
        name: topic.name.clone(),
        partitions: topic.partitions,
        partition: None,
    };
    let count = verified.header.count;
    let keys = has_ordering_keys(topic.id).then(|| ordering_keys(&verified));
    let placed = if topic.partitions == 1 && keys.is_none() {
        Ok(Placed::whole(&target, PartitionId::new(0), count))
    } else {
        let decisions = Decisions {
            keys: keys.as_deref(),
            ..Decisions::by_key(&target, sticky)
        };
        let batch = Batch::of(&verified.header, &verified.records);
        place(&batch, &decisions)
    };
    match placed {
        Ok(placed) => Prepared::Placed(topic.binding_epoch, placed),
        Err(error) => Prepared::Refused(Fault::new(ErrorCode::CorruptBatch, error.to_string())),
    }
}

/// Whether the records of a topic get an ordering key, as a plugin would give it: of every other.
pub(crate) const fn has_ordering_keys(topic: TopicId) -> bool {
    topic.value().is_multiple_of(2)
}

fn ordering_keys(verified: &Verified<'_>) -> Vec<OrderingKey> {
    let records = Records::new(&verified.records, verified.header.count);
    records
        .map(|record| record.map_or(OrderingKey::NONE, |record| record::ordering_key(record.key)))
        .collect()
}

/// What the producer is told, encoded as it is stored.
pub(super) fn outcome(prepared: &Prepared, id: Option<FlightId>, plan: &Plan) -> Bytes {
    let (outcome, error) = match prepared {
        Prepared::Placed(_, placed) => (Some(placed.outcome(&plan.base_offsets)), None),
        Prepared::Refused(fault) => (None, Some(Error::from(fault))),
    };
    let produced = Produced {
        sequence: id.map(FlightId::sequence).unwrap_or_default(),
        outcome,
        error,
        throttle_ms: 0,
    };
    Bytes::from(produced.to_vec())
}

pub(super) fn operations(
    flight: &Flight,
    turn: Option<Turn>,
    plan: &Plan,
    outcome: &Bytes,
) -> Vec<Op> {
    let parts = match &flight.prepared {
        Prepared::Placed(_, placed) => placed.parts.as_slice(),
        Prepared::Refused(_) => &[],
    };
    let places = plan.base_offsets.iter().zip(&plan.append_times);
    let mut ops = Vec::with_capacity(parts.len() + 1);
    for (part, (&base_offset, &append_time)) in parts.iter().zip(places) {
        let mut batch = PageBuf::from_slice(part.batch.as_ref().unwrap_or(&flight.batch.to_vec()));
        let crc = stamp(batch.as_mut_slice(), base_offset, LEADER_EPOCH);
        ops.push(Op::Append(Append {
            partition: part.partition,
            base_offset,
            count: part.count,
            append_time,
            batch: batch.into(),
            crc,
            columns: Columns {
                ordering_keys: part.ordering_keys.clone(),
                origin: None,
            },
        }));
    }
    if let Some(Turn { session, sequence }) = turn {
        ops.push(Op::ProducerSequence {
            producer: session.producer,
            epoch: session.epoch,
            sequence,
            outcome: outcome.clone(),
        });
    }
    ops
}
