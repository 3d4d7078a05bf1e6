//! The catalog: what is there after changes, by name and by id.

use std::fmt::Write;

use expect_test::{Expect, expect};
use weir_core::catalog::Catalog;
use weir_core::change::Change;
use weir_core::shard::Shard;
use weir_wire::id::{BindingId, Timestamp, TopicId};
use weir_wire::message::Message;

use crate::support::{change, request, topic, version};

/// What the catalog holds after these changes; it must be the same when they are read back from
/// their bytes.
fn check(script: &str, expected: &Expect) -> Shard {
    let mut shard = Shard::default();
    let mut replayed = Shard::default();
    for line in script.lines().map(str::trim) {
        let (change, _) = change(&mut shard, Timestamp::new(7), &request(line)).unwrap();
        replayed.commit_change(&Change::decode(&change.to_vec()).unwrap());
    }
    expected.assert_eq(&show(shard.catalog()));
    assert_eq!(show(replayed.catalog()), show(shard.catalog()));
    assert_eq!(
        replayed.catalog().next_topic_id(),
        shard.catalog().next_topic_id()
    );
    assert_eq!(
        replayed.catalog().next_binding_id(),
        shard.catalog().next_binding_id()
    );
    shard
}

fn show(catalog: &Catalog) -> String {
    let mut out = String::new();
    for topic in catalog.topics() {
        let (name, id, partitions) = (&topic.name, topic.id, topic.partitions);
        let epoch = topic.binding_epoch;
        writeln!(
            out,
            "topic {name} id {id}, {partitions} partitions, epoch {epoch}"
        )
        .unwrap();
        for (_, bound) in topic.bound() {
            let hook = bound.hook;
            assert!(topic.chain(hook).contains(bound));
            let (id, plugin, version) = (bound.id, &bound.plugin, bound.version.short());
            writeln!(out, "  {hook}: binding {id}, plugin {plugin} {version}").unwrap();
        }
    }
    for (name, versions) in catalog.plugins() {
        let versions: Vec<_> = versions
            .iter()
            .map(|pushed| pushed.version.short())
            .collect();
        writeln!(out, "plugin {name}: {}", versions.join(", ")).unwrap();
    }
    out
}

#[test]
fn bindings_are_found_by_topic_hook_and_id() {
    let shard = check(
        "create flights 2
         create jfk 1
         push tools aa key route
         push tools bb key route
         bind flights key tools aa fail
         bind flights route tools aa drop JFK=jfk
         bind flights key tools bb fail",
        &expect![[r#"
            topic flights id 1, 2 partitions, epoch 3
              route: binding 2, plugin tools aa0000000000
              key: binding 3, plugin tools bb0000000000
            topic jfk id 2, 1 partitions, epoch 0
            plugin tools: aa0000000000, bb0000000000
        "#]],
    );
    let catalog = shard.catalog();
    assert!(
        catalog.binding(BindingId::new(1)).is_none(),
        "it was replaced"
    );
    let (topic, bound) = catalog.binding(BindingId::new(3)).unwrap();
    assert_eq!((topic.id, bound.version), (TopicId::new(1), version("bb")));
    assert!(
        catalog
            .topic(TopicId::new(1))
            .unwrap()
            .placement_by_plugin()
    );
    assert!(
        !catalog
            .topic(TopicId::new(2))
            .unwrap()
            .placement_by_plugin()
    );
    assert!(catalog.has_version(version("aa")) && !catalog.has_version(version("cc")));
}

#[test]
fn a_topic_under_an_old_name_is_another_topic() {
    let shard = check(
        "create orders 4
         push tools aa key
         bind orders key tools aa fail
         delete orders
         create orders 2",
        &expect![[r#"
            topic orders id 2, 2 partitions, epoch 0
            plugin tools: aa0000000000
        "#]],
    );
    let catalog = shard.catalog();
    assert!(catalog.topic(TopicId::new(1)).is_none());
    let again = catalog.topic_named(&topic("orders")).unwrap();
    assert_eq!(again.id, TopicId::new(2));
    assert_eq!(catalog.topic_count(), 1);
}

#[test]
fn a_plugin_without_versions_is_gone() {
    check(
        "push tools aa key
         push tools bb key
         push other aa key
         remove tools aa
         remove other aa",
        &expect![[r#"
            plugin tools: bb0000000000
        "#]],
    );
}

#[test]
fn ids_are_never_used_twice() {
    let shard = check(
        "create a 1
         create b 1
         delete b
         push tools aa key
         bind a key tools aa fail
         unbind 1",
        &expect![[r#"
            topic a id 1, 1 partitions, epoch 2
            plugin tools: aa0000000000
        "#]],
    );
    assert_eq!(shard.catalog().next_topic_id(), TopicId::new(3));
    assert_eq!(shard.catalog().next_binding_id(), BindingId::new(2));
}
