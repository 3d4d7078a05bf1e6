//! The rules of a history, each with a history that breaks it and one beside it that does not.

use expect_test::{Expect, expect};
use weir_sim::history::{
    Answer, Content, Extent, Fence, Found, History, Place, Problem, RecordId, RequestId,
};
use weir_wire::id::{Offset, PartitionId, Timestamp, TopicId, TopicPartition};

const fn partition(number: u32) -> TopicPartition {
    TopicPartition {
        topic: TopicId::new(1),
        partition: PartitionId::new(number),
    }
}

const A: TopicPartition = partition(0);
const B: TopicPartition = partition(1);

fn content() -> Content {
    Content {
        key: Some("k".to_owned()),
        size: Some(3),
    }
}

const fn record(number: u32) -> RecordId {
    RecordId {
        request: RequestId {
            producer: 0,
            number,
        },
        index: 0,
    }
}

/// Record `number` at an offset, appended at a time of ten per offset.
fn found(offset: u64, number: u32) -> Found {
    Found {
        id: record(number),
        offset: Offset::new(offset),
        time: Timestamp::new(offset as i64 * 10),
        content: content(),
    }
}

fn all(numbers: &[u32]) -> Vec<Found> {
    (0..)
        .zip(numbers)
        .map(|(offset, number)| found(offset, *number))
        .collect()
}

const fn extent(start: u64, end: u64) -> Extent {
    Extent {
        start: Offset::new(start),
        end: Offset::new(end),
    }
}

fn place(at: TopicPartition, offset: u64) -> Place {
    let offset = Offset::new(offset);
    Place { at, offset }
}

/// A history in which requests 0 to 4 of one record each were sent.
fn history() -> History {
    let mut history = History::default();
    history.created(TopicId::new(1));
    for number in 0..5 {
        history.sent(record(number).request, TopicId::new(1), vec![content()]);
    }
    history
}

fn acknowledged(history: &mut History, number: u32, at: TopicPartition, offset: u64) {
    let answer = Answer::Stored(vec![place(at, offset)]);
    history.answered(record(number).request, answer);
}

fn check(history: &History, expected: Expect) {
    let problems: Vec<String> = history.check().iter().map(Problem::to_string).collect();
    expected.assert_eq(&problems.join("\n"));
}

#[test]
fn all_is_well() {
    let mut history = history();
    history.read(A, Offset::ZERO, Offset::new(2), &all(&[0, 1]));
    acknowledged(&mut history, 0, A, 0);
    acknowledged(&mut history, 1, A, 1);
    acknowledged(&mut history, 1, A, 1);
    history.sought(A, Timestamp::new(10), Offset::new(1), extent(0, 2));
    history.stored(A, extent(0, 3), &all(&[0, 1, 2]));
    check(&history, expect![""]);
}

