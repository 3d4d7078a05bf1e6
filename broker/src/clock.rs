//! The only place where the broker reads the clock.

use std::time::SystemTime;

use weir_wire::id::Timestamp;

/// Now, in milliseconds since the Unix epoch.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::new(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Now, for what has the operating system's time: certificates.
pub(crate) fn system_time() -> SystemTime {
    SystemTime::now()
}
