//! Data directories that a broker must not take: it says in one sentence which file is wrong,
//! where and what to do, ends with code 1, and leaves every byte as it was. What can be served
//! without the damaged part is served.

use std::path::{Path, PathBuf};
use std::process::Command;

use expect_test::{Expect, expect};
use futures_util::StreamExt;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;
use tokio::sync::OnceCell;
use weir_harness::client::connect;
use weir_harness::directory::{Refusal, copy_to, differences, files, refused, tree};
use weir_harness::process::{Process, SMALL_FILES};
use weir_harness::reading::soon;
use weir_harness::report::say;
use weir_sdk::wire::batch::Compression;
use weir_sdk::wire::id::{Offset, PartitionId};
use weir_sdk::{Client, Record, Start};

use crate::setup;

#[path = "directories/places.rs"]
mod places;

/// The topic whose partition gets segments of its own.
const ORDERS: &str = "orders";
/// The one whose batches share a segment with others.
const NOTES: &str = "notes";
/// Records sent together.
const TOGETHER: usize = 100;
/// A directory is full of every kind of file long before.
const ROUNDS_MAX: usize = 400;
const RECORD_BYTES: usize = 1000;
const PAGE_BYTES: u64 = 4096;

/// A directory with every kind of file in it, as a kill left it.
#[derive(Debug)]
struct Made {
    directory: TempDir,
    /// Whose log it is.
    node: String,
    /// The WAL file that reading begins with.
    wal: PathBuf,
    /// The segment that only `orders` has something in.
    segment: PathBuf,
    checkpoint: PathBuf,
    manifest: PathBuf,
}

static MADE: OnceCell<Made> = OnceCell::const_new();

/// It is made once; tests work on copies.
async fn made() -> &'static Made {
    MADE.get_or_init(make).await
}

async fn make() -> Made {
    let directory = tempfile::tempdir().unwrap();
    let setup = setup().configured(SMALL_FILES);
    let mut process = Process::start(setup);
    let client = connect(&process).await;
    for topic in [ORDERS, NOTES] {
        client.admin().create_topic(topic, 1).await.unwrap();
    }
    let log = process.data().join("log");
    let mut rng = StdRng::seed_from_u64(1);
    let mut rounds = 0;
    // Whatever is archived shows in the names of the files.
    while files(&log.join("segments")).len() < 3 {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "nothing goes to segments");
        produce(&client, ORDERS, TOGETHER, &mut rng).await;
        produce(&client, NOTES, 5, &mut rng).await;
    }
    client.close().await;
    process.kill();
    copy_tree(&process.data(), directory.path());

    let inspected = inspect(directory.path());
    let newest = inspected["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .max_by_key(|manifest| manifest["generation"].as_u64())
        .unwrap();
    let start = newest["wal_start"].as_u64().unwrap();
    let only_orders = |segment: &&Value| {
        let runs = segment["runs"].as_array().unwrap();
        segment["named"] == true && runs.iter().all(|run| run["topic"] == ORDERS)
    };
    let segments = inspected["segments"].as_array().unwrap();
    let segment = segments.iter().find(only_orders);
    let segment =
        segment.unwrap_or_else(|| panic!("no segment is of {ORDERS} alone: {inspected:#}"));
    let log = directory.path().join("log");
    Made {
        node: inspected["node"].as_str().unwrap().to_owned(),
        wal: log.join(format!("wal/{start:016}.wal")),
        segment: named(&log, "segments", segment),
        manifest: named(&log, "manifest", newest),
        checkpoint: files(&log.join("checkpoints"))
            .into_iter()
            .rfind(|path| path.display().to_string().contains("catalog"))
            .unwrap(),
        directory,
    }
}

fn named(log: &Path, directory: &str, object: &Value) -> PathBuf {
    let file = Path::new(object["file"].as_str().unwrap());
    log.join(directory).join(file.file_name().unwrap())
}

/// How `weir log verify` ends: what a broker refuses is not sound.
fn verified(data: &Path) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    let output = command.args(["log", "verify"]).arg(data).output().unwrap();
    output.status.code()
}

fn inspect(directory: &Path) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["log", "inspect", "--output", "json"]);
    let output = command.arg(directory).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

