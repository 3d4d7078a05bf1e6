//! One transform over the records of a request: what it made of them, what it dropped and
//! rejected, and what goes on although it failed.

use bytes::Bytes;
use weir_host::{RecordFailure, Rejection, Transformed};
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, Records};
use weir_wire::error::{ErrorCode, Fault};
use weir_wire::id::Timestamp;
use weir_wire::produce::{REFUSAL_DROPPED, REFUSAL_REJECTED};

use super::{Failed, Flow, Room, Stop, per_record, ready, stop};
use crate::topics::Binding;

/// Runs the transform; the records are then what it made of them.
pub(super) async fn run<'a>(
    flow: &mut Flow<'a>,
    binding: &'a Binding,
    room: &mut Room<'_>,
) -> Result<(), Stop> {
    let bound = ready(binding)?;
    if flow.count == 0 {
        return Ok(());
    }
    let made = bound.transform(flow.input()).await;
    let made = made.map_err(|error| stop(binding, &error))?;
    let noted = made.count as usize * per_record(flow.view);
    room.make(flow.section.len() + made.records.len() + noted)?;
    // Byte for byte what they were: a batch stays its producer's.
    if made.unchanged {
        return Ok(());
    }
    let Transformed {
        records,
        count,
        sources,
        rejected,
        failures,
        ..
    } = made;
    let going_on = account(flow, binding, &sources, rejected, failures)?;
    let mut next = Next {
        base_timestamp: flow.base_timestamp,
        section: records,
        sources,
    };
    debug_assert_eq!(next.sources.len(), count as usize);
    if !going_on.is_empty() {
        next = next.with(flow, &going_on).map_err(malformed)?;
    }
    let sources = next.sources.iter().map(|index| flow.source(*index));
    let sources: Vec<u32> = sources.collect();
    flow.base_timestamp = next.base_timestamp;
    flow.count = sources.len() as u32;
    flow.section = next.section;
    flow.sources = Some(sources);
    Ok(())
}

/// Notes why records are not among the outputs; answers those that go on although the plugin
/// failed on them.
fn account<'a>(
    flow: &mut Flow<'a>,
    binding: &'a Binding,
    sources: &[u32],
    rejected: Vec<Rejection>,
    failures: Vec<RecordFailure>,
) -> Result<Vec<u32>, Stop> {
    let mut sources = sources.iter().copied().peekable();
    let mut rejected = rejected.into_iter().peekable();
    let mut failures = failures.into_iter().peekable();
    let mut going_on = Vec::new();
    for index in 0..flow.count {
        let mut made = false;
        while sources.next_if_eq(&index).is_some() {
            made = true;
        }
        if let Some(failure) = failures.next_if(|failure| failure.index == index) {
            if matches!(flow.fail(binding, failure)?, Failed::GoesOn) {
                going_on.push(index);
            }
        } else if let Some(rejection) = rejected.next_if(|rejection| rejection.index == index) {
            flow.refuse(index, REFUSAL_REJECTED, binding, rejection.reason.into());
        } else if !made {
            flow.refuse(index, REFUSAL_DROPPED, binding, "dropped by plugin".into());
        }
    }
    Ok(going_on)
}

/// The records as they are to be after a transform.
struct Next {
    base_timestamp: Timestamp,
    section: Bytes,
    /// For each the index of its record before.
    sources: Vec<u32>,
}

impl Next {
    /// The same with records that go on as they were, each at its place.
    fn with(self, before: &Flow<'_>, going_on: &[u32]) -> Result<Self, String> {
        let room = self.section.len() + 1024;
        let mut builder = BatchBuilder::with_capacity(room);
        let mut sources = Vec::with_capacity(self.sources.len() + going_on.len());
        let mut going_on = going_on.iter().copied().peekable();
        let mut old = (0..).zip(Records::new(&before.section, before.count));
        let new = Records::new(&self.section, self.sources.len() as u32);
        let mut put_old = |builder: &mut BatchBuilder, sources: &mut Vec<u32>, index: u32| {
            let record = old.find(|(at, _)| *at == index).map(|(_, record)| record);
            let record = record.ok_or("a record is missing")?;
            let record = record.map_err(|error| error.to_string())?;
            builder.push_body(record.timestamp(before.base_timestamp), record.body());
            sources.push(index);
            Ok::<(), String>(())
        };
        for (record, source) in new.zip(&self.sources) {
            while let Some(index) = going_on.next_if(|index| index < source) {
                put_old(&mut builder, &mut sources, index)?;
            }
            let record = record.map_err(|error| error.to_string())?;
            builder.push_body(record.timestamp(self.base_timestamp), record.body());
            sources.push(*source);
        }
        for index in going_on {
            put_old(&mut builder, &mut sources, index)?;
        }
        let batch = builder.finish(Compression::None);
        let batch = batch.map_err(|error| error.to_string())?;
        let header = BatchHeader::parse(&batch).map_err(|error| error.to_string())?;
        Ok(Self {
            base_timestamp: header.base_timestamp,
            section: Bytes::from(batch).slice(HEADER_LEN..),
            sources,
        })
    }
}

fn malformed(reason: String) -> Stop {
    let text = format!("what the hooks made of the batch cannot be read: {reason}");
    Stop::Refuse(Fault::new(ErrorCode::PluginFailed, text))
}
