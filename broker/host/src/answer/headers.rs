//! The headers of an output: those of its source, with the changes that the plugin asked for.

use crate::contract::HeaderChange;
use crate::walk::{RecordAt, Walker};
use weir_wire::varint::put_signed;

/// Writes the headers into `out`, as they stand in a record. `None` if those of the source are not
/// what they should be.
///
/// A header that is set goes behind the others, and the last change of a name counts: that is what
/// applying one change after the other comes to.
pub(super) fn changed(
    section: &[u8],
    record: &RecordAt,
    changes: &[HeaderChange],
    entries: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Option<()> {
    entries.clear();
    let mut count = 0;
    let mut headers = Walker::headers(section, record)?;
    for _ in 0..headers.count()? {
        let header = headers.header_at()?;
        let (from, to) = header.name;
        let name = section.get(from..to)?;
        if !changes.iter().any(|change| change.name.as_bytes() == name) {
            entries.extend_from_slice(section.get(header.start..header.end)?);
            count += 1;
        }
    }
    for (index, change) in changes.iter().enumerate() {
        let later = changes.get(index + 1..).unwrap_or_default();
        let overruled = later.iter().any(|later| later.name == change.name);
        if let (Some(value), false) = (&change.value, overruled) {
            put_signed(entries, change.name.len() as i64);
            entries.extend_from_slice(change.name.as_bytes());
            put_signed(entries, value.len() as i64);
            entries.extend_from_slice(value);
            count += 1;
        }
    }
    out.clear();
    put_signed(out, count);
    out.extend_from_slice(entries);
    Some(())
}
