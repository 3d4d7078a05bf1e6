//! A disk that fails while the broker runs: the broker acknowledges nothing more and ends, saying
//! why. Once it is started again on a disk that is well, what was under way is answered, and
//! nothing is lost or stored twice.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::task::block_in_place;
use weir_harness::client::connect;
use weir_harness::process::{Process, SMALL_FILES};
use weir_harness::report::say;
use weir_sdk::{Client, PublishError, Record, RecordOutcome};

use crate::setup;

/// Records of the producer that waits for the broker to come back.
const RECORDS: u32 = 60;
/// How long the other one tries.
const SOON: Duration = Duration::from_millis(500);
/// Nothing takes that long unless something hangs.
const STEP_MAX: Duration = Duration::from_secs(60);

const PATIENT: &str = "patient";
const IMPATIENT: &str = "impatient";

/// The values of all records, in their order.
async fn stored(client: &Client, topic: &str) -> Vec<u32> {
    let mut subscriber = client.subscribe([topic]).open().await.unwrap();
    let ends = subscriber.partitions().iter();
    let end: u64 = ends.map(|at| at.end.value()).sum();
    let mut found = Vec::new();
    while (found.len() as u64) < end {
        let next = tokio::time::timeout(STEP_MAX, subscriber.next()).await;
        let record = next.expect("records arrive").unwrap().unwrap();
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        found.push(value.parse().unwrap());
    }
    found
}

/// Sends one record after the other, each once the one before is safe. Answers how often requests
/// were sent again.
async fn send_all(client: Client) -> u64 {
    let producer = client.producer(PATIENT).open().await.unwrap();
    for number in 0..RECORDS {
        let outcome = producer.publish(Record::new(number.to_string())).await;
        let outcome = outcome.unwrap();
        assert!(matches!(outcome, RecordOutcome::Stored(_)), "{outcome:?}");
    }
    producer.stats().resent
}

/// The same, until one is not answered with an offset: which, and whether it was under way.
async fn send_until_unknown(client: Client) -> (u32, bool) {
    let opened = client.producer(IMPATIENT).retry_timeout(SOON);
    let producer = opened.open().await.unwrap();
    for number in 0.. {
        match producer.publish(Record::new(number.to_string())).await {
            Ok(_) => {}
            Err(PublishError::OutcomeUnknown { .. }) => return (number, true),
            // This one came when the log had failed already.
            Err(PublishError::NotSent { .. }) => return (number, false),
            Err(error) => panic!("record {number}: {error}"),
        }
    }
    unreachable!("the disk fails before there are so many")
}

/// The broker fails at that moment, on that file system.
async fn check(vfs: &str, moment: &str) {
    let setup = setup().configured(SMALL_FILES).with("WEIR_VFS", vfs);
    let mut process = block_in_place(|| Process::start(setup));
    let client = connect(&process).await;
    for topic in [PATIENT, IMPATIENT] {
        client.admin().create_topic(topic, 1).await.unwrap();
    }
    client.close().await;
    let well = vec![("WEIR_VFS", vfs.to_owned())];
    let mut failing = well.clone();
    failing.push(("WEIR_FAIL_AT", format!("{moment}:40")));
    process.set_switches(failing);
    block_in_place(|| process.restart());

    // Both are there before one of them makes it fail.
    let clients = (connect(&process).await, connect(&process).await);
    let patient = tokio::spawn(send_all(clients.0));
    let impatient = tokio::spawn(send_until_unknown(clients.1));
    let ended = tokio::time::timeout(STEP_MAX, process.ended()).await;
    ended.expect("a broker whose disk fails ends");
    let lines = process.last_lines();
    assert_eq!(block_in_place(|| process.exit_code()), Some(1), "{lines}");
    let wal = process.data().join("log/wal");
    for part in [
        "error: the log failed and nothing more is written: ",
        &wal.display().to_string(),
        "Input/output error",
        "; start the broker again once the disk is well",
    ] {
        assert!(lines.contains(part), "{part:?} is not said:\n{lines}");
    }
    let (unknown, under_way) = impatient.await.unwrap();

    process.set_switches(well);
    block_in_place(|| process.restart());
    let again = tokio::time::timeout(STEP_MAX, patient).await;
    let again = again.expect("whoever waits is answered").unwrap();
    // What failed held a record of one of them; the other may have been between two records.
    assert!(again > 0 || under_way, "no request was under way");
    let client = connect(&process).await;
    let all: Vec<u32> = (0..RECORDS).collect();
    assert_eq!(stored(&client, PATIENT).await, all);
    // Nobody knew of the last one, and it is there once or not at all.
    let found = stored(&client, IMPATIENT).await;
    let rest = found.strip_prefix(&*(0..unknown).collect::<Vec<_>>());
    let rest = rest.unwrap_or_else(|| panic!("{unknown} were acknowledged: {found:?}"));
    assert!(rest.is_empty() || rest == [unknown], "{found:?}");
    say(&format!(
        "{moment} fails, {vfs}: {again} requests sent again, the unknown record is there {} times",
        rest.len()
    ));
    client.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails() {
    check("real", "block-synced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sync_that_fails_and_loses_what_was_written() {
    check("lazy", "block-synced").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_fails() {
    check("real", "block-written").await;
}
