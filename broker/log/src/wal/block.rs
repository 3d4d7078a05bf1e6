//! Building a block: header, head and extents of the entries that wait.

use std::io::IoSlice;

use weir_wire::id::{EntryIndex, Offset, ShardId, Term, TopicPartition};

use super::recover::{RecoveredEntry, RecoveredOp};

use crate::entry::{Entry, Op};
use crate::format::block::{BlockHeader, PARTITIONS_NAMED_MAX};
use crate::format::entry::{EntrySize, encode_entry};
use crate::ids::{Lsn, Nonce};
use crate::index::{Added, Place, StoredBatch};
use crate::page_buf::{PAGE_BYTES, PageBuf};

/// A block, ready to be written.
#[derive(Debug)]
pub(crate) struct Block {
    head: PageBuf,
    entries: Vec<Entry>,
    places: Vec<(TopicPartition, Place)>,
    pub(crate) partitions: Vec<TopicPartition>,
    pub(crate) bytes: usize,
    pub(crate) crc: u32,
    term: Term,
    first: EntryIndex,
}

/// What a block's header states besides its content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) shard: ShardId,
    pub(crate) term: Term,
    pub(crate) nonce: Nonce,
    pub(crate) lsn: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) previous: u32,
    /// The index of the first entry.
    pub(crate) first: EntryIndex,
    /// The number of the file it goes to, and where in it.
    pub(crate) file: u32,
    pub(crate) position: u64,
}

impl Block {
    /// How many bytes the entries take as a block.
    pub(crate) fn bytes_for(entries: &[Entry]) -> usize {
        let (mut head, mut extents) = (0, 0);
        let mut appends = 0;
        for entry in entries {
            let size = EntrySize::of(entry);
            head += size.head;
            extents += size.extents;
            appends += entry
                .ops
                .iter()
                .filter(|op| matches!(op, Op::Append(_)))
                .count();
        }
        let header = BlockHeader::length_for(appends.min(PARTITIONS_NAMED_MAX));
        (header + head).next_multiple_of(PAGE_BYTES) + extents
    }

    /// Encodes entries; none make a seal.
    pub(crate) fn build(entries: Vec<Entry>, stamp: &Stamp) -> Self {
        let partitions = partitions_of(&entries);
        let named = &partitions[..partitions.len().min(PARTITIONS_NAMED_MAX)];
        let header_length = BlockHeader::length_for(named.len());
        let mut head = PageBuf::with_len(header_length);
        let mut places = Vec::new();
        let mut index = stamp.first;
        for entry in &entries {
            encode_entry(
                &mut head,
                entry,
                (stamp.shard, stamp.term, index),
                |append, envelope| {
                    let place = Place {
                        base_offset: append.base_offset,
                        append_time: append.append_time,
                        file: stamp.file,
                        envelope: narrow(stamp.position) + narrow(envelope.at as u64),
                        extent_page: 0,
                        columns: narrow(envelope.columns as u64),
                        length: narrow(append.batch.len() as u64),
                        count: append.count,
                    };
                    places.push((append.partition, place));
                },
            );
            index = index.next();
        }
        let head_length = head.len() - header_length;
        let mut body_crc = crc32c::crc32c(&head.as_slice()[header_length..]);
        let mut bytes = head.len().next_multiple_of(PAGE_BYTES);
        for ((_, place), append) in places.iter_mut().zip(appends(&entries)) {
            if let Some(extent) = append.batch.extent() {
                place.extent_page = narrow((stamp.position + bytes as u64) / PAGE_BYTES as u64);
                bytes += extent.len();
                body_crc = crc32c::crc32c_combine(body_crc, append.crc, append.batch.len());
            }
        }
        let header = BlockHeader {
            seal: entries.is_empty(),
            more_partitions: named.len() < partitions.len(),
            pages: narrow((bytes / PAGE_BYTES) as u64),
            head_length: narrow(head_length as u64),
            body_crc,
            previous: stamp.previous,
            nonce: stamp.nonce,
            lsn: stamp.lsn,
            durable: stamp.durable,
            shard: stamp.shard,
            entries: narrow(entries.len() as u64),
            partitions: named.to_vec(),
        };
        let (encoded, crc) = header.encode();
        head.as_mut_slice()[..header_length].copy_from_slice(&encoded);
        head.pad();
        Self {
            head,
            entries,
            places,
            partitions,
            bytes,
            crc,
            term: stamp.term,
            first: stamp.first,
        }
    }

    /// Its bytes, as parts that are each whole pages.
    pub(crate) fn parts(&self) -> Vec<IoSlice<'_>> {
        let extents = appends(&self.entries).filter_map(|append| append.batch.extent());
        std::iter::once(self.head.padded())
            .chain(extents)
            .map(IoSlice::new)
            .collect()
    }

    /// What its entries change, for whoever follows the log.
    pub(crate) fn recovered(&self) -> Vec<RecoveredEntry> {
        let entries = (self.first.value()..).zip(&self.entries);
        entries
            .map(|(index, entry)| RecoveredEntry {
                index: EntryIndex::new(index),
                term: self.term,
                ops: entry.ops.iter().map(RecoveredOp::from).collect(),
            })
            .collect()
    }

    /// What readers get to see once it is durable, in order.
    pub(crate) fn into_shown(self) -> impl Iterator<Item = Shown> {
        let mut places = self.places.into_iter();
        let ops = self.entries.into_iter().flat_map(|entry| entry.ops);
        ops.filter_map(move |op| match op {
            Op::Append(append) => {
                let (partition, place) = places.next().expect("each append has a place");
                let footprint = append.batch.footprint();
                let batch = StoredBatch {
                    base_offset: append.base_offset,
                    count: append.count,
                    append_time: append.append_time,
                    columns: append.columns,
                    crc: append.crc,
                    bytes: append.batch.into_bytes(),
                };
                Some(Shown::Added(Added {
                    partition,
                    place,
                    batch: Some((batch, footprint)),
                }))
            }
            Op::Trim { partition, start } => Some(Shown::Trimmed(partition, start)),
            _ => None,
        })
    }
}

/// A change that readers see.
#[derive(Debug)]
pub(crate) enum Shown {
    Added(Added),
    Trimmed(TopicPartition, Offset),
}

fn appends(entries: &[Entry]) -> impl Iterator<Item = &crate::entry::Append> {
    entries
        .iter()
        .flat_map(|entry| &entry.ops)
        .filter_map(|op| match op {
            Op::Append(append) => Some(append),
            _ => None,
        })
}

fn partitions_of(entries: &[Entry]) -> Vec<TopicPartition> {
    let mut partitions: Vec<TopicPartition> =
        appends(entries).map(|append| append.partition).collect();
    partitions.sort_unstable();
    partitions.dedup();
    partitions
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("a WAL file is smaller than 4 GiB")
}
