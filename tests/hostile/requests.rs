//! Control requests that are wrong, one by one: each gets its own code on its own stream, and
//! the connection goes on.

use weir_sdk::{AdminError, OpenProducerError, SubscribeError};
use weir_wire::error::ErrorCode;
use weir_wire::frame::{FrameMessage, Kind};
use weir_wire::id::{BindingId, PartitionId};
use weir_wire::limits::{COMPONENT_BYTES_MAX, FRAME_HEADER_MAX, TOPIC_PARTITIONS_MAX};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::produce::OpenProducer;
use weir_wire::request::{
    Bind, BindingLimits, CreateTopic, DeleteTopic, DescribePlugin, DescribeTopic, RemovePlugin,
    Route, Status, Unbind, Welcome,
};

use crate::raw::{Raw, frame, hello, prefix, with_payload, word};
use crate::stage::Stage;

/// A field of text.
fn text(number: u8, text: &str) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut length = text.len();
    while length >= 0x80 {
        field.push(length as u8 | 0x80);
        length >>= 7;
    }
    field.push(length as u8);
    field.extend_from_slice(text.as_bytes());
    field
}

/// A `CreateTopic` of any name whatever.
fn create(name: &str) -> Vec<u8> {
    let header = [text(1, name), vec![0x10, 1]].concat();
    frame(Kind::CreateTopic as u8, 1, &header, b"")
}

fn create_with(partitions: u32) -> Vec<u8> {
    let name = "many".parse().unwrap();
    let request = CreateTopic {
        name,
        partitions,
        settings: None,
    };
    request.to_frame(0)
}

