//! The whole path once: produce, store, subscribe.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use futures_util::StreamExt;
use weir_broker::testing::{TestBroker, soon};
use weir_sdk::{Client, Record};

async fn client(broker: &TestBroker) -> Client {
    Client::builder(broker.address())
        .ca_file(broker.ca_file())
        .token(broker.token())
        .connect()
        .await
        .unwrap()
}

#[tokio::test]
async fn what_is_produced_is_consumed() {
    let broker = TestBroker::start().await.unwrap();
    let client = client(&broker).await;
    client.admin().create_topic("orders", 3).await.unwrap();
    let producer = client.producer("orders").open().await.unwrap();
    let mut tickets = Vec::new();
    for n in 0..1000 {
        let record = Record::new(format!("value {n}")).key(format!("key {}", n % 7));
        tickets.push(producer.send(record).await.unwrap());
    }
    soon("all outcomes", producer.flush()).await;
    for ticket in tickets {
        soon("an outcome", ticket).await.unwrap();
    }
    let mut subscriber = client.subscribe(["orders"]).open().await.unwrap();
    let mut seen = 0;
    while seen < 1000 {
        let record = soon("a record", subscriber.next()).await.unwrap().unwrap();
        assert!(record.value.unwrap().starts_with(b"value "));
        seen += 1;
    }
    let described = client.admin().describe_topic("orders").await.unwrap();
    assert_eq!(described.topic.records, 1000);
    client.close().await;
    broker.shutdown().await;
}
