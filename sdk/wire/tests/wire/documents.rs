//! `PROTOCOL.md` and `weir.proto` say what the code does: examples, tables, fields.

mod examples;

use std::collections::{BTreeMap, BTreeSet};

use weir_wire::error::ErrorCode;
use weir_wire::frame::Kind;
use weir_wire::message::{FieldSpec, Message};
use weir_wire::plugin::{BindingAction, ErrorPolicy, Hook};
use weir_wire::topic::WhenUnread;
use weir_wire::{limits, produce, request, subscribe};

const PROTOCOL: &str = include_str!("../../PROTOCOL.md");
const PROTO: &str = include_str!("../../weir.proto");

macro_rules! messages {
    ($($path:ident: $($name:ident)*;)*) => {
        fn messages() -> Vec<(&'static str, &'static [FieldSpec])> {
            vec![$($((
                <$path::$name as Message>::NAME,
                <$path::$name as Message>::FIELDS,
            ),)*)*]
        }
    };
}

messages! {
    request: Hello Welcome Error Done CreateTopic TopicCreated DeleteTopic ListTopics Topics
        TopicInfo DescribeTopic TopicDescription PartitionInfo TopicSettings UpdateTopic
        TopicUpdated TruncateTopic TopicTruncated PartitionTruncated Fence GroupInfo
        PushPlugin PluginPushed
        PluginVersionInfo ListPlugins Plugins PluginInfo DescribePlugin PluginDescription
        RemovePlugin Bind Setting Route Bound BindingInfo BindingCounters Unbind Status
        BrokerStatus BindingLimits Rollback DescribeHistory History BindingEvent TopicEnds
        Unquarantine Quarantine PluginLogs LogCursor PluginLogLines LogLine FetchPlugin
        PluginFetched SubscriptionPlugin;
    produce: OpenProducer ProducerSession ProducerOpened Produce Produced Outcome Destination
        Refusal;
    subscribe: Subscribe Cursor FilterSpec Subscribed SubscribedPartition Credit LaneOpened
        Records Progress;
}

/// The bytes of hex text; what follows a `#` on a line is a comment.
pub fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap())
        .flat_map(str::chars)
        .filter(|c| !c.is_whitespace())
        .collect();
    assert!(digits.len().is_multiple_of(2), "half a byte in {text}");
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// How a field of that Rust type stands in `weir.proto`.
fn proto_type(rust: &str) -> String {
    let rust = rust.replace(' ', "");
    let inner = |prefix: &str| {
        rust.strip_prefix(prefix)
            .and_then(|rest| rest.strip_suffix('>'))
    };
    if let Some(inner) = inner("Option<") {
        return format!("optional {}", proto_type(inner));
    }
    if let Some(inner) = inner("Vec<") {
        return format!("repeated {}", proto_type(inner));
    }
    let word = match rust.as_str() {
        "String" | "TopicName" | "PluginName" | "GroupName" => "string",
        "Bytes" | "PluginVersion" => "bytes",
        "u32" | "PartitionId" | "ProducerEpoch" => "uint32",
        "u64" | "TopicId" | "Offset" | "ProducerId" | "Sequence" | "BindingId" | "BindingEpoch"
        | "SubscriptionId" => "uint64",
        "Timestamp" => "int64",
        "bool" => "bool",
        other => other,
    };
    word.to_owned()
}

type Fields = BTreeMap<String, Vec<(u32, String, String)>>;

fn declared() -> Fields {
    let fields = |specs: &[FieldSpec]| {
        specs
            .iter()
            .map(|(n, name, rust)| (*n, (*name).to_owned(), proto_type(rust)))
            .collect()
    };
    messages()
        .into_iter()
        .map(|(name, specs)| (name.to_owned(), fields(specs)))
        .collect()
}

/// The messages of `weir.proto`, read line by line.
fn proto_messages() -> Fields {
    let mut found = Fields::new();
    let mut open: Option<String> = None;
    for line in PROTO.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("message ") {
            let (name, tail) = rest.split_once(" {").unwrap();
            found.insert(name.to_owned(), Vec::new());
            open = (tail != "}").then(|| name.to_owned());
        } else if line == "}" {
            open = None;
        } else if let Some(message) = &open
            && let Some(field) = line.strip_suffix(';')
        {
            let (left, number) = field.split_once(" = ").unwrap();
            let (kind, name) = left.rsplit_once(' ').unwrap();
            let field = (number.parse().unwrap(), name.to_owned(), kind.to_owned());
            found.get_mut(message).unwrap().push(field);
        }
    }
    found
}

