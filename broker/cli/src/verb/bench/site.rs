//! The broker under test: one of its own, or the one that the flags and contexts name.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use weir_broker::data_dir::DataDir;
use weir_log::{RealVfs, Vfs};
use weir_sdk::Client;
use weir_wire::id::Timestamp;
use weir_wire::name::TopicName;
use weir_wire::request::TruncateTopic;

use super::PlaceArgs;
use crate::connect::connect;
use crate::embedded::Embedded;
use crate::exit::{Exit, Failure};
use crate::output;

/// When the files of a broker have not changed for so long, it rests.
const SETTLED: Duration = Duration::from_secs(1);
const SETTLING_MAX: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(100);

/// The broker, and a client of it.
#[derive(Debug)]
pub struct Site {
    client: Client,
    own: Option<(Embedded, tempfile::TempDir)>,
    /// The broker's data directory, where that is this machine's.
    data: Option<PathBuf>,
}

/// Files of a broker's log, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Files {
    /// Files of the WAL.
    pub wal: Vec<String>,
    /// Segments, in the order in which they were made.
    pub segments: Vec<String>,
}

impl Files {
    fn of(data: &Path) -> Self {
        let log = DataDir::new(data).log();
        let list = |folder: &str, ending: &str| {
            let names = RealVfs::new().list(&log.join(folder));
            let mut names = names.unwrap_or_default();
            names.retain(|name| name.ends_with(ending));
            names
        };
        Self {
            wal: list("wal", ".wal"),
            segments: list("segments", ".seg"),
        }
    }

    /// Segments made since then that are still there.
    pub fn segments_since(&self, before: &Self) -> usize {
        let last = before.segments.last();
        let new = |name: &&String| last.is_none_or(|last| *name > last);
        self.segments.iter().filter(new).count()
    }
}

/// Blocks that a broker's log has written since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Blocks {
    count: f64,
    bytes: f64,
}

impl Blocks {
    /// What one written since then held on average.
    pub fn mean_since(self, before: Self) -> Option<u64> {
        let (count, bytes) = (self.count - before.count, self.bytes - before.bytes);
        (count > 0.0).then(|| (bytes / count) as u64)
    }

    fn of_metrics(text: &str) -> Option<Self> {
        let value = |name: &str| {
            let mut lines = text.lines();
            let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line?.trim().parse().ok()
        };
        Some(Self {
            count: value("weir_block_bytes_count")?,
            bytes: value("weir_block_bytes_sum")?,
        })
    }
}

impl Site {
    /// Starts or finds the broker.
    pub async fn open(args: &PlaceArgs) -> Result<Self, Failure> {
        if let Some(directory) = &args.embedded {
            return Self::embedded(directory).await;
        }
        let client = connect(&args.connect).await?;
        let status = client.admin().status().await?;
        Ok(Self {
            client,
            own: None,
            data: same_machine(PathBuf::from(&status.data_dir)),
        })
    }

    /// Starts one in a new folder of that directory.
    pub async fn embedded(directory: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| {
            Failure::failed(format!("cannot use {}: {error}", directory.display()))
        };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let folder = tempfile::Builder::new()
            .prefix("weir-bench-")
            .tempdir_in(directory)
            .map_err(unusable)?;
        let data = folder.path().join("data");
        let broker = Embedded::start(&data).await?;
        Ok(Self {
            client: broker.connect().await?,
            data: Some(data),
            own: Some((broker, folder)),
        })
    }

    /// The client.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// A directory on the broker's disk, if this machine can write there.
    pub fn disk(&self) -> Option<&Path> {
        self.data.as_deref().and_then(Path::parent)
    }

    /// The broker's data directory, where that is this machine's.
    pub fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// The files of the broker's log, where this machine has them.
    pub fn files(&self) -> Option<Files> {
        self.data().map(Files::of)
    }

