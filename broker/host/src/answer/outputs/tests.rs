//! Sections put together from answers, against a model that decodes everything and encodes it
//! again; and answers that break the rules.

use super::{Mapped, Outputs, Question};
use crate::contract::{ABSENT, HeaderChange, UNCHANGED, WireBatch};
use crate::instance::Cause;
use crate::{Rejection, Transformed};
use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};
use weir_wire::batch::{BatchBuilder, Compression, HEADER_LEN, NewRecord, Records};
use weir_wire::id::Timestamp;

type Headers = Vec<(String, Option<Vec<u8>>)>;

/// A record, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plain {
    timestamp_delta: i64,
    offset_delta: u32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
}

fn read(section: &[u8], count: u32) -> Vec<Plain> {
    let mut records = Records::new(section, count);
    let plain = records
        .by_ref()
        .map(|record| {
            let record = record.unwrap();
            let header = |(name, value): (&[u8], Option<&[u8]>)| {
                let name = String::from_utf8(name.to_vec()).unwrap();
                (name, value.map(<[u8]>::to_vec))
            };
            Plain {
                timestamp_delta: record.timestamp_delta,
                offset_delta: record.offset_delta,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers().map(header).collect(),
            }
        })
        .collect();
    assert!(records.rest().is_empty());
    plain
}

/// Key, value and headers.
type Parts<'a> = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<(&'a str, Vec<u8>)>);

fn section(records: &[Parts<'_>]) -> Bytes {
    let mut builder = BatchBuilder::default();
    for (index, (key, value, headers)) in records.iter().enumerate() {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (*name, &value[..]))
            .collect();
        let record = NewRecord {
            key: key.as_deref(),
            value: value.as_deref(),
            headers: &headers,
        };
        builder.push(Timestamp::new(index as i64 * 100), &record);
    }
    let batch = builder.finish(Compression::None).unwrap();
    Bytes::from(batch).slice(HEADER_LEN..)
}

fn question(section: &[u8], skip: u32, count: u32) -> Question<'_> {
    Question {
        batch: WireBatch {
            count,
            arena: &[],
            spans: &[],
            timestamps: None,
        },
        attempts: &[],
        section,
        start: 0,
        skip,
        first: skip,
        output_max: 1 << 20,
    }
}

/// What becomes of one record.
#[derive(Clone, Debug)]
enum Fate {
    Rejected,
    Outputs(Vec<Made>),
}

#[derive(Clone, Debug)]
struct Made {
    /// The outer `None` leaves it as it is.
    key: Option<Option<Vec<u8>>>,
    value: Option<Option<Vec<u8>>>,
    headers: Headers,
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..100)
}

fn name() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just(""), Just("longer")]
}

fn made() -> impl Strategy<Value = Made> {
    let part = || prop_oneof![3 => Just(None), 2 => option::of(bytes()).prop_map(Some)];
    let change = (name().prop_map(str::to_owned), option::of(bytes()));
    (part(), part(), vec(change, 0..4)).prop_map(|(key, value, headers)| Made {
        key,
        value,
        headers,
    })
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Rejected),
        2 => Just(Fate::Outputs(vec![Made { key: None, value: None, headers: Vec::new() }])),
        3 => vec(made(), 0..4).prop_map(Fate::Outputs),
    ]
}

/// The fates as a plugin answers them.
fn answer(fates: &[Fate]) -> Mapped {
    let mut mapped = Mapped::default();
    for (index, fate) in fates.iter().enumerate() {
        match fate {
            Fate::Rejected => mapped.rejected.push((index as u32, format!("no {index}"))),
            Fate::Outputs(outputs) => {
                outputs
                    .iter()
                    .for_each(|made| put(&mut mapped, index as u32, made));
            }
        }
    }
    mapped
}

