//! Messages against `prost`, an independent Protocol Buffers implementation: what it writes is
//! read here and the reverse, fields of newer versions are skipped, malformed ones are refused.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::{option, prop_assert_eq, proptest};
use prost::Message as _;
use weir_wire::error::ErrorCode;
use weir_wire::id::{BindingId, Offset, PartitionId, PluginVersion, Sequence, Timestamp, TopicId};
use weir_wire::message::{Message, MessageError};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::produce::{Destination, Outcome, Produce, Produced, Refusal};
use weir_wire::request::{
    BindingLimits, BrokerStatus, Done, Error, Hello, PluginVersionInfo, Route,
};
use weir_wire::subscribe::{Cursor, FilterSpec, Subscribe};

/// The same messages as `prost` derives them, by the numbers in `weir.proto`.
mod theirs {
    use std::collections::HashMap;

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Error {
        #[prost(uint32, tag = "1")]
        pub code: u32,
        #[prost(string, tag = "2")]
        pub message: String,
        #[prost(uint64, optional, tag = "3")]
        pub retry_after_ms: Option<u64>,
        #[prost(uint32, optional, tag = "4")]
        pub record: Option<u32>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Produce {
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
        #[prost(uint32, tag = "2")]
        pub ack: u32,
        #[prost(uint32, optional, tag = "3")]
        pub partition: Option<u32>,
        #[prost(bool, tag = "4")]
        pub all_or_nothing: bool,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Produced {
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
        #[prost(message, optional, tag = "2")]
        pub outcome: Option<Outcome>,
        #[prost(message, optional, tag = "3")]
        pub error: Option<Error>,
        #[prost(uint64, tag = "4")]
        pub throttle_ms: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Outcome {
        #[prost(message, repeated, tag = "1")]
        pub destinations: Vec<Destination>,
        #[prost(bytes = "vec", repeated, tag = "2")]
        pub sets: Vec<Vec<u8>>,
        #[prost(message, repeated, tag = "3")]
        pub refusals: Vec<Refusal>,
        #[prost(bytes = "vec", tag = "4")]
        pub runs: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Destination {
        #[prost(uint64, tag = "1")]
        pub topic: u64,
        #[prost(string, tag = "2")]
        pub name: String,
        #[prost(uint32, tag = "3")]
        pub partition: u32,
        #[prost(uint64, tag = "4")]
        pub base_offset: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Refusal {
        #[prost(uint32, tag = "1")]
        pub kind: u32,
        #[prost(uint64, tag = "2")]
        pub binding: u64,
        #[prost(string, tag = "3")]
        pub reason: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct Subscribe {
        #[prost(string, repeated, tag = "1")]
        pub topics: Vec<String>,
        #[prost(uint32, optional, tag = "2")]
        pub partition: Option<u32>,
        #[prost(uint32, tag = "3")]
        pub start: u32,
        #[prost(uint64, tag = "4")]
        pub start_offset: u64,
        #[prost(int64, tag = "5")]
        pub start_time: i64,
        #[prost(message, repeated, tag = "6")]
        pub cursors: Vec<Cursor>,
        #[prost(message, repeated, tag = "7")]
        pub filters: Vec<FilterSpec>,
        #[prost(uint64, tag = "8")]
        pub credit_bytes: u64,
        #[prost(uint64, tag = "9")]
        pub credit_records: u64,
        #[prost(bool, tag = "10")]
        pub ordering_keys: bool,
        #[prost(bool, tag = "11")]
        pub resumed: bool,
        #[prost(message, repeated, tag = "12")]
        pub projections: Vec<FilterSpec>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct Cursor {
        #[prost(uint64, tag = "1")]
        pub topic: u64,
        #[prost(uint32, tag = "2")]
        pub partition: u32,
        #[prost(uint64, tag = "3")]
        pub offset: u64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct FilterSpec {
        #[prost(string, tag = "1")]
        pub plugin: String,
        #[prost(string, optional, tag = "2")]
        pub version: Option<String>,
        #[prost(int32, optional, tag = "4")]
        pub on_error: Option<i32>,
        #[prost(message, optional, tag = "5")]
        pub limits: Option<BindingLimits>,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub struct BindingLimits {
        #[prost(uint64, optional, tag = "1")]
        pub cpu_ms: Option<u64>,
        #[prost(uint64, optional, tag = "3")]
        pub output_bytes: Option<u64>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub struct PluginVersionInfo {
        #[prost(bytes = "vec", tag = "1")]
        pub version: Vec<u8>,
        #[prost(uint64, tag = "2")]
        pub bytes: u64,
        /// `prost` packs this, as proto3 does without an option.
        #[prost(int32, repeated, tag = "3")]
        pub hooks: Vec<i32>,
        #[prost(int64, tag = "4")]
        pub pushed: i64,
    }

    /// What a newer `Produce` might look like: every wire type in fields that are not known.
    #[derive(Clone, PartialEq, prost::Message)]
    pub struct NewerProduce {
        #[prost(uint64, tag = "1")]
        pub sequence: u64,
        #[prost(fixed64, tag = "90")]
        pub wide: u64,
        #[prost(uint32, tag = "2")]
        pub ack: u32,
        #[prost(fixed32, tag = "91")]
        pub narrow: u32,
        #[prost(string, tag = "92")]
        pub text: String,
        #[prost(sint64, tag = "536870911")]
        pub far: i64,
        #[prost(map = "string, uint64", tag = "93")]
        pub map: HashMap<String, u64>,
    }
}

fn check<M, T>(mine: &M, theirs: &T)
where
    M: Message + PartialEq + std::fmt::Debug,
    T: prost::Message + PartialEq + Default + std::fmt::Debug,
{
    assert_eq!(&M::decode(&theirs.encode_to_vec()).unwrap(), mine);
    assert_eq!(&T::decode(mine.to_vec().as_slice()).unwrap(), theirs);
}

proptest! {
    #[test]
    fn produce(
        sequence in any::<u64>(),
        ack in 0..3_u32,
        partition in option::of(any::<u32>()),
        all in any::<bool>(),
    ) {
        check(
            &Produce {
                sequence: Sequence::new(sequence),
                ack,
                partition: partition.map(PartitionId::new),
                all_or_nothing: all,
            },
            &theirs::Produce { sequence, ack, partition, all_or_nothing: all },
        );
    }

    #[test]
    fn produced(
        sequence in any::<u64>(),
        bases in vec((any::<u64>(), any::<u32>()), 0..5),
        sets in vec(vec(any::<u8>(), 0..4), 0..4),
        reason in ".{0,20}",
        runs in vec(any::<u8>(), 0..9),
        throttle in any::<u64>(),
    ) {
        let destinations = bases.iter().map(|(base, partition)| Destination {
            topic: TopicId::new(*base / 2),
            name: "air/flights".parse().unwrap(),
            partition: PartitionId::new(*partition),
            base_offset: Offset::new(*base),
        });
        let binding = BindingId::new(throttle);
        let refusal = Refusal { kind: 2, binding, reason: reason.clone() };
        let mine = Produced {
            sequence: Sequence::new(sequence),
            outcome: Some(Outcome {
                destinations: destinations.collect(),
                sets: sets.iter().cloned().map(Bytes::from).collect(),
                refusals: vec![refusal],
                runs: Bytes::from(runs.clone()),
            }),
            error: None,
            throttle_ms: throttle,
        };
        let destinations = bases.iter().map(|(base, partition)| theirs::Destination {
            topic: *base / 2,
            name: "air/flights".to_owned(),
            partition: *partition,
            base_offset: *base,
        });
        let outcome = theirs::Outcome {
            destinations: destinations.collect(),
            sets,
            refusals: vec![theirs::Refusal { kind: 2, binding: throttle, reason }],
            runs,
        };
        check(&mine, &theirs::Produced {
            sequence,
            outcome: Some(outcome),
            error: None,
            throttle_ms: throttle,
        });
    }

    #[test]
    fn subscribe(
        partition in option::of(any::<u32>()),
        start in any::<u32>(),
        time in any::<i64>(),
        cursors in vec((any::<u64>(), any::<u32>(), any::<u64>()), 0..9),
        version in option::of("[0-9a-f]{0,12}"),
        credit in any::<u64>(),
    ) {
        let mine = Subscribe {
            topics: vec!["flights".parse().unwrap(), "air/b".parse().unwrap()],
            partition: partition.map(PartitionId::new),
            start,
            start_offset: Offset::new(credit),
            start_time: Timestamp::new(time),
            cursors: cursors.iter().map(|&(topic, partition, offset)| Cursor {
                topic: TopicId::new(topic),
                partition: PartitionId::new(partition),
                offset: Offset::new(offset),
            }).collect(),
            filters: vec![FilterSpec {
                plugin: "tag-filter".parse().unwrap(),
                version: version.clone(),
                config: Vec::new(),
                on_error: Some(ErrorPolicy::Skip),
                limits: Some(BindingLimits {
                    cpu_ms: partition.map(u64::from),
                    output_bytes: Some(credit),
                    ..BindingLimits::default()
                }),
            }],
            credit_bytes: credit,
            credit_records: 0,
            ordering_keys: true,
            resumed: partition.is_some(),
            projections: vec![FilterSpec {
                plugin: "mask-view".parse().unwrap(),
                version: None,
                config: Vec::new(),
                on_error: None,
                limits: None,
            }],
        };
        check(&mine, &theirs::Subscribe {
            topics: vec!["flights".to_owned(), "air/b".to_owned()],
            partition,
            start,
            start_offset: credit,
            start_time: time,
            cursors: cursors.iter().map(|&(topic, partition, offset)| {
                theirs::Cursor { topic, partition, offset }
            }).collect(),
            filters: vec![theirs::FilterSpec {
                plugin: "tag-filter".to_owned(),
                version,
                on_error: Some(2),
                limits: Some(theirs::BindingLimits {
                    cpu_ms: partition.map(u64::from),
                    output_bytes: Some(credit),
                }),
            }],
            credit_bytes: credit,
            credit_records: 0,
            ordering_keys: true,
            resumed: partition.is_some(),
            projections: vec![theirs::FilterSpec {
                plugin: "mask-view".to_owned(),
                version: None,
                on_error: None,
                limits: None,
            }],
        });
    }

    #[test]
    fn errors(
        code in 1..=34_u32,
        message in ".{0,40}",
        retry in option::of(any::<u64>()),
        record in option::of(any::<u32>()),
    ) {
        check(
            &Error {
                code: ErrorCode::from_number(u64::from(code)),
                message: message.clone(),
                retry_after_ms: retry,
                record,
            },
            &theirs::Error { code, message, retry_after_ms: retry, record },
        );
    }

    #[test]
    fn fields_of_newer_versions_are_skipped(
        sequence in any::<u64>(), text in ".{0,20}", wide in any::<u64>(),
    ) {
        let newer = theirs::NewerProduce {
            sequence,
            wide,
            ack: 1,
            narrow: wide as u32,
            text: text.clone(),
            far: wide as i64,
            map: [(text, wide)].into_iter().collect(),
        };
        let read = Produce::decode(&newer.encode_to_vec()).unwrap();
        prop_assert_eq!((read.sequence.value(), read.ack), (sequence, 1));
        prop_assert_eq!(Done::decode(&newer.encode_to_vec()), Ok(Done {}));
    }
}

#[test]
fn repeated_enums_are_read_packed_and_not() {
    let mine = PluginVersionInfo {
        version: PluginVersion::new([7; 32]),
        bytes: 1 << 40,
        hooks: vec![Hook::Key, Hook::Filter, Hook::RetryPolicy],
        pushed: Timestamp::new(-1),
    };
    let theirs = theirs::PluginVersionInfo {
        version: vec![7; 32],
        bytes: 1 << 40,
        hooks: vec![3, 4, 6],
        pushed: -1,
    };
    check(&mine, &theirs);
}

#[test]
fn present_but_zero_is_not_absent() {
    let present = Hello {
        version: 1,
        token: Some(String::new()),
        client: String::new(),
    };
    assert_eq!(Hello::decode(&present.to_vec()), Ok(present));
    let absent = Hello::decode(&[]).unwrap();
    assert_eq!((absent.version, absent.token), (0, None));
    let route = Route {
        value: String::new(),
        topic: "flights".parse().unwrap(),
        partition: Some(PartitionId::new(0)),
    };
    assert_eq!(Route::decode(&route.to_vec()), Ok(route));
    let warned = BrokerStatus {
        warnings: vec![String::new(), "disk nearly full".to_owned()],
        ..BrokerStatus::decode(&[]).unwrap()
    };
    assert_eq!(BrokerStatus::decode(&warned.to_vec()), Ok(warned));
}

#[test]
fn malformed_messages_say_which_field() {
    let cases: [(&[u8], &str); 9] = [
        (&[0x08], "the message is malformed: bytes end too early"),
        (
            &[0x0b],
            "the message is malformed: a length is out of range",
        ),
        (
            &[0x12, 9, b'x'],
            "the message is malformed: bytes end too early",
        ),
        (&[0x0a, 1, 5], "field version has the wrong wire type"),
        (&[0x10, 5], "field token has the wrong wire type"),
        (
            &[0x12, 1, 0xff],
            "field token: invalid utf-8 sequence of 1 bytes from index 0",
        ),
        (
            &[0x08, 0x80, 0x80, 0x80, 0x80, 0x10],
            "field version: 4294967296 is too large",
        ),
        (
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            "the message is malformed: a varint is too long",
        ),
        (
            &[0x0d, 1, 2],
            "the message is malformed: bytes end too early",
        ),
    ];
    for (bytes, message) in cases {
        assert_eq!(Hello::decode(bytes).unwrap_err().to_string(), message);
    }
    assert_eq!(
        FilterSpec::decode(&[]),
        Err(MessageError::Missing("plugin"))
    );
}