async fn produce(client: &Client, topic: &str, records: usize, rng: &mut StdRng) {
    let opened = client.producer(topic).compression(Compression::None);
    let producer = opened.batch_bytes(64 << 10).open().await.unwrap();
    let mut tickets = Vec::new();
    for _ in 0..records {
        let mut value = vec![0; RECORD_BYTES];
        rng.fill_bytes(&mut value);
        tickets.push(producer.send(Record::new(value)).await.unwrap());
    }
    for ticket in tickets {
        soon("an outcome", ticket).await.unwrap();
    }
    producer.close().await.unwrap();
}

fn copy_tree(from: &Path, to: &Path) {
    copy_to(&tree(from), to, |name| from.join(name).is_dir());
}

/// A copy of the directory, and where in it the files are.
struct Copy {
    directory: TempDir,
}

impl Copy {
    fn of(made: &Made) -> Self {
        let directory = tempfile::tempdir().unwrap();
        copy_tree(made.directory.path(), &directory.path().join("data"));
        Self { directory }
    }

    fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// Where a file of the original is here.
    fn at(&self, made: &Made, original: &Path) -> PathBuf {
        let name = original.strip_prefix(made.directory.path()).unwrap();
        self.data().join(name)
    }

    /// The broker refuses it, says this, and changes nothing.
    fn refused(&self, made: &Made, message: &Expect) {
        let before = tree(&self.data());
        let Refusal {
            code,
            message: text,
        } = refused(&setup().program, &self.data(), &[]);
        message.assert_eq(&self.neutral(made, &text));
        assert_eq!(code, Some(1), "{text}");
        let after = tree(&self.data());
        assert_eq!(
            differences(&before, &after),
            Vec::<PathBuf>::new(),
            "{text}"
        );
        assert_eq!(verified(&self.data()), Some(1), "{text}");
    }

    /// A message without what is different in every run.
    fn neutral(&self, made: &Made, text: &str) -> String {
        let mut text = text.replace(&self.directory.path().display().to_string(), "DIR");
        text = text.replace(&made.node, "ITS NODE");
        for (path, name) in [
            (&made.wal, "FIRST.wal"),
            (&made.segment, "ONE.seg"),
            (&made.checkpoint, "ONE.ckpt"),
            (&made.manifest, "NEWEST.manifest"),
        ] {
            text = text.replace(&*path.file_name().unwrap().to_string_lossy(), name);
        }
        let bytes = std::fs::read(&made.segment).unwrap();
        let (_, trailer) = bytes.split_last_chunk::<48>().unwrap();
        let (footer, _) = trailer.split_first_chunk::<8>().unwrap();
        let length = bytes.len() as u64;
        for (position, name) in [
            (length, "ITS END"),
            (length - PAGE_BYTES, "THE PAGE BEFORE ITS END"),
            (u64::from_le_bytes(*footer), "THE FOOTER"),
        ] {
            text = text.replace(&format!("at byte {position}:"), &format!("at {name}:"));
        }
        for sequence in 1..=20 {
            text = text.replace(&format!("while file {sequence} is"), "while another is");
        }
        text
    }
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Missing,
    /// So many bytes are gone from its end.
    Truncated(usize),
    /// A bit of that byte is another one; counted from the end if negative.
    Flipped(isize),
    /// Its format version is one that does not exist yet.
    Newer,
}

impl Harm {
    fn to(self, path: &Path) {
        match self {
            Self::Missing => std::fs::remove_file(path).unwrap(),
            Self::Truncated(bytes) => {
                change(path, |all| all.truncate(all.len().saturating_sub(bytes)));
            }
            Self::Flipped(at) => change(path, |all| {
                let at = if at < 0 {
                    all.len().strict_sub(at.unsigned_abs())
                } else {
                    at.unsigned_abs()
                };
                all[at] ^= 4;
            }),
            // Behind a magic of eight bytes, in every kind of file but one.
            Self::Newer => change(path, |all| all[8] = 9),
        }
    }
}

/// One of the files.
type File = fn(&Made) -> &PathBuf;

async fn check(file: File, harm: Harm, message: Expect) {
    let made = made().await;
    let copy = Copy::of(made);
    harm.to(&copy.at(made, file(made)));
    copy.refused(made, &message);
}

