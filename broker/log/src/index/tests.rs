//! An index as a manifest and segments bring it back.

use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};

use super::{Added, Found, Index, Place, Totals};
use crate::ids::{FileSequence, SegmentId};
use crate::segment::Run;

fn at(number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(1),
        partition: PartitionId::new(number),
    }
}

fn run(number: u32, segment: u64, base: u64, end: u64) -> Run {
    Run {
        partition: at(number),
        segment: SegmentId::new(segment),
        base: Offset::new(base),
        end: Offset::new(end),
        records: end - base,
        batches: 1,
        batch_bytes: 10 * (end - base),
        first_time: Timestamp::new(1_000 + i64::try_from(base).unwrap()),
        last_time: Timestamp::new(1_000 + i64::try_from(end).unwrap()),
        position: 4_096,
        length: 10 * (end - base) + 50,
        index_at: 0,
        index_entries: 1,
        index_crc: 0,
    }
}

fn restored() -> Index {
    let mut index = Index::new(0);
    index.restore(
        at(0),
        Offset::new(5),
        Offset::new(30),
        Timestamp::new(1_030),
    );
    index
}

#[test]
fn runs_come_back_in_any_order_and_the_wal_goes_on_behind_them() {
    let mut index = restored();
    index.restore_run(run(0, 9, 10, 20)).unwrap();
    index.restore_run(run(0, 3, 20, 30)).unwrap();
    index.restore_run(run(0, 7, 0, 10)).unwrap();
    // Of a partition that is gone.
    index.restore_run(run(4, 8, 0, 10)).unwrap();
    let segments: Vec<u64> = index
        .runs(at(0))
        .iter()
        .map(|r| r.segment.value())
        .collect();
    assert_eq!(segments, [7, 9, 3]);
    assert!(index.is_live(&run(0, 9, 10, 20)) && !index.is_live(&run(4, 8, 0, 10)));
    assert!(index.is_past(at(0), Offset::new(29)));
    assert!(!index.is_past(at(0), Offset::new(30)) && index.goes_on_at(at(0), Offset::new(30)));
    assert!(!index.goes_on_at(at(0), Offset::new(31)) && index.goes_on_at(at(1), Offset::new(31)));
    let expected = Totals {
        bytes: 250,
        records: 25,
    };
    assert_eq!(index.totals(at(0).topic), expected);
}

#[test]
fn runs_that_cannot_be_are_refused() {
    let mut index = restored();
    index.restore_run(run(0, 1, 10, 20)).unwrap();
    for (base, end) in [(10, 20), (0, 11), (19, 25), (12, 13), (5, 30)] {
        let refused = index.restore_run(run(0, 2, base, end)).unwrap_err();
        assert!(refused.contains("the same offsets"), "{base} to {end}");
    }
    let beyond = index.restore_run(run(0, 2, 20, 31)).unwrap_err();
    assert!(beyond.contains("beyond the end"), "{beyond}");
    // Below the start there is nothing to keep.
    index.restore_run(run(0, 2, 0, 5)).unwrap();
    assert_eq!(index.runs(at(0)).len(), 1);
}

fn place(file: u32, base: u64) -> Added {
    Added {
        partition: at(0),
        place: Place {
            base_offset: Offset::new(base),
            append_time: Timestamp::new(2_000),
            file,
            envelope: 4_096,
            extent_page: 0,
            columns: 0,
            length: 100,
            count: 5,
        },
        batch: None,
    }
}

#[test]
fn what_was_trimmed_or_deleted_while_it_was_written_stays_gone() {
    let mut index = restored();
    for (file, base) in [(1, 30), (1, 35), (2, 40)] {
        index.add(place(file, base));
    }
    let first = FileSequence::new(1);
    assert_eq!(index.pending_partitions(first), [at(0)]);
    assert_eq!(index.pending(at(0), first).len(), 2);
    index.trim(at(0), Offset::new(40));
    index.archived(&[run(0, 1, 30, 40), run(6, 1, 0, 10)], first);
    assert!(index.live_runs().is_empty());
    let Found::Places(places) = index.find(at(0), Offset::new(40), 1, 1) else {
        panic!("the batch in file 2 is still in the WAL");
    };
    assert_eq!((places.len(), places[0].file()), (1, FileSequence::new(2)));
    index.replace(
        &[SegmentId::new(1)],
        vec![run(0, 2, 30, 40), run(6, 2, 0, 10)],
    );
    assert!(index.live_runs().is_empty());
    assert_eq!(index.totals(at(0).topic).bytes, 100);
}
