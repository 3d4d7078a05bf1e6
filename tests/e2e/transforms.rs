//! Chains of transforms, and what becomes of records that they fail on or reject.

use weir_harness::client::connect;
use weir_harness::plugins::push;
use weir_harness::process::Process;
use weir_harness::reading::to_the_end;
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::plugin::{ErrorPolicy, Hook};
use weir_sdk::wire::request::{Bind, Setting};
use weir_sdk::{Client, PublishError, Received, Record, RecordOutcome};

use crate::setup;

const PLUGIN: &str = "json-transform";
/// What is sent: to be masked, no JSON, without `n`, to be masked.
const VALUES: [&str; 4] = [
    r#"{"a":1,"n":1}"#,
    "no JSON",
    r#"{"a":2}"#,
    r#"{"a":3,"n":3}"#,
];

fn bind(topic: &str, config: &[(&str, &str)], policy: ErrorPolicy) -> Bind {
    let settings = config.iter().map(|(name, value)| Setting {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    });
    Bind {
        config: settings.collect(),
        on_error: Some(policy),
        ..Bind::new(
            PLUGIN.parse().expect("a plugin's name"),
            topic.parse().expect("a topic's name"),
            Hook::Transform,
        )
    }
}

/// Makes a topic with a chain of transforms, sends the values, answers what became of each.
async fn send(client: &Client, topic: &str, chain: &[Bind]) -> Vec<String> {
    let admin = client.admin();
    let made = admin.create_topic(topic, 1).await;
    made.expect("a topic can be made");
    for (position, bind) in (0..).zip(chain) {
        let bind = Bind {
            position: Some(position),
            ..bind.clone()
        };
        admin.bind(&bind).await.expect("a transform can be bound");
    }
    let producer = client.producer(topic).open().await;
    let producer = producer.expect("a producer opens");
    let mut tickets = Vec::new();
    for value in VALUES {
        let ticket = producer.send(Record::new(value).header("x", "y")).await;
        tickets.push(ticket.expect("a producer takes records"));
    }
    producer.flush().await;
    let mut told = Vec::new();
    for ticket in tickets {
        told.push(match ticket.await {
            Ok(RecordOutcome::Stored(stored)) => {
                let offsets = stored.places().map(|at| at.offset.to_string());
                format!("stored at {}", offsets.collect::<Vec<_>>().join(" "))
            }
            Ok(RecordOutcome::Dropped(_)) => "dropped".to_owned(),
            Ok(RecordOutcome::DeadLettered(_)) => "dead-lettered".to_owned(),
            Ok(RecordOutcome::Rejected(refused)) => format!("rejected: {}", refused.reason),
            Ok(other) => format!("{other:?}"),
            Err(error) => refused(&error),
        });
    }
    told
}

fn refused(error: &PublishError) -> String {
    let code = error.fault().map(|fault| fault.code);
    assert_eq!(code, Some(ErrorCode::PluginFailed), "{error}");
    "refused".to_owned()
}

async fn read(client: &Client, topic: &str) -> Vec<Received> {
    let mut records = Vec::new();
    let read = to_the_end(client, &[topic], None, |record| records.push(record)).await;
    read.expect("a topic can be read");
    records
}

async fn values(client: &Client, topic: &str) -> Vec<String> {
    let records = read(client, topic).await.into_iter();
    let value = |record: Received| record.value.unwrap_or_default();
    records
        .map(|record| String::from_utf8_lossy(&value(record)).into_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_a_transform_fails_on_follows_the_policy() {
    let process = Process::start(setup());
    let client = connect(&process).await;
    push(&client.admin(), PLUGIN).await;
    let mask = [("mask", "a")];
    let masked = [
        r#"{"a":"***","n":1}"#,
        r#"{"a":"***"}"#,
        r#"{"a":"***","n":3}"#,
    ];
    let run = async |policy: ErrorPolicy| {
        let topic = format!("with-{policy}");
        let told = send(&client, &topic, &[bind(&topic, &mask, policy)]).await;
        (told, values(&client, &topic).await)
    };

    let (told, stored) = run(ErrorPolicy::Skip).await;
    let offsets = [0, 1, 2, 3].map(|offset| format!("stored at {offset}"));
    assert_eq!(told, offsets);
    assert_eq!(stored, [masked[0], "no JSON", masked[1], masked[2]]);

    let (told, stored) = run(ErrorPolicy::Drop).await;
    assert_eq!(
        told,
        ["stored at 0", "dropped", "stored at 1", "stored at 2"]
    );
    assert_eq!(stored, masked);

    let (told, stored) = run(ErrorPolicy::DeadLetter).await;
    assert_eq!(told[1], "dead-lettered");
    assert_eq!(stored, masked);
    let letters = read(&client, "with-dead-letter.dlq").await;
    let [letter] = &letters[..] else {
        panic!("one record is dead: {letters:?}");
    };
    assert_eq!(letter.value.as_deref(), Some(&b"no JSON"[..]));
    let header = |name| {
        letter
            .header(name)
            .map(|text| String::from_utf8_lossy(text))
    };
    assert_eq!(header("x").as_deref(), Some("y"));
    assert_eq!(header("weir-dlq-hook").as_deref(), Some("transform"));
    assert_eq!(
        header("weir-dlq-topic").as_deref(),
        Some("with-dead-letter")
    );

    // Whatever was sent together with the bad record is refused with it.
    let (told, stored) = run(ErrorPolicy::Fail).await;
    assert_eq!(told[1], "refused");
    let kept = told
        .iter()
        .filter(|told| told.starts_with("stored"))
        .count();
    assert_eq!(stored.len(), kept);
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_transform_gets_what_the_one_before_made() {
    let process = Process::start(setup());
    let client = connect(&process).await;
    push(&client.admin(), PLUGIN).await;
    let drop = |topic, config| bind(topic, config, ErrorPolicy::Drop);
    // Masked first, the key is the mask; the other way round it is the field.
    let mask: &[_] = &[("mask", "a")];
    let key: &[_] = &[("key_from", "a"), ("reject_if_null", "n")];
    for (topic, first, second, keys) in [
        ("mask-first", mask, key, ["***", "***"]),
        ("key-first", key, mask, ["1", "3"]),
    ] {
        let chain = [drop(topic, first), drop(topic, second)];
        let told = send(&client, topic, &chain).await;
        let expected = [
            "stored at 0",
            "dropped",
            "rejected: n is null or missing",
            "stored at 1",
        ];
        assert_eq!(told, expected, "{topic}");
        let records = read(&client, topic).await;
        let found = records.iter().map(|record| {
            let key = record.key.as_deref().unwrap_or_default();
            String::from_utf8_lossy(key).into_owned()
        });
        assert_eq!(found.collect::<Vec<_>>(), keys, "{topic}");
    }
    client.close().await;
}
