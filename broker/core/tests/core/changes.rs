//! Changes of the catalog: what each is refused for, and what it leaves behind.

use std::fmt::Write;

use expect_test::{Expect, expect};
use weir_core::change::Change;
use weir_core::shard::{BindRequest, ChangeError, ChangeRequest, Shard};
use weir_wire::id::{PluginVersion, Timestamp};
use weir_wire::limits::{
    CONFIG_ENTRIES_MAX, PLUGIN_VERSIONS_MAX, ROUTES_MAX, TOPIC_PARTITIONS_MAX, TOPICS_MAX,
};
use weir_wire::plugin::{ErrorPolicy, Hook};
use weir_wire::request::Setting;

use crate::support::{change, plugin, request, topic, version};

/// Runs changes line by line and says what became of each. Lines that begin with a dot run too,
/// but are not told.
pub(crate) fn check(script: &str, expected: &Expect) {
    let mut shard = Shard::default();
    let mut told = String::new();
    for line in script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
    {
        let (quiet, line) = match line.strip_prefix('.') {
            Some(line) => (true, line),
            None => (false, line),
        };
        let result = change(&mut shard, Timestamp::new(7), &request(line));
        if quiet {
            result.unwrap();
            continue;
        }
        let said = result.map_or_else(|error| error.to_string(), |(change, _)| describe(&change));
        writeln!(told, "{line}: {said}").unwrap();
    }
    expected.assert_eq(&told);
}

fn describe(change: &Change) -> String {
    if let Some(created) = &change.topic_created
        && change.bound.is_none()
    {
        return format!("topic {} at {}", created.id, created.time);
    }
    if let Some(deleted) = &change.topic_deleted {
        return format!("topic {} gone", deleted.id);
    }
    if let Some(pushed) = &change.plugin_pushed {
        return format!("version {}", pushed.version.short());
    }
    if let Some(removed) = &change.plugin_removed {
        return format!("version {} gone", removed.version.short());
    }
    if let Some(bound) = &change.bound {
        let routes = bound.routes.iter().map(|route| {
            let partition = route.partition.map(|p| format!(":{p}")).unwrap_or_default();
            format!(" {}=topic {}{partition}", route.value, route.topic)
        });
        let (id, epoch) = (bound.id, bound.epoch);
        let place = bound.position.filter(|position| *position > 0);
        let place = place.map(|position| format!(", at {position}"));
        let instead = bound.replaces.map(|id| format!(", instead of {id}"));
        let (place, instead) = (place.unwrap_or_default(), instead.unwrap_or_default());
        let dead = bound
            .dead_letters
            .map(|to| format!(", dead letters to topic {to}"));
        let dead = dead.unwrap_or_default();
        let routes: String = routes.collect();
        return format!("binding {id}, epoch {epoch}{place}{instead}{dead}{routes}");
    }
    if let Some(added) = &change.partitions_added {
        let epochs = added.epochs.iter().map(|bump| {
            let (topic, epoch) = (bump.topic, bump.epoch);
            format!(", topic {topic} epoch {epoch}")
        });
        let (id, partitions) = (added.id, added.partitions);
        let epochs: String = epochs.collect();
        return format!("topic {id} with {partitions} partitions{epochs}");
    }
    if let Some(updated) = &change.topic_updated {
        let (id, settings) = (updated.id, &updated.settings);
        let (age, bytes) = (settings.retention_ms, settings.retention_bytes);
        let (unread, compact) = (settings.when_unread, settings.compact);
        return format!("topic {id}: age {age:?}, bytes {bytes:?}, {unread}, compact {compact}");
    }
    if let Some(unbound) = &change.unbound {
        return format!("binding {} gone, epoch {}", unbound.id, unbound.epoch);
    }
    let opened = change.producer_opened.as_ref().unwrap();
    let (id, epoch, topic) = (opened.id, opened.epoch, opened.topic);
    format!("producer {id} epoch {epoch} of topic {topic}")
}