#[test]
fn the_proto_file_declares_the_messages_of_the_code() {
    assert_eq!(proto_messages(), declared());
    let listed: BTreeSet<&str> = messages().iter().map(|(name, _)| *name).collect();
    for kind in Kind::ALL {
        assert!(
            listed.contains(format!("{kind:?}").as_str()),
            "{kind:?} is not in the list"
        );
    }
}

#[test]
fn the_proto_file_declares_the_enums_of_the_code() {
    let line = |enumeration: &str, name: String, number: u64| {
        let mut words = String::new();
        for c in name.chars() {
            if c.is_uppercase() {
                words.push('_');
            }
            words.push(c.to_ascii_uppercase());
        }
        format!("  {enumeration}{words} = {number};")
    };
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for code in ErrorCode::ALL {
        expected.insert(line("ERROR_CODE", format!("{code:?}"), *code as u64));
    }
    for hook in Hook::ALL {
        expected.insert(line("HOOK", format!("{hook:?}"), hook as u64));
    }
    for policy in (0..=16).filter_map(ErrorPolicy::from_number) {
        expected.insert(line("ERROR_POLICY", format!("{policy:?}"), policy as u64));
    }
    for rule in (1..=16).filter_map(WhenUnread::from_number) {
        expected.insert(line("WHEN_UNREAD", format!("{rule:?}"), rule as u64));
    }
    for action in (1..=16).filter_map(BindingAction::from_number) {
        expected.insert(line("BINDING_ACTION", format!("{action:?}"), action as u64));
    }
    let enumerations = [
        "ERROR_CODE",
        "HOOK",
        "ERROR_POLICY",
        "WHEN_UNREAD",
        "BINDING_ACTION",
    ];
    for enumeration in enumerations {
        expected.insert(format!("  {enumeration}_UNSPECIFIED = 0;"));
    }
    let value = |line: &&str| {
        let line = line.trim_start();
        enumerations
            .iter()
            .any(|start| line.starts_with(&format!("{start}_")))
    };
    let stated: BTreeSet<String> = PROTO.lines().filter(value).map(str::to_owned).collect();
    assert_eq!(stated, expected);
}

