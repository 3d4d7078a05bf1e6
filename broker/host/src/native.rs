//! The tag filter in native Rust over the same stored bytes: what `weir bench plugin` compares
//! a plugin with.

use crate::Input;
use crate::walk::Walker;

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
