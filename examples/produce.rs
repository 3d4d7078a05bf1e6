//! Sends orders and waits until each is safe: `cargo run -p weir-examples --bin produce`.
//! It needs `weir serve` in this folder, and the topic: `weir topic create orders`.

use std::error::Error;

use weir_sdk::{Client, Record};

/// Sends them all before it waits for the first outcome. Orders of one customer stay in order.
pub async fn produce(client: &Client) -> Result<(), Box<dyn Error>> {
    let producer = client.producer("orders").open().await?;
    let mut tickets = Vec::new();
    for number in 0..1000 {
        let customer = format!("customer-{}", number % 7);
        let order = Record::new(format!("order {number}")).key(customer);
        tickets.push(producer.send(order).await?);
    }
    for ticket in tickets {
        // That it was stored means that it is fsynced; else a plugin has refused it.
        let outcome = ticket.await?;
        if outcome.stored().is_none() {
            return Err(format!("an order was refused: {outcome:?}").into());
        }
    }
    producer.close().await?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let client = Client::builder("weir://127.0.0.1:7650")
        .ca_file("weir-data/tls/ca.pem")
        .token_file("weir-data/token")
        .connect()
        .await?;
    produce(&client).await?;
    client.close().await;
    Ok(())
}