#[test]
fn what_was_acknowledged_or_read_is_there() {
    let mut history = history();
    acknowledged(&mut history, 0, A, 0);
    history.read(B, Offset::ZERO, Offset::new(1), &all(&[1]));
    check(
        &history,
        expect![[r#"
            lost: record 0.1.0 was read at 1/1@0 and is not there
            lost: record 0.0.0 was acknowledged at 1/0@0 and is not there"#]],
    );
}

#[test]
fn a_record_is_there_once() {
    let mut history = history();
    history.stored(A, extent(0, 2), &all(&[0, 0]));
    check(
        &history,
        expect!["doubled: record 0.0.0 is at 1/0@0 and at 1/0@1"],
    );
}

#[test]
fn a_record_is_where_it_was_said_to_be() {
    let mut history = history();
    acknowledged(&mut history, 0, A, 1);
    history.stored(A, extent(0, 2), &all(&[0, 1]));
    check(
        &history,
        expect![[r#"
            diverged: at 1/0@1 there was record 0.0.0, and record 0.1.0
            doubled: record 0.0.0 is at 1/0@1 and at 1/0@0"#]],
    );
}

#[test]
fn all_readers_see_the_same() {
    let mut history = history();
    history.read(A, Offset::ZERO, Offset::new(1), &all(&[0]));
    history.stored(A, extent(0, 1), &all(&[1]));
    check(
        &history,
        expect![[r#"
            diverged: at 1/0@0 there was record 0.0.0, and record 0.1.0
            diverged: at 1/0@0 there was record 0.0.0, and record 0.1.0"#]],
    );
}

#[test]
fn nothing_is_there_that_was_not_sent() {
    let mut history = history();
    let mut changed = found(0, 0);
    changed.content.size = Some(4);
    history.stored(A, extent(0, 2), &[changed, found(1, 9)]);
    check(
        &history,
        expect![[r#"
            phantom: 1/0@0 holds record 0.0.0, which was not sent like that
            phantom: 1/0@1 holds record 0.9.0, which was not sent like that"#]],
    );
}

#[test]
fn a_key_keeps_its_order() {
    let mut history = history();
    history.stored(A, extent(0, 3), &all(&[0, 2, 1]));
    check(
        &history,
        expect!["reordered: of key \"k\", record 0.2.0 at 1/0@1 comes before 0.1.0 at 1/0@2"],
    );
}

#[test]
fn a_key_keeps_its_partition_up_to_a_fence() {
    let mut history = history();
    history.stored(A, extent(0, 2), &all(&[0, 1]));
    history.stored(B, extent(0, 1), &all(&[2]));
    check(
        &history,
        expect!["split: of key \"k\", record 0.1.0 is at 1/0@1 and 0.2.0 at 1/1@0"],
    );
    let fence = |end| Fence {
        before: 1,
        ends: vec![Offset::new(end)],
    };
    history.fences(TopicId::new(1), vec![fence(2)]);
    check(&history, expect![""]);
    // Record 0.1.0 came behind this one.
    history.fences(TopicId::new(1), vec![fence(1)]);
    check(
        &history,
        expect!["split: of key \"k\", record 0.1.0 is at 1/0@1 and 0.2.0 at 1/1@0"],
    );
}

#[test]
fn what_was_dropped_stays_away() {
    let mut history = history();
    acknowledged(&mut history, 0, A, 0);
    history.dropped(A, Offset::new(1));
    history.stored(A, extent(1, 2), &[found(1, 1)]);
    check(&history, expect![""]);
    history.stored(A, extent(0, 2), &all(&[0, 1]));
    check(
        &history,
        expect![[r#"
            resurrected: 1/0@0 is served again, although it was dropped
            resurrected: 1/0@0 is served again, although it was dropped"#]],
    );
}

#[test]
fn nothing_is_dropped_that_nobody_dropped() {
    let mut history = history();
    history.drop_asked(A, Offset::new(1));
    history.stored(A, extent(2, 3), &[found(2, 2)]);
    check(
        &history,
        expect![
            "dropped: topic id 1 partition 0 begins at 2, but nobody dropped more than up to 1"
        ],
    );
}

#[test]
fn a_drop_that_did_not_happen_is_no_excuse_later() {
    let mut history = history();
    history.drop_asked(A, Offset::new(2));
    history.begins(A, Offset::ZERO);
    history.extent(A, extent(1, 2));
    check(
        &history,
        expect![
            "dropped: topic id 1 partition 0 begins at 1, but nobody dropped more than up to 0"
        ],
    );
}

#[test]
fn partitions_do_not_shrink() {
    let mut history = history();
    history.extent(A, extent(0, 3));
    history.extent(A, extent(0, 2));
    history.absent(A);
    check(
        &history,
        expect![[r#"
            receded: topic id 1 partition 0 ends at 2, after it had reached 3
            receded: topic id 1 partition 0 ends at 0, after it had reached 3"#]],
    );
}

#[test]
fn readers_skip_nothing() {
    let mut history = history();
    history.read(A, Offset::ZERO, Offset::new(2), &[found(1, 1)]);
    history.read(A, Offset::new(2), Offset::new(4), &[found(2, 2)]);
    history.stored(A, extent(0, 4), &all(&[0, 1, 2, 3]));
    check(
        &history,
        expect![[r#"
            gap: topic id 1 partition 0 goes on at 1 where 0 was expected
            gap: topic id 1 partition 0 goes on at 4 where 3 was expected"#]],
    );
}

#[test]
fn append_times_grow_and_stay() {
    let mut history = history();
    let mut late = found(0, 0);
    late.time = Timestamp::new(50);
    history.read(A, Offset::ZERO, Offset::new(1), &[late]);
    history.stored(A, extent(0, 2), &all(&[0, 1]));
    check(
        &history,
        expect![[r#"
            time: 1/0@0 was appended at 0, but 50 is known for it from an earlier read
            time: 1/0@1 was appended at 10, but 50 is known for an earlier offset"#]],
    );
}

#[test]
fn a_retry_hears_the_same() {
    let mut history = history();
    acknowledged(&mut history, 0, A, 0);
    history.answered(record(0).request, Answer::Refused);
    history.stored(A, extent(0, 1), &all(&[0]));
    check(
        &history,
        expect![[r#"
            request 0.0 was answered twice, and not the same
            refused: record 0.0.0 was refused and is at 1/0@0"#]],
    );
}

#[test]
fn a_request_is_there_as_a_whole() {
    let mut history = history();
    let request = RequestId {
        producer: 1,
        number: 0,
    };
    history.sent(request, TopicId::new(1), vec![content(), content()]);
    let mut first = found(0, 0);
    first.id.request = request;
    history.stored(A, extent(0, 1), &[first]);
    check(
        &history,
        expect!["torn: request 1.0 has 2 records, and 1 are there"],
    );
}

#[test]
fn a_search_by_time_finds_the_first() {
    for answer in [0, 2] {
        let mut history = history();
        history.sought(A, Timestamp::new(5), Offset::new(answer), extent(0, 3));
        history.stored(A, extent(0, 3), &all(&[0, 1, 2]));
        let problems = history.check();
        let [Problem::Sought { place, .. }] = problems.as_slice() else {
            panic!("{problems:?}");
        };
        assert_eq!(place.offset, Offset::new(answer / 2));
    }
}

#[test]
fn a_deleted_topic_is_gone() {
    let mut history = history();
    acknowledged(&mut history, 0, A, 0);
    history.delete_asked(TopicId::new(1));
    check(&history, expect![""]);
    history.deleted(TopicId::new(1));
    history.extent(A, extent(0, 1));
    check(
        &history,
        expect!["resurrected: topic id 1 was deleted, and is there"],
    );
}

#[test]
fn a_deletion_that_did_not_happen_is_no_excuse_later() {
    let mut history = history();
    acknowledged(&mut history, 0, A, 0);
    history.delete_asked(TopicId::new(1));
    history.restarted(&[TopicId::new(1)].into());
    check(
        &history,
        expect!["lost: record 0.0.0 was acknowledged at 1/0@0 and is not there"],
    );
    history.restarted(&[].into());
    check(
        &history,
        expect!["topic id 1 is gone, and nobody deleted it"],
    );
}

#[test]
fn compaction_takes_what_a_later_record_replaces() {
    let mut history = history();
    history.compacted(TopicId::new(1));
    acknowledged(&mut history, 0, A, 0);
    acknowledged(&mut history, 1, A, 1);
    acknowledged(&mut history, 2, A, 2);
    history.read(A, Offset::ZERO, Offset::new(3), &all(&[0, 1, 2]));
    history.stored(A, extent(0, 3), &[found(2, 2)]);
    check(&history, expect![""]);
    history.stored(A, extent(0, 3), &[found(1, 1)]);
    check(
        &history,
        expect![[r#"
            resurrected: 1/0@1 is served again, although it was compacted away
            lost: record 0.2.0 was read at 1/0@2 and is not there
            lost: record 0.2.0 was acknowledged at 1/0@2 and is not there"#]],
    );
}
