//! What is left of a batch with gaps, as compaction leaves it.

use weir_log::{Columns, StoredBatch};
use weir_wire::batch::{BatchBuilder, BatchHeader, Compression, HEADER_LEN, NewRecord, Records};
use weir_wire::error::ErrorCode;
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};
use weir_wire::limits::BATCH_INFLATED_MAX;

use std::sync::atomic::AtomicU64;

use super::super::dead_letters::DeadLetters;
use super::super::verdicts::{Chain, Verdict, Verdicts};
use super::{Filters, Item, Wanted};
use crate::budget::{Budget, Share};
use crate::metrics::Metrics;

/// Records at 100, 103 and 107 of a batch that covers 100 to 109.
fn compacted(compression: Compression) -> StoredBatch {
    let mut whole = BatchBuilder::default();
    for _ in 0..8 {
        let record = NewRecord {
            key: Some(b"k"),
            ..NewRecord::default()
        };
        whole.push(Timestamp::new(5), &record);
    }
    let whole = whole.finish(Compression::None).unwrap();
    let header = BatchHeader::parse(&whole).unwrap();
    let mut builder = BatchBuilder::default();
    for record in Records::new(&whole[HEADER_LEN..], header.count) {
        let record = record.unwrap();
        if [0, 3, 7].contains(&record.offset_delta) {
            builder.push_body_at(Timestamp::new(5), record.offset_delta, record.body());
        }
    }
    builder.extend_to(9);
    let mut batch = builder.finish(compression).unwrap();
    let epoch = weir_core::shard::LEADER_EPOCH;
    let crc = weir_wire::batch::stamp(&mut batch, Offset::new(100), epoch);
    StoredBatch {
        base_offset: Offset::new(100),
        count: 10,
        append_time: Timestamp::new(9),
        columns: Columns {
            ordering_keys: Some(
                [1_u64, 2, 3]
                    .into_iter()
                    .flat_map(u64::to_le_bytes)
                    .collect(),
            ),
            origin: None,
        },
        bytes: batch.into(),
        crc,
    }
}

const AT: TopicPartition = TopicPartition {
    topic: TopicId::new(1),
    partition: PartitionId::new(0),
};

/// A chain in which nothing runs.
fn filters() -> Filters {
    filters_within(&Budget::new(1 << 20))
}

fn filters_within(budget: &Budget) -> Filters {
    Filters {
        filters: Vec::new(),
        projections: Vec::new(),
        letters: DeadLetters::default(),
        unfolded: Share::of(budget),
        chain: Chain::new([]),
        hits: AtomicU64::new(0),
    }
}

/// The batch, asked for from that offset delta on.
fn item(stored: StoredBatch, skip: u32, verdict: Option<Verdict>) -> Item {
    let header = BatchHeader::parse(&stored.bytes).unwrap();
    Item {
        from: stored.base_offset.advance(skip),
        stored,
        header,
        verdict,
        check: false,
    }
}

/// The offset deltas and ordering keys that are left from that delta on.
async fn check(compression: Compression, skip: u32, deltas: &[u32], keys: &[u64]) {
    let stored = compacted(compression);
    let filters = filters();
    let item = item(stored, skip, Some(Verdict::All));
    let verdicts = Verdicts::new(1 << 20, Metrics::new());
    let mut judged = filters.judge(&verdicts, AT, vec![item], false).await;
    assert_eq!(judged.fault, None);
    let kept = judged.kept.pop().unwrap();
    assert_eq!((kept.count as usize, kept.filtered_out), (deltas.len(), 0));
    let found = kept.batch.map_or_else(Vec::new, |batch| {
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(
            header.last_offset_delta, 9,
            "the batch covers what it covered"
        );
        let section = header.compression.inflate(&batch[HEADER_LEN..], 1 << 20);
        let section = section.unwrap();
        let records = Records::new(&section, header.count);
        records.map(|record| record.unwrap().offset_delta).collect()
    });
    assert_eq!(found, deltas, "from {skip} on");
    let expected: Vec<u8> = keys.iter().flat_map(|key| key.to_le_bytes()).collect();
    assert_eq!(kept.ordering_keys, expected);
}

#[tokio::test]
async fn records_before_the_offset_asked_for_are_left_out_by_offset() {
    for compression in [Compression::None, Compression::Lz4] {
        check(compression, 0, &[0, 3, 7], &[1, 2, 3]).await;
        check(compression, 1, &[3, 7], &[2, 3]).await;
        check(compression, 3, &[3, 7], &[2, 3]).await;
        check(compression, 4, &[7], &[3]).await;
        check(compression, 7, &[7], &[3]).await;
        check(compression, 8, &[], &[]).await;
    }
}

