//! Files of plugins that are missing or damaged: the broker starts, whatever can run runs, and
//! whoever needs what is gone is told which file it is and what to do.

use std::path::{Path, PathBuf};

use weir_harness::client::connect;
use weir_harness::plugins::{filter, key, prebuilt, push_as};
use weir_harness::process::{Process, Setup};
use weir_sdk::wire::plugin::ErrorPolicy;
use weir_sdk::wire::request::BindingLimits;
use weir_sdk::{Admin, FilterSpec, PublishError, Record};

use crate::setup;

const TOPIC: &str = "keyed";
const PLUGIN: &str = "json-key";
/// As much memory for all instances together as one may take.
const ROOM_FOR_ONE: &str = "[log]\nwal_file_bytes = \"32MiB\"\n\n[plugins]\nmemory_bytes = \"64MiB\"\n\
                            total_memory_bytes = \"64MiB\"\n";

/// What is done to a file.
type Harm = fn(&Path);

fn missing(path: &Path) {
    std::fs::remove_file(path).unwrap();
}

fn changed(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// A broker with a plugin that is bound, and its component's file.
async fn bound() -> (Process, PathBuf) {
    bound_by(setup()).await
}

async fn bound_by(setup: Setup) -> (Process, PathBuf) {
    let process = Process::start(setup);
    let client = connect(&process).await;
    let admin = client.admin();
    for topic in [TOPIC, "plain"] {
        admin.create_topic(topic, 1).await.unwrap();
    }
    let version = push_as(&admin, PLUGIN, prebuilt(PLUGIN)).await;
    bind(&admin).await;
    client.close().await;
    let component = process.data().join(format!("plugins/{version}.wasm"));
    (process, component)
}

async fn bind(admin: &Admin) {
    let bind = key(TOPIC, PLUGIN, ("field", "id"));
    admin.bind(&bind).await.unwrap();
}

async fn publish(process: &Process, topic: &str) -> Result<(), PublishError> {
    let client = connect(process).await;
    let producer = client.producer(topic).open().await.unwrap();
    let published = producer.publish(Record::new(r#"{"id": "a"}"#)).await;
    client.close().await;
    published.map(drop)
}

/// The compiled form is enough to run; the component itself cannot be had.
#[tokio::test]
async fn a_component_that_is_gone_runs_as_long_as_its_compiled_form_is_there() {
    let (mut process, component) = bound().await;
    for (harm, says) in [
        (changed as Harm, "this is not what was pushed"),
        (missing, "No such file or directory"),
    ] {
        harm(&component);
        process.restart();
        publish(&process, TOPIC).await.unwrap();
        let client = connect(&process).await;
        let fetched = client.admin().fetch_plugin(PLUGIN, None).await;
        let error = fetched.unwrap_err().to_string();
        assert_says(&error, &component, says);
        client.close().await;
    }
    // Pushed again, it is there.
    let client = connect(&process).await;
    push_as(&client.admin(), PLUGIN, prebuilt(PLUGIN)).await;
    let (_, fetched) = client.admin().fetch_plugin(PLUGIN, None).await.unwrap();
    assert_eq!(fetched, prebuilt(PLUGIN));
    client.close().await;
}

/// Without both, the binding stays and its topic refuses records; others are served.
#[tokio::test]
async fn a_component_that_is_gone_altogether_is_pushed_and_bound_again() {
    let (mut process, component) = bound().await;
    for (harm, says) in [
        (changed as Harm, "this is not what was pushed"),
        (missing, "No such file or directory"),
    ] {
        harm(&component);
        missing(&component.with_extension("cwasm"));
        process.restart();
        publish(&process, "plain").await.unwrap();
        let refused = publish(&process, TOPIC).await.unwrap_err();
        assert_says(&refused.to_string(), &component, says);
        let client = connect(&process).await;
        let admin = client.admin();
        let described = admin.describe_topic(TOPIC).await.unwrap();
        let error = described.bindings[0].counters.last_error.clone();
        assert_says(&error.unwrap(), &component, says);
        push_as(&admin, PLUGIN, prebuilt(PLUGIN)).await;
        bind(&admin).await;
        client.close().await;
        publish(&process, TOPIC).await.unwrap();
    }
}

/// There is no room for its compiled form when it has to be compiled again: it runs all the same,
/// also when its instance had to go meanwhile, and is compiled once more by the next start.
#[tokio::test]
async fn code_that_cannot_be_stored_is_kept() {
    let (mut process, component) = bound_by(setup().configured(ROOM_FOR_ONE)).await;
    let compiled = component.with_extension("cwasm");
    missing(&compiled);
    // What is written first, before it gets its name, cannot be: there is a directory.
    let in_the_way = component.with_extension("cwasm.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    process.restart();
    publish(&process, TOPIC).await.unwrap();
    assert!(!compiled.exists());

    // A filter takes all the memory that there is, so that nothing idle keeps an instance.
    let client = connect(&process).await;
    push_as(
        &client.admin(),
        "eats-memory",
        prebuilt("hostile/eats-memory"),
    )
    .await;
    let limits = BindingLimits {
        cpu_ms: Some(10_000),
        ..BindingLimits::default()
    };
    let greedy = FilterSpec {
        on_error: Some(ErrorPolicy::Drop),
        limits: Some(limits),
        ..filter("eats-memory", ("any", "thing"))
    };
    let mut subscriber = client
        .subscribe([TOPIC])
        .filter(greedy)
        .open()
        .await
        .unwrap();
    while !subscriber.is_caught_up() {
        subscriber.next_event().await.unwrap().unwrap();
    }
    let described = client.admin().describe_plugin("eats-memory").await.unwrap();
    let counters = &described.subscriptions[0].counters;
    assert!(counters.memory_bytes > 60 << 20, "{counters:?}");
    client.close().await;
    publish(&process, TOPIC).await.unwrap();
    assert!(!compiled.exists());

    std::fs::remove_dir(&in_the_way).unwrap();
    process.restart();
    publish(&process, TOPIC).await.unwrap();
    assert!(compiled.exists());
}

fn assert_says(error: &str, component: &Path, what: &str) {
    let says = format!("cannot be used: {}: {what}", component.display());
    let then = "; put that file back from a copy or push the component again, then bind it again";
    assert!(error.contains(&says) && error.contains(then), "{error}");
}
