//! WAL files: fixed in size, allocated before they are used, zeroed as far as time permits.
//!
//! Writing into zeroed blocks of a file takes the disk one step, into allocated ones two, and
//! into new ones three; so the next file is prepared while the current one fills. Zeros pay where
//! single small blocks are synced (62 instead of 94 µs), not where files fill within a second.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_wire::id::ShardId;

use crate::config::DiskReserve;
use crate::format::file_header::FileHeader;
use crate::ids::{FileSequence, NodeId, Nonce};
use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs, VfsFile};

mod shared;

pub(crate) use shared::{Files, Spare};

/// Zeroing in pieces of that size with pauses leaves the disk to the log.
const ZERO_BYTES: usize = 256 << 10;
const ZERO_PAUSE: Duration = Duration::from_millis(2);
/// The first file of a log has nothing beside it to be left in peace, but a start to keep short.
const ZERO_FIRST_BYTES: usize = 1 << 20;
const ZERO_FIRST_MAX: Duration = Duration::from_millis(200);
/// A file that is wanted sooner than that is not worth zeroing: under such a load zeros would
/// take from the disk what the log needs, and would not be done in time.
const ZERO_AFTER: Duration = Duration::from_secs(1);
/// How soon a full disk is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// The end of a WAL file's name.
pub(super) const WAL_SUFFIX: &str = ".wal";
/// The end of the name of a file that is being made.
pub(super) const MAKING_SUFFIX: &str = ".making";

/// Where a WAL file is.
pub(crate) fn file_path(dir: &Path, sequence: FileSequence) -> PathBuf {
    wal_dir(dir).join(format!("{:016}{WAL_SUFFIX}", sequence.value()))
}

/// What a WAL file is called while it is being made.
pub(super) fn making_path(dir: &Path, sequence: FileSequence) -> PathBuf {
    wal_dir(dir).join(format!("{:016}{MAKING_SUFFIX}", sequence.value()))
}

/// The directory of the WAL files.
pub(crate) fn wal_dir(dir: &Path) -> PathBuf {
    dir.join("wal")
}

/// A file to write to.
#[derive(Debug)]
pub(crate) struct WalFile {
    pub(crate) file: Arc<dyn VfsFile>,
    pub(crate) path: PathBuf,
    pub(crate) sequence: FileSequence,
    pub(crate) nonce: Nonce,
    /// Where the next block goes.
    pub(crate) position: u64,
    /// How long it is; the configuration may have changed since it was made.
    pub(crate) bytes: u64,
    /// It was another file before, so that zeros would be of no use.
    pub(crate) recycled: bool,
}

/// How files are made.
#[derive(Debug)]
pub(crate) struct Maker {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) dir: PathBuf,
    pub(crate) shard: ShardId,
    pub(crate) node: NodeId,
    pub(crate) bytes: u64,
    pub(crate) files: Arc<Files>,
    /// What is to be left free on the disk.
    pub(crate) reserve: DiskReserve,
}

impl Maker {
    /// A new file, allocated and durable: one that is no longer needed under a new name, or, if
    /// there is none, one made from nothing. The reserve's room is only for a file that is
    /// `wanted`, not for one that is made ahead of need.
    pub(crate) fn make(&self, sequence: FileSequence, wanted: bool) -> io::Result<WalFile> {
        let spare = self.files.take_spare(self.bytes);
        let reserved = self.files.reserve().bytes() > 0;
        if spare.is_none() && !reserved && !(wanted && self.leaves_room()) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        match self.make_of(sequence, spare) {
            Err(error) if wanted && is_full(&error) && self.files.give_up_reserve()? => {
                self.make_of(sequence, None)
            }
            made => made,
        }
    }

    /// Whether a file more leaves the archiver half as much for what gives files back, and what the
    /// state's sections take.
    fn leaves_room(&self) -> bool {
        let needed = self.bytes + self.bytes / 2 + self.files.reserve().for_sections();
        // A disk that does not tell is found to be full when it is.
        let space = self.vfs.free_space(&self.dir);
        !space.is_ok_and(|space| space.free < needed)
    }

