//! Each rule, broken once.

use bytes::Bytes;
use weir_wire::id::{Offset, PartitionId};
use weir_wire::placement::OrderingKey;

use super::{History, Place, Problem, ReaderId, RecordId, RequestId, Sent, Stored};

fn id(text: &str) -> RecordId {
    text.parse().unwrap()
}

/// `topic/partition@offset`.
fn place(text: &str) -> Place {
    let (topic, rest) = text.split_once('/').unwrap();
    let (partition, offset) = rest.split_once('@').unwrap();
    Place {
        topic: topic.parse().unwrap(),
        partition: PartitionId::new(partition.parse().unwrap()),
        offset: Offset::new(offset.parse().unwrap()),
    }
}

fn stored(text: &str, record: &str) -> Stored {
    Stored {
        place: place(text),
        id: Some(id(record)),
        key: Some(OrderingKey::hash(b"k")),
        value: Bytes::from(record.to_owned()),
    }
}

/// Two requests of one producer, all of one key: the first of two records, the second of one.
fn sent() -> History {
    let mut history = History::default();
    for record in ["0.0.0", "0.0.1", "0.1.0"] {
        let value = Bytes::from(record.to_owned());
        history.sent(
            id(record),
            Sent {
                key: Some("k".to_owned()),
                value,
            },
        );
    }
    history
}

/// Answers, then what is there.
fn history(acknowledged: &[(&str, &str)], there: &[(&str, &str)]) -> History {
    let mut history = sent();
    for (record, at) in acknowledged {
        history.acknowledged(id(record), vec![place(at)]);
    }
    for (at, record) in there {
        history.stored(stored(at, record));
    }
    history
}

const ALL: [(&str, &str); 3] = [
    ("a-x/0@0", "0.0.0"),
    ("a-x/0@1", "0.0.1"),
    ("a-x/0@2", "0.1.0"),
];

#[track_caller]
fn finds(history: &History, expected: &[Problem]) {
    assert_eq!(history.check(), expected);
}

#[test]
fn a_good_history_has_no_problems() {
    let mut good = history(&[("0.0.0", "a-x/0@0"), ("0.1.0", "a-x/0@2")], &ALL);
    good.read(ReaderId(0), place("a-x/0@0"), id("0.0.0"));
    good.read(ReaderId(0), place("a-x/0@1"), id("0.0.1"));
    // Another reader begins at the beginning.
    good.read(ReaderId(1), place("a-x/0@0"), id("0.0.0"));
    finds(&good, &[]);
    // What nobody answered for may be there or not.
    finds(&history(&[], &ALL), &[]);
    finds(&history(&[], &[]), &[]);
    assert_eq!(good.counts(), [3, 2, 3, 3]);
    assert_eq!(good.read_by(ReaderId(0)), 2);
}

#[test]
fn lost() {
    let lost = history(&[("0.1.0", "a-x/0@2")], &ALL[..2]);
    finds(
        &lost,
        &[Problem::Lost {
            id: id("0.1.0"),
            place: place("a-x/0@2"),
        }],
    );
}

#[test]
fn moved() {
    let moved = history(&[("0.1.0", "a-x/0@3")], &ALL);
    let (acknowledged, stored) = (place("a-x/0@3"), place("a-x/0@2"));
    finds(
        &moved,
        &[Problem::Moved {
            id: id("0.1.0"),
            acknowledged,
            stored,
        }],
    );
}

#[test]
fn doubled() {
    let there = [ALL[0], ALL[1], ALL[2], ("a-x/0@3", "0.1.0")];
    let (first, second) = (place("a-x/0@2"), place("a-x/0@3"));
    finds(
        &history(&[], &there),
        &[Problem::Doubled {
            id: id("0.1.0"),
            first,
            second,
        }],
    );
}

#[test]
fn refused_but_stored() {
    let mut refused = history(&[], &ALL);
    refused.not_stored(id("0.1.0"));
    let place = place("a-x/0@2");
    finds(
        &refused,
        &[Problem::RefusedButStored {
            id: id("0.1.0"),
            place,
        }],
    );
}

#[test]
fn reordered() {
    let there = [
        ("a-x/0@0", "0.1.0"),
        ("a-x/0@1", "0.0.0"),
        ("a-x/0@2", "0.0.1"),
    ];
    let expected = Problem::Reordered {
        topic: "a-x".parse().unwrap(),
        key: "k".to_owned(),
        later: id("0.1.0"),
        earlier: id("0.0.0"),
    };
    finds(&history(&[], &there), &[expected]);
}