/// The cells of the table under a heading of `PROTOCOL.md`, without its two head rows.
fn table(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = PROTOCOL
        .split_once(&format!("\n{heading}\n"))
        .unwrap_or_else(|| panic!("no heading {heading:?}"));
    section
        .lines()
        .take_while(|line| !line.starts_with('#'))
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

#[test]
fn the_document_lists_every_error_code() {
    let stated: Vec<Vec<&str>> = table("## Error codes")
        .into_iter()
        .map(|row| row[..3].to_vec())
        .collect();
    let numbers: Vec<String> = ErrorCode::ALL
        .iter()
        .map(|&code| (code as u64).to_string())
        .collect();
    let codes = ErrorCode::ALL.iter().zip(&numbers);
    let expected: Vec<Vec<&str>> = codes
        .map(|(code, number)| {
            vec![
                number.as_str(),
                code.word(),
                if code.is_retryable() { "yes" } else { "no" },
            ]
        })
        .collect();
    assert_eq!(stated, expected);
}

#[test]
fn the_document_lists_every_kind() {
    let stated: Vec<String> = table("## Kinds")
        .iter()
        .map(|row| format!("{} {}", row[0], row[1]))
        .collect();
    let expected: Vec<String> = Kind::ALL
        .iter()
        .map(|&kind| format!("{} `{kind:?}`", kind as u8))
        .collect();
    assert_eq!(stated, expected);
}

#[test]
fn the_document_lists_every_field() {
    let mut stated = Fields::new();
    for name in declared().keys() {
        let rows = table(&format!("### {name}"));
        let fields = rows.iter().map(|row| {
            let name = row[1].trim_matches('`');
            (row[0].parse().unwrap(), name.to_owned(), row[2].to_owned())
        });
        stated.insert(name.clone(), fields.collect());
    }
    assert_eq!(stated, declared());
}

#[test]
fn the_document_states_the_limits_of_the_code() {
    let expected: BTreeMap<&str, usize> = [
        ("batch, as sent", limits::BATCH_BYTES_MAX),
        ("batch, inflated", limits::BATCH_INFLATED_MAX),
        ("records in a batch", limits::BATCH_RECORDS_MAX as usize),
        ("frame header", limits::FRAME_HEADER_MAX),
        ("frame header of `Hello`", limits::HELLO_FRAME_MAX),
        (
            "frame header of `Produced`, `Records`, `TopicDescription`, `TopicTruncated`, \
             `Plugins`, `PluginDescription`, `BrokerStatus` and `History`",
            limits::RECORDS_HEADER_MAX,
        ),
        ("payload of `Produce`", limits::FRAME_PAYLOAD_MAX),
        ("payload of `Records`", limits::RECORDS_PAYLOAD_MAX),
        (
            "payload of `PushPlugin` and `PluginFetched`",
            limits::COMPONENT_BYTES_MAX,
        ),
        (
            "seconds until the hello",
            limits::HELLO_TIMEOUT.as_secs() as usize,
        ),
        (
            "unanswered requests of a producer",
            limits::PRODUCER_IN_FLIGHT_MAX,
        ),
        ("producers a broker remembers", limits::PRODUCERS_MAX),
        ("values of a repeated field", limits::REPEATED_MAX),
        (
            "partitions of a topic",
            limits::TOPIC_PARTITIONS_MAX as usize,
        ),
        ("ends listed by a topic's fences", limits::FENCE_ENDS_MAX),
        ("groups that read a topic", limits::TOPIC_GROUPS_MAX),
        ("topics of a broker", limits::TOPICS_MAX),
        ("bytes of a name", limits::NAME_BYTES_MAX),
        ("routes of a binding", limits::ROUTES_MAX),
        (
            "settings of a binding or filter",
            limits::CONFIG_ENTRIES_MAX,
        ),
        ("bindings of one hook of a topic", limits::BINDINGS_MAX),
        ("versions of a plugin", limits::PLUGIN_VERSIONS_MAX),
        ("bindings in a `BrokerStatus`", limits::STATUS_BINDINGS_MAX),
        ("warnings in a `BrokerStatus`", limits::STATUS_WARNINGS_MAX),
        (
            "subscriptions in a `PluginDescription`",
            limits::PLUGIN_SUBSCRIPTIONS_MAX,
        ),
        ("places in a set of an outcome", limits::SET_PLACES_MAX),
        ("places in an outcome", limits::OUTCOME_PLACES_MAX),
        ("events of a topic's history", limits::HISTORY_EVENTS_MAX),
        ("ends of an event of a history", limits::HISTORY_ENDS_MAX),
        ("bytes of a topic's history", limits::HISTORY_BYTES_MAX),
        (
            "milliseconds of CPU time of a binding's call",
            limits::BINDING_CPU_MAX.as_millis() as usize,
        ),
        (
            "bytes of memory of a binding's instance",
            limits::BINDING_MEMORY_MAX as usize,
        ),
        (
            "bytes of output of a binding's call",
            limits::BINDING_OUTPUT_MAX as usize,
        ),
        (
            "lines that a binding logs in a second",
            limits::BINDING_LOG_RATE_MAX as usize,
        ),
        (
            "seconds that a request for log lines waits",
            limits::LOGS_WAIT_MAX.as_secs() as usize,
        ),
        (
            "cursors of a request for log lines",
            limits::LOG_CURSORS_MAX,
        ),
        ("filters of a subscription", limits::FILTERS_MAX),
        ("lanes of a subscription", limits::SUBSCRIPTION_STREAMS_MAX),
        ("subscriptions of a connection", limits::SUBSCRIPTIONS_MAX),
        ("items of a page", limits::PAGE_ITEMS_MAX),
    ]
    .into_iter()
    .collect();
    let number = |cell: &str| cell.replace(',', "").parse().unwrap();
    let rows = table("## Limits");
    let stated: BTreeMap<&str, usize> = rows.iter().map(|row| (row[0], number(row[1]))).collect();
    assert_eq!(stated, expected);
}