#[tokio::test]
async fn frames_that_are_wrong_get_their_codes() {
    let mut stage = Stage::start().await;
    let raw = Raw::client(&stage.broker).await;
    let welcome = Welcome {
        version: 1,
        broker: "me".to_owned(),
        node_id: 1,
    };
    let status = Status {}.to_frame(0);
    let create_kind = Kind::CreateTopic as u8;
    let push_kind = Kind::PushPlugin as u8;
    let attacks: Vec<(&str, Vec<u8>, &str)> = vec![
        ("text", b"hi! I am no frame".to_vec(), "unknown-kind"),
        ("no such kind", frame(0, 1, b"", b""), "unknown-kind"),
        ("kind 255", frame(255, 1, b"", b""), "unknown-kind"),
        (
            "version 0",
            frame(create_kind, 0, b"", b""),
            "unsupported-version",
        ),
        (
            "version 2",
            frame(create_kind, 2, b"", b""),
            "unsupported-version",
        ),
        ("Hello again", hello(&stage.broker), "malformed-frame"),
        ("a reply", welcome.to_frame(0), "malformed-frame"),
        (
            "Records",
            prefix(8 + (40 << 20), Kind::Records as u8, 1, 0),
            "malformed-frame",
        ),
        (
            "Produce without a session",
            frame(Kind::Produce as u8, 1, b"", b"x"),
            "malformed-frame",
        ),
        (
            "Credit without a subscription",
            frame(Kind::Credit as u8, 1, b"", b""),
            "malformed-frame",
        ),
        (
            "lengths that contradict",
            prefix(8, create_kind, 1, 1),
            "malformed-frame",
        ),
        ("length 0", prefix(0, create_kind, 1, 0), "malformed-frame"),
        (
            "a payload where none is",
            frame(create_kind, 1, b"", b"x"),
            "frame-too-large",
        ),
        (
            "a header too large",
            prefix(9 + FRAME_HEADER_MAX, create_kind, 1, FRAME_HEADER_MAX + 1),
            "frame-too-large",
        ),
        (
            "a component too large",
            prefix(9 + COMPONENT_BYTES_MAX, push_kind, 1, 0),
            "frame-too-large",
        ),
        ("cut off", status[..7].to_vec(), "malformed-frame"),
        (
            "cut off in the header",
            create("x")[..14].to_vec(),
            "malformed-frame",
        ),
        (
            "no message",
            frame(create_kind, 1, &[0xff; 20], b""),
            "malformed-frame",
        ),
        (
            "a field missing",
            frame(create_kind, 1, &[0x10, 1], b""),
            "malformed-frame",
        ),
        (
            "a wrong wire type",
            frame(create_kind, 1, &[0x08, 1], b""),
            "malformed-frame",
        ),
        (
            "a length that lies",
            frame(create_kind, 1, &[0x0a, 0x7f, b'x'], b""),
            "malformed-frame",
        ),
        (
            "a number too large",
            frame(
                create_kind,
                1,
                &[text(1, "x"), vec![0x10, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat(),
                b"",
            ),
            "malformed-frame",
        ),
    ];
    for (what, bytes, expected) in attacks {
        assert_eq!(word(&raw.refusal(&bytes).await), expected, "{what}");
    }
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn names_and_arguments_that_are_wrong_get_their_codes() {
    let mut stage = Stage::start().await;
    stage.topic("there", 2).await;
    let raw = Raw::client(&stage.broker).await;
    let long = "x".repeat(250);
    for name in [
        "",
        ".",
        "..",
        "a b",
        "a/b/c",
        "/",
        "a/",
        "/a",
        "../etc/passwd",
        "ä",
        "a\0b",
        "a\nb",
        &long,
    ] {
        assert_eq!(
            word(&raw.refusal(&create(name)).await),
            "invalid-name",
            "{name:?}"
        );
    }
    let name = |name: &str| name.parse().unwrap();
    let bind = |plugin: &str, topic: &str, hook, on_error| Bind {
        on_error,
        ..Bind::new(plugin.parse().unwrap(), name(topic), hook)
    };
    let gone = RemovePlugin {
        name: "gone".parse().unwrap(),
        version: None,
    };
    let describe = DescribePlugin {
        name: "gone".parse().unwrap(),
        after: None,
    };
    let open = OpenProducer {
        topic: name("gone"),
        session: None,
    };
    let unbind = Unbind {
        binding: BindingId::new(u64::MAX),
    };
    let attacks: Vec<(&str, Vec<u8>, &str)> = vec![
        ("no partitions", create_with(0), "invalid-argument"),
        (
            "too many",
            create_with(TOPIC_PARTITIONS_MAX + 1),
            "invalid-argument",
        ),
        ("4 billion", create_with(u32::MAX), "invalid-argument"),
        ("a topic twice", create("there"), "topic-exists"),
        (
            "describe",
            DescribeTopic { name: name("gone") }.to_frame(0),
            "unknown-topic",
        ),
        (
            "delete",
            DeleteTopic { name: name("gone") }.to_frame(0),
            "unknown-topic",
        ),
        ("produce", open.to_frame(0), "unknown-topic"),
        ("remove a plugin", gone.to_frame(0), "unknown-plugin"),
        ("describe a plugin", describe.to_frame(0), "unknown-plugin"),
        ("unbind", unbind.to_frame(0), "unknown-binding"),
        (
            "bind a plugin",
            bind("gone", "there", Hook::Key, None).to_frame(0),
            "unknown-plugin",
        ),
        (
            "bind to a topic",
            bind("gone", "gone", Hook::Key, None).to_frame(0),
            "unknown-topic",
        ),
        (
            "a component that is none, by hand",
            with_payload(
                &weir_wire::request::PushPlugin {
                    name: "bad".parse().unwrap(),
                },
                b"\0asm\x01\0\0\0",
            ),
            "invalid-plugin",
        ),
    ];
    for (what, bytes, expected) in attacks {
        assert_eq!(word(&raw.refusal(&bytes).await), expected, "{what}");
    }

    // A real plugin, bound in ways that cannot be.
    let admin = stage.client.admin();
    admin
        .push_plugin("key", crate::plugins::prebuilt("json-key"))
        .await
        .unwrap();
    let mut without_config = bind("key", "there", Hook::Key, None);
    let mut limited = bind("key", "there", Hook::Key, None);
    limited.limits = Some(BindingLimits {
        cpu_ms: Some(0),
        ..BindingLimits::default()
    });
    let mut twice = bind("key", "there", Hook::Key, None);
    (twice.position, twice.replace) = (Some(0), Some(BindingId::new(1)));
    let mut route_from_key = bind("key", "there", Hook::Key, None);
    route_from_key.routes.push(Route {
        value: "*".to_owned(),
        topic: name("there"),
        partition: Some(PartitionId::new(2)),
    });
    for (what, request) in [
        (
            "a hook it has not",
            bind("key", "there", Hook::Filter, None),
        ),
        (
            "a hook that the plugin does not have",
            bind("key", "there", Hook::Transform, None),
        ),
        (
            "a policy of other hooks",
            bind("key", "there", Hook::Key, Some(ErrorPolicy::Skip)),
        ),
        ("a limit that none can have", limited),
        ("a place of its own and another's", twice),
        ("routes of a key", route_from_key),
        ("no settings", without_config.clone()),
    ] {
        let error = raw.refusal(&request.to_frame(0)).await;
        assert_eq!(
            word(&error),
            "invalid-argument",
            "{what}: {}",
            error.message
        );
    }
    without_config.version = Some("zz".to_owned());
    assert_eq!(
        word(&raw.refusal(&without_config.to_frame(0)).await),
        "unknown-version"
    );
    assert!(
        !admin
            .describe_topic("there")
            .await
            .unwrap()
            .topic
            .placement_by_plugin
    );
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn the_client_hands_on_what_the_broker_says() {
    let stage = Stage::start().await;
    let client = &stage.client;
    let error = client.admin().delete_topic("gone").await.unwrap_err();
    assert_eq!(error.fault().unwrap().code, ErrorCode::UnknownTopic);
    assert_eq!(
        error.to_string(),
        "topic \"gone\" does not exist (create it: weir topic create gone)"
    );
    let error = client.producer("gone").open().await.unwrap_err();
    assert!(
        matches!(&error, OpenProducerError::Refused(fault)
        if fault.code == ErrorCode::UnknownTopic),
        "{error:?}"
    );
    let error = client.subscribe(["gone"]).open().await.unwrap_err();
    assert!(
        matches!(&error, SubscribeError::Refused(fault)
        if fault.code == ErrorCode::UnknownTopic),
        "{error:?}"
    );
    let error = client
        .admin()
        .create_topic("no spaces", 1)
        .await
        .unwrap_err();
    assert!(matches!(error, AdminError::Name(_)), "{error:?}");
    stage.end().await;
}