    fn make_of(&self, sequence: FileSequence, spare: Option<Spare>) -> io::Result<WalFile> {
        let making = making_path(&self.dir, sequence);
        let made = self.try_make(sequence, &making, spare);
        if made.is_err() {
            // Half a file is worth nothing, and its room may be what is missing.
            let _ = self.vfs.remove(&making);
        }
        made
    }

    fn look_at_the_disk(&self) {
        let Self { vfs, dir, .. } = self;
        self.files.look_at_the_disk(&**vfs, dir, self.reserve);
    }

    fn try_make(
        &self,
        sequence: FileSequence,
        making: &Path,
        spare: Option<Spare>,
    ) -> io::Result<WalFile> {
        let recycled = spare.is_some();
        let file = match spare {
            Some(spare) => self.recycle(&spare, making)?,
            None => {
                let file = self.vfs.open(making, OpenMode::Create { direct: true })?;
                file.allocate(self.bytes)?;
                self.files.add(self.bytes);
                file
            }
        };
        let nonce = Nonce::new(self.vfs.nonce());
        let pages = u32::try_from(self.bytes / PAGE_BYTES as u64).map_err(io::Error::other)?;
        let header = FileHeader {
            sequence,
            nonce,
            node: self.node,
            shard: self.shard,
            pages,
        }
        .encode();
        let mut page = PageBuf::from_slice(&header);
        page.pad();
        file.write_vectored_at(&[IoSlice::new(page.padded())], 0)?;
        file.sync_all()?;
        // Only a whole file ever bears its name, so that a damaged one cannot pass for one that
        // was being made.
        let path = file_path(&self.dir, sequence);
        self.vfs.rename(making, &path)?;
        self.vfs.sync_dir(&wal_dir(&self.dir))?;
        let position = PAGE_BYTES as u64;
        Ok(WalFile {
            file,
            path,
            sequence,
            nonce,
            position,
            bytes: self.bytes,
            recycled,
        })
    }

    /// Takes an old file's name from it, for good, before anything in it changes: what bears a
    /// WAL file's name is whole.
    fn recycle(&self, spare: &Spare, making: &Path) -> io::Result<Arc<dyn VfsFile>> {
        self.vfs
            .rename(&file_path(&self.dir, spare.sequence), making)?;
        self.vfs.sync_dir(&wal_dir(&self.dir))?;
        self.vfs.open(making, OpenMode::Write { direct: true })
    }

    /// Writes zeros until the end, or until the file is wanted, or there is no room for them: the
    /// file is as good without.
    fn zero(&self, file: &WalFile, signal: &Signal) -> io::Result<()> {
        if file.recycled || signal.wait(file.sequence, ZERO_AFTER) {
            return Ok(());
        }
        let zeroed = write_zeros(file, ZERO_BYTES, || signal.wait(file.sequence, ZERO_PAUSE));
        zeroed.or_else(|error| if is_full(&error) { Ok(()) } else { Err(error) })
    }

    /// Writes zeros into the first file of a log, before anybody writes to it: as fast as the
    /// disk takes them, and as far as a start may take that long.
    pub(super) fn zero_first(file: &WalFile) -> io::Result<()> {
        let begun = Instant::now();
        write_zeros(file, ZERO_FIRST_BYTES, || begun.elapsed() > ZERO_FIRST_MAX)
    }
}

/// Writes zeros in pieces of that size until the end of the file, or until it is to stop.
fn write_zeros(file: &WalFile, piece: usize, mut stops: impl FnMut() -> bool) -> io::Result<()> {
    let mut zeros = PageBuf::with_len(piece);
    zeros.pad();
    let mut position = file.position;
    while position < file.bytes && !stops() {
        let length = piece.min(usize::try_from(file.bytes - position).unwrap_or(piece));
        let zeros = zeros.padded().get(..length).unwrap_or_default();
        file.file
            .write_vectored_at(&[IoSlice::new(zeros)], position)?;
        position += length as u64;
    }
    file.file.sync_data()
}

