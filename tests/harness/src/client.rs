//! Clients of a broker under test.

use std::time::Duration;

use weir_sdk::Client;

use crate::process::Process;

/// How long a client keeps trying: longer than any test lets a broker be away.
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);

/// A client with connections of its own.
pub async fn connect(process: &Process) -> Client {
    let data = process.data();
    Client::builder(process.address())
        .ca_file(data.join("tls").join("ca.pem"))
        .token_file(data.join("token"))
        .retry_timeout(RETRY_TIMEOUT)
        .connect()
        .await
        .unwrap_or_else(|error| panic!("{error}; the broker's log:\n{}", process.last_lines()))
}
