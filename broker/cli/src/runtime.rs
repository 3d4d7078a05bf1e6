//! The runtime of client verbs, their log lines, and Ctrl-C.

use std::future::Future;
use std::io;

use tracing_subscriber::EnvFilter;

use crate::environment;
use crate::exit::Failure;

/// What a client logs: what a user has to know, such as a lost connection. What plugins log that
/// run in this process is among the results of `plugin test`.
const QUIET: &str = "warn,weir::plugin=off";
const VERBOSE: &str = "weir=debug,weir_sdk=debug,info";

/// Sends log lines to standard error; `WEIR_LOG` chooses which.
pub fn log(verbose: bool) {
    let otherwise = if verbose { VERBOSE } else { QUIET };
    let filter = environment::log_filter().unwrap_or_else(|| otherwise.to_owned());
    // A second subscriber in one process is refused, and the first is as good.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_target(verbose)
        .try_init()
        .ok();
}

/// Runs a verb to its end, or until Ctrl-C.
pub fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_uninterrupted(async {
        tokio::select! {
            biased;
            () = interrupt() => Err(Failure::interrupted()),
            result = work => result,
        }
    })
}

/// Runs a verb that handles Ctrl-C itself. One thread is enough for a client, and the fastest.
pub fn run_uninterrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?
        .block_on(work)
}

/// Waits for Ctrl-C; for ever where the signal cannot be caught, and then it ends the process.
pub async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
