//! More bindings of a plugin than a frame has room for: they are listed in pages.

use weir_harness::client::connect;
use weir_harness::plugins::{key, prebuilt, push_as};
use weir_harness::process::Process;
use weir_sdk::wire::limits::RECORDS_HEADER_MAX;

use crate::setup;

const TOPICS: usize = 300;
const PLUGIN: &str = "json-key";

#[tokio::test]
async fn a_plugin_is_described_however_many_bindings_it_has() {
    let process = Process::start(setup());
    let client = connect(&process).await;
    let admin = client.admin();
    push_as(&admin, PLUGIN, prebuilt(PLUGIN)).await;
    // Settings nearly as large as they may be: the name of the field.
    let field = "f".repeat(60 << 10);
    assert!(TOPICS * field.len() > RECORDS_HEADER_MAX);
    let topics: Vec<String> = (0..TOPICS).map(|topic| format!("t-{topic:03}")).collect();
    for topic in &topics {
        admin.create_topic(topic, 1).await.unwrap();
        admin
            .bind(&key(topic, PLUGIN, ("field", &field)))
            .await
            .unwrap();
    }
    let described = admin.describe_plugin(PLUGIN).await.unwrap();
    let bound = described.bindings.iter();
    let bound: Vec<String> = bound.map(|binding| binding.topic.to_string()).collect();
    assert_eq!(bound, topics);
    assert_eq!(described.plugin.bindings, TOPICS as u64);
    let listed = admin.list_plugins().await.unwrap();
    assert_eq!(listed, [described.plugin]);
    client.close().await;
}
