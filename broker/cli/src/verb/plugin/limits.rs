//! What the calls of a plugin may cost, as it is typed and shown.

use std::time::Duration;

use weir_wire::request::BindingLimits;

use crate::size;

const HEADING: &str = "Limits (without them the broker's own)";

/// Limits of a binding.
#[derive(Debug, clap::Args)]
pub struct LimitArgs {
    /// CPU time of one call, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = cpu_time, help_heading = HEADING)]
    cpu_time: Option<Duration>,
    /// Memory of one instance, such as 32MiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse_bytes, help_heading = HEADING)]
    memory: Option<u64>,
    /// Bytes that one call may return, such as 8MiB
    #[arg(long, value_name = "SIZE", value_parser = size::parse_bytes, help_heading = HEADING)]
    output_bytes: Option<u64>,
    /// Lines that it may log in a second
    #[arg(
        long,
        value_name = "LINES",
        value_parser = size::parse_count::<u64>,
        help_heading = HEADING
    )]
    log_rate: Option<u64>,
}

impl LimitArgs {
    /// For the broker; none if none was given.
    pub fn limits(&self) -> Option<BindingLimits> {
        let limits = BindingLimits {
            cpu_ms: self.cpu_time.map(|time| time.as_millis() as u64),
            memory_bytes: self.memory,
            output_bytes: self.output_bytes,
            log_lines_per_second: self.log_rate,
        };
        (limits != BindingLimits::default()).then_some(limits)
    }
}

/// Reads a CPU time: the broker counts whole milliseconds.
pub fn cpu_time(text: &str) -> Result<Duration, String> {
    let time = humantime::parse_duration(text);
    let time = time.map_err(|_| "write a time such as 50ms".to_owned())?;
    if time.subsec_nanos() % 1_000_000 != 0 {
        return Err("CPU time is counted in whole milliseconds".to_owned());
    }
    Ok(time)
}

/// The limits that are set, as they are typed; nothing where the broker's own hold.
pub fn text(limits: Option<&BindingLimits>) -> String {
    let Some(limits) = limits else {
        return String::new();
    };
    let parts = [
        limits.cpu_ms.map(|ms| format!("cpu-time={ms}ms")),
        limits
            .memory_bytes
            .map(|bytes| format!("memory={}", size_text(bytes))),
        limits
            .output_bytes
            .map(|bytes| format!("output-bytes={}", size_text(bytes))),
        limits
            .log_lines_per_second
            .map(|lines| format!("log-rate={lines}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// A size in one word, and exact.
fn size_text(bytes: u64) -> String {
    match bytes {
        0 => "0".to_owned(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}KiB", bytes >> 10),
        _ => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_shown_as_they_are_typed() {
        assert_eq!(text(None), "");
        let limits = BindingLimits {
            cpu_ms: Some(50),
            memory_bytes: Some(32 << 20),
            output_bytes: Some(1000),
            log_lines_per_second: None,
        };
        let shown = text(Some(&limits));
        assert_eq!(shown, "cpu-time=50ms memory=32MiB output-bytes=1000");
        assert_eq!(size::parse_bytes("32MiB"), Ok(32 << 20));
    }
}
