//! What several of these tests need: a shard with a log, and changes written as words.

use weir_core::change::Change;
use weir_core::shard::{BindRequest, ChangeError, ChangeRequest, RouteRequest, Shard};
use weir_wire::id::{BindingId, Offset, PartitionId, PluginVersion, ProducerId, Timestamp};
use weir_wire::name::{PluginName, TopicName};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::{Setting, TopicSettings, UpdateTopic};

pub(crate) fn topic(name: &str) -> TopicName {
    name.parse().unwrap()
}

pub(crate) fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

/// The version that begins with these hex digits and goes on with zeros.
pub(crate) fn version(digits: &str) -> PluginVersion {
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    PluginVersion::new(digest)
}

/// Plans and commits a change; answers it, with the producers that were forgotten for it.
pub(crate) fn change(
    shard: &mut Shard,
    now: Timestamp,
    request: &ChangeRequest,
) -> Result<(Change, Vec<ProducerId>), ChangeError> {
    let change = shard.plan_change(now, request)?;
    let forgotten = shard.commit_change(&change);
    Ok((change, forgotten))
}

/// A change from words:
///
/// - `create TOPIC PARTITIONS`, `delete TOPIC`, `open TOPIC`
/// - `update TOPIC [age=MS] [bytes=N] [unread=keep|delete] [compact=true|false] [partitions=N]`
/// - `cursor GROUP TOPIC PARTITION OFFSET`
/// - `push PLUGIN DIGITS HOOK...`, `remove PLUGIN DIGITS`
/// - `bind TOPIC HOOK PLUGIN DIGITS POLICY [at=P] [instead=ID] [VALUE=TOPIC[:PARTITION]]...`,
///   `unbind ID`
pub(crate) fn request(line: &str) -> ChangeRequest {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["create", name, partitions] => ChangeRequest::CreateTopic {
            name: topic(name),
            partitions: partitions.parse().unwrap(),
            settings: TopicSettings::default(),
        },
        ["update", name, settings @ ..] => ChangeRequest::UpdateTopic(update(name, settings)),
        ["cursor", group, name, partition, offset] => ChangeRequest::SetCursor {
            group: group.parse().unwrap(),
            topic: topic(name),
            partition: PartitionId::new(partition.parse().unwrap()),
            offset: Offset::new(offset.parse().unwrap()),
        },
        ["delete", name] => ChangeRequest::DeleteTopic(topic(name)),
        ["open", name] => ChangeRequest::OpenProducer(topic(name)),
        ["push", name, digits, hooks @ ..] => ChangeRequest::PushPlugin {
            name: plugin(name),
            version: version(digits),
            bytes: 1000,
            hooks: hooks.iter().map(|hook| hook.parse().unwrap()).collect(),
        },
        ["remove", name, digits] => ChangeRequest::RemovePlugin {
            name: plugin(name),
            version: version(digits),
        },
        ["bind", name, hook, plugin_name, digits, policy, rest @ ..] => {
            let number = |word| {
                let mut found = rest
                    .iter()
                    .filter_map(|text: &&str| text.strip_prefix(word));
                found.next().map(|number| number.parse::<u64>().unwrap())
            };
            let placed = ["at=", "instead="];
            let routes = rest.iter();
            let routes = routes.filter(|word| !placed.iter().any(|p| word.starts_with(p)));
            ChangeRequest::Bind(BindRequest {
                topic: topic(name),
                hook: hook.parse::<Hook>().unwrap(),
                plugin: plugin(plugin_name),
                version: version(digits),
                config: Vec::<Setting>::new(),
                routes: routes.map(|word| route(word)).collect(),
                on_error: policy.parse::<ErrorPolicy>().unwrap(),
                position: number("at=").map(|position| position as u32),
                replace: number("instead=").map(BindingId::new),
                limits: None,
                rolled_back: false,
            })
        }
        ["unbind", id] => ChangeRequest::Unbind(BindingId::new(id.parse().unwrap())),
        _ => panic!("{line:?} is no change"),
    }
}

fn update(name: &str, settings: &[&str]) -> UpdateTopic {
    let value = |field: &str| {
        let found = settings.iter().find_map(|word| word.strip_prefix(field));
        found.map(|rest| rest.strip_prefix('=').unwrap())
    };
    let number = |field| value(field).map(|value| value.parse().unwrap());
    UpdateTopic {
        name: topic(name),
        retention_ms: number("age"),
        retention_bytes: number("bytes"),
        when_unread: value("unread").map(|word| word.parse().unwrap()),
        compact: value("compact").map(|word| word.parse().unwrap()),
        partitions: number("partitions").map(|number| number as u32),
    }
}

fn route(word: &str) -> RouteRequest {
    let (value, target) = word.split_once('=').unwrap();
    let (name, partition) = match target.split_once(':') {
        Some((name, partition)) => (name, Some(PartitionId::new(partition.parse().unwrap()))),
        None => (target, None),
    };
    RouteRequest {
        value: value.to_owned(),
        topic: topic(name),
        partition,
    }
}
