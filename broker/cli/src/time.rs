//! Times and durations as people write them; the one file of the client that reads the clock.

use std::time::{Duration, SystemTime};

use jiff::civil;
use jiff::tz::TimeZone;
use rustix::time::{ClockId, clock_gettime};
use weir_wire::id::Timestamp;

/// Why a time could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time; write 2026-01-02T03:04:05Z, 2026-01-02 or, back from now, -1h")]
pub struct UnknownTime(String);

/// The present.
pub fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp::new(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The processor time that this thread has used: what a call costs, on a busy machine too.
pub fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Reads an absolute time (UTC where it names no zone), or a time before `now`, such as `-1h`.
pub fn parse(text: &str, now: Timestamp) -> Result<Timestamp, UnknownTime> {
    let unknown = || UnknownTime(text.to_owned());
    if let Some(ago) = text.strip_prefix('-') {
        let ago = humantime::parse_duration(ago).map_err(|_| unknown())?;
        let ago = i64::try_from(ago.as_millis()).map_err(|_| unknown())?;
        return Ok(Timestamp::new(now.value().saturating_sub(ago)));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Ok(Timestamp::new(instant.as_millisecond()));
    }
    let civil = text
        .parse::<civil::DateTime>()
        .or_else(|_| text.parse::<civil::Date>().map(|date| date.at(0, 0, 0, 0)))
        .map_err(|_| unknown())?;
    let zoned = civil.to_zoned(TimeZone::UTC).map_err(|_| unknown())?;
    Ok(Timestamp::new(zoned.timestamp().as_millisecond()))
}

/// The time in RFC 3339, UTC, with milliseconds; the number itself where no calendar has it.
pub fn format(time: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(time.value()).map_or_else(
        |_| time.value().to_string(),
        |instant| format!("{instant:.3}"),
    )
}

/// Reads a duration such as `3s`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text);
    duration.map_err(|_| "write a time such as 500ms, 3s or 2m".to_owned())
}

/// Reads what [`format`] wrote.
pub fn parse_printed(text: &str) -> Option<Timestamp> {
    let number = || text.parse().ok().map(Timestamp::new);
    let instant = text.parse::<jiff::Timestamp>().ok();
    instant
        .map(|instant| Timestamp::new(instant.as_millisecond()))
        .or_else(number)
}

/// A duration for people, as they would type it: `2d 3h 4m`, never more than three parts.
pub fn format_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return format!("{}ms", duration.as_millis());
    }
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0).take(3);
    let parts: Vec<_> = parts
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::new(1_767_323_045_000);

    #[test]
    fn times_as_people_write_them() {
        for (text, expected) in [
            ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02T03:04:05.250+01:00", "2026-01-02T02:04:05.250Z"),
            ("2026-01-02T03:04:05", "2026-01-02T03:04:05.000Z"),
            ("2026-01-02", "2026-01-02T00:00:00.000Z"),
            ("-1h", "2026-01-02T02:04:05.000Z"),
            ("-7d", "2025-12-26T03:04:05.000Z"),
        ] {
            let time = parse(text, NOW).map(format);
            assert_eq!(time, Ok(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "-", "yesterday", "-1 fortnight", "2026-13-01"] {
            assert_eq!(parse(text, NOW), Err(UnknownTime(text.to_owned())));
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        for value in [0, -1, NOW.value(), i64::MAX] {
            let time = Timestamp::new(value);
            assert_eq!(parse_printed(&format(time)), Some(time));
        }
        assert_eq!(parse_printed("soon"), None);
    }

    #[test]
    fn durations_are_short() {
        let long = Duration::from_secs(3 * 86_400 + 4 * 3600 + 5 * 60 + 6);
        assert_eq!(format_duration(long), "3d 4h 5m");
        assert_eq!(format_duration(Duration::from_secs(30 * 86_400)), "30d");
        assert_eq!(format_duration(Duration::from_millis(61_500)), "1m 1s");
        assert_eq!(format_duration(Duration::from_micros(1500)), "1ms");
        assert_eq!(parse_duration("1m 1s"), Ok(Duration::from_secs(61)));
        assert!(parse_duration("foo").is_err());
    }
}
