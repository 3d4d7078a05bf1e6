//! The one place that reads the wall clock. Everything else takes tokio's time, which tests stop.

use std::time::{SystemTime, UNIX_EPOCH};

use weir_wire::id::Timestamp;

/// Now, as a record's timestamp; a clock set before 1970 gives negative ones.
pub(crate) fn timestamp() -> Timestamp {
    let millis = |duration: std::time::Duration| {
        i64::try_from(duration.as_millis()).expect("the clock is within 292 million years")
    };
    Timestamp::new(match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => millis(since),
        Err(before) => -millis(before.duration()),
    })
}
