//! `weir serve`: a broker, from its flags to its last signal.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use weir_broker::config::Config;
use weir_broker::data_dir::DataDir;
use weir_broker::{Broker, StartOptions};

use crate::environment::Environment;
use crate::exit::{Exit, Failure};
use crate::local_context::{self, Local};
use crate::output;

mod log_lines;
mod signals;
mod switches;

use log_lines::LogLines;
use signals::{Signal, Signals};

/// The hidden verb by which the broker runs `weir` as its compiler.
pub const COMPILER_VERB: &str = "compile-component";

/// Arguments of `serve`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  weir serve                                       # here, for this machine
  weir serve --data /var/lib/weir --listen 0.0.0.0:7650 --name broker.example")]
pub struct ServeArgs {
    /// Where everything is kept [default: ./weir-data]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The UDP address to listen on [default: 127.0.0.1:7650]
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    listen: Option<SocketAddr>,
    /// A TOML file with settings; flags count more
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Print all settings as such a file, and end
    #[arg(long)]
    print_config: bool,
    /// A certificate chain of your own (PEM); without one the broker makes its own
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Authorities (PEM) whose client certificates are as good as the token
    #[arg(long, value_name = "FILE")]
    client_ca: Option<PathBuf>,
    /// Another host name or address for the certificate that the broker makes
    #[arg(long, value_name = "HOST", conflicts_with = "tls_cert")]
    name: Vec<String>,
    /// Serve Prometheus metrics, /healthz and /readyz at this TCP address
    #[arg(long, value_name = "ADDR", value_parser = socket_address)]
    metrics: Option<SocketAddr>,
    /// Let everybody in who reaches the address; on loopback only
    #[arg(long)]
    no_auth: bool,
    /// Do not write the context `local`
    #[arg(long)]
    no_context: bool,
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        "write an IP address and a port up to 65535, such as 127.0.0.1:7650 or [::1]:7650"
            .to_owned()
    })
}

/// Runs a broker until a signal ends it.
pub fn run(args: ServeArgs, verbose: bool) -> Result<(), Failure> {
    let config = settings(&args)?;
    if args.print_config {
        return output::print(&config.to_toml());
    }
    let log_lines = LogLines::start(&config, args.config.clone(), verbose)?;
    let options = switches::start_options()?;
    // The broker has a thread of its own; this one waits for signals.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(serve(&args, config, options, log_lines));
    // A second signal must not wait for work that is under way.
    runtime.shutdown_background();
    result
}

async fn serve(
    args: &ServeArgs,
    config: Config,
    options: StartOptions,
    log_lines: LogLines,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let broker = tokio::select! {
        biased;
        () = signals.end() => {
            output::note("weir: stopped before it was ready");
            return Ok(());
        }
        started = Broker::start(config.clone(), options) => {
            started.map_err(|error| Failure::of(Exit::Failed, &error))?
        }
    };
    announce(args, &config, &broker);
    loop {
        tokio::select! {
            biased;
            fatal = broker.fatal() => return Err(Failure::failed(fatal.to_string())),
            signal = signals.next() => match signal {
                Signal::Reload => reload(&broker, &log_lines),
                Signal::End => break,
            },
        }
    }
    output::note("weir: finishing what is under way (again to end at once)");
    tokio::select! {
        biased;
        () = signals.end() => Err(Failure::interrupted()),
        fatal = broker.fatal() => Err(Failure::failed(fatal.to_string())),
        () = broker.shutdown() => {
            output::note("weir: stopped");
            Ok(())
        }
    }
}

/// Defaults, then the file, then the flags.
fn settings(args: &ServeArgs) -> Result<Config, Failure> {
    let mut config = match &args.config {
        Some(path) => read_config(path)?,
        None => Config::default(),
    };
    let ServeArgs {
        data,
        listen,
        config: _,
        print_config: _,
        tls_cert,
        tls_key,
        client_ca,
        name,
        metrics,
        no_auth,
        no_context: _,
    } = args;
    override_with(&mut config.data_dir, data);
    override_with(&mut config.listen, listen);
    config.metrics = metrics.or(config.metrics);
    if tls_cert.is_some() {
        config.tls.cert.clone_from(tls_cert);
        config.tls.key.clone_from(tls_key);
        config.tls.names.clear();
    }
    if client_ca.is_some() {
        config.tls.client_ca.clone_from(client_ca);
    }
    config.tls.names.extend(name.iter().cloned());
    config.no_auth |= no_auth;
    config
        .validate()
        .map_err(|error| Failure::of(Exit::Usage, &error))?;
    if !args.print_config {
        // From here on nothing depends on the folder that the broker was started in.
        config.data_dir = std::path::absolute(&config.data_dir).map_err(|error| {
            Failure::failed(format!(
                "cannot find {}: {error}",
                config.data_dir.display()
            ))
        })?;
        if config.plugins.compiler.is_none() {
            config.plugins.compiler = std::env::current_exe().ok();
        }
    }
    Ok(config)
}

fn override_with<T: Clone>(field: &mut T, flag: &Option<T>) {
    if let Some(value) = flag {
        field.clone_from(value);
    }
}

fn read_config(path: &Path) -> Result<Config, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::new(
            Exit::Usage,
            format!("cannot read {}: {error}", path.display()),
        )
    })?;
    Config::from_toml(&text)
        .map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", path.display())))
}

fn reload(broker: &Broker, log_lines: &LogLines) {
    match broker.reload_certificates() {
        Ok(()) => tracing::info!("certificates read again"),
        Err(error) => tracing::error!(%error, "certificates stay as they were"),
    }
    log_lines.reload();
}

/// Tells the operator what there is now.
fn announce(args: &ServeArgs, config: &Config, broker: &Broker) {
    let address = broker.address();
    let data_dir = DataDir::new(&config.data_dir);
    let local = Local {
        listen: address,
        data_dir: &data_dir,
        ca: broker.ca_file(),
        has_token: !config.no_auth,
    };
    let mut lines = vec![
        format!("weir {} is ready", env!("CARGO_PKG_VERSION")),
        format!("  data      {}", config.data_dir.display()),
        format!("  address   {}", local.address()),
    ];
    if let Some(metrics) = broker.metrics_address() {
        lines.push(format!("  metrics   http://{metrics}/metrics"));
    }
    if !args.no_context {
        lines.push(match local_context::record(&local, &Environment::read()) {
            Ok(written) => format!("  context   {written}"),
            Err(error) => format!("  context   none: {error}"),
        });
    }
    lines.push(format!("  elsewhere {}", local.elsewhere()));
    if config.no_auth {
        lines.push(
            "  WARNING   no authentication: every program on this machine may read, write and \
             upload code"
                .to_owned(),
        );
    }
    output::note(&lines.join("\n"));
}

#[cfg(test)]
mod tests;