#[tokio::test]
async fn what_is_remembered_and_what_is_said_are_compared() {
    let verdicts = Verdicts::new(1 << 20, Metrics::new());
    let filters = filters();
    let ask = async |known: Option<Verdict>| {
        let mut item = item(compacted(Compression::None), 0, known);
        item.check = true;
        let name = item.name();
        let judged = filters.judge(&verdicts, AT, vec![item], false).await;
        assert_eq!((judged.kept[0].count, judged.fault), (3, None));
        verdicts.get(&filters.chain, AT, &name)
    };
    // Where nothing runs, everything is kept.
    assert_eq!(ask(None).await, Some(Verdict::All));
    assert_eq!(ask(Some(Verdict::All)).await, Some(Verdict::All));
    // Somebody had said something else: nothing of this chain is worth anything.
    assert_eq!(ask(Some(Verdict::Some([1].into()))).await, None);
    assert_eq!(ask(None).await, None);
}

/// A batch of records of these sizes.
fn large(base: u64, sizes: &[usize], compression: Compression) -> StoredBatch {
    let mut builder = BatchBuilder::default();
    for size in sizes {
        let value = vec![0; *size];
        let record = NewRecord {
            value: Some(&value),
            ..NewRecord::default()
        };
        builder.push(Timestamp::new(5), &record);
    }
    let mut batch = builder.finish(compression).unwrap();
    let epoch = weir_core::shard::LEADER_EPOCH;
    let crc = weir_wire::batch::stamp(&mut batch, Offset::new(base), epoch);
    StoredBatch {
        base_offset: Offset::new(base),
        count: sizes.len() as u32,
        append_time: Timestamp::new(9),
        columns: Columns::default(),
        bytes: batch.into(),
        crc,
    }
}

#[tokio::test]
async fn what_is_made_of_batches_has_room_until_it_is_sent() {
    const KIB: usize = 1 << 10;
    let (budget, verdicts) = (
        Budget::new(16 * BATCH_INFLATED_MAX),
        Verdicts::new(1 << 20, Metrics::new()),
    );
    let filters = filters_within(&budget);
    // Of six batches with two records each of that size, the first of each is kept.
    let judge = async |size, alone| {
        let half = Some(Verdict::of(&[true, false]));
        let stored = |n: u64| large(2 * n, &[size, size], Compression::None);
        let items = (0..6).map(|n| item(stored(n), 0, half.clone())).collect();
        let judged = filters.judge(&verdicts, AT, items, alone).await;
        assert_eq!(judged.fault, None);
        let held = budget.used_bytes() / KIB;
        (judged.kept.len(), judged.too_much, held)
    };
    assert_eq!(judge(100 * KIB, false).await, (6, false, 0));
    // Beside others there is as much as may wait without room, and nobody waits holding some.
    assert_eq!(judge(400 * KIB, false).await, (2, true, 0));
    assert_eq!(judge(4096 * KIB, false).await, (0, true, 0));
    let (kept, too_much, held) = judge(400 * KIB, true).await;
    assert_eq!((kept, too_much), (6, false));
    assert!((2400..2410).contains(&held), "{held} KiB");
    // Four batches of 8 MiB are what may be unfolded together.
    let (kept, too_much, held) = judge(4095 * KIB, true).await;
    assert_eq!((kept, too_much), (4, true));
    assert!((16380..16400).contains(&held), "{held} KiB");
    assert_eq!(budget.used_bytes(), 0);
}

#[tokio::test]
async fn batches_that_unfold_to_much_go_one_after_the_other() {
    let stored = |n: u64| large(n, &[20 << 20], Compression::Zstd);
    // Room for what one of them may become.
    let budget = Budget::new(BATCH_INFLATED_MAX);
    let verdicts = Verdicts::new(1 << 20, Metrics::new());
    let items = (0..3).map(|n| item(stored(n), 0, None)).collect();
    let judged = filters_within(&budget)
        .judge(&verdicts, AT, items, false)
        .await;
    let counts: Vec<_> = judged.kept.iter().map(|kept| kept.count).collect();
    assert_eq!((counts, judged.fault), (vec![1, 1, 1], None));
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn batches_behind_one_that_cannot_be_read_are_not_gone_past() {
    let (verdicts, metrics) = (Verdicts::new(1 << 20, Metrics::new()), Metrics::new());
    let sound = || compacted(Compression::None);
    let torn = StoredBatch {
        bytes: sound().bytes.slice(..HEADER_LEN - 1),
        ..sound()
    };
    for before in 0..3 {
        let sound = |count| std::iter::repeat_with(sound).take(count);
        let wanted = sound(before).chain([torn.clone()]).chain(sound(2));
        let wanted = wanted.map(|batch| Wanted {
            from: batch.base_offset,
            batch,
        });
        let (items, fault) = filters().recall(&verdicts, &metrics, AT, wanted.collect());
        let code = fault.map(|fault| fault.code);
        assert_eq!((items.len(), code), (before, Some(ErrorCode::CorruptLog)));
    }
}
