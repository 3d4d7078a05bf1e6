//! What sample plugins do, in native Rust over the same stored bytes: what a plugin is compared
//! with when it is measured.

use crate::walk::Walker;
use crate::{Input, RouteSet};
use weir_wire::placement::OrderingKey;

/// For each record whether its `tag` header is one of `tags`; `None` if the records are not what
/// they should be. It reads records as projection does, so that the two differ by what the plugin
/// costs and not by how records are read.
#[must_use]
pub fn tag_matches(input: &Input, tags: &[&str]) -> Option<Vec<bool>> {
    let section = &input.records[..];
    let mut walker = Walker::new(section);
    // A count that lies must not reserve memory: a record has at least 7 bytes.
    let mut verdicts = Vec::with_capacity((input.count as usize).min(section.len() / 7 + 1));
    for _ in 0..input.count {
        let record = walker.record()?;
        let tag = walker
            .header(&record, b"tag")
            .and_then(|(start, end)| section.get(start..end));
        verdicts.push(tag.is_some_and(|tag| tags.iter().any(|wanted| wanted.as_bytes() == tag)));
    }
    Some(verdicts)
}

/// The ordering key of each record: the hash of its key. `None` if the records are not what they
/// should be.
#[must_use]
pub fn record_keys(input: &Input) -> Option<Vec<OrderingKey>> {
    let section = &input.records[..];
    let mut walker = Walker::new(section);
    let mut keys = Vec::with_capacity((input.count as usize).min(section.len() / 7 + 1));
    for _ in 0..input.count {
        let key = walker.record()?.key;
        let key = key.and_then(|(start, end)| section.get(start..end));
        keys.push(key.map_or(OrderingKey::NONE, OrderingKey::hash));
    }
    Some(keys)
}

/// The route of each record, one of so many, by a hash of its key; what has no key takes the route
/// of empty bytes. `None` if there are no routes, or the records are not what they should be.
#[must_use]
pub fn key_routes(input: &Input, routes: u8) -> Option<Vec<RouteSet>> {
    let section = &input.records[..];
    let mut walker = Walker::new(section);
    let mut sets = Vec::with_capacity((input.count as usize).min(section.len() / 7 + 1));
    for _ in 0..input.count {
        let key = walker.record()?.key;
        let key = key.and_then(|(start, end)| section.get(start..end));
        let position = spread(key.unwrap_or_default()).checked_rem(routes.into())?;
        sets.push(RouteSet::new(1_u64.checked_shl(position as u32)?));
    }
    Some(sets)
}

/// FNV-1a of 64 bits, then the finish of MurmurHash3: what the sample plugin hashes by.
fn spread(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, step);
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// For each record whether its value passes the test. `None` if a record has no value, if the test
/// cannot judge one, or if the records are not what they should be.
#[must_use]
pub fn value_matches(input: &Input, test: impl Fn(&[u8]) -> Option<bool>) -> Option<Vec<bool>> {
    let section = &input.records[..];
    let mut walker = Walker::new(section);
    let mut verdicts = Vec::with_capacity((input.count as usize).min(section.len() / 7 + 1));
    for _ in 0..input.count {
        let (start, end) = walker.record()?.value?;
        verdicts.push(test(section.get(start..end)?)?);
    }
    Some(verdicts)
}

/// The records with their values in upper case, as a new section: what a plugin that does the same
/// is compared with. `None` if the records are not what they should be.
#[must_use]
pub fn upper_values(input: &Input) -> Option<Vec<u8>> {
    let section = &input.records[..];
    let mut walker = Walker::new(section);
    let mut out = Vec::with_capacity(section.len());
    for _ in 0..input.count {
        let record = walker.record()?;
        // Upper case is as long as lower case, so lengths stay as they are.
        let start = out.len();
        out.extend_from_slice(section.get(record.start..record.end)?);
        if let Some((from, to)) = record.value {
            let value = start + (from - record.start)..start + (to - record.start);
            out.get_mut(value)?.make_ascii_uppercase();
        }
    }
    Some(out)
}
