//! A disk that fills up: records are refused by a typed error that says so, what is there is read
//! on, topics can be truncated and deleted, and once there is room the same broker takes records
//! again. Nothing that was acknowledged is lost. The disk is a real one, made for the test.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use tempfile::TempDir;
use tokio::task::block_in_place;
use weir_harness::client::{connect, connect_for};
use weir_harness::process::{Process, SMALL_FILES};
use weir_harness::report::say;
use weir_sdk::wire::batch::Compression;
use weir_sdk::wire::error::ErrorCode;
use weir_sdk::wire::id::Offset;
use weir_sdk::wire::request::TruncateTopic;
use weir_sdk::{Client, PublishError, Record, RecordOutcome};

use crate::setup;

const DISK: &str = "24m";
/// Less than this is never free while records are taken.
const RESERVE: &str = "reserve_bytes = \"4MiB\"\nreserve_percent = 50\n";
const RECORD_BYTES: usize = 32 << 10;
/// More than the disk holds.
const RECORDS_MAX: usize = 2000;
/// Topics created and deleted until the log has used its files and its reserve: each is two pages
/// of 256 in a file, of which there are ten at most.
const CHANGES_MAX: usize = 1500;
/// And then, without the reserve: what fills two files.
const CHANGES_MORE: usize = 260;
/// How long the client that wants to be told tries again.
const SOON: Duration = Duration::from_secs(2);
/// Nothing takes that long unless something hangs.
const STEP_MAX: Duration = Duration::from_secs(60);

/// A small disk; it goes with the test.
#[derive(Debug)]
struct Disk {
    mounted: PathBuf,
}