#[test]
fn topics_are_made_once_and_deleted_once() {
    check(
        "create orders 4
         create orders 4
         create default/orders 4
         create other/orders 1
         delete orders
         delete orders
         open orders
         create orders 2
         open orders
         open other/orders",
        &expect![[r#"
            create orders 4: topic 1 at 7
            create orders 4: topic "orders" exists already (see it: weir topic describe orders)
            create default/orders 4: topic "orders" exists already (see it: weir topic describe orders)
            create other/orders 1: topic 2 at 7
            delete orders: topic 1 gone
            delete orders: topic "orders" does not exist (create it: weir topic create orders)
            open orders: topic "orders" does not exist (create it: weir topic create orders)
            create orders 2: topic 3 at 7
            open orders: producer 1 epoch 0 of topic 3
            open other/orders: producer 2 epoch 0 of topic 2
        "#]],
    );
}

#[test]
fn a_topic_has_partitions_within_bounds() {
    let line = |partitions: u32| format!("create orders {partitions}\n");
    let script = line(0) + &line(TOPIC_PARTITIONS_MAX + 1) + &line(TOPIC_PARTITIONS_MAX);
    check(
        &script,
        &expect![[r#"
        create orders 0: a topic has 1 to 100000 partitions, not 0
        create orders 100001: a topic has 1 to 100000 partitions, not 100001
        create orders 100000: topic 1 at 7
    "#]],
    );
}

#[test]
fn there_are_only_so_many_topics() {
    let mut shard = Shard::default();
    for number in 0..TOPICS_MAX {
        let create = request(&format!("create t{number} 1"));
        change(&mut shard, Timestamp::new(0), &create).unwrap();
    }
    let error = change(&mut shard, Timestamp::new(0), &request("create more 1")).unwrap_err();
    assert!(matches!(error, ChangeError::Limit(_)), "{error}");
    change(&mut shard, Timestamp::new(0), &request("delete t17")).unwrap();
    change(&mut shard, Timestamp::new(0), &request("create more 1")).unwrap();
}

#[test]
fn a_topic_that_routes_lead_to_stays() {
    check(
        ".create flights 2
         .create jfk 2
         .push router aa route
         bind flights route router aa fail JFK=jfk *=flights
         delete jfk
         .create again 1
         bind flights route router aa fail JFK=again *=flights
         delete jfk
         delete again
         delete flights
         delete again",
        &expect![[r#"
            bind flights route router aa fail JFK=jfk *=flights: binding 1, epoch 1 JFK=topic 2 *=topic 1
            delete jfk: topic "jfk" is where binding 1 of topic "flights" leads; unbind that first (weir plugin unbind 1)
            bind flights route router aa fail JFK=again *=flights: binding 2, epoch 2, instead of 1 JFK=topic 3 *=topic 1
            delete jfk: topic 2 gone
            delete again: topic "again" is where binding 2 of topic "flights" leads; unbind that first (weir plugin unbind 2)
            delete flights: topic 1 gone
            delete again: topic 3 gone
        "#]],
    );
}

#[test]
fn routes_stay_inside_their_namespace_and_their_topics() {
    check(
        ".create flights 2
         .create jfk 2
         .create other/jfk 2
         .push router aa route
         bind flights route router aa fail JFK=other/jfk
         bind flights route router aa fail JFK=nowhere
         bind flights route router aa fail JFK=jfk:2
         bind flights route router aa fail JFK=jfk:1 EWR=jfk JFK=flights
         bind flights route router aa fail
         bind flights route router aa fail JFK=jfk:1 EWR=jfk",
        &expect![[r#"
            bind flights route router aa fail JFK=other/jfk: route "JFK" leads to namespace "other"; routes stay inside namespace "default"
            bind flights route router aa fail JFK=nowhere: topic "nowhere" does not exist (create it: weir topic create nowhere)
            bind flights route router aa fail JFK=jfk:2: route "JFK" leads to partition 2 of topic "jfk", which has 2
            bind flights route router aa fail JFK=jfk:1 EWR=jfk JFK=flights: route "JFK" is declared twice
            bind flights route router aa fail: hook route needs 1 to 64 routes, not 0 (--to VALUE=TOPIC)
            bind flights route router aa fail JFK=jfk:1 EWR=jfk: binding 1, epoch 1 JFK=topic 2:1 EWR=topic 2
        "#]],
    );
}

#[test]
fn a_binding_needs_a_topic_a_plugin_a_hook_and_a_policy() {
    check(
        ".create flights 2
         .push tools aa key filter
         bind nowhere key tools aa fail
         bind flights key nobody aa fail
         bind flights key tools bb fail
         bind flights filter tools aa fail
         bind flights transform tools aa fail
         bind flights route tools aa fail *=flights
         bind flights key tools aa skip
         bind flights key tools aa dead-letter
         bind flights key tools aa fail *=flights
         bind flights key tools aa drop",
        &expect![[r#"
            bind nowhere key tools aa fail: topic "nowhere" does not exist (create it: weir topic create nowhere)
            bind flights key nobody aa fail: plugin "nobody" does not exist (upload it: weir plugin push FILE.wasm --name nobody)
            bind flights key tools bb fail: no version of plugin "tools" begins with "bb00000000000000000000000000000000000000000000000000000000000000" (see them: weir plugin show tools)
            bind flights filter tools aa fail: hook filter cannot be bound to a topic; transform, route and key can, and filters belong to subscriptions (weir consume --filter)
            bind flights transform tools aa fail: plugin "tools" has no hook transform; it exports key, filter
            bind flights route tools aa fail *=flights: plugin "tools" has no hook route; it exports key, filter
            bind flights key tools aa skip: hook key cannot have the error policy skip; it may be fail, drop, dead-letter
            bind flights key tools aa dead-letter: binding 1, epoch 1, dead letters to topic 2
            bind flights key tools aa fail *=flights: hook key takes no routes; leave --to out
            bind flights key tools aa drop: binding 2, epoch 2, instead of 1
        "#]],
    );
}

#[test]
fn every_change_of_a_topics_bindings_counts_an_epoch() {
    check(
        ".create flights 2
         .create trains 2
         .push tools aa key route
         .push tools bb key route
         bind flights key tools aa fail
         bind flights route tools aa fail *=trains
         bind trains key tools aa fail
         bind flights key tools bb fail
         unbind 1
         unbind 4
         unbind 4
         unbind 3
         bind flights key tools aa fail",
        &expect![[r#"
            bind flights key tools aa fail: binding 1, epoch 1
            bind flights route tools aa fail *=trains: binding 2, epoch 2 *=topic 2
            bind trains key tools aa fail: binding 3, epoch 1
            bind flights key tools bb fail: binding 4, epoch 3, instead of 1
            unbind 1: binding 1 does not exist (see them: weir plugin show NAME, or weir status)
            unbind 4: binding 4 gone, epoch 4
            unbind 4: binding 4 does not exist (see them: weir plugin show NAME, or weir status)
            unbind 3: binding 3 gone, epoch 2
            bind flights key tools aa fail: binding 5, epoch 5
        "#]],
    );
}

#[test]
fn a_version_in_use_stays() {
    check(
        ".create flights 2
         .create trains 2
         .push tools aa key
         .push tools bb key
         .push other aa key
         .bind flights key tools aa fail
         .bind trains key tools aa fail
         remove tools aa
         remove tools cc
         remove nobody aa
         remove other aa
         remove other aa
         remove tools bb
         .unbind 1
         remove tools aa
         .unbind 2
         remove tools aa
         remove tools aa",
        &expect![[r#"
            remove tools aa: plugin "tools" is bound: binding 1 of topic "flights", binding 2 of topic "trains"; unbind it first
            remove tools cc: no version of plugin "tools" begins with "cc0000000000" (see them: weir plugin show tools)
            remove nobody aa: plugin "nobody" does not exist (upload it: weir plugin push FILE.wasm --name nobody)
            remove other aa: version aa0000000000 gone
            remove other aa: plugin "other" does not exist (upload it: weir plugin push FILE.wasm --name other)
            remove tools bb: version bb0000000000 gone
            remove tools aa: plugin "tools" is bound: binding 2 of topic "trains"; unbind it first
            remove tools aa: version aa0000000000 gone
            remove tools aa: plugin "tools" does not exist (upload it: weir plugin push FILE.wasm --name tools)
        "#]],
    );
}

#[test]
fn a_bindings_lists_are_bounded() {
    let mut shard = Shard::default();
    for line in ["create flights 2", "push tools aa key route"] {
        change(&mut shard, Timestamp::new(0), &request(line)).unwrap();
    }
    let routes = |count: usize| {
        let routes: String = (0..count).map(|n| format!(" v{n}=flights")).collect();
        request(&format!("bind flights route tools aa fail{routes}"))
    };
    let settings = |count: usize| {
        let setting = Setting {
            name: "k".to_owned(),
            value: "v".to_owned(),
        };
        let ChangeRequest::Bind(bind) = request("bind flights key tools aa fail") else {
            unreachable!("it says bind");
        };
        ChangeRequest::Bind(BindRequest {
            config: vec![setting; count],
            ..bind
        })
    };
    for (fits, too_many) in [
        (routes(ROUTES_MAX), routes(ROUTES_MAX + 1)),
        (
            settings(CONFIG_ENTRIES_MAX),
            settings(CONFIG_ENTRIES_MAX + 1),
        ),
    ] {
        let error = shard.plan_change(Timestamp::new(0), &too_many).unwrap_err();
        assert!(matches!(error, ChangeError::Invalid(_)), "{error}");
        change(&mut shard, Timestamp::new(0), &fits).unwrap();
    }
}

#[test]
fn versions_are_named_by_their_first_digits() {
    let mut shard = Shard::default();
    for line in [
        "push tools ab12 key",
        "push tools ab34 key",
        "push tools cd key",
    ] {
        change(&mut shard, Timestamp::new(0), &request(line)).unwrap();
    }
    let mut told = String::new();
    for (name, prefix) in [
        ("tools", None),
        ("tools", Some("ab")),
        ("tools", Some("ab1")),
        ("tools", Some("cd0000")),
        ("tools", Some("")),
        ("tools", Some("ef")),
        ("nobody", None),
        ("nobody", Some("ab")),
    ] {
        let found = shard.resolve_version(&plugin(name), prefix);
        let said = found.map_or_else(|error| error.to_string(), |pushed| pushed.version.short());
        writeln!(told, "{name} {prefix:?}: {said}").unwrap();
    }
    expect![[r#"
        tools None: cd0000000000
        tools Some("ab"): 2 versions of plugin "tools" begin with "ab" (see them: weir plugin show tools)
        tools Some("ab1"): ab1200000000
        tools Some("cd0000"): cd0000000000
        tools Some(""): 3 versions of plugin "tools" begin with "" (see them: weir plugin show tools)
        tools Some("ef"): no version of plugin "tools" begins with "ef" (see them: weir plugin show tools)
        nobody None: plugin "nobody" does not exist (upload it: weir plugin push FILE.wasm --name nobody)
        nobody Some("ab"): plugin "nobody" does not exist (upload it: weir plugin push FILE.wasm --name nobody)
    "#]].assert_eq(&told);
    // An old version that is pushed again is the latest.
    change(
        &mut shard,
        Timestamp::new(0),
        &request("push tools ab12 key"),
    )
    .unwrap();
    let latest: PluginVersion = shard
        .resolve_version(&plugin("tools"), None)
        .unwrap()
        .version;
    assert_eq!(latest, version("ab12"));
    assert_eq!(shard.catalog().plugin(&plugin("tools")).unwrap().len(), 3);
}

#[test]
fn what_is_refused_leaves_no_trace() {
    let mut shard = Shard::default();
    change(&mut shard, Timestamp::new(0), &request("create orders 4")).unwrap();
    let before = format!("{shard:?}");
    for line in [
        "create orders 4",
        "delete nowhere",
        "unbind 1",
        "open nowhere",
    ] {
        change(&mut shard, Timestamp::new(0), &request(line)).unwrap_err();
    }
    // Neither does what is only planned.
    for line in [
        "create more 4",
        "delete orders",
        "push tools aa key",
        "open orders",
    ] {
        shard
            .plan_change(Timestamp::new(0), &request(line))
            .unwrap();
    }
    assert_eq!(format!("{shard:?}"), before);
    assert_eq!(
        shard.existing_topic(&topic("orders")).unwrap().partitions,
        4
    );
}

#[test]
fn settings_change_one_by_one_and_zero_is_no_limit() {
    check(
        ".create flights 2
         update nowhere age=1
         update flights age=1000
         update flights bytes=5000 unread=delete
         update flights age=0 compact=true
         update flights",
        &expect![[r#"
            update nowhere age=1: topic "nowhere" does not exist (create it: weir topic create nowhere)
            update flights age=1000: topic 1: age Some(1000), bytes None, keep, compact false
            update flights bytes=5000 unread=delete: topic 1: age Some(1000), bytes Some(5000), delete, compact false
            update flights age=0 compact=true: topic 1: age None, bytes Some(5000), delete, compact true
            update flights: topic 1: age None, bytes Some(5000), delete, compact true
        "#]],
    );
}

#[test]
fn added_partitions_count_an_epoch_wherever_records_come_from() {
    check(
        ".create flights 2
         .create jfk 2
         .create trains 2
         .push router aa route key
         .bind flights route router aa fail JFK=jfk *=flights
         .bind trains key router aa fail
         update jfk partitions=3
         update jfk partitions=3
         update jfk partitions=2
         update jfk partitions=0
         update jfk partitions=100001
         update flights partitions=100000
         bind trains key router aa fail",
        &expect![[r#"
            update jfk partitions=3: topic 2 with 3 partitions, topic 1 epoch 2, topic 2 epoch 1
            update jfk partitions=3: topic 2: age None, bytes None, keep, compact false
            update jfk partitions=2: topic "jfk" has 3 partitions and cannot have fewer; make a topic with 2 and move its producers there
            update jfk partitions=0: a topic has 1 to 100000 partitions, not 0
            update jfk partitions=100001: a topic has 1 to 100000 partitions, not 100001
            update flights partitions=100000: topic 1 with 100000 partitions, topic 1 epoch 3
            bind trains key router aa fail: binding 3, epoch 2, instead of 2
        "#]],
    );
}

#[test]
fn a_plugin_has_only_so_many_versions() {
    let mut shard = Shard::default();
    let push = |number: u8| ChangeRequest::PushPlugin {
        name: "p".parse().unwrap(),
        version: PluginVersion::new([number; 32]),
        bytes: 1,
        hooks: vec![Hook::Filter],
    };
    let now = Timestamp::new(0);
    let max = u8::try_from(PLUGIN_VERSIONS_MAX).unwrap();
    for number in 0..max {
        change(&mut shard, now, &push(number)).unwrap();
    }
    let error = change(&mut shard, now, &push(max)).unwrap_err();
    expect![[r#"plugin "p" has 100 versions, and there may not be more; remove those that nobody needs (weir plugin remove p@000000000000; see them: weir plugin show p)"#]]
        .assert_eq(&error.to_string());
    // One that is there may be pushed again.
    change(&mut shard, now, &push(0)).unwrap();
    let remove = ChangeRequest::RemovePlugin {
        name: "p".parse().unwrap(),
        version: PluginVersion::new([1; 32]),
    };
    change(&mut shard, now, &remove).unwrap();
    change(&mut shard, now, &push(max)).unwrap();
}

#[test]
fn a_version_that_is_bound_is_none_to_be_removed() {
    let mut shard = Shard::default();
    let now = Timestamp::new(0);
    let push = |number: usize| ChangeRequest::PushPlugin {
        name: "p".parse().unwrap(),
        version: PluginVersion::new([u8::try_from(number).unwrap(); 32]),
        bytes: 1,
        hooks: vec![Hook::Key],
    };
    let refused = |shard: &mut Shard| change(shard, now, &push(PLUGIN_VERSIONS_MAX)).unwrap_err();
    for number in 0..PLUGIN_VERSIONS_MAX {
        change(&mut shard, now, &push(number)).unwrap();
    }
    for number in 0..PLUGIN_VERSIONS_MAX {
        change(&mut shard, now, &request(&format!("create t{number} 1"))).unwrap();
        let bind = ChangeRequest::Bind(BindRequest {
            topic: format!("t{number}").parse().unwrap(),
            hook: Hook::Key,
            plugin: "p".parse().unwrap(),
            version: PluginVersion::new([u8::try_from(number).unwrap(); 32]),
            config: Vec::new(),
            routes: Vec::new(),
            on_error: ErrorPolicy::Fail,
            position: None,
            replace: None,
            limits: None,
            rolled_back: false,
        });
        change(&mut shard, now, &bind).unwrap();
        if number == 0 {
            expect![[r#"plugin "p" has 100 versions, and there may not be more; remove those that nobody needs (weir plugin remove p@010101010101; see them: weir plugin show p)"#]]
                .assert_eq(&refused(&mut shard).to_string());
        }
    }
    expect![[r#"plugin "p" has 100 versions, and there may not be more; all are bound: replace or unbind one (weir plugin unbind ID; see them: weir plugin show p)"#]]
        .assert_eq(&refused(&mut shard).to_string());
}
