//! Prints orders as they come: `cargo run -p weir-examples --bin consume`; Ctrl-C ends it.

use std::error::Error;

use futures_util::StreamExt;
use weir_sdk::{Client, Received};

/// Hands every order to `handle`, from the first that is stored, until it answers `false`.
pub async fn consume(
    client: &Client,
    mut handle: impl FnMut(&Received) -> bool,
) -> Result<(), Box<dyn Error>> {
    let mut orders = client.subscribe(["orders"]).open().await?;
    while let Some(order) = orders.next().await {
        if !handle(&order?) {
            break;
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "it is there to show what comes")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder("weir://127.0.0.1:7650")
        .ca_file("weir-data/tls/ca.pem")
        .token_file("weir-data/token")
        .connect()
        .await?;
    consume(&client, |order| {
        let value = String::from_utf8_lossy(order.value.as_deref().unwrap_or_default());
        println!("{}@{} {value}", order.partition, order.offset);
        true
    })
    .await
}