impl Disk {
    /// `None`, and a word about it, where tests may not mount.
    fn mount(at: &Path) -> Option<Self> {
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={DISK}"))
            .arg("tmpfs")
            .arg(at)
            .output();
        let reason = match mount {
            Ok(output) if output.status.success() => {
                let mounted = at.to_owned();
                return Some(Self { mounted });
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        say(&format!(
            "SKIPPED: this test may not mount a disk: {reason}"
        ));
        None
    }

    /// Somebody else takes what is free, to the last byte.
    fn fill_up(&self, name: &str) {
        let mut file = File::create(self.mounted.join(name)).unwrap();
        loop {
            match file.write(&[0; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file of it open keeps it.
        let unmounted = Command::new("umount").arg("-l").arg(&self.mounted).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            say(&format!("{} stays mounted", self.mounted.display()));
        }
    }
}

/// Changes what takes no room for long, on a disk without any: until the log has used its reserve
/// for that, and on.
async fn change_without_room(client: &Client, process: &Process) {
    let admin = client.admin();
    let change = async || {
        admin.create_topic("passing", 1).await.unwrap();
        admin.delete_topic("passing").await.unwrap();
    };
    let reserve = process.data().join("log/reserve");
    let mut changes = 0;
    while reserve.exists() {
        assert!(changes < CHANGES_MAX, "the reserve is never used");
        change().await;
        changes += 1;
    }
    say(&format!("the reserve is used after {changes} changes"));
    for _ in 0..CHANGES_MORE {
        change().await;
    }
}

/// Sends until the disk is full; answers how many were acknowledged.
async fn fill(client: &Client, topic: &str) -> u64 {
    let opened = client.producer(topic).compression(Compression::None);
    let producer = opened.retry_timeout(SOON).open().await.unwrap();
    let mut rng = StdRng::seed_from_u64(19);
    let mut acknowledged = 0;
    for _ in 0..RECORDS_MAX {
        let mut value = vec![0; RECORD_BYTES];
        rng.fill_bytes(&mut value);
        match producer.publish(Record::new(value)).await {
            Ok(_) => acknowledged += 1,
            Err(PublishError::Refused(fault)) => {
                say(&format!("after {acknowledged} records: {fault}"));
                assert_eq!(fault.code, ErrorCode::DiskFull, "{fault}");
                return acknowledged;
            }
            // Its time was over while it was on its way again.
            Err(PublishError::OutcomeUnknown { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("{RECORDS_MAX} records of {RECORD_BYTES} bytes fit {DISK}");
}

/// Reads from the first record that is held; answers how many there are.
async fn read(client: &Client, topic: &str, records: u64) -> u64 {
    let subscriber = client.subscribe([topic]).open().await.unwrap();
    let held = usize::try_from(records).unwrap();
    let found = subscriber.take(held).map(Result::unwrap).count();
    let found = tokio::time::timeout(STEP_MAX, found).await;
    found.expect("all that was acknowledged is read") as u64
}

/// Sends one record, as often as it takes until there is room.
async fn takes_records_again(client: &Client, topic: &str) {
    let producer = client.producer(topic).open().await.unwrap();
    let sent = tokio::time::timeout(STEP_MAX, producer.send(Record::new("again")));
    let ticket = sent.await.expect("there is room in the producer").unwrap();
    let outcome = tokio::time::timeout(STEP_MAX, ticket).await;
    let outcome = outcome
        .expect("records are taken once there is room")
        .unwrap();
    assert!(matches!(outcome, RecordOutcome::Stored(_)), "{outcome:?}");
    producer.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_records_only() {
    let directory: TempDir = tempfile::tempdir().unwrap();
    // The configuration lies beside the data, on the large disk.
    let data = directory.path().join("data");
    std::fs::create_dir(&data).unwrap();
    let Some(disk) = Disk::mount(&data) else {
        return;
    };
    let config = format!("{SMALL_FILES}{RESERVE}");
    let setup = setup().configured(config);
    let mut process = block_in_place(|| Process::start_in(setup, directory));
    let reserve = process.data().join("log/reserve");
    let patient = connect(&process).await;
    let client = connect_for(&process, SOON).await.unwrap();
    let admin = patient.admin();
    for topic in ["large", "doomed", "small"] {
        admin.create_topic(topic, 1).await.unwrap();
    }
    let small = patient.producer("small").open().await.unwrap();
    for _ in 0..10 {
        small.publish(Record::new("kept")).await.unwrap();
    }
    small.close().await.unwrap();

    let large = fill(&client, "large").await;
    assert!(large > 0, "nothing fits");
    // Everything but records goes on.
    assert_eq!(read(&client, "large", large).await, large);
    assert_eq!(read(&client, "small", 10).await, 10);
    admin.create_topic("late", 1).await.unwrap();
    admin.delete_topic("late").await.unwrap();

    block_in_place(|| disk.fill_up("others"));
    assert_eq!(read(&client, "small", 10).await, 10);
    change_without_room(&patient, &process).await;
    admin.delete_topic("large").await.unwrap();
    takes_records_again(&patient, "doomed").await;
    assert!(reserve.exists(), "records are taken with a reserve only");

    // The same again, given back by truncating, and then by a topic that is deleted.
    let doomed = 1 + fill(&client, "doomed").await;
    assert_eq!(read(&client, "doomed", doomed).await, doomed);
    let truncate = TruncateTopic {
        name: "doomed".parse().unwrap(),
        before_offset: Some(Offset::new(doomed)),
        before_time: None,
        partition: None,
    };
    admin.truncate_topic(&truncate).await.unwrap();
    takes_records_again(&patient, "small").await;

    // A kill on a disk that is full, and a start on it.
    let doomed = 1 + fill(&patient, "small").await;
    block_in_place(|| {
        disk.fill_up("more of others");
        process.restart();
    });
    let client = connect(&process).await;
    assert_eq!(read(&client, "small", 10 + doomed).await, 10 + doomed);
    block_in_place(|| disk.fill_up("all of others"));
    change_without_room(&client, &process).await;

    // The same without the reserve.
    client.close().await;
    block_in_place(|| process.restart());
    assert!(!reserve.exists(), "there is no room for it");
    let client = connect(&process).await;
    change_without_room(&client, &process).await;
    assert_eq!(read(&client, "small", 10 + doomed).await, 10 + doomed);
    let truncate = TruncateTopic {
        name: "small".parse().unwrap(),
        before_offset: Some(Offset::new(10 + doomed)),
        ..truncate
    };
    client.admin().truncate_topic(&truncate).await.unwrap();
    takes_records_again(&client, "small").await;
    assert_eq!(read(&client, "small", 1).await, 1);
    assert!(reserve.exists(), "it was made anew");
    for client in [client, patient] {
        client.close().await;
    }
    drop(process);
}