#[test]
fn split() {
    let there = [ALL[0], ALL[1], ("a-x/1@0", "0.1.0")];
    let expected = Problem::Split {
        topic: "a-x".parse().unwrap(),
        key: "k".to_owned(),
        one: PartitionId::new(0),
        other: PartitionId::new(1),
    };
    finds(&history(&[], &there), &[expected]);
}

#[test]
fn torn() {
    let request = RequestId {
        producer: 0,
        number: 0,
    };
    let torn = Problem::Torn {
        request,
        present: 1,
        sent: 2,
    };
    finds(&history(&[], &ALL[..1]), &[torn]);
}

#[test]
fn mixed() {
    let there = [ALL[0], ("b-x/0@0", "0.0.1"), ("a-x/0@1", "0.1.0")];
    let request = RequestId {
        producer: 0,
        number: 0,
    };
    let (one, other) = ("a-x".parse().unwrap(), "b-x".parse().unwrap());
    finds(
        &history(&[], &there),
        &[Problem::Mixed {
            request,
            one,
            other,
        }],
    );
}

#[test]
fn unknown_changed_and_without_key() {
    let mut wrong = history(&[], &ALL[..2]);
    let mut record = stored("a-x/0@2", "0.1.0");
    record.value = Bytes::from_static(b"another");
    record.key = None;
    wrong.stored(record);
    wrong.stored(stored("a-x/0@3", "7.7.7"));
    let at = || place("a-x/0@2");
    finds(
        &wrong,
        &[
            Problem::Unknown {
                place: place("a-x/0@3"),
            },
            Problem::Changed {
                id: id("0.1.0"),
                place: at(),
            },
            Problem::WrongKey {
                id: id("0.1.0"),
                place: at(),
            },
        ],
    );
}

#[test]
fn gap() {
    let there = [ALL[0], ALL[1], ("a-x/0@3", "0.1.0")];
    let expected = Offset::new(2);
    finds(
        &history(&[], &there),
        &[Problem::Gap {
            place: place("a-x/0@3"),
            expected,
        }],
    );
}

#[test]
fn vanished_and_diverged() {
    let mut read = history(&[], &ALL[..2]);
    read.read(ReaderId(0), place("a-x/0@0"), id("0.0.1"));
    read.read(ReaderId(0), place("a-x/0@1"), id("0.0.1"));
    read.read(ReaderId(0), place("a-x/0@2"), id("0.1.0"));
    let diverged = Problem::Diverged {
        place: place("a-x/0@0"),
        read: id("0.0.1"),
        stored: id("0.0.0"),
    };
    let vanished = Problem::Vanished {
        id: id("0.1.0"),
        place: place("a-x/0@2"),
    };
    finds(&read, &[diverged, vanished]);
}

#[test]
fn disagreed() {
    let mut read = history(&[], &ALL);
    read.read(ReaderId(0), place("a-x/0@0"), id("0.0.0"));
    read.read(ReaderId(1), place("a-x/0@0"), id("0.0.1"));
    finds(
        &read,
        &[Problem::Disagreed {
            place: place("a-x/0@0"),
            before: id("0.0.0"),
            id: id("0.0.1"),
        }],
    );
}

#[test]
fn receded() {
    let mut read = history(&[], &ALL);
    for (at, record) in ALL {
        read.read(ReaderId(0), place(at), id(record));
    }
    let (topic, partition) = ("a-x".parse().unwrap(), PartitionId::new(0));
    read.holds(&topic, partition, Offset::new(3));
    finds(&read, &[]);
    read.holds(&topic, partition, Offset::new(2));
    let (read_to, end) = (Offset::new(3), Offset::new(2));
    finds(
        &read,
        &[Problem::Receded {
            topic,
            partition,
            read: read_to,
            end,
        }],
    );
}

#[test]
fn skipped() {
    let mut read = history(&[], &ALL);
    read.read(ReaderId(0), place("a-x/0@1"), id("0.0.1"));
    let expected = Offset::new(0);
    finds(
        &read,
        &[Problem::Skipped {
            place: place("a-x/0@1"),
            expected,
        }],
    );
}

#[test]
fn ids_are_read_as_they_are_written() {
    assert_eq!(id("3.14.15").to_string(), "3.14.15");
    for text in ["", "1", "1.2", "1.2.3.4", "1.x.3"] {
        assert!(text.parse::<RecordId>().is_err(), "{text}");
    }
}
