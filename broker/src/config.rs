//! What a broker can be told: one TOML file whose every field has a default. The command line
//! overrides it field by field (see the verb `serve`). Wire types do not appear here.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use weir_host::HostConfig;

mod fields;
mod quantity;

pub use quantity::ByteSize;

/// The port that clients try when an address names none.
pub const DEFAULT_PORT: u16 = 7650;
/// The fewest files that may be kept open for reading.
const OPEN_FILES_MIN: usize = 8;
/// The smallest WAL file. An entry takes at most half of one, so with files of less than 17 MiB the
/// very largest batches (8 MiB) are refused as too large.
const WAL_FILE_MIN: ByteSize = ByteSize::mib(1);
/// With less, compacting a partition of many keys would take very many passes.
const COMPACTION_MIN: ByteSize = ByteSize::mib(1);
/// Room for the largest batch, a reply and what its hooks make of it.
const CONNECTION_BUFFER_MIN: ByteSize = ByteSize::mib(16);
/// A component with an allocator and a stack needs that much to start at all.
const PLUGIN_MEMORY_MIN: ByteSize = ByteSize::mib(1);
/// The host reserves addresses for that much in each instance.
const PLUGIN_MEMORY_MAX: ByteSize = ByteSize::bytes(weir_host::Limits::MEMORY_MAX as u64);
/// The compiler alone takes some tens of mebibytes.
const COMPILE_MEMORY_MIN: ByteSize = ByteSize::mib(128);
/// The protocol's bound.
const COMPONENT_MAX: ByteSize = ByteSize::bytes(weir_wire::limits::COMPONENT_BYTES_MAX as u64);

/// The configuration of a broker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where everything is kept.
    pub data_dir: PathBuf,
    /// The UDP address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The TCP address of `/metrics`, `/healthz` and `/readyz`; none without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metrics: Option<SocketAddr>,
    /// Whether everybody may do everything; on a loopback address only.
    pub no_auth: bool,
    /// Which log lines are written: a level, or levels per module, as in `info,weir_log=debug`.
    pub log_lines: String,
    /// Certificates.
    pub tls: TlsConfig,
    /// The log on disk.
    pub log: LogSection,
    /// What the broker refuses to hold more of.
    pub limits: LimitsSection,
    /// The plugin host.
    pub plugins: PluginSection,
}

/// Certificates: given ones, or (without `cert`) those that the broker makes for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate chain (PEM), the broker's own first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// The authorities (PEM) whose client certificates are as good as a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
    /// More host names and addresses for the certificate that the broker makes.
    pub names: Vec<String>,
}

/// The log on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSection {
    /// The size of a file of the write-ahead log.
    pub wal_file_bytes: ByteSize,
    /// How much of the newest records is kept in memory for subscribers.
    pub cache_bytes: ByteSize,
    /// The most that the write-ahead log holds before its records are in segments.
    pub wal_bytes: ByteSize,
    /// A partition that has so much in the write-ahead log gets a segment of its own; others
    /// share one.
    pub segment_own_bytes: ByteSize,
    /// The most that a segment holds which several are made into.
    pub segment_bytes: ByteSize,
    /// Memory for the indexes of segments.
    pub index_bytes: ByteSize,
    /// Memory for the keys of the partition that is being compacted.
    pub compaction_bytes: ByteSize,
    /// Files that are kept open for reading.
    pub open_files: usize,
    /// Records are refused when less is left on the disk than the smaller of this …
    pub reserve_bytes: ByteSize,
    /// … and this share of it, in percent.
    pub reserve_percent: u8,
    /// How often is looked for records that retention is to remove.
    #[serde(with = "quantity::span")]
    pub retention_interval: Duration,
    /// How much of the segments is read again per second to find damage; with 0 nothing is.
    pub scrub_bytes_per_second: ByteSize,
}

/// What the broker refuses to hold more of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsSection {
    /// Connections at one time.
    pub connections: u32,
    /// Streams that one connection may have open.
    pub streams_per_connection: u32,
    /// Bytes of requests under way, of all connections. As much again each for large frames on
    /// their way in, for batches unfolded for hooks, for batches unfolded for filters, for batches
    /// read from disk for subscriptions (of these two, a subscription takes at most a quarter), and
    /// for components on their way out.
    pub broker_buffer_bytes: ByteSize,
    /// Bytes of requests under way, of one connection.
    pub connection_buffer_bytes: ByteSize,
    /// Bytes of outcomes remembered for retries, of all producers; beyond, the producer idle
    /// longest is forgotten. The one in use is not: its last 128 outcomes stay, which take more
    /// than this if they are very large.
    pub dedup_bytes: ByteSize,
    /// A request older than this is refused as `overloaded`.
    #[serde(with = "quantity::span")]
    pub request_deadline: Duration,
}

