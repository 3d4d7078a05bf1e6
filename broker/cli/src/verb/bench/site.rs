//! The broker under test: one of its own, or the one that the flags and contexts name.

use std::path::{Path, PathBuf};

use weir_broker::data_dir::DataDir;
use weir_sdk::Client;

use super::BrokerArgs;
use crate::connect::connect;
use crate::embedded::Embedded;
use crate::exit::Failure;
use crate::output;

/// The broker, and a client of it.
#[derive(Debug)]
pub struct Site {
    client: Client,
    own: Option<(Embedded, tempfile::TempDir)>,
    /// A directory on the disk that the broker writes to, where that is this machine's.
    disk: Option<PathBuf>,
}

impl Site {
    /// Starts or finds the broker.
    pub async fn open(args: &BrokerArgs) -> Result<Self, Failure> {
        if let Some(directory) = &args.embedded {
            return Self::embedded(directory).await;
        }
        let client = connect(&args.connect).await?;
        let status = client.admin().status().await?;
        Ok(Self {
            client,
            own: None,
            disk: same_machine(Path::new(&status.data_dir)),
        })
    }

    async fn embedded(directory: &Path) -> Result<Self, Failure> {
        let unusable = |error: std::io::Error| {
            Failure::failed(format!("cannot use {}: {error}", directory.display()))
        };
        std::fs::create_dir_all(directory).map_err(unusable)?;
        let folder = tempfile::Builder::new()
            .prefix("weir-bench-")
            .tempdir_in(directory)
            .map_err(unusable)?;
        let broker = Embedded::start(&folder.path().join("data")).await?;
        Ok(Self {
            client: broker.connect().await?,
            disk: Some(folder.path().to_owned()),
            own: Some((broker, folder)),
        })
    }

    /// The client.
    pub const fn client(&self) -> &Client {
        &self.client
    }

    /// A directory on the broker's disk, if this machine can write there.
    pub fn disk(&self) -> Option<&Path> {
        self.disk.as_deref()
    }

    /// Makes a topic of one partition for a measurement.
    pub async fn topic(&self) -> Result<String, Failure> {
        let name = format!("bench-{:08x}", rand::random::<u32>());
        self.client.admin().create_topic(&name, 1).await?;
        Ok(name)
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

/// The folder beside a data directory, if that is a directory of this machine that a broker has
/// locked: then broker and bench share the disk.
fn same_machine(data: &Path) -> Option<PathBuf> {
    let is_here = data.is_absolute() && DataDir::new(data).is_locked(&weir_log::RealVfs::new());
    data.parent().filter(|_| is_here).map(Path::to_owned)
}
