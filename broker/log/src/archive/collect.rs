//! Batches on their way into segments: from memory while they are there, else read back from the
//! WAL, those that lie close together in one go.

use std::collections::HashMap;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use weir_wire::id::{Offset, TopicPartition};

use super::Archiver;
use crate::error::LogError;
use crate::format::entry::{ENVELOPE_FIXED, Envelope};
use crate::format::fields::Fields;
use crate::ids::FileSequence;
use crate::index::{Place, StoredBatch};
use crate::page_buf::PAGE_BYTES;
use crate::vfs::{OpenMode, VfsFile};
use crate::wal::file_path;

/// Reading what nobody asked for costs less than asking the disk again, up to that many bytes.
const GAP_BYTES: u64 = 16 << 10;
/// What is read at once at most, unless a batch is larger.
const STRETCH_BYTES: u64 = 2 << 20;

/// A batch that is looked for.
pub(super) type Wanted = (TopicPartition, Place);

/// A part of a WAL file that is needed.
#[derive(Debug)]
struct Piece {
    file: u32,
    bytes: Range<u64>,
    /// Which of those that are looked for, and whether it is its batch or its envelope.
    of: usize,
    is_batch: bool,
}

impl Archiver {
    /// All these batches, in this order.
    pub(super) fn collect(&self, wanted: &[Wanted]) -> Result<Vec<StoredBatch>, LogError> {
        let mut batches: Vec<Option<StoredBatch>> = self.read_index(|index| {
            let cached = |(at, place): &Wanted| index.cached(*at, place.base_offset);
            wanted.iter().map(cached).collect()
        });
        let missing: Vec<usize> = (0..wanted.len())
            .filter(|at| batches.get(*at).is_some_and(Option::is_none))
            .collect();
        for (of, batch) in self.read_back(wanted, &missing)? {
            if let Some(slot) = batches.get_mut(of) {
                *slot = Some(batch);
            }
        }
        Ok(batches.into_iter().flatten().collect())
    }

    /// Reads these from the WAL.
    fn read_back(
        &self,
        wanted: &[Wanted],
        missing: &[usize],
    ) -> Result<Vec<(usize, StoredBatch)>, LogError> {
        let of = |at: usize| wanted.get(at).map(|(_, place)| (at, place));
        let mut pieces: Vec<Piece> = missing
            .iter()
            .filter_map(|at| of(*at))
            .flat_map(|(of, place)| pieces_of(of, place))
            .collect();
        pieces.sort_unstable_by_key(|piece| (piece.file, piece.bytes.start));
        let mut parts: HashMap<(usize, bool), Bytes> = HashMap::new();
        let mut rest = pieces.as_slice();
        let mut open: Option<(u32, std::sync::Arc<dyn VfsFile>)> = None;
        while let Some(first) = rest.first() {
            let (stretch, later) = rest.split_at(stretch(rest));
            rest = later;
            let path = file_path(&self.home.dir, FileSequence::new(first.file.into()));
            let failed = |error: io::Error| LogError::io("reading", &path, &error);
            let file = match &open {
                Some((number, file)) if *number == first.file => file.clone(),
                _ => self.home.vfs.open(&path, OpenMode::Read).map_err(failed)?,
            };
            open = Some((first.file, file.clone()));
            let start = first.bytes.start;
            let end = stretch.iter().map(|piece| piece.bytes.end).max();
            let mut bytes = vec![0; narrow(end.unwrap_or(start) - start)];
            file.read_exact_at(&mut bytes, start).map_err(failed)?;
            for piece in stretch {
                let within = narrow(piece.bytes.start - start)..narrow(piece.bytes.end - start);
                let part = bytes.get(within).expect("the stretch covers its pieces");
                // A copy, so that a small batch does not hold all of what was read.
                parts.insert((piece.of, piece.is_batch), Bytes::copy_from_slice(part));
            }
        }
        let whole = |at: usize| {
            let (partition, place) = wanted.get(at).expect("it is looked for");
            let envelope = parts.remove(&(at, false)).unwrap_or_default();
            let batch = parts.remove(&(at, true)).unwrap_or_default();
            let batch = decode(*partition, place, &envelope, batch);
            let batch = batch.map_err(|reason| LogError {
                what: "reading",
                path: file_path(&self.home.dir, place.file()),
                reason: format!("at byte {}: {reason}", place.envelope),
                full: false,
            });
            batch.map(|batch| (at, batch))
        };
        missing.iter().copied().map(whole).collect()
    }
}

fn pieces_of(of: usize, place: &Place) -> [Piece; 2] {
    let start = u64::from(place.envelope);
    let end = start + ENVELOPE_FIXED as u64 + u64::from(place.columns);
    let batch = match place.extent_page {
        0 => end,
        page => u64::from(page) * PAGE_BYTES as u64,
    };
    let piece = |bytes, is_batch| Piece {
        file: place.file,
        bytes,
        of,
        is_batch,
    };
    [
        piece(start..end, false),
        piece(batch..batch + u64::from(place.length), true),
    ]
}

/// How many of the first pieces are read together.
fn stretch(pieces: &[Piece]) -> usize {
    let Some(first) = pieces.first() else {
        return 0;
    };
    let mut end = first.bytes.end;
    let apart = pieces.iter().position(|piece| {
        let near = piece.file == first.file
            && piece.bytes.start <= end + GAP_BYTES
            && piece.bytes.end.max(end) - first.bytes.start
                <= STRETCH_BYTES.max(first.bytes.end - first.bytes.start);
        if near {
            end = end.max(piece.bytes.end);
        }
        !near
    });
    apart.unwrap_or(pieces.len())
}

fn decode(
    at: TopicPartition,
    place: &Place,
    envelope: &[u8],
    bytes: Bytes,
) -> Result<StoredBatch, String> {
    let envelope =
        Envelope::decode(&mut Fields::new(envelope)).map_err(|error| error.to_string())?;
    let offset: Offset = envelope.base_offset;
    if envelope.partition != at
        || offset != place.base_offset
        || envelope.batch_length != place.length
    {
        return Err(format!("another batch stands there, offset {offset}"));
    }
    if crc32c::crc32c(&bytes) != envelope.batch_crc {
        return Err(format!(
            "the checksum of the batch at offset {offset} of {at} is wrong: it was damaged after \
             it was acknowledged"
        ));
    }
    Ok(StoredBatch {
        base_offset: offset,
        count: place.count,
        append_time: place.append_time,
        columns: envelope.columns,
        crc: envelope.batch_crc,
        bytes,
    })
}

fn narrow(length: u64) -> usize {
    usize::try_from(length).expect("what is read at once fits memory")
}
