//! Where a lane's batches come from: memory where they are there, else the disk, off the network
//! thread and ahead of need. What comes from the disk has room in the broker's memory first.

use std::sync::Arc;

use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;
use weir_log::{Read, ReadError};
use weir_wire::id::{Offset, TopicPartition};

use crate::budget::{Permit, Share};
use crate::state::Shared;

/// Bytes of batches read at once for one partition, unless one alone is larger; and as few as a
/// reader gets that cannot keep up, so that little is read in vain.
const READ_BYTES: usize = 2 << 20;
const READ_BYTES_MIN: usize = 64 << 10;
/// Batches read at once for one partition.
const READ_BATCHES: usize = 256;

/// How many read from disk at a time: the log's syncs wait for what the disk is at, so a record at
/// the tail does, too.
pub(crate) const READS_AT_ONCE: usize = 2;

/// What was read, and the right to hold it.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) read: Read,
    pub(super) room: Option<Permit>,
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("reading from disk broke off: {0}")]
    Task(#[from] JoinError),
}

/// What reading is done with.
pub(super) struct Source {
    shared: Arc<Shared>,
    /// The subscription's share of what may be read from disk at one time.
    room: Share,
    /// Bytes to be read next.
    bytes: usize,
    ahead: Option<Ahead>,
}

type Loading = AbortOnDropHandle<Result<Loaded, LoadError>>;

/// A read from disk that runs while the batches before it are sent.
struct Ahead {
    at: TopicPartition,
    from: Offset,
    loading: Loading,
}

impl Source {
    pub(super) const fn new(shared: Arc<Shared>, room: Share) -> Self {
        Self {
            shared,
            room,
            bytes: READ_BYTES,
            ahead: None,
        }
    }

    /// The next batches of a partition.
    pub(super) async fn load(
        &mut self,
        at: TopicPartition,
        from: Offset,
    ) -> Result<Loaded, LoadError> {
        let ahead = self.ahead.take_if(|ahead| ahead.at == at);
        let loading = match ahead.filter(|ahead| ahead.from == from) {
            Some(ahead) => ahead.loading,
            None => {
                if let Some(read) = self.more(at, from) {
                    return Ok(Loaded { read, room: None });
                }
                let room = self.wait_for_room(self.bytes).await;
                self.read(at, from, room)
            }
        };
        let mut loaded = loading.await??;
        let bytes = bytes_of(&loaded.read);
        let enough = match &mut loaded.room {
            Some(room) => self.room.try_grow(room, bytes),
            None => true,
        };
        if !enough {
            // A large batch waits its turn, and holds no room of others while it does.
            drop(loaded);
            let room = self.wait_for_room(bytes).await;
            loaded = self.read(at, from, room).await??;
        }
        if let Some(room) = &mut loaded.room {
            room.shrink_to(bytes_of(&loaded.read));
        }
        Ok(loaded)
    }

    /// Batches behind those that were read, if they are in memory.
    pub(super) fn more(&self, at: TopicPartition, from: Offset) -> Option<Read> {
        let reader = &self.shared.reader;
        reader.read_cached(at, from, self.bytes, READ_BATCHES)
    }

    /// Whether nothing is being read ahead.
    pub(super) const fn is_free(&self) -> bool {
        self.ahead.is_none()
    }

    /// Reads ahead, if there is room now: whoever holds some does not wait for more.
    pub(super) fn read_ahead(&mut self, at: TopicPartition, from: Offset) {
        let room = self.room.try_hold(self.bytes);
        self.ahead = room.map(|room| Ahead {
            at,
            from,
            loading: self.read(at, from, Some(room)),
        });
    }

    /// Gives back what was read ahead.
    pub(super) fn let_go(&mut self) {
        self.ahead = None;
    }

    /// What was read could not be sent for so long that it was let go of.
    pub(super) fn stalled(&mut self) {
        self.let_go();
        self.bytes = (self.bytes / 4).max(READ_BYTES_MIN);
    }

    /// All that was read was sent.
    pub(super) fn flowed(&mut self) {
        self.bytes = (self.bytes * 2).min(READ_BYTES);
    }

    async fn wait_for_room(&mut self, bytes: usize) -> Option<Permit> {
        if let Some(room) = self.room.try_hold(bytes) {
            return Some(room);
        }
        // Who waits holds nothing that another may be waiting for.
        self.let_go();
        self.room.hold(bytes).await
    }

    fn read(&self, at: TopicPartition, from: Offset, room: Option<Permit>) -> Loading {
        let (shared, bytes) = (self.shared.clone(), self.bytes);
        AbortOnDropHandle::new(tokio::spawn(async move {
            let turn = shared.reads.clone().acquire_owned().await;
            let reader = shared.reader.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let read = reader.read(at, from, bytes, READ_BATCHES);
                drop(turn);
                read.map(|read| Loaded { read, room })
            });
            Ok(reading.await??)
        }))
    }
}

fn bytes_of(read: &Read) -> usize {
    read.batches.iter().map(|batch| batch.bytes.len()).sum()
}