#[tokio::test]
async fn the_file_that_names_the_node() {
    let made = made().await;
    let check = |text: Option<&str>, message: Expect| {
        let copy = Copy::of(made);
        let path = copy.data().join("log/NODE");
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
        copy.refused(made, &message);
    };
    check(
        None,
        expect![
            "DIR/data/log/NODE: is missing, while there are log files; restore it from a copy; nothing was changed"
        ],
    );
    check(
        Some("weir-log 9 1\n"),
        expect![
            "DIR/data/log/NODE: at byte 9: it states a log format that this weir does not read (it reads 1); use the weir that wrote it, or a newer one; nothing was changed"
        ],
    );
    check(
        Some("weir-log 1\n"),
        expect!["DIR/data/log/NODE: names no node; restore it from a copy; nothing was changed"],
    );
    check(
        Some("somebody else's\n"),
        expect![
            "DIR/data/log/NODE: is not the node file of a Weir log; restore it from a copy; nothing was changed"
        ],
    );
    check(
        Some(""),
        expect![
            "DIR/data/log/NODE: is not the node file of a Weir log; restore it from a copy; nothing was changed"
        ],
    );
}

#[tokio::test]
async fn another_nodes_file() {
    let made = made().await;
    let copy = Copy::of(made);
    std::fs::write(copy.data().join("log/NODE"), "weir-log 1 1\n").unwrap();
    copy.refused(made, &expect![
        "DIR/data/log/manifest/NEWEST.manifest: belongs to node ITS NODE; NODE says 1: restore whichever of the two is not of this log; nothing was changed"
    ]);
}

#[tokio::test]
async fn a_wal_file() {
    let wal: File = |made| &made.wal;
    check(wal, Harm::Missing, expect!["DIR/data/log/wal/FIRST.wal: is missing, while another is there; restore it from a copy; nothing was changed"]).await;
    check(wal, Harm::Truncated(4096), expect!["acknowledged data is damaged: DIR/data/log/wal/FIRST.wal at byte 0: the file is not as long as its header says; partitions touched: unknown. Nothing was changed: restore this file from a copy"]).await;
    check(wal, Harm::Truncated(usize::MAX), expect!["acknowledged data is damaged: DIR/data/log/wal/FIRST.wal at byte 0: the file is shorter than its header; partitions touched: unknown. Nothing was changed: restore this file from a copy"]).await;
    check(wal, Harm::Newer, expect!["DIR/data/log/wal/FIRST.wal: at byte 8: its format version is not the one this weir reads (1); use the weir that wrote it, or a newer one; nothing was changed"]).await;
    check(wal, Harm::Flipped(2), expect!["acknowledged data is damaged: DIR/data/log/wal/FIRST.wal at byte 0: it is not a WAL file of weir; partitions touched: unknown. Nothing was changed: restore this file from a copy"]).await;
    check(wal, Harm::Flipped(40), expect!["acknowledged data is damaged: DIR/data/log/wal/FIRST.wal at byte 0: its header's checksum is wrong; partitions touched: unknown. Nothing was changed: restore this file from a copy"]).await;
    // The first block: what comes behind it was acknowledged.
    check(wal, Harm::Flipped(4096 + 20), expect!["acknowledged data is damaged: DIR/data/log/wal/FIRST.wal at byte 4116: its header's checksum is wrong; partitions touched: unknown. Nothing was changed: restore this file from a copy"]).await;
}

