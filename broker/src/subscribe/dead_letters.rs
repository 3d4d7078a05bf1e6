//! Records on which a filter or projection failed, kept in the dead-letter topic of the topic that
//! they were read from.

use std::collections::HashMap;

use weir_core::place::Part;
use weir_core::shard::ChangeRequest;
use weir_wire::batch::{BatchBuilder, Compression};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::{PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::name::TopicName;
use weir_wire::request::TopicSettings;

use crate::append;
use crate::fault::IntoFault;
use crate::sequence;
use crate::state::Shared;

/// What a batch of dead letters holds at most: as large records may come one by one, they may go
/// one by one. One that is larger by itself is compressed, as its producer must have done.
const BATCH_BYTES: usize = 256 << 10;

/// Where the dead letters of each topic of a subscription go.
#[derive(Debug, Default)]
pub(super) struct DeadLetters(HashMap<TopicId, Way>);

#[derive(Debug)]
struct Way {
    from: TopicName,
    to: TopicName,
}

/// A record for the dead-letter topic.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) timestamp: Timestamp,
    /// The record with the headers that say what became of it.
    pub(super) body: Vec<u8>,
}

impl DeadLetters {
    /// Makes the dead-letter topics of these topics that are not there yet.
    pub(super) async fn prepare(shared: &Shared, topics: &[TopicName]) -> Result<Self, Fault> {
        let mut ways = HashMap::new();
        for from in topics {
            let to = from.dead_letters().map_err(|error| {
                let text = format!(
                    "topic \"{from}\" cannot have a dead-letter topic: {error}; choose another \
                     error policy"
                );
                Fault::new(ErrorCode::InvalidArgument, text)
            })?;
            let (id, is_there) = {
                let shard = shared.shard.read();
                let topic = shard.existing_topic(from).map_err(IntoFault::into_fault)?;
                (topic.id, shard.existing_topic(&to).is_ok())
            };
            if !is_there {
                let request = ChangeRequest::CreateTopic {
                    name: to.clone(),
                    partitions: 1,
                    settings: TopicSettings::default(),
                };
                match sequence::change(shared, request, None).await {
                    // Somebody else was quicker.
                    Err(fault) if fault.code == ErrorCode::TopicExists => {}
                    made => drop(made?),
                }
            }
            let way = Way {
                from: from.clone(),
                to,
            };
            ways.insert(id, way);
        }
        Ok(Self(ways))
    }

    /// The name of a topic of the subscription.
    pub(super) fn name(&self, topic: TopicId) -> Option<&TopicName> {
        self.0.get(&topic).map(|way| &way.from)
    }

    /// Stores letters; returns once they are durable.
    pub(super) async fn store(
        &self,
        shared: &Shared,
        topic: TopicId,
        letters: &[Letter],
    ) -> Result<(), Fault> {
        let Some(way) = self.0.get(&topic) else {
            return Ok(());
        };
        let mut rest = letters;
        while !rest.is_empty() {
            let mut builder = BatchBuilder::default();
            while let Some((letter, behind)) = rest.split_first()
                && (builder.is_empty() || builder.bytes_len() + letter.body.len() <= BATCH_BYTES)
            {
                builder.push_body(letter.timestamp, &letter.body);
                rest = behind;
            }
            let to = {
                let shard = shared.shard.read();
                let topic = shard.existing_topic(&way.to);
                topic.map_err(|error| lost(way, &error.into_fault()))?.id
            };
            let count = builder.count();
            let compression = match builder.bytes_len() > BATCH_BYTES {
                true => Compression::Zstd,
                false => Compression::None,
            };
            let part = Part {
                partition: TopicPartition {
                    topic: to,
                    partition: PartitionId::new(0),
                },
                count,
                batch: Some(builder.finish(compression).map_err(|error| {
                    let fault = Fault::new(ErrorCode::BatchTooLarge, error.to_string());
                    lost(way, &fault)
                })?),
                ordering_keys: None,
            };
            let stored = append::append(shared, vec![part]).await;
            stored.map_err(|fault| lost(way, &fault))?;
            shared.metrics.dead_letters.inc_by(count.into());
        }
        Ok(())
    }
}

/// Why dead letters could not be stored.
fn lost(way: &Way, fault: &Fault) -> Fault {
    let Way { from, to } = way;
    let text = format!(
        "a record of topic \"{from}\" could not be kept in \"{to}\", so the subscription stops \
         before it: {}",
        fault.message
    );
    Fault {
        message: text,
        ..fault.clone()
    }
}