/// Where the next file comes from.
#[derive(Debug)]
pub(crate) enum Supply {
    /// Made when it is asked for.
    OnDemand(Maker),
    /// Made ahead by a thread.
    Ahead(Ahead),
}

impl Supply {
    pub(crate) fn new(maker: Maker, next: FileSequence, ahead: bool) -> io::Result<Self> {
        if ahead {
            Ahead::start(maker, next).map(Self::Ahead)
        } else {
            Ok(Self::OnDemand(maker))
        }
    }

    /// The file of that number. Waits for it; with a full disk, until there is room again or the
    /// log is to end.
    pub(crate) fn take(&mut self, sequence: FileSequence) -> io::Result<WalFile> {
        match self {
            Self::OnDemand(maker) => maker.make(sequence, true),
            Self::Ahead(ahead) => ahead.take(sequence),
        }
    }
}

/// A thread that has the next file ready.
#[derive(Debug)]
pub(crate) struct Ahead {
    signal: Arc<Signal>,
    ready: Receiver<io::Result<WalFile>>,
    thread: Option<JoinHandle<()>>,
}

/// Tells the thread that its file is wanted, or that it is to end.
#[derive(Debug, Default)]
struct Signal {
    state: Mutex<SignalState>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct SignalState {
    /// The newest file that somebody waits for, or waited for.
    wanted: FileSequence,
    ended: bool,
}

impl Signal {
    fn set(&self, change: impl FnOnce(&mut SignalState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn get(&self) -> SignalState {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits; answers whether that file is wanted or the thread is to end.
    fn wait(&self, file: FileSequence, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut SignalState| state.wanted < file && !state.ended;
        let waited = self.changed.wait_timeout_while(state, time, idle);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        !timeout.timed_out()
    }

    /// Waits in any case, but for the end; answers whether it has come.
    fn pause(&self, time: Duration) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(state, time, |s| !s.ended);
        waited.unwrap_or_else(PoisonError::into_inner).0.ended
    }
}

impl Ahead {
    fn start(maker: Maker, next: FileSequence) -> io::Result<Self> {
        let signal = Arc::new(Signal::default());
        let (give, ready) = sync_channel(0);
        let own = signal.clone();
        let thread = std::thread::Builder::new()
            .name("weir-wal-files".to_owned())
            .spawn(move || prepare(&maker, next, &own, &give))?;
        Ok(Self {
            signal,
            ready,
            thread: Some(thread),
        })
    }

    fn take(&self, sequence: FileSequence) -> io::Result<WalFile> {
        self.signal.set(|state| state.wanted = sequence);
        let file = self.ready.recv();
        file.unwrap_or_else(|_| Err(io::Error::other("the thread that prepares files ended")))
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.signal.set(|state| state.ended = true);
        // The thread may be handing a file over at this moment.
        let (_, nobody) = sync_channel(0);
        drop(std::mem::replace(&mut self.ready, nobody));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn prepare(
    maker: &Maker,
    mut next: FileSequence,
    signal: &Signal,
    give: &SyncSender<io::Result<WalFile>>,
) {
    while !signal.get().ended {
        // Under load, files are made more often than anybody else looks: records are refused in
        // time, while there is room left for everything else.
        maker.look_at_the_disk();
        let wanted = signal.get().wanted >= next;
        match maker.make(next, wanted) {
            Ok(file) => {
                maker.files.made_room();
                let result = maker.zero(&file, signal).map(|()| file);
                if give.send(result).is_err() {
                    return;
                }
                next = next.next();
            }
            Err(error) if is_full(&error) => {
                if wanted && maker.files.is_closing() {
                    let _ = give.send(Err(error));
                    return;
                }
                if maker.files.lacks_room(wanted) {
                    tracing::error!("no room for the next log file: producing is refused");
                }
                if wanted {
                    signal.pause(RETRY);
                } else {
                    signal.wait(next, RETRY);
                }
            }
            Err(error) => {
                let _ = give.send(Err(error));
                return;
            }
        }
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

#[cfg(test)]
mod tests;
