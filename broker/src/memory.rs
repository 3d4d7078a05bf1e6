//! How much memory this process has, as Linux tells it.

use std::path::Path;

use weir_log::{OpenMode, Vfs};

/// Resident bytes; `None` where `/proc` does not tell.
pub(crate) fn resident_bytes(vfs: &dyn Vfs) -> Option<u64> {
    // The file has no size before it is read.
    let statm = vfs
        .open(Path::new("/proc/self/statm"), OpenMode::Read)
        .ok()?;
    let mut text = [0; 128];
    let length = statm.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}
