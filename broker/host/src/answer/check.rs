//! Every answer of a plugin is checked here, count and range, so that nothing it returns can index
//! out of bounds.

use crate::contract::{ABSENT, HeaderChange, KeySpans, Mapped, WireBatch};
use crate::instance::Failure;
use crate::text::one_line;
use weir_wire::placement::OrderingKey;

/// Bytes of the name of a header that an output gets, as of one that a plugin asks for.
const HEADER_NAME_MAX: usize = 256;
/// Bytes of the reason of a rejection that are kept.
const REASON_MAX: usize = 1024;
/// Header changes of one output.
const HEADER_CHANGES_MAX: usize = 64;

pub(super) fn kept(kept: &[u8], records: u32) -> Result<(), Failure> {
    count(kept.len(), records)?;
    match kept.iter().enumerate().find(|(_, kept)| **kept > 1) {
        None => Ok(()),
        Some((index, other)) => Err(Failure::answered(format!(
            "the plugin answered {other} for record {index}, neither 0 nor 1"
        ))),
    }
}

pub(super) fn routes(sets: &[u64], records: u32, routes: usize) -> Result<(), Failure> {
    count(sets.len(), records)?;
    let undeclared = if routes >= 64 { 0 } else { u64::MAX << routes };
    let beyond = |(_, set): &(usize, &u64)| **set & undeclared != 0;
    let Some((index, set)) = sets.iter().enumerate().find(beyond) else {
        return Ok(());
    };
    let route = (set & undeclared).trailing_zeros();
    Err(Failure::answered(format!(
        "the plugin answered route {route} for record {index}, but {routes} are declared"
    )))
}

pub(super) fn keys(
    keys: &KeySpans,
    batch: &WireBatch<'_>,
    values: &mut Vec<OrderingKey>,
) -> Result<(), Failure> {
    count(keys.spans.len() / 2, batch.count)?;
    count(keys.spans.len().div_ceil(2), batch.count)?;
    let arena = if keys.arena.is_empty() {
        batch.arena
    } else {
        &keys.arena
    };
    let mut outside = None;
    let spans = keys.spans.as_chunks::<2>().0.iter().enumerate();
    values.extend(spans.map(|(index, [start, length])| {
        if *length == ABSENT {
            return OrderingKey::NONE;
        }
        bytes(arena, *start, *length).map_or_else(
            || {
                outside.get_or_insert(index);
                OrderingKey::NONE
            },
            OrderingKey::hash,
        )
    }));
    outside.map_or(Ok(()), |index| {
        Err(Failure::answered(format!(
            "the plugin answered a key outside its bytes for record {index}"
        )))
    })
}

/// One verdict per record.
pub(super) fn count(answered: usize, records: u32) -> Result<(), Failure> {
    if answered == records as usize {
        return Ok(());
    }
    Err(Failure::answered(format!(
        "the plugin answered {answered} verdicts for {records} records"
    )))
}

/// Everything of a mapper's answer but the spans themselves, which are looked at when they are
/// followed. `one_each` is what a projection must answer.
pub(super) fn mapped(mapped: &Mapped, records: u32, one_each: bool) -> Result<(), Failure> {
    let Mapped {
        source,
        spans,
        headers,
        rejected,
        ..
    } = mapped;
    let outputs = source.len();
    if spans.len() != 4 * outputs {
        let spans = spans.len();
        return Err(Failure::answered(format!(
            "the plugin answered {spans} numbers of spans for {outputs} outputs, not four for each"
        )));
    }
    if one_each && !(rejected.is_empty() && source.iter().copied().eq(0..records)) {
        return Err(Failure::answered(format!(
            "a projection has exactly one output for each of the {records} records, in their \
             order, and rejects none"
        )));
    }
    if !source.is_sorted() || source.last().is_some_and(|last| *last >= records) {
        return Err(Failure::answered(format!(
            "the sources of the outputs must ascend and be less than {records}"
        )));
    }
    let ascend = rejected.is_sorted_by(|(one, _), (next, _)| one < next);
    if !ascend || rejected.last().is_some_and(|(last, _)| *last >= records) {
        return Err(Failure::answered(format!(
            "the rejected records must ascend and be less than {records}"
        )));
    }
    both(source, rejected)?;
    header_changes(headers, outputs)
}

/// No record is rejected and has outputs.
fn both(source: &[u32], rejected: &[(u32, String)]) -> Result<(), Failure> {
    for (index, _) in rejected {
        if source.binary_search(index).is_ok() {
            return Err(Failure::answered(format!(
                "record {index} is rejected and has outputs"
            )));
        }
    }
    Ok(())
}

fn header_changes(changes: &[HeaderChange], outputs: usize) -> Result<(), Failure> {
    let wrong = |what: String| Err(Failure::answered(what));
    let mut of_one = 0;
    let mut last = 0;
    for change in changes {
        let output = change.output;
        if output < last || output as usize >= outputs {
            return wrong(format!(
                "the changes of headers must ascend by output and name one of {outputs} outputs"
            ));
        }
        of_one = if output == last { of_one + 1 } else { 1 };
        last = output;
        if of_one > HEADER_CHANGES_MAX {
            return wrong(format!(
                "output {output} changes more than {HEADER_CHANGES_MAX} headers"
            ));
        }
        if change.name.len() > HEADER_NAME_MAX {
            return wrong(format!(
                "output {output} has a header whose name is longer than {HEADER_NAME_MAX} bytes"
            ));
        }
    }
    Ok(())
}

/// The bytes of a span.
pub(super) fn bytes(arena: &[u8], start: u32, length: u32) -> Option<&[u8]> {
    arena
        .get(start as usize..)
        .and_then(|rest| rest.get(..length as usize))
}

/// The reason of a rejection, cut if it is long.
pub(super) fn reason(reason: &str) -> String {
    one_line(reason, REASON_MAX)
}