/// The plugin host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PluginSection {
    /// CPU time of one call.
    #[serde(with = "quantity::span")]
    pub cpu_time: Duration,
    /// Time of one call by the clock: a backstop, because a busy machine is not the plugin's fault.
    #[serde(with = "quantity::span")]
    pub wall_time: Duration,
    /// Memory of one instance.
    pub memory_bytes: ByteSize,
    /// Memory of all instances together.
    pub total_memory_bytes: ByteSize,
    /// What a call may return, if that is more than four times what it was given.
    pub output_bytes: ByteSize,
    /// Lines that a binding may log in a second.
    pub log_lines_per_second: u32,
    /// The size of a component.
    pub component_bytes: ByteSize,
    /// Processor time of compiling one component, in whole seconds.
    #[serde(with = "quantity::span")]
    pub compile_time: Duration,
    /// Memory for compiling one component.
    pub compile_memory_bytes: ByteSize,
    /// Memory for what filters said about stored records; 0 remembers nothing.
    pub verdict_cache_bytes: ByteSize,
    /// Threads that run plugins.
    pub threads: usize,
    /// The program that compiles components; `weir` itself without.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiler: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./weir-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], DEFAULT_PORT)),
            metrics: None,
            no_auth: false,
            log_lines: "info".to_owned(),
            tls: TlsConfig::default(),
            log: LogSection::default(),
            limits: LimitsSection::default(),
            plugins: PluginSection::default(),
        }
    }
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            wal_file_bytes: ByteSize::mib(32),
            cache_bytes: ByteSize::mib(192),
            wal_bytes: ByteSize::mib(512),
            segment_own_bytes: ByteSize::mib(8),
            segment_bytes: ByteSize::mib(1024),
            index_bytes: ByteSize::mib(32),
            compaction_bytes: ByteSize::mib(64),
            open_files: 256,
            reserve_bytes: ByteSize::mib(1024),
            reserve_percent: 5,
            retention_interval: Duration::from_secs(10),
            scrub_bytes_per_second: ByteSize::mib(8),
        }
    }
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            connections: 1024,
            streams_per_connection: 512,
            broker_buffer_bytes: ByteSize::mib(256),
            connection_buffer_bytes: ByteSize::mib(64),
            dedup_bytes: ByteSize::mib(256),
            request_deadline: Duration::from_secs(10),
        }
    }
}

impl Default for PluginSection {
    fn default() -> Self {
        Self {
            cpu_time: Duration::from_millis(100),
            wall_time: Duration::from_secs(5),
            memory_bytes: ByteSize::mib(64),
            total_memory_bytes: ByteSize::mib(1024),
            output_bytes: ByteSize::mib(1),
            log_lines_per_second: 100,
            component_bytes: COMPONENT_MAX,
            compile_time: Duration::from_secs(60),
            compile_memory_bytes: ByteSize::mib(3072),
            verdict_cache_bytes: ByteSize::mib(64),
            threads: 4,
            compiler: None,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// No TOML, an unknown field, or a value of the wrong kind.
    #[error("{reason} (weir serve --print-config shows every field)")]
    Syntax {
        /// What and where, in one line.
        reason: String,
    },
    /// A field whose value cannot be.
    #[error("{field} = {value} cannot be: {reason}")]
    Value {
        /// Which field.
        field: &'static str,
        /// What it is set to.
        value: String,
        /// Why not, and what could be.
        reason: String,
    },
    /// Two fields that need each other.
    #[error("tls.cert and tls.key go together: set both (--tls-cert, --tls-key), or neither")]
    HalfCertificate,
    /// Names for a certificate that the broker does not make.
    #[error(
        "tls.names (--name) are for the certificate that the broker makes itself; a certificate \
         of your own (tls.cert) has its own names: leave one of the two out"
    )]
    NamesOfOwnCertificate,
    /// Everybody may do everything, from everywhere.
    #[error(
        "no_auth on {listen} would let every machine that reaches it upload code: listen on \
         127.0.0.1 or [::1], or leave authentication on"
    )]
    OpenToTheWorld {
        /// Where the broker was to listen.
        listen: SocketAddr,
    },
}

