//! Control requests.

use std::time::Duration;

use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::{BindingEpoch, BindingId, PluginVersion, Timestamp, TopicId};
use weir_sdk::wire::message::Message;
use weir_sdk::wire::plugin::{ErrorPolicy, Hook};
use weir_sdk::wire::request::{
    BindingCounters, BindingInfo, CreateTopic, DescribePlugin, ListPlugins, ListTopics,
    PluginDescription, PluginInfo, PluginLogLines, PluginLogs, Plugins, Status, TopicCreated,
    TopicInfo, Topics,
};
use weir_sdk::{AdminError, Client};

use crate::peer::{Peer, accept};

fn topic(name: &str) -> TopicInfo {
    TopicInfo {
        id: TopicId::new(1),
        name: name.parse().unwrap(),
        partitions: 3,
        created: Timestamp::new(0),
        records: 0,
        bytes: 0,
        placement_by_plugin: false,
    }
}

fn binding(topic: &str) -> BindingInfo {
    BindingInfo {
        id: BindingId::new(1),
        epoch: BindingEpoch::new(1),
        topic: topic.parse().unwrap(),
        hook: Hook::Key,
        plugin: "tags".parse().unwrap(),
        version: PluginVersion::new([7; 32]),
        config: Vec::new(),
        routes: Vec::new(),
        on_error: ErrorPolicy::Fail,
        counters: BindingCounters::decode(&[]).unwrap(),
        position: 0,
        limits: None,
        time: Timestamp::new(0),
        dead_letters: None,
    }
}

async fn connected(peer: &Peer) -> (Client, quinn::Connection) {
    let (client, connection) = tokio::join!(peer.client().connect(), peer.welcome());
    (client.unwrap(), connection)
}

#[tokio::test]
async fn a_request_has_its_reply_and_a_refusal_its_code() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let broker = async {
        let mut stream = accept(&connection).await;
        let create: CreateTopic = stream.take().await;
        assert_eq!(
            (create.name.to_string().as_str(), create.partitions),
            ("orders", 3)
        );
        assert!(
            stream.frame().await.is_none(),
            "one request, then the stream ends"
        );
        let topic = topic("orders");
        stream.reply(&TopicCreated { topic }).await;
        let mut stream = accept(&connection).await;
        let _: CreateTopic = stream.take().await;
        stream.fail(ErrorCode::TopicExists, "it exists").await;
    };
    let requests = async {
        let admin = client.admin();
        assert_eq!(
            admin.create_topic("orders", 3).await.unwrap(),
            topic("orders")
        );
        admin.create_topic("orders", 3).await.unwrap_err()
    };
    let (error, ()) = tokio::join!(requests, broker);
    assert_eq!(error.fault().unwrap().code, ErrorCode::TopicExists);
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn pages_are_joined_and_circles_are_not_walked() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let page = async |after: Option<&str>, names: &[&str], more| {
        let mut stream = accept(&connection).await;
        let list: ListTopics = stream.take().await;
        assert_eq!(list.after.map(|name| name.to_string()).as_deref(), after);
        let topics = names.iter().map(|name| topic(name)).collect();
        stream.reply(&Topics { topics, more }).await;
        let _ = stream.send.finish();
    };
    let broker = async {
        page(None, &["a", "b"], true).await;
        page(Some("b"), &["c"], false).await;
        page(None, &["a", "b"], true).await;
        page(Some("b"), &["a", "b"], true).await;
        // It begins behind where the one before ends, and ends there again.
        page(None, &["b", "a"], true).await;
        page(None, &["a", "b"], true).await;
        page(Some("b"), &[], true).await;
        page(None, &["a", "b"], true).await;
        page(Some("b"), &["a"], false).await;
    };
    let requests = async {
        let admin = client.admin();
        let names = admin.list_topics().await.unwrap();
        let names: Vec<_> = names.iter().map(|topic| topic.name.to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        for _ in 0..4 {
            let error = admin.list_topics().await.unwrap_err();
            assert!(matches!(error, AdminError::Protocol { .. }), "{error:?}");
        }
    };
    tokio::join!(requests, broker);
}

