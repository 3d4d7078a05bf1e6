//! What people type after `weir plugin`.

use weir_wire::id::PartitionId;
use weir_wire::request::Route;

use super::bind::{produce_hook, route};
use super::*;

#[test]
fn routes() {
    for (text, value, topic, partition) in [
        ("JFK=flights-jfk", "JFK", "flights-jfk", None),
        ("*=other:3", "*", "other", Some(3)),
        ("a=b=t", "a=b", "t", None),
        ("=t", "", "t", None),
    ] {
        let expected = Route {
            value: value.to_owned(),
            topic: topic.parse().unwrap(),
            partition: partition.map(PartitionId::new),
        };
        assert_eq!(route(text), Ok(expected), "{text}");
    }
    for text in ["JFK", "JFK=", "JFK=a b", "JFK=t:x", "JFK=t:"] {
        assert!(route(text).is_err(), "{text}");
    }
}

#[test]
fn settings() {
    let read = setting("where=dep_delay >= 15").unwrap();
    assert_eq!((&*read.name, &*read.value), ("where", "dep_delay >= 15"));
    assert!(setting("where").is_err());
    assert!(setting("=x").is_err());
}

#[test]
fn versions() {
    let plugin: PluginRef = "json-key@3F2a".parse().unwrap();
    assert_eq!(plugin.version.as_deref(), Some("3f2a"));
    assert_eq!(plugin.to_string(), "json-key@3f2a");
    assert_eq!("json-key".parse::<PluginRef>().unwrap().version, None);
    for text in ["", "a b", "a@", "a@latest"] {
        assert!(text.parse::<PluginRef>().is_err(), "{text}");
    }
}

#[test]
fn hooks_of_a_topic() {
    assert_eq!(produce_hook("key"), Ok(Hook::Key));
    assert_eq!(produce_hook("route"), Ok(Hook::Route));
    assert!(produce_hook("filter").unwrap_err().contains("weir consume"));
    assert_eq!(produce_hook("transform"), Ok(Hook::Transform));
    assert!(produce_hook("retry-policy").is_err());
}