fn put(mapped: &mut Mapped, source: u32, made: &Made) {
    let output = mapped.source.len() as u32;
    mapped.source.push(source);
    for part in [&made.key, &made.value] {
        let at = mapped.data.len() as u32;
        let length = match part {
            None => UNCHANGED,
            Some(None) => ABSENT,
            Some(Some(bytes)) => {
                mapped.data.extend_from_slice(bytes);
                bytes.len() as u32
            }
        };
        mapped.spans.extend([at, length]);
    }
    for (name, value) in &made.headers {
        mapped.headers.push(HeaderChange {
            output,
            name: name.clone(),
            value: value.clone(),
        });
    }
}

/// What should come of it, one change after the other.
fn model(stored: &[Plain], fates: &[Fate], own_offsets: bool) -> Vec<Plain> {
    let mut outputs = Vec::new();
    for (source, fate) in stored.iter().zip(fates) {
        let Fate::Outputs(made) = fate else { continue };
        for made in made {
            let mut output = source.clone();
            if !own_offsets {
                output.offset_delta = outputs.len() as u32;
            }
            output.key = made.key.clone().unwrap_or(output.key);
            output.value = made.value.clone().unwrap_or(output.value);
            for (name, value) in &made.headers {
                output.headers.retain(|(found, _)| found != name);
                if value.is_some() {
                    output.headers.push((name.clone(), value.clone()));
                }
            }
            outputs.push(output);
        }
    }
    outputs
}

fn transformed(mut outputs: Outputs, section: &Bytes, count: u32) -> Transformed {
    outputs.finish(section, count);
    outputs.transformed(Vec::new())
}

proptest! {
    #[test]
    fn outputs_are_what_one_change_after_the_other_makes(
        records in vec(
            (option::of(bytes()), option::of(bytes()), vec((name(), bytes()), 0..4)),
            1..30,
        ),
        fates in vec(fate(), 30),
        cut in 0..30_usize,
    ) {
        let section = section(&records);
        let count = records.len() as u32;
        let fates = &fates[..records.len()];
        let stored = read(&section, count);
        // In two calls, of which the second is repeated, as a purity check does.
        let cut = cut.min(records.len());
        let (head, tail) = fates.split_at(cut);
        let mut outputs = Outputs::new(false, 0, usize::MAX);
        outputs.take(answer(head), &question(&section, 0, cut as u32)).unwrap();
        let mut again = outputs.repetition(&section);
        let mark = outputs.mark();
        let second = question(&section, cut as u32, count - cut as u32);
        // What is taken back leaves nothing.
        outputs.take(answer(tail), &second).unwrap();
        outputs.truncate(&mark);
        outputs.take(answer(tail), &second).unwrap();
        again.take(answer(tail), &second).unwrap();
        assert!(outputs.is_repeated(&mark, &mut again, &section));

        let made = transformed(outputs, &section, count);
        let expected = model(&stored, fates, false);
        prop_assert_eq!(made.count as usize, expected.len());
        prop_assert_eq!(read(&made.records, made.count), expected);
        prop_assert!(!made.unchanged || made.records == section);
        prop_assert_eq!(made.sources.len(), made.count as usize);
        let rejected: Vec<u32> = made.rejected.iter().map(|rejection| rejection.index).collect();
        let wanted = (0..count).filter(|index| matches!(fates[*index as usize], Fate::Rejected));
        prop_assert_eq!(rejected, wanted.collect::<Vec<_>>());
    }

    #[test]
    fn whatever_a_plugin_answers_is_refused_or_read_again(
        source in vec(0..6_u32, 0..6),
        spans in vec(prop_oneof![0..12_u32, Just(UNCHANGED), Just(ABSENT), any::<u32>()], 0..24),
        headers in vec((0..7_u32, name()), 0..5),
        rejected in vec(0..6_u32, 0..3),
        own_offsets in any::<bool>(),
    ) {
        let section = section(&vec![(None, Some(b"value".to_vec()), Vec::new()); 5]);
        let change = |(output, name): (u32, &str)| HeaderChange {
            output,
            name: name.to_owned(),
            value: Some(Vec::new()),
        };
        let mapped = Mapped {
            source,
            data: b"0123456789".to_vec(),
            spans,
            headers: headers.into_iter().map(change).collect(),
            rejected: rejected.into_iter().map(|index| (index, "no".to_owned())).collect(),
        };
        let mut outputs = Outputs::new(own_offsets, 0, usize::MAX);
        if outputs.take(mapped, &question(&section, 0, 5)).is_ok() {
            let made = transformed(outputs, &section, 5);
            prop_assert_eq!(read(&made.records, made.count).len(), made.sources.len());
        }
    }
}

