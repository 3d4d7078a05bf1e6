//! Clients of a broker under test.

use std::time::Duration;

use weir_sdk::{Client, ConnectError};

use crate::process::Process;

/// How long a client keeps trying: longer than any test lets a broker be away.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

/// A client with connections of its own.
pub async fn connect(process: &Process) -> Client {
    let connected = try_connect(process).await;
    connected.unwrap_or_else(|error| panic!("{error}; the broker's log:\n{}", process.last_lines()))
}

/// The same, of a broker that may not be there.
pub async fn try_connect(process: &Process) -> Result<Client, ConnectError> {
    connect_for(process, RETRY_TIMEOUT).await
}

/// The same, with a client that gives up so soon.
pub async fn connect_for(process: &Process, retry: Duration) -> Result<Client, ConnectError> {
    let data = process.data();
    Client::builder(process.address())
        .ca_file(data.join("tls").join("ca.pem"))
        .token_file(data.join("token"))
        .retry_timeout(retry)
        .connect()
        .await
}
