//! What the machine allows: QUIC alone, and the disk alone, in the same minutes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weir_log::vfs::{OpenMode, VfsFile};
use weir_log::{PageBuf, RealVfs, Vfs};
use weir_sdk::limits::{Direction, quinn_mb_per_s};

use super::load::Latencies;
use super::site::Site;
use crate::exit::Failure;
use crate::output;

/// How often QUIC is tried, and how long; the best counts.
const QUINN_TRIES: u32 = 3;
const QUINN_TIME: Duration = Duration::from_millis(800);
/// The file that is written over and over, and for how long.
const FILE_BYTES: u64 = 64 << 20;
const WRITE: usize = 1 << 20;
const DISK_TIME: Duration = Duration::from_millis(1500);
const PAGE: usize = 4096;
const SYNCS: usize = 300;

/// Which directions of QUIC are needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Client to broker.
    pub up: bool,
    /// Broker to client.
    pub down: bool,
}

impl Wanted {
    /// Client to broker.
    pub const UP: Self = Self {
        up: true,
        down: false,
    };
    /// Broker to client.
    pub const DOWN: Self = Self {
        up: false,
        down: true,
    };
    /// Both.
    pub const BOTH: Self = Self {
        up: true,
        down: true,
    };
}

/// The limits; those that do not count here, or cannot be known, are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// QUIC alone, client to broker, 10^6 bytes per second.
    pub quinn_up: Option<f64>,
    /// QUIC alone, broker to client.
    pub quinn_down: Option<f64>,
    /// Appends of 1 MiB, each synced.
    pub disk: Option<f64>,
    /// The median of a synced write of 4 KiB, in microseconds.
    pub fdatasync_us: Option<f64>,
}

impl Limits {
    /// Measures them while the broker idles.
    pub async fn measure(site: &Site, wanted: Wanted) -> Result<Self, Failure> {
        output::note("measuring the limits of this machine");
        let directory = site.disk().map(Path::to_owned);
        tokio::task::spawn_blocking(move || {
            let mut limits = Self::default();
            let quinn = |direction| {
                best(direction).map_err(|error| Failure::failed(format!("QUIC alone: {error}")))
            };
            if wanted.up {
                limits.quinn_up = Some(quinn(Direction::Up)?);
            }
            if wanted.down {
                limits.quinn_down = Some(quinn(Direction::Down)?);
            }
            match directory.map(|directory| disk(&directory)) {
                None => {}
                Some(Ok((rate, sync))) => {
                    limits.disk = Some(rate);
                    limits.fdatasync_us = Some(sync);
                }
                Some(Err(error)) => output::note(&format!("the disk cannot be measured: {error}")),
            }
            Ok(limits)
        })
        .await
        .map_err(|error| Failure::failed(format!("measuring the limits ended early: {error}")))?
    }
}

/// The median of a synced write of 4 KiB now, in microseconds; none where broker and bench do not
/// share the disk.
pub async fn fdatasync_us(site: &Site) -> Result<Option<f64>, Failure> {
    on_disk(site, median_sync).await
}

/// What becomes due bit by bit, as a steady load does.
#[derive(Clone, Copy, Debug)]
pub struct Ticks {
    /// The time between two bits.
    pub every: Duration,
    /// How large one is.
    pub bytes: usize,
    /// How long there are such.
    pub time: Duration,
}

/// How long after it was due each bit is on the disk, without a broker: as in the broker, all that
/// is due is written and synced together. None where broker and bench do not share the disk.
pub async fn synced_ticks(site: &Site, ticks: Ticks) -> Result<Option<Latencies>, Failure> {
    on_disk(site, move |file| sync_ticks(file, ticks)).await
}

/// Measures on the broker's disk, if this process can write there.
async fn on_disk<T: Send + 'static>(
    site: &Site,
    measure: impl FnOnce(&Arc<dyn VfsFile>) -> io::Result<T> + Send + 'static,
) -> Result<Option<T>, Failure> {
    let Some(directory) = site.disk().map(Path::to_owned) else {
        return Ok(None);
    };
    let failed = |error: &dyn std::fmt::Display| {
        Failure::failed(format!("the disk cannot be measured: {error}"))
    };
    let work = tokio::task::spawn_blocking(move || with_file(&directory, measure));
    let measured = work.await.map_err(|error| failed(&error))?;
    measured.map(Some).map_err(|error| failed(&error))
}

