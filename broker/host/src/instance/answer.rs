//! Every answer of a plugin is checked here, count and range, so that nothing it returns can index
//! out of bounds. What passes becomes one number per record.

use super::call::Failure;
use crate::contract::{ABSENT, KeySpans, WireBatch};
use weir_wire::placement::OrderingKey;

pub(super) fn take_filter(kept: &[u8], count: u32, values: &mut Vec<u64>) -> Result<(), Failure> {
    check_count(kept.len(), count)?;
    if let Some((index, other)) = kept.iter().enumerate().find(|(_, kept)| **kept > 1) {
        let message = format!("the plugin answered {other} for record {index}, neither 0 nor 1");
        return Err(Failure::Answered(message));
    }
    values.extend(kept.iter().map(|kept| u64::from(*kept)));
    Ok(())
}

pub(super) fn take_routes(
    sets: &[u64],
    count: u32,
    routes: usize,
    values: &mut Vec<u64>,
) -> Result<(), Failure> {
    check_count(sets.len(), count)?;
    let undeclared = if routes >= 64 { 0 } else { u64::MAX << routes };
    if let Some((index, set)) = sets
        .iter()
        .enumerate()
        .find(|(_, set)| **set & undeclared != 0)
    {
        let route = (set & undeclared).trailing_zeros();
        return Err(Failure::Answered(format!(
            "the plugin answered route {route} for record {index}, but {routes} are declared"
        )));
    }
    values.extend_from_slice(sets);
    Ok(())
}

pub(super) fn take_keys(
    keys: &KeySpans,
    batch: &WireBatch<'_>,
    values: &mut Vec<u64>,
) -> Result<(), Failure> {
    check_count(keys.spans.len() / 2, batch.count)?;
    check_count(keys.spans.len().div_ceil(2), batch.count)?;
    let arena = if keys.arena.is_empty() {
        batch.arena
    } else {
        &keys.arena
    };
    let before = values.len();
    for (index, span) in keys.spans.as_chunks::<2>().0.iter().enumerate() {
        let [start, length] = *span;
        if length == ABSENT {
            values.push(OrderingKey::NONE.value());
            continue;
        }
        let bytes = arena
            .get(start as usize..)
            .and_then(|rest| rest.get(..length as usize));
        let Some(bytes) = bytes else {
            values.truncate(before);
            return Err(Failure::Answered(format!(
                "the plugin answered a key outside its bytes for record {index}"
            )));
        };
        values.push(OrderingKey::hash(bytes).value());
    }
    Ok(())
}

fn check_count(answered: usize, count: u32) -> Result<(), Failure> {
    if answered == count as usize {
        return Ok(());
    }
    let message = format!("the plugin answered {answered} verdicts for {count} records");
    Err(Failure::Answered(message))
}