impl Config {
    /// Reads a TOML file's text and checks it.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        let config: Self = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            reason: one_line(text, &error),
        })?;
        config.validate()?;
        Ok(config)
    }

    /// The whole configuration as TOML that [`Config::from_toml`] reads back; what is not set, as
    /// comments.
    #[must_use]
    pub fn to_toml(&self) -> String {
        fields::print(self)
    }

    /// Checks what the types alone do not.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.no_auth && !self.listen.ip().is_loopback() {
            return Err(ConfigError::OpenToTheWorld {
                listen: self.listen,
            });
        }
        if self.tls.cert.is_some() != self.tls.key.is_some() {
            return Err(ConfigError::HalfCertificate);
        }
        if self.tls.cert.is_some() && !self.tls.names.is_empty() {
            return Err(ConfigError::NamesOfOwnCertificate);
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(invalid("data_dir", "\"\"", "name a directory"));
        }
        self.validate_limits()?;
        self.validate_plugins()
    }

    fn validate_log(&self) -> Result<(), ConfigError> {
        let log = &self.log;
        at_least("log.wal_file_bytes", log.wal_file_bytes, WAL_FILE_MIN)?;
        at_least("log.compaction_bytes", log.compaction_bytes, COMPACTION_MIN)?;
        if log.open_files < OPEN_FILES_MIN {
            return Err(invalid(
                "log.open_files",
                log.open_files,
                "readers need at least 8",
            ));
        }
        if log.reserve_percent > 50 {
            return Err(invalid(
                "log.reserve_percent",
                log.reserve_percent,
                "at most half of the disk can be kept free",
            ));
        }
        Ok(())
    }

    fn validate_limits(&self) -> Result<(), ConfigError> {
        let limits = &self.limits;
        self.validate_log()?;
        at_least(
            "limits.connection_buffer_bytes",
            limits.connection_buffer_bytes,
            CONNECTION_BUFFER_MIN,
        )?;
        at_least(
            "limits.broker_buffer_bytes",
            limits.broker_buffer_bytes,
            limits.connection_buffer_bytes,
        )?;
        if limits.connections == 0 {
            return Err(invalid("limits.connections", "0", "nobody could connect"));
        }
        if limits.streams_per_connection < 8 {
            return Err(invalid(
                "limits.streams_per_connection",
                limits.streams_per_connection,
                "a client needs at least 8",
            ));
        }
        positive("log.retention_interval", self.log.retention_interval)?;
        positive("limits.request_deadline", limits.request_deadline)
    }

    fn validate_plugins(&self) -> Result<(), ConfigError> {
        let plugins = &self.plugins;
        at_least(
            "plugins.memory_bytes",
            plugins.memory_bytes,
            PLUGIN_MEMORY_MIN,
        )?;
        at_most(
            "plugins.memory_bytes",
            plugins.memory_bytes,
            PLUGIN_MEMORY_MAX,
        )?;
        at_least(
            "plugins.total_memory_bytes",
            plugins.total_memory_bytes,
            plugins.memory_bytes,
        )?;
        at_least(
            "plugins.compile_memory_bytes",
            plugins.compile_memory_bytes,
            COMPILE_MEMORY_MIN,
        )?;
        at_most(
            "plugins.component_bytes",
            plugins.component_bytes,
            COMPONENT_MAX,
        )?;
        if plugins.wall_time < plugins.cpu_time {
            let time = humantime::format_duration(plugins.wall_time);
            let reason = "a call takes at least as long as its processor time (plugins.cpu_time)";
            return Err(invalid("plugins.wall_time", time, reason));
        }
        if !(1..=HostConfig::THREADS_MAX).contains(&plugins.threads) {
            let reason = format!("take 1 to {}", HostConfig::THREADS_MAX);
            return Err(invalid("plugins.threads", plugins.threads, reason));
        }
        if plugins.compile_time < Duration::from_secs(1) {
            let reason = "the system counts a process's time in seconds";
            let time = humantime::format_duration(plugins.compile_time);
            return Err(invalid("plugins.compile_time", time, reason));
        }
        positive("plugins.cpu_time", plugins.cpu_time)
    }
}

fn invalid(field: &'static str, value: impl ToString, reason: impl Into<String>) -> ConfigError {
    ConfigError::Value {
        field,
        value: value.to_string(),
        reason: reason.into(),
    }
}

fn at_least(field: &'static str, size: ByteSize, least: ByteSize) -> Result<(), ConfigError> {
    if size < least {
        return Err(invalid(field, size, format!("at least {least} is needed")));
    }
    Ok(())
}

fn at_most(field: &'static str, size: ByteSize, most: ByteSize) -> Result<(), ConfigError> {
    if size > most {
        return Err(invalid(field, size, format!("at most {most} is possible")));
    }
    Ok(())
}

fn positive(field: &'static str, time: Duration) -> Result<(), ConfigError> {
    if time.is_zero() {
        return Err(invalid(field, "0s", "nothing could be done in no time"));
    }
    Ok(())
}

/// A parser's message fills a screen with the text it stands in; a line says as much.
fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', "; ");
    let Some(span) = error.span() else {
        return message;
    };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    match fields::at(text, span.start) {
        // What is said of a type alone helps nobody.
        Some((name, example)) if message.starts_with("invalid") => {
            format!("line {line}: {name}: {message}; write for example {example}")
        }
        Some((name, _)) => format!("line {line}: {name}: {message}"),
        None => format!("line {line}: {message}"),
    }
}

#[cfg(test)]
mod tests;
