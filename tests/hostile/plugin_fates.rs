//! Components that break the rules, from upload to removal: what is refused leaves nothing behind,
//! no record is lost to them without its producer being told, and once they are unbound the broker
//! has the memory and the threads that it had before.

use futures_util::StreamExt;
use weir_sdk::RecordOutcome;
use weir_wire::error::ErrorCode;
use weir_wire::plugin::{ErrorPolicy, Hook};

use crate::plugins::{bind, produce, push, refused, subscribe};
use crate::stage::{Stage, resident, soon};

/// On the way in, with what their authors are told.
const ON_PRODUCE: [(Hook, &str, &str); 14] = [
    (
        Hook::Transform,
        "maps-backwards",
        "must ascend and be less than 1",
    ),
    (
        Hook::Transform,
        "maps-beyond",
        "must ascend and be less than 1",
    ),
    (
        Hook::Transform,
        "maps-few-spans",
        "3 numbers of spans for 1 outputs",
    ),
    (
        Hook::Transform,
        "maps-outside",
        "a value outside its bytes for output 0",
    ),
    (Hook::Transform, "maps-countless", "lies outside its memory"),
    (
        Hook::Transform,
        "maps-multiplies",
        "its outputs have more bytes than they may",
    ),
    (Hook::Transform, "maps-headers-no-text", "is not UTF-8"),
    (
        Hook::Transform,
        "maps-headers-many",
        "changes more than 64 headers",
    ),
    (
        Hook::Transform,
        "maps-loop",
        "more than its 100ms of processor time",
    ),
    (
        Hook::Transform,
        "rejects-and-keeps",
        "record 0 is rejected and has outputs",
    ),
    (
        Hook::Transform,
        "puppet",
        "a case that the contract does not have",
    ),
    (
        Hook::Key,
        "keys-eat-memory",
        "more than its 67108864 bytes of memory",
    ),
    (
        Hook::Key,
        "keys-outside",
        "a key outside its bytes for record 0",
    ),
    (
        Hook::Key,
        "keys-too-many",
        "answered 2 verdicts for 1 records",
    ),
];
/// Not even started, with why.
const UNSTARTED: [(&str, &str); 8] = [
    ("allocator-loops", "more than its 100ms of processor time"),
    ("allocator-outside", "gave no room for what it was to get"),
    (
        "asks-for-countless-headers",
        "returned or logged more bytes than it may",
    ),
    (
        "asks-for-many-headers",
        "too many headers that the plugin asks for: at most 32",
    ),
    ("asks-for-a-huge-name", "at most 256, there are 1000"),
    (
        "configure-eats-memory",
        "more than its 67108864 bytes of memory",
    ),
    ("data-outside", "out of bounds memory access"),
    ("memory-large", "more than its 67108864 bytes of memory"),
];
/// Refused as they are uploaded, with why.
const NOT_UPLOADED: [(&str, &str); 6] = [
    ("memories-many", "it needs more than a plugin gets: "),
    ("memory-huge", "it needs more than a plugin gets: "),
    ("tables-huge", "it needs more than a plugin gets: "),
    ("wrong-mapped", "expected `u32` found `u64`"),
    ("wrong-decision", "expected `u64` found `u32`"),
    ("wrong-level", "an import does not fit"),
];

/// The files of plugins in the data directory.
fn plugin_files(stage: &Stage) -> Vec<String> {
    let mut folders = vec![stage.broker.directory().to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|kind| kind == "wasm" || kind == "cwasm")
            {
                files.push(path.display().to_string());
            }
        }
    }
    files
}

/// The broker's threads that have to do with plugins.
fn plugin_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| {
        // A thread may end while one looks.
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    });
    names.filter(|name| name.starts_with("weir-plugin")).count()
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_and_leaves_no_file() {
    let mut stage = Stage::start().await;
    for (plugin, message) in NOT_UPLOADED {
        let error = push(&stage, plugin).await.unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.code, ErrorCode::InvalidPlugin, "{plugin}: {fault}");
        assert!(fault.message.contains(message), "{plugin}: {fault}");
        assert_eq!(plugin_files(&stage), Vec::<String>::new(), "{plugin}");
    }
    push(&stage, "later-version").await.unwrap();
    assert_eq!(plugin_files(&stage).len(), 2, "the component and its form");
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn what_cannot_be_started_is_no_subscription() {
    let mut stage = Stage::start().await;
    stage.topic("unstarted", 1).await;
    for (plugin, message) in UNSTARTED {
        push(&stage, plugin).await.unwrap();
        let subscribed = subscribe(&stage, "unstarted", plugin, ErrorPolicy::Skip).await;
        let error = subscribed.map(drop).unwrap_err();
        let fault = error.fault().unwrap();
        assert_eq!(fault.code, ErrorCode::InvalidArgument, "{plugin}: {fault}");
        assert!(fault.message.contains(message), "{plugin}: {fault}");
        stage.is_unharmed().await;
    }
    stage.end().await;
}