#[tokio::test]
async fn a_segment() {
    let segment: File = |made| &made.segment;
    check(segment, Harm::Missing, expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at byte 0: the file is missing, though a manifest names it; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
    check(segment, Harm::Truncated(4096), expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at THE PAGE BEFORE ITS END: no segment ends here; is the file cut off?; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
    check(segment, Harm::Truncated(usize::MAX), expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at byte 0: the file is shorter than a segment can be; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
    check(segment, Harm::Newer, expect!["DIR/data/log/segments/ONE.seg: at byte 8: its format version is not the one this weir reads (1); use the weir that wrote it, or a newer one; nothing was changed"]).await;
    check(segment, Harm::Flipped(2), expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at byte 0: it is not a segment of weir; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
    check(segment, Harm::Flipped(20), expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at byte 12: its header's checksum is wrong; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
    // The trailer, and what it leads to.
    check(segment, Harm::Flipped(-3), expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at ITS END: no segment ends here; is the file cut off?; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
    check(segment, Harm::Flipped(-30), expect!["acknowledged data is damaged: DIR/data/log/segments/ONE.seg at THE FOOTER: the footer's checksum is wrong; partitions touched: topic id 1 partition 0. Nothing was changed: restore this file from a copy"]).await;
}

#[tokio::test]
async fn a_checkpoint() {
    let checkpoint: File = |made| &made.checkpoint;
    check(checkpoint, Harm::Missing, expect!["acknowledged data is damaged: DIR/data/log/checkpoints/ONE.ckpt at byte 0: the file is missing, though a manifest names it; partitions touched: all. Nothing was changed: restore this file from a copy"]).await;
    check(checkpoint, Harm::Truncated(1), expect!["acknowledged data is damaged: DIR/data/log/checkpoints/ONE.ckpt at byte 59: it is not as long as it says; partitions touched: all. Nothing was changed: restore this file from a copy"]).await;
    check(checkpoint, Harm::Newer, expect!["DIR/data/log/checkpoints/ONE.ckpt: at byte 8: its format version is not the one this weir reads (1); use the weir that wrote it, or a newer one; nothing was changed"]).await;
    check(checkpoint, Harm::Flipped(2), expect!["acknowledged data is damaged: DIR/data/log/checkpoints/ONE.ckpt at byte 0: it is not a checkpoint of weir; partitions touched: all. Nothing was changed: restore this file from a copy"]).await;
    check(checkpoint, Harm::Flipped(-1), expect!["acknowledged data is damaged: DIR/data/log/checkpoints/ONE.ckpt at byte 59: its checksum is wrong; partitions touched: all. Nothing was changed: restore this file from a copy"]).await;
}

#[tokio::test]
async fn the_manifests() {
    let newest: File = |made| &made.manifest;
    check(newest, Harm::Newer, expect!["DIR/data/log/manifest/NEWEST.manifest: at byte 8: its format version is not the one this weir reads (1); use the weir that wrote it, or a newer one; nothing was changed"]).await;
    let made = made().await;
    let all = |harm: Harm, message: Expect| {
        let copy = Copy::of(made);
        for path in files(&copy.data().join("log/manifest")) {
            harm.to(&path);
        }
        copy.refused(made, &message);
    };
    all(
        Harm::Missing,
        expect![
            "DIR/data/log/manifest: holds no manifest, while there are segments or checkpoints; restore it from a copy; nothing was changed"
        ],
    );
    all(
        Harm::Truncated(1),
        expect![
            "acknowledged data is damaged: DIR/data/log/manifest/NEWEST.manifest at byte 16: it is not as long as it says, and there is no older manifest that is sound; partitions touched: all. Nothing was changed: restore this file from a copy"
        ],
    );
    all(
        Harm::Flipped(2),
        expect![
            "acknowledged data is damaged: DIR/data/log/manifest/NEWEST.manifest at byte 0: it is not a manifest of weir, and there is no older manifest that is sound; partitions touched: all. Nothing was changed: restore this file from a copy"
        ],
    );
    all(
        Harm::Flipped(40),
        expect![
            "acknowledged data is damaged: DIR/data/log/manifest/NEWEST.manifest at byte 12: its checksum is wrong, and there is no older manifest that is sound; partitions touched: all. Nothing was changed: restore this file from a copy"
        ],
    );
    all(
        Harm::Flipped(-1),
        expect![
            "acknowledged data is damaged: DIR/data/log/manifest/NEWEST.manifest at byte 12: its checksum is wrong, and there is no older manifest that is sound; partitions touched: all. Nothing was changed: restore this file from a copy"
        ],
    );
}

/// Whole folders of the log, as a copy that was cut short lacks them.
#[tokio::test]
async fn folders_of_the_log() {
    let made = made().await;
    assert_eq!(verified(made.directory.path()), Some(0));
    let check = |folders: &[&str], message: Expect| {
        let copy = Copy::of(made);
        for folder in folders {
            std::fs::remove_dir_all(copy.data().join("log").join(folder)).unwrap();
        }
        copy.refused(made, &message);
    };
    check(
        &["segments", "manifest"],
        expect![
            "DIR/data/log/manifest: holds no manifest, while there are segments or checkpoints; restore it from a copy; nothing was changed"
        ],
    );
    check(
        &["wal"],
        expect![
            "DIR/data/log/wal/FIRST.wal: is missing, while the manifest names it; restore it from a copy; nothing was changed"
        ],
    );
}

/// The log as a whole: a volume that is not mounted is no reason to begin anew.
#[tokio::test]
async fn the_log_itself() {
    let made = made().await;
    let check = |harm: fn(&Path), message: Expect| {
        let copy = Copy::of(made);
        std::fs::remove_dir_all(copy.data().join("log")).unwrap();
        harm(&copy.data());
        copy.refused(made, &message);
    };
    check(
        |_| {},
        expect![
            "DIR/data/log is missing, while a log was there before: is a volume not mounted? Mount it, or put the folder back from a copy; to begin with an empty log, remove DIR/data/log-made; nothing was changed"
        ],
    );
    check(
        |data| std::fs::create_dir(data.join("log")).unwrap(),
        expect![
            "DIR/data/log is empty, while a log was there before: is a volume not mounted? Mount it, or put the folder back from a copy; to begin with an empty log, remove DIR/data/log-made; nothing was changed"
        ],
    );
    let copy = Copy::of(made);
    std::fs::remove_dir_all(copy.data().join("log")).unwrap();
    std::fs::remove_file(copy.data().join("log-made")).unwrap();
    let process = Process::start_in(setup().configured(SMALL_FILES), copy.directory);
    let client = connect(&process).await;
    assert!(client.admin().list_topics().await.unwrap().is_empty());
    client.close().await;
}

/// One that is damaged does not matter while there is the one before it: everything is served.
#[tokio::test]
async fn the_newest_manifest_alone() {
    let made = made().await;
    for harm in [Harm::Missing, Harm::Truncated(1), Harm::Flipped(50)] {
        let copy = Copy::of(made);
        harm.to(&copy.at(made, &made.manifest));
        let process = Process::start_in(setup().configured(SMALL_FILES), copy.directory);
        let client = connect(&process).await;
        for topic in [ORDERS, NOTES] {
            let read = read(&client, topic).await;
            assert!(read.error.is_none(), "{harm:?}: {:?}", read.error);
            assert_eq!(read.records, read.end, "{harm:?}: {topic}");
        }
        client.close().await;
    }
}

/// The broker starts; what is damaged is refused where it is read, the rest is served.
#[tokio::test]
async fn a_segments_body() {
    let made = made().await;
    let copy = Copy::of(made);
    let bytes = std::fs::metadata(&made.segment).unwrap().len();
    let middle = isize::try_from(bytes / 2).unwrap();
    Harm::Flipped(middle).to(&copy.at(made, &made.segment));
    let root = copy.directory.path().display().to_string();
    let process = Process::start_in(setup().configured(SMALL_FILES), copy.directory);
    let client = connect(&process).await;
    let notes = read(&client, NOTES).await;
    assert_eq!((notes.error, notes.records), (None, notes.end));
    let orders = read(&client, ORDERS).await;
    assert!(orders.records < orders.end, "what is damaged was served");
    let error = orders.error.unwrap().replace(&root, "DIR");
    say(&format!("a damaged batch: {error}"));
    let name = made.segment.file_name().unwrap().to_string_lossy();
    assert!(error.contains(&*name), "{error}");
    // The partition takes more, and its end can be read.
    produce(&client, ORDERS, 3, &mut StdRng::seed_from_u64(2)).await;
    let end = Start::Offset(Offset::new(orders.end));
    let latest = client.subscribe([ORDERS]).from(end);
    let latest = latest.partition(PartitionId::new(0)).open().await.unwrap();
    let late = soon("what was stored last", latest.take(3).count()).await;
    assert_eq!(late, 3);
    client.close().await;
}

/// What a subscription of a whole topic brought.
#[derive(Debug)]
struct ReadBack {
    records: u64,
    /// What the partition says it holds.
    end: u64,
    error: Option<String>,
}

async fn read(client: &Client, topic: &str) -> ReadBack {
    let mut subscriber = client.subscribe([topic]).open().await.unwrap();
    let end = subscriber
        .partitions()
        .iter()
        .map(|at| at.end.value())
        .sum();
    let mut read = ReadBack {
        records: 0,
        end,
        error: None,
    };
    while read.records < end {
        match soon("a record or an error", subscriber.next()).await {
            Some(Ok(_)) => read.records += 1,
            Some(Err(error)) => {
                read.error = Some(error.to_string());
                break;
            }
            None => panic!("a subscription ends with an error, not silently"),
        }
    }
    read
}
