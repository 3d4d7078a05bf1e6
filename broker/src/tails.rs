//! Who waits for new records of which partition.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use weir_wire::id::{TopicId, TopicPartition};

/// Wakes subscriptions when the high-water mark of a partition moves.
#[derive(Debug, Default)]
pub(crate) struct Tails {
    waiting: Mutex<HashMap<TopicPartition, Vec<Arc<Notify>>>>,
}

/// A registration; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Tail {
    tails: Arc<Tails>,
    partitions: Vec<TopicPartition>,
    notify: Arc<Notify>,
}

impl Tails {
    /// Wakes whoever reads one of these partitions.
    pub(crate) fn wake(&self, partitions: impl IntoIterator<Item = TopicPartition>) {
        let waiting = self.waiting.lock();
        if waiting.is_empty() {
            return;
        }
        for partition in partitions {
            // A permit is kept for a reader that is not waiting at the moment.
            waiting
                .get(&partition)
                .into_iter()
                .flatten()
                .for_each(|notify| notify.notify_one());
        }
    }

    /// Wakes whoever reads a topic that is gone.
    pub(crate) fn wake_topic(&self, topic: TopicId) {
        let waiting = self.waiting.lock();
        let readers = waiting
            .iter()
            .filter(|(partition, _)| partition.topic == topic);
        readers
            .flat_map(|(_, readers)| readers)
            .for_each(|reader| reader.notify_one());
    }

    /// Registers one reader of several partitions.
    pub(crate) fn register(self: &Arc<Self>, partitions: Vec<TopicPartition>) -> Tail {
        let notify = Arc::new(Notify::new());
        let mut waiting = self.waiting.lock();
        for partition in &partitions {
            waiting.entry(*partition).or_default().push(notify.clone());
        }
        drop(waiting);
        Tail {
            tails: self.clone(),
            partitions,
            notify,
        }
    }
}

impl Tail {
    /// Waits until something was appended since the last time.
    pub(crate) async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let mut waiting = self.tails.waiting.lock();
        for partition in &self.partitions {
            if let Some(readers) = waiting.get_mut(partition) {
                readers.retain(|reader| !Arc::ptr_eq(reader, &self.notify));
                if readers.is_empty() {
                    waiting.remove(partition);
                }
            }
        }
    }
}