/// One record under each policy: it is stored, buried, or its producer is told that it is not.
async fn attack(stage: &Stage, topic: &str, (hook, plugin, message): (Hook, &str, &str)) {
    let admin = stage.client.admin();
    let one = [b"a record".to_vec()];
    let bound = bind(stage, topic, (hook, plugin), ErrorPolicy::Drop, 0).await;
    match &produce(stage, topic, &one).await.unwrap()[..] {
        [RecordOutcome::Dropped(dropped)] => {
            assert_eq!(dropped.binding, bound.id, "{plugin}");
            assert!(dropped.reason.contains(message), "{plugin}: {dropped:?}");
        }
        other => panic!("{plugin}: {other:?}"),
    }
    bind(stage, topic, (hook, plugin), ErrorPolicy::Fail, 0).await;
    let fault = refused(produce(stage, topic, &one).await);
    assert_eq!(fault.code, ErrorCode::PluginFailed, "{plugin}: {fault}");
    assert!(fault.message.contains(message), "{plugin}: {fault}");
    assert!(fault.message.contains(plugin), "{plugin}: {fault}");
    assert_eq!(stage.records(topic).await, 0, "{plugin}");

    let bound = bind(stage, topic, (hook, plugin), ErrorPolicy::DeadLetter, 0).await;
    match &produce(stage, topic, &one).await.unwrap()[..] {
        [RecordOutcome::DeadLettered(buried)] => {
            assert!(buried.reason.contains(message), "{plugin}: {buried:?}");
        }
        other => panic!("{plugin}: {other:?}"),
    }
    let letters = format!("{topic}.dlq");
    let mut subscriber = stage.client.subscribe([&letters[..]]).open().await.unwrap();
    let letter = soon("the dead letter", subscriber.next()).await;
    let letter = letter.unwrap().unwrap();
    assert_eq!(letter.value.as_deref(), Some(&one[0][..]), "{plugin}");
    let header = |name| String::from_utf8_lossy(letter.header(name).unwrap()).into_owned();
    assert!(header("weir-dlq-message").contains(message), "{plugin}");
    assert_eq!(header("weir-dlq-plugin"), plugin);
    assert_eq!(header("weir-dlq-hook"), hook.word());
    // What was stopped in the plugin's own code says where.
    if message.starts_with("more than its") {
        let backtrace = header("weir-dlq-backtrace");
        assert!(backtrace.starts_with("0: "), "{plugin}: {backtrace}");
        assert!(backtrace.contains(" (at 0x"), "{plugin}: {backtrace}");
    }
    drop(subscriber);

    // Without it the topic is a topic again, and of the plugin nothing is left.
    admin.unbind(bound.id).await.unwrap();
    let outcomes = produce(stage, topic, &one).await.unwrap();
    assert!(outcomes[0].stored().is_some(), "{plugin}: {outcomes:?}");
    assert_eq!(stage.values(topic).await, one, "{plugin}");
    admin.delete_topic(topic).await.unwrap();
    admin.delete_topic(&letters).await.unwrap();
    admin.remove_plugin(plugin, None).await.unwrap();
}

#[tokio::test]
async fn no_record_is_lost_to_them_and_nothing_of_them_is_left() {
    let mut stage = Stage::alone_with(|_| ()).await;
    let threads = plugin_threads();
    let mut before = None;
    for round in 0..3 {
        for one in ON_PRODUCE {
            let topic = format!("round-{round}/{}", one.1);
            stage.topic(&topic, 1).await;
            attack(&stage, &topic, one).await;
        }
        stage.is_unharmed().await;
        // The first round fills caches and pools; one instance has up to 64 MiB.
        let now = resident();
        let first = *before.get_or_insert(now);
        let grown = now.saturating_sub(first) >> 20;
        println!(
            "round {round}: {} MiB, {grown} more than at first",
            now >> 20
        );
        assert!(
            grown < 32 + 64,
            "{grown} MiB more than after the first round"
        );
        assert_eq!(plugin_threads(), threads, "round {round}");
    }
    assert!(
        stage
            .client
            .admin()
            .list_plugins()
            .await
            .unwrap()
            .is_empty()
    );
    stage.end().await;
}

#[tokio::test]
async fn a_rejection_has_a_reason_of_bounded_length() {
    let mut stage = Stage::start().await;
    stage.topic("rejected", 1).await;
    let hook = (Hook::Transform, "rejects-at-length");
    let bound = bind(&stage, "rejected", hook, ErrorPolicy::Fail, 0).await;
    match &produce(&stage, "rejected", &[b"x".to_vec()]).await.unwrap()[..] {
        [RecordOutcome::Rejected(rejected)] => {
            assert_eq!(rejected.binding, bound.id);
            let length = rejected.reason.len();
            assert!((200..=1024).contains(&length), "{length}");
            assert!(rejected.reason.starts_with(&"?".repeat(200)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.records("rejected").await, 0);
    stage.is_unharmed().await;
    stage.end().await;
}

#[tokio::test]
async fn a_plugin_that_multiplies_is_stopped_before_it_fills_the_disk() {
    let mut stage = Stage::start().await;
    stage.topic("multiplied", 1).await;
    let hook = (Hook::Transform, "maps-fan-out");
    bind(&stage, "multiplied", hook, ErrorPolicy::Drop, 0).await;
    // Four thousand records of one small one are refused together with what was sent with it.
    let two = [b"small".to_vec(), b"other".to_vec()];
    let fault = refused(produce(&stage, "multiplied", &two).await);
    assert_eq!(fault.code, ErrorCode::BatchTooLarge, "{fault}");
    assert!(fault.message.contains("more than 1024 places"), "{fault}");
    assert_eq!(stage.records("multiplied").await, 0);
    // Of a large one they are more than the plugin may return, which is the record's own fault.
    let large = vec![b'x'; 1000];
    match &produce(&stage, "multiplied", &[large]).await.unwrap()[..] {
        [RecordOutcome::Dropped(dropped)] => {
            let message = "its outputs have more bytes than they may";
            assert!(dropped.reason.contains(message), "{dropped:?}");
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(stage.records("multiplied").await, 0);
    stage.is_unharmed().await;
    stage.end().await;
}