#[tokio::test]
async fn a_plugins_bindings_come_in_pages() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let page = async |after: Option<&str>, topics: &[&str], more| {
        let mut stream = accept(&connection).await;
        let describe: DescribePlugin = stream.take().await;
        let asked = describe.after.map(|topic| topic.to_string());
        assert_eq!(asked.as_deref(), after);
        let plugin = PluginInfo {
            name: describe.name,
            versions: Vec::new(),
            bindings: 3,
        };
        let bindings = topics.iter().map(|topic| binding(topic)).collect();
        stream
            .reply(&PluginDescription {
                plugin,
                bindings,
                more,
                subscriptions: Vec::new(),
                subscriptions_unlisted: if more { 0 } else { 7 },
            })
            .await;
        let _ = stream.send.finish();
    };
    let broker = async {
        page(None, &["a", "a"], true).await;
        page(Some("a"), &["b"], false).await;
        page(None, &[], false).await;
        page(None, &["a"], true).await;
        page(Some("a"), &["a"], true).await;
    };
    let requests = async {
        let admin = client.admin();
        let described = admin.describe_plugin("tags").await.unwrap();
        assert_eq!(described.bindings, ["a", "a", "b"].map(binding));
        assert!(!described.more);
        assert_eq!(described.subscriptions_unlisted, 7, "of the last page");
        let unused = admin.describe_plugin("tags").await.unwrap();
        assert_eq!(unused.bindings, []);
        admin.describe_plugin("tags").await.unwrap_err()
    };
    let (error, ()) = tokio::join!(requests, broker);
    assert!(matches!(error, AdminError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn plugins_come_in_pages() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let page = async |after: Option<&str>, names: &[&str], more| {
        let mut stream = accept(&connection).await;
        let list: ListPlugins = stream.take().await;
        assert_eq!(list.after.map(|name| name.to_string()).as_deref(), after);
        let plugins = names.iter().map(|name| PluginInfo {
            name: name.parse().unwrap(),
            versions: Vec::new(),
            bindings: 0,
        });
        let plugins = plugins.collect();
        stream.reply(&Plugins { plugins, more }).await;
        let _ = stream.send.finish();
    };
    let broker = async {
        page(None, &["a", "b"], true).await;
        page(Some("b"), &["c"], false).await;
    };
    let requests = async {
        let plugins = client.admin().list_plugins().await.unwrap();
        let names = plugins.iter().map(|plugin| plugin.name.to_string());
        assert_eq!(names.collect::<Vec<_>>(), ["a", "b", "c"]);
    };
    tokio::join!(requests, broker);
}

#[tokio::test]
async fn a_question_is_asked_again_and_a_change_is_not() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let admin = client.admin();
    let broker = async {
        let mut stream = accept(&connection).await;
        let _: Status = stream.take().await;
        peer.restart();
        let connection = peer.welcome().await;
        let mut stream = accept(&connection).await;
        let _: Status = stream.take().await;
        stream
            .fail(ErrorCode::Internal, "but it was asked again")
            .await;
        let mut stream = accept(&connection).await;
        let _: CreateTopic = stream.take().await;
        connection.close(0_u32.into(), b"");
        connection
    };
    let requests = async {
        let status = admin.status().await.unwrap_err();
        assert_eq!(status.to_string(), "but it was asked again");
        admin.create_topic("orders", 1).await.unwrap_err()
    };
    let (error, _connection) = tokio::join!(requests, broker);
    assert!(matches!(error, AdminError::Lost { .. }), "{error:?}");
}

#[tokio::test]
async fn a_wait_that_was_asked_for_does_not_count_as_silence() {
    let peer = Peer::start();
    let client = peer.client().retry_timeout(Duration::ZERO);
    let (client, connection) = tokio::join!(client.connect(), peer.welcome());
    let admin = client.unwrap().admin();
    let broker = async {
        let mut stream = accept(&connection).await;
        let logs: PluginLogs = stream.take().await;
        assert_eq!(logs.wait_ms, 10_000);
        stream.reply(&PluginLogLines { lines: Vec::new() }).await;
    };
    let logs = admin.plugin_logs("chatty", &[], Duration::from_secs(60));
    let (lines, ()) = tokio::join!(logs, broker);
    assert_eq!(lines.unwrap(), []);
    let silent = admin.status().await.unwrap_err();
    assert!(matches!(silent, AdminError::TimedOut { .. }), "{silent:?}");
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_an_upload_is_heard() {
    let peer = Peer::start();
    let (client, connection) = connected(&peer).await;
    let broker = async {
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        let mut some = [0; 100];
        receive.read_exact(&mut some).await.unwrap();
        let fault = weir_sdk::wire::error::Fault::new(ErrorCode::InvalidPlugin, "no component");
        let error = weir_sdk::wire::request::Error::from(&fault);
        use weir_sdk::wire::frame::FrameMessage;
        send.write_all(&error.to_frame(0)).await.unwrap();
        send.finish().unwrap();
        receive.stop(0_u32.into()).unwrap();
        let _ = send.stopped().await;
    };
    let admin = client.admin();
    let push = admin.push_plugin("big", vec![0; 20 << 20]);
    let (pushed, ()) = tokio::join!(push, broker);
    assert_eq!(
        pushed.unwrap_err().fault().unwrap().code,
        ErrorCode::InvalidPlugin
    );
    let too_large = admin.push_plugin("big", vec![0; 33 << 20]).await;
    assert!(matches!(
        too_large,
        Err(AdminError::ComponentTooLarge { .. })
    ));
}
