//! Subscribers that catch up: each reads a topic from its beginning to its end, again and again,
//! over a connection of its own. They run on a thread apart, so that what they cost the client is
//! not taken for a delay of the broker.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use weir_sdk::Client;

use crate::exit::Failure;
use crate::verb::bench::Load;
use crate::verb::bench::consume::fill;
use crate::verb::bench::load;
use crate::verb::bench::site::{Site, forget_cached};

/// What they read: more than a broker's cache holds by default (192 MiB), so that a part of each
/// reading comes from files.
const BYTES: u64 = 256 << 20;
/// Bytes of a batch of it, about.
const BATCH_BYTES: u32 = 500_000;
const BATCH_MAX: u32 = 1000;
/// How long the first readings may take to begin.
const BEGIN_MAX: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(10);

/// The readers, and what they have read.
pub struct Readers {
    topic: String,
    bytes: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
    ended: oneshot::Receiver<Result<(), Failure>>,
}

impl Readers {
    /// Stores what is read, and has that many read it.
    pub async fn start(site: &Site, count: u16, size: u32) -> Result<Self, Failure> {
        let topic = site.topic(1).await?;
        let stored = Load {
            size,
            batch: (BATCH_BYTES / size).clamp(1, BATCH_MAX),
            time: Duration::ZERO,
        };
        fill(
            site.client(),
            &topic,
            stored,
            &load::batches(stored)?,
            BYTES,
        )
        .await?;
        site.settle().await;
        let bytes = Arc::new(AtomicU64::new(0));
        let readers = (0..count).map(|number| Reader {
            client: site.client().dedicated(),
            topic: topic.clone(),
            size,
            bytes: Arc::clone(&bytes),
            // One is enough to keep the disk busy for all.
            cold: site.data().filter(|_| number == 0).map(PathBuf::from),
        });
        let readers: Vec<_> = readers.collect();
        let (stop, stopped) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        // Nobody listens any more when the process is ending.
        std::thread::spawn(move || end.send(run(readers, stopped)).ok());
        let mut this = Self {
            topic,
            bytes,
            stop,
            ended,
        };
        this.begun().await?;
        Ok(this)
    }

    /// Bytes of values that they have read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Ends them, and removes what they read; says what ended them before, if anything did.
    pub async fn end(self, site: &Site) -> Result<(), Failure> {
        self.stop.send(()).ok();
        let result = self.ended.await.unwrap_or_else(|_| Err(broke_down()));
        site.remove(&self.topic).await;
        result
    }

    async fn begun(&mut self) -> Result<(), Failure> {
        let begun = async {
            while self.bytes.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            begun = tokio::time::timeout(BEGIN_MAX, begun) => begun.map_err(|_| {
                let seconds = BEGIN_MAX.as_secs();
                Failure::failed(format!("the readers read nothing within {seconds} s"))
            }),
            ended = &mut self.ended => ended.unwrap_or_else(|_| Err(broke_down())),
        }
    }
}

fn broke_down() -> Failure {
    Failure::failed("the thread of the readers ended unexpectedly")
}

fn run(readers: Vec<Reader>, stopped: oneshot::Receiver<()>) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::failed(format!("cannot start: {error}")))?;
    runtime.block_on(async {
        let reading = try_join_all(readers.iter().map(Reader::run));
        let result = tokio::select! {
            biased;
            // Also when nobody is there any more who could say it.
            _ = stopped => Ok(()),
            failed = reading => failed.map(drop),
        };
        join_all(readers.into_iter().map(|reader| reader.client.close())).await;
        result
    })
}

struct Reader {
    client: Client,
    topic: String,
    size: u32,
    bytes: Arc<AtomicU64>,
    /// The data directory whose files the operating system forgets before each reading.
    cold: Option<PathBuf>,
}

impl Reader {
    /// Reads until it is dropped.
    async fn run(&self) -> Result<Infallible, Failure> {
        loop {
            if let Some(data) = &self.cold {
                forget_cached(data)?;
            }
            let mut subscriber = self.client.subscribe([&self.topic]).open().await?;
            while !subscriber.is_caught_up() {
                let Some(batch) = subscriber.next_batch().await else {
                    return Err(Failure::failed("a reader's subscription ended too early"));
                };
                let bytes = u64::from(batch?.count()) * u64::from(self.size);
                self.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
        }
    }
}
