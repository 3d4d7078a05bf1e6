//! Reading: what is durable, and nothing else. From memory while it is there, else from the WAL.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use weir_wire::id::{Offset, Timestamp, TopicId, TopicPartition};

use crate::error::ReadError;
use crate::format::entry::{ENVELOPE_FIXED, Envelope};
use crate::format::fields::Fields;
use crate::ids::FileSequence;
use crate::index::{Bounds, Found, Index, Place, StoredBatch};
use crate::page_buf::{PAGE_BYTES, PageBuf};
use crate::vfs::{OpenMode, Vfs, VfsFile};
use crate::wal::{Files, file_path};

/// Files that are kept open for reading.
const OPEN_FILES_MAX: usize = 64;

/// Reads the log. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    vfs: Arc<dyn Vfs>,
    dir: PathBuf,
    index: Arc<RwLock<Index>>,
    files: Arc<Files>,
    open: Mutex<HashMap<u32, Arc<dyn VfsFile>>>,
}

impl LogReader {
    pub(crate) fn new(
        vfs: Arc<dyn Vfs>,
        dir: &Path,
        index: Arc<RwLock<Index>>,
        files: Arc<Files>,
    ) -> Self {
        let dir = dir.to_owned();
        Self {
            shared: Arc::new(Shared {
                vfs,
                dir,
                index,
                files,
                open: Mutex::default(),
            }),
        }
    }

    /// What a partition holds; `None` if nothing was ever appended.
    #[must_use]
    pub fn bounds(&self, partition: TopicPartition) -> Option<Bounds> {
        self.index(|index| index.bounds(partition))
    }

    /// The batches from the one that contains `from` on: at least one, then as many as fit the
    /// limits; none at the high-water mark. May read from disk.
    pub fn read(
        &self,
        partition: TopicPartition,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Result<Vec<StoredBatch>, ReadError> {
        match self.index(|index| index.find(partition, from, bytes_max, batches_max)) {
            Found::Nothing => Ok(Vec::new()),
            Found::Cached(batches) => Ok(batches),
            Found::Places(places) => places
                .iter()
                .map(|place| self.read_place(partition, place))
                .collect(),
            Found::OutOfRange(bounds) => Err(ReadError::OutOfRange {
                partition,
                offset: from,
                start: bounds.start,
                end: bounds.high_water_mark,
            }),
        }
    }

    /// The same if no disk is needed for it; else `None`.
    #[must_use]
    pub fn read_cached(
        &self,
        partition: TopicPartition,
        from: Offset,
        bytes_max: usize,
        batches_max: usize,
    ) -> Option<Vec<StoredBatch>> {
        match self.index(|index| index.find(partition, from, bytes_max, batches_max)) {
            Found::Nothing => Some(Vec::new()),
            Found::Cached(batches) => Some(batches),
            Found::Places(_) | Found::OutOfRange(_) => None,
        }
    }

    /// The first offset whose batch was appended at that time or later.
    #[must_use]
    pub fn offset_at(&self, partition: TopicPartition, time: Timestamp) -> Offset {
        self.index(|index| index.offset_at(partition, time))
    }

    /// Bytes of the log's files.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.shared.files.disk_bytes()
    }

    /// A topic is gone: its records are no longer served.
    pub fn forget(&self, topic: TopicId) {
        self.retain(|other| other != topic);
    }

    /// Only these topics are left.
    pub fn retain(&self, keep: impl Fn(TopicId) -> bool) {
        self.shared
            .index
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(keep);
    }

    fn index<R>(&self, look: impl FnOnce(&Index) -> R) -> R {
        look(
            &self
                .shared
                .index
                .read()
                .unwrap_or_else(PoisonError::into_inner),
        )
    }

    fn read_place(&self, at: TopicPartition, place: &Place) -> Result<StoredBatch, ReadError> {
        let path = file_path(&self.shared.dir, FileSequence::new(u64::from(place.file)));
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::UnexpectedEof => ReadError::Corrupt {
                path: path.clone(),
                offset: place.envelope.into(),
                what: "the file ends before the batch does",
            },
            _ => ReadError::Io {
                path: path.clone(),
                source,
            },
        };
        let file = self.file(place.file, &path).map_err(failed)?;
        let inline = if place.extent_page == 0 {
            place.length as usize
        } else {
            0
        };
        let mut head = vec![0; ENVELOPE_FIXED + place.columns as usize + inline];
        file.read_exact_at(&mut head, u64::from(place.envelope))
            .map_err(failed)?;
        let corrupt = |offset: u64, what| ReadError::Corrupt {
            path: path.clone(),
            offset,
            what,
        };
        let mut fields = Fields::new(&head);
        let envelope = Envelope::decode(&mut fields)
            .map_err(|error| corrupt(u64::from(place.envelope) + error.at as u64, error.what))?;
        let is_it = envelope.partition == at
            && envelope.base_offset == place.base_offset
            && envelope.batch_length == place.length;
        if !is_it {
            return Err(corrupt(place.envelope.into(), "another batch stands there"));
        }
        let (bytes, offset) = if place.extent_page == 0 {
            let start = head.len() - inline;
            (
                Bytes::from(head).slice(start..),
                u64::from(place.envelope) + start as u64,
            )
        } else {
            let offset = u64::from(place.extent_page) * PAGE_BYTES as u64;
            let mut pages = PageBuf::with_len(place.length as usize);
            file.read_exact_at(pages.as_mut_slice(), offset)
                .map_err(failed)?;
            (pages.freeze(), offset)
        };
        if crc32c::crc32c(&bytes) != envelope.batch_crc {
            return Err(corrupt(offset, "a batch's checksum is wrong"));
        }
        Ok(StoredBatch {
            base_offset: place.base_offset,
            count: place.count,
            append_time: place.append_time,
            columns: envelope.columns,
            crc: envelope.batch_crc,
            bytes,
        })
    }

    fn file(&self, number: u32, path: &Path) -> io::Result<Arc<dyn VfsFile>> {
        let mut open = self
            .shared
            .open
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&number) {
            return Ok(file.clone());
        }
        if open.len() >= OPEN_FILES_MAX {
            open.clear();
        }
        let file = self.shared.vfs.open(path, OpenMode::Read)?;
        open.insert(number, file.clone());
        Ok(file)
    }
}
