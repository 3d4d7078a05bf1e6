//! The tag filter in native Rust over the same stored bytes: what `weir bench plugin` compares
//! a plugin with.

use crate::Input;
use weir_wire::batch::Records;

/// For each record whether its `tag` header is one of `tags`; `None` if the records are not what
/// they should be.
#[must_use]
pub fn tag_matches(input: &Input, tags: &[&str]) -> Option<Vec<bool>> {
    let mut verdicts = Vec::with_capacity(input.count as usize);
    for record in Records::new(&input.records, input.count) {
        let tag = record.ok()?.header("tag");
        verdicts.push(tag.is_some_and(|tag| tags.iter().any(|wanted| wanted.as_bytes() == tag)));
    }
    Some(verdicts)
}