#[test]
fn what_is_left_as_it_is_is_not_even_copied() {
    let section = section(&vec![(None, Some(b"value".to_vec()), Vec::new()); 100]);
    let unchanged = Made {
        key: None,
        value: None,
        headers: Vec::new(),
    };
    let mapped = answer(&vec![Fate::Outputs(vec![unchanged]); 100]);
    let mut outputs = Outputs::new(false, 100, usize::MAX);
    outputs.take(mapped, &question(&section, 0, 100)).unwrap();
    let made = transformed(outputs, &section, 100);
    assert!(made.unchanged);
    assert_eq!(made.records.as_ptr(), section.as_ptr());
    assert_eq!((made.count, made.records.len()), (100, section.len()));
}

#[test]
fn a_projection_keeps_offsets_and_has_one_output_for_each() {
    let whole = section(&vec![(None, Some(b"value".to_vec()), Vec::new()); 4]);
    // Records 1 and 3, as compaction leaves them.
    let mut builder = BatchBuilder::default();
    for record in Records::new(&whole, 4).map(Result::unwrap) {
        if record.offset_delta % 2 == 1 {
            builder.push_body_at(Timestamp::new(7), record.offset_delta, record.body());
        }
    }
    let compacted = Bytes::from(builder.finish(Compression::None).unwrap()).slice(HEADER_LEN..);
    let masked = Made {
        key: None,
        value: Some(Some(b"***".to_vec())),
        headers: Vec::new(),
    };
    let fates = vec![Fate::Outputs(vec![masked]); 2];
    let mut outputs = Outputs::new(true, 2, usize::MAX);
    outputs
        .take(answer(&fates), &question(&compacted, 0, 2))
        .unwrap();
    let made = transformed(outputs, &compacted, 2);
    assert_eq!(
        read(&made.records, 2),
        model(&read(&compacted, 2), &fates, true)
    );

    for fates in [&fates[..1], &[fates[0].clone(), Fate::Rejected]] {
        let error = Outputs::new(true, 2, usize::MAX)
            .take(answer(fates), &question(&compacted, 0, 2))
            .unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("a projection has exactly one output"),
            "{error}"
        );
    }
}

/// The answer to three records that `change` makes of an innocent one, and what is said to it.
fn refused(change: impl FnOnce(&mut Mapped)) -> (Cause, String) {
    let section = section(&vec![(None, Some(b"value".to_vec()), Vec::new()); 3]);
    let set = Made {
        key: None,
        value: Some(Some(b"new".to_vec())),
        headers: vec![("a".to_owned(), None)],
    };
    let mut mapped = answer(&vec![Fate::Outputs(vec![set]); 3]);
    change(&mut mapped);
    let mut outputs = Outputs::new(false, 3, usize::MAX);
    let failure = outputs.take(mapped, &question(&section, 0, 3)).unwrap_err();
    (failure.cause, failure.to_string())
}

