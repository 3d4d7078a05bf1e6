//! The state machine of the tests: it remembers every entry, and writes all of them down in its
//! sections. Whatever a log forgets, keeps or tells twice shows in it.

use bytes::Bytes;
use weir_log::{RecoveredEntry, RecoveredOp, StateMachine};
use weir_wire::id::{
    EntryIndex, Offset, PartitionId, ProducerEpoch, ProducerId, Sequence, Term, Timestamp, TopicId,
    TopicPartition,
};

/// All entries of a log, in their order.
#[derive(Debug, Default)]
pub struct History {
    pub entries: Vec<RecoveredEntry>,
    /// How many entries changed the catalog: a second section, which changes less often.
    metadata: u64,
    entries_changed: bool,
    metadata_changed: bool,
}

impl StateMachine for History {
    type Error = String;

    fn restore(&mut self, section: &str, bytes: &[u8]) -> Result<(), String> {
        match section {
            "entries" if self.entries.is_empty() => {
                let mut fields = Fields(bytes);
                while !fields.0.is_empty() {
                    self.entries.push(fields.entry());
                }
            }
            "metadata" => self.metadata = Fields(bytes).u64(),
            _ => return Err(format!("section {section} is not expected here")),
        }
        Ok(())
    }

    fn apply(&mut self, entry: &RecoveredEntry) -> Result<(), String> {
        let last = self.entries.last().map_or(0, |entry| entry.index.value());
        if entry.index.value() != last + 1 {
            return Err(format!("entry {} came after {last}", entry.index));
        }
        let metadata = |op: &&RecoveredOp| matches!(op, RecoveredOp::Metadata(_));
        if entry.ops.iter().any(|op| metadata(&op)) {
            self.metadata += 1;
            self.metadata_changed = true;
        }
        self.entries.push(entry.clone());
        self.entries_changed = true;
        Ok(())
    }

    fn changed_sections(&mut self) -> Vec<(&'static str, Vec<u8>)> {
        let mut sections = Vec::new();
        if std::mem::take(&mut self.entries_changed) {
            let mut bytes = Vec::new();
            for entry in &self.entries {
                put_entry(&mut bytes, entry);
            }
            sections.push(("entries", bytes));
        }
        if std::mem::take(&mut self.metadata_changed) {
            sections.push(("metadata", self.metadata.to_le_bytes().to_vec()));
        }
        sections
    }
}

impl History {
    /// Whether both sections are of the same moment; answers with the entries.
    pub fn checked(&self) -> Vec<RecoveredEntry> {
        let is_metadata = |entry: &&RecoveredEntry| {
            let mut ops = entry.ops.iter();
            ops.any(|op| matches!(op, RecoveredOp::Metadata(_)))
        };
        let counted = self.entries.iter().filter(is_metadata).count();
        assert_eq!(counted as u64, self.metadata, "sections belong together");
        self.entries.clone()
    }
}

fn put_entry(out: &mut Vec<u8>, entry: &RecoveredEntry) {
    let mut put = |number: u64| out.extend_from_slice(&number.to_le_bytes());
    put(entry.index.value());
    put(entry.term.value());
    put(entry.ops.len() as u64);
    for op in &entry.ops {
        put_op(out, op);
    }
}

fn put_op(out: &mut Vec<u8>, op: &RecoveredOp) {
    let (numbers, bytes) = match op {
        RecoveredOp::Append {
            partition,
            base_offset,
            count,
            append_time,
        } => {
            let time = append_time.value().cast_unsigned();
            let (offset, count) = (base_offset.value(), u64::from(*count));
            let [topic, number] = numbers_of(*partition);
            (vec![0, topic, number, offset, count, time], None)
        }
        RecoveredOp::ProducerSequence {
            producer,
            epoch,
            sequence,
            outcome,
        } => {
            let epoch = u64::from(epoch.value());
            let numbers = vec![1, producer.value(), epoch, sequence.value()];
            (numbers, Some(outcome))
        }
        RecoveredOp::Metadata(bytes) => (vec![2], Some(bytes)),
        RecoveredOp::Trim { partition, start } => {
            let [topic, number] = numbers_of(*partition);
            (vec![3, topic, number, start.value()], None)
        }
        other => panic!("{other:?} is not known here"),
    };
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    if let Some(bytes) = bytes {
        out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        out.extend_from_slice(bytes);
    }
}

fn numbers_of(at: TopicPartition) -> [u64; 2] {
    [at.topic.value(), u64::from(at.partition.value())]
}

/// Reads what was put; the log has checked that it is whole.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn u64(&mut self) -> u64 {
        let (taken, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        u64::from_le_bytes(*taken)
    }

    fn u32(&mut self) -> u32 {
        u32::try_from(self.u64()).unwrap()
    }

    fn bytes(&mut self) -> Bytes {
        let length = usize::try_from(self.u64()).unwrap();
        let (taken, rest) = self.0.split_at(length);
        self.0 = rest;
        Bytes::copy_from_slice(taken)
    }

    fn partition(&mut self) -> TopicPartition {
        TopicPartition {
            topic: TopicId::new(self.u64()),
            partition: PartitionId::new(self.u32()),
        }
    }

    fn entry(&mut self) -> RecoveredEntry {
        RecoveredEntry {
            index: EntryIndex::new(self.u64()),
            term: Term::new(self.u64()),
            ops: (0..self.u64()).map(|_| self.op()).collect(),
        }
    }

    fn op(&mut self) -> RecoveredOp {
        match self.u64() {
            0 => RecoveredOp::Append {
                partition: self.partition(),
                base_offset: Offset::new(self.u64()),
                count: self.u32(),
                append_time: Timestamp::new(self.u64().cast_signed()),
            },
            1 => RecoveredOp::ProducerSequence {
                producer: ProducerId::new(self.u64()),
                epoch: ProducerEpoch::new(self.u32()),
                sequence: Sequence::new(self.u64()),
                outcome: self.bytes(),
            },
            2 => RecoveredOp::Metadata(self.bytes()),
            3 => RecoveredOp::Trim {
                partition: self.partition(),
                start: Offset::new(self.u64()),
            },
            other => panic!("an operation of kind {other}"),
        }
    }
}