fn best(direction: Direction) -> io::Result<f64> {
    let mut best = 0.0_f64;
    for _ in 0..QUINN_TRIES {
        best = best.max(quinn_mb_per_s(direction, QUINN_TIME)?);
    }
    Ok(best)
}

/// Rate of synced writes of 1 MiB (10^6 bytes per second), and the median of a small one in
/// microseconds.
fn disk(directory: &Path) -> io::Result<(f64, f64)> {
    with_file(directory, |file| Ok((rate(file)?, median_sync(file)?)))
}

/// Measures with a file that is allocated and written already, as the WAL's are.
fn with_file<T>(
    directory: &Path,
    measure: impl FnOnce(&Arc<dyn VfsFile>) -> io::Result<T>,
) -> io::Result<T> {
    let vfs = RealVfs::new();
    let path = directory.join(format!("weir-bench-{:016x}", vfs.nonce()));
    let file = vfs.open(&path, OpenMode::Create { direct: true })?;
    let measured = fill(&file).and_then(|()| measure(&file));
    drop(file);
    vfs.remove(&path)?;
    measured
}

fn fill(file: &Arc<dyn VfsFile>) -> io::Result<()> {
    file.allocate(FILE_BYTES)?;
    let block = PageBuf::with_len(WRITE);
    for offset in (0..FILE_BYTES).step_by(WRITE) {
        file.write_vectored_at(&[IoSlice::new(block.as_slice())], offset)?;
    }
    file.sync_all()
}

fn rate(file: &Arc<dyn VfsFile>) -> io::Result<f64> {
    let block = PageBuf::from_slice(&[0x57; WRITE]);
    let begin = Instant::now();
    let mut written = 0_u64;
    while begin.elapsed() < DISK_TIME {
        file.write_vectored_at(&[IoSlice::new(block.as_slice())], written % FILE_BYTES)?;
        file.sync_data()?;
        written += WRITE as u64;
    }
    Ok(written as f64 / 1e6 / begin.elapsed().as_secs_f64())
}

fn median_sync(file: &Arc<dyn VfsFile>) -> io::Result<f64> {
    let page = PageBuf::from_slice(&[0x57; PAGE]);
    let mut times = Vec::with_capacity(SYNCS);
    for number in 0..SYNCS {
        let begin = Instant::now();
        file.write_vectored_at(&[IoSlice::new(page.as_slice())], (number * PAGE) as u64)?;
        file.sync_data()?;
        times.push(begin.elapsed());
    }
    times.sort_unstable();
    let median = times.get(SYNCS / 2).copied().unwrap_or_default();
    Ok(median.as_secs_f64() * 1e6)
}

fn sync_ticks(file: &Arc<dyn VfsFile>, ticks: Ticks) -> io::Result<Latencies> {
    let page = PageBuf::from_slice(&[0x57; WRITE]);
    let total = (ticks.time.as_nanos() / ticks.every.as_nanos()) as u32;
    let mut latencies = Latencies::new();
    let begin = Instant::now();
    let (mut done, mut offset) = (0, 0);
    while done < total {
        std::thread::sleep((ticks.every * (done + 1)).saturating_sub(begin.elapsed()));
        let due = (begin.elapsed().as_nanos() / ticks.every.as_nanos()) as u32;
        let due = due.min(total);
        let mut left = (ticks.bytes * (due - done) as usize).next_multiple_of(PAGE);
        while left > 0 {
            let bytes = left.min(WRITE);
            if offset + bytes > FILE_BYTES as usize {
                offset = 0;
            }
            file.write_vectored_at(&[IoSlice::new(&page.as_slice()[..bytes])], offset as u64)?;
            (left, offset) = (left - bytes, offset + bytes);
        }
        file.sync_data()?;
        let now = begin.elapsed();
        for tick in done..due {
            latencies.add(now.saturating_sub(ticks.every * (tick + 1)));
        }
        done = due;
    }
    Ok(latencies)
}