#[test]
fn answers_that_break_the_rules_say_which() {
    let check = |change: fn(&mut Mapped), message: &str| {
        assert_eq!(refused(change), (Cause::Answered, message.to_owned()));
    };
    check(
        |mapped| mapped.spans.truncate(11),
        "the plugin answered 11 numbers of spans for 3 outputs, not four for each",
    );
    let ascend = "the sources of the outputs must ascend and be less than 3";
    check(|mapped| mapped.source.swap(0, 2), ascend);
    check(|mapped| mapped.source[2] = 3, ascend);
    let ascend = "the rejected records must ascend and be less than 3";
    check(|mapped| mapped.rejected = vec![(3, String::new())], ascend);
    check(
        |mapped| mapped.rejected = vec![(1, String::new()); 2],
        ascend,
    );
    check(
        |mapped| mapped.rejected = vec![(1, String::new())],
        "record 1 is rejected and has outputs",
    );
    check(
        |mapped| mapped.spans[6] = 8,
        "the plugin answered a value outside its bytes for output 1",
    );
    check(
        |mapped| mapped.spans[5] = 20,
        "the plugin answered a key outside its bytes for output 1",
    );
    let ascend = "the changes of headers must ascend by output and name one of 3 outputs";
    check(|mapped| mapped.headers.swap(0, 1), ascend);
    check(|mapped| mapped.headers[2].output = 3, ascend);
    check(
        |mapped| mapped.headers[0].name = "x".repeat(257),
        "output 0 has a header whose name is longer than 256 bytes",
    );
    check(
        |mapped| mapped.headers = vec![mapped.headers[1].clone(); 65],
        "output 1 changes more than 64 headers",
    );
}

#[test]
fn fan_out_is_bounded_by_bytes_by_work_and_by_what_a_batch_holds() {
    let wide: Vec<_> = (0..1000).map(|_| ("x", vec![0; 8])).collect();
    let section = section(&[(None, Some(vec![0; 10_000]), wide)]);
    let copies = |count: usize, headers: &[(&str, Option<Vec<u8>>)]| {
        let owned = |(name, value): &(&str, Option<Vec<u8>>)| ((*name).to_owned(), value.clone());
        let made = Made {
            key: None,
            value: None,
            headers: headers.iter().map(owned).collect(),
        };
        answer(&[Fate::Outputs(vec![made; count])])
    };
    let take_within = |room, mapped, output_max| {
        let question = Question {
            output_max,
            ..question(&section, 0, 1)
        };
        let taken = Outputs::new(false, 0, room).take(mapped, &question);
        taken.map_err(|failure| failure.cause)
    };
    let take = |mapped, output_max| take_within(usize::MAX, mapped, output_max);
    assert_eq!(take(copies(40, &[]), 1 << 20), Ok(()));
    assert_eq!(take(copies(60, &[]), 1 << 20), Err(Cause::Limit));
    assert_eq!(take_within(1 << 20, copies(40, &[]), 1 << 20), Ok(()));
    let no_room = take_within(300_000, copies(40, &[]), 1 << 20);
    assert_eq!(no_room, Err(Cause::NoRoom));
    // Outputs that are small, but cost the host much to make.
    let none: Vec<_> = ["a", "b", "c", "x"].map(|name| (name, None)).into();
    let empty = |count: usize| {
        let mut mapped = copies(count, &none);
        mapped.spans.iter_mut().for_each(|number| *number = ABSENT);
        mapped
    };
    assert_eq!(take(empty(10), 1 << 20), Ok(()));
    assert_eq!(take(empty(10), 40_000), Err(Cause::Limit));
    assert_eq!(take(copies(2_000, &[]), usize::MAX), Err(Cause::TooLarge));
    let too_many = Mapped {
        source: vec![0; (1 << 20) + 1],
        spans: vec![UNCHANGED; 4 * ((1 << 20) + 1)],
        ..Mapped::default()
    };
    assert_eq!(take(too_many, usize::MAX), Err(Cause::TooLarge));
}

#[test]
fn reasons_are_kept_and_cut() {
    let section = section(&[(None, None, Vec::new())]);
    let mut outputs = Outputs::new(false, 0, usize::MAX);
    let mapped = Mapped {
        rejected: vec![(0, "é".repeat(1000))],
        ..Mapped::default()
    };
    outputs.take(mapped, &question(&section, 0, 1)).unwrap();
    let made = transformed(outputs, &section, 1);
    let reason = "é".repeat(512);
    assert_eq!(made.rejected, [Rejection { index: 0, reason }]);
    assert_eq!((made.count, made.records.len()), (0, 0));
}
