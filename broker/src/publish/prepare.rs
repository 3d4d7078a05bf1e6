//! What happens to a request before it is sequenced: the batch is checked, the hooks of the
//! addressed topic run (`hooks.rs`), the records get their places.

use std::sync::Arc;

use weir_core::place::{Batch, Decisions, PlaceError, Placed, Target, place};
use weir_wire::batch::{BatchHeader, Compression, CompressionError, Verified, verify};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::PartitionId;
use weir_wire::limits::{BATCH_INFLATED_MAX, BATCH_RECORDS_MAX};

use super::hooks::{self, Room, Stop};
use super::{Flight, Prepared, Turn, overloaded};
use crate::fault::IntoFault;
use crate::state::Shared;
use crate::topics::TopicView;

/// Runs everything that comes before the sequencer.
pub(super) async fn prepare(shared: Arc<Shared>, mut flight: Flight) -> Flight {
    let mut turn = std::mem::take(&mut flight.turn);
    flight.prepared = match shared.topics.view(flight.producer.topic) {
        Some(view) => run(&shared, &view, &flight, &mut turn).await,
        None => Prepared::Refused {
            epoch: None,
            fault: Fault::new(ErrorCode::UnknownTopic, "the topic was deleted meanwhile"),
        },
    };
    flight.turn = turn;
    flight
}

/// Counts the records of a one-way request that got lost.
pub(crate) fn count_lost(shared: &Shared, batch: &[u8]) {
    let count = BatchHeader::parse(batch).map_or(0, |header| header.count);
    shared.metrics.one_way_lost.inc_by(u64::from(count));
}

async fn run(shared: &Shared, view: &TopicView, flight: &Flight, turn: &mut Turn) -> Prepared {
    // Held while hooks run: a batch of a few kilobytes may unfold to a thousand times as much.
    let mut room = None;
    if view.has_hooks() {
        let (bytes, count) = unfolded_max(flight.batch.as_slice());
        room = Room::within(shared, hooks::room_for(view, bytes, count)).await;
        if room.is_none() {
            return Prepared::Retry(overloaded(shared, hooks::CROWDED));
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
    let count = verified.header.count;
    let result = match check_partition(view, flight.partition) {
        Err(fault) => Err(Stop::Refuse(fault)),
        Ok(()) => match room {
            Some(room) => hooks::run(view, flight, verified, room, turn).await,
            None => place_by_key(view, flight, &verified).map(|placed| (placed, None)),
        },
    };
    let epoch = view.epoch;
    match result {
        Ok((placed, _)) if flight.all_or_nothing && !placed.refusals().is_empty() => {
            let reason = &placed.refusals()[0].reason;
            let text = format!("all or nothing was asked for, and a record was refused: {reason}");
            let fault = Fault::new(ErrorCode::RecordsRefused, text);
            Prepared::Refused {
                epoch: Some(epoch),
                fault,
            }
        }
        Ok((placed, held)) => Prepared::Placed {
            epoch,
            placed,
            count,
            _held: held,
        },
        Err(Stop::Refuse(fault)) => Prepared::Refused {
            epoch: Some(epoch),
            fault,
        },
        Err(Stop::Retry(fault)) => Prepared::Retry(fault),
    }
}

/// The most that a batch's records may take once they are uncompressed, and how many there are.
fn unfolded_max(batch: &[u8]) -> (usize, u32) {
    let Ok(header) = BatchHeader::parse(batch) else {
        return (batch.len(), 0);
    };
    let bytes = match header.compression {
        Compression::None => batch.len(),
        _ => BATCH_INFLATED_MAX,
    };
    (bytes, header.count.min(BATCH_RECORDS_MAX))
}

impl From<PlaceError> for Stop {
    fn from(error: PlaceError) -> Self {
        let code = match &error {
            PlaceError::Answers { .. } | PlaceError::Lost { .. } => ErrorCode::PluginFailed,
            PlaceError::TooLarge
            | PlaceError::OutcomeTooLarge
            | PlaceError::PartTooLarge
            | PlaceError::TooManyPlaces { .. }
            | PlaceError::Compression(CompressionError::TooLarge(_)) => ErrorCode::BatchTooLarge,
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
    let batch = Batch::of(&verified.header, &verified.records);
    Ok(place(&batch, &Decisions::by_key(target, flight.sticky))?)
}