    /// Waits until the broker has no files to make or remove any more, so that its work behind a
    /// measurement does not disturb the next one.
    pub async fn settle(&self) {
        let begin = Instant::now();
        let mut before = self.files();
        let mut since = begin;
        while before.is_some() && since.elapsed() < SETTLED && begin.elapsed() < SETTLING_MAX {
            tokio::time::sleep(LOOK).await;
            let now = self.files();
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
    }

    /// Makes the operating system forget what it holds of these files in memory; `false` where
    /// they are not this machine's.
    pub fn cool_down(&self) -> Result<bool, Failure> {
        self.data.as_deref().map(forget_cached).transpose()?;
        Ok(self.data.is_some())
    }

    /// What the broker's log has written so far, where this process runs the broker.
    pub async fn blocks(&self) -> Option<Blocks> {
        let (broker, _) = self.own.as_ref()?;
        Blocks::of_metrics(&broker.metrics().await.ok()?)
    }

    /// Makes a topic for a measurement.
    pub async fn topic(&self, partitions: u32) -> Result<String, Failure> {
        let name = format!("bench-{:08x}", rand::random::<u32>());
        self.client.admin().create_topic(&name, partitions).await?;
        Ok(name)
    }

    /// Removes its records.
    pub async fn empty(&self, topic: &str) -> Result<(), Failure> {
        let name = topic.parse::<TopicName>();
        let request = TruncateTopic {
            name: name.map_err(|error| Failure::of(Exit::Failed, &error))?,
            before_offset: None,
            before_time: Some(Timestamp::new(i64::MAX)),
            partition: None,
        };
        self.client.admin().truncate_topic(&request).await?;
        Ok(())
    }

    /// Removes it.
    pub async fn remove(&self, topic: &str) {
        if let Err(error) = self.client.admin().delete_topic(topic).await {
            output::note(&format!("the topic {topic} stays: {error}"));
        }
    }

    /// Ends what was begun.
    pub async fn close(self) {
        self.client.close().await;
        if let Some((broker, folder)) = self.own {
            broker.stop().await;
            let path = folder.path().to_owned();
            if let Err(error) = folder.close() {
                output::note(&format!("{} stays: {error}", path.display()));
            }
        }
    }
}

/// Makes the operating system forget what it holds in memory of the log in that data directory.
pub fn forget_cached(data: &Path) -> Result<(), Failure> {
    let (log, files) = (DataDir::new(data).log(), Files::of(data));
    let wal = files.wal.iter().map(|name| log.join("wal").join(name));
    let segments = files.segments.iter();
    for path in wal.chain(segments.map(|name| log.join("segments").join(name))) {
        match RealVfs::new().drop_cached(&path) {
            // Files come and go while a broker runs.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                let path = path.display();
                return Err(Failure::failed(format!("cannot read {path}: {error}")));
            }
            _ => {}
        }
    }
    Ok(())
}

/// A data directory, if it is one of this machine that a broker has locked: then broker and bench
/// share the disk.
fn same_machine(data: PathBuf) -> Option<PathBuf> {
    let is_here = data.is_absolute() && DataDir::new(&data).is_locked(&RealVfs::new());
    is_here.then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_segments_are_those_with_later_names() {
        let files = |segments: &[&str]| Files {
            segments: segments.iter().map(|name| (*name).to_owned()).collect(),
            ..Files::default()
        };
        let before = files(&["01.seg", "04.seg"]);
        assert_eq!(
            files(&["04.seg", "05.seg", "07.seg"]).segments_since(&before),
            2
        );
        assert_eq!(files(&["01.seg"]).segments_since(&files(&[])), 1);
    }

    #[test]
    fn blocks_are_read_from_metrics() {
        let text = "# TYPE weir_block_bytes histogram\nweir_block_bytes_sum 4096.0\n\
                    weir_block_bytes_count 2\n";
        let before = Blocks::of_metrics(text).unwrap();
        let after = Blocks {
            count: 4.0,
            bytes: 20_480.0,
        };
        assert_eq!(after.mean_since(before), Some(8192));
        assert_eq!(before.mean_since(before), None);
        assert_eq!(Blocks::of_metrics("weir_block_bytes_sum 1"), None);
    }
}
