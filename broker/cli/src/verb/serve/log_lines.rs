//! The broker's log lines: on standard error, chosen by `WEIR_LOG`, else `-v`, else the setting
//! `log_lines`, which SIGHUP reads again.

use std::io;
use std::path::PathBuf;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};
use weir_broker::config::Config;

use super::read_config;
use crate::environment;
use crate::exit::Failure;

const VERBOSE: &str =
    "weir=debug,weir_broker=debug,weir_core=debug,weir_host=debug,weir_log=debug,info";

/// The hand on what is logged.
#[derive(Debug)]
pub struct LogLines {
    handle: Handle<EnvFilter, Registry>,
    /// Where the setting is read again; nowhere when something else decides.
    config: Option<PathBuf>,
}

impl LogLines {
    /// Starts logging.
    pub fn start(
        config: &Config,
        config_path: Option<PathBuf>,
        verbose: bool,
    ) -> Result<Self, Failure> {
        let chosen = environment::log_filter().or_else(|| verbose.then(|| VERBOSE.to_owned()));
        let (filter, from) = match &chosen {
            Some(filter) => (filter, "WEIR_LOG"),
            None => (&config.log_lines, "log_lines"),
        };
        let (filter, handle) = reload::Layer::new(parse(filter, from)?);
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(io::stderr)
            .with_ansi(environment::colour_on_stderr());
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init()
            .map_err(|error| Failure::failed(format!("cannot write log lines: {error}")))?;
        Ok(Self {
            handle,
            config: config_path.filter(|_| chosen.is_none()),
        })
    }

    /// Reads the setting again; on an error it stays.
    pub fn reload(&self) {
        let Some(path) = &self.config else {
            return;
        };
        let reloaded = read_config(path)
            .and_then(|config| parse(&config.log_lines, "log_lines"))
            .and_then(|filter| {
                self.handle
                    .reload(filter)
                    .map_err(|error| Failure::failed(error.to_string()))
            });
        match reloaded {
            Ok(()) => tracing::info!("log level read again"),
            Err(error) => tracing::error!(%error, "the log level stays as it was"),
        }
    }
}

fn parse(filter: &str, from: &str) -> Result<EnvFilter, Failure> {
    EnvFilter::try_new(filter).map_err(|error| {
        Failure::usage(format!(
            "{from} = {filter:?} cannot be: {error}; write a level (error, warn, info, debug, \
             trace) or levels per module, as in info,weir_log=debug"
        ))
    })
}
