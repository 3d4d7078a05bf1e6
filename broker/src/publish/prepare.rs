//! What happens to a request before it is sequenced: the batch is checked, the hooks of the
//! addressed topic run, the records get their places.

use std::sync::Arc;

use bytes::Bytes;
use weir_core::place::{Decisions, PlaceError, Placed, Refused, Routing, Target, place};
use weir_host::{CallError, Input, RecordFailure, Verdicts};
use weir_wire::batch::{BatchHeader, Compression, CompressionError, Verified, verify};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PartitionId;
use weir_wire::limits::BATCH_INFLATED_MAX;
use weir_wire::placement::OrderingKey;
use weir_wire::plugin::ErrorPolicy;

use super::{Flight, Prepared};
use crate::fault::IntoFault;
use crate::state::Shared;
use crate::topics::{Binding, TopicView};

/// Runs everything that comes before the sequencer.
pub(super) async fn prepare(shared: Arc<Shared>, mut flight: Flight) -> Flight {
    flight.prepared = match shared.topics.view(flight.producer.topic) {
        Some(view) => run(&shared, &view, &flight).await,
        None => Prepared::Refused {
            epoch: None,
            fault: Fault::new(ErrorCode::UnknownTopic, "the topic was deleted meanwhile"),
        },
    };
    flight
}

/// Counts the records of a one-way request that got lost.
pub(crate) fn count_lost(shared: &Shared, batch: &[u8]) {
    let count = BatchHeader::parse(batch).map_or(0, |header| header.count);
    shared.metrics.one_way_lost.inc_by(u64::from(count));
}

async fn run(shared: &Shared, view: &TopicView, flight: &Flight) -> Prepared {
    // Held while hooks run: a batch of a few kilobytes may unfold to a thousand times as much.
    let mut held = None;
    if view.placement_by_plugin() {
        let bytes = unfolded_max(flight.batch.as_slice());
        let deadline = shared.config.limits.request_deadline;
        held = shared.unfolded.hold_within(bytes, deadline).await;
        if held.is_none() {
            let text = "the broker has unfolded as many batches as it may; send more slowly";
            return Prepared::Retry(Fault::new(ErrorCode::Overloaded, text));
        }
    }
    let verified = match verify(flight.batch.as_slice()) {
        Ok(verified) => verified,
        Err(error) => {
            return Prepared::Refused {
                epoch: None,
                fault: error.into_fault(),
            };
        }
    };
    if let Some(held) = &mut held {
        held.shrink_to(verified.records.len());
    }
    let count = verified.header.count;
    let result = match check_partition(view, flight.partition) {
        Err(fault) => Err(Stop::Refuse(fault)),
        Ok(()) if view.placement_by_plugin() => run_hooks(view, flight, verified).await,
        Ok(()) => place_by_key(view, flight, &verified),
    };
    let epoch = view.epoch;
    match result {
        Ok(placed) if flight.all_or_nothing && !placed.refusals().is_empty() => {
            let reason = &placed.refusals()[0].reason;
            let text = format!("all or nothing was asked for, and a record was refused: {reason}");
            let fault = Fault::new(ErrorCode::RecordsRefused, text);
            Prepared::Refused {
                epoch: Some(epoch),
                fault,
            }
        }
        Ok(placed) => Prepared::Placed {
            epoch,
            placed,
            count,
        },
        Err(Stop::Refuse(fault)) => Prepared::Refused {
            epoch: Some(epoch),
            fault,
        },
        Err(Stop::Retry(fault)) => Prepared::Retry(fault),
    }
}

/// The most that a batch's records may take once they are uncompressed.
fn unfolded_max(batch: &[u8]) -> usize {
    match BatchHeader::parse(batch) {
        Ok(header) if header.compression != Compression::None => BATCH_INFLATED_MAX,
        _ => batch.len(),
    }
}

/// Why a request goes no further.
enum Stop {
    Refuse(Fault),
    Retry(Fault),
}

impl From<PlaceError> for Stop {
    fn from(error: PlaceError) -> Self {
        let code = match &error {
            PlaceError::Answers { .. } => ErrorCode::PluginFailed,
            PlaceError::TooLarge | PlaceError::Compression(CompressionError::TooLarge(_)) => {
                ErrorCode::BatchTooLarge
            }
            _ => ErrorCode::CorruptBatch,
        };
        Self::Refuse(Fault::new(code, error.to_string()))
    }
}

