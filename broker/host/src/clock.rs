//! The one file of this crate that reads clocks.

use rustix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use weir_wire::id::Timestamp;

/// Now, for wall-clock backstops and idle times.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The time of day, for people.
pub(crate) fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis());
    Timestamp::new(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// The processor time that this thread has used. A plugin that was merely descheduled on a busy
/// machine has used none.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}
