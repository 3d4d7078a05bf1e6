//! Where a subscription is, partition by partition: what makes a resumed one skip nothing and
//! repeat nothing. No I/O.

use std::collections::HashMap;
use std::sync::Arc;

use weir_wire::id::{Offset, PartitionId, TopicId, TopicPartition};
use weir_wire::name::TopicName;
use weir_wire::subscribe::{Cursor, SubscribedPartition};

use super::error::SubscribeError;

/// Partitions of one subscription: as many as fit into the broker's reply.
#[derive(Clone, Debug, Default)]
pub(super) struct Cursors {
    partitions: HashMap<TopicPartition, Position>,
}

#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) topic: Arc<TopicName>,
    /// The next offset.
    pub(super) next: Offset,
}

impl Cursors {
    /// Takes over what the broker says it will read; what was known before must go on there.
    pub(super) fn begin(
        &mut self,
        partitions: &[SubscribedPartition],
    ) -> Result<(), SubscribeError> {
        let ids: HashMap<&TopicName, TopicId> =
            partitions.iter().map(|p| (&p.name, p.topic)).collect();
        for (known, position) in &self.partitions {
            match ids.get(&*position.topic) {
                Some(id) if *id == known.topic => {}
                Some(_) => {
                    return Err(SubscribeError::TopicRecreated {
                        topic: TopicName::clone(&position.topic),
                    });
                }
                None => return Err(protocol(format!("{} is left out", position.topic))),
            }
        }
        let mut names: HashMap<&TopicName, Arc<TopicName>> = HashMap::new();
        for partition in partitions {
            let key = TopicPartition {
                topic: partition.topic,
                partition: partition.partition,
            };
            match self.partitions.get(&key) {
                // It may only be further on if records before it are no longer held.
                Some(position) if partition.next < position.next => {
                    return Err(protocol(format!(
                        "{key} goes back to offset {}",
                        partition.next
                    )));
                }
                Some(_) => {}
                None => {
                    let name = names.entry(&partition.name);
                    let topic = name.or_insert_with(|| Arc::new(partition.name.clone()));
                    let position = Position {
                        topic: Arc::clone(topic),
                        next: partition.next,
                    };
                    self.partitions.insert(key, position);
                }
            }
        }
        Ok(())
    }

    /// Moves on to `next`; answers the topic's name, and where it was before.
    pub(super) fn advance(
        &mut self,
        topic: TopicId,
        partition: PartitionId,
        next: Offset,
    ) -> Result<(Arc<TopicName>, Offset), SubscribeError> {
        let key = TopicPartition { topic, partition };
        let position = self.partitions.get_mut(&key);
        let position = position.ok_or_else(|| protocol(format!("{key} was not asked for")))?;
        if next < position.next {
            return Err(protocol(format!("{key} goes back to offset {next}")));
        }
        let before = std::mem::replace(&mut position.next, next);
        Ok((Arc::clone(&position.topic), before))
    }

    /// Moves on to `next` in a partition that may have been added since the subscription began.
    pub(super) fn follow(&mut self, topic: &Arc<TopicName>, at: TopicPartition, next: Offset) {
        let position = self.partitions.entry(at).or_insert_with(|| Position {
            topic: Arc::clone(topic),
            next,
        });
        debug_assert!(
            position.next <= next,
            "the session hands over what it has checked"
        );
        position.next = next;
    }

    /// For the next `Subscribe`.
    pub(super) fn to_wire(&self) -> Vec<Cursor> {
        let partitions = self.partitions.iter();
        partitions
            .map(|(key, position)| Cursor {
                topic: key.topic,
                partition: key.partition,
                offset: position.next,
            })
            .collect()
    }

    pub(super) fn get(&self, topic: &TopicName, partition: PartitionId) -> Option<Offset> {
        let mut found = self.partitions.iter();
        found
            .find(|(key, position)| key.partition == partition && *position.topic == *topic)
            .map(|(_, position)| position.next)
    }

    pub(super) fn get_by_id(&self, topic: TopicId, partition: PartitionId) -> Option<Offset> {
        let key = TopicPartition { topic, partition };
        self.partitions.get(&key).map(|position| position.next)
    }
}

pub(super) const fn protocol(reason: String) -> SubscribeError {
    SubscribeError::Protocol { reason }
}

#[cfg(test)]
mod tests {
    use weir_wire::id::{Offset, PartitionId, TopicId};
    use weir_wire::subscribe::SubscribedPartition;

    use super::{Cursors, SubscribeError};

    fn partition(topic: u64, next: u64) -> SubscribedPartition {
        SubscribedPartition {
            topic: TopicId::new(topic),
            name: "orders".parse().unwrap(),
            partition: PartitionId::new(0),
            next: Offset::new(next),
            end: Offset::new(100),
        }
    }

    fn begun() -> Cursors {
        let mut cursors = Cursors::default();
        cursors.begin(&[partition(7, 10)]).unwrap();
        let (topic, partition) = (TopicId::new(7), PartitionId::new(0));
        let (_, before) = cursors.advance(topic, partition, Offset::new(15)).unwrap();
        assert_eq!(before, Offset::new(10));
        cursors
    }

    #[test]
    fn a_resumed_subscription_goes_on_where_it_was() {
        let mut cursors = begun();
        let sent = cursors.to_wire();
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].offset, Offset::new(15));
        cursors.begin(&[partition(7, 15)]).unwrap();
        // Records may have gone meanwhile; then it goes on at the first that is held.
        cursors.begin(&[partition(7, 20)]).unwrap();
    }

    #[test]
    fn a_broker_that_goes_back_is_not_believed() {
        let mut cursors = begun();
        let back = cursors.begin(&[partition(7, 14)]).unwrap_err();
        assert!(matches!(back, SubscribeError::Protocol { .. }), "{back}");
        let (topic, partition) = (TopicId::new(7), PartitionId::new(0));
        assert!(cursors.advance(topic, partition, Offset::new(14)).is_err());
        let other = cursors.advance(TopicId::new(8), partition, Offset::new(20));
        assert!(other.is_err(), "a topic that was not asked for");
    }

    #[test]
    fn a_topic_created_anew_is_another_topic() {
        let error = begun().begin(&[partition(8, 0)]).unwrap_err();
        assert!(
            matches!(error, SubscribeError::TopicRecreated { .. }),
            "{error}"
        );
    }
}