fn check_partition(view: &TopicView, partition: Option<PartitionId>) -> Result<(), Fault> {
    let Some(partition) = partition else {
        return Ok(());
    };
    let Target {
        name, partitions, ..
    } = &view.target;
    if view.placement_by_plugin() {
        let text = format!(
            "topic \"{name}\" leaves the choice of the partition to a plugin; \
             leave the partition out"
        );
        return Err(Fault::new(ErrorCode::PlacementByPlugin, text));
    }
    if partition.value() >= *partitions {
        let text = format!(
            "topic \"{name}\" has no partition {partition}; it has {partitions}, numbered from 0"
        );
        return Err(Fault::new(ErrorCode::UnknownPartition, text));
    }
    Ok(())
}

/// No plugin decides: the producer's partition, else the record's key.
fn place_by_key(
    view: &TopicView,
    flight: &Flight,
    verified: &Verified<'_>,
) -> Result<Placed, Stop> {
    let target = &view.target;
    let only = (target.partitions == 1).then_some(PartitionId::new(0));
    if let Some(partition) = flight.partition.or(only) {
        return Ok(Placed::whole(target, partition, verified.header.count));
    }
    let decisions = Decisions {
        addressed: target,
        routing: None,
        keys: None,
        refused: &[],
        sticky: flight.sticky,
    };
    Ok(place(&verified.header, &verified.records, &decisions)?)
}

async fn run_hooks(
    view: &TopicView,
    flight: &Flight,
    verified: Verified<'_>,
) -> Result<Placed, Stop> {
    let header = &verified.header;
    let records = Bytes::from(verified.records.into_owned());
    let input = Input {
        base_timestamp: header.base_timestamp,
        count: header.count,
        records: records.clone(),
    };
    let mut refused = Vec::new();
    let sets = match &view.route {
        None => None,
        Some(route) => {
            let bound = ready(&route.binding)?;
            let verdicts = bound.route(input.clone()).await;
            let verdicts = settle(&route.binding, verdicts, &mut refused)?;
            Some(verdicts.iter().map(|set| set.bits()).collect::<Vec<u64>>())
        }
    };
    let keys: Option<Vec<OrderingKey>> = match &view.key {
        None => None,
        Some(key) => Some(settle(key, ready(key)?.keys(input).await, &mut refused)?),
    };
    refused.sort_by_key(|refused: &Refused| refused.index);
    refused.dedup_by_key(|refused| refused.index);
    let routing = view
        .route
        .as_ref()
        .zip(sets.as_ref())
        .map(|(route, sets)| Routing {
            binding: route.binding.id,
            targets: &route.targets,
            sets,
        });
    let decisions = Decisions {
        addressed: &view.target,
        routing,
        keys: keys.as_deref(),
        refused: &refused,
        sticky: flight.sticky,
    };
    Ok(place(header, &records, &decisions)?)
}

fn ready(binding: &Binding) -> Result<&weir_host::Bound, Stop> {
    binding.bound.as_ref().map_err(|reason| {
        let text = format!(
            "binding {} (plugin \"{}\") cannot run: {reason}; bind it anew or unbind it",
            binding.id, binding.plugin
        );
        Stop::Refuse(Fault::new(ErrorCode::PluginFailed, text))
    })
}

/// Applies the binding's error policy to the records on which its hook failed.
fn settle<T>(
    binding: &Binding,
    verdicts: Result<Verdicts<T>, CallError>,
    refused: &mut Vec<Refused>,
) -> Result<Vec<T>, Stop> {
    let named = |text: String| {
        format!(
            "plugin \"{}\" (binding {}): {text}",
            binding.plugin, binding.id
        )
    };
    let verdicts = verdicts.map_err(|error| {
        let fault = |code| Fault::new(code, named(error.to_string()));
        if error.is_retryable() {
            Stop::Retry(fault(ErrorCode::Overloaded))
        } else {
            Stop::Refuse(fault(ErrorCode::PluginFailed))
        }
    })?;
    if let Some(failure) = verdicts.failures.first()
        && binding.on_error != ErrorPolicy::Drop
    {
        let text = named(format!(
            "record {} of the batch: {}",
            failure.index, failure.message
        ));
        return Err(Stop::Refuse(Fault::new(ErrorCode::PluginFailed, text)));
    }
    let dropped = verdicts
        .failures
        .into_iter()
        .map(|RecordFailure { index, message }| Refused {
            index,
            binding: binding.id,
            reason: message,
        });
    refused.extend(dropped);
    Ok(verdicts.values)
}
