//! What is taken when somebody scrapes the metrics.

use std::sync::{Arc, Weak};

use weir_wire::id::{PartitionId, TopicPartition};

use crate::config::ByteSize;
use crate::metrics::{HighWaterMark, Sample, SubscriptionPlugins};
use crate::requests::{counters, status};
use crate::state::Shared;
use crate::subscribe::KindSum;

/// Partitions whose high-water marks are shown; the exporter shows no more than that.
const PARTITIONS_SHOWN_MAX: usize = 1000;

/// Lets the metrics take samples of this broker for as long as it lives.
pub(crate) fn install(shared: &Arc<Shared>) {
    let weak: Weak<Shared> = Arc::downgrade(shared);
    shared.metrics.sample_with(Box::new(move || {
        weak.upgrade().map(|shared| sample(&shared))
    }));
}

fn sample(shared: &Shared) -> Sample {
    let shard = shared.shard.read();
    let partitions = shard.catalog().topics().flat_map(|topic| {
        (0..topic.partitions)
            .map(PartitionId::new)
            .map(move |partition| (topic, partition))
    });
    let high_water_marks =
        partitions
            .take(PARTITIONS_SHOWN_MAX)
            .filter_map(|(topic, partition)| {
                let bounds = shared.reader.bounds(TopicPartition {
                    topic: topic.id,
                    partition,
                })?;
                Some(HighWaterMark {
                    topic: topic.name.clone(),
                    partition,
                    offset: bounds.high_water_mark,
                })
            });
    let high_water_marks = high_water_marks.collect();
    drop(shard);
    Sample {
        status: status(shared),
        buffered: ByteSize::bytes(shared.budget.used_bytes() as u64),
        high_water_marks,
        resting: shared.watch.resting(),
        subscription_plugins: shared.watch.kinds().into_iter().map(sum).collect(),
    }
}

fn sum(of_kind: KindSum) -> SubscriptionPlugins {
    let kind = of_kind.kind;
    SubscriptionPlugins {
        plugin: kind.plugin,
        version: kind.version,
        hook: kind.hook,
        topic: kind.read.to_string(),
        at_work: of_kind.at_work,
        resting: of_kind.resting,
        impure: of_kind.impure,
        counters: counters(of_kind.stats),
    }
}
