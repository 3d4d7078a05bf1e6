//! The runtime of client verbs, their log lines, Ctrl-C, and the end of their connections.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tracing_subscriber::EnvFilter;
use weir_sdk::Client;

use crate::environment;
use crate::exit::Failure;

/// What a client logs: what a user has to know, such as a lost connection. What plugins log that
/// run in this process is among the results of `plugin test`.
const QUIET: &str = "warn,weir::plugin=off";
const VERBOSE: &str = "weir=debug,weir_sdk=debug,info";

/// How long the end may wait until the broker can know that a connection is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// Whose connections are closed when the verb has ended, however it ends: one or two.
static CLIENTS: Mutex<Vec<Client>> = Mutex::new(Vec::new());

/// Sends log lines to standard error; `WEIR_LOG` chooses which.
pub fn log(verbose: bool) {
    let otherwise = if verbose { VERBOSE } else { QUIET };
    let filter = environment::log_filter().unwrap_or_else(|| otherwise.to_owned());
    // A second subscriber in one process is refused, and the first is as good.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .with_ansi(environment::colour_on_stderr())
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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let result = work.await;
        close_connections().await;
        result
    });
    // A thread that is at work, such as one in a plugin that loops, ends with the process.
    runtime.shutdown_background();
    result
}

/// Has the connections of this client closed at the end.
pub fn close_at_end(client: &Client) {
    let mut clients = CLIENTS.lock().unwrap_or_else(PoisonError::into_inner);
    clients.push(client.clone());
}

/// Tells the brokers that nobody is here any more: otherwise they wait for the idle timeout.
pub async fn close_connections() {
    let clients = std::mem::take(&mut *CLIENTS.lock().unwrap_or_else(PoisonError::into_inner));
    // A broker that is away is not waited for.
    timeout(FAREWELL, join_all(clients.into_iter().map(Client::close)))
        .await
        .ok();
}

/// Waits for Ctrl-C; for ever where the signal cannot be caught, and then it ends the process.
pub async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
